"""Adaptation to a place: microphone, room and language shift the voice logits of everybody there alike.

The shift is estimated from unlabelled speech. What people feel in a place is not known, and mostly it is neutral, so
the mean logits of a place must not simply be moved to the mean over all emotions: each utterance is first attributed to
the emotions by where such utterances usually lie, and its distance from there is averaged. This is expectation
maximisation for a mixture of Gaussians with known class means, a known covariance and one common translation
(a maximum-likelihood linear transform with the bias only, Leggetter & Woodland 1995). Mixture weights are learnt as
well, anchored to a prior.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import read_json, replacing

N = len(EMOTIONS)
ANCHOR = 20.0  # utterances: weight of the prior against the frequencies of emotions in the place
INERTIA = 8.0  # utterances after which half of the estimated shift is applied
MEMORY = 400.0  # utterances: the estimate follows a change of the place with this time constant, not a person's mood
LIMIT = 2.5  # largest shift of a logit
TOLERANCE = 1.1  # Mahalanobis length of a shift that speakers of the training corpora also have; only more is removed
PASSES = 10  # of expectation maximisation over a recording
FORMAT = 1  # of the file
# Frequencies of the emotions in everyday speech to a service robot; only an anchor, the place's own are learnt.
EXPECTED = np.array([0.55, 0.10, 0.15, 0.06, 0.05, 0.02, 0.02, 0.05])


@dataclass(frozen=True)
class ClassStatistics:
    """Where the logits of utterances lie, over speakers that the network was not trained on."""

    means: np.ndarray  # (8, 8) mean logits of the utterances of each emotion
    covariance: np.ndarray  # (8, 8) of the logits about the mean of their emotion, mean over emotions

    def __post_init__(self) -> None:
        if self.means.shape != (N, N) or self.covariance.shape != (N, N):
            raise ValueError(f"class statistics must be {N} x {N}, got {self.means.shape}, {self.covariance.shape}")
        if not (np.isfinite(self.means).all() and np.isfinite(self.covariance).all()):
            raise ValueError("class statistics must be finite")
        np.linalg.cholesky(self.covariance)  # raises LinAlgError, a ValueError

    @classmethod
    def from_card(cls, values: Any) -> ClassStatistics | None:
        """Read ``class_statistics`` of a model card; None where the card has none.

        Raises:
            ValueError: wrong shape, not finite, or the covariance is not positive definite.
        """
        if values is None:
            return None
        return cls(np.array(values["means"], np.float64), np.array(values["covariance"], np.float64))

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> ClassStatistics:
        """Statistics of ``(N, 8)`` logits; each group (corpus) has the same weight in the mean of an emotion.

        Emotions without an utterance get the mean of all.
        """
        means = np.tile(logits.mean(axis=0), (N, 1)).astype(np.float64)
        residuals = []
        for label in np.unique(labels):
            parts = [logits[(labels == label) & (groups == g)] for g in np.unique(groups[labels == label])]
            means[label] = np.mean([part.mean(axis=0) for part in parts], axis=0)
            residuals.append(np.cov(logits[labels == label].T) if (labels == label).sum() > 2 else np.eye(N))
        return cls(means, np.mean(residuals, axis=0) + 1e-3 * np.eye(N))

    @property
    def fingerprint(self) -> str:
        """Short text that differs between networks."""
        return hashlib.sha256(json.dumps(self.to_card()).encode()).hexdigest()[:12]

    def to_card(self) -> dict[str, Any]:
        """The same as plain numbers."""
        return {"means": np.round(self.means, 4).tolist(), "covariance": np.round(self.covariance, 4).tolist()}


@dataclass(frozen=True)
class PlaceState:
    """What is known about a place: a few numbers, no sound."""

    shift: tuple[float, ...] = (0.0,) * N  # of the logits, before the weight for few utterances
    frequencies: tuple[float, ...] = (0.0,) * N  # sum of the attributions to each emotion
    utterances: float = 0.0  # that the estimate rests on, at most MEMORY
    model: str = ""  # ClassStatistics.fingerprint of the network that the shift belongs to


class PlaceAdaptation:
    """Estimates the shift of a place and removes it from logits.

    Args:
        statistics: of the network; None: the network has none, and nothing is adapted.
        prior: ``(8,)`` expected frequencies of the emotions, sum 1.
        strength: share 0..1 of the estimated shift that is removed.

    Attributes:
        learning: whether :meth:`add` changes the estimate; set it to False once the place is known for good.

    Raises:
        ValueError: ``strength`` is out of range.

    Example:
        >>> place = PlaceAdaptation(ClassStatistics(4 * np.eye(8), np.eye(8)))
        >>> heard = 4 * np.eye(8)[0] + np.array([-2.1, 0, 0, 2.1, 0, 0, 0, 0])  # neutral, shifted towards sad
        >>> for _ in range(200):
        ...     place.add(heard)
        >>> print(EMOTIONS[heard.argmax()], EMOTIONS[place.normalise(heard).argmax()])
        sad neutral
    """

    def __init__(self, statistics: ClassStatistics | None, prior: np.ndarray = EXPECTED, strength: float = 1.0) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {strength}")
        self._statistics, self._strength = statistics, strength
        self.learning = True
        self._model = "" if statistics is None else statistics.fingerprint
        self._prior = np.asarray(prior, np.float64)
        self._precision = None if statistics is None else np.linalg.inv(statistics.covariance)
        self.reset()

    @property
    def active(self) -> bool:
        """Whether anything is adapted."""
        return self._statistics is not None and self._strength > 0

    @property
    def state(self) -> PlaceState:
        """The estimate as a value."""
        return PlaceState(
            tuple(round(float(v), 4) for v in self._shift),
            tuple(round(float(v), 4) for v in self._counts),
            round(self._utterances, 2),
            self._model,
        )

    @property
    def shift(self) -> np.ndarray:
        """``(8,)`` shift that is removed from the logits: bounded, and small after few utterances."""
        if not self.active:
            return np.zeros(N, np.float32)
        known = self._utterances / (self._utterances + INERTIA)
        beyond = 1 - TOLERANCE / max(self.foreignness, TOLERANCE)
        return (self._strength * known * beyond * np.clip(self._shift, -LIMIT, LIMIT)).astype(np.float32)

    @property
    def foreignness(self) -> float:
        """How far the voices of the place are from those of training: Mahalanobis length of the estimated shift.

        0 to 2 for unseen speakers of the training corpora, about 4 for a corpus whose neutral was never recognised.
        """
        return 0.0 if self._precision is None else float(np.sqrt(self._shift @ self._precision @ self._shift))

    @property
    def utterances(self) -> float:
        """Utterances that the estimate rests on, at most :data:`MEMORY`."""
        return self._utterances

    def reset(self, state: PlaceState | None = None) -> None:
        """Start with another place, or with what is known about it.

        Raises:
            ValueError: the state belongs to another network.
        """
        state = state or PlaceState(model=self._model)
        if state.model != self._model:
            raise ValueError("the place was calibrated with another voice model; calibrate it anew")
        self._shift = np.array(state.shift)
        self._counts = np.array(state.frequencies)
        self._utterances = state.utterances

    def add(self, logits: np.ndarray) -> None:
        """Add a finished utterance: ``(8,)`` its logits, not adapted."""
        if self._statistics is None or not self.learning:
            return
        responsibility, distance = self._attribute(np.asarray(logits, np.float64)[None])
        self._utterances = min(self._utterances + 1, MEMORY)
        rate = 1 / self._utterances
        self._counts = self._counts + responsibility[0]
        self._counts *= min(1.0, MEMORY / self._counts.sum())
        self._shift = np.clip(self._shift + rate * (distance[0] - self._shift), -2 * LIMIT, 2 * LIMIT)

    def fit(self, logits: np.ndarray) -> None:
        """Estimate the shift from all utterances of a recording or place at once; replaces the earlier estimate.

        Args:
            logits: ``(K, 8)``, not adapted.
        """
        self.reset()
        if self._statistics is None or not len(logits):
            return
        for _ in range(PASSES):
            responsibility, distance = self._attribute(np.asarray(logits, np.float64))
            self._counts = responsibility.sum(axis=0)
            self._shift = np.clip(distance.mean(axis=0), -2 * LIMIT, 2 * LIMIT)
        self._utterances = float(min(len(logits), MEMORY))

    def normalise(self, logits: np.ndarray) -> np.ndarray:
        """``(8,)`` or ``(K, 8)`` logits without the shift of the place."""
        return logits - self.shift

    def _attribute(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Attribution ``(K, 8)`` of utterances to emotions, and distance ``(K, 8)`` from the emotions' mean logits."""
        assert self._statistics is not None and self._precision is not None
        known = self._utterances / (self._utterances + INERTIA) if self._utterances else 1.0
        away = logits[:, None] - known * self._shift - self._statistics.means  # (K, emotions, 8)
        log_p = -0.5 * np.einsum("kej,ji,kei->ke", away, self._precision, away)
        weights = (self._counts + ANCHOR * self._prior) / (self._counts.sum() + ANCHOR)
        log_p += np.log(weights + 1e-9)
        responsibility = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        responsibility /= responsibility.sum(axis=1, keepdims=True)
        return responsibility, logits - responsibility @ self._statistics.means


