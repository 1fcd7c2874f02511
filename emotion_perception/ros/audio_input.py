"""A node's ear: subscribes to the sound on a topic in whatever ROS dialect it is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation

from emotion_perception.messages.audio import (
    DIALECTS,
    ArrivalStamps,
    Dialect,
    DialectError,
    Sound,
    SoundForm,
    dialects_of,
    form_from_audio_info,
    message_class,
)
from emotion_perception.ros.lifecycle import PerceptionNode

AUTO = "auto"
LOOK_EVERY = 0.25  # s; a look takes a fraction of a millisecond
_STAMPED = "audio_common_msgs/AudioDataStamped"
_PLAIN = "audio_common_msgs/AudioData"


@dataclass(frozen=True)
class Chunk:
    """A message as it came."""

    dialect: Dialect
    message: Any
    arrival_ns: int


class AudioInput:
    """Lives while its node is active; see docs/audio.md for what is heard on which topic.

    Args:
        node: has the parameters ``audio_format``, ``audio_sample_rate``, ``audio_channels``, ``audio_sample_format``.
        topic: the sound's; ros-drivers' companions are looked for beside it, on ``<topic>_stamped``, ``<topic>_info``.
        submit: takes each :class:`Chunk` as it comes.

    Raises:
        DialectError: ``audio_format`` names a message that cannot be received here.
    """

    def __init__(self, node: PerceptionNode, topic: str, submit: Callable[[Chunk], None]) -> None:
        self._node, self._submit = node, submit
        self._topic = node.resolve_topic_name(topic)
        self._fixed = DIALECTS.get(node.parameters["audio_format"])
        self._told = SoundForm(
            node.parameters["audio_sample_rate"],
            node.parameters["audio_channels"],
            node.parameters["audio_sample_format"],
        )
        self._form = self._told
        self._stamps = ArrivalStamps()
        self._heard: tuple[Dialect, str] | None = None  # what is subscribed to, and where
        self._subscriptions: list[Any] = []
        self._said_unstamped = False
        if self._fixed is not None:
            self._listen_to(self._fixed, self._topic)
        node.every(LOOK_EVERY, self._look, steady=True)
        self._look()  # where the microphone was there before, nothing of it is missed

    @property
    def status(self) -> dict[str, str]:
        """For /diagnostics: in what dialect and where sound is heard."""
        if self._heard is None:
            return {"audio format": "none yet", "audio topic": self._topic}
        dialect, topic = self._heard
        return {"audio format": dialect.name, "audio topic": topic}

    def sound(self, chunk: Chunk) -> Sound:
        """What a chunk holds, stamped; to be called for every chunk in order, from one thread.

        Raises:
            ConversionError: the chunk cannot be used; the text says why.
        """
        sound = chunk.dialect.read(chunk.message, self._form)
        if sound.stamp_ns is not None:
            return sound
        if not self._said_unstamped:
            self._said_unstamped = True
            self._node.get_logger().warning(f"{chunk.dialect.name} comes without a stamp; it is stamped on arrival")
        stamp_ns = self._stamps.stamp(chunk.arrival_ns, len(sound.samples), sound.sample_rate)
        return Sound(sound.samples, sound.sample_rate, stamp_ns, sound.frame_id)

    def _types_on(self, topic: str) -> set[str]:
        return {end.topic_type for end in self._node.get_publishers_info_by_topic(topic)}

    def _look(self) -> None:
        types = self._types_on(self._topic)
        if not types:
            return  # nobody publishes, or no longer: what is subscribed to stays
        if self._fixed is not None:
            if self._fixed.type_name not in types:
                self._tell(f"audio_format is {self._fixed.name}, but {self._topic} carries {_listed(types)}")
            return
        found = [(dialect, self._topic) for dialect in dialects_of(types)]
        if not found:
            self._tell(f"{self._topic} carries {_listed(types)}, no sound known here; known: {', '.join(DIALECTS)}")
        if found and found[0][0].name == _PLAIN:
            # The same capture node publishes the same sound with stamps as well.
            beside = f"{self._topic}_stamped"
            if DIALECTS[_STAMPED].type_name in self._types_on(beside):
                found.insert(0, (DIALECTS[_STAMPED], beside))
        for choice in found:
            if choice == self._heard:
                return
            try:
                self._listen_to(*choice)
            except DialectError as error:
                self._tell(f"{error}; published on {choice[1]}")
            else:
                return

    def _listen_to(self, dialect: Dialect, topic: str) -> None:
        sound_class = message_class(dialect)
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
        self._form, self._stamps, self._heard = self._told, ArrivalStamps(), None

        def take(message: Any) -> None:
            self._submit(Chunk(dialect, message, self._node.now_ns))

        wanted = [(sound_class, topic, take)]
        if dialect.info:
            info = f"{topic.removesuffix('_stamped')}_info"
            wanted.append((message_class(dialect, dialect.info), info, self._on_info))
        try:
            for kind, name, callback in wanted:
                self._subscriptions.append(self._node.subscribe_to(kind, name, callback, "audio_in"))
        except rclpy_implementation.RCLError as error:
            raise DialectError(
                f"{dialect.name} cannot be subscribed to; a process can use {topic} with one type only ({error})"
            ) from error
        self._heard = (dialect, topic)
        self._node.get_logger().info(f"listening to {dialect.name} on {topic}")

    def _on_info(self, message: Any) -> None:
        self._form = self._told.or_else(form_from_audio_info(message))

    def _tell(self, problem: str) -> None:
        self._node.reporter.report(problem, problem)


def _listed(types: set[str]) -> str:
    return ", ".join(sorted(types))
