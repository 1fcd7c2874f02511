"""Writes rosbag2 recordings for tests: what a robot records, from a film's frames and sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from emotion_perception.media.bag_types import DEFINITIONS, DRIVERS_AUDIO, MGONZS_AUDIO
from emotion_perception.media.items import MediaAudio, MediaFrame, MediaItem
from emotion_perception.types import SECOND

START = 1_700_000_000 * SECOND  # ns, the stamp at media time 0
DELAY = SECOND // 50  # from capture to recording
Message = tuple[str, str, int, Any]  # topic, type, time of recording ns, message


def typestore(*, mgonz: bool = False) -> Typestore:
    """Jazzy's messages and those of sound."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in (DEFINITIONS | (MGONZS_AUDIO if mgonz else DRIVERS_AUDIO)).items():
        store.register({k: v for k, v in get_types_from_msg(text, name).items() if k not in store.fielddefs})
    return store


class Speaker:
    """Makes messages of one typestore.

    Args:
        store: whose types.
        set_back: s; stamps from this media time on (second number) are so much older: a clock that was set.
    """

    def __init__(self, store: Typestore, stamp: Callable[[float], int] | None = None) -> None:
        self.store = store
        self.stamp = stamp or (lambda time: START + round(time * SECOND))

    def make(self, name: str, **fields: Any) -> Any:
        """A message by its type, ``package/msg/Message``."""
        return self.store.types[name](**fields)

    def time(self, time: float) -> Any:
        sec, nanosec = divmod(self.stamp(time), SECOND)
        return self.make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)

    def header(self, time: float, frame: str = "camera") -> Any:
        return self.make("std_msgs/msg/Header", stamp=self.time(time), frame_id=frame)

    def image(self, frame: MediaFrame, topic: str = "/camera/image_raw", encoding: str = "bgr8") -> Message:
        picture = frame.image[..., ::-1] if encoding == "rgb8" else frame.image
        if encoding.startswith("mono"):
            picture = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        height, width = picture.shape[:2]
        data = np.ascontiguousarray(picture).reshape(-1)
        message = self.make(
            "sensor_msgs/msg/Image",
            header=self.header(frame.time),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=len(data) // height,
            data=data,
        )
        return topic, "sensor_msgs/msg/Image", _logged(frame.time), message

    def compressed(self, frame: MediaFrame, topic: str = "/camera/image_raw/compressed") -> Message:
        data = cv2.imencode(".jpg", frame.image, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].reshape(-1)
        kind = "sensor_msgs/msg/CompressedImage"
        message = self.make(kind, header=self.header(frame.time), format="bgr8; jpeg compressed bgr8", data=data)
        return topic, kind, _logged(frame.time), message

    def chunk(self, block: MediaAudio, topic: str = "/audio") -> Message:
        kind = "emotion_msgs/msg/AudioChunk"
        message = self.make(
            kind,
            header=self.header(block.time, "microphone"),
            sample_rate=block.sample_rate,
            channels=block.samples.shape[1],
            samples=block.samples.reshape(-1),
        )
        return topic, kind, _logged(block.end), message

    def driver_audio(self, block: MediaAudio, stamped: bool = True) -> Message:
        """ros-drivers' capture node, 16-bit WAVE."""
        data = self.make("audio_common_msgs/msg/AudioData", data=block.samples.reshape(-1).view(np.uint8))
        if not stamped:
            return "/audio/audio", "audio_common_msgs/msg/AudioData", _logged(block.end), data
        kind = "audio_common_msgs/msg/AudioDataStamped"
        message = self.make(kind, header=self.header(block.time), audio=data)
        return "/audio/audio_stamped", kind, _logged(block.end), message

    def driver_info(self, block: MediaAudio) -> Message:
        kind = "audio_common_msgs/msg/AudioInfo"
        message = self.make(
            kind,
            channels=block.samples.shape[1],
            sample_rate=block.sample_rate,
            sample_format="S16LE",
            bitrate=0,
            coding_format="WAVE",
        )
        return "/audio/audio_info", kind, _logged(block.end), message

    def mgonz_audio(self, block: MediaAudio, floats: bool = False) -> Message:
        empty = {"float32": np.float32, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8}
        arrays = {f"{name}_data": np.zeros(0, kind) for name, kind in empty.items()}
        samples = block.samples.reshape(-1)
        if floats:
            arrays["float32_data"] = (samples / 32768).astype(np.float32)
        else:
            arrays["int16_data"] = samples
        package = "audio_common_msgs/msg"
        info = self.make(
            f"{package}/AudioInfo",
            format=1 if floats else 8,
            channels=block.samples.shape[1],
            rate=block.sample_rate,
            chunk=len(block.samples),
        )
        audio = self.make(f"{package}/Audio", audio_data=self.make(f"{package}/AudioData", **arrays), info=info)
        message = self.make(f"{package}/AudioStamped", header=self.header(block.time), audio=audio)
        return "/audio", f"{package}/AudioStamped", _logged(block.end), message

    def raw_audio(self, block: MediaAudio) -> Message:
        kind = "foxglove_msgs/msg/RawAudio"
        message = self.make(
            kind,
            timestamp=self.time(block.time),
            data=block.samples.reshape(-1).view(np.uint8),
            format="pcm-s16",
            sample_rate=block.sample_rate,
            number_of_channels=block.samples.shape[1],
        )
        return "/microphone", kind, _logged(block.end), message


def write(
    path: Path, store: Typestore, messages: Iterable[Message], plugin: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """A bag of these messages in the order of their recording."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}
        for topic, kind, logged, message in sorted(messages, key=lambda m: m[2]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], logged, store.serialize_cdr(message, kind))
    return path


def film_messages(speaker: Speaker, items: Iterable[MediaItem]) -> Iterable[Message]:
    """A film as our own media_source_node would have been recorded."""
    for item in items:
        yield speaker.image(item) if isinstance(item, MediaFrame) else speaker.chunk(item)


def _logged(time: float) -> int:
    return START + round(time * SECOND) + DELAY
