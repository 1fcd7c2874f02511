"""Adaptation to a place: what shifts all voices alike is removed, what people feel is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sounds import PUBLISHED

from emotion_perception.acoustic.adaptation import Adaptation, SpeakerBaseline
from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.acoustic.place import (
    LIMIT,
    ClassStatistics,
    PlaceAdaptation,
    PlaceCalibration,
    PlaceState,
    describe_place,
    load_place,
    save_place,
)
from emotion_perception.emotions import NEUTRAL, SAD
from emotion_perception.inference.cards import load_card

STATISTICS = ClassStatistics(3 * np.eye(8), 0.5 * np.eye(8))
SHIFT = np.array([-2.0, 0, 0, 2.0, 0, 0, 0, 0])  # of a place: neutral sounds sad there


def utterances(frequencies: dict[int, float], n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits without a shift, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(list(frequencies), n, p=list(frequencies.values()))
    return STATISTICS.means[labels] + rng.normal(scale=0.7, size=(n, 8)), labels


EVEN = dict.fromkeys(range(8), 1 / 8)
MOSTLY_NEUTRAL = {0: 0.9, 1: 0.02, 2: 0.02, 3: 0.02, 4: 0.01, 5: 0.01, 6: 0.01, 7: 0.01}


@pytest.mark.parametrize("frequencies", [EVEN, MOSTLY_NEUTRAL], ids=["even", "mostly neutral"])
def test_shift_of_a_place_is_removed_whatever_people_mostly_feel_there(frequencies: dict[int, float]) -> None:
    place = PlaceAdaptation(STATISTICS)
    for logits in utterances(frequencies, 300)[0] + SHIFT:
        place.add(logits)
    tested, labels = utterances(EVEN, 400, seed=1)
    before = ((tested + SHIFT).argmax(1) == labels).mean()
    after = (place.normalise(tested + SHIFT).argmax(1) == labels).mean()
    assert after > before + 0.1 and after > 0.9


def test_a_place_that_is_mostly_neutral_is_not_moved_to_the_mean_of_all_emotions() -> None:
    place = PlaceAdaptation(STATISTICS)
    for logits in utterances(MOSTLY_NEUTRAL, 300)[0]:
        place.add(logits)
    np.testing.assert_allclose(place.shift, 0, atol=0.05)


def test_a_sad_hour_does_not_make_sadness_normal() -> None:
    place = PlaceAdaptation(STATISTICS)
    place.fit(utterances(EVEN, 200)[0])
    for logits in utterances({SAD: 1.0}, 100)[0]:
        place.add(logits)
    assert (place.normalise(utterances({SAD: 1.0}, 50, seed=2)[0]).argmax(1) == SAD).all()


def test_adaptation_starts_slowly_and_is_bounded() -> None:
    place = PlaceAdaptation(STATISTICS)
    heard = STATISTICS.means[NEUTRAL] + SHIFT
    place.add(heard)
    assert np.abs(place.shift).max() < 0.3 * np.abs(SHIFT).max()
    for _ in range(500):
        place.add(STATISTICS.means[NEUTRAL] + 100 * SHIFT)
    assert np.abs(place.shift).max() <= LIMIT


def test_recording_gives_the_same_shift_as_the_stream() -> None:
    logits = utterances(EVEN, 300)[0] + SHIFT
    stream, recording = PlaceAdaptation(STATISTICS), PlaceAdaptation(STATISTICS)
    for row in logits:
        stream.add(row)
    recording.fit(logits)
    np.testing.assert_allclose(stream.shift, recording.shift, atol=0.3)


def test_state_is_saved_as_a_few_numbers_and_read_back(tmp_path: Path) -> None:
    place = PlaceAdaptation(STATISTICS)
    place.fit(utterances(EVEN, 50)[0] + SHIFT)
    path = tmp_path / "places" / "kitchen.json"
    save_place(path, place.state)
    assert path.stat().st_size < 1000
    again = PlaceAdaptation(STATISTICS)
    again.reset(load_place(path))
    np.testing.assert_allclose(again.shift, place.shift, atol=1e-3)
    place.reset()
    assert not place.shift.any() and place.state.utterances == 0


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format": 2}', '{"format": 1, "shift": [1], "frequencies": [1], "utterances": 1, "model": ""}'],
)
def test_a_file_that_is_no_calibration_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "place.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"place\.json"):
        load_place(path)


def test_calibration_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="another voice model"):
        PlaceAdaptation(STATISTICS).reset(PlaceState(model="other"))


def test_network_without_statistics_is_not_adapted() -> None:
    place = PlaceAdaptation(None)
    place.add(np.ones(8))
    place.fit(np.ones((3, 8)))
    assert not place.active and not place.shift.any()


def test_speaker_is_compared_with_the_place() -> None:
    place = PlaceAdaptation(STATISTICS)
    place.fit(utterances(EVEN, 300)[0] + SHIFT)
    speaker = SpeakerBaseline(np.zeros(8), 1.0)
    logits = STATISTICS.means[NEUTRAL] + SHIFT
    speaker.add(place.normalise(logits))
    both = Adaptation(place, speaker).normalise(logits)
    np.testing.assert_allclose(both, speaker.normalise(place.normalise(logits)))


def test_diagnostics_show_the_largest_shift_and_what_calibration_still_needs() -> None:
    place = PlaceAdaptation(STATISTICS)
    place.fit(utterances(MOSTLY_NEUTRAL, 300)[0] + SHIFT)
    calibration = PlaceCalibration(45.0)
    assert not calibration.add(40.0)
    shown = describe_place(place, calibration)
    assert shown["place"] == "learning" and shown["place_speech_needed_s"] == "5"
    assert shown["place_shift"].split()[1] in ("neutral", "sad")
    assert calibration.add(6.0)


def test_published_network_has_statistics_and_is_calibrated_from_a_recording(speech: np.ndarray) -> None:
    assert ClassStatistics.from_card(load_card(PUBLISHED).details.get("class_statistics")) is not None
    perception = AcousticPerception(AcousticConfig(place_adaptation=1.0))
    pause = np.zeros(16_000, np.float32)
    found = perception.calibrate_place(np.concatenate([speech, pause, speech, pause]), 16_000)
    assert found == 2
    assert perception.place.utterances == 2
    assert perception.calibrate_place(pause, 16_000) == 0


def test_a_place_that_is_known_for_good_is_not_changed_by_what_is_heard_later() -> None:
    place = PlaceAdaptation(STATISTICS)
    place.fit(utterances(EVEN, 100)[0] + SHIFT)
    state = place.state
    place.learning = False
    for logits in utterances({SAD: 1.0}, 50)[0]:
        place.add(logits)
    assert place.state == state
