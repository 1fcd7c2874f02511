"""Visualization of ``faces/emotions`` and ``emotion_state``: annotated images, labels and text.

=================================== ============================================================================
``emotion/image_annotated``         the image with boxes, labels and bars; ``/compressed`` the same as JPEG
``emotion/markers``                 text labels above heads, for rviz
``emotion/overlay_text``            the state as a line of text, where ``rviz_2d_overlay_msgs`` is installed
``emotion/image_annotations``       boxes and labels for Foxglove's image panel, where ``foxglove_msgs`` is installed
=================================== ============================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecyclePublisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.feedback.stamp_join import Joined, StampJoin
from emotion_perception.ros import conversions
from emotion_perception.ros.conversions import ConversionError
from emotion_perception.ros.image_input import ImageInput, ReceivedImage
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.ros.worker import Worker
from emotion_perception.types import SECOND, FaceObservation
from emotion_perception.visualization.markers import (
    Camera,
    Labels,
    camera_from_info,
    camera_from_size,
    faces_to_annotations,
    foxglove_types,
    overlay_text_type,
    state_to_overlay,
)
from emotion_perception.visualization.overlay import draw

FACES_HOLD = SECOND // 2  # ns; older faces are not drawn on a newer image
STATE_HOLD = 2 * SECOND


class OverlayNode(PerceptionNode):
    """Publishes only topics that have subscribers; without subscribers it does not receive images either.

    An image waits for its own faces, at most until the next image arrives: boxes then sit where the face is, and a
    slow or missing visual node stops nothing.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("overlay_node", node_settings("overlay_node"), **options)
        self._annotated: LifecyclePublisher = NOT_CONFIGURED
        self._compressed: LifecyclePublisher = NOT_CONFIGURED
        self._markers: LifecyclePublisher = NOT_CONFIGURED
        self._text: LifecyclePublisher = NOT_CONFIGURED  # also where its message type is not installed; so below
        self._text_type: Any = None
        self._annotations: LifecyclePublisher = NOT_CONFIGURED
        self._foxglove: Any = None
        self._images: ImageInput = NOT_CONFIGURED
        self._inputs: dict[str, Any] = {}  # subscriptions by topic; made while an output is watched
        self._drawer: Worker[Any] = NOT_CONFIGURED
        self._labels = Labels()
        self._forget()

    def configure(self) -> None:
        """Make the publishers."""
        self._annotated = self.publish_to(Image, "emotion/image_annotated", "annotated_image")
        self._compressed = self.publish_to(CompressedImage, "emotion/image_annotated/compressed", "annotated_image")
        self._markers = self.publish_to(MarkerArray, "emotion/markers", "markers")
        self._text_type = overlay_text_type()
        if self._text_type is not None:
            self._text = self.publish_to(self._text_type, "emotion/overlay_text", "annotated_image")
        self._foxglove = foxglove_types()
        if self._foxglove is not None:
            kind = self._foxglove.ImageAnnotations
            self._annotations = self.publish_to(kind, "emotion/image_annotations", "markers")

    def activate(self) -> None:
        """Subscribe to results and images once an output has subscribers."""
        self._drawer = self.process(self._draw)
        self._images = ImageInput(self, "image_raw", self._on_image)
        self.every(0.25, self._follow_watchers)

    def deactivate(self) -> None:
        """Forget what was seen."""
        if self._images is not NOT_CONFIGURED:
            self._images.set_wanted(False)
        self._inputs.clear()  # destroyed by the base class
        self._labels.clear()
        self._forget()

    def cleanup(self) -> None:
        """Nothing is held beyond the publishers."""
        self._annotated = self._compressed = self._markers = self._text = self._annotations = NOT_CONFIGURED

    def extra_diagnostics(self) -> dict[str, str]:
        """What is watched."""
        watched = [name for name in ("images", "labels", "text", "boxes") if self._watched(name)]
        return {"watched": ", ".join(watched) or "nothing"}

    def _forget(self) -> None:
        self._join: StampJoin[ReceivedImage, FaceEmotionArray] = StampJoin(hold_s=0.0)
        self._state: EmotionState | None = None
        self._calibration: Camera | None = None
        self._size: tuple[int, int] | None = None

    def _watched(self, name: str) -> bool:
        made = {"images": (self._annotated, self._compressed), "labels": (self._markers,), "text": (self._text,)}
        made["boxes"] = (self._annotations,)
        return any(publisher is not None and publisher.get_subscription_count() > 0 for publisher in made[name])

    def _follow_watchers(self) -> None:
        images, labels, boxes = (self._watched(name) for name in ("images", "labels", "boxes"))
        by_camera = labels and self.parameters["label_frame"] == "camera"
        # Without calibration the image size is taken from the images.
        self._images.set_wanted(images or (by_camera and self._calibration is None))
        self._listen(by_camera, CameraInfo, self._info_topic(), self._on_info, "image_in")
        self._listen(images or labels or boxes, FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self._listen(images or self._watched("text"), EmotionState, "emotion_state", self._on_state, "state")
        if not images:
            self._join.clear()
        if not labels:
            self._labels.clear()
        if not (images or labels or boxes):
            self.meter.restart()  # no subscribers: not stale

    def _info_topic(self) -> str:
        """Topic of camera_info: in the namespace of the image topic, after remapping."""
        return self.resolve_topic_name("image_raw").rpartition("/")[0] + "/camera_info"

    def _listen(self, wanted: bool, kind: type, topic: str, callback: Callable[[Any], None], use: str) -> None:
        """Be subscribed to a topic while it is wanted."""
        if wanted and topic not in self._inputs:
            self._inputs[topic] = self.subscribe_to(kind, topic, callback, use)
        elif not wanted and topic in self._inputs:
            self.unsubscribe(self._inputs.pop(topic))

    def _on_info(self, message: CameraInfo) -> None:
        self._calibration = camera_from_info(message)

    def _on_image(self, received: ReceivedImage) -> None:
        if self._watched("images"):
            self._submit(self._join.add_image(received.stamp_ns, received, received.size))
        elif self._calibration is None:
            decoded = received.decode()
            self._size = (decoded.width, decoded.height)

    def _on_faces(self, message: FaceEmotionArray) -> None:
        self._submit(self._join.add_faces(conversions.stamp_to_ns(message.header.stamp), message))
        if self._watched("labels"):
            self._label(message)
        if self._watched("boxes"):
            self._annotate(message)

    def _on_state(self, message: EmotionState) -> None:
        self._state = message
        if self._watched("text"):
            state = conversions.state_from_message(message)
            self._text.publish(state_to_overlay(state, self._text_type, self.parameters["show_scores"]))

    def _label(self, message: FaceEmotionArray) -> None:
        camera = None
        if self.parameters["label_frame"] == "camera":
            camera = self._calibration
            if camera is None and self._size is not None:
                camera = camera_from_size(*self._size, self.parameters["horizontal_fov"])
            if camera is None:
                return  # no image arrived yet
        try:
            stamp_ns, faces = conversions.faces_from_message(message)
        except ConversionError as error:
            self.reject(str(error))
            return
        self._markers.publish(
            self._labels.update(
                faces, message.header, camera, self.parameters["label_size"], self.parameters["show_scores"]
            )
        )
        if not self._watched("images"):  # otherwise the images update the meter
            self.meter.done((self.now_ns - stamp_ns) / SECOND)

    def _annotate(self, message: FaceEmotionArray) -> None:
        try:
            stamp_ns, faces = conversions.faces_from_message(message)
        except ConversionError as error:
            self.reject(str(error))
            return
        scores = self.parameters["show_scores"]
        self._annotations.publish(faces_to_annotations(faces, message.header, self._foxglove, scores))
        if not (self._watched("images") or self._watched("labels")):  # otherwise the images update the meter
            self.meter.done((self.now_ns - stamp_ns) / SECOND)

    def _submit(self, found: list[Joined[ReceivedImage, FaceEmotionArray]]) -> None:
        for joined in found:
            if not joined.late:
                self._drawer.submit((joined, self._state))

    def _draw(self, seen: tuple[Joined[ReceivedImage, FaceEmotionArray], EmotionState | None]) -> None:
        joined, state_message = seen
        received, face_message, stamp_ns = joined.image, joined.faces, joined.image_ns
        faces: tuple[FaceObservation, ...] = ()
        state = None
        decoded = received.decode()
        image, self._size = decoded.image, (decoded.width, decoded.height)
        if face_message is not None:
            faces_ns, faces = conversions.faces_from_message(face_message)
            faces = faces if abs(stamp_ns - faces_ns) <= FACES_HOLD else ()
        if state_message is not None:
            state = conversions.state_from_message(state_message)
            state = state if abs(stamp_ns - state.stamp_ns) <= STATE_HOLD else None
        annotated = draw(image, faces, state, self.parameters["show_scores"], self.parameters["show_bars"])
        if self._annotated.get_subscription_count() > 0:
            self._annotated.publish(conversions.image_to_message(annotated, received.header))
        if self._compressed.get_subscription_count() > 0:
            quality = self.parameters["jpeg_quality"]
            self._compressed.publish(conversions.image_to_compressed(annotated, received.header, quality))
        self.meter.done((self.now_ns - stamp_ns) / SECOND)


def main() -> int:
    """Console script ``overlay_node``."""
    return run(OverlayNode)


if __name__ == "__main__":
    sys.exit(main())
