"""From an image to faces with emotions: detection, tracking, quality and expression put together.

The whole image is searched a few times a second; in every image between, each known face is found again in a small
window around where it is expected. The faces that are read are classified in one batch; in a crowd these are the near
and engaged ones (:mod:`emotion_perception.visual.attention`), the others are followed from search to search.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.emotions import VISUAL_INDICES
from emotion_perception.hmm_filter import TemporalConfig, first_belief, next_belief, reported
from emotion_perception.resources import find_model
from emotion_perception.settings import check_settings, setting
from emotion_perception.types import SECOND, Box, EmotionEstimate, FaceDetection, FaceObservation
from emotion_perception.visual.alignment import FRAME, TEMPLATE, crop_face
from emotion_perception.visual.attention import Attention, box_side
from emotion_perception.visual.detector import FaceDetector, box_row, check_image, overlaps, suppress
from emotion_perception.visual.expression import FACE_SIZE, ExpressionClassifier
from emotion_perception.visual.mouth import Mouth, see_mouth
from emotion_perception.visual.quality import face_quality
from emotion_perception.visual.tracker import FaceTracker, TrackedFace, TrackerConfig, cheapest_pairs

TINY_PICTURE = 64  # px; a picture no larger in either direction is a face by itself (FER2013's are 48x48)
# The search takes candidates down to this share of the least score; the closer look in the window decides. A face of
# 20 px in a 640x480 image is 10 px in the copy that is searched, and scores about 0.5 there, but 0.88 when enlarged:
# of twenty such faces the search alone found thirteen, with the closer look all, and nothing that was no face.
CANDIDATE_SCORE = 0.6
SAME_PLACE = 0.3  # overlap at which a candidate is taken for the face that is expected there
NEWCOMERS = 2  # closer looks in a search beyond those for max_faces, so that a crowd is found little by little


@dataclass(frozen=True)
class VisualConfig:
    """The settings of :class:`VisualPerception`; each is a ROS parameter of ``visual_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    expression_model: str = setting(
        "expression.safetensors",
        "Weights of the facial expression classifier: a path, or the name of a model in the package.",
    )
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
        "newcomers sooner and costs CPU. 0: search every image.",
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
        TemporalConfig.slip,
        "Probability that a single image does not show the expression (a blink, speech). Smaller lets a single "
        "confident image change the result.",
        0.01,
        0.9,
    )
    intensity_smoothing_s: float = setting(
        0.25, "Time constant of the low-pass filter of the intensities. 0: no filter.", 0.0, 60.0, "s"
    )
    mouth_motion: bool = setting(
        True, "Measure mouth motion, which fusion uses to find the active speaker. Costs 0.2 ms per face and image."
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


@dataclass(frozen=True)
class _Expression:
    """A track's filtered expression."""

    stamp_ns: int
    belief: np.ndarray  # (7,), of the temporal filter
    intensities: np.ndarray  # (7,)


@dataclass(frozen=True)
class SeenFace:
    """A face in one image, found and judged by its picture, before anything is said of its emotion."""

    face_id: str
    box: Box
    detection_score: float  # 0..1
    quality: float  # 0..1; 0 where it is not read
    crop: np.ndarray | None  # (48, 48) uint8 grey, for the classifier; None where it is not read
    mouth_opening: float = math.nan  # as in FaceObservation
    mouth_motion: float = math.nan


@dataclass(frozen=True)
class FacePicture:
    """The newest picture of a face in view, as the classifier was given it, and what it says by itself, unfiltered."""

    face_id: str
    stamp_ns: int
    crop: np.ndarray  # (48, 48) uint8 grey
    emotion: EmotionEstimate


class VisualPerception:
    """Faces with identity, quality and emotion, image by image. One instance per camera; not thread-safe.

    Args:
        config: see :class:`VisualConfig`.
        classifier: another one than ``config.expression_model`` names, as an evaluation has.

    Raises:
        ModelError: a model is missing or not usable; names the path.
        ValueError: a field of the configuration is out of range; names it.
    """

    def __init__(self, config: VisualConfig | None = None, classifier: ExpressionClassifier | None = None) -> None:
        self.config = config = config or VisualConfig()
        self.detector = FaceDetector(
            Path(config.face_detector_model) if config.face_detector_model else None,
            config.min_detection_score * CANDIDATE_SCORE,
            config.detection_width,
        )
        self.classifier = classifier or ExpressionClassifier(find_model(config.expression_model))
        self.tracker = FaceTracker(TrackerConfig(timeout=config.track_timeout, seed=config.id_seed))
        self._attention = Attention(config.max_faces)
        self._filter = ExpressionFilter(config)
        self.reset()

    def warm_up(self) -> None:
        """Load what only the second face in view needs, which it waits for otherwise; from any thread."""
        cheapest_pairs(np.zeros((2, 2)))

    def reset(self) -> None:
        """Forget every face, as after a cut or a jump in time."""
        self.tracker.reset()
        self._attention.reset()
        self._searched_ns: int | None = None
        self._stamp: int | None = None
        self._latest: tuple[FaceObservation, ...] = ()
        self._visible: set[str] = set()  # in view, as far as was looked
        self._read: set[str] = set()  # those of them that are looked at in every image
        self._filter.keep(set())
        self._mouths: dict[str, Mouth] = {}  # of the newest picture that was read
        # Of the newest image alone; replaced as a whole, so that another thread always finds it in one piece.
        self._pictures: dict[str, FacePicture] = {}

    def picture(self, face_id: str = "") -> FacePicture | None:
        """The newest picture of a face, of the largest for an empty id; None where it is not in the newest image.

        May be called from another thread than :meth:`process`.
        """
        pictures = self._pictures
        return pictures.get(face_id) if face_id else next(iter(pictures.values()), None)

    def process(self, image: np.ndarray, stamp_ns: int) -> tuple[FaceObservation, ...]:
        """Faces of one image of a stream, largest first; ``()`` where there is none.

        In a crowd, the faces beyond ``max_faces`` have quality 0 and the unknown emotion, and between two searches
        they are where they are expected, with detection score 0.

        A stamp seen just before gives the same answer again; one up to half a second older is a late image and gives
        ``()``; one older still means that the source began anew, and forgets every face first.

        Args:
            image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
            stamp_ns: when it was taken.

        Raises:
            ValueError: the image is empty, or of another type or shape.
        """
        bgr = _in_colour(image)
        if self._stamp is not None and stamp_ns <= self._stamp:
            if stamp_ns == self._stamp:
                return self._latest
            if self._stamp - stamp_ns <= self.tracker.config.max_lateness * SECOND:
                return ()
            self.reset()
        self._latest = self._observe(self._look(bgr, stamp_ns), stamp_ns)
        return self._latest

    def look(self, image: np.ndarray, stamp_ns: int) -> tuple[SeenFace, ...]:
        """:meth:`process` without classifier and filter, for who gives the classifier many faces at once.

        What it says of a face becomes an answer as that of :meth:`process` by :meth:`observation` and an
        :class:`ExpressionFilter`.

        Raises:
            ValueError: as :meth:`process`, or the stamp is not newer than the one before.
        """
        bgr = _in_colour(image)
        if self._stamp is not None and stamp_ns <= self._stamp:
            raise ValueError(f"stamp {stamp_ns} ns is not newer than the one before, {self._stamp} ns")
        return self._look(bgr, stamp_ns)

    def observation(self, seen: SeenFace, probabilities: np.ndarray, intensities: np.ndarray) -> FaceObservation:
        """A face with what the classifier says of its crop, ``(7,)`` each, believed as far as its quality goes."""
        p = np.maximum(probabilities, 1e-9) ** trust_in(seen.quality / self.config.full_quality)
        return _observation(seen, _estimate(p, intensities))

    def still(self, image: np.ndarray) -> tuple[FaceObservation, ...]:
        """Faces of a single picture, largest first, named face_1, face_2 ...; no tracking, no filter.

        Raises:
            ValueError: as :meth:`process`.
        """
        return self._judge(self.look_still(image))

    def look_still(self, image: np.ndarray) -> tuple[SeenFace, ...]:
        """:meth:`still` without the classifier.

        Raises:
            ValueError: as :meth:`process`.
        """
        found = zip(*self.still_crops(image), strict=True)
        return tuple(_seen(f"face_{i + 1}", face, crop) for i, (face, crop) in enumerate(found))

    def still_crops(self, image: np.ndarray) -> tuple[list[FaceDetection], list[np.ndarray]]:
        """Faces of a single picture, largest first, and what the classifier is given of each, uint8 ``(48, 48)``.

        Raises:
            ValueError: as :meth:`process`.
        """
        bgr = _in_colour(image)
        found = self.detector.detect(bgr, self.config.still_detection_width)
        if not found:
            # A face that fills the picture is found more readily when it is smaller than what the network looks at.
            found = self.detector.detect(bgr, self.config.detection_width)
        found = [face for face in self._refined(bgr, found) if box_side(face.box) >= self.config.min_face_size]
        found = sorted(found, key=lambda face: -box_side(face.box))[: self.config.max_faces]
        return found, [crop_face(bgr, face, FACE_SIZE) for face in found]

    def whole_face(self, image: np.ndarray) -> FaceObservation:
        """The emotion of a picture that is a face from edge to edge, as FER2013's are; it is named face_1.

        Raises:
            ValueError: as :meth:`process`.
        """
        return self._judge([seen_whole(image)])[0]

    def _find(self, bgr: np.ndarray, stamp_ns: int) -> list[FaceDetection]:
        """Detections of this image: each face seen before in its window, or all by a search of the whole image."""
        due = (
            self._searched_ns is None
            or stamp_ns - self._searched_ns >= self.config.detection_interval * SECOND
            or self.config.detection_interval == 0
        )
        known = dict(self.tracker.predict(stamp_ns))
        followed = [box for face_id, box in known.items() if face_id in self._visible and face_id in self._read]
        if not due:
            found = [self.detector.refine(bgr, box) for box in followed]
            if None not in found:
                return _distinct([face for face in found if face is not None])
        # A face that is not where it was expected moved fast or went out of sight: look everywhere, once.
        self._searched_ns = stamp_ns
        return self._refined(bgr, self.detector.detect(bgr), followed, list(known.values()))

    def _refined(
        self,
        bgr: np.ndarray,
        candidates: list[FaceDetection],
        followed: Sequence[Box] = (),
        known: Sequence[Box] = (),
    ) -> list[FaceDetection]:
        """The faces among the candidates; ``max_faces`` of them and a few are placed anew in windows.

        So the crops of every image are framed alike, whether it was searched or its faces were followed. The windows
        are for those that are followed, then for newcomers, the large ones first. Of the others, one that is where a
        face is known to be may be doubtful (as in ByteTrack, Zhang et al. 2022), a newcomer may not.
        """
        ranked = sorted(candidates, key=lambda face: -box_side(face.box))
        is_followed, is_known = _near(ranked, followed), _near(ranked, known)
        order = sorted(range(len(ranked)), key=lambda i: (not is_followed[i], is_known[i]))
        windows = set(order[: self.config.max_faces + NEWCOMERS])
        faces = []
        for i, face in enumerate(ranked):
            looked_at = (self.detector.refine(bgr, face.box) if i in windows else None) or face
            if looked_at.score >= self.config.min_detection_score or (is_known[i] and i not in windows):
                faces.append(looked_at)
        return _distinct(faces)

    def _look(self, bgr: np.ndarray, stamp_ns: int) -> tuple[SeenFace, ...]:
        found = self._find(bgr, stamp_ns)
        # Who was not looked for is still there, as far as anybody knows.
        assumed = set() if self._searched_ns == stamp_ns else self._visible - self._read
        tracks = self.tracker.update(found, stamp_ns, bgr)
        self._stamp = stamp_ns
        alive = {track.face_id for track in tracks}
        self._filter.keep(alive)
        self._mouths = {face: kept for face, kept in self._mouths.items() if face in alive}
        in_view = [track for track in tracks if track.seen or track.face_id in assumed]
        self._visible = {track.face_id for track in in_view}
        large = [track for track in in_view if box_side(_newest(track)[0]) >= self.config.min_face_size]
        # A doubtful face is looked for too, or it would never be confirmed.
        self._read = self._attention.choose(large, alive, stamp_ns)
        return tuple(self._see(bgr, track, stamp_ns) for track in large if track.confirmed)

    def _see(self, bgr: np.ndarray, track: TrackedFace, stamp_ns: int) -> SeenFace:
        if track.face_id not in self._read or not track.seen:
            return SeenFace(track.face_id, *_newest(track), quality=0.0, crop=None)
        seen = _seen(track.face_id, track.detection, crop_face(bgr, track.detection, FACE_SIZE))
        return self._with_mouth(seen, bgr, track.detection, stamp_ns)

    def _with_mouth(self, face: SeenFace, bgr: np.ndarray, detection: FaceDetection, stamp_ns: int) -> SeenFace:
        if not self.config.mouth_motion:
            return face
        mouth = see_mouth(bgr, detection.landmarks, stamp_ns, self._mouths.pop(face.face_id, None))
        if mouth is None:
            return face
        self._mouths[face.face_id] = mouth
        return replace(face, mouth_opening=mouth.opening, mouth_motion=mouth.motion)

    def _observe(self, seen: Sequence[SeenFace], stamp_ns: int) -> tuple[FaceObservation, ...]:
        frames = self._judge(seen)
        crops = {face.face_id: face.crop for face in seen if face.crop is not None}
        self._pictures = {
            face.face_id: FacePicture(face.face_id, stamp_ns, crops[face.face_id], face.emotion) for face in frames
        }
        told = [replace(face, emotion=self._filter.tell(face, stamp_ns)) for face in frames]
        told += [_observation(face, EmotionEstimate.unknown()) for face in seen if face.crop is None]
        return tuple(sorted(told, key=lambda face: -box_side(face.box)))

    def _judge(self, seen: Sequence[SeenFace]) -> tuple[FaceObservation, ...]:
        """The emotion of the faces that are read, in one batch; each by itself, unfiltered."""
        read = [(face, face.crop) for face in seen if face.crop is not None]
        if not read:
            return ()
        probabilities, intensities = self.classifier.probabilities(np.stack([crop for _, crop in read]))
        return tuple(
            self.observation(face, p, i) for (face, _), p, i in zip(read, probabilities, intensities, strict=True)
        )


class ExpressionFilter:
    """Faces' expressions over time: a hidden Markov model of each expression, a low-pass of its intensities.

    Args:
        config: its ``expression_…`` fields and ``intensity_smoothing_s``.
    """

    def __init__(self, config: VisualConfig) -> None:
        self._temporal: TemporalConfig | None = None
        if config.expression_hold_s > 0:
            self._temporal = TemporalConfig(config.expression_hold_s, config.expression_slip)
        self._smoothing_s = config.intensity_smoothing_s
        self._expressions: dict[str, _Expression] = {}

    def keep(self, alive: Collection[str]) -> None:
        """Forget all faces but these."""
        self._expressions = {face: kept for face, kept in self._expressions.items() if face in alive}

    def tell(self, face: FaceObservation, stamp_ns: int) -> EmotionEstimate:
        """What a face shows as of this observation, which is newer than the one before."""
        p = face.emotion.probabilities[list(VISUAL_INDICES)]
        strength = face.emotion.intensities[list(VISUAL_INDICES)]
        before = self._expressions.get(face.face_id)
        if self._temporal is None or before is None:
            belief = p if self._temporal is None else first_belief(p, self._temporal)
        else:
            belief = next_belief(before.belief, p, (stamp_ns - before.stamp_ns) / SECOND, self._temporal)
        if before is not None and self._smoothing_s > 0:
            keep = np.exp(-(stamp_ns - before.stamp_ns) / SECOND / self._smoothing_s)
            strength = keep * before.intensities + (1 - keep) * strength
        self._expressions[face.face_id] = _Expression(stamp_ns, belief, strength)
        return _estimate(belief if self._temporal is None else reported(belief, self._temporal), strength)


def trust_in(quality: float) -> float:
    """The power to which a distribution is raised for a picture of ``quality`` (1 is full): what it says, said softer.

    The qualities are made so that the power of least log loss is about 0.4 + 0.6 q (see ``visual/quality.py``; measured
    on FER+ PublicTest faces shrunk, blurred, darkened and overexposed). Only the worst fall under that: at quality 0, a
    black picture say, the distribution is uniform over what a face can show.
    """
    return float(np.interp(quality, (0.0, 0.05, 1.0), (0.0, 0.43, 1.0)))


def is_whole_face(image: np.ndarray) -> bool:
    """Whether a picture is so small that it is a face by itself."""
    return max(image.shape[:2]) <= TINY_PICTURE


def whole_crop(image: np.ndarray) -> np.ndarray:
    """A picture that is a face from edge to edge, as the classifier is given it: uint8 ``(48, 48)``."""
    check_image(image, (0, 3))
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    shrink = min(gray.shape) > FACE_SIZE
    return cv2.resize(gray, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def whole_picture(width: int, height: int) -> FaceDetection:
    """A detection that covers a picture, as if a frontal face filled it."""
    landmarks = TEMPLATE * np.array([width, height], np.float32) / FRAME
    return FaceDetection(Box(0.0, 0.0, float(width), float(height)), 1.0, landmarks)


def _seen(name: str, face: FaceDetection, crop: np.ndarray) -> SeenFace:
    return SeenFace(name, face.box, face.score, face_quality(crop, face), crop)


def seen_whole(image: np.ndarray) -> SeenFace:
    """A picture that is a face from edge to edge."""
    height, width = image.shape[:2]
    return _seen("face_1", whole_picture(width, height), whole_crop(image))


def _observation(face: SeenFace, emotion: EmotionEstimate) -> FaceObservation:
    return FaceObservation(
        face.face_id,
        face.box,
        face.detection_score,
        face.quality,
        emotion,
        face.mouth_opening,
        face.mouth_motion,
    )


def _estimate(p: np.ndarray, strength: np.ndarray) -> EmotionEstimate:
    """Seven probabilities (not normalised) and strengths as an estimate over the vocabulary."""
    weights, intensities = np.zeros(8, np.float32), np.full(8, np.nan, np.float32)
    weights[list(VISUAL_INDICES)] = p
    intensities[list(VISUAL_INDICES)] = strength
    return EmotionEstimate.from_probabilities(weights, intensities)


def _in_colour(image: np.ndarray) -> np.ndarray:
    """The image in BGR, the same where it is."""
    check_image(image, (0, 3))
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def _newest(track: TrackedFace) -> tuple[Box, float]:
    """Where a face was detected and how surely; where it is expected and 0 if it was not looked for."""
    return (track.detection.box, track.detection.score) if track.seen else (track.box, 0.0)


def _near(faces: Sequence[FaceDetection], boxes: Sequence[Box]) -> np.ndarray:
    """Which faces ``(N,)`` overlap one of the boxes."""
    if not faces or not boxes:
        return np.zeros(len(faces), bool)
    rows = [np.array([box_row(box) for box in some]) for some in ([face.box for face in faces], boxes)]
    return np.asarray((overlaps(*rows) > SAME_PLACE).any(1))


def _distinct(faces: list[FaceDetection]) -> list[FaceDetection]:
    """Without those that two windows found twice."""
    if len(faces) < 2:
        return faces
    boxes = np.array([box_row(face.box) for face in faces])
    return [faces[i] for i in suppress(boxes, np.array([f.score for f in faces]), 0.5)]
