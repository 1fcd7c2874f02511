"""Whether a person looks at the robot: a two-state Markov filter over measurements of gaze and head pose.

A measurement gives the angle by which the gaze misses the robot, and its error. Gaze and head pose are combined with
the inverse of their variances; the gaze of a small face, and of closed eyes, counts less or not at all. Between
measurements the belief returns to 1/2 with the time constant of people's glances: the longer nothing was measured, the
less is known.
"""

from __future__ import annotations

import math

from emotion_perception.attention.geometry import Vector, miss_angle, miss_angle_of_target
from emotion_perception.types import SECOND, FaceLandmarks

GAZE_ERROR = math.radians(4.0)  # of the measured gaze of a near face: bias and spread of docs/landmarks.md
IRIS_ERROR = 0.4  # px, error of the position of the iris, which grows to an angle as faces get smaller
EYEBALL = 0.055  # radius of the eyeball over the height of a face's box: 1 cm of 18 cm
HEAD_ERROR = math.radians(15.0)  # between the direction of the head and the gaze: people also turn their eyes
CLOSED_EYES = 0.5  # eye closure from which the gaze is not visible
FOUND = 0.5  # landmark score from which the measurements are of a face
GLANCE_TIME = 2.0  # s, time constant of the return to 1/2
LARGEST_RATIO = 30.0  # of the likelihoods of one measurement: it may be wrong altogether


class LookingFilter:
    """Belief that one person looks at the robot.

    Args:
        limit: angle up to which a gaze is a look at the robot, rad.
        hold_s: time after the last measurement from which nothing is known, s.
    """

    def __init__(self, limit: float, hold_s: float) -> None:
        self._limit, self._hold_s = limit, hold_s
        self._belief, self._stamp_ns = 0.5, 0
        self._measured_ns: int | None = None
        self.head_miss = math.nan  # rad, angle between the head's direction and the robot in the last measurement

    def measure(
        self,
        stamp_ns: int,
        landmarks: FaceLandmarks,
        box_height: float,
        sight: Vector | None = None,
        distance: float = math.nan,
        robot_head: Vector | None = None,
    ) -> bool:
        """Take the landmarks of one image; returns whether they are a measurement.

        Args:
            stamp_ns: of the image.
            landmarks: of the face.
            box_height: of the face, px.
            sight: unit vector from the camera to the face; None: not known.
            distance: between camera and face, m; NaN: not known.
            robot_head: position in the camera's optical TF frame; None: the camera is the robot's head. Where it cannot
                be used, as the face's position is not known, nothing is measured.
        """
        angles = (landmarks.head_yaw, landmarks.head_pitch, landmarks.gaze_yaw, landmarks.gaze_pitch)
        if not landmarks.score >= FOUND or not all(map(math.isfinite, angles)) or not box_height > 0:
            return False
        head_yaw, head_pitch, gaze_yaw, gaze_pitch = angles
        gaze_variance = GAZE_ERROR**2 + (IRIS_ERROR / (EYEBALL * box_height)) ** 2
        of_gaze = 0.0 if landmarks.eye_closure > CLOSED_EYES else 1 / gaze_variance
        of_head = 1 / HEAD_ERROR**2
        total = of_gaze + of_head
        yaw = (of_gaze * gaze_yaw + of_head * head_yaw) / total
        pitch = (of_gaze * gaze_pitch + of_head * head_pitch) / total
        if robot_head is None:
            miss, self.head_miss = miss_angle(yaw, pitch), miss_angle(head_yaw, head_pitch)
        elif sight is not None and math.isfinite(distance):
            miss = miss_angle_of_target(yaw, pitch, sight, distance, robot_head)
            self.head_miss = miss_angle_of_target(head_yaw, head_pitch, sight, distance, robot_head)
        else:
            return False
        below = 0.5 * (1 + math.erf((self._limit - miss) * math.sqrt(total / 2)))  # probability of a smaller angle
        ratio = below / max(1 - below, 1e-9)
        ratio = max(1 / LARGEST_RATIO, min(LARGEST_RATIO, ratio))
        prior = self._relaxed(stamp_ns)
        self._belief = prior * ratio / (prior * ratio + 1 - prior)
        self._stamp_ns = self._measured_ns = stamp_ns
        return True

    def at(self, stamp_ns: int) -> float:
        """The belief, 0..1; NaN where nothing was measured within the hold time."""
        if self._measured_ns is None or stamp_ns - self._measured_ns > self._hold_s * SECOND:
            return math.nan
        return self._relaxed(stamp_ns)

    def _relaxed(self, stamp_ns: int) -> float:
        elapsed = max(0.0, (stamp_ns - self._stamp_ns) / SECOND)
        return 0.5 + (self._belief - 0.5) * math.exp(-elapsed / GLANCE_TIME)


class LookingHistory:
    """How long and how much of a window a person has looked at the robot.

    Args:
        window_s: length of the window, s.
    """

    ENTER, LEAVE = 0.55, 0.45  # belief from which the person looks, and under which not any more
    LONGEST_STEP = 1.0  # s; time between two images beyond that is not observed

    def __init__(self, window_s: float) -> None:
        self._window_ns = round(window_s * SECOND)
        self._slot_ns = max(self._window_ns // 40, 1)
        self._slots: list[list[float]] = []  # slot number, s observed, s looked; oldest first
        self._since_ns: int | None = None
        self._stamp_ns: int | None = None

    def add(self, stamp_ns: int, looking: float) -> None:
        """The belief at one image; NaN: not known."""
        before, self._stamp_ns = self._stamp_ns, stamp_ns
        if math.isnan(looking):
            self._since_ns = None
            return
        looks = looking >= (self.ENTER if self._since_ns is None else self.LEAVE)
        if not looks:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = stamp_ns
        step = 0.0 if before is None else min((stamp_ns - before) / SECOND, self.LONGEST_STEP)
        number = stamp_ns // self._slot_ns
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append([number, 0.0, 0.0])
            oldest = (stamp_ns - self._window_ns) // self._slot_ns
            while self._slots[0][0] < oldest:
                del self._slots[0]
        self._slots[-1][1] += step
        self._slots[-1][2] += step * looks

    def share(self) -> float:
        """Share of the observed time of the window in which the person looked at the robot; NaN without any."""
        observed = sum(slot[1] for slot in self._slots)
        return sum(slot[2] for slot in self._slots) / observed if observed > 0 else math.nan

    def duration(self, stamp_ns: int) -> float:
        """Time for which the person has looked at the robot without interruption, s."""
        return 0.0 if self._since_ns is None else max(0.0, (stamp_ns - self._since_ns) / SECOND)
