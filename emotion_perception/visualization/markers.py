"""Faces and the state as what rviz and Foxglove show: labels above heads, a line of text, boxes. Pure functions.

A picture alone does not say how far away a face is; its height does well enough for a label: faces are about as tall
as each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import radians, tan
from typing import Any, TypeVar

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from emotion_perception.types import Box, EmotionState, EmotionStatus, FaceObservation
from emotion_perception.visualization.overlay import EMOTION_BGR, STATUS_TEXT, label_text

Overlay = TypeVar("Overlay")

NAMESPACE = "emotion"
LIFETIME = Duration(sec=1)  # labels go by themselves where nothing more is said about their face
FACE_HEIGHT = 0.2  # m, of a grown-up's face as a detector frames it
LETTERS = 16.0  # px, of labels over a picture
GAP = 0.1  # m between the face's upper edge and the label
ABOVE_FACE_FRAME = 0.25  # m, from the middle of the head (frame face_<id> of REP-155) to above it
MAX_NUMBERS = 256  # face ids whose marker number is remembered
WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; all in px."""

    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float


def camera_from_info(info: CameraInfo) -> Camera | None:
    """The calibration in a message; None where the camera is not calibrated (K of zeros) or K is no calibration."""
    focal_x, focal_y, centre_x, centre_y = (float(info.k[i]) for i in (0, 4, 2, 5))
    if not (0 < focal_x < 1e6 and 0 < focal_y < 1e6 and abs(centre_x) < 1e6 and abs(centre_y) < 1e6):  # NaN, too
        return None
    return Camera(focal_x, focal_y, centre_x, centre_y)


def camera_from_size(width: int, height: int, horizontal_fov: float) -> Camera:
    """A camera with square pixels that looks so wide, in degrees (0..180)."""
    focal = width / 2 / tan(radians(horizontal_fov) / 2)
    return Camera(focal, focal, width / 2, height / 2)


def place_above(box: Box, camera: Camera) -> Point:
    """Where the label of a face stands, m, in the camera's optical frame (x right, y down, z forward)."""
    depth = camera.focal_y * FACE_HEIGHT / max(box.height, 1.0)
    right = (box.x + box.width / 2 - camera.centre_x) * depth / camera.focal_x
    down = (box.y - camera.centre_y) * depth / camera.focal_y - GAP
    return Point(x=right, y=down, z=depth)


def emotion_colour(label: int) -> ColorRGBA:
    """The colour that the emotion has in pictures, too."""
    blue, green, red = (channel / 255 for channel in EMOTION_BGR[label])
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)


def face_to_marker(
    face: FaceObservation, number: int, header: Header, camera: Camera | None, text_size: float, scores: bool = True
) -> Marker:
    """A face's label: in the frame of ``header`` by the box, or above the TF frame ``face_<id>`` without ``camera``."""
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
    """Takes a label away."""
    return Marker(header=header, ns=NAMESPACE, id=number, action=Marker.DELETE)


class Labels:
    """Which labels are shown: a face keeps its number for as long as it is known, and one that went is deleted."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # last used at the end
        self._given = 0
        self._shown: set[str] = set()

    def update(
        self, faces: Iterable[FaceObservation], header: Header, camera: Camera | None, text_size: float, scores: bool
    ) -> MarkerArray:
        """Labels for the faces of one picture, and the end of those that are not in it any more."""
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
        """Forget what is shown; it goes by its lifetime."""
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
        state: with NO_EVIDENCE the line says so.
        overlay_type: ``OverlayText`` of ``rviz_2d_overlay_msgs`` (``horizontal_distance``, alignment), or of older
            packages (``left``, ``top``); which of both is seen from its fields.
        scores: write the confidence beside the label.
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
    """Boxes and labels over the picture, as Foxglove's ``ImageAnnotations``.

    Args:
        faces: of the picture with this header; its stamp is every annotation's, by which Foxglove finds the picture.
        types: the module ``foxglove_msgs.msg``; older releases lack the own ``timestamp`` of the list.
        scores: write the confidences beside the labels.
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
    """``foxglove_msgs.msg`` where it is installed."""
    try:
        import foxglove_msgs.msg as types
    except ImportError:
        return None
    return types


def overlay_text_type() -> type | None:
    """``OverlayText`` where a package that has it is installed."""
    try:
        from rviz_2d_overlay_msgs.msg import OverlayText
    except ImportError:
        return None
    return OverlayText
