"""Expression classifier of ROS4HRI (REP-155): ``/humans/faces/<id>/cropped`` to ``/humans/faces/<id>/expression``.

Another node detects and tracks the faces and lists their ids on ``/humans/faces/tracked``. What visual_node measured
(``faces/emotions``) is published on ``/humans/faces/<id>/landmarks`` and ``facs`` of the tracked face at the same place
in the image (``roi``); what fusion_node knows of attention (``person_states``) on
``/humans/persons/<id>/engagement_status`` and ``/humans/interactions/gazing``. Needs ``hri_msgs``.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from emotion_msgs.msg import FaceEmotionArray, PersonStateArray
from emotion_perception.attention.geometry import Camera
from emotion_perception.priors import parse_prior
from emotion_perception.ros import conversions, qos
from emotion_perception.ros.conversions import ConversionError
from emotion_perception.ros.lifecycle import JUMP_BACK, NOT_CONFIGURED, PerceptionNode, one_thread_each, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.ros.ros4hri_attention import Ros4HriAttention
from emotion_perception.ros.worker import Worker
from emotion_perception.types import SECOND, Box, EmotionEstimate, FaceLandmarks, FaceObservation
from emotion_perception.visual.detector import box_row, iou_matrix
from emotion_perception.visual.expression_filter import ExpressionFilter
from emotion_perception.visual.facial_actions import action_units
from emotion_perception.visualization.markers import camera_from_info

if TYPE_CHECKING:
    from emotion_perception.visual.perception import VisualPerception

TRACKED = "/humans/faces/tracked"
FACE_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # valid as part of a topic name
MIN_OVERLAP = 0.3  # intersection over union of a tracked face and one of visual_node that are the same
MAX_AGE = 2 * SECOND  # ns; older persons are a latched message from before
CROP_WIDTHS = (160, 128)  # px; sizes at which the face is detected in its crop (128 px in ROS4HRI), for alignment


class _Face:
    """A tracked face: its topics, its temporal filter, its newest crop and position."""

    def __init__(self, subscriptions: list[Any], publisher: Any, expression: ExpressionFilter) -> None:
        self.subscriptions, self.publisher, self.expression = subscriptions, publisher, expression
        self.measured: tuple[Any, Any] | None = None  # publishers of landmarks and action units
        self.box: Box | None = None  # px of the full image
        self.waiting: Image | None = None
        self.stamp_ns: int | None = None  # of the last processed crop


class Ros4HriNode(PerceptionNode):
    """One subscription and one publisher per tracked face."""

    def __init__(self, **options: Any) -> None:
        super().__init__("ros4hri_node", node_settings("ros4hri_node"), **options)
        self._expression_type: type[Any] = NOT_CONFIGURED
        self._roi_type: type[Any] = NOT_CONFIGURED
        self._perception: VisualPerception = NOT_CONFIGURED
        self._queue: Worker[str] = NOT_CONFIGURED
        self._faces: dict[str, _Face] = {}
        self._image_size: tuple[int, int] | None = None  # width and height, from camera_info
        self._camera: Camera | None = None  # if calibrated
        self._boxes: dict[str, Box] = {}  # of visual_node's faces in the newest image
        self._attention: Ros4HriAttention | None = None
        self._lock = threading.Lock()  # a publisher must not be destroyed while the worker publishes

    def configure(self) -> None:
        """Load detector and classifier."""
        self._expression_type, _, self._roi_type = message_types()
        from emotion_perception.visual.perception import VisualConfig, VisualPerception

        still, again = CROP_WIDTHS
        self._perception = VisualPerception(
            self.parameters.config(VisualConfig, max_faces=1, still_detection_width=still, detection_width=again)
        )
        one_thread_each()
        self._perception.still(
            np.zeros((128, 128, 3), np.uint8), landmarks=False
        )  # networks are compiled for a size at its first use
        self.model_name = self._perception.classifier.name

    def activate(self) -> None:
        """Subscribe to the list of tracked faces."""
        _, ids_type, _ = message_types()
        self._queue = self.process(self._process_crop, depth=self.parameters["max_tracked"])
        self.subscribe_to(ids_type, TRACKED, self._on_tracked, "tracked")
        self.subscribe_to(FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self.subscribe_to(CameraInfo, "camera_info", self._on_camera, "image_in")
        if self.parameters["publish_engagement"]:
            self._attention = Ros4HriAttention(self)
            self.subscribe_to(PersonStateArray, "person_states", self._on_persons, "state")

    def deactivate(self) -> None:
        """Destroy the topics of all faces."""
        for face_id in list(self._faces):
            self._drop(face_id)
        if self._attention is not None:
            self._attention.close()
        self._attention = self._image_size = self._camera = None
        self._boxes = {}

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._expression_type = self._roi_type = NOT_CONFIGURED

    def extra_diagnostics(self) -> dict[str, str]:
        """Number of tracked faces."""
        return {"faces": str(len(self._faces))}

    def _on_tracked(self, message: Any) -> None:
        wanted = []
        for face_id in dict.fromkeys(message.ids):
            if FACE_ID.fullmatch(face_id):
                wanted.append(face_id)
            else:
                self.reject(f"face id {face_id!r} cannot be part of a topic's name", "face id")
        limit = self.parameters["max_tracked"]
        if len(wanted) > limit:
            self.reject(f"{len(wanted)} faces are tracked; only the first {limit} are classified", "many faces")
        wanted = wanted[:limit]
        for face_id in self._faces.keys() - set(wanted):
            self._drop(face_id)
        for face_id in wanted:
            if face_id not in self._faces:
                self._follow(face_id)
        if not wanted:
            self.meter.restart()  # without faces there is nothing to be stale

    def _on_camera(self, info: CameraInfo) -> None:
        if info.width and info.height:
            self._image_size = info.width, info.height
        self._camera = camera_from_info(info)

    def _on_persons(self, message: PersonStateArray) -> None:
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        if self._attention is None or abs(self.now_ns - stamp_ns) > MAX_AGE:
            return
        persons = conversions.persons_from_message(message)
        self._attention.publish(persons, message.header.frame_id, self._boxes, self._camera, self.now_ns)

    def _on_faces(self, message: FaceEmotionArray) -> None:
        _, faces = conversions.faces_from_message(message)
        self._boxes = {face.face_id: face.box for face in faces}
        if self._image_size is None:  # boxes and points cannot be normalised
            return
        measured = [face for face in faces if face.landmarks is not None and len(face.landmarks.points)]
        for face_id, face in _same_faces(
            {face_id: face.box for face_id, face in self._faces.items() if face.box is not None}, measured
        ):
            self._publish_measured(self._faces[face_id], self._folder(face_id), face.landmarks, message.header)

    def _publish_measured(self, face: _Face, folder: str, landmarks: FaceLandmarks | None, header: Any) -> None:
        from hri_msgs.msg import FacialActionUnits, FacialLandmarks, NormalizedPointOfInterest2D

        if landmarks is None or self._image_size is None:
            return
        width, height = self._image_size
        if face.measured is None:
            profile = qos.profile("estimates")
            face.measured = (
                self.create_publisher(FacialLandmarks, f"{folder}/landmarks", profile),
                self.create_publisher(FacialActionUnits, f"{folder}/facs", profile),
            )
        points, units = face.measured
        points.publish(
            conversions.landmarks_to_message(
                landmarks, header, width, height, FacialLandmarks, NormalizedPointOfInterest2D
            )
        )
        units.publish(conversions.action_units_to_message(*action_units(landmarks), header, FacialActionUnits))

    def _folder(self, face_id: str) -> str:
        """Namespace of a face's topics: next to the list, which may be remapped."""
        return f"{self.resolve_topic_name(TRACKED).rpartition('/')[0]}/{face_id}"

    def _follow(self, face_id: str) -> None:
        folder = self._folder(face_id)
        publisher = self.create_publisher(self._expression_type, f"{folder}/expression", qos.profile("estimates"))
        subscriptions = [
            self.create_subscription(
                Image, f"{folder}/cropped", lambda crop: self._on_crop(face_id, crop), qos.profile("image_in")
            ),
            self.create_subscription(
                self._roi_type, f"{folder}/roi", lambda roi: self._on_roi(face_id, roi), qos.profile("estimates")
            ),
        ]
        hold, outlier = self.parameters["expression_hold_s"], self.parameters["expression_slip"]
        expression = ExpressionFilter(hold, outlier, prior=parse_prior(self.parameters["emotion_prior"]))
        self._faces[face_id] = _Face(subscriptions, publisher, expression)

    def _drop(self, face_id: str) -> None:
        with self._lock:
            face = self._faces.pop(face_id)
            for subscription in face.subscriptions:
                self.destroy_subscription(subscription)
            for publisher in (face.publisher, *(face.measured or ())):
                self.destroy_publisher(publisher)

    def _on_roi(self, face_id: str, roi: Any) -> None:
        face = self._faces.get(face_id)
        if face is not None and self._image_size is not None:
            width, height = self._image_size
            size = (roi.xmax - roi.xmin) * width, (roi.ymax - roi.ymin) * height
            face.box = Box(roi.xmin * width, roi.ymin * height, *size) if min(size) > 0 else None

    def _on_crop(self, face_id: str, crop: Image) -> None:
        """Each face is queued once, with its newest crop."""
        with self._lock:
            face = self._faces.get(face_id)
            if face is None:
                return
            queued = face.waiting is not None
            face.waiting = crop
        if queued:
            self.meter.drop()
        else:
            self._queue.submit(face_id)

    def _process_crop(self, face_id: str) -> None:
        with self._lock:
            face = self._faces.get(face_id)
            if face is None:
                return
            crop, face.waiting = face.waiting, None
        if crop is None:
            return
        stamp_ns = conversions.stamp_to_ns(crop.header.stamp)
        if not self._in_order(face, face_id, stamp_ns):
            return
        try:
            image = conversions.image_from_message(crop)
        except ConversionError as error:
            self.reject(str(error))
            return
        emotion = self._classify(face, np.ascontiguousarray(image), stamp_ns)
        if emotion is not None:
            message = conversions.estimate_to_expression(emotion, crop.header, self._expression_type)
            with self._lock:
                if self._faces.get(face_id) is not face:
                    return  # no longer tracked
                face.publisher.publish(message)
        self.meter.done((self.now_ns - stamp_ns) / SECOND)

    def _in_order(self, face: _Face, face_id: str, stamp_ns: int) -> bool:
        last, face.stamp_ns = face.stamp_ns, stamp_ns
        if last is None or stamp_ns > last:
            return True
        if last - stamp_ns < JUMP_BACK:
            face.stamp_ns = last
            self.reject(f"crop of {face_id}: stamp is not newer than the previous one; dropped", "crop order")
            return False
        self.reject(f"crop of {face_id}: stamps jumped back; starting over", "crop jump")
        face.expression.reset()
        return True

    def _classify(self, face: _Face, image: np.ndarray, stamp_ns: int) -> EmotionEstimate | None:
        """The filtered emotion of the face; None if the quality of the crop is too low."""
        # The classifier expects aligned faces: detect the face in its crop; without a detection take the whole crop.
        seen = next(iter(self._perception.still(image, landmarks=False)), None) or self._perception.whole_face(image)
        if seen.quality <= self.parameters["min_quality"]:
            return None
        return face.expression.update(seen.emotion, stamp_ns)


