"""Every package's sound messages: field by field with stand-ins, then with real messages in real processes."""

from __future__ import annotations

import array
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given, settings
from hypothesis import strategies as st
from node_world import World, now_header, set_parameter
from std_msgs.msg import String

from emotion_msgs.msg import AudioChunk
from emotion_perception.messages import audio as d
from emotion_perception.messages.samples import SAMPLE_FORMATS, samples_from_bytes, to_float
from emotion_perception.nodes.acoustic_node import AcousticNode
from emotion_perception.ros import conversions, qos
from emotion_perception.ros.conversions import ConversionError
from emotion_perception.types import SECOND

STAMP = 1_700_000_000_123_456_789
WAVE = d.SoundForm(16_000, 1, "S16LE", "wave")
RAMP = np.arange(-6, 6, dtype=np.int16) * 1000


def stamp(ns: int = STAMP) -> SimpleNamespace:
    return SimpleNamespace(sec=ns // SECOND, nanosec=ns % SECOND)


def header(ns: int = STAMP, frame_id: str = "mic") -> SimpleNamespace:
    return SimpleNamespace(stamp=stamp(ns), frame_id=frame_id)


def audio_data(data: bytes) -> SimpleNamespace:
    """ros-drivers' AudioData."""
    return SimpleNamespace(data=array.array("B", data))


def audio_stamped(info: dict | None = None, ns: int = STAMP, **arrays: np.ndarray) -> SimpleNamespace:
    """mgonzs13's AudioStamped; int16, mono, 16 kHz unless told otherwise."""
    codes = {"float32_data": "f", "int32_data": "i", "int16_data": "h", "int8_data": "b", "uint8_data": "B"}
    data = {name: array.array(code, arrays[name].tobytes() if name in arrays else b"") for name, code in codes.items()}
    told = {"format": 8, "channels": 1, "rate": 16_000, "chunk": 512, **(info or {})}
    audio = SimpleNamespace(audio_data=SimpleNamespace(**data), info=SimpleNamespace(**told))
    return SimpleNamespace(header=header(ns), audio=audio)


def raw_audio(**changes: object) -> SimpleNamespace:
    """Foxglove's RawAudio."""
    fields = {
        "timestamp": stamp(),
        "data": array.array("B", RAMP.astype("<i2").tobytes()),
        "format": "pcm-s16",
        "sample_rate": 48_000,
        "number_of_channels": 2,
    }
    return SimpleNamespace(**(fields | changes))


# --- samples


@pytest.mark.parametrize("name", SAMPLE_FORMATS)
def test_every_sample_format_means_the_same_sound(name: str):
    wave = np.array([-1.0, -0.5, 0.0, 0.5])  # exact in all of them
    bits = int("".join(character for character in name if character.isdigit()))
    order = "big" if name.endswith("BE") else "little"
    if name[0] == "F":
        data = wave.astype({"little": "<", "big": ">"}[order] + f"f{bits // 8}").tobytes()
    else:
        whole = (wave * 2 ** (bits - 1)).astype(int) + (2 ** (bits - 1) if name[0] == "U" else 0)
        data = b"".join(int(value).to_bytes(bits // 8, order, signed=name[0] == "S") for value in whole)
    samples = samples_from_bytes(data, name, 2)
    assert samples.shape == (2, 2) and samples.dtype.isnative
    np.testing.assert_array_equal(to_float(samples).reshape(-1), wave.astype(np.float32))


@pytest.mark.parametrize("name", ["S17LE", "", "mu-law", "S16"])
def test_an_unknown_sample_format_is_rejected_by_its_name(name: str):
    with pytest.raises(ConversionError, match=f"unknown sample format '{name}'.*S16LE"):
        samples_from_bytes(b"1234", name, 1)


@pytest.mark.parametrize(
    ("data", "channels", "words"),
    [
        (b"", 1, "empty"),
        (b"123", 1, "3 bytes, not a multiple of 2"),
        (b"123456", 2, "6 bytes, not a multiple of 4"),
        (b"1234", 0, "0 channels"),
        (b"1234", -1, "-1 channels"),
    ],
)
def test_bytes_that_do_not_fill_the_channels_are_rejected(data: bytes, channels: int, words: str):
    with pytest.raises(ConversionError, match=words):
        samples_from_bytes(data, "S16LE", channels)


# --- ros-drivers


def test_plain_audio_data_is_read_by_its_form_and_has_no_stamp():
    sound = d.sound_from_audio_data(audio_data(RAMP.astype(">i2").tobytes()), d.SoundForm(44_100, 3, "S16BE"))
    np.testing.assert_array_equal(sound.samples, RAMP.reshape(4, 3))
    assert (sound.sample_rate, sound.stamp_ns, sound.frame_id) == (44_100, None, "")


def test_stamped_audio_data_keeps_stamp_and_frame():
    message = SimpleNamespace(header=header(), audio=audio_data(RAMP.tobytes()))
    sound = d.sound_from_audio_data_stamped(message, WAVE)
    np.testing.assert_array_equal(sound.samples, RAMP[:, None])
    assert (sound.sample_rate, sound.stamp_ns, sound.frame_id) == (16_000, STAMP, "mic")


def test_a_stamp_of_zero_is_none():
    message = SimpleNamespace(header=header(0), audio=audio_data(RAMP.tobytes()))
    assert d.sound_from_audio_data_stamped(message, WAVE).stamp_ns is None
    assert d.sound_from_audio_stamped(audio_stamped(ns=0, int16_data=RAMP)).stamp_ns is None
    assert d.sound_from_raw_audio(raw_audio(timestamp=stamp(0))).stamp_ns is None


def test_audio_info_tells_the_form_and_parameters_win_over_it():
    info = SimpleNamespace(channels=2, sample_rate=48_000, sample_format="S32LE", bitrate=128, coding_format="WAVE")
    assert d.form_from_audio_info(info) == d.SoundForm(48_000, 2, "S32LE", "wave")
    mixed = d.SoundForm(sample_rate=8_000, sample_format="U8").or_else(d.form_from_audio_info(info))
    assert mixed == d.SoundForm(8_000, 2, "U8", "wave")


@pytest.mark.parametrize("coding", ["MP3", "mp3"])
def test_mp3_is_refused_with_the_setting_that_helps(coding: str):
    info = SimpleNamespace(channels=1, sample_rate=16_000, sample_format="S16LE", bitrate=128, coding_format=coding)
    with pytest.raises(ConversionError, match="MP3.*format:=wave"):
        d.sound_from_audio_data(audio_data(RAMP.tobytes()), d.form_from_audio_info(info))


MP3_HEADERS = {  # header: length of its frame in bytes
    b"\xff\xfb\x90\x00": 417,  # MPEG 1, 128 kbit/s, 44.1 kHz
    b"\xff\xfb\x92\x00": 418,  # with padding
    b"\xff\xf3\x48\x00": 144,  # MPEG 2, 32 kbit/s, 16 kHz
    b"\xff\xe3\x18\x00": 72,  # MPEG 2.5, 8 kbit/s, 8 kHz
}


@pytest.mark.parametrize("head", MP3_HEADERS)
def test_mp3_is_refused_by_its_bytes_where_nothing_tells_the_coding(head: bytes):
    frame = head + bytes(MP3_HEADERS[head] - 4)
    told = d.SoundForm(16_000, 1, "S8")
    for payload in (frame, frame + frame, b"ID3\x04\x00" + frame):
        with pytest.raises(ConversionError, match="MP3.*format:=wave"):
            d.sound_from_audio_data(audio_data(payload), told)
    assert not d.looks_like_mp3(frame[:-1]) and not d.looks_like_mp3(frame + bytes(4)), "a header by chance"


def test_what_an_mp3_encoder_gives_is_recognised():
    av = pytest.importorskip("av")
    encoder = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 16_000, "mono", "s16p", 64_000
    noise = np.random.default_rng(0).integers(-3000, 3000, (1, 16_000)).astype(np.int16)
    packets = []
    for first in range(0, noise.shape[1] - 576, 576):
        frame = av.AudioFrame.from_ndarray(noise[:, first : first + 576], "s16p", "mono")
        frame.sample_rate = 16_000
        packets += encoder.encode(frame)
    assert len(packets) > 10
    assert all(d.looks_like_mp3(bytes(packet)) for packet in packets)


def test_plain_samples_are_not_taken_for_mp3():
    rng = np.random.default_rng(1)
    for scale in (3, 300, 30_000):
        sound = rng.normal(0, scale, (2000, 320)).clip(-32_768, 32_767).astype("<i2")
        assert not any(d.looks_like_mp3(chunk.tobytes()) for chunk in sound)


def test_another_coding_is_rejected_by_its_name():
    with pytest.raises(ConversionError, match="unknown audio coding 'flac'.*format:=wave"):
        d.sound_from_audio_data(audio_data(RAMP.tobytes()), d.SoundForm(16_000, 1, "S16LE", "flac"))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (d.SoundForm(), "unknown sample rate and channels and sample format.*AudioInfo.*audio_sample_rate"),
        (d.SoundForm(16_000, 0, "S16LE"), "unknown channels: no AudioInfo.*audio_channels is not set"),
        (d.SoundForm(0, 1, "S16LE", "wave"), "sample rate of 0 Hz"),
        (d.SoundForm(2_000_000, 1, "S16LE", "wave"), "sample rate of 2000000 Hz"),
        (d.SoundForm(16_000, 0, "S16LE", "wave"), "0 channels"),
        (d.SoundForm(16_000, 1, "S12LE", "wave"), "unknown sample format 'S12LE'"),
    ],
)
def test_a_form_that_is_not_known_or_impossible_is_said(form: d.SoundForm, words: str):
    with pytest.raises(ConversionError, match=words):
        d.sound_from_audio_data(audio_data(RAMP.tobytes()), form)


# --- mgonzs13


@pytest.mark.parametrize(
    ("flag", "name", "kind"),
    [
        (1, "float32_data", np.float32),
        (2, "int32_data", np.int32),
        (8, "int16_data", np.int16),
        (16, "int8_data", np.int8),
        (32, "uint8_data", np.uint8),
    ],
)
def test_every_portaudio_format_is_read_from_its_own_array(flag: int, name: str, kind: type):
    values = np.array([[1, 2], [3, 4], [5, 6]], kind)
    sound = d.sound_from_audio_stamped(audio_stamped({"format": flag, "channels": 2, "rate": 48_000}, **{name: values}))
    np.testing.assert_array_equal(sound.samples, values)
    assert sound.samples.dtype == kind
    assert (sound.sample_rate, sound.stamp_ns, sound.frame_id) == (48_000, STAMP, "mic")


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"format": 4}, r"unknown sample format 4 .*8 \(int16\)"),
        ({"rate": 0}, "sample rate of 0 Hz"),
        ({"rate": -16_000}, "sample rate of -16000 Hz"),
        ({"channels": 0}, "0 channels"),
        ({"channels": -2}, "-2 channels"),
        ({"channels": 5}, "12 samples for 5 channels"),
        ({"format": 1}, "empty: no float32_data, but int16_data"),
    ],
)
def test_audio_stamped_that_cannot_be_is_rejected(info: dict, words: str):
    with pytest.raises(ConversionError, match=words):
        d.sound_from_audio_stamped(audio_stamped(info, int16_data=RAMP))


