"""Recordings as they lie on robots: cut off, compressed, split, alone, from ROS 1, with video in their messages."""

from __future__ import annotations

import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import bags
import cv2
import numpy as np
import pytest
from bags import SECOND, START, Speaker, typestore, write
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from emotion_perception.archive.recordings import find_recordings
from emotion_perception.media.bag_types import DRIVERS_AUDIO
from emotion_perception.media.items import MediaAudio, MediaError, MediaFrame, MediaItem
from emotion_perception.media.opening import open_media
from emotion_perception.media.rosbag import Recording

FPS = 10
LEVELS = [20 * i for i in range(10)]


def frames(first: int = 0, count: int = 10) -> list[MediaFrame]:
    return [MediaFrame(i / FPS, np.full((48, 64, 3), 20 * i, np.uint8)) for i in range(first, first + count)]


def bag(path: Path, plugin: StoragePlugin = StoragePlugin.MCAP, **parts: int) -> Path:
    speaker = Speaker(typestore())
    return write(path, speaker.store, bags.film_messages(speaker, frames(**parts)), plugin)


def read(path: Path) -> list[MediaItem]:
    with open_media(path) as recording:
        assert isinstance(recording, Recording) and recording.start_ns == START
        items = list(recording.read())
        assert recording.errors == 0
    return items


