"""Films as cameras, editors and broadcasters make them: mirrored, with oblong pixels, with several audio tracks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import RATE, write_clip, write_tracks

from emotion_perception.media.files import read_audio
from emotion_perception.media.items import MediaAudio, MediaError
from emotion_perception.media.opening import open_media

ONE = 1 << 16
TONE = (8000 * np.sin(np.arange(2 * RATE) / RATE * 2 * np.pi * 300)).astype(np.int16)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("down", [1, -1])
@pytest.mark.parametrize("right", [1, -1])
def test_film_is_rotated_and_mirrored_as_its_display_matrix_says(
    tmp_path: Path, right: int, down: int, transposed: bool
):
    """``right`` and ``down``: where the stored image's axes point when it is shown."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60, :80], image[:60, 80:], image[60:, :80] = 60, 120, 180  # the lower right stays black
    axes = (0, right, down, 0) if transposed else (right, 0, 0, down)
    a, b, c, d = (ONE * value for value in axes)
    path = write_clip(tmp_path / "film.mp4", [image] * 3, display_matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30))
    # A stored pixel at (x, y) from the centre is shown at (a x + c y, b x + d y).
    shown = np.zeros((160, 120, 3) if transposed else image.shape, np.uint8)
    y, x = np.mgrid[:120, :160]
    u, v = (x - 79.5) * axes[0] + (y - 59.5) * axes[2], (x - 79.5) * axes[1] + (y - 59.5) * axes[3]
    shown[np.rint(v + (shown.shape[0] - 1) / 2).astype(int), np.rint(u + (shown.shape[1] - 1) / 2).astype(int)] = image
    with open_media(path) as media:
        assert (media.height, media.width) == shown.shape[:2]
        frame = next(iter(media.read()))
    assert frame.image.flags.c_contiguous
    assert np.abs(frame.image.astype(int) - shown).mean() < 6


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(2), 640), (Fraction(64, 45), 456), (Fraction(8, 9), 284), (Fraction(1), 320)]
)
def test_oblong_pixels_become_square(tmp_path: Path, aspect: Fraction, width: int):
    stored = np.zeros((240, 320, 3), np.uint8)
    stored[:, 160:] = 200
    path = write_clip(tmp_path / "film.mp4", [stored] * 3, pixel_aspect=aspect)
    with open_media(path) as media:
        assert media.height == 240 and media.width == pytest.approx(width, abs=1)
        frame = next(iter(media.read()))
    assert frame.image.shape == (240, media.width, 3)
    edge = np.flatnonzero(frame.image[120, :, 0] > 100)[0]
    assert edge == pytest.approx(media.width / 2, abs=2)


def test_implausible_pixel_aspect_is_ignored(tmp_path: Path):
    path = write_clip(tmp_path / "film.mp4", [np.zeros((240, 320, 3), np.uint8)] * 3, pixel_aspect=Fraction(100))
    with open_media(path) as media:
        assert media.width == 320


def loudness(media) -> float:
    return max(float(np.abs(b.samples).max()) for b in media.read() if isinstance(b, MediaAudio))


def test_silent_first_audio_track_is_passed_over(tmp_path: Path):
    path = write_tracks(tmp_path / "film.mkv", [0 * TONE, TONE // 2, TONE])
    with open_media(path) as media:
        assert (media.audio_tracks, media.audio_track) == (3, 3)
        assert loudness(media) > 7000
    with open_media(path, audio_track=2) as media:
        assert media.audio_track == 2 and 3000 < loudness(media) < 5000
    with pytest.raises(MediaError, match="no audio track 4, it has 3"):
        open_media(path, audio_track=4)


def test_first_audio_track_with_sound_stays_the_choice(tmp_path: Path):
    with open_media(write_tracks(tmp_path / "film.mkv", [TONE // 4, TONE])) as media:
        assert media.audio_track == 1


@pytest.mark.parametrize("channels", [(1, -1), (1, -1, 0), (1, 1), (1, 0)])
def test_channels_in_opposite_phase_are_still_heard(tmp_path: Path, channels: tuple[int, ...]):
    import soundfile

    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([TONE * sign for sign in channels], axis=1), RATE, subtype="PCM_16")
    samples, rate = read_audio(path)
    mean = np.mean(channels) or 1.0
    assert rate == RATE and np.abs(np.abs(samples).max() / abs(mean) - 8000 / 32768) < 0.001