def test_audio_stamped_without_samples_is_empty():
    with pytest.raises(ConversionError, match="empty: no int16_data$"):
        d.sound_from_audio_stamped(audio_stamped())


# --- Foxglove, and our own


def test_raw_audio_is_read():
    sound = d.sound_from_raw_audio(raw_audio())
    np.testing.assert_array_equal(sound.samples, RAMP.reshape(6, 2))
    assert (sound.sample_rate, sound.stamp_ns, sound.frame_id) == (48_000, STAMP, "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "opus"}, "unknown sample format 'opus'"),
        ({"sample_rate": 0}, "sample rate of 0 Hz"),
        ({"number_of_channels": 0}, "0 channels"),
        ({"data": array.array("B", b"12345")}, "5 bytes"),
        ({"data": array.array("B")}, "empty"),
    ],
)
def test_raw_audio_that_cannot_be_is_rejected(changes: dict, words: str):
    with pytest.raises(ConversionError, match=words):
        d.sound_from_raw_audio(raw_audio(**changes))


def test_our_own_chunk_is_read():
    chunk = conversions.audio_to_message(RAMP.reshape(6, 2), 16_000, conversions.make_header(STAMP, "mic"))
    sound = d.sound_from_audio_chunk(chunk)
    np.testing.assert_array_equal(sound.samples, RAMP.reshape(6, 2))
    assert (sound.sample_rate, sound.stamp_ns, sound.frame_id) == (16_000, STAMP, "mic")


