"""What a language model may know about the people in front of the robot: one English sentence per person, as JSON.

:class:`ContextTracker` takes fused states, positions of faces and, where somebody publishes it, attention. An emotion
is stated only above a confidence, always with its age; a change only if it is larger than noise.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emotion_perception.settings import check_settings, setting
from emotion_perception.types import SECOND, EmotionModality, EmotionState, EmotionStatus, Engagement, PersonState

SAMPLE_PERIOD = SECOND // 2  # ns between two samples of a person's valence
MAX_PEOPLE = 20  # that are followed; those unseen for longest are forgotten first
HEARD_S = 1.0  # age (s) up to which a voice means that its person is speaking now, where attention is not published
NOTE = "Estimates of displayed emotion by a robot: a hint, not a fact."
UNSEEN = "the person who is heard but not seen"
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class ContextConfig:
    """Settings of ``emotion_context``; each is a ROS parameter of ``interaction_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    context_min_confidence: float = setting(
        0.5,
        "Confidence from which an emotion is stated in emotion_context; below it, the emotion is unclear. Higher "
        "states fewer emotions, and more of them are right.",
        0.0,
        1.0,
    )
    context_max_age: float = setting(
        2.0, "Age of the evidence up to which a person is part of emotion_context.", 0.1, 60.0, "s"
    )
    context_window: float = setting(
        20.0, "Time over which emotion_context reports a change of valence.", 4.0, 300.0, "s"
    )
    context_min_change: float = setting(
        0.3,
        "Change of valence over context_window from which it is reported. Smaller reports noise as well.",
        0.05,
        2.0,
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class ValenceChange:
    """A change of a person's valence, -1..1."""

    seconds: float
    before: float
    now: float

    @property
    def words(self) -> str:
        """The change in plain English."""
        return "has grown happier" if self.now > self.before else "has grown unhappier"


@dataclass(frozen=True)
class PersonContext:
    """What is known about one person now."""

    person_id: str
    face_id: str
    place: str  # "the person on the left"
    partner: bool
    engagement: str  # empty if unknown
    speaking: bool
    distance: float  # m; NaN if unknown
    age: float  # s, of the evidence; NaN without any
    emotion: str  # empty if it is unclear
    confidence: float  # of ``emotion``, 0..1; 0 if it is unclear
    valence: float  # -1..1; NaN if the emotion is unclear
    arousal: float
    change: ValenceChange | None

    @property
    def sentence(self) -> str:
        """One English sentence."""
        old = f", {self.age:.1f} s ago" if self.age >= 1.0 else ""
        parts = [self.place[0].upper() + self.place[1:]]
        if self.engagement:
            parts.append(self.engagement)
        if self.change is not None:
            valences = f"valence {_number(self.change.before)} → {_number(self.change.now)}"
            estimate = f"now {self.emotion}, {valences}, confidence {self.confidence:.1f}{old}"
            parts.append(f"{self.change.words} over {self.change.seconds:.0f} s ({estimate})")
        elif self.emotion:
            parts.append(f"seems {self.emotion} (confidence {self.confidence:.1f}{old})")
        else:
            parts.append("emotion unclear")
        if self.speaking:
            parts.append("speaking")
        return ", ".join(parts) + "."

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready fields; what is unknown is left out."""
        known: dict[str, Any] = {
            "sentence": self.sentence,
            "partner": self.partner,
            "engagement": self.engagement,
            "speaking": self.speaking,
            "face_id": self.face_id,
            "person_id": self.person_id,
            "distance": self.distance,
            "age": self.age,
            "emotion": self.emotion,
        }
        if self.emotion:
            known |= {"confidence": self.confidence, "valence": self.valence, "arousal": self.arousal}
        if self.change is not None:
            change = (self.change.seconds, self.change.before, self.change.now)
            known["change"] = dict(
                zip(("seconds", "valence_before", "valence_now"), map(_rounded, change), strict=True)
            )
        return {name: _rounded(value) for name, value in known.items() if value != "" and value == value}


@dataclass(frozen=True)
class Context:
    """Everybody who is seen or heard; the conversation partner comes first."""

    stamp_ns: int
    people: tuple[PersonContext, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready fields: ``stamp`` (s), ``people`` and ``note``."""
        return {
            "stamp": round(self.stamp_ns / SECOND, 3),
            "people": [person.as_dict() for person in self.people],
            "note": NOTE,
        }

    def to_json(self) -> str:
        """Compact JSON; sentences keep their characters (→, −)."""
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class ContextTracker:
    """Follows the people in front of the robot. Bounded memory; reads no clock; not thread-safe."""

    def __init__(self, config: ContextConfig | None = None) -> None:
        self.config = config or ContextConfig()
        self._states: tuple[EmotionState, ...] = ()
        self._faces: Mapping[str, float] = {}
        self._faces_ns = 0
        self._persons: tuple[PersonState, ...] = ()
        self._valences: dict[str, deque[tuple[int, float]]] = {}  # person -> time, valence

    def forget(self) -> None:
        """Start again, as if nobody had been there; for example after the clock was set back."""
        self._states, self._persons, self._faces = (), (), {}
        self._valences.clear()

    def add_states(self, states: Sequence[EmotionState]) -> None:
        """Take the states of everybody who is seen or heard, the conversation partner first."""
        self._states = tuple(state for state in states if state.status != EmotionStatus.NO_EVIDENCE)
        for state in self._states:
            if state.emotion.confidence >= self.config.context_min_confidence:
                self._sample(_key(state), state.stamp_ns, state.emotion.valence)

    def add_faces(self, stamp_ns: int, positions: Mapping[str, float]) -> None:
        """Take the horizontal centres (px, rightwards) of all faces in an image, by face id."""
        self._faces_ns, self._faces = stamp_ns, dict(positions)

    def add_persons(self, persons: Iterable[PersonState]) -> None:
        """Take what is known about everybody's attention; it replaces what was known before."""
        self._persons = tuple(persons)

    def context(self, now_ns: int) -> Context:
        """What is known at ``now_ns``."""
        states = [state for state in self._states if self._is_recent(state.stamp_ns, now_ns)]
        attention = [one for one in self._persons if self._is_recent(one.stamp_ns, now_ns)]
        places = self._places(now_ns)
        people = [self._person(state, _find(attention, state), places, now_ns, not i) for i, state in enumerate(states)]
        described = {one for state in states if (one := _find(attention, state)) is not None}
        people += [self._person(None, one, places, now_ns, False) for one in attention if one not in described]
        return Context(now_ns, tuple(people[:MAX_PEOPLE]))

    def _is_recent(self, stamp_ns: int, now_ns: int) -> bool:
        return abs(now_ns - stamp_ns) <= self.config.context_max_age * SECOND

    def _places(self, now_ns: int) -> dict[str, str]:
        """Face id -> where that person is, from left to right as the robot's camera sees it."""
        if not self._is_recent(self._faces_ns, now_ns):
            return {}
        order = sorted(self._faces, key=lambda face_id: self._faces[face_id])
        return dict(zip(order, _place_names(len(order)), strict=True))

    def _sample(self, key: str, stamp_ns: int, valence: float) -> None:
        samples = self._valences.pop(key, None) or deque()
        self._valences[key] = samples  # the most recent ones are last
        if samples and stamp_ns < samples[-1][0]:
            samples.clear()
        if not samples or stamp_ns - samples[-1][0] >= SAMPLE_PERIOD:
            samples.append((stamp_ns, valence))
        while samples[0][0] < stamp_ns - self.config.context_window * SECOND:
            samples.popleft()
        while len(self._valences) > MAX_PEOPLE:
            del self._valences[next(iter(self._valences))]

    def _change(self, key: str, now_ns: int) -> ValenceChange | None:
        """Mean valence of the last third of the window minus that of the first; None if too small or too short."""
        samples = self._valences.get(key)
        if samples is None or len(samples) < 6:
            return None
        first, last = samples[0][0], samples[-1][0]
        span = (last - first) / SECOND
        if span < self.config.context_window / 2 or not self._is_recent(last, now_ns):
            return None
        third = (last - first) // 3
        before = [valence for time, valence in samples if time <= first + third]
        now = [valence for time, valence in samples if time >= last - third]
        change = ValenceChange(span, sum(before) / len(before), sum(now) / len(now))
        return change if abs(change.now - change.before) >= self.config.context_min_change else None

    def _person(
        self,
        state: EmotionState | None,
        attention: PersonState | None,
        places: Mapping[str, str],
        now_ns: int,
        partner: bool,
    ) -> PersonContext:
        known: Any = state or attention
        clear = state is not None and state.emotion.confidence >= self.config.context_min_confidence
        emotion = state.emotion if state is not None and clear else None
        face_id = known.face_id or (attention.face_id if attention else "")
        level = attention.engagement if attention is not None else Engagement.UNKNOWN
        return PersonContext(
            person_id=known.person_id,
            face_id=face_id,
            place=places.get(face_id, "the person in view" if face_id else UNSEEN),
            partner=partner,
            engagement="" if level == Engagement.UNKNOWN else level.name.lower(),
            speaking=_is_speaking(state, attention, now_ns),
            distance=attention.distance if attention is not None else math.nan,
            age=max(0.0, (now_ns - state.stamp_ns) / SECOND) if state is not None else math.nan,
            emotion=emotion.name if emotion else "",
            confidence=emotion.confidence if emotion else 0.0,
            valence=emotion.valence if emotion else math.nan,
            arousal=emotion.arousal if emotion else math.nan,
            change=self._change(_key(state), now_ns) if state is not None and clear else None,
        )


def _key(state: EmotionState) -> str:
    return state.person_id or state.face_id or state.voice_id


def _find(attention: Iterable[PersonState], state: EmotionState) -> PersonState | None:
    for one in attention:
        if (one.face_id and one.face_id == state.face_id) or (one.person_id and one.person_id == state.person_id):
            return one
    return None


def _is_speaking(state: EmotionState | None, attention: PersonState | None, now_ns: int) -> bool:
    if attention is not None and attention.speaking == attention.speaking:
        return attention.speaking >= 0.5
    if state is None:
        return False
    passed = (now_ns - state.stamp_ns) / SECOND
    return any(
        item.modality == EmotionModality.ACOUSTIC and item.weight > 0 and item.age + passed <= HEARD_S
        for item in state.evidence
    )


def _place_names(count: int) -> list[str]:
    """Names of ``count`` people from left to right.

    Example:
        >>> _place_names(3)
        ['the person on the left', 'the person in the middle', 'the person on the right']
    """
    if count <= 1:
        return ["the person in view"] * count
    if count <= 3:
        middle = ["the person in the middle"] if count == 3 else []
        return ["the person on the left", *middle, "the person on the right"]
    names = [f"the {word} person from the left" for word in _ORDINALS[:count]]
    return names + ["a person further right"] * (count - len(names))


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _rounded(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value
