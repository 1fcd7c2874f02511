"""Visual pipeline, from image to faces with emotions: detection, tracking, quality, classification.

The whole image is searched a few times a second, and once a second while nothing moves in view; in between, each
tracked face is detected again in a small window around its predicted position. The chosen faces are classified in one
batch: with many faces in view the near and engaged ones (:mod:`emotion_perception.visual.face_selection`); the others
are only tracked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.inference.protocols import FaceClassifier, FaceEstimates
from emotion_perception.priors import parse_prior
from emotion_perception.resources import find_model
from emotion_perception.types import SECOND, Box, EmotionEstimate, FaceDetection, FaceLandmarks, FaceObservation
from emotion_perception.visual.action_evidence import HOLD_S, action_evidence
from emotion_perception.visual.alignment import FaceFrame
from emotion_perception.visual.config import AUTO, VisualConfig
from emotion_perception.visual.detector import FaceDetector, check_image
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.expression_filter import ExpressionFilter, FaceFilter, face_estimate
from emotion_perception.visual.face_baseline import FaceBaseline, KnownFaces
from emotion_perception.visual.face_crop import (
    ClassifiedCrop,
    DetectedFace,
    cut_face,
    fills,
    is_tiny,
    whole_face,
)
from emotion_perception.visual.face_search import (
    CANDIDATE_SCORE,
    ExpectedFace,
    FaceSearch,
    quarter_turns,
)
from emotion_perception.visual.face_selection import FaceSelection, box_side
from emotion_perception.visual.landmark_reader import LandmarkReader
from emotion_perception.visual.mounting import Mounting
from emotion_perception.visual.mouth import Mouth, measure_mouth
from emotion_perception.visual.quality import quality_exponent
from emotion_perception.visual.rotation_finder import CHECKED_PER_IMAGE, CameraMounting
from emotion_perception.visual.search_schedule import SearchSchedule
from emotion_perception.visual.tracker import FaceTracker, TrackedFace, TrackerConfig, assign


class VisualPerception:
    """Faces with identity, quality and emotion, image by image. One instance per camera; not thread-safe.

    Args:
        config: see :class:`VisualConfig`.
        classifier: replaces the one named by ``config.expression_model``.

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
        self.on_stage: Callable[[str], None] = lambda _: None  # called after each stage of an image with its name
        self.detector = FaceDetector(
            Path(config.face_detector_model) if config.face_detector_model else None,
            config.min_detection_score * CANDIDATE_SCORE,
            config.detection_width,
        )
        self.classifier: FaceClassifier = classifier or ExpressionClassifier(find_model(config.expression_model))
        self.tracker = FaceTracker(TrackerConfig(timeout=config.track_timeout, seed=config.id_seed))
        self._prior = parse_prior(config.emotion_prior)
        rotation = 0 if config.image_rotation == AUTO else int(config.image_rotation)
        mounting = Mounting(rotation, config.image_mirror)
        self._camera = CameraMounting(self.detector, mounting, config.image_rotation == AUTO)
        self._search = FaceSearch(self.detector, config)
        self._schedule = SearchSchedule(config.detection_interval)
        self._selection = FaceSelection(config.max_faces)
        self._known_faces = KnownFaces()  # outlasts resets
        self._landmarks = LandmarkReader(config.landmark_rate)
        if config.landmark_rate > 0:
            self._landmarks.warm_up()
        self.reset()

    def warm_up(self) -> None:
        """Import in advance what is needed from the second face on; may be called from any thread."""
        assign(np.zeros((2, 2)))

    @property
    def mounting(self) -> Mounting:
        """How images are brought upright at present."""
        return self._camera.current

    @property
    def found_rotation(self) -> int | None:
        """Degrees clockwise that bring the images of this stream upright, by the faces in them; None: not known yet."""
        return self._camera.found_rotation

    def reset(self, keep_mounting: bool = False) -> None:
        """Remove all tracks, as after a cut or a jump in time; without ``keep_mounting`` as for another camera."""
        if not keep_mounting:
            self._camera.reset()
        self.tracker.reset()
        self._selection.reset()
        self._search.reset()
        self._schedule.reset()
        self._landmarks.reset()
        self._stamp: int | None = None
        self._latest: tuple[FaceObservation, ...] = ()
        self._visible: set[str] = set()  # ids in view, as far as the image was searched
        self._classified: set[str] = set()  # ids of those that are classified in every frame
        self._filters: dict[str, FaceFilter] = {}
        self._mouths: dict[str, Mouth] = {}  # in the newest frame in which the face was classified
        self._newest_landmarks: dict[str, FaceLandmarks] = {}
        self._action_evidence: dict[str, tuple[int, np.ndarray]] = {}  # stamp and evidence of the newest landmarks
        # Of the newest frame only; replaced as a whole, so that other threads always read a complete one.
        self._crops: dict[str, ClassifiedCrop] = {}

    def newest_crop(self, face_id: str = "") -> ClassifiedCrop | None:
        """The crop of a face in the newest frame, of the largest face for an empty id; None if it is not in view.

        May be called from another thread than :meth:`process`.
        """
        crops = self._crops
        return crops.get(face_id) if face_id else next(iter(crops.values()), None)

    def set_person(self, face_id: str, person_id: str) -> None:
        """A face track is a known person: use the baseline of the person's earlier tracks, and keep it for later ones.

        A track that is not in view is ignored.
        """
        track = self._filters.get(face_id)
        if track is not None and track.baseline is not None:
            known = self._known_faces.baseline(person_id, track.baseline)
            track.baseline = known or self.face_filter().baseline

    def newest_landmarks(self, face_id: str) -> FaceLandmarks | None:
        """The newest landmarks of a tracked face, which may be of an earlier frame; None before the first."""
        return self._newest_landmarks.get(face_id)

    def process(self, image: np.ndarray, stamp_ns: int) -> tuple[FaceObservation, ...]:
        """Faces in one frame, largest first; ``()`` if there is none.

        Positions and angles refer to the image as it is given, whatever ``image_rotation`` and ``image_mirror`` are.

        Landmarks are measured ``landmark_rate`` times a second, of one face at a time; an observation has them only
        in the frame in which they were measured.

        Faces beyond ``max_faces`` have quality 0 and the unknown emotion. Between two searches they are at their
        predicted position with detection score 0.

        A repeated stamp returns the previous result. A stamp up to half a second older is a late frame and returns
        ``()``. An even older one means that the source was restarted: all tracks are removed first.

        Args:
            image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
            stamp_ns: time of capture.

        Raises:
            ValueError: the image is empty, or of another type or shape.
        """
        bgr = _in_colour(image)
        if self._stamp is not None and stamp_ns <= self._stamp:
            if stamp_ns == self._stamp:
                return self._latest
            if self._stamp - stamp_ns <= self.tracker.config.max_lateness * SECOND:
                return ()
            self.reset(keep_mounting=True)
        self._latest = self._observe(self._track(bgr, stamp_ns), stamp_ns)
        return self._latest

    def detect(self, image: np.ndarray, stamp_ns: int) -> tuple[DetectedFace, ...]:
        """:meth:`process` without classifier and filter, for callers that classify many frames in one batch.

        :meth:`observations` and one :meth:`face_filter` per face turn the classifier's output into the result of
        :meth:`process`.

        Raises:
            ValueError: as :meth:`process`, or the stamp is not newer than the previous one.
        """
        bgr = _in_colour(image)
        if self._stamp is not None and stamp_ns <= self._stamp:
            raise ValueError(f"stamp {stamp_ns} ns is not newer than the previous one, {self._stamp} ns")
        return self._track(bgr, stamp_ns)

    def observations(self, faces: Sequence[DetectedFace], estimates: FaceEstimates) -> list[FaceObservation]:
        """The faces with the estimates of the classifier and of facial actions, flattened according to their quality.

        The quality of an observation is that of the picture times the familiarity of its crop to the network. The
        estimates are under the balanced prior; :meth:`face_filter` applies the configured one.
        """
        qualities = [float(face.quality * f) for face, f in zip(faces, estimates.familiarity, strict=False)]
        exponents = [quality_exponent(quality / self.config.full_quality) for quality in qualities]
        log_p = np.log(np.maximum(estimates.probabilities[: len(faces)], 1e-9))
        for row, face in zip(log_p, faces, strict=False):
            if face.action_evidence is not None:
                row += face.action_evidence
        p = np.exp((log_p - log_p.max(1, keepdims=True)) * np.reshape(exponents, (-1, 1)))
        return [
            _observation(replace(face, quality=quality), face_estimate(row, intensities))
            for face, quality, row, intensities in zip(faces, qualities, p, estimates.intensities, strict=False)
        ]

    def face_filter(self) -> FaceFilter:
        """A new filter for one face track, with a baseline of its own; its estimates are under the configured prior."""
        config = self.config
        expression = ExpressionFilter(
            config.expression_hold_s, config.expression_slip, config.intensity_smoothing_s, self._prior
        )
        baseline = FaceBaseline(config.face_baseline, config.face_baseline_s) if config.face_baseline else None
        return FaceFilter(expression, baseline)

    def still(self, image: np.ndarray, landmarks: bool | None = None) -> tuple[FaceObservation, ...]:
        """Faces in a single image, largest first, with ids face_1, face_2 ...; no tracking, no filter.

        Args:
            image: as :meth:`process`.
            landmarks: whether to measure them; None: unless ``landmark_rate`` is 0.

        Raises:
            ValueError: as :meth:`process`.
        """
        return tuple(self._with_prior(face) for face in self._classify(self.detect_still(image, landmarks)))

    def detect_still(self, image: np.ndarray, landmarks: bool | None = None) -> tuple[DetectedFace, ...]:
        """:meth:`still` without the classifier.

        Raises:
            ValueError: as :meth:`process`.
        """
        mounting = self._camera.configured  # a single image says nothing about the camera: faces are found in any turn
        bgr = mounting.upright(_in_colour(image))
        shape = self.classifier.crop_shape
        found = self._search.tiny_image(bgr) if is_tiny(bgr) else self._search.single_image(bgr)
        found = [face for face in found if box_side(face.box) >= self.config.min_face_size]
        found = sorted(found, key=lambda face: -box_side(face.box))[: self.config.max_faces]
        if found and is_tiny(bgr) and fills(bgr, found[0]):
            faces = [whole_face(bgr, shape, found[0].score)]
            frames = [FaceFrame.of_image(bgr.shape[1], bgr.shape[0])]
        else:
            faces = [cut_face(bgr, f"face_{i + 1}", face, shape) for i, face in enumerate(found)]
            frames = [FaceFrame.of_detection(face) for face in found]
        if landmarks is None:
            landmarks = self.config.landmark_rate > 0
        if landmarks:
            faces = [self._with_landmarks(face, bgr, frame) for face, frame in zip(faces, frames, strict=True)]
        return tuple(mounting.face_to_camera(face, image.shape[1], image.shape[0]) for face in faces)

    def detect_whole(self, image: np.ndarray) -> DetectedFace:
        """An image filled by one face, such as those of FER2013, without the classifier.

        The face is assumed, not detected, and has detection score 0; :meth:`detect_still` requires a detection.

        Raises:
            ValueError: as :meth:`process`.
        """
        return whole_face(image, self.classifier.crop_shape)

    def whole_face(self, image: np.ndarray) -> FaceObservation:
        """The emotion of an image filled by one face, as :meth:`detect_whole`; its id is face_1.

        Raises:
            ValueError: as :meth:`process`.
        """
        return self._with_prior(self._classify([self.detect_whole(image)])[0])

    def crops(self, image: np.ndarray) -> list[np.ndarray]:
        """The classifier's input for each face of a single image, largest first.

        Raises:
            ValueError: as :meth:`process`.
        """
        return [face.crop for face in self.detect_still(image, landmarks=False) if face.crop is not None]

    def _find(self, bgr: np.ndarray, stamp_ns: int) -> list[FaceDetection]:
        """Detections in this frame: each tracked face in its window, or all faces by a search of the whole image."""
        known = dict(self.tracker.predict(stamp_ns))
        expected = [
            ExpectedFace(box, quarter_turns(self.tracker.detection(face_id).landmarks))
            for face_id, box in known.items()
            if face_id in self._visible and face_id in self._classified
        ]
        all_followed = len(expected) == len(known) and self._visible <= self._classified and self._search.complete
        boxes = [face.box for face in expected] if all_followed else None
        followed = None if self._schedule.due(bgr, stamp_ns, boxes) else self._search.follow(bgr, expected)
        if followed is not None:
            return followed
        # A face that is not at its predicted position moved fast or left: search the whole image once.
        self._schedule.searched(bgr, stamp_ns)
        return self._search.frame(bgr, stamp_ns, expected, list(known.values()))

    def _track(self, image: np.ndarray, stamp_ns: int) -> tuple[DetectedFace, ...]:
        """The confirmed faces of a BGR image, with its coordinates; everything else is in the upright image's."""
        if self._camera.apply_found():
            self.reset(keep_mounting=True)  # tracks are in the image as it was turned before
        bgr = self.mounting.upright(image)
        found = self._find(bgr, stamp_ns)
        self.on_stage("detection")
        # A face whose window was not searched is assumed to be still in view.
        searched = self._schedule.searched_ns == stamp_ns
        assumed = set() if searched else self._visible - self._classified
        tracks = self.tracker.update(found, stamp_ns, bgr)
        self._stamp = stamp_ns
        alive = {track.face_id for track in tracks}
        self._filters = {face: kept for face, kept in self._filters.items() if face in alive}
        self._mouths = {face: kept for face, kept in self._mouths.items() if face in alive}
        self._newest_landmarks = {face: kept for face, kept in self._newest_landmarks.items() if face in alive}
        self._action_evidence = {face: kept for face, kept in self._action_evidence.items() if face in alive}
        in_view = [track for track in tracks if track.seen or track.face_id in assumed]
        self._visible = {track.face_id for track in in_view}
        large = [track for track in in_view if box_side(_newest(track)[0]) >= self.config.min_face_size]
        # Unconfirmed faces are followed too; otherwise they would never be confirmed.
        self._classified = self._selection.choose(large, alive, stamp_ns)
        confirmed = [track for track in large if track.confirmed]
        cut = {track.face_id: box_side(track.box) for track in confirmed if self._is_cut(track)}
        measured = self._landmarks.choose(cut, stamp_ns)
        self.on_stage("tracking")
        faces = [self._cut(bgr, track, stamp_ns, track.face_id == measured) for track in confirmed]
        crowded = len(confirmed) + CHECKED_PER_IMAGE > self.config.max_faces
        if not (crowded and searched):  # otherwise this image has taken its time
            self._camera.look(bgr, [track for track in confirmed if track.seen], stamp_ns)
            self.on_stage("rotation check")
        in_camera = [self.mounting.face_to_camera(face, image.shape[1], image.shape[0]) for face in faces]
        self._newest_landmarks |= {face.face_id: face.landmarks for face in in_camera if face.landmarks is not None}
        return tuple(in_camera)

    def _is_cut(self, track: TrackedFace) -> bool:
        return track.face_id in self._classified and track.seen

    def _cut(self, bgr: np.ndarray, track: TrackedFace, stamp_ns: int, landmarks: bool) -> DetectedFace:
        if not self._is_cut(track):
            return DetectedFace(track.face_id, *_newest(track), quality=0.0, crop=None)
        face = cut_face(bgr, track.face_id, track.detection, self.classifier.crop_shape)
        self.on_stage("crops")
        if landmarks:
            face = self._with_landmarks(face, bgr, FaceFrame.of_detection(track.detection))
            self.on_stage("landmarks")
            if face.action_evidence is not None:
                self._action_evidence[track.face_id] = stamp_ns, face.action_evidence
        elif track.face_id in self._action_evidence:
            measured_ns, evidence = self._action_evidence[track.face_id]
            if stamp_ns - measured_ns <= HOLD_S * SECOND:
                face = replace(face, action_evidence=evidence)
        face = self._with_mouth(face, bgr, track.detection, stamp_ns)
        self.on_stage("crops")
        return face

    def _with_landmarks(self, face: DetectedFace, bgr: np.ndarray, frame: FaceFrame) -> DetectedFace:
        found = self._landmarks.measure(bgr, frame)
        evidence = action_evidence(found, box_side(face.box)) if self.config.facial_actions else None
        return replace(face, landmarks=found, action_evidence=evidence)

    def _with_mouth(self, face: DetectedFace, bgr: np.ndarray, detection: FaceDetection, stamp_ns: int) -> DetectedFace:
        if not self.config.mouth_motion:
            return face
        mouth = measure_mouth(bgr, detection.landmarks, stamp_ns, self._mouths.pop(face.face_id, None))
        if mouth is None:
            return face
        self._mouths[face.face_id] = mouth
        return replace(face, mouth_opening=mouth.opening, mouth_motion=mouth.motion)

    def _observe(self, faces: Sequence[DetectedFace], stamp_ns: int) -> tuple[FaceObservation, ...]:
        unfiltered = self._classify(faces)
        self.on_stage("classification")
        crops = {face.face_id: face.crop for face in faces if face.crop is not None}
        self._crops = {
            face.face_id: ClassifiedCrop(
                face.face_id,
                stamp_ns,
                crops[face.face_id],
                face.emotion.with_prior(self._prior),
                self._newest_landmarks.get(face.face_id),
            )
            for face in unfiltered
        }
        observations = [_observation(face, EmotionEstimate.unknown()) for face in faces if face.crop is None]
        for face in unfiltered:
            if face.face_id not in self._filters:
                self._filters[face.face_id] = self.face_filter()
            observations.append(self._filters[face.face_id].update(face, stamp_ns))
        self.on_stage("filter")
        return tuple(sorted(observations, key=lambda face: -box_side(face.box)))

    def _with_prior(self, face: FaceObservation) -> FaceObservation:
        return replace(face, emotion=face.emotion.with_prior(self._prior))

    def _classify(self, faces: Sequence[DetectedFace]) -> tuple[FaceObservation, ...]:
        """The emotions of the faces with a crop, in one batch, unfiltered, under the balanced prior."""
        cut = [(face, face.crop) for face in faces if face.crop is not None]
        if not cut:
            return ()
        estimates = self.classifier.estimates(np.stack([crop for _, crop in cut]))
        return tuple(self.observations([face for face, _ in cut], estimates))


def _observation(face: DetectedFace, emotion: EmotionEstimate) -> FaceObservation:
    return FaceObservation(
        face.face_id,
        face.box,
        face.detection_score,
        face.quality,
        emotion,
        face.mouth_opening,
        face.mouth_motion,
        landmarks=face.landmarks,
    )


def _in_colour(image: np.ndarray) -> np.ndarray:
    """The image in BGR; a BGR image is returned as it is."""
    check_image(image, (0, 3))
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def _newest(track: TrackedFace) -> tuple[Box, float]:
    """Detected box and score of a track; predicted box and 0 if it was not detected in this frame."""
    return (track.detection.box, track.detection.score) if track.seen else (track.box, 0.0)