def _same_faces(tracked: dict[str, Box], faces: list[FaceObservation]) -> Iterator[tuple[str, FaceObservation]]:
    """Pairs of a tracked face's id and the face of visual_node that overlaps it most; each is in one pair at most."""
    if not tracked or not faces:
        return
    ids = list(tracked)
    overlap = iou_matrix(
        *(np.array([box_row(box) for box in boxes]) for boxes in (tracked.values(), [face.box for face in faces]))
    )
    while overlap.max() >= MIN_OVERLAP:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        yield ids[row], faces[column]
        overlap[row], overlap[:, column] = 0.0, 0.0


def message_types() -> tuple[type[Any], type[Any], type[Any]]:
    """``Expression``, ``IdsList`` and ``NormalizedRegionOfInterest2D`` of ``hri_msgs``.

    Raises:
        ValueError: it is not installed; says what to do.
    """
    try:
        from hri_msgs.msg import Expression, IdsList, NormalizedRegionOfInterest2D
    except ImportError as error:
        raise ValueError(f"ros4hri_node needs hri_msgs, which cannot be imported ({error}); install it") from error
    return Expression, IdsList, NormalizedRegionOfInterest2D


def main() -> int:
    """Console script ``ros4hri_node``."""
    return run(Ros4HriNode)


if __name__ == "__main__":
    sys.exit(main())
