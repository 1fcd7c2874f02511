"""What attention can use beyond faces: a depth image, and the position of the robot's head in TF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rclpy.time import Time
from sensor_msgs.msg import Image

from emotion_perception.attention.geometry import Camera, Vector, line_of_sight
from emotion_perception.messages.depth import depth_in_box
from emotion_perception.messages.sensors import ConversionError, stamp_to_ns
from emotion_perception.types import SECOND, FaceObservation

MAX_DEPTH_AGE = SECOND // 5  # ns between a depth image and the image of the face; at a walk 0.3 m


class DepthInput:
    """Holds the newest depth image and measures faces in it."""

    def __init__(self) -> None:
        self._newest: tuple[int, Image] | None = None
        self.problem = ""  # why the last image could not be used

    def on_image(self, message: Image) -> None:
        """A depth image."""
        self._newest = stamp_to_ns(message.header.stamp), message

    def distances(self, stamp_ns: int, faces: Sequence[FaceObservation], camera: Camera | None) -> dict[str, float]:
        """Distance between camera and face by face id, m, where the depth image shows it.

        Args:
            stamp_ns: of the image with the faces.
            faces: their boxes are px of an image that is twice as large as the centre of ``camera``.
            camera: of this image; None: the depth image has the same size, and depth is taken for distance.
        """
        if self._newest is None or abs(self._newest[0] - stamp_ns) > MAX_DEPTH_AGE:
            return {}
        size = (2 * camera.centre_x, 2 * camera.centre_y) if camera is not None else None
        found = {}
        self.problem = ""
        for face in faces:
            try:
                depth = depth_in_box(self._newest[1], face.box, size)
            except ConversionError as error:
                self.problem = str(error)
                return {}
            if not math.isnan(depth):
                found[face.face_id] = depth if camera is None else depth / line_of_sight(face.box, camera).z
        return found


class RobotHead:
    """Position of the robot's head in the camera's TF frame.

    Args:
        node: subscribes to TF.
        frame: TF frame of the robot's head.

    Raises:
        ValueError: tf2_ros is not installed.
    """

    def __init__(self, node: Any, frame: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(
                f"robot_head_frame is {frame!r}, but tf2_ros cannot be imported ({error}); install it or leave the "
                "parameter empty"
            ) from error
        self._tf2_ros, self._frame = tf2_ros, frame
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self.problem = ""  # why the position is not known

    def position(self, camera_frame: str) -> Vector | None:
        """The newest position, m; None where TF does not have it."""
        try:
            found = self._buffer.lookup_transform(camera_frame, self._frame, Time()).transform.translation
        except self._tf2_ros.TransformException as error:
            self.problem = f"TF does not connect {camera_frame or 'the camera'} and {self._frame}: {error}"
            return None
        self.problem = ""
        return Vector(found.x, found.y, found.z)

    def close(self) -> None:
        """Unsubscribe from TF."""
        self._listener.unregister()
