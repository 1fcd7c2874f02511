"""Conversion of the audio messages of several ROS packages: pure functions from a message to :class:`Sound`.

Messages are read by their fields without importing their packages. :func:`message_class` also uses the fields to
distinguish the two incompatible packages named ``audio_common_msgs`` (of ros-drivers and of mgonzs13). Whatever a
message contains, the readers raise only :class:`~emotion_perception.messages.sensors.ConversionError`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

import numpy as np

from emotion_perception.messages.samples import check_channels, samples_from_bytes
from emotion_perception.messages.sensors import ConversionError, audio_from_message, stamp_to_ns
from emotion_perception.types import SECOND

MIN_RATE, MAX_RATE = 1000, 768_000  # Hz; other rates mean a broken header
MAX_LATENESS = SECOND // 2  # ns; a chunk without a stamp that is later than this follows a pause


class DialectError(ValueError):
    """Messages of a type that cannot be received here; the text names what is missing."""


@dataclass(frozen=True)
class Sound:
    """The audio of one message."""

    samples: np.ndarray  # (T, channels), full-scale integers or floats -1..1, native byte order
    sample_rate: int  # Hz
    stamp_ns: int | None  # capture time of the first sample; None: no stamp
    frame_id: str


@dataclass(frozen=True)
class SoundForm:
    """Format of raw bytes; 0 or empty: unknown."""

    sample_rate: int = 0  # Hz
    channels: int = 0
    sample_format: str = ""  # name used by GStreamer, see SAMPLE_FORMATS
    coding: str = ""  # wave or mp3

    def or_else(self, other: SoundForm) -> SoundForm:
        """This form, with its unknown fields taken from ``other``."""
        return SoundForm(*(getattr(self, field.name) or getattr(other, field.name) for field in fields(self)))


# --- raw bytes --------------------------------------------------------------------------------------------------

_PLAIN_CODINGS = ("", "wave", "wav", "pcm", "raw")
_USE_WAVE = "sound is MP3, which is not decoded here; start the capture node with format:=wave"


def looks_like_mp3(data: Any) -> bool:
    """Whether bytes are MP3: an ID3 tag, or an MPEG layer III frame up to the end or to the next frame.

    Stricter than file type detection by two bytes, which would mistake one chunk of raw samples in 10,000 for MP3; this
    check mistakes about one in a hundred million.
    """
    head = bytes(memoryview(data)[:5])
    if head[:3] == b"ID3" and head[3:] in (b"\x02\x00", b"\x03\x00", b"\x04\x00"):
        return True
    length = _mp3_frame_length(head)
    if not length:
        return False
    after = bytes(memoryview(data)[length : length + 4])
    return len(data) == length or _mp3_frame_length(after) > 0


def _mp3_frame_length(head: bytes) -> int:
    """Length in bytes of the MPEG layer III frame with this header (ISO 11172-3, 2.4.2.3); 0 if it is not one."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3  # version: 3 is MPEG 1, 2 is 2, 0 is 2.5
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    of_mpeg_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    of_mpeg_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    kbit = (of_mpeg_1 if version == 3 else of_mpeg_2)[bitrate]
    hertz = (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    return (144_000 if version == 3 else 72_000) * kbit // hertz + (head[2] >> 1 & 1)


def _check_rate(rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ConversionError(f"sound has a sample rate of {rate} Hz")


def _stamp(stamp: Any) -> int | None:
    return stamp_to_ns(stamp) or None  # 0: the driver sets no stamp


# --- readers, one per message -------------------------------------------------------------------------------------


def sound_from_audio_chunk(message: Any, form: SoundForm | None = None) -> Sound:
    """``emotion_msgs/AudioChunk``; ``form`` is not used: the message contains its format.

    Raises:
        ConversionError: see :func:`~emotion_perception.messages.sensors.audio_from_message`.
    """
    samples, rate, stamp_ns = audio_from_message(message)
    return Sound(samples, rate, stamp_ns or None, message.header.frame_id)


def form_from_audio_info(message: Any) -> SoundForm:
    """ros-drivers' ``audio_common_msgs/AudioInfo``, unchecked; errors are reported when audio is read."""
    return SoundForm(
        int(message.sample_rate), int(message.channels), message.sample_format, message.coding_format.strip().lower()
    )


def sound_from_audio_data(message: Any, form: SoundForm) -> Sound:
    """ros-drivers' ``audio_common_msgs/AudioData``: raw bytes in the format of ``form``, without a stamp.

    Raises:
        ConversionError: MP3 or another coding, an incomplete or invalid form, a wrong byte count.
    """
    # Checked first: MP3 is the capture node's default, so this is the most common error.
    if form.coding in ("mp3", "mpeg") or (not form.coding and looks_like_mp3(message.data)):
        raise ConversionError(_USE_WAVE)
    if form.coding not in _PLAIN_CODINGS:
        raise ConversionError(f"unknown audio coding {form.coding!r}; start the capture node with format:=wave")
    if not form.coding:  # no AudioInfo, or an empty one
        names = ("sample_rate", "channels", "sample_format")
        if unknown := [name for name in names if not getattr(form, name)]:
            raise ConversionError(
                f"sound of unknown {' and '.join(unknown).replace('_', ' ')}: no AudioInfo has arrived, and "
                f"{' and '.join('audio_' + name for name in unknown)} is not set"
            )
    _check_rate(form.sample_rate)
    return Sound(samples_from_bytes(message.data, form.sample_format, form.channels), form.sample_rate, None, "")


def sound_from_audio_data_stamped(message: Any, form: SoundForm) -> Sound:
    """ros-drivers' ``audio_common_msgs/AudioDataStamped``: the same with a header.

    Raises:
        ConversionError: as :func:`sound_from_audio_data`.
    """
    sound = sound_from_audio_data(message.audio, form)
    return Sound(sound.samples, sound.sample_rate, _stamp(message.header.stamp), message.header.frame_id)


# PortAudio's sample format flags: field of the message, and its type
_PORTAUDIO: dict[int, tuple[str, type[np.generic]]] = {
    1: ("float32_data", np.float32),
    2: ("int32_data", np.int32),
    8: ("int16_data", np.int16),
    16: ("int8_data", np.int8),
    32: ("uint8_data", np.uint8),
}


def sound_from_audio_stamped(message: Any, form: SoundForm | None = None) -> Sound:
    """mgonzs13's ``audio_common_msgs/AudioStamped``; ``form`` is not used: the message contains its format.

    Raises:
        ConversionError: unknown sample format, invalid rate or channels, no samples of that format, or a number of
            samples that is not a multiple of the channels.
    """
    info, data = message.audio.info, message.audio.audio_data
    if info.format not in _PORTAUDIO:
        known = ", ".join(f"{flag} ({name.removesuffix('_data')})" for flag, (name, _) in _PORTAUDIO.items())
        raise ConversionError(f"unknown sample format {info.format} (PortAudio's number); known: {known}")
    _check_rate(info.rate)
    check_channels(info.channels)
    name, kind = _PORTAUDIO[info.format]
    samples = np.frombuffer(getattr(data, name), kind)
    if samples.size == 0:
        filled = [other for other, _ in _PORTAUDIO.values() if len(getattr(data, other))]
        raise ConversionError(f"sound is empty: no {name}" + (f", but {' and '.join(filled)}" if filled else ""))
    if samples.size % info.channels:
        raise ConversionError(f"sound has {samples.size} samples for {info.channels} channels")
    return Sound(
        samples.reshape(-1, info.channels), int(info.rate), _stamp(message.header.stamp), message.header.frame_id
    )


def sound_from_raw_audio(message: Any, form: SoundForm | None = None) -> Sound:
    """``foxglove_msgs/RawAudio``; ``form`` is not used: the message contains its format.

    Raises:
        ConversionError: another format than pcm-s16, invalid rate or channels, or a wrong byte count.
    """
    if message.format != "pcm-s16":
        raise ConversionError(f"unknown sample format {message.format!r}; known: pcm-s16")
    _check_rate(message.sample_rate)
    samples = samples_from_bytes(message.data, "S16LE", message.number_of_channels)
    return Sound(samples, int(message.sample_rate), _stamp(message.timestamp), "")


# --- message types -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    """One type of audio message."""

    name: str  # package/Message
    read: Callable[[Any, SoundForm], Sound]
    needs: Mapping[str, frozenset[str]]  # required fields, by message of the package
    info: str = ""  # message with the format, on <topic>_info; empty: the audio message contains it

    @property
    def type_name(self) -> str:
        """Type name in the ROS graph: ``package/msg/Message``."""
        package, message = self.name.split("/")
        return f"{package}/msg/{message}"


_BYTES = {
    "AudioData": frozenset({"data"}),
    "AudioInfo": frozenset({"channels", "sample_rate", "sample_format", "coding_format"}),
}
# Best first: messages with stamp and format, then those with a stamp.
DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "emotion_msgs/AudioChunk",
            sound_from_audio_chunk,
            {"AudioChunk": frozenset({"header", "sample_rate", "channels", "samples"})},
        ),
        Dialect(
            "audio_common_msgs/AudioStamped",
            sound_from_audio_stamped,
            {
                "AudioStamped": frozenset({"header", "audio"}),
                "Audio": frozenset({"audio_data", "info"}),
                "AudioData": frozenset(name for name, _ in _PORTAUDIO.values()),
                "AudioInfo": frozenset({"format", "channels", "rate"}),
            },
        ),
        Dialect(
            "foxglove_msgs/RawAudio",
            sound_from_raw_audio,
            {"RawAudio": frozenset({"timestamp", "data", "format", "sample_rate", "number_of_channels"})},
        ),
        Dialect(
            "audio_common_msgs/AudioDataStamped",
            sound_from_audio_data_stamped,
            {"AudioDataStamped": frozenset({"header", "audio"}), **_BYTES},
            info="AudioInfo",
        ),
        Dialect("audio_common_msgs/AudioData", sound_from_audio_data, _BYTES, info="AudioInfo"),
    )
}


