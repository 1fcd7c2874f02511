"""The summary of a conversation: duration, evidence, emotions, satisfaction, and a few sentences about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import Arc
from emotion_perception.interaction.arc_shape import ArcShape
from emotion_perception.interaction.satisfaction import Satisfaction, rate
from emotion_perception.types import EmotionEstimate, clock_text


@dataclass(frozen=True, eq=False)
class ConversationSummary:
    """The summary of a conversation."""

    interaction_id: str
    name: str  # entered at the start; may be empty
    person_id: str  # entered at the start, else of the person present longest; empty if nobody was identified
    persons: dict[str, float]  # presence by person id, s
    place: str  # as configured; may be empty
    start_ns: int
    end_ns: int
    ended_by: str  # reason in plain English
    recovered: bool  # True: made from the journal of a process that was killed
    arc: Arc
    satisfaction: Satisfaction
    emotion: EmotionEstimate  # mean over the time with evidence; `unknown()` without
    seconds_by_label: np.ndarray  # (8,) time with each emotion as the label of its bin, s
    label_changes: int  # from one bin with evidence to the next
    best: tuple[float, float] | None  # highest smoothed valence: s from the start, value
    worst: tuple[float, float] | None  # lowest smoothed valence
    valence_change: float  # mean of the last fifth of the evidence minus mean of the first fifth; NaN without evidence

    @property
    def duration(self) -> float:
        """From start to end, s."""
        return self.arc.duration

    @property
    def coverage(self) -> float:
        """Share of the time with any evidence, 0..1."""
        return self._share(self.arc.evidence_s)

    @property
    def visual_coverage(self) -> float:
        """Share of the time with a face, 0..1."""
        return self._share(self.arc.visual_s)

    @property
    def acoustic_coverage(self) -> float:
        """Share of the time with a voice, 0..1."""
        return self._share(self.arc.acoustic_s)

    @property
    def text(self) -> str:
        """A few plain English sentences."""
        who = f" with {self.person_id}" if self.person_id else ""
        if self.coverage == 0:
            return f"{clock_text(self.duration)}{who}; nobody was seen or heard."
        seconds = self.seconds_by_label
        top = int(seconds.argmax())
        parts = [
            f"{clock_text(self.duration)}{who}, {100 * self.coverage:.0f} % of it with evidence.",
            f"Mostly {EMOTIONS[top]} ({100 * seconds[top] / seconds.sum():.0f} %).",
        ]
        if self.satisfaction.score is None:
            parts.append(f"No satisfaction score: {self.satisfaction.reason}.")
        else:
            parts.append(
                f"Satisfaction {self.satisfaction.score} +/- {self.satisfaction.margin} of 100"
                f" ({self.satisfaction.verdict})."
            )
        shape = self.arc.shape
        if shape.shape >= ArcShape.RAGS_TO_RICHES:
            parts.append(f"Arc: {shape.text}, correlation {shape.correlation:.2f}.")
        else:
            parts.append(f"Arc: {shape.text}.")
        return " ".join(parts)

    def _share(self, seconds: np.ndarray) -> float:
        return float(min(1.0, seconds.sum() / self.duration)) if self.duration > 0 else 0.0


def summarize(
    arc: Arc,
    interaction_id: str,
    name: str = "",
    person_id: str = "",
    persons: Mapping[str, float] | None = None,
    place: str = "",
    ended_by: str = "",
    recovered: bool = False,
    min_evidence_s: float = 10.0,
) -> ConversationSummary:
    """The summary of an arc."""
    persons = dict(sorted((persons or {}).items(), key=lambda item: -item[1]))
    known = arc.known
    labels = arc.labels[known]
    emotion = EmotionEstimate.unknown()
    best = worst = None
    valence_change = math.nan
    if known.any():
        mass = arc.trust[known] * arc.seconds[known]
        mean = mass @ arc.probabilities[known] / mass.sum()
        emotion = EmotionEstimate(
            probabilities=mean.astype(np.float32),
            intensities=np.full(len(EMOTIONS), np.nan, np.float32),
            confidence=float(mass @ arc.confidence[known] / mass.sum()),
            valence=float(mass @ arc.valence[known] / mass.sum()),
            arousal=float(mass @ arc.arousal[known] / mass.sum()),
        )
        high, low = int(np.nanargmax(arc.smooth_valence)), int(np.nanargmin(arc.smooth_valence))
        best = (float(arc.times[high]), float(arc.smooth_valence[high]))
        worst = (float(arc.times[low]), float(arc.smooth_valence[low]))
        fifth = max(1, len(mass) // 5)
        valence = arc.valence[known]
        valence_change = float(
            np.average(valence[-fifth:], weights=mass[-fifth:]) - np.average(valence[:fifth], weights=mass[:fifth])
        )
    return ConversationSummary(
        interaction_id=interaction_id,
        name=name,
        person_id=person_id or next(iter(persons), ""),
        persons=persons,
        place=place,
        start_ns=arc.start_ns,
        end_ns=arc.end_ns,
        ended_by=ended_by,
        recovered=recovered,
        arc=arc,
        satisfaction=rate(arc, min_evidence_s),
        emotion=emotion,
        seconds_by_label=np.bincount(labels, weights=arc.evidence_s[known], minlength=len(EMOTIONS)),
        label_changes=int(np.count_nonzero(np.diff(labels.astype(int)))),
        best=best,
        worst=worst,
        valence_change=valence_change,
    )
