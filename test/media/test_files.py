"""Reading media files: what is in them, when it was, and what happens with broken ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import FPS, RATE, write_clip

from emotion_perception.media.files import read_audio
from emotion_perception.media.images import read_image
from emotion_perception.media.items import MediaAudio, MediaError, MediaFrame
from emotion_perception.media.opening import open_media

WIDTH, HEIGHT = 160, 120
FLASH_S = 1.0  # the frame of this time is white, and a beep begins with it


def beep(seconds: float = 2.0, at: float = FLASH_S, rate: int = RATE) -> np.ndarray:
    """Silence with 0.1 s of 1 kHz in it, ``(T,)`` int16."""
    times = np.arange(round(seconds * rate)) / rate
    return np.where((times >= at) & (times < at + 0.1), 16000 * np.sin(2 * np.pi * 1000 * times), 0).astype(np.int16)


def flash_frames(
    seconds: float = 2.0, at: float = FLASH_S, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> list[np.ndarray]:
    """Black frames, white for 0.1 s."""
    black = np.zeros((size[1], size[0], 3), np.uint8)
    return [black + (255 if at - 1e-6 <= n / FPS < at + 0.1 else 0) for n in range(round(seconds * FPS))]


def sync_times(items: list[MediaFrame | MediaAudio]) -> list[tuple[float, float]]:
    """Pairs of (time of a flash, time of the beep's start)."""
    flashes: list[float] = []
    beeps: list[float] = []
    white = loud = False
    for item in items:
        if isinstance(item, MediaFrame):
            was, white = white, bool(item.image.mean() > 128)
            if white and not was:
                flashes.append(item.time)
        else:
            over = np.flatnonzero(np.abs(item.samples[:, 0].astype(int)) > 2000)
            was, loud = loud, bool(over.size)
            if loud and not was:
                beeps.append(item.time + over[0] / item.sample_rate)
    assert len(flashes) == len(beeps)
    return list(zip(flashes, beeps, strict=True))


CONTAINERS = {
    "clip.mp4": ("libx264", "aac"),
    "clip.mkv": ("libx264", "flac"),
    "clip.webm": ("libvpx-vp9", "libopus"),
    "clip.avi": ("mpeg4", "pcm_s16le"),
    "clip.ts": ("libx264", "aac"),
    "clip.mov": ("mpeg4", "pcm_s16le"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_sound_and_images_are_synchronised(tmp_path: Path, name: str):
    video_codec, audio_codec = CONTAINERS[name]
    path = write_clip(tmp_path / name, flash_frames(), beep(), video_codec, audio_codec)
    with open_media(path) as media:
        assert (media.has_video, media.has_audio, media.is_image) == (True, True, False)
        assert (media.width, media.height, media.channels) == (WIDTH, HEIGHT, 1)
        assert media.fps == pytest.approx(FPS, rel=0.01)
        items = list(media.read())
        assert media.errors == 0
    times = [item.time for item in items]
    assert times == sorted(times)
    ((flash, sound),) = sync_times(items)
    assert flash == pytest.approx(FLASH_S, abs=0.07)  # MPEG-TS begins with the sound encoder's lead-in
    assert abs(flash - sound) < 0.02


@pytest.mark.parametrize("starts", [(0.0, 0.5), (0.5, 0.0)], ids=["sound later", "picture later"])
def test_stream_that_starts_later_keeps_its_offset(tmp_path: Path, starts: tuple[float, float]):
    video_start, audio_start = starts
    path = write_clip(
        tmp_path / "clip.mkv",
        flash_frames(at=FLASH_S - video_start),
        beep(at=FLASH_S - audio_start),
        audio_codec="flac",
        video_start=video_start,
        audio_start=audio_start,
    )
    with open_media(path) as media:
        items = list(media.read())
    first_frame = next(item.time for item in items if isinstance(item, MediaFrame))
    first_sound = next(item.time for item in items if isinstance(item, MediaAudio))
    assert first_sound - first_frame == pytest.approx(audio_start - video_start, abs=0.005)
    ((flash, sound),) = sync_times(items)
    assert abs(flash - sound) < 0.02


def test_frames_and_blocks_have_the_promised_form(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", flash_frames(0.5), beep(0.5, at=0.2), audio_codec="flac")
    with open_media(path) as media:
        items = list(media.read())
    frames = [item for item in items if isinstance(item, MediaFrame)]
    blocks = [item for item in items if isinstance(item, MediaAudio)]
    assert len(frames) == 15
    assert all(f.image.shape == (HEIGHT, WIDTH, 3) and f.image.dtype == np.uint8 for f in frames)
    assert all(f.image.flags.c_contiguous for f in frames)
    assert all(b.samples.dtype == np.int16 and b.samples.shape[1] == 1 and b.sample_rate == RATE for b in blocks)
    assert all(len(b.samples) <= 0.04 * RATE for b in blocks)
    np.testing.assert_array_equal(np.concatenate([b.samples[:, 0] for b in blocks]), beep(0.5, at=0.2))
    assert all(b.time == pytest.approx(a.end, abs=1e-6) for a, b in itertools.pairwise(blocks))


def test_loop_goes_on_in_time_and_keeps_sync(tmp_path: Path):
    # The sound is longer than the picture: a repetition is as long as the sound.
    path = write_clip(tmp_path / "clip.mkv", flash_frames(1.0, at=0.5), beep(1.25, at=0.5), audio_codec="flac")
    with open_media(path) as media:
        items = list(itertools.takewhile(lambda item: item.time < 5.0, media.loop()))
    times = [item.time for item in items]
    assert times == sorted(times)
    pairs = sync_times(items)
    assert len(pairs) == 4
    for round_number, (flash, sound) in enumerate(pairs):
        assert flash == pytest.approx(0.5 + 1.25 * round_number, abs=0.02)
        assert abs(flash - sound) < 0.02


def test_video_without_sound_and_sound_without_video(tmp_path: Path):
    silent = write_clip(tmp_path / "silent.mp4", flash_frames(0.5))
    with open_media(silent) as media:
        assert (media.has_video, media.has_audio, media.sample_rate) == (True, False, 0)
        assert all(isinstance(item, MediaFrame) for item in media.read())
    with pytest.raises(MediaError, match="no audio"):
        read_audio(silent)
    blind = write_clip(tmp_path / "blind.wav", samples=beep(0.5), audio_codec="pcm_s16le")
    with open_media(blind) as media:
        assert (media.has_video, media.has_audio, media.fps, media.width) == (False, True, 0, 0)
        assert sum(len(item.samples) for item in media.read() if isinstance(item, MediaAudio)) == RATE // 2


def test_cover_image_of_a_song_is_not_video(tmp_path: Path):
    path = tmp_path / "song.mp3"
    ok, cover = cv2.imencode(".png", np.full((32, 32, 3), 90, np.uint8))
    assert ok
    with av.open(str(path), "w") as container:
        audio = container.add_stream("libmp3lame", rate=44100, layout="stereo")
        picture = container.add_stream("png", rate=1)
        picture.width = picture.height = 32
        picture.pix_fmt = "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover.tobytes())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
        container.start_encoding()
        container.mux(packet)
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, index * 1152
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    with open_media(path) as media:
        assert (media.has_video, media.has_audio, media.channels, media.sample_rate) == (False, True, 2, 44100)


@pytest.mark.parametrize(
    ("size", "pixel_format", "codec"),
    [((481, 361), "yuv444p", "ffv1"), ((481, 361), "yuv420p", "ffv1"), ((161, 121), "gray", "ffv1"),
     ((160, 120), "yuv422p10le", "ffv1"), ((33, 17), "bgr0", "ffv1")],
    ids=["odd 444", "odd 420", "grey", "10 bit", "tiny rgb"],
)  # fmt: skip
def test_odd_sizes_and_pixel_formats(tmp_path: Path, size: tuple[int, int], pixel_format: str, codec: str):
    left_dark = np.zeros((size[1], size[0], 3), np.uint8)
    left_dark[:, size[0] // 2 :] = 200
    path = write_clip(tmp_path / "clip.mkv", [left_dark] * 3, video_codec=codec, pixel_format=pixel_format)
    with open_media(path) as media:
        assert (media.width, media.height) == size
        frames = list(media.read())
    assert len(frames) == 3
    image = frames[0].image
    assert image.shape == (size[1], size[0], 3)
    assert image[:, : size[0] // 3].mean() < 5
    assert image[:, -size[0] // 3 :].mean() == pytest.approx(200, abs=4)


@pytest.mark.parametrize(("rotation", "corner"), [(-90, (0, -1)), (90, (-1, 0)), (180, (-1, -1))])
def test_video_is_rotated_by_its_metadata(tmp_path: Path, rotation: int, corner: tuple[int, int]):
    """A white top-left corner goes to the top right when the picture is turned a quarter clockwise."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[:40, :40] = 255
    path = write_clip(tmp_path / "clip.mp4", [image] * 3, rotation=rotation)
    with open_media(path) as media:
        expected = (120, 160) if abs(rotation) == 90 else (160, 120)
        assert (media.width, media.height) == expected
        frame = next(iter(media.read()))
    assert isinstance(frame, MediaFrame)
    assert (frame.image.shape[1], frame.image.shape[0]) == expected
    whites = {(row, column): frame.image[row, column].mean() > 200 for row in (0, -1) for column in (0, -1)}
    assert [place for place, white in whites.items() if white] == [corner]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "tiff", "pgm"])
def test_still_images_are_recognised_by_content(tmp_path: Path, suffix: str):
    image = np.zeros((61, 83, 3), np.uint8)
    image[:, 40:] = 180
    path = tmp_path / "picture"  # no suffix: the content tells
    if suffix == "gif":
        with av.open(str(path), "w", format="gif") as container:
            stream = container.add_stream("gif", rate=5)
            stream.width, stream.height, stream.pix_fmt = 83, 61, "rgb8"
            for index, picture in enumerate((image,)):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="rgb8")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    else:
        path.write_bytes(cv2.imencode(f".{suffix}", image[..., 0] if suffix == "pgm" else image)[1].tobytes())
    read = read_image(path)
    assert (read.shape, read.dtype) == ((61, 83, 3), np.uint8)
    assert read[:, :35].mean() < 10
    assert read[:, 45:].mean() == pytest.approx(180, abs=20)
    with open_media(path) as media:
        assert (media.is_image, media.has_video, media.has_audio, media.width, media.height) == (
            True,
            True,
            False,
            83,
            61,
        )
        (frame,) = media.read()
        assert frame.time == 0
        looped = list(itertools.islice(media.loop(), 3))
    assert [frame.time for frame in looped] == pytest.approx([0, 0.1, 0.2])


def make_broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(20000))
    elif kind == "text":
        path = path.with_suffix(".txt")
        path.write_text("This is a letter, not a film.\n" * 50)
    elif kind == "playlist":
        path = path.with_suffix(".m3u8")
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    elif kind == "without index":
        whole = write_clip(folder / "whole.mp4", flash_frames()).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "half a png":
        path = path.with_suffix(".png")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 40)
    elif kind == "subtitles":
        path = path.with_suffix(".srt")
        path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("directory", "is a directory"),
        ("empty", "empty"),
        ("noise", "not a readable media file|no video or audio"),
        ("text", "not a readable media file"),
        ("playlist", "not a readable media file"),
        ("without index", "not a readable media file"),
        ("half a png", "not an image"),
        ("subtitles", "no video or audio"),
    ],
)
def test_unreadable_file_gives_one_line_with_path_and_reason(tmp_path: Path, kind: str, reason: str):
    path = make_broken(tmp_path, kind)
    with pytest.raises(MediaError, match=reason) as caught:
        open_media(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", [read_image, read_audio])
def test_readers_of_images_and_sound_refuse_other_files(tmp_path: Path, reader):
    with pytest.raises(MediaError, match="no such file"):
        reader(tmp_path / "missing")
    with pytest.raises(MediaError, match=r"noise\.mp4"):
        reader(make_broken(tmp_path, "noise"))


def test_truncated_file_gives_what_there_is(tmp_path: Path):
    whole = write_clip(tmp_path / "whole.mkv", flash_frames(), beep(), audio_codec="flac").read_bytes()
    path = tmp_path / "truncated.mkv"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with open_media(path) as media:
        items = list(media.read())
    assert len([item for item in items if isinstance(item, MediaFrame)]) > 5
    assert all(np.isfinite(item.time) for item in items)


def test_damage_in_the_middle_is_survived_and_counted(tmp_path: Path):
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(60)]
    path = write_clip(tmp_path / "clip.avi", frames, beep(), video_codec="mjpeg", audio_codec="pcm_s16le",
                      pixel_format="yuvj420p")  # fmt: skip
    content = bytearray(path.read_bytes())
    starts = [i for i in range(len(content) - 3) if content[i : i + 3] == b"\xff\xd8\xff"]
    for start in starts[20:25]:
        content[start : start + 700] = bytes(700)
    path.write_bytes(content)
    with open_media(path) as media:
        items = list(media.read())
        assert media.errors >= 1
    frames_read = [item for item in items if isinstance(item, MediaFrame)]
    assert 50 <= len(frames_read) < 60
    assert frames_read[-1].time == pytest.approx(59 / FPS, abs=0.05)
    assert first_loud(items) == pytest.approx(FLASH_S, abs=0.01)


def first_loud(items: list) -> float:
    for item in items:
        if (
            isinstance(item, MediaAudio)
            and (over := np.flatnonzero(np.abs(item.samples[:, 0].astype(int)) > 2000)).size
        ):
            return float(item.time + over[0] / item.sample_rate)
    raise AssertionError("no beep")


def test_stream_without_stamps_is_timed_by_its_rate(tmp_path: Path):
    path = write_clip(tmp_path / "raw.h264", flash_frames(1.0))
    with open_media(path) as media:
        times = [item.time for item in media.read()]
    assert len(times) == 30
    steps = np.diff(times)
    assert (steps > 0).all()
    assert np.allclose(steps, steps[0], atol=1e-3)


def test_gap_in_the_sound_stays_a_gap(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", flash_frames(), beep(), audio_codec="pcm_s16le", skip_audio=(0.3, 0.7))
    with open_media(path) as media:
        items = list(media.read())
    blocks = [item for item in items if isinstance(item, MediaAudio)]
    gap = max(after.time - before.end for before, after in itertools.pairwise(blocks))
    assert gap == pytest.approx(0.4, abs=0.07)
    ((flash, sound),) = sync_times(items)
    assert abs(flash - sound) < 0.02


def test_stamp_hours_ahead_does_not_stop_the_play(tmp_path: Path):
    times = [n / FPS if n < 10 else n / FPS + 4 * 3600 for n in range(20)]
    path = write_clip(tmp_path / "clip.mkv", flash_frames(20 / FPS), frame_times=times)
    with open_media(path) as media:
        read = [item.time for item in media.read()]
        assert media.repaired == 10
    assert len(read) == 20
    assert max(np.diff(read)) < 2 / FPS
    assert min(np.diff(read)) > 0


def test_irregular_frame_times_are_kept(tmp_path: Path):
    times = [0.0, 0.1, 0.15, 0.5, 2.0, 2.04]
    path = write_clip(tmp_path / "clip.mkv", flash_frames(0.2), frame_times=times)
    with open_media(path) as media:
        assert [item.time for item in media.read()] == pytest.approx(times, abs=0.002)


def test_file_may_be_read_twice_and_closes_with_the_block(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", flash_frames(0.5), beep(0.5), audio_codec="flac")
    with open_media(path) as media:
        first, second = list(media.read()), list(media.read())
        running = media.read()
        next(running)
    assert [item.time for item in first] == [item.time for item in second]
    assert list(running) == []


def test_file_that_vanishes_while_looping_is_reported(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", flash_frames(0.2))
    with open_media(path) as media:
        looped = media.loop()
        next(looped)
        path.unlink()
        with pytest.raises(MediaError, match=str(path)):
            list(itertools.islice(looped, 100))


def test_name_with_odd_characters(tmp_path: Path):
    path = write_clip(tmp_path / "a:b %03d é #1.mkv", flash_frames(0.2))
    with open_media(path) as media:
        assert len(list(media.read())) == 6


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_f32le"])
def test_number_formats_of_sound_agree(tmp_path: Path, codec: str):
    path = write_clip(tmp_path / "tone.wav", samples=beep(0.5, at=0.1), audio_codec=codec)
    samples, rate = read_audio(path)
    assert (rate, samples.dtype, samples.shape) == (RATE, np.float32, (RATE // 2,))
    np.testing.assert_allclose(samples, beep(0.5, at=0.1) / 32768, atol=0.01)
    with open_media(path) as media:
        blocks = [item.samples for item in media.read() if isinstance(item, MediaAudio)]
    np.testing.assert_allclose(np.concatenate(blocks)[:, 0], beep(0.5, at=0.1), atol=300)


def test_stereo_is_mixed_to_mono_and_read_as_two_channels(tmp_path: Path):
    import soundfile

    stereo = np.stack([np.full(800, 0.5, np.float32), np.full(800, -0.25, np.float32)], axis=1)
    path = tmp_path / "stereo.flac"
    soundfile.write(path, stereo, 8000)
    samples, rate = read_audio(path)
    assert rate == 8000
    np.testing.assert_allclose(samples, 0.125, atol=1e-3)
    with open_media(path) as media:
        assert media.channels == 2
        block = next(iter(media.read()))
    assert isinstance(block, MediaAudio)
    np.testing.assert_allclose(block.samples[0], [16384, -8192], atol=1)


def brightness(media, **options) -> dict[float, float]:
    """Time and mean brightness of the pictures that are read."""
    return {round(frame.time, 3): float(frame.image().mean()) for frame in media.frames(**options)}


@pytest.fixture(scope="module")
def ramp(tmp_path_factory) -> list[Path]:
    """Clips of 4 s whose pictures grow brighter, with a beep at 3 s, of containers that are sought in differently."""
    folder = tmp_path_factory.mktemp("ramp")
    frames = [np.full((HEIGHT, WIDTH, 3), 2 * n, np.uint8) for n in range(4 * FPS)]
    sound = beep(4.0, at=3.0)
    return [write_clip(folder / name, frames, sound, *codecs) for name, codecs in CONTAINERS.items()]


@pytest.mark.parametrize("index", range(len(CONTAINERS)), ids=list(CONTAINERS))
def test_frames_and_sound_from_the_middle_are_those_of_the_whole(ramp, index):
    with open_media(ramp[index]) as media:
        whole, rest = brightness(media), brightness(media, start=2.5)
        # After a seek an AVI's stamps may be a picture off.
        expected = [(time, level) for time, level in whole.items() if time >= 2.5][-len(rest) :]
        assert len(rest) >= 44
        np.testing.assert_allclose(list(rest.items()), expected, atol=1.0)
        np.testing.assert_allclose(list(rest), [time for time, _ in expected], atol=1 / FPS)
        blocks = list(media.sound(2.5))
    assert blocks[0].time <= 2.5 < blocks[0].end
    loud = [block for block in blocks if np.abs(block.samples.astype(int)).max() > 4000]
    assert loud[0].time - 0.04 <= 3.0 + 0.07 and loud[0].end >= 3.0 - 0.07


@pytest.mark.parametrize("index", range(len(CONTAINERS)), ids=list(CONTAINERS))
def test_skipping_frames_loses_none_that_is_due(ramp, index):
    with open_media(ramp[index]) as media:
        due = [frame.time for frame in media.frames(interval=0.2) if frame.due]
    assert [int(time / 0.2 + 1e-3) for time in due] == list(range(len(due))) and len(due) in (20, 21)
    assert max(time - 0.2 * number for number, time in enumerate(due)) < 0.14


def test_intra_only_video_decodes_due_frames_alone(tmp_path):
    frames = [np.full((HEIGHT, WIDTH, 3), 2 * n, np.uint8) for n in range(2 * FPS)]
    path = write_clip(tmp_path / "clip.avi", frames, video_codec="mjpeg", pixel_format="yuvj420p")
    with open_media(path) as media:
        found = list(media.frames(start=0.5, interval=0.2))
    assert [frame.due for frame in found] == [True] * len(found)
    np.testing.assert_allclose([frame.time for frame in found], [0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8], atol=0.02)
    assert found[0].image().mean() == pytest.approx(30, abs=3)
    assert found[0].thumbnail().shape == (24, 32)
