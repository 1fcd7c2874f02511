"""Faces and the state for rviz and Foxglove: labels above heads, a line of text, boxes. Pure functions.

The distance of a face is estimated from the height of its box, which is exact enough for a label: faces are about
equally tall.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import radians, tan
from typing import Any, TypeVar

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from emotion_perception.attention.geometry import FACE_HEIGHT, Camera
from emotion_perception.types import Box, EmotionState, EmotionStatus, FaceObservation
from emotion_perception.visualization.overlay import EMOTION_BGR, STATUS_TEXT, label_text

Overlay = TypeVar("Overlay")

NAMESPACE = "emotion"
LIFETIME = Duration(sec=1)  # a label without updates disappears
LETTERS = 16.0  # px, of labels over an image
GAP = 0.1  # m between the face's upper edge and the label
ABOVE_FACE_FRAME = 0.25  # m, from the middle of the head (frame face_<id> of REP-155) to above it
MAX_NUMBERS = 256  # face ids whose marker number is remembered
WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)


def camera_from_info(info: CameraInfo) -> Camera | None:
    """The calibration in a message; None if the camera is not calibrated (K of zeros) or K is not plausible."""
    focal_x, focal_y, centre_x, centre_y = (float(info.k[i]) for i in (0, 4, 2, 5))
    if not (0 < focal_x < 1e6 and 0 < focal_y < 1e6 and abs(centre_x) < 1e6 and abs(centre_y) < 1e6):  # NaN, too
        return None
    return Camera(focal_x, focal_y, centre_x, centre_y)


def camera_from_size(width: int, height: int, horizontal_fov: float) -> Camera:
    """A camera with square pixels and this horizontal field of view, degrees (0..180)."""
    focal = width / 2 / tan(radians(horizontal_fov) / 2)
    return Camera(focal, focal, width / 2, height / 2)


def place_above(box: Box, camera: Camera) -> Point:
    """Position of a face's label in the camera's optical TF frame (x right, y down, z forward), m."""
    depth = camera.focal_y * FACE_HEIGHT / max(box.height, 1.0)
    right = (box.x + box.width / 2 - camera.centre_x) * depth / camera.focal_x
    down = (box.y - camera.centre_y) * depth / camera.focal_y - GAP
    return Point(x=right, y=down, z=depth)


def emotion_colour(label: int) -> ColorRGBA:
    """The colour of an emotion, as in images."""
    blue, green, red = (channel / 255 for channel in EMOTION_BGR[label])
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)


def face_to_marker(
    face: FaceObservation, number: int, header: Header, camera: Camera | None, text_size: float, scores: bool = True
) -> Marker:
    """A face's label: in the TF frame of ``header`` by its box, or without ``camera`` above ``face_<id>``."""
    in_tf = camera is None
    position = Point(z=ABOVE_FACE_FRAME) if camera is None else place_above(face.box, camera)
    return Marker(
        header=Header(stamp=header.stamp, frame_id=f"face_{face.face_id}") if in_tf else header,
        ns=NAMESPACE,
        id=number,
        type=Marker.TEXT_VIEW_FACING,
        action=Marker.ADD,
        pose=Pose(position=position, orientation=Quaternion(w=1.0)),
        scale=Vector3(z=text_size),
        color=emotion_colour(face.emotion.label),
        lifetime=LIFETIME,
        frame_locked=in_tf,  # the label follows the head between two messages
        text=f"{face.face_id}: {label_text(face.emotion, scores)}",
    )


def gone_marker(number: int, header: Header) -> Marker:
    """Removes a label."""
    return Marker(header=header, ns=NAMESPACE, id=number, action=Marker.DELETE)