# --- anything at all

INT32, UINT32 = st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1)
MANY = settings(max_examples=150, deadline=None)


def assert_survives(read: Callable[[], d.Sound]) -> None:
    """Either usable sound or a ConversionError."""
    try:
        sound = read()
    except ConversionError:
        return
    assert sound.samples.ndim == 2 and sound.samples.size > 0
    assert d.MIN_RATE <= sound.sample_rate <= d.MAX_RATE


@MANY
@given(
    data=st.binary(max_size=64),
    rate=st.one_of(UINT32, st.just(16_000)),
    channels=st.integers(0, 255),
    sample_format=st.one_of(st.sampled_from(sorted(SAMPLE_FORMATS)), st.text(max_size=6)),
    coding=st.one_of(st.sampled_from(["", "WAVE", "MP3"]), st.text(max_size=6)),
    told=st.builds(d.SoundForm, st.integers(0, d.MAX_RATE), st.integers(0, 8), st.sampled_from(["", "S16LE", "F64BE"])),
)
def test_no_audio_data_whatever_its_info_breaks_the_reader(data, rate, channels, sample_format, coding, told):
    info = SimpleNamespace(
        channels=channels, sample_rate=rate, sample_format=sample_format, bitrate=0, coding_format=coding
    )
    form = told.or_else(d.form_from_audio_info(info))
    assert_survives(lambda: d.sound_from_audio_data(audio_data(data), form))
    assert_survives(
        lambda: d.sound_from_audio_data_stamped(SimpleNamespace(header=header(), audio=audio_data(data)), form),
    )


