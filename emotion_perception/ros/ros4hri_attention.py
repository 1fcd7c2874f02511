"""Attention of persons as ROS4HRI (REP-155) has it: ``engagement_status`` of each person, and who gazes at whom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emotion_perception.attention.geometry import Camera
from emotion_perception.ros import qos
from emotion_perception.ros.conversions import make_header
from emotion_perception.types import SECOND, Box, Engagement, PersonState

if TYPE_CHECKING:
    from emotion_perception.ros.lifecycle import PerceptionNode

PERSONS, GAZING = "/humans/persons", "/humans/interactions/gazing"
ROBOT = ""  # sender or receiver of a gaze that is the robot
FACING = math.radians(20)  # horizontal angle between a person and the camera's axis within which the robot faces them
GONE_NS = 2 * SECOND  # time for which the publisher of a person who left remains, so that the last message arrives
MAX_PERSONS = 64


class Ros4HriAttention:
    """Publishes the attention of persons under their ids.

    Args:
        node: makes the publishers.

    Raises:
        ImportError: ``hri_msgs`` is not installed.
    """

    def __init__(self, node: PerceptionNode) -> None:
        from hri_msgs.msg import EngagementLevel, Gaze

        self._node, self._level_type, self._gaze_type = node, EngagementLevel, Gaze
        self._gazing = node.create_publisher(Gaze, GAZING, qos.profile("estimates"))
        self._levels: dict[str, Any] = {}  # publisher by person id
        self._gone_ns: dict[str, int] = {}  # persons who left, and when

    def publish(
        self,
        persons: Sequence[PersonState],
        frame_id: str,
        boxes: Mapping[str, Box],
        camera: Camera | None,
        now_ns: int,
    ) -> None:
        """Publish one array of persons; those without an id that can be part of a topic's name are left out.

        Args:
            persons: everybody in view.
            frame_id: TF frame of the images.
            boxes: of the faces, px, by face id; with ``camera`` they say whom the robot faces.
            camera: of the images.
            now_ns: time of publication.
        """
        present: set[str] = set()
        for person in persons[:MAX_PERSONS]:
            if not person.person_id:
                continue
            if not (person.person_id.isidentifier() and person.person_id.isascii()):
                self._node.reject(f"person id {person.person_id!r} cannot be part of a topic's name", "person id")
                continue
            present.add(person.person_id)
            header = make_header(person.stamp_ns, frame_id)
            self._publish_level(person.person_id, person.engagement, header)
            if person.looking_duration > 0:
                self._gazing.publish(self._gaze_type(header=header, sender=person.person_id, receiver=ROBOT))
            if faces_robot(boxes.get(person.face_id), camera):
                self._gazing.publish(self._gaze_type(header=header, sender=ROBOT, receiver=person.person_id))
        self._part(present, frame_id, now_ns)

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in (self._gazing, *self._levels.values()):
            self._node.destroy_publisher(publisher)
        self._levels.clear()
        self._gone_ns.clear()

    def _publish_level(self, person_id: str, level: Engagement, header: Any) -> None:
        self._gone_ns.pop(person_id, None)
        if person_id not in self._levels:
            topic = f"{PERSONS}/{person_id}/engagement_status"
            self._levels[person_id] = self._node.create_publisher(self._level_type, topic, qos.profile("estimates"))
        self._levels[person_id].publish(self._level_type(header=header, level=int(level)))

    def _part(self, present: set[str], frame_id: str, now_ns: int) -> None:
        """UNKNOWN once for each person who left; later the publisher is destroyed."""
        for person_id in self._levels.keys() - present - self._gone_ns.keys():
            self._publish_level(person_id, Engagement.UNKNOWN, make_header(now_ns, frame_id))
            self._gone_ns[person_id] = now_ns
        for person_id, left_ns in list(self._gone_ns.items()):
            if not 0 <= now_ns - left_ns < GONE_NS:
                self._node.destroy_publisher(self._levels.pop(person_id))
                del self._gone_ns[person_id]


def faces_robot(box: Box | None, camera: Camera | None) -> bool:
    """Whether the camera faces the person with this face: within ``FACING`` of its axis; False if not known."""
    if box is None or camera is None:
        return False
    return abs(math.atan2(box.x + box.width / 2 - camera.centre_x, camera.focal_x)) <= FACING
