"""Voice probabilities become utterances and decisions; one probability is 32 ms."""

from __future__ import annotations

from itertools import pairwise

import pytest

from emotion_perception.acoustic.segmentation import Segment, UtteranceSegmenter

CHUNK = 512
SECOND = 16_000


def run(segmenter: UtteranceSegmenter, *parts: tuple[float, float]) -> list[tuple[int, Segment]]:
    """Feed (probability, seconds) parts; (samples heard, segment) of each decision."""
    found, position = [], 0
    for probability, seconds in parts:
        for _ in range(round(seconds * SECOND / CHUNK)):
            position += CHUNK
            segment = segmenter.update(probability)
            if segment is not None:
                found.append((position, segment))
    return found


def test_an_utterance_reaches_from_just_before_to_just_after_its_speech() -> None:
    found = run(UtteranceSegmenter(), (0, 1.024), (0.9, 0.448), (0, 1.024))
    roll = round(0.15 * SECOND)
    assert [s for _, s in found] == [Segment(32 * CHUNK - roll, 46 * CHUNK + roll, final=True)]


def test_decisions_come_every_half_second_of_speech_and_at_the_end() -> None:
    found = run(UtteranceSegmenter(), (0.9, 2.2), (0, 1))
    running = [position for position, segment in found if not segment.final]
    assert len(running) == 4
    assert all(0.5 <= (b - a) / SECOND < 0.55 for a, b in pairwise(running))
    assert [segment.final for _, segment in found] == [False] * 4 + [True]


def test_a_running_decision_is_about_what_was_heard_until_now() -> None:
    for position, segment in run(UtteranceSegmenter(), (0.9, 2)):
        assert segment.stop == position
        assert segment.start == 0


def test_a_cough_is_no_utterance() -> None:
    assert run(UtteranceSegmenter(), (0, 1), (0.9, 0.352), (0, 2)) == []


def test_a_pause_shorter_than_the_hang_over_does_not_split_an_utterance() -> None:
    found = run(UtteranceSegmenter(hang_over=0.4), (0.9, 0.5), (0, 0.32), (0.9, 0.5), (0, 1))
    assert sum(segment.final for _, segment in found) == 1


def test_a_pause_longer_than_the_hang_over_splits_it_without_overlap() -> None:
    finals = [s for _, s in run(UtteranceSegmenter(), (0.9, 0.6), (0, 0.5), (0.9, 0.6), (0, 1)) if s.final]
    assert len(finals) == 2
    assert finals[0].stop <= finals[1].start


def test_doubtful_sound_goes_on_with_speech_but_does_not_begin_it() -> None:
    assert run(UtteranceSegmenter(), (0.4, 3)) == []
    found = run(UtteranceSegmenter(), (0.9, 0.2), (0.4, 0.5), (0, 1))
    assert found[-1][1].stop > 0.7 * SECOND


def test_endless_speech_is_cut_at_the_longest_utterance_and_nothing_lost_between() -> None:
    finals = [s for _, s in run(UtteranceSegmenter(max_utterance=8), (0.9, 30)) if s.final]
    assert len(finals) == 3
    assert all(7.9 * SECOND < s.stop - s.start <= 8.1 * SECOND for s in finals)
    assert all(a.stop == b.start for a, b in pairwise(finals))


def test_the_end_of_the_stream_ends_the_utterance() -> None:
    segmenter = UtteranceSegmenter()
    run(segmenter, (0.9, 1))
    last = segmenter.flush(available=16_000)
    assert last is not None
    assert last.final
    assert last.stop <= 16_000
    assert segmenter.flush(available=16_000) is None


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 0}, {"min_speech": 9}, {"hang_over": 0.1}, {"interval": 0}],
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        UtteranceSegmenter(**wrong)