class Labels:
    """The labels shown: a face keeps its marker number while it is known; the label of a lost face is deleted."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # last used at the end
        self._given = 0
        self._shown: set[str] = set()

    def update(
        self, faces: Iterable[FaceObservation], header: Header, camera: Camera | None, text_size: float, scores: bool
    ) -> MarkerArray:
        """Labels for the faces of one image, and removal of the labels of faces that are no longer in it."""
        present = {face.face_id: face for face in faces}
        gone = sorted(self._shown - present.keys())
        markers = [gone_marker(self._number(face_id), header) for face_id in gone]
        markers += [
            face_to_marker(face, self._number(face.face_id), header, camera, text_size, scores)
            for face in present.values()
        ]
        self._shown = set(present)
        while len(self._numbers) > max(MAX_NUMBERS, len(present)):
            del self._numbers[next(iter(self._numbers))]
        return MarkerArray(markers=markers)

    def clear(self) -> None:
        """Forget the labels shown; they disappear after their lifetime."""
        self._shown.clear()

    def _number(self, face_id: str) -> int:
        number = self._numbers.pop(face_id, None)
        if number is None:
            self._given += 1
            number = self._given
        self._numbers[face_id] = number
        return number


def state_to_overlay(state: EmotionState, overlay_type: type[Overlay], scores: bool = True) -> Overlay:
    """The state as one line in the upper left corner of the view.

    Args:
        state: with NO_EVIDENCE the line reports that.
        overlay_type: ``OverlayText`` of ``rviz_2d_overlay_msgs`` (``horizontal_distance``, alignment), or of older
            packages (``left``, ``top``); its fields decide which.
        scores: write the confidence after the label.
    """
    text, colour = STATUS_TEXT[state.status], WHITE
    if state.status != EmotionStatus.NO_EVIDENCE:
        text, colour = f"{label_text(state.emotion, scores)} ({text})", emotion_colour(state.emotion.label)
    wanted: dict[str, Any] = {
        "action": 0,  # ADD
        "width": 420,
        "height": 36,
        "text_size": 16.0,
        "line_width": 2,
        "font": "DejaVu Sans Mono",
        "bg_color": ColorRGBA(a=0.6),
        "fg_color": colour,
        "text": text,
        "horizontal_distance": 10,
        "vertical_distance": 10,
        "horizontal_alignment": 0,  # LEFT
        "vertical_alignment": 3,  # TOP
        "left": 10,
        "top": 10,
    }
    message: Any = overlay_type()
    for name in message.get_fields_and_field_types():
        if name in wanted:
            setattr(message, name, wanted[name])
    return message


def faces_to_annotations(faces: Iterable[FaceObservation], header: Header, types: Any, scores: bool = True) -> Any:
    """Boxes and labels over the image, as Foxglove's ``ImageAnnotations``.

    Args:
        faces: of the image with this header; every annotation has its stamp, by which Foxglove finds the image.
        types: the module ``foxglove_msgs.msg``; older releases have no ``timestamp`` of the list.
        scores: write the confidences after the labels.
    """
    whole = types.ImageAnnotations()
    if hasattr(whole, "timestamp"):
        whole.timestamp = header.stamp
    for face in faces:
        box, shade = face.box, emotion_colour(face.emotion.label)
        colour = types.Color(r=shade.r, g=shade.g, b=shade.b, a=1.0)
        right, bottom = box.x + box.width, box.y + box.height
        corners = ((box.x, box.y), (right, box.y), (right, bottom), (box.x, bottom))
        whole.points.append(
            types.PointsAnnotation(
                timestamp=header.stamp,
                type=types.PointsAnnotation.LINE_LOOP,
                points=[types.Point2(x=float(x), y=float(y)) for x, y in corners],
                outline_color=colour,
                thickness=2.0,
            )
        )
        whole.texts.append(
            types.TextAnnotation(
                timestamp=header.stamp,
                position=types.Point2(x=float(box.x), y=float(max(box.y - 4, LETTERS))),  # its lower left corner
                text=f"{face.face_id}: {label_text(face.emotion, scores)}",
                font_size=LETTERS,
                text_color=colour,
                background_color=types.Color(a=0.6),
            )
        )
    return whole


def foxglove_types() -> Any | None:
    """``foxglove_msgs.msg``; None if it is not installed."""
    try:
        import foxglove_msgs.msg as types
    except ImportError:
        return None
    return types


def overlay_text_type() -> type | None:
    """``OverlayText``; None if no package with it is installed."""
    try:
        from rviz_2d_overlay_msgs.msg import OverlayText
    except ImportError:
        return None
    return OverlayText
