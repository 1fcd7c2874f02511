"""The settings of the fusion engine."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_perception.fusion.pooling import half_life_decay
from emotion_perception.priors import DEFAULT_PRIOR, PRIOR_SETTING, parse_prior
from emotion_perception.settings import check_settings, setting
from emotion_perception.types import EmotionModality


@dataclass(frozen=True)
class FusionConfig:
    """The settings of :class:`EmotionFusion`; each is a ROS parameter of ``fusion_node`` with the same name.

    Raises:
        ValueError: a value is out of range, or a fresh time is longer than its maximum age; the message names it.
    """

    emotion_prior: str = setting(DEFAULT_PRIOR, PRIOR_SETTING)
    visual_weight: float = setting(
        1.0, "Factor on the weight of faces in the pool. Larger trusts faces more. 0: ignore faces.", 0.0, 4.0
    )
    acoustic_weight: float = setting(
        1.0, "Factor on the weight of voices in the pool. Larger trusts voices more. 0: ignore voices.", 0.0, 4.0
    )
    text_weight: float = setting(
        1.0, "Factor on the weight of the transcript in the pool. Larger trusts words more. 0: ignore words.", 0.0, 4.0
    )
    visual_fresh_s: float = setting(
        0.2, "Age up to which a face has full weight. Larger bridges gaps and reacts later.", 0.0, 60.0, "s"
    )
    acoustic_fresh_s: float = setting(
        1.0, "Age up to which a voice decision has full weight. Larger bridges gaps and reacts later.", 0.0, 60.0, "s"
    )
    visual_half_life_s: float = setting(
        0.5, "Time in which the weight of a face halves once it is older than visual_fresh_s.", 0.01, 600.0, "s"
    )
    acoustic_half_life_s: float = setting(
        3.0,
        "Time in which the weight of a voice decision halves once it is older than acoustic_fresh_s.",
        0.01,
        600.0,
        "s",
    )
    visual_max_age_s: float = setting(1.0, "Age from which a face is no evidence.", 0.05, 600.0, "s")
    acoustic_max_age_s: float = setting(5.0, "Age from which a voice decision is no evidence.", 0.05, 600.0, "s")
    face_hold_s: float = setting(
        0.5,
        "Time for which a face counts although newer images lack it. Larger bridges longer occlusions.",
        0.0,
        60.0,
        "s",
    )
    text_fresh_s: float = setting(2.0, "Age up to which a transcript has full weight.", 0.0, 60.0, "s")
    text_half_life_s: float = setting(
        4.0, "Time in which the weight of a transcript halves once it is older than text_fresh_s.", 0.01, 600.0, "s"
    )
    text_max_age_s: float = setting(10.0, "Age from which a transcript is no evidence.", 0.05, 600.0, "s")
    min_quality: float = setting(0.05, "A face of this quality or less is no evidence.", 0.0, 1.0)
    good_detection_score: float = setting(
        0.6, "Detection score from which a face has full weight; below, the weight is proportional.", 0.01, 1.0
    )
    min_snr_db: float = setting(
        -10.0, "A voice with this signal-to-noise ratio or less is no evidence.", -40.0, 60.0, "dB"
    )
    full_speech_s: float = setting(
        1.0, "Length of speech from which a decision has full weight; below, the weight is proportional.",
        0.01, 60.0, "s",
    )  # fmt: skip
    overlap_factor: float = setting(0.3, "Factor on the weight of a voice where several people speak.", 0.0, 1.0)
    voice_hold_s: float = setting(
        1.0,
        "Time constant of the temporal filter of the voice, in seconds of speech. Larger is steadier and slower.",
        0.01,
        60.0,
        "s",
    )
    voice_slip: float = setting(
        0.2, "Probability that an utterance does not show the emotion. Smaller lets a single utterance decide.",
        0.01, 0.9,
    )  # fmt: skip
    voice_memory_s: float = setting(
        8.0,
        "Time constant with which the belief about a voice fades between utterances. Larger remembers longer and "
        "follows a change of mood later.",
        0.1,
        600.0,
        "s",
    )
    direction_spread: float = setting(
        0.25, "Standard deviation of the direction of arrival that a microphone array measures.", 0.01, 3.0, "rad"
    )
    mouth_weight: float = setting(
        1.0, "Factor on the mouth-motion cue for active-speaker detection. 0: ignore mouths.", 0.0, 2.0
    )
    switch_ratio: float = setting(
        1.3,
        "Ratio by which the face of an equally engaged person must be larger to become the conversation partner. "
        "Larger switches less often.",
        1.0,
        100.0,
    )
    switch_after_s: float = setting(
        1.0,
        "Time for which another person must be more engaged, or the face larger, to become the conversation partner.",
        0.0,
        60.0,
        "s",
    )
    person_hold_s: float = setting(
        5.0, "Time after a face was last seen for which a voice is still assigned to its person.", 0.0, 600.0, "s"
    )
    future_limit_s: float = setting(
        2.0, "Evidence that is ahead of the query time by more than this is dropped.", 0.0, 600.0, "s"
    )
    clock_jump_s: float = setting(
        10.0, "Evidence that is older than the newest of its kind by more than this is a clock jump.", 1.0, 3600.0, "s"
    )

    def __post_init__(self) -> None:
        check_settings(self)
        parse_prior(self.emotion_prior)
        for modality in EmotionModality:
            _, fresh, _, oldest = self._of(modality)
            if not fresh <= oldest:
                name = modality.name.lower()
                raise ValueError(f"{name}_fresh_s must be at most {name}_max_age_s, got {fresh:g} and {oldest:g}")

    def weight_at(self, modality: EmotionModality, age: float) -> float:
        """Base weight of a modality times the staleness factor at an age in s."""
        weight, fresh, half_life, max_age = self._of(modality)
        return weight * half_life_decay(age, fresh, half_life, max_age)

    def _of(self, modality: EmotionModality) -> tuple[float, float, float, float]:
        """Base weight, fresh time, half-life and maximum age of a modality."""
        name = modality.name.lower()
        return tuple(getattr(self, f"{name}_{field}") for field in ("weight", "fresh_s", "half_life_s", "max_age_s"))
