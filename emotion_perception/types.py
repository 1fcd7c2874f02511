"""Values that the parts of the core exchange: frozen dataclasses with numpy arrays, without ROS and torch.

Stamps are integer nanoseconds on the source's clock (ROS time in nodes); durations are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from emotion_perception.emotions import EMOTIONS, valence_arousal, valence_arousal_deviation
from emotion_perception.priors import BALANCED, exchange_prior

SECOND = 1_000_000_000  # ns, the unit of every stamp


def clock_text(seconds: float) -> str:
    """A duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class EmotionModality(IntEnum):
    """Source of a piece of evidence; values as in ``emotion_msgs/ModalityEvidence``."""

    VISUAL = 0
    ACOUSTIC = 1
    TEXT = 2


class EmotionStatus(IntEnum):
    """Modalities that a state is based on; values as in ``emotion_msgs/EmotionState``."""

    NO_EVIDENCE = 0
    VISUAL_ONLY = 1
    ACOUSTIC_ONLY = 2
    AUDIO_VISUAL = 3


@dataclass(frozen=True)
class EmotionEstimate:
    """A calibrated distribution over the vocabulary."""

    probabilities: np.ndarray  # (8,) float32, sums to 1
    intensities: np.ndarray  # (8,) float32, 0..1, NaN where the model has no such output
    confidence: float  # probability that `label` is correct, 0..1
    valence: float  # -1..1
    arousal: float  # -1..1
    # (8,) float32, the class prior that `probabilities` contain, sum 1; all 0 where it is not known
    prior: np.ndarray = field(default_factory=lambda: BALANCED)

    @property
    def label(self) -> int:
        """Index of the most probable emotion."""
        return int(self.probabilities.argmax())

    @property
    def name(self) -> str:
        """Name of the most probable emotion."""
        return EMOTIONS[self.label]

    @property
    def deviations(self) -> tuple[float, float]:
        """Standard deviation of the errors of ``valence`` and of ``arousal``; NaN for an unknown estimate."""
        if self.confidence == 0:
            return math.nan, math.nan
        return valence_arousal_deviation(self.probabilities, self.intensities)

    @classmethod
    def from_probabilities(
        cls,
        probabilities: np.ndarray,
        intensities: np.ndarray | None = None,
        confidence: float | None = None,
        prior: np.ndarray = BALANCED,
    ) -> EmotionEstimate:
        """Make an estimate from a distribution; valence and arousal are its mean on the circumplex.

        Args:
            probabilities: ``(8,)``, >= 0; normalised to sum 1.
            intensities: ``(8,)`` in 0..1; NaN if left out.
            confidence: 0..1; the largest probability if left out.
            prior: ``(8,)``, the class prior that ``probabilities`` contain.

        Raises:
            ValueError: ``probabilities`` is not ``(8,)``, not finite, negative, or its sum is 0.

        Example:
            >>> estimate = EmotionEstimate.from_probabilities(np.array([1, 0, 3, 0, 0, 0, 0, 0]))
            >>> estimate.name, estimate.confidence, round(estimate.valence, 4)
            ('happy', 0.75, 0.6375)
        """
        p = np.asarray(probabilities, dtype=np.float32)
        total = float(p.sum())
        if p.shape != (len(EMOTIONS),) or not np.isfinite(total) or total <= 0 or p.min() < 0:
            raise ValueError(f"probabilities must be {len(EMOTIONS)} finite values >= 0 with a positive sum, got {p}")
        p = p / total
        strengths = np.full(len(EMOTIONS), np.nan, np.float32) if intensities is None else intensities
        valence, arousal = valence_arousal(p, strengths)
        return cls(p, strengths, float(p.max()) if confidence is None else confidence, valence, arousal, prior)

    def with_prior(self, prior: np.ndarray) -> EmotionEstimate:
        """The same evidence under another class prior ``(8,)``; the confidence keeps its ratio to the largest p.

        Example:
            >>> from emotion_perception.priors import PRIORS
            >>> even = EmotionEstimate.from_probabilities(np.array([0.5, 0, 0.4, 0, 0, 0.1, 0, 0]), prior=PRIORS["web"])
            >>> even.name, even.with_prior(PRIORS["balanced"]).name
            ('neutral', 'fearful')
        """
        if prior is self.prior or prior.tolist() == self.prior.tolist():  # faster than array_equal on eight numbers
            return self
        p = exchange_prior(self.probabilities, self.prior, prior)
        confidence = min(1.0, self.confidence * max(p.tolist()) / max(self.probabilities.tolist()))
        return EmotionEstimate(p, self.intensities, confidence, *valence_arousal(p, self.intensities), prior)

    @classmethod
    def unknown(cls) -> EmotionEstimate:
        """Uniform distribution with confidence 0, for status NO_EVIDENCE."""
        n = len(EMOTIONS)
        return cls(np.full(n, 1 / n, np.float32), np.full(n, np.nan, np.float32), 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Box:
    """An axis-aligned rectangle in pixels of the full image; it may extend beyond the edge."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class FaceDetection:
    """One face in one image."""

    box: Box
    score: float  # 0..1
    landmarks: np.ndarray  # (5, 2) float32 px: eyes, nose tip, mouth corners; the person's right one first


@dataclass(frozen=True)
class FaceLandmarks:
    """What the landmarks of one face in one image show.

    Angles are relative to the line from the camera to the face, rad: yaw is positive towards the image's right, pitch
    upwards, roll clockwise; all are 0 for a face that looks straight into the camera.
    """

    score: float  # 0..1, probability that the landmark network found a face
    head_yaw: float = math.nan  # NaN, like all below, if it found none
    head_pitch: float = math.nan
    head_roll: float = math.nan
    gaze_yaw: float = math.nan
    gaze_pitch: float = math.nan
    eye_closure: float = math.nan  # 0 (open) .. 1 (closed), the mean of both eyes
    jaw_opening: float = math.nan  # 0 (closed) .. 1 (wide open)
    # (70, 2) float32 px of the full image, in the order of hri_msgs/FacialLandmarks; (0, 2) if no face was found
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    # (52,) float32, 0..1, in the order of MediaPipe's face landmarker; empty if no face was found
    blendshapes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    facial_actions: str = ""  # strongest first, such as "brows lowered 0.6, lip corners down 0.4"


@dataclass(frozen=True)
class FaceObservation:
    """One tracked face in one image, with its emotion."""

    face_id: str
    box: Box
    detection_score: float  # 0..1
    quality: float  # 0..1, of the face crop
    emotion: EmotionEstimate
    mouth_opening: float = math.nan  # 0..1, darkness of the mouth's inside against the face; NaN if unknown
    mouth_motion: float = math.nan  # >= 0, share of its contrast that changed over 1/30 s; NaN if unknown
    baseline_weight: float = 0.0  # 0..1, of the person's own resting face in this estimate; 0: unknown person
    landmarks: FaceLandmarks | None = None  # None: not measured in this image


@dataclass(frozen=True)
class VoiceObservation:
    """One decision about a segment of speech."""

    stamp_ns: int  # end of the segment
    duration: float  # s
    voice_id: str
    snr_db: float  # NaN if unknown
    overlapped_speech: bool
    final: bool  # True for the decision at the end of an utterance
    emotion: EmotionEstimate
    # (K,) level of K equal parts of the segment, float32 dB of full scale; empty if unknown
    level_db: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class Evidence:
    """Contribution of one modality to a state."""

    modality: EmotionModality
    weight: float  # exponent in the log-linear pool, >= 0
    age: float  # s, from capture to the state
    emotion: EmotionEstimate


@dataclass(frozen=True)
class EmotionState:
    """Fused estimate about one person."""

    stamp_ns: int  # of the newest evidence used; of the query if there is none
    status: EmotionStatus
    person_id: str
    face_id: str
    voice_id: str
    emotion: EmotionEstimate
    evidence: tuple[Evidence, ...]


class Engagement(IntEnum):
    """Level of engagement with the robot; as in ``emotion_msgs/PersonState`` and ``hri_msgs/EngagementLevel``."""

    UNKNOWN = 0
    DISENGAGED = 1
    ENGAGING = 2
    ENGAGED = 3
    DISENGAGING = 4


class DistanceZone(IntEnum):
    """Hall's (1966) zones with the limits of ``hri_person_manager``; values as in ``emotion_msgs/PersonState``."""

    UNKNOWN = 0
    PERSONAL = 1  # below 1.2 m
    SOCIAL = 2  # below 3.6 m
    PUBLIC = 3  # below 20 m


@dataclass(frozen=True)
class PersonState:
    """Attention and engagement of one person at one time."""

    stamp_ns: int  # of the image that it is based on
    person_id: str  # empty if unknown
    face_id: str  # empty if the face is not in view
    is_partner: bool = False  # the conversation partner
    engagement: Engagement = Engagement.UNKNOWN
    looking: float = math.nan  # 0..1, probability that the person looks at the robot; NaN if unknown
    attention: float = math.nan  # 0..1, share of the observation window with a look at the robot; NaN if unknown
    looking_duration: float = 0.0  # s without interruption; 0 while looking elsewhere
    distance: float = math.nan  # m from the camera; NaN if unknown
    zone: DistanceZone = DistanceZone.UNKNOWN
    approach_speed: float = math.nan  # m/s, positive while the distance falls; NaN if unknown
    speaking: float = math.nan  # 0..1, probability that the person is speaking; NaN if unknown


@dataclass(frozen=True)
class RunningConversation:
    """Arc of the running conversation, as ``interaction/arc`` reports it."""

    interaction_id: str  # empty: no conversation is running
    person_id: str
    start_ns: int
    end_ns: int
    shape: str
    valence_trend: float  # per minute; NaN if unknown
    turning_points: int
    mean_valence: float  # NaN if unknown


@dataclass(frozen=True)
class NodeHealth:
    """What a node reports about itself on ``/diagnostics``."""

    name: str
    level: str  # "ok", "warn", "error" or "stale"
    message: str
    values: Mapping[str, str]


def to_seconds(nanoseconds: int) -> float:
    """A duration in ns as s."""
    return nanoseconds * 1e-9


def to_nanoseconds(seconds: float) -> int:
    """A duration in s as whole ns."""
    return round(seconds * SECOND)
