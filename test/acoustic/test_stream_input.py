"""Chunks of any kind become one 16 kHz stream whose every sample has a time."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import tone

from emotion_perception.acoustic.ring_buffer import Continuity, RingBuffer, StreamInput, resample
from emotion_perception.messages.samples import to_float
from emotion_perception.types import SECOND


def test_ring_buffer_returns_what_was_put_in_and_refuses_what_is_gone() -> None:
    ring = RingBuffer(100)
    whole = np.arange(1000, dtype=np.float32)
    sizes = np.random.default_rng(0).integers(0, 60, 200)
    fed = 0
    for size in sizes:
        ring.append(whole[fed : fed + size])
        fed = min(1000, fed + size)
        assert ring.end == fed
        np.testing.assert_array_equal(ring.read(ring.start, ring.end), whole[max(0, fed - 100) : fed])
    with pytest.raises(IndexError):
        ring.read(ring.start - 1, ring.end)
    with pytest.raises(IndexError):
        ring.read(ring.end, ring.end + 1)


def test_a_chunk_larger_than_the_ring_leaves_its_newest_part() -> None:
    ring = RingBuffer(10)
    ring.append(np.arange(35, dtype=np.float32))
    np.testing.assert_array_equal(ring.read(25, 35), np.arange(25, 35))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_in_chunks_leaves_no_click_and_loses_nothing(rate: int) -> None:
    time = np.arange(2 * rate) / rate
    source = np.sin(2 * np.pi * 300 * time).astype(np.float32)
    stream, out = StreamInput(), []
    for i in range(0, len(source), 441):
        stream.place(len(source[i : i + 441]), rate, i * SECOND // rate)
        out.append(stream.convert(source[i : i + 441]))
    heard = np.concatenate([*out, stream.finish()])
    assert abs(len(heard) - 32_000) <= 1
    expected = np.sin(2 * np.pi * 300 * np.arange(len(heard)) / 16_000)
    np.testing.assert_allclose(heard[400:-400], expected[400:-400], atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-0.5, 0.25], np.float64), [-0.5, 0.25]),
    ],
)
def test_every_sample_format_has_the_same_full_scale(samples: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(to_float(samples), expected)


def test_channels_are_averaged() -> None:
    left = tone(0.1)
    np.testing.assert_allclose(resample(np.stack([left, left / 2], axis=1), 16_000), 0.75 * left, atol=1e-7)


def test_stamps_count_samples_not_arrivals() -> None:
    stream = StreamInput()
    for i in range(100):
        jitter = int(np.random.default_rng(i).integers(-20, 20))  # us of rounding in the driver
        stream.place(160, 16_000, 5 * SECOND + i * 10_000_000 + jitter * 1000)
    assert stream.stamps()(16_000) == pytest.approx(6 * SECOND, abs=20_000)


def test_exact_stamps_stay_exact() -> None:
    stream = StreamInput()
    for i in range(1000):
        stream.place(441, 44_100, 7 + round(i * 441 * SECOND / 44_100))
    assert stream.stamps()(160_000) == 7 + 10 * SECOND


@pytest.mark.parametrize(
    ("offset_ns", "kind"), [(SECOND, "gap"), (-SECOND, "jump_back"), (60_000_000, "gap"), (-60_000_000, "jump_back")]
)
def test_a_break_in_the_stamps_restarts_the_stream_and_is_said(offset_ns: int, kind: str) -> None:
    stream = StreamInput()
    assert stream.place(1600, 16_000, 0) is Continuity.RESTARTED
    assert stream.place(1600, 16_000, SECOND // 10) is Continuity.CONTINUOUS
    assert stream.place(1600, 16_000, SECOND // 5 + offset_ns) is Continuity.RESTARTED
    assert stream.counts == {kind: 1}
    assert len(stream.take_warnings()) == 1
    assert stream.take_warnings() == []
    assert stream.stamps()(0) == SECOND // 5 + offset_ns


def test_another_sample_rate_restarts_the_stream() -> None:
    stream = StreamInput()
    stream.place(1600, 16_000, 0)
    assert stream.place(4800, 48_000, SECOND // 10) is Continuity.RESTARTED
    assert "16000 to 48000" in stream.take_warnings()[0]


@pytest.mark.slow
def test_a_sound_card_that_runs_fast_loses_nothing_in_ten_minutes() -> None:
    stream, heard = StreamInput(), 0
    chunk = np.zeros(320, np.float32)
    true_rate = 16_000 * 1.0003  # 300 ppm: a bad crystal
    for i in range(30_000):
        status = stream.place(320, 16_000, round(i * 320 * SECOND / true_rate))
        assert (status is Continuity.RESTARTED) == (i == 0)
        heard += len(stream.convert(chunk))
    assert heard == 30_000 * 320
    assert abs(stream.stamps()(heard) - heard * SECOND / true_rate) < 1_000_000
    assert stream.warnings == []


def test_what_is_not_a_number_becomes_silence_and_is_said() -> None:
    stream = StreamInput()
    stream.place(4, 16_000, 0)
    np.testing.assert_array_equal(stream.convert(np.array([0.5, np.nan, np.inf, -0.5])), [0.5, 0, 0, -0.5])
    assert stream.counts == {"not_finite": 1}


def test_floats_beyond_full_scale_are_cut_and_said() -> None:
    stream = StreamInput()
    stream.place(3, 16_000, 0)
    np.testing.assert_array_equal(stream.convert(np.array([300.0, -0.5, -2.0])), [1, -0.5, -1])
    assert stream.counts == {"out_of_range": 1}


def test_clipped_sound_is_said_once_per_chunk_and_the_list_stays_short() -> None:
    stream = StreamInput()
    for i in range(100):
        stream.place(160, 16_000, i * SECOND // 100)
        stream.convert(np.full(160, 32767, np.int16))
    assert stream.counts == {"clipped": 100}
    assert len(stream.warnings) <= 32


@pytest.mark.parametrize("rate", [0, -1, 10**7])
def test_a_rate_that_no_microphone_has_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="sample rate"):
        StreamInput().place(160, rate, 0)