def assert_frames(items: list[MediaItem], levels: list[int] = LEVELS) -> None:
    images = [item for item in items if isinstance(item, MediaFrame)]
    assert [round(frame.image.mean() / 20) * 20 for frame in images] == levels
    np.testing.assert_allclose([frame.time for frame in images], np.arange(len(levels)) / FPS, atol=1e-6)


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "no storage identifier"])
def test_bag_without_usable_metadata_is_read_with_a_hint(tmp_path: Path, plugin: StoragePlugin, damage: str):
    path = bag(tmp_path / "walk", plugin)
    metadata = path / "metadata.yaml"
    text = metadata.read_text()
    if damage == "missing":
        metadata.unlink()
    elif damage == "no storage identifier":
        metadata.write_text(text.replace("mcap", "''").replace("sqlite3", "''", 1))
    else:
        metadata.write_text("" if damage == "empty" else text[: len(text) // 2])
    assert_frames(read(path))
    with open_media(path) as recording:
        assert "ros2 bag reindex" in recording.note


def test_parts_of_a_split_recording_follow_each_other(tmp_path: Path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, first in ((9, 0), (10, 5)):
        part = bag(tmp_path / f"part{number}", first=first, count=5)
        (part / f"part{number}.mcap").rename(folder / f"walk_{number}.mcap")
    assert_frames(read(folder))
    (recording,) = find_recordings([str(tmp_path / "walk")]).recordings
    assert recording.path == str(folder), "one recording of an archive"


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("whole", [True, False])
def test_compressed_recordings_are_read_as_a_folder_and_as_a_single_file(
    tmp_path: Path, mode: CompressionMode, whole: bool, monkeypatch
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = tmp_path / "walk"
    speaker = Speaker(typestore())
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, kind, logged, message in bags.film_messages(speaker, frames()):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=speaker.store)
            writer.write(connections[topic], logged, speaker.store.serialize_cdr(message, kind))
    if not whole:
        (path,) = [file for file in path.iterdir() if ".mcap" in file.name]
        path = Path(shutil.move(path, tmp_path))
    assert_frames(read(path))
    assert not list(scratch.iterdir()), "nothing decompressed is left"


def test_ros_1_bag_is_read_with_its_stamps_and_its_sound(tmp_path: Path):
    store = get_typestore(Stores.ROS1_NOETIC)
    for name, text in DRIVERS_AUDIO.items():
        store.register({k: v for k, v in get_types_from_msg(text, name).items() if k not in store.fielddefs})
    image_type, sound_type = "sensor_msgs/msg/CompressedImage", "audio_common_msgs/msg/AudioDataStamped"

    def header(time: float):
        sec, nanosec = divmod(START + round(time * SECOND), SECOND)
        stamp = store.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return store.types["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id="robot")

    path = tmp_path / "walk.bag"
    sound = np.arange(1600, dtype="<i2")
    with Ros1Writer(path) as writer:
        camera = writer.add_connection("/camera/image_raw/compressed", image_type, typestore=store)
        microphone = writer.add_connection("/audio_stamped", sound_type, typestore=store)
        info_type = "audio_common_msgs/msg/AudioInfo"
        info = store.types[info_type](
            channels=1, sample_rate=16_000, sample_format="S16LE", bitrate=0, coding_format="wave"
        )
        about = writer.add_connection("/audio_info", info_type, typestore=store)
        writer.write(about, START, store.serialize_ros1(info, info_type))
        for frame in frames():
            data = cv2.imencode(".jpg", frame.image)[1].reshape(-1)
            logged = START + round((frame.time + 0.02) * SECOND)
            message = store.types[image_type](header=header(frame.time), format="jpeg", data=data)
            writer.write(camera, logged, store.serialize_ros1(message, image_type))
            audio = store.types["audio_common_msgs/msg/AudioData"](data=sound.view(np.uint8))
            message = store.types[sound_type](header=header(frame.time), audio=audio)
            writer.write(microphone, logged, store.serialize_ros1(message, sound_type))
    items = read(path)
    assert_frames(items)
    heard = [item for item in items if isinstance(item, MediaAudio)]
    assert len(heard) == 10 and heard[0].sample_rate == 16_000
    np.testing.assert_array_equal(heard[3].samples[:, 0], sound)
    np.testing.assert_allclose([block.time for block in heard], np.arange(10) / FPS, atol=1e-6)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("kind", ["CompressedImage", "FFMPEGPacket", "CompressedVideo"])
def test_video_in_messages_is_read(tmp_path: Path, kind: str, codec: str):
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.options = {"tune": "zerolatency", "g": "5", **({"x265-params": "log-level=0"} if "265" in codec else {})}
    packets: list[bytes] = []
    for number, item in enumerate(frames()):
        image = av.VideoFrame.from_ndarray(item.image, format="bgr24").reformat(format="yuv420p")
        image.pts = number
        packets += [bytes(packet) for packet in encoder.encode(image)]
    packets += [bytes(packet) for packet in encoder.encode(None)]
    speaker = Speaker(typestore())
    name = "h264" if codec == "libx264" else "hevc"

    def message(time: float, data: bytes):
        payload = np.frombuffer(data, np.uint8)
        if kind == "CompressedImage":
            fields = {"header": speaker.header(time), "format": name, "data": payload}
            return "sensor_msgs/msg/CompressedImage", fields
        if kind == "CompressedVideo":
            fields = {"timestamp": speaker.time(time), "frame_id": "camera", "data": payload, "format": name}
            return "foxglove_msgs/msg/CompressedVideo", fields
        size = {"width": 64, "height": 48, "encoding": name, "pts": 0, "flags": 0, "is_bigendian": False}
        return "ffmpeg_image_transport_msgs/msg/FFMPEGPacket", {"header": speaker.header(time), "data": payload, **size}

    sent = []
    for number, data in enumerate(packets):
        type_name, fields = message(number / FPS, data)
        logged = START + round((number / FPS + 0.02) * SECOND)
        sent.append(("/camera/video", type_name, logged, speaker.make(type_name, **fields)))
    path = write(tmp_path / "bag", speaker.store, sent)
    assert_frames(read(path))
    with open_media(path) as recording:
        assert [frame.image().mean() > 30 for frame in recording.frames(interval=0.5)] == [False, True]


def test_folder_without_one_recording_points_to_the_archive_tool(tmp_path: Path):
    with pytest.raises(MediaError, match="emotion-archive analyse"):
        open_media(tmp_path)
    for name in ("monday", "tuesday"):
        part = bag(tmp_path / "made" / name)
        shutil.move(part / f"{name}.mcap", tmp_path)
    with pytest.raises(MediaError, match=r"2 recordings in it \(monday, tuesday"):
        open_media(tmp_path)
    (tmp_path / "tuesday.mcap").unlink()
    assert_frames(read(tmp_path))


def test_archive_of_a_single_bag_is_that_bag(tmp_path: Path):
    path = bag(tmp_path / "walk")
    (path / "metadata.yaml").unlink()
    (path / "walk.mcap").rename(path / "walk_0.mcap")
    (recording,) = find_recordings([str(path)]).recordings
    assert recording.path == str(path)
    (path / "walk_0.mcap").rename(path / "other.mcap")
    (recording,) = find_recordings([str(path)]).recordings
    assert recording.path == str(path / "other.mcap")
