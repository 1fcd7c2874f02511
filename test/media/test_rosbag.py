"""rosbag2 recordings read without ROS: topics by type, every dialect of sound, stamps that jump, damage."""

from __future__ import annotations

import sys
from pathlib import Path

import bags
import numpy as np
import pytest
from bags import SECOND, START, Speaker, typestore, write
from rosbags.rosbag2 import StoragePlugin

from emotion_perception.media.items import MediaAudio, MediaError, MediaFrame, MediaItem
from emotion_perception.media.opening import open_media
from emotion_perception.media.rosbag import Recording

RATE, FPS, LENGTH = 16_000, 10, 2.0
PLUGINS = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]


def frames(count: int = round(LENGTH * FPS)) -> list[MediaFrame]:
    """Pictures whose brightness counts them."""
    return [MediaFrame(i / FPS, np.full((24, 32, 3), 10 * i, np.uint8)) for i in range(count)]


def blocks(channels: int = 1, step: float = 0.1) -> list[MediaAudio]:
    """A ramp of samples, so that a lost, doubled or shifted one shows."""
    ramp = np.arange(round(LENGTH * RATE), dtype=np.int16)[:, None].repeat(channels, axis=1)
    size = round(step * RATE)
    return [MediaAudio(i / RATE, ramp[i : i + size], RATE) for i in range(0, len(ramp), size)]


def read(path: Path) -> tuple[list[MediaFrame], list[MediaAudio], list[MediaItem]]:
    with open_media(path) as recording:
        items = list(recording.read())
    pictures = [item for item in items if isinstance(item, MediaFrame)]
    return pictures, [item for item in items if isinstance(item, MediaAudio)], items


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("as_file", [False, True])
def test_a_recording_gives_back_what_was_recorded(tmp_path: Path, plugin: StoragePlugin, as_file: bool):
    speaker = Speaker(typestore())
    path = write(tmp_path / "bag", speaker.store, bags.film_messages(speaker, [*frames(), *blocks()]), plugin)
    if as_file:
        (path,) = [p for p in path.iterdir() if p.suffix in (".mcap", ".db3")]
    pictures, sound, items = read(path)
    assert [picture.image[0, 0, 0] for picture in pictures] == [10 * i for i in range(20)]
    np.testing.assert_allclose([picture.time for picture in pictures], np.arange(20) / FPS, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([b.samples for b in sound])[:, 0], np.arange(32_000))
    np.testing.assert_allclose([block.time for block in sound], np.arange(20) / 10, atol=1e-6)
    assert [item.time for item in items] == sorted(item.time for item in items)
    with open_media(path) as recording:
        assert (recording.width, recording.height, recording.sample_rate) == (32, 24, RATE)
        assert recording.fps == pytest.approx(FPS, rel=0.1)
        assert recording.start_ns == START
        assert recording.note == "images from /camera/image_raw; sound from /audio"


def test_every_dialect_of_sound_is_read(tmp_path: Path):
    drivers, mgonz = Speaker(typestore()), Speaker(typestore(mgonz=True))
    spoken = {
        "chunk": (drivers, [drivers.chunk(b) for b in blocks(2)]),
        "stamped": (drivers, [*(drivers.driver_audio(b) for b in blocks(2)), drivers.driver_info(blocks(2)[3])]),
        "plain": (drivers, [*(drivers.driver_audio(b, False) for b in blocks(2)), drivers.driver_info(blocks(2)[3])]),
        "mgonz": (mgonz, [mgonz.mgonz_audio(b) for b in blocks(2)]),
        "floats": (mgonz, [mgonz.mgonz_audio(b, floats=True) for b in blocks(2)]),
        "foxglove": (drivers, [drivers.raw_audio(b) for b in blocks(2)]),
    }
    for name, (speaker, messages) in spoken.items():
        pictures, sound, _ = read(write(tmp_path / name, speaker.store, messages))
        assert pictures == []
        samples = np.concatenate([block.samples for block in sound])
        assert samples.dtype == np.int16
        np.testing.assert_array_equal(samples, np.arange(32_000)[:, None].repeat(2, axis=1), err_msg=name)
        np.testing.assert_allclose([block.time for block in sound], np.arange(20) / 10, atol=1e-6, err_msg=name)


