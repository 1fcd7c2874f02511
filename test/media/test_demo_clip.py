"""The built-in demo clip: right format, loops smoothly, always a face in it, never half written."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

from emotion_perception.media import demo_clip
from emotion_perception.media.demo_clip import FPS, HEIGHT, SECONDS, WIDTH, frames, make_demo_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make_demo_clip(tmp_path_factory.mktemp("clip") / "new folder" / "demo_clip.mp4")


@pytest.fixture(scope="module")
def images(clip) -> list[np.ndarray]:
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_clip_is_twelve_seconds_of_vga_at_25_fps(clip, images):
    with av.open(str(clip)) as container:
        assert container.streams.video[0].average_rate == FPS
        assert container.duration / av.time_base == pytest.approx(SECONDS, abs=0.05)
        assert not container.streams.audio
    assert len(images) == SECONDS * FPS
    assert images[0].shape == (HEIGHT, WIDTH, 3)


def test_opencv_reads_it_too(clip):
    capture = cv2.VideoCapture(str(clip))
    ok, image = capture.read()
    capture.release()
    assert ok
    assert image.shape == (HEIGHT, WIDTH, 3)


def test_portrait_moves_without_a_jump_even_where_the_clip_loops():
    drawn = [cv2.resize(image, (160, 120)).astype(np.float32) for image in frames(data.astronaut())]
    steps = [np.abs(b - a).mean() for a, b in zip(drawn, [*drawn[1:], drawn[0]], strict=True)]
    assert min(steps) > 0.05
    assert max(steps) < 4 * np.median(steps)


def test_face_stays_inside_the_frame(images):
    from emotion_perception.visual.detector import FaceDetector

    detector = FaceDetector()
    for image in images[:: 2 * FPS]:
        (face,) = detector.detect(image)
        assert face.score > 0.6
        assert 0 < face.box.x < face.box.x + face.box.width < WIDTH
        assert 0 < face.box.y < face.box.y + face.box.height < HEIGHT


def test_failing_halfway_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "demo_clip.mp4"
    path.write_bytes(b"the old one")

    def one_frame_then_trouble(portrait):
        yield next(frames(portrait))
        raise OSError("disk full")

    monkeypatch.setattr(demo_clip, "frames", one_frame_then_trouble)
    with pytest.raises(OSError, match="disk full"):
        make_demo_clip(path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]