def dialects_of(types: Iterable[str]) -> list[Dialect]:
    """The dialects among these types (``package/msg/Message``), best first."""
    published = set(types)
    return [dialect for dialect in DIALECTS.values() if dialect.type_name in published]


def message_class(
    dialect: Dialect, message: str = "", load: Callable[[str], ModuleType] = importlib.import_module
) -> type:
    """Import the class of a dialect's message, or of another ``message`` of its package, and check its fields.

    Raises:
        DialectError: the package is not installed or not sourced, or is a different package of the same name.
    """
    package, own = dialect.name.split("/")
    try:
        module = load(f"{package}.msg")
    except ImportError as error:
        raise DialectError(f"{dialect.name} cannot be received: no package {package} here ({error})") from error
    for name, needed in dialect.needs.items():
        found = getattr(module, name, None)
        if found is None:
            raise DialectError(
                f"{dialect.name} cannot be received: the {package} installed here is another package of that name, "
                f"without a message {name}"
            )
        has = found.get_fields_and_field_types().keys()
        if lacking := sorted(needed - has):
            raise DialectError(
                f"{dialect.name} cannot be received: the {package} installed here is another package of that name, "
                f"its {name} has no {', '.join(lacking)} (but {', '.join(has)})"
            )
    return getattr(module, message or own)


# --- stamps of chunks without one ---------------------------------------------------------------------------------


class ArrivalStamps:
    """Stamps for chunks without one: the first from its time of arrival, the following without gaps.

    A chunk delayed by the network or a busy executor therefore causes no gap; after a delay of more than half a second
    the time of arrival is used again.
    """

    def __init__(self) -> None:
        self._next: int | None = None  # expected start of the next chunk, ns

    def stamp(self, arrival_ns: int, samples: int, sample_rate: int) -> int:
        """Capture time of the first of ``samples`` (per channel), ns, if the last one was captured at arrival."""
        duration = samples * SECOND // sample_rate
        began = arrival_ns - duration
        if self._next is None or abs(began - self._next) > MAX_LATENESS:
            self._next = began
        else:
            self._next += (began - self._next) // 100  # follow the drift between the two clocks
        stamp = self._next
        self._next += duration
        return stamp
