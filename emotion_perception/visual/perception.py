"""From an image to faces with emotions: the pipeline of detection, tracking, quality and classification.

The whole image is searched a few times a second; in the images between, each known face is found again in a small
window around its predicted position. The faces to read are classified in one batch; in a crowd these are the near and
engaged ones (:mod:`emotion_perception.visual.attention`), the others are only tracked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.inference.protocols import FaceClassifier
from emotion_perception.resources import find_model
from emotion_perception.types import SECOND, Box, EmotionEstimate, FaceDetection, FaceObservation
from emotion_perception.visual.attention import Attention, box_side
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.detector import FaceDetector, box_row, check_image, iou_matrix, non_max_suppression
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.expression_filter import ExpressionFilter, face_estimate
from emotion_perception.visual.face_crop import (
    DetectedFace,
    FacePicture,
    cut_face,
    is_whole_face,
    whole_face,
)
from emotion_perception.visual.mouth import Mouth, see_mouth
from emotion_perception.visual.tracker import FaceTracker, TrackedFace, TrackerConfig, assign

# The search keeps candidates down to this share of the minimum score; the closer look in the window decides. A face of
# 20 px in a 640x480 image is 10 px in the copy that is searched, and scores about 0.5 there, but 0.88 when enlarged:
# of twenty such faces the search alone found thirteen, with the closer look all, and no false positive.
CANDIDATE_SCORE = 0.6
SAME_PLACE = 0.3  # overlap at which a candidate is taken for the face that is expected there
NEWCOMERS = 2  # closer looks in a search beyond those for max_faces, so that a crowd is found little by little


class VisualPerception:
    """Faces with identity, quality and emotion, image by image. One instance per camera; not thread-safe.

    Args:
        config: see :class:`VisualConfig`.
        classifier: to use instead of the one that ``config.expression_model`` names.

    Raises:
        ModelError: a model is missing or not usable; names the path.
        ValueError: a field of the configuration is out of range; names it.

    Example:
        >>> perception = VisualPerception()
        >>> perception.process(np.zeros((480, 640, 3), np.uint8), stamp_ns=0)
        ()
    """

    def __init__(self, config: VisualConfig | None = None, classifier: FaceClassifier | None = None) -> None:
        self.config = config = config or VisualConfig()
        self.detector = FaceDetector(
            Path(config.face_detector_model) if config.face_detector_model else None,
            config.min_detection_score * CANDIDATE_SCORE,
            config.detection_width,
        )
        self.classifier: FaceClassifier = classifier or ExpressionClassifier(find_model(config.expression_model))
        self.tracker = FaceTracker(TrackerConfig(timeout=config.track_timeout, seed=config.id_seed))
        self._attention = Attention(config.max_faces)
        self.reset()

    def warm_up(self) -> None:
        """Load in advance what only a second face in view needs; from any thread."""
        assign(np.zeros((2, 2)))

    def reset(self) -> None:
        """Forget every face, as after a cut or a jump in time."""
        self.tracker.reset()
        self._attention.reset()
        self._searched_ns: int | None = None
        self._stamp: int | None = None
        self._latest: tuple[FaceObservation, ...] = ()
        self._visible: set[str] = set()  # in view, as far as the image was searched
        self._read: set[str] = set()  # those of them that are classified in every image
        self._filters: dict[str, ExpressionFilter] = {}
        self._mouths: dict[str, Mouth] = {}  # of the newest image in which the face was classified
        # Of the newest image alone; replaced as a whole, so that another thread never sees half of it.
        self._pictures: dict[str, FacePicture] = {}

    def picture(self, face_id: str = "") -> FacePicture | None:
        """The newest crop of a face, of the largest for an empty id; None where it is not in the newest image.

        May be called from another thread than :meth:`process`.
        """
        pictures = self._pictures
        return pictures.get(face_id) if face_id else next(iter(pictures.values()), None)

    def process(self, image: np.ndarray, stamp_ns: int) -> tuple[FaceObservation, ...]:
        """Faces of one image of a stream, largest first; ``()`` where there is none.

        In a crowd, the faces beyond ``max_faces`` have quality 0 and the unknown emotion, and between two searches
        they are at their predicted position, with detection score 0.

        A repeated stamp returns the same result again; a stamp up to half a second older is a late image and returns
        ``()``; one older still means that the source was restarted, and all faces are forgotten first.

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
        self._latest = self._observe(self._track(bgr, stamp_ns), stamp_ns)
        return self._latest

    def detect(self, image: np.ndarray, stamp_ns: int) -> tuple[DetectedFace, ...]:
        """:meth:`process` without classifier and filter, for callers that classify the faces of many images at once.

        :meth:`observation` and an :meth:`expression_filter` for each face make of the classifier's output what
        :meth:`process` returns.

        Raises:
            ValueError: as :meth:`process`, or the stamp is not newer than the one before.
        """
        bgr = _in_colour(image)
        if self._stamp is not None and stamp_ns <= self._stamp:
            raise ValueError(f"stamp {stamp_ns} ns is not newer than the one before, {self._stamp} ns")
        return self._track(bgr, stamp_ns)

    def observation(self, face: DetectedFace, probabilities: np.ndarray, intensities: np.ndarray) -> FaceObservation:
        """A face with the classifier's output for its crop, ``(7,)`` each, flattened as its quality requires."""
        p = np.maximum(probabilities, 1e-9) ** quality_exponent(face.quality / self.config.full_quality)
        return _observation(face, face_estimate(p, intensities))

    def expression_filter(self) -> ExpressionFilter:
        """A temporal filter for one face, as configured."""
        config = self.config
        return ExpressionFilter(config.expression_hold_s, config.expression_slip, config.intensity_smoothing_s)

    def still(self, image: np.ndarray) -> tuple[FaceObservation, ...]:
        """Faces of a single image, largest first, named face_1, face_2 ...; no tracking, no filter.

        Raises:
            ValueError: as :meth:`process`.
        """
        return self._classify(self.detect_still(image))

    def detect_still(self, image: np.ndarray) -> tuple[DetectedFace, ...]:
        """:meth:`still` without the classifier.

        Raises:
            ValueError: as :meth:`process`.
        """
        bgr = _in_colour(image)
        found = self.detector.detect(bgr, self.config.still_detection_width)
        if not found:
            # A face that fills the image is found more readily when it is smaller than the network's input.
            found = self.detector.detect(bgr, self.config.detection_width)
        found = [face for face in self._refine(bgr, found) if box_side(face.box) >= self.config.min_face_size]
        found = sorted(found, key=lambda face: -box_side(face.box))[: self.config.max_faces]
        return tuple(cut_face(bgr, f"face_{i + 1}", face, self.classifier.crop_shape) for i, face in enumerate(found))

    def detect_whole(self, image: np.ndarray) -> DetectedFace:
        """An image that is a face from edge to edge, as FER2013's are, without the classifier.

        Raises:
            ValueError: as :meth:`process`.
        """
        return whole_face(image, self.classifier.crop_shape)

    def whole_face(self, image: np.ndarray) -> FaceObservation:
        """The emotion of an image that is a face from edge to edge; the face is named face_1.

        Raises:
            ValueError: as :meth:`process`.
        """
        return self._classify([self.detect_whole(image)])[0]

    def crops(self, image: np.ndarray) -> list[np.ndarray]:
        """The classifier's input for each face of a single image, largest first; for the whole image if it is tiny.

        Raises:
            ValueError: as :meth:`process`.
        """
        faces = (self.detect_whole(image),) if is_whole_face(image) else self.detect_still(image)
        return [face.crop for face in faces if face.crop is not None]

    def _find(self, bgr: np.ndarray, stamp_ns: int) -> list[FaceDetection]:
        """Detections of this image: each known face in its window, or all faces by a search of the whole image."""
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
        # A face that is not at its predicted position moved fast or left: search the whole image, once.
        self._searched_ns = stamp_ns
        return self._refine(bgr, self.detector.detect(bgr), followed, list(known.values()))

    def _refine(
        self,
        bgr: np.ndarray,
        candidates: list[FaceDetection],
        followed: Sequence[Box] = (),
        known: Sequence[Box] = (),
    ) -> list[FaceDetection]:
        """The faces among the candidates; up to ``max_faces`` and a few more are located again in windows.

        So crops are framed alike whether the image was searched or its faces were followed. Windows go to followed
        faces, then to newcomers, large ones first. Of the others, one at the place of a known face may have a low score
        (as in ByteTrack, Zhang et al. 2022), a newcomer may not.
        """
        ranked = sorted(candidates, key=lambda face: -box_side(face.box))
        is_followed, is_known = _near(ranked, followed), _near(ranked, known)
        order = sorted(range(len(ranked)), key=lambda i: (not is_followed[i], is_known[i]))
        windows = set(order[: self.config.max_faces + NEWCOMERS])
        faces = []
        for i, face in enumerate(ranked):
            closer = (self.detector.refine(bgr, face.box) if i in windows else None) or face
            if closer.score >= self.config.min_detection_score or (is_known[i] and i not in windows):
                faces.append(closer)
        return _distinct(faces)

    def _track(self, bgr: np.ndarray, stamp_ns: int) -> tuple[DetectedFace, ...]:
        found = self._find(bgr, stamp_ns)
        # A face that was not searched for is assumed to be still there.
        assumed = set() if self._searched_ns == stamp_ns else self._visible - self._read
        tracks = self.tracker.update(found, stamp_ns, bgr)
        self._stamp = stamp_ns
        alive = {track.face_id for track in tracks}
        self._filters = {face: kept for face, kept in self._filters.items() if face in alive}
        self._mouths = {face: kept for face, kept in self._mouths.items() if face in alive}
        in_view = [track for track in tracks if track.seen or track.face_id in assumed]
        self._visible = {track.face_id for track in in_view}
        large = [track for track in in_view if box_side(_newest(track)[0]) >= self.config.min_face_size]
        # Unconfirmed faces are followed too, or they would never be confirmed.
        self._read = self._attention.choose(large, alive, stamp_ns)
        return tuple(self._cut(bgr, track, stamp_ns) for track in large if track.confirmed)

    def _cut(self, bgr: np.ndarray, track: TrackedFace, stamp_ns: int) -> DetectedFace:
        if track.face_id not in self._read or not track.seen:
            return DetectedFace(track.face_id, *_newest(track), quality=0.0, crop=None)
        face = cut_face(bgr, track.face_id, track.detection, self.classifier.crop_shape)
        return self._with_mouth(face, bgr, track.detection, stamp_ns)

    def _with_mouth(self, face: DetectedFace, bgr: np.ndarray, detection: FaceDetection, stamp_ns: int) -> DetectedFace:
        if not self.config.mouth_motion:
            return face
        mouth = see_mouth(bgr, detection.landmarks, stamp_ns, self._mouths.pop(face.face_id, None))
        if mouth is None:
            return face
        self._mouths[face.face_id] = mouth
        return replace(face, mouth_opening=mouth.opening, mouth_motion=mouth.motion)

    def _observe(self, faces: Sequence[DetectedFace], stamp_ns: int) -> tuple[FaceObservation, ...]:
        unfiltered = self._classify(faces)
        crops = {face.face_id: face.crop for face in faces if face.crop is not None}
        self._pictures = {
            face.face_id: FacePicture(face.face_id, stamp_ns, crops[face.face_id], face.emotion) for face in unfiltered
        }
        observations = [_observation(face, EmotionEstimate.unknown()) for face in faces if face.crop is None]
        for face in unfiltered:
            if face.face_id not in self._filters:
                self._filters[face.face_id] = self.expression_filter()
            emotion = self._filters[face.face_id].update(face.emotion, stamp_ns)
            observations.append(replace(face, emotion=emotion))
        return tuple(sorted(observations, key=lambda face: -box_side(face.box)))

    def _classify(self, faces: Sequence[DetectedFace]) -> tuple[FaceObservation, ...]:
        """The emotion of the faces with a crop, in one batch, each from this image alone."""
        cut = [(face, face.crop) for face in faces if face.crop is not None]
        if not cut:
            return ()
        probabilities, intensities = self.classifier.probabilities(np.stack([crop for _, crop in cut]))
        return tuple(
            self.observation(face, p, i) for (face, _), p, i in zip(cut, probabilities, intensities, strict=True)
        )