class PlaceCalibration:
    """Counts the speech that is still needed after ``~/calibrate_place``; ``seconds`` of it are enough."""

    def __init__(self, seconds: float) -> None:
        self.remaining = seconds

    def add(self, seconds: float) -> bool:
        """Add an utterance of ``seconds``; returns whether the calibration is complete."""
        self.remaining = max(0.0, self.remaining - seconds)
        return self.remaining == 0


def describe_place(place: PlaceAdaptation, calibration: PlaceCalibration | None) -> dict[str, str]:
    """What diagnostics show about a place."""
    shift = place.shift
    largest = int(np.abs(shift).argmax())
    status = {
        "place": "learning" if calibration is not None else "adapting",
        "place_utterances": f"{place.utterances:.0f}",
        "place_foreignness": f"{place.foreignness:.2f}",
        "place_shift": f"{shift[largest]:+.2f} {EMOTIONS[largest]}",
    }
    if calibration is not None:
        status["place_speech_needed_s"] = f"{calibration.remaining:.0f}"
    return status


def save_place(path: Path, state: PlaceState) -> None:
    """Write the state of a place as JSON; an earlier file is replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps({"format": FORMAT, **asdict(state)}, indent=1) + "\n")


def load_place(path: Path) -> PlaceState:
    """Read a file that :func:`save_place` wrote.

    Raises:
        ValueError: it is not such a file; the message names it.
        OSError: it cannot be read.
    """
    try:
        values = read_json(path)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError("wrong format")
        shift, frequencies = (np.array(values[key], np.float64) for key in ("shift", "frequencies"))
        utterances = float(values["utterances"])
        numbers = np.concatenate([shift, frequencies, [utterances]])
        if shift.shape != (N,) or frequencies.shape != (N,) or not np.isfinite(numbers).all():
            raise ValueError("shift and frequencies must have eight finite numbers")
        if not 0 <= utterances <= MEMORY or frequencies.min() < 0 or np.abs(shift).max() > 2 * LIMIT:
            raise ValueError("a number is out of range")
        return PlaceState(tuple(shift), tuple(frequencies), utterances, str(values["model"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the calibration of a place ({type(error).__name__}: {error})") from error
