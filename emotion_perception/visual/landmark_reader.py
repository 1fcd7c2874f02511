"""Landmarks of the faces in view at a bounded rate, and what they show."""

from __future__ import annotations

import numpy as np

from emotion_perception.types import SECOND, FaceLandmarks
from emotion_perception.visual.alignment import FaceFrame
from emotion_perception.visual.facial_actions import describe_actions, eye_closure, facial_actions, jaw_opening
from emotion_perception.visual.head_pose import gaze_direction, head_pose
from emotion_perception.visual.landmarks import FaceLandmarker, FaceMesh

# The points of the face mesh that are nearest to the 70 of hri_msgs/FacialLandmarks, in its order: the 68 of dlib (jaw
# from the person's right ear, brows, nose, eyes, outer and inner lips), then the pupils.
# fmt: off
HRI_POINTS = np.array([
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
    468, 473,
])
# fmt: on


class LandmarkReader:
    """Measures the landmarks of single faces, and of faces in a stream at most ``rate`` times per second in all.

    Args:
        rate: measurements per second of stream time; 0: none in a stream.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._landmarker: FaceLandmarker | None = None
        self.reset()

    def reset(self) -> None:
        """Forget when each face was measured."""
        self._measured_ns: dict[str, int] = {}
        self._newest_ns: int | None = None

    def warm_up(self) -> None:
        """Load the networks now rather than with the first face.

        Raises:
            ModelError: they are missing or not usable.
        """
        if self._landmarker is None:
            self._landmarker = FaceLandmarker()

    def choose(self, sides: dict[str, float], stamp_ns: int) -> str | None:
        """The face to measure in this image; None if none is due.

        A face that was not measured yet comes first; otherwise the one with the largest product of its age, the time
        since its last measurement, and its side: all faces have their turn, near ones more often.

        Args:
            sides: side of each face in view that is classified, px, by face id.
            stamp_ns: time of capture.
        """
        self._measured_ns = {face: stamp for face, stamp in self._measured_ns.items() if face in sides}
        if not sides or self.rate == 0:
            return None
        if self._newest_ns is not None and (stamp_ns - self._newest_ns) * self.rate < SECOND * 0.99:
            return None

        def urgency(face_id: str) -> tuple[bool, float, str]:
            measured = self._measured_ns.get(face_id)
            return measured is None, sides[face_id] * (1 if measured is None else stamp_ns - measured), face_id

        chosen = max(sides, key=urgency)
        self._measured_ns[chosen] = self._newest_ns = stamp_ns
        return chosen

    def measure(self, image: np.ndarray, frame: FaceFrame) -> FaceLandmarks:
        """The landmarks of one face.

        Args:
            image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
            frame: the square that the face's crop shows.

        Raises:
            ModelError: the networks are missing or not usable.
        """
        self.warm_up()
        assert self._landmarker is not None
        return read_mesh(self._landmarker.measure(image, frame))


def read_mesh(mesh: FaceMesh) -> FaceLandmarks:
    """What a face mesh shows; only the score if it lies on no face."""
    if not mesh.found:
        return FaceLandmarks(mesh.score)
    pose = head_pose(mesh.points)
    gaze = gaze_direction(mesh.points, pose)
    return FaceLandmarks(
        mesh.score,
        pose.yaw,
        pose.pitch,
        pose.roll,
        gaze.yaw,
        gaze.pitch,
        eye_closure(mesh.blendshapes),
        jaw_opening(mesh.blendshapes),
        mesh.points[HRI_POINTS, :2],
        mesh.blendshapes,
        describe_actions(facial_actions(mesh.blendshapes)),
    )