def quality_exponent(quality: float) -> float:
    """The power to which a distribution is raised for a face of ``quality`` (1 is full): the lower, the flatter.

    The qualities are made so that the power of least log loss is about 0.4 + 0.6 q (see ``visual/quality.py``; measured
    on FER+ PublicTest faces shrunk, blurred, darkened and overexposed). Only the worst fall under that: at quality 0, a
    black image for example, the distribution is uniform over what a face can show.
    """
    return float(np.interp(quality, (0.0, 0.05, 1.0), (0.0, 0.43, 1.0)))


def _observation(face: DetectedFace, emotion: EmotionEstimate) -> FaceObservation:
    return FaceObservation(
        face.face_id,
        face.box,
        face.detection_score,
        face.quality,
        emotion,
        face.mouth_opening,
        face.mouth_motion,
    )


def _in_colour(image: np.ndarray) -> np.ndarray:
    """The image in BGR, the same array if it is so already."""
    check_image(image, (0, 3))
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def _newest(track: TrackedFace) -> tuple[Box, float]:
    """A track's detected box and score; its predicted box and 0 if the image was not searched for it."""
    return (track.detection.box, track.detection.score) if track.seen else (track.box, 0.0)


def _near(faces: Sequence[FaceDetection], boxes: Sequence[Box]) -> np.ndarray:
    """Which faces ``(N,)`` overlap one of the boxes."""
    if not faces or not boxes:
        return np.zeros(len(faces), bool)
    rows = [np.array([box_row(box) for box in some]) for some in ([face.box for face in faces], boxes)]
    return np.asarray((iou_matrix(*rows) > SAME_PLACE).any(1))


def _distinct(faces: list[FaceDetection]) -> list[FaceDetection]:
    """Without duplicates that two windows found."""
    if len(faces) < 2:
        return faces
    boxes = np.array([box_row(face.box) for face in faces])
    return [faces[i] for i in non_max_suppression(boxes, np.array([f.score for f in faces]), 0.5)]
