"""The attention tracker on odd input: ids that change, stamps that jump, NaN, nobody."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from emotion_perception.attention.config import AttentionConfig
from emotion_perception.attention.distance import DistanceTrack
from emotion_perception.attention.geometry import Camera, Vector, distance_from_size
from emotion_perception.attention.speaking import SpeakingNow
from emotion_perception.attention.tracker import MAX_PERSONS, AttentionTracker
from emotion_perception.types import (
    SECOND,
    Box,
    DistanceZone,
    EmotionEstimate,
    Engagement,
    FaceLandmarks,
    FaceObservation,
    VoiceObservation,
)

CAMERA = Camera(500.0, 500.0, 320.0, 240.0)
LOOKS = FaceLandmarks(0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1)
AWAY = FaceLandmarks(0.9, 0.6, 0.0, 0.0, 0.8, 0.0, 0.1, 0.1)


def face(name: str = "f", landmarks: FaceLandmarks | None = LOOKS, side: float = 100.0) -> FaceObservation:
    box = Box(270, 190, side, side)
    return FaceObservation(name, box, 0.9, 0.8, EmotionEstimate.unknown(), landmarks=landmarks)


def watch(
    tracker: AttentionTracker, seconds: float, *faces: FaceObservation, start: float = 0.0, **more: object
) -> float:
    """Show faces at 10 Hz; the time after them, s."""
    for tenth in range(round(seconds * 10)):
        tracker.add_faces(round((start + tenth / 10) * SECOND), faces, **more)  # type: ignore[arg-type]
    return start + seconds


def level(tracker: AttentionTracker, seconds: float, name: str = "f") -> Engagement:
    return tracker.levels(round((seconds - 0.1) * SECOND))[name]


def test_a_person_whose_face_gets_another_id_stays_engaged() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face("f1"), person_ids={"f1": "anna"})
    assert level(tracker, end, "f1") is Engagement.ENGAGED
    end = watch(tracker, 0.3, face("f2", None), start=end + 0.4, person_ids={"f2": "anna"})
    (state,) = tracker.states(round((end - 0.1) * SECOND))
    assert (state.person_id, state.face_id, state.engagement) == ("anna", "f2", Engagement.ENGAGED)


def test_a_face_keeps_its_history_when_its_person_becomes_known() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face("f1"))
    for person in ("person_1", "anna", ""):
        end = watch(tracker, 0.2, face("f1"), start=end, person_ids={"f1": person})
        (state,) = tracker.states(round((end - 0.1) * SECOND))
        assert (state.person_id, state.engagement) == (person, Engagement.ENGAGED)


def test_two_faces_of_one_person_id_are_two_people() -> None:
    tracker = AttentionTracker()
    ids = {"f1": "anna", "f2": "anna"}
    end = watch(tracker, 3, face("f1"), face("f2", AWAY), person_ids=ids)
    states = {state.face_id: state for state in tracker.states(round((end - 0.1) * SECOND))}
    assert set(states) == {"f1", "f2"}
    assert states["f2"].engagement is not Engagement.ENGAGED


def test_a_stranger_with_a_new_id_starts_unknown() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face("f1"))
    tracker.add_faces(round(end * SECOND), [face("f2")])
    assert tracker.levels(round(end * SECOND))["f2"] is Engagement.UNKNOWN


def test_stamps_that_jump_back_start_everything_over() -> None:
    tracker = AttentionTracker()
    watch(tracker, 3, face(), start=100.0)
    assert tracker.levels(round(102.9 * SECOND))["f"] is Engagement.ENGAGED
    tracker.add_faces(5 * SECOND, [face()])
    assert tracker.clock_jumps == 1
    assert tracker.levels(5 * SECOND)["f"] is Engagement.UNKNOWN
    assert level(tracker, watch(tracker, 3, face(), start=5.1)) is Engagement.ENGAGED


def test_stamps_that_jump_ahead_forget_who_was_there() -> None:
    tracker = AttentionTracker()
    watch(tracker, 3, face())
    tracker.add_faces(1000 * SECOND, [face()])
    assert tracker.levels(1000 * SECOND)["f"] is not Engagement.ENGAGED
    (state,) = tracker.states(1000 * SECOND)
    assert state.looking_duration < 1.0


def test_images_out_of_order_are_ignored() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face())
    for _ in range(3):
        tracker.add_faces(round((end - 0.3) * SECOND), [face("f", AWAY), face("late")])
    (state,) = tracker.states(round((end - 0.1) * SECOND))
    assert state.face_id == "f" and state.looking > 0.9


def test_without_landmarks_nothing_is_known_and_the_size_decides() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face(landmarks=None))
    (state,) = tracker.states(round((end - 0.1) * SECOND))
    assert state.engagement is Engagement.UNKNOWN
    assert math.isnan(state.looking) and math.isnan(state.attention) and state.looking_duration == 0


def test_landmarks_that_stop_make_an_engaged_person_unknown() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face())
    end = watch(tracker, 2, face(landmarks=None), start=end)
    assert level(tracker, end) is Engagement.ENGAGED
    end = watch(tracker, 5, face(landmarks=FaceLandmarks(0.1)), start=end)
    assert level(tracker, end) is Engagement.UNKNOWN


def test_nan_and_infinity_in_any_input_are_survived() -> None:
    nan = math.nan
    bad_box = replace(face("g"), box=Box(nan, nan, nan, nan))
    bad_marks = face("h", FaceLandmarks(nan, nan, nan, nan, nan, nan, nan, nan))
    tracker = AttentionTracker()
    tracker.set_camera(CAMERA)
    speaking = {"f": nan, "g": math.inf, "h": -1.0}
    depths = {"f": nan, "g": math.inf, "h": -3.0}
    end = watch(tracker, 3, face("f"), bad_box, bad_marks, speaking=speaking, depths=depths)
    states = {state.face_id: state for state in tracker.states(round((end - 0.1) * SECOND))}
    assert states["f"].engagement is Engagement.ENGAGED
    assert math.isnan(states["g"].distance) and math.isnan(states["f"].speaking)
    assert states["h"].engagement is Engagement.UNKNOWN


def test_who_left_is_not_listed_and_a_short_gap_is_bridged() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 3, face())
    end = watch(tracker, 0.3, start=end)
    assert len(tracker.states(round(end * SECOND))) == 1
    end = watch(tracker, 1.0, start=end)
    assert tracker.states(round(end * SECOND)) == ()
    assert tracker.states(round((end + 9) * SECOND)) == ()


def test_the_partner_is_first_and_then_the_largest_face() -> None:
    tracker = AttentionTracker()
    end = watch(tracker, 1, face("a", side=50), face("b", side=90), face("c", side=70))
    states = tracker.states(round((end - 0.1) * SECOND), partner="a")
    assert [state.face_id for state in states] == ["a", "b", "c"]
    assert [state.is_partner for state in states] == [True, False, False]


def test_a_speaker_who_glances_away_stays_engaged_but_not_one_who_talks_to_somebody_else() -> None:
    aside = FaceLandmarks(0.9, 0.3, 0.0, 0.0, 0.5, 0.0, 0.1, 0.1)
    for landmarks, wanted in ((aside, Engagement.ENGAGED), (AWAY, Engagement.DISENGAGED)):
        tracker = AttentionTracker()
        end = watch(tracker, 3, face())
        end = watch(tracker, 6, face(landmarks=landmarks), start=end, speaking={"f": 0.9})
        assert level(tracker, end) is wanted


def test_memory_is_bounded() -> None:
    tracker = AttentionTracker()
    for image in range(50):
        tracker.add_faces(image * SECOND // 10, [face(f"f{image}_{number}") for number in range(100)])
    assert len(tracker._persons) <= MAX_PERSONS


def test_a_step_for_five_people_takes_less_than_a_fifth_of_a_millisecond() -> None:
    tracker = AttentionTracker()
    tracker.set_camera(CAMERA)
    tracker.set_robot_head(Vector(0.3, 0.1, 0.0))
    people = [face(f"f{number}", LOOKS if number == 0 else None) for number in range(5)]
    speaking = {f"f{number}": 0.2 for number in range(5)}
    took = []
    for image in range(600):
        began = time.thread_time()
        tracker.add_faces(image * SECOND // 25, people, {}, speaking)
        took.append(time.thread_time() - began)
    assert np.mean(took[100:]) < 0.0002


@pytest.mark.parametrize(("metres", "zone"), [(0.8, "PERSONAL"), (2.0, "SOCIAL"), (5.0, "PUBLIC"), (25.0, "UNKNOWN")])
def test_zones(metres: float, zone: str) -> None:
    track = DistanceTrack()
    track.add(0, metres)
    assert track.zone is DistanceZone[zone]


def test_a_zone_does_not_flicker_at_its_limit() -> None:
    track = DistanceTrack()
    zones = []
    for tenth in range(60):
        track.add(tenth * SECOND // 10, 1.17 + 0.05 * (-1) ** tenth)
        zones.append(track.zone)
    assert len(set(zones[5:])) == 1


def test_speed_ignores_wrong_distances() -> None:
    track = DistanceTrack()
    for tenth in range(20):
        metres = 4 - 0.08 * tenth
        track.add(tenth * SECOND // 10, metres * 2 if tenth % 6 == 3 else metres)
    assert track.approach_speed == pytest.approx(0.8, abs=0.1)


def test_distance_from_size_is_unknown_where_the_face_is_cut_off() -> None:
    assert distance_from_size(Box(270, 190, 100, 100), CAMERA, 0.2) == pytest.approx(1.0, rel=0.01)
    assert math.isnan(distance_from_size(Box(270, 0, 100, 60), CAMERA, 0.2))
    assert math.isnan(distance_from_size(Box(270, 420, 100, 60), CAMERA, 0.2))
    assert math.isnan(distance_from_size(Box(270, 200, 100, 0), CAMERA, 0.2))


def decision(seconds: float, final: bool, voice_id: str = "v") -> VoiceObservation:
    return VoiceObservation(round(seconds * SECOND), 0.5, voice_id, 20.0, False, final, EmotionEstimate.unknown())


def test_speaking_lasts_as_long_as_the_utterance() -> None:
    speaking = SpeakingNow()
    assert not speaking.heard
    posterior = {"v": {"a": 0.7, "b": 0.2, "": 0.1}}
    speaking.add(decision(10.0, False))
    assert speaking.heard
    assert speaking.probabilities(posterior, round(10.5 * SECOND)) == pytest.approx({"a": 0.7, "b": 0.2, "": 0.1})
    assert speaking.probabilities(posterior, 12 * SECOND) == {}
    speaking.add(decision(10.6, True))
    assert speaking.probabilities(posterior, round(10.7 * SECOND)) == {}


@pytest.mark.parametrize("wrong", [{"looking_angle": 0.0}, {"gaze_hold_s": math.nan}, {"engage_after_s": 0.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AttentionConfig(**wrong)
