"""Which face and voice belong to which person, from a ROS4HRI person manager (REP-155)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from std_msgs.msg import String

from emotion_perception.ros import qos

if TYPE_CHECKING:
    from emotion_perception.ros.lifecycle import PerceptionNode

PERSONS = "/humans/persons/tracked"  # the ids of a person are on /humans/persons/<id>/face_id and voice_id


class PersonIds:
    """Subscribes to the list of persons and to the ids of each of them; does nothing where hri_msgs is not installed.

    Args:
        node: has the parameter ``use_person_ids``, which switches it off.
        kinds: topics of a person to read: ``face_id``, ``voice_id`` or both.
        on_ids: called with a person id and its ids by kind, as far as known, whenever one of them changes, and with
            ``{}`` when the person is no longer listed.
    """

    def __init__(
        self, node: PerceptionNode, kinds: tuple[str, ...], on_ids: Callable[[str, dict[str, str]], None]
    ) -> None:
        self._node, self._kinds, self._on_ids = node, kinds, on_ids
        self._subscriptions: dict[str, list[Any]] = {}
        self._ids: dict[str, dict[str, str]] = {}

    def open(self) -> None:
        """Subscribe to the list of persons."""
        if not self._node.parameters["use_person_ids"]:
            return
        try:
            from hri_msgs.msg import IdsList
        except ImportError:
            return
        self._node.subscribe_to(IdsList, PERSONS, self._on_persons, "tracked")

    def close(self) -> None:
        """Remove the subscriptions of all persons; the node removes that of the list."""
        for person_id in list(self._subscriptions):
            self._forget(person_id)

    def _on_persons(self, message: Any) -> None:
        tracked = set(message.ids)
        for person_id in self._subscriptions.keys() - tracked:
            self._forget(person_id)
        folder = self._node.resolve_topic_name(PERSONS).rpartition("/")[0]  # the list may be remapped
        for person_id in tracked - self._subscriptions.keys():
            if not person_id.isidentifier():
                self._node.reject(f"person id {person_id!r} cannot be part of a topic's name", "person id")
                continue
            self._ids[person_id] = {}
            self._subscriptions[person_id] = [
                self._node.create_subscription(
                    String,
                    f"{folder}/{person_id}/{kind}",
                    partial(self._on_person, person_id, kind),
                    qos.profile("state"),
                )
                for kind in self._kinds
            ]

    def _on_person(self, person_id: str, kind: str, message: String) -> None:
        if person_id in self._ids:
            self._ids[person_id][kind] = message.data
            self._on_ids(person_id, dict(self._ids[person_id]))

    def _forget(self, person_id: str) -> None:
        for subscription in self._subscriptions.pop(person_id):
            self._node.destroy_subscription(subscription)
        del self._ids[person_id]
        self._on_ids(person_id, {})