def test_camera_is_found_among_other_image_topics(tmp_path: Path):
    speaker = Speaker(typestore())
    dull = [MediaFrame(f.time, f.image // 2) for f in frames()]
    messages = [
        *(speaker.image(f, "/infra/image", "mono8") for f in dull),
        *(speaker.image(f, "/robot/emotion/image_annotated") for f in dull),
        *(speaker.compressed(f, "/head/image/compressed") for f in dull),
        *(speaker.image(f, "/head/image", "rgb8") for f in frames()),
    ]
    path = write(tmp_path / "bag", speaker.store, messages)
    pictures, _, _ = read(path)
    assert pictures[5].image[0, 0].tolist() == [50, 50, 50]
    with Recording(path, image_topic="/infra/image") as named:
        assert named.note == "images from /infra/image"
        assert next(iter(named.read())).image.shape == (24, 32, 3), "grey pictures come as colour ones"
    with pytest.raises(MediaError, match=r"no topic /camera; topics in it: .*/head/image \(sensor_msgs/msg/Image\)"):
        Recording(path, image_topic="/camera")


def test_compressed_images_are_decoded(tmp_path: Path):
    speaker = Speaker(typestore())
    pictures, _, _ = read(write(tmp_path / "bag", speaker.store, [speaker.compressed(f) for f in frames()]))
    assert len(pictures) == 20
    assert abs(int(pictures[10].image[3, 3, 1]) - 100) <= 3


def test_depth_image_alone_is_refused_and_named(tmp_path: Path):
    speaker = Speaker(typestore())
    depth = [speaker.image(f, "/depth/image") for f in frames(3)]
    for *_, message in depth:
        message.encoding = "16UC1"
    path = write(tmp_path / "bag", speaker.store, depth)
    with pytest.raises(MediaError, match=r"/depth/image cannot be used: '16UC1' is a depth image"):
        open_media(path)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_was_set_while_recording_does_not_stop_the_play(tmp_path: Path, jump: float):
    speaker = Speaker(typestore(), lambda time: START + round((time + (jump if time >= 1.0 else 0.0)) * SECOND))
    path = write(tmp_path / "bag", speaker.store, bags.film_messages(speaker, [*frames(), *blocks()]))
    with open_media(path) as recording:
        items = list(recording.read())
        assert recording.repaired == 2, "the jump of each topic"
    times = [item.time for item in items if isinstance(item, MediaFrame)]
    np.testing.assert_allclose(times, np.arange(20) / FPS, atol=1e-6)


def test_stamps_of_simulated_time_and_none_at_all_are_followed(tmp_path: Path):
    for stamp, start in ((lambda time: round((time + 5) * SECOND), 5 * SECOND), (lambda _: 0, START + bags.DELAY)):
        speaker = Speaker(typestore(), stamp)
        path = write(tmp_path / f"bag{start}", speaker.store, [speaker.image(f) for f in frames()])
        pictures, _, _ = read(path)
        np.testing.assert_allclose([picture.time for picture in pictures], np.arange(20) / FPS, atol=1e-6)
        with open_media(path) as recording:
            assert recording.start_ns == start


def test_a_loop_goes_on_where_the_recording_ended(tmp_path: Path):
    speaker = Speaker(typestore())
    path = write(tmp_path / "bag", speaker.store, bags.film_messages(speaker, [*frames(), *blocks()]))
    with open_media(path) as recording:
        times = [item.time for item, _ in zip(recording.loop(), range(100), strict=False)]
    assert times == sorted(times)
    assert times[40] == pytest.approx(LENGTH, abs=0.01), "the second round"


def test_broken_messages_are_counted_and_passed_over(tmp_path: Path):
    speaker = Speaker(typestore())
    messages = [speaker.image(f) for f in frames()]
    messages[3][3].step = 1  # shorter than a row
    messages[4][3].data = messages[4][3].data[:100]
    path = write(tmp_path / "bag", speaker.store, messages)
    with open_media(path) as recording:
        assert len(list(recording.read())) == 18
        assert recording.errors == 2


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_recording_that_is_cut_off_or_garbage_is_refused_in_one_line(tmp_path: Path, plugin: StoragePlugin):
    speaker = Speaker(typestore())
    path = write(tmp_path / "bag", speaker.store, [speaker.image(f) for f in frames()], plugin)
    (file,) = [p for p in path.iterdir() if p.suffix in (".mcap", ".db3")]
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for content in (b"", whole[: len(whole) // 2], whole[:40], rng.bytes(5000)):
        file.write_bytes(content)
        for opened in (path, file):
            with pytest.raises(MediaError) as refused:
                open_media(opened)
            assert "\n" not in str(refused.value)
            assert str(opened) in str(refused.value)


def test_scrambled_bytes_never_raise_anything_else(tmp_path: Path):
    speaker = Speaker(typestore())
    path = write(tmp_path / "bag", speaker.store, bags.film_messages(speaker, [*frames(), *blocks()]))
    (file,) = path.glob("*.mcap")
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    rng = np.random.default_rng(1)
    refused = given = 0
    for _ in range(60):
        damaged = whole.copy()
        where = rng.integers(0, len(whole), 40)
        damaged[where] = rng.integers(0, 256, 40)
        file.write_bytes(damaged.tobytes())
        try:
            with open_media(file) as recording:
                given += len(list(recording.read()))
        except MediaError:
            refused += 1
    assert refused + given > 60


def test_bag_without_images_and_sound_lists_its_topics(tmp_path: Path):
    speaker = Speaker(typestore())
    said = speaker.make("std_msgs/msg/String", data="hello")
    path = write(tmp_path / "bag", speaker.store, [("/chatter", "std_msgs/msg/String", START, said)])
    with pytest.raises(MediaError, match=r"no images and no sound in it; topics in it: /chatter \(std_msgs"):
        open_media(path)


def test_topics_of_a_film_are_refused(tmp_path: Path):
    (tmp_path / "film.mp4").write_bytes(b"x" * 100)
    with pytest.raises(MediaError, match="only a recording"):
        open_media(tmp_path / "film.mp4", image_topic="/camera")


def test_a_bag_without_definitions_is_read_by_those_known_here(tmp_path: Path):
    import apsw

    for name, speaker in (("drivers", Speaker(typestore())), ("mgonz", Speaker(typestore(mgonz=True)))):
        if name == "drivers":
            messages = [*(speaker.driver_audio(b) for b in blocks()), speaker.driver_info(blocks()[0])]
        else:
            messages = [speaker.mgonz_audio(b) for b in blocks()]
        messages += [speaker.image(f) for f in frames()]
        path = write(tmp_path / name, speaker.store, messages, StoragePlugin.SQLITE3)
        (file,) = path.glob("*.db3")
        connection = apsw.Connection(str(file))
        connection.execute("DELETE FROM message_definitions")
        connection.close()
        pictures, sound, _ = read(path)
        assert len(pictures) == 20
        np.testing.assert_array_equal(np.concatenate([b.samples for b in sound])[:, 0], np.arange(32_000))


def test_bag_gives_the_states_of_the_video_it_was_made_from(tmp_path: Path):
    """The built-in clip recorded as a robot would: what emotion-recognize says of both is the same."""
    import json
    import subprocess

    from emotion_perception.recognition import Recognizer
    from emotion_perception.resources import demo_clip_path

    with open_media(demo_clip_path()) as film:
        items = [item for item in film.read() if item.time < 3.0]
    speaker = Speaker(typestore())
    messages = [speaker.compressed(item) for item in items if isinstance(item, MediaFrame)]
    path = write(tmp_path / "bag", speaker.store, messages)
    moments = {}
    recognizer = Recognizer()
    for moment in recognizer.moments(demo_clip_path()):
        if moment.time > 2.5:
            break
        moments[moment.time] = moment.state
    done = subprocess.run(
        [sys.executable, "-m", "emotion_perception.cli.recognize", str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "images from /camera/image_raw/compressed" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["time"] for line in lines[:2]] == [1.0, 2.0]
    for line in lines[:2]:
        state = moments[line["time"]]
        assert line["status"] == state.status.name == "VISUAL_ONLY"
        assert line["label"] == state.emotion.name
        probabilities = np.array(list(line["probabilities"].values()))
        np.testing.assert_allclose(probabilities, state.emotion.probabilities, atol=0.1)