@MANY
@given(
    flag=st.one_of(INT32, st.sampled_from([1, 2, 8, 16, 32])),
    channels=st.one_of(INT32, st.integers(-2, 4)),
    rate=st.one_of(INT32, st.just(16_000)),
    size=st.integers(0, 12),
    names=st.sets(st.sampled_from(["float32_data", "int32_data", "int16_data", "int8_data", "uint8_data"])),
    when=st.integers(-(2**31) * SECOND, 2**31 * SECOND - 1),
)
def test_no_audio_stamped_breaks_the_reader(flag, channels, rate, size, names, when):
    kinds = dict(d._PORTAUDIO.values())
    arrays = {name: np.full(size, 3, kinds[name]) for name in names}
    message = audio_stamped({"format": flag, "channels": channels, "rate": rate}, ns=when, **arrays)
    assert_survives(lambda: d.sound_from_audio_stamped(message))


@MANY
@given(
    data=st.binary(max_size=64),
    form=st.one_of(st.just("pcm-s16"), st.text(max_size=8)),
    rate=st.one_of(UINT32, st.just(16_000)),
    channels=st.one_of(UINT32, st.integers(0, 4)),
)
def test_no_raw_audio_breaks_the_reader(data, form, rate, channels):
    message = raw_audio(data=array.array("B", data), format=form, sample_rate=rate, number_of_channels=channels)
    assert_survives(lambda: d.sound_from_raw_audio(message))


@MANY
@given(st.binary(max_size=600))
def test_looking_for_mp3_takes_any_bytes(data: bytes):
    found = d.looks_like_mp3(b"\xff\xfb\x90" + data)
    assert not found or len(data) >= 414


