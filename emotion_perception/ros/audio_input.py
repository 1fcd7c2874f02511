"""Subscribe to the audio on a topic, whichever message type it is published with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
from emotion_perception.messages.stamps import StampCorrection
from emotion_perception.ros.distributions import RCLError
from emotion_perception.ros.input_watch import CHECK_PERIOD as WATCH_PERIOD
from emotion_perception.ros.input_watch import InputWatch, Wanted
from emotion_perception.ros.lifecycle import PerceptionNode
from emotion_perception.types import SECOND

AUTO = "auto"
CHECK_PERIOD = 0.25  # s between two checks of the published types, each a fraction of a millisecond
_STAMPED = "audio_common_msgs/AudioDataStamped"
_PLAIN = "audio_common_msgs/AudioData"


@dataclass(frozen=True)
class Chunk:
    """A message as received."""

    dialect: Dialect
    message: Any
    arrival_ns: int


@dataclass(frozen=True)
class StampedSound(Sound):
    """The audio of a message; without a stamp of its own it has been given one."""

    stamp_ns: int


class AudioInput:
    """The audio subscription of an active node; docs/audio.md lists message types and topics.

    Args:
        node: has the parameters ``audio_format``, ``audio_sample_rate``, ``audio_channels``, ``audio_sample_format``.
        topic: audio topic; the additional topics of ros-drivers are ``<topic>_stamped`` and ``<topic>_info``.
        submit: called with each :class:`Chunk`.
        report_silence: whether :attr:`watch` reports if no audio arrives.

    Raises:
        DialectError: ``audio_format`` names a message type that is not installed here.
    """

    def __init__(
        self, node: PerceptionNode, topic: str, submit: Callable[[Chunk], None], report_silence: bool = False
    ) -> None:
        self._node, self._submit = node, submit
        self._topic = node.resolve_topic_name(topic)
        self._fixed = DIALECTS.get(node.parameters["audio_format"])
        self._configured_form = SoundForm(
            node.parameters["audio_sample_rate"],
            node.parameters["audio_channels"],
            node.parameters["audio_sample_format"],
        )
        self._form = self._configured_form
        self._stamps = ArrivalStamps()
        self._correction = self._new_correction()
        self._subscribed: tuple[Dialect, str] | None = None  # dialect and topic of the subscription
        self._subscriptions: list[Any] = []
        self._warned_unstamped = False
        wanted = Wanted("audio", self._topic, "audio_topic", ", ".join(DIALECTS))
        self.watch = InputWatch(
            node, wanted, {dialect.type_name for dialect in DIALECTS.values()}, self._subscriptions_made
        )
        if report_silence:
            node.every(WATCH_PERIOD, self.watch.check, steady=True)
        if self._fixed is not None:
            self._subscribe(self._fixed, self._topic)
        node.every(CHECK_PERIOD, self._check_types, steady=True)
        self._check_types()  # at once, so that nothing is missed of a microphone that is already there

    @property
    def status(self) -> dict[str, str]:
        """Message type and topic for /diagnostics."""
        if self._subscribed is None:
            return {"audio format": "none yet", "audio topic": self._topic}
        dialect, topic = self._subscribed
        return {"audio format": dialect.name, "audio topic": topic}

    def sound(self, chunk: Chunk) -> StampedSound:
        """The audio of a chunk with a stamp. Call it for every chunk in order, from one thread.

        Raises:
            ConversionError: the chunk cannot be used; the text says why.
        """
        sound = chunk.dialect.read(chunk.message, self._form)
        duration = len(sound.samples) * SECOND // sound.sample_rate
        if sound.stamp_ns is not None:
            stamp_ns = self._correction.stamp(sound.stamp_ns, max(0, chunk.arrival_ns - duration))
            if self.problem:
                self._node.reporter.report(self.problem, "microphone stamps")
            if self._node.parameters["stamp_source"] != "arrival":
                return StampedSound(sound.samples, sound.sample_rate, stamp_ns, sound.frame_id)
        elif not self._warned_unstamped:
            self._warned_unstamped = True
            self._node.get_logger().warning(f"{chunk.dialect.name} has no stamp; using the time of arrival")
        stamp_ns = self._stamps.stamp(chunk.arrival_ns, len(sound.samples), sound.sample_rate)
        return StampedSound(sound.samples, sound.sample_rate, stamp_ns, sound.frame_id)

    @property
    def problem(self) -> str:
        """What is wrong although audio arrives."""
        return self._correction.problem

    def _new_correction(self) -> StampCorrection:
        return StampCorrection("microphone", self._node.parameters["stamp_source"])

    def _subscriptions_made(self) -> list[tuple[str, str]]:
        return [(self._subscribed[1], self._subscribed[0].type_name)] if self._subscribed else []

    def _types_on(self, topic: str) -> set[str]:
        return {end.topic_type for end in self._node.get_publishers_info_by_topic(topic)}

    def _check_types(self) -> None:
        types = self._types_on(self._topic)
        self.watch.reason = ""
        if not types:
            return  # no publisher (any more): keep the present subscription
        if self._fixed is not None:
            if self._fixed.type_name not in types:
                self._report(f"audio_format is {self._fixed.name}, but {self._topic} carries {_listed(types)}")
            return
        found = [(dialect, self._topic) for dialect in dialects_of(types)]
        if not found:
            known = ", ".join(DIALECTS)
            self._report(f"{self._topic} carries {_listed(types)}, which is no known audio type; known: {known}")
        if found and found[0][0].name == _PLAIN:
            # The capture node publishes the same audio with stamps, too.
            stamped = f"{self._topic}_stamped"
            if DIALECTS[_STAMPED].type_name in self._types_on(stamped):
                found.insert(0, (DIALECTS[_STAMPED], stamped))
        for choice in found:
            if choice == self._subscribed:
                return
            try:
                self._subscribe(*choice)
            except DialectError as error:
                self._report(f"{error}; published on {choice[1]}")
            else:
                return

    def _subscribe(self, dialect: Dialect, topic: str) -> None:
        sound_class = message_class(dialect)
        while self._subscriptions:
            self._node.unsubscribe(self._subscriptions.pop())
        self._form, self._stamps, self._subscribed = self._configured_form, ArrivalStamps(), None
        self._correction = self._new_correction()

        def take(message: Any) -> None:
            self.watch.arrived()
            self._submit(Chunk(dialect, message, self._node.now_ns))

        wanted = [(sound_class, topic, take)]
        if dialect.info:
            info = f"{topic.removesuffix('_stamped')}_info"
            wanted.append((message_class(dialect, dialect.info), info, self._on_info))
        try:
            for kind, name, callback in wanted:
                self._subscriptions.append(self._node.subscribe_to(kind, name, callback, "audio_in"))
        except RCLError as error:
            raise DialectError(
                f"{dialect.name} cannot be subscribed to; a process can use {topic} with one type only ({error})"
            ) from error
        self._subscribed = (dialect, topic)
        self._node.get_logger().info(f"listening to {dialect.name} on {topic}")

    def _on_info(self, message: Any) -> None:
        self._form = self._configured_form.or_else(form_from_audio_info(message))

    def _report(self, problem: str) -> None:
        self.watch.reason = problem
        self._node.reporter.report(problem, problem)


def _listed(types: set[str]) -> str:
    return ", ".join(sorted(types))
