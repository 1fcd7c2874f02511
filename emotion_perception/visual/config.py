"""Settings of the visual pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_perception.hmm_filter import TemporalConfig
from emotion_perception.priors import DEFAULT_PRIOR, PRIOR_SETTING, parse_prior
from emotion_perception.settings import check_settings, setting

AUTO = "auto"
ROTATIONS = ("0", "90", "180", "270", AUTO)  # degrees clockwise by which an image must be turned to be upright


@dataclass(frozen=True)
class VisualConfig:
    """The settings of :class:`VisualPerception`; each is a ROS parameter of ``visual_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    image_rotation: str = setting(
        "0",
        "Rotation in degrees clockwise that makes the camera's images upright. auto: found from faces within about two "
        "seconds, and kept; the first faces then get new ids. Published positions and angles refer to the image as the "
        "camera sends it. See cameras.md.",
        choices=ROTATIONS,
    )
    image_mirror: bool = setting(
        False, "The camera's images are mirrored: flip them horizontally after the rotation, so that left is left."
    )
    expression_model: str = setting(
        "expression.onnx",
        "Facial expression classifier: path of an ONNX or TFLite file with a model card, or the name of a model in the "
        "package.",
    )
    emotion_prior: str = setting(DEFAULT_PRIOR, PRIOR_SETTING)
    face_detector_model: str = setting(
        "", "ONNX file of another face detector (CenterFace or YuNet). Empty: the bundled CenterFace."
    )
    min_detection_score: float = setting(
        0.5,
        "Minimum detection score of a face. Lower finds more faces (dark, turned away) and more false positives.",
        0.01,
        0.99,
    )
    detection_width: int = setting(
        320,
        "Longer side of the downscaled image that is searched for faces. 320 finds faces of about 24 px in a 640 px "
        "image. Larger finds more distant faces; the time per search grows with its square.",
        32,
        4096,
        "px",
        step=32,
    )
    still_detection_width: int = setting(
        640, "Same as detection_width, for single images, where time matters less.", 32, 4096, "px", step=32
    )
    detection_interval: float = setting(
        0.2,
        "Time between two searches of the whole image; faces are tracked in the images between. Smaller finds "
        "newcomers sooner and costs CPU. While nothing moves outside the tracked faces, 1 s if that is longer. "
        "0: search every image.",
        0.0,
        10.0,
        "s",
    )
    max_faces: int = setting(
        8,
        "Maximum number of faces whose expression is classified: the nearest ones and those that look at the robot. "
        "Bounds the processing time per image. Further faces are tracked and published with quality 0 and confidence "
        "0.",
        1,
        100,
    )
    min_face_size: int = setting(
        16,
        "Minimum face size (mean of width and height). Smaller faces are not reported: an expression cannot be read "
        "from so few pixels. Larger restricts the output to people nearby.",
        1,
        4096,
        "px",
    )
    track_timeout: float = setting(
        1.5, "A face that reappears after being out of sight for longer than this gets a new id.", 0.01, 60.0, "s"
    )
    expression_hold_s: float = setting(
        TemporalConfig.hold,
        "Time constant of the temporal filter of the expression: a clear change is reported after about this time. "
        "Larger is steadier and slower. 0: no filter.",
        0.0,
        60.0,
        "s",
    )
    expression_slip: float = setting(
        TemporalConfig.outlier_probability,
        "Probability that a single image does not show the expression (a blink, speech). Smaller lets a single "
        "confident image change the result.",
        0.01,
        0.9,
    )
    intensity_smoothing_s: float = setting(
        0.25, "Time constant of the low-pass filter of the intensities. 0: no filter.", 0.0, 60.0, "s"
    )
    face_baseline: float = setting(
        1.0,
        "Share of the own-face correction that is applied: a face is compared with its own resting face after some "
        "seconds. Larger reads slight expressions and faces that look sad at rest better, and errs more where the "
        "tracker confuses persons. 0: off.",
        0.0,
        1.0,
    )
    face_baseline_s: float = setting(
        2.0,
        "Time for which a resting face must be seen until half of face_baseline applies. Larger is more cautious.",
        0.1,
        3600.0,
        "s",
    )
    mouth_motion: bool = setting(
        True, "Measure mouth motion, which fusion uses to find the active speaker. Costs 0.2 ms per face and image."
    )
    landmark_rate: float = setting(
        2.0,
        "Measurements of landmarks (head pose, gaze, eye closure, facial actions) per second, over all faces in view; "
        "near faces have their turn more often. In a still they are always measured. Each costs 7 ms on an older CPU. "
        "0: none.",
        0.0,
        100.0,
        "Hz",
    )
    facial_actions: bool = setting(
        True,
        "Let facial actions (lip corners up, brows lowered) count as evidence beside the expression network, for faces "
        "above 48 px whose landmarks are measured.",
    )
    full_quality: float = setting(
        0.9,
        "Face quality from which the classifier's output is used unchanged; below, its distribution is flattened. "
        "Larger is more cautious with small, blurred and turned faces.",
        0.01,
        1.0,
    )
    id_seed: int = setting(
        -1, "Seed of the face ids, for reproducible runs. -1: random ids in every run.", -1, 2**31 - 1
    )

    def __post_init__(self) -> None:
        check_settings(self)
        parse_prior(self.emotion_prior)