# --- which package it is


def package(**messages: tuple[str, ...]) -> Callable[[str], ModuleType]:
    """Loads a package of these messages with these fields, whatever its name."""

    def message_with(names: tuple[str, ...]) -> type:
        return type("Message", (), {"get_fields_and_field_types": classmethod(lambda cls: dict.fromkeys(names, "x"))})

    module = ModuleType("msg")
    for name, names in messages.items():
        setattr(module, name, message_with(names))
    return lambda _: module


ROS_DRIVERS = package(
    AudioData=("data",),
    AudioDataStamped=("header", "audio"),
    AudioInfo=("channels", "sample_rate", "sample_format", "bitrate", "coding_format"),
)
MGONZS13 = package(
    AudioData=("float32_data", "int32_data", "int16_data", "int8_data", "uint8_data"),
    AudioInfo=("format", "channels", "rate", "chunk"),
    Audio=("audio_data", "info"),
    AudioStamped=("header", "audio"),
)


@pytest.mark.parametrize(
    ("load", "name", "info"),
    [
        (ROS_DRIVERS, "audio_common_msgs/AudioData", "AudioInfo"),
        (ROS_DRIVERS, "audio_common_msgs/AudioDataStamped", "AudioInfo"),
        (MGONZS13, "audio_common_msgs/AudioStamped", ""),
    ],
)
def test_the_package_with_the_right_fields_is_taken(load: Callable[[str], ModuleType], name: str, info: str):
    dialect = d.DIALECTS[name]
    assert d.message_class(dialect, load=load) is getattr(load(""), name.split("/")[1])
    assert dialect.info == info


@pytest.mark.parametrize(
    ("load", "name", "words"),
    [
        (
            MGONZS13,
            "audio_common_msgs/AudioData",
            "another package of that name, its AudioData has no data .*int16_data",
        ),
        (MGONZS13, "audio_common_msgs/AudioDataStamped", "another package of that name, without a message"),
        (ROS_DRIVERS, "audio_common_msgs/AudioStamped", "another package of that name, without a message AudioStamped"),
    ],
)
def test_the_other_package_of_the_same_name_is_told_apart_by_its_fields(load, name: str, words: str):
    with pytest.raises(d.DialectError, match=words):
        d.message_class(d.DIALECTS[name], load=load)


def test_a_package_that_is_not_there_is_named():
    def load(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    with pytest.raises(d.DialectError, match="RawAudio cannot be received: no package foxglove_msgs here"):
        d.message_class(d.DIALECTS["foxglove_msgs/RawAudio"], load=load)


def test_our_own_message_has_the_fields_that_are_read():
    assert d.message_class(d.DIALECTS["emotion_msgs/AudioChunk"]) is AudioChunk


def test_messages_that_tell_most_are_preferred():
    types = ["audio_common_msgs/msg/AudioData", "std_msgs/msg/String", "audio_common_msgs/msg/AudioDataStamped"]
    assert [dialect.name for dialect in d.dialects_of(types)] == [
        "audio_common_msgs/AudioDataStamped",
        "audio_common_msgs/AudioData",
    ]
    assert d.dialects_of([]) == [] == d.dialects_of(["std_msgs/msg/String"])


# --- stamps on arrival


def test_chunks_held_up_on_their_way_leave_no_gap():
    stamps, late = d.ArrivalStamps(), np.random.default_rng(2).integers(0, SECOND // 5, 500)
    got = [stamps.stamp(STAMP + i * SECOND // 50 + int(late[i]), 320, 16_000) for i in range(500)]
    steps = np.diff(got)
    assert got[0] == STAMP + late[0] - SECOND // 50, "the first sample is a chunk older than its arrival"
    assert abs(steps - SECOND // 50).max() < SECOND // 400
    assert abs(got[-1] - (STAMP + 498 * SECOND // 50)) < SECOND // 4


def test_after_a_pause_the_arrival_counts_again():
    stamps = d.ArrivalStamps()
    first = stamps.stamp(STAMP, 320, 16_000)
    assert stamps.stamp(STAMP + 3 * SECOND, 320, 16_000) - first == 3 * SECOND
    assert stamps.stamp(STAMP, 320, 16_000) == first, "and where the clock was set back"


# --- the node, with what is installed here


def test_a_message_that_cannot_be_received_fails_the_configure(ros: World):
    if importlib.util.find_spec("foxglove_msgs") is not None:
        pytest.skip("foxglove_msgs is installed")
    node = ros.add(AcousticNode, audio_format="foxglove_msgs/RawAudio")
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert "no package foxglove_msgs here" in node.problem


def test_a_topic_of_another_type_in_the_same_process_is_no_end_but_a_problem(ros: World):
    ros.node.create_publisher(String, "audio", 1)
    node = ros.add(AcousticNode, audio_format="emotion_msgs/AudioChunk")
    node.trigger_configure()
    node.trigger_activate()
    assert node.state_label == "inactive"
    assert "AudioChunk cannot be subscribed to; a process can use /audio with one type only" in node.problem


def test_a_format_that_does_not_exist_is_refused(ros: World):
    node = ros.add(AcousticNode)
    assert set_parameter(node, "audio_format", "mp3")[0] is False
    ok, reason = set_parameter(node, "audio_sample_format", "S17LE")
    assert not ok and "S16LE" in reason


def test_a_topic_without_sound_is_said_and_sound_is_heard_once_it_comes(ros: World):
    node = ros.add(AcousticNode)
    node.trigger_configure()
    node.trigger_activate()
    told: list[str] = []
    node.reporter.log = told.append
    assert node.extra_diagnostics()["audio format"] == "none yet"
    wrong = ros.node.create_publisher(String, "audio", 1)
    assert ros.until(lambda: bool(told))
    assert "/audio carries std_msgs/msg/String" in told[0] and "emotion_msgs/AudioChunk" in told[0]
    ros.node.destroy_publisher(wrong)
    microphone = ros.node.create_publisher(AudioChunk, "audio", qos.profile("audio_out"))
    assert ros.matched(microphone)
    assert node.extra_diagnostics()["audio format"] == "emotion_msgs/AudioChunk"
    node.trigger_deactivate()
    assert ros.until(lambda: microphone.get_subscription_count() == 0)


# --- real messages of both packages, built here, between real processes

MESSAGES = {
    "ros_drivers": {
        "AudioData": "uint8[] data",
        "AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio",
        "AudioInfo": "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format",
    },
    "mgonzs13": {
        "AudioData": "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\nint8[] int8_data\n"
        "uint8[] uint8_data",
        "AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk",
        "Audio": "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info",
        "AudioStamped": "std_msgs/Header header\naudio_common_msgs/Audio audio",
    },
}
PACKAGE_XML = """<?xml version="1.0"?>
<package format="3">
  <name>audio_common_msgs</name>
  <version>0.0.0</version>
  <description>Messages for a test.</description>
  <maintainer email="test@test.example">test</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>std_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""
CMAKE_LISTS = """cmake_minimum_required(VERSION 3.16)
project(audio_common_msgs)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces(${PROJECT_NAME} %s DEPENDENCIES std_msgs)
ament_package()
"""
# Publishes 20 ms of noise at 50 Hz as the package's capture node does. Arguments: what to publish.
ROS_DRIVERS_CAPTURE = """
import array, sys, time
import numpy as np, rclpy
from audio_common_msgs.msg import AudioData, AudioDataStamped, AudioInfo
kinds = sys.argv[1:]
rclpy.init(args=[])
node = rclpy.create_node("capture")
plain = node.create_publisher(AudioData, "audio", 10)
stamped = node.create_publisher(AudioDataStamped, "audio_stamped", 10) if "stamped" in kinds else None
info = node.create_publisher(AudioInfo, "audio_info", 1)
coding = "mp3" if "mp3" in kinds else "wave"
noise = np.random.default_rng(0).integers(-3000, 3000, 320).astype("<i2").tobytes()
count = 0
while True:
    if count % 25 == 0:
        form = AudioInfo(channels=1, sample_rate=16000, sample_format="S16LE", bitrate=128, coding_format=coding)
        info.publish(form)
    sound = AudioData(data=array.array("B", noise))
    plain.publish(sound)
    if stamped is not None:
        message = AudioDataStamped(audio=sound)
        message.header.stamp = node.get_clock().now().to_msg()
        stamped.publish(message)
    count += 1
    time.sleep(0.02)
"""
MGONZS13_CAPTURE = """
import array, time
import numpy as np, rclpy
from audio_common_msgs.msg import AudioStamped
from rclpy.qos import qos_profile_sensor_data
rclpy.init(args=[])
node = rclpy.create_node("capturer")
sound = node.create_publisher(AudioStamped, "audio", qos_profile_sensor_data)
noise = np.random.default_rng(0).integers(-3000, 3000, 640).astype(np.int16).tobytes()
while True:
    message = AudioStamped()
    message.header.stamp = node.get_clock().now().to_msg()
    message.audio.info.format, message.audio.info.channels, message.audio.info.rate = 8, 2, 16000
    message.audio.audio_data.int16_data = array.array("h", noise)
    sound.publish(message)
    time.sleep(0.02)
"""


def cannot_build() -> str:
    """What is missing to build messages here; empty if nothing is."""
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    if not any((prefix / "share" / "rosidl_default_generators").is_dir() for prefix in prefixes):
        return "no rosidl_default_generators in AMENT_PREFIX_PATH"
    if importlib.util.find_spec("colcon") is None and importlib.util.find_spec("colcon_core") is None:
        return "no colcon"
    return "" if shutil.which("cmake") else "no cmake"


@pytest.fixture(scope="session")
def audio_common(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Environment of a process that has one of the two packages, by the package's maker."""
    if missing := cannot_build():
        pytest.skip(f"messages cannot be built here: {missing}")
    environment = {**os.environ, "CMAKE_PREFIX_PATH": os.environ["AMENT_PREFIX_PATH"]}
    environment.pop("COLCON_DEFAULTS_FILE", None)  # names this repository's own packages
    options = [f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF", "-DCMAKE_C_FLAGS=-O0"]
    options += ["-DCMAKE_CXX_FLAGS=-O0", *(["-GNinja"] if shutil.which("ninja") else [])]
    builds = {}
    for maker, messages in MESSAGES.items():
        workspace = tmp_path_factory.mktemp(maker)
        source = workspace / "src" / "audio_common_msgs"
        (source / "msg").mkdir(parents=True)
        for name, text in messages.items():
            (source / "msg" / f"{name}.msg").write_text(text + "\n")
        (source / "package.xml").write_text(PACKAGE_XML)
        (source / "CMakeLists.txt").write_text(CMAKE_LISTS % " ".join(f'"msg/{name}.msg"' for name in messages))
        log = (workspace / "build.log").open("w")
        command = [sys.executable, "-m", "colcon", "build", "--base-paths", "src", "--cmake-args", *options]
        builds[workspace] = subprocess.Popen(command, cwd=workspace, env=environment, stdout=log, stderr=log)
    found = {}
    for maker, (workspace, build) in zip(MESSAGES, builds.items(), strict=True):
        assert build.wait(timeout=400) == 0, (workspace / "build.log").read_text()[-3000:]
        prefix = workspace / "install" / "audio_common_msgs"
        (site,) = prefix.glob("lib/python3*/site-packages")
        places = {"AMENT_PREFIX_PATH": prefix, "LD_LIBRARY_PATH": prefix / "lib", "PYTHONPATH": site}
        found[maker] = {name: f"{place}:{os.environ.get(name, '')}" for name, place in places.items()}
    return found


class Robot:
    """acoustic_node as a process of its own, heard through its diagnostics, and the capture nodes beside it."""

    def __init__(self, ros: World, paths: dict[str, str], folder: Path) -> None:
        self._ros, self._environment = ros, {**os.environ, **paths, "OMP_NUM_THREADS": "1"}
        self._log_path = folder / "node.log"
        self._log = self._log_path.open("w")
        self._processes: list[subprocess.Popen] = []
        self._diagnostics = ros.hear(DiagnosticArray, "/diagnostics")
        self._start("-m", "emotion_perception.nodes.acoustic_node")

    def _start(self, *arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=self._environment, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._processes.append(process)
        return process

    @contextlib.contextmanager
    def capture(self, script: str, *arguments: str) -> Iterator[None]:
        """A capture node that runs for a while."""
        process = self._start("-c", script, *arguments)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    @property
    def values(self) -> dict[str, str]:
        """The newest figures of the node."""
        if not self._diagnostics:
            return {}
        return {item.key: item.value for item in self._diagnostics[-1].status[0].values}

    def hears(self, name: str, chunks: int = 40) -> bool:
        """Whether it comes to work on so many more chunks in this dialect."""
        begun = int(self.values.get("total", "0"))
        return self._ros.until(
            lambda: self.values.get("audio format") == name and int(self.values["total"]) >= begun + chunks, 60.0
        )

    def says(self, words: str) -> bool:
        """Whether its log comes to hold these words."""
        return self._ros.until(lambda: words in self.log, 60.0)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._log.close()


@pytest.fixture
def robot(ros: World, audio_common: dict[str, dict[str, str]], tmp_path: Path) -> Iterator[Callable[[str], Robot]]:
    """Starts :class:`Robot` with the package of one maker, and waits until it is active with nobody publishing."""
    with contextlib.ExitStack() as stack:

        def start(maker: str) -> Robot:
            made = Robot(ros, audio_common[maker], tmp_path)
            stack.callback(made.close)
            assert ros.until(lambda: made.values.get("lifecycle state") == "active", 90.0), made.log
            assert made.values["audio format"] == "none yet"
            return made

        yield start


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ros_drivers_sound_is_heard_stamped_or_plain_and_its_mp3_is_refused(robot: Callable[[str], Robot]):
    node = robot("ros_drivers")
    with node.capture(ROS_DRIVERS_CAPTURE, "mp3"):
        assert node.says("start the capture node with format:=wave"), node.log
    assert node.values["total"] == "0"
    with node.capture(ROS_DRIVERS_CAPTURE, "wave"):
        assert node.hears("audio_common_msgs/AudioData"), node.log
    with node.capture(ROS_DRIVERS_CAPTURE, "wave", "stamped"):
        assert node.hears("audio_common_msgs/AudioDataStamped"), node.log
        assert node.values["audio topic"] == "/audio_stamped"
    assert node.log.count("using the time of arrival") == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mgonzs13_sound_is_heard_from_its_best_effort_publisher_and_another_after_it(
    ros: World, robot: Callable[[str], Robot]
):
    node = robot("mgonzs13")
    with node.capture(MGONZS13_CAPTURE):
        assert node.hears("audio_common_msgs/AudioStamped"), node.log
    microphone = ros.node.create_publisher(AudioChunk, "audio", qos.profile("audio_out"))

    def heard_ours() -> bool:
        samples = np.full((320, 1), 100, np.int16)
        microphone.publish(conversions.audio_to_message(samples, 16_000, now_header("mic")))
        return node.values["audio format"] == "emotion_msgs/AudioChunk" and int(node.values["total"]) >= total + 20

    total = int(node.values["total"])
    assert ros.until(heard_ours, 60.0), node.log
    assert node.values["rejected"] == "0"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("maker", "name", "words"),
    [
        ("ros_drivers", "audio_common_msgs/AudioStamped", "without a message AudioStamped"),
        ("mgonzs13", "audio_common_msgs/AudioData", "its AudioData has no data"),
    ],
)
def test_the_real_packages_are_told_apart_by_their_fields(audio_common, maker: str, name: str, words: str):
    code = f"from emotion_perception.messages import audio as d; d.message_class(d.DIALECTS[{name!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **audio_common[maker]}, capture_output=True, text=True
    )
    assert f"another package of that name, {words}" in done.stderr
