"""What a language model may know: what is stated, of whom, how sure, how old."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence

import pytest
from machine import slowness

from emotion_perception.interaction.context import Context, ContextConfig, ContextTracker
from emotion_perception.types import (
    SECOND,
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Engagement,
    Evidence,
    PersonState,
)

NOW = 1_000 * SECOND


def estimate(valence: float, confidence: float = 0.7) -> EmotionEstimate:
    """Happy or sad with a chosen valence."""
    unknown = EmotionEstimate.unknown()
    probabilities = unknown.probabilities.copy()
    probabilities[2 if valence > 0 else 3] += 0.1
    return EmotionEstimate(probabilities, unknown.intensities, confidence, valence, 0.1)


def state(
    face_id: str = "f1",
    valence: float = 0.5,
    at_ns: int = NOW,
    confidence: float = 0.7,
    person_id: str = "",
    voice_age: float | None = None,
) -> EmotionState:
    emotion = estimate(valence, confidence)
    evidence = () if voice_age is None else (Evidence(EmotionModality.ACOUSTIC, 1.0, voice_age, emotion),)
    return EmotionState(at_ns, EmotionStatus.VISUAL_ONLY, person_id, face_id, "", emotion, evidence)


def attention(
    face_id: str = "f1", engagement: Engagement = Engagement.ENGAGED, speaking: float = math.nan
) -> PersonState:
    return PersonState(NOW, "", face_id, engagement=engagement, distance=1.5, speaking=speaking)


def context_of(*states: EmotionState, people: Sequence[PersonState] = (), **positions: float) -> Context:
    tracker = ContextTracker()
    tracker.add_states(states)
    tracker.add_faces(NOW, positions)
    tracker.add_persons(people)
    return tracker.context(NOW)


def followed(before: float, after: float, seconds: float = 20.0, **more: float) -> ContextTracker:
    """Somebody whose valence changes half-way through the last ``seconds``."""
    tracker = ContextTracker()
    for step in range(int(seconds * 10) + 1):
        at = NOW - round((seconds - step / 10) * SECOND)
        tracker.add_states([state(valence=before if step < seconds * 5 else after, at_ns=at, **more)])
    return tracker


def test_person_who_grows_unhappier_is_described_in_one_sentence() -> None:
    tracker = followed(0.3, -0.4)
    tracker.add_states([state(valence=-0.4), state("f2", 0.6)])
    tracker.add_faces(NOW, {"f2": 500.0, "f1": 100.0})
    tracker.add_persons([attention(speaking=0.9)])
    person = tracker.context(NOW).people[0]
    assert person.sentence == (
        "The person on the left, engaged, has grown unhappier over 20 s "
        "(now sad, valence 0.3 → −0.4, confidence 0.7), speaking."
    )


def test_context_is_compact_json_with_a_sentence_and_an_age_for_every_person() -> None:
    text = context_of(state("f1"), state("f2", -0.5), f1=10.0, f2=90.0).to_json()
    assert ": " not in text.split('"note"')[0].replace("sentence", "") and "\n" not in text
    found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert [person["partner"] for person in found["people"]] == [True, False]
    assert [person["emotion"] for person in found["people"]] == ["happy", "sad"]
    assert all(person["age"] == 0.0 and person["sentence"] for person in found["people"])
    assert "hint" in found["note"]


def test_emotion_below_the_confidence_is_not_stated() -> None:
    person = context_of(state(confidence=0.49)).people[0]
    assert person.emotion == "" and person.sentence == "The person in view, emotion unclear."
    assert not {"emotion", "confidence", "valence", "arousal", "change"} & person.as_dict().keys()


def test_without_attention_a_recent_voice_means_speaking() -> None:
    assert context_of(state(voice_age=0.4)).people[0].speaking
    assert not context_of(state(voice_age=1.4)).people[0].speaking
    assert not context_of(state()).people[0].speaking


def test_published_attention_decides_who_speaks() -> None:
    assert not context_of(state(voice_age=0.1), people=[attention(speaking=0.1)]).people[0].speaking


def test_person_without_emotion_but_with_attention_is_part_of_it() -> None:
    (person,) = context_of(people=[attention("f7", Engagement.ENGAGING)]).people
    assert person.sentence == "The person in view, engaging, emotion unclear."


def test_unknown_engagement_is_left_out() -> None:
    (person,) = context_of(state(), people=[attention(engagement=Engagement.UNKNOWN)]).people
    assert person.engagement == "" and "engagement" not in person.as_dict()


def test_old_evidence_is_dropped_and_ageing_evidence_states_its_age() -> None:
    tracker = ContextTracker()
    tracker.add_states([state()])
    assert tracker.context(NOW + SECOND * 3 // 2).people[0].sentence.endswith("(confidence 0.7, 1.5 s ago).")
    assert tracker.context(NOW + 3 * SECOND).people == ()


def test_nobody_is_an_empty_list() -> None:
    nobody = EmotionState(NOW, EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ())
    assert context_of(nobody).as_dict()["people"] == []


def test_voice_without_a_face_is_not_placed() -> None:
    heard = state("", voice_age=0.1)
    assert context_of(heard, f1=10.0, f2=90.0).people[0].place == "the person who is heard but not seen"


@pytest.mark.parametrize(
    ("count", "places"),
    [(1, ["in view"]), (2, ["on the left", "on the right"]), (4, ["first", "second", "third", "fourth"])],
)
def test_people_are_named_from_left_to_right(count: int, places: list[str]) -> None:
    faces = {f"f{number}": 100.0 * number for number in range(count)}
    people = context_of(*(state(face_id) for face_id in faces), **faces).people
    assert all(place in person.place for place, person in zip(places, people, strict=True))


@pytest.mark.parametrize(("before", "after"), [(0.3, 0.1), (-0.2, 0.0)])
def test_small_change_is_not_reported(before: float, after: float) -> None:
    assert followed(before, after).context(NOW).people[0].change is None


def test_change_needs_half_the_window() -> None:
    assert followed(0.4, -0.4, seconds=9.0).context(NOW).people[0].change is None
    change = followed(0.4, -0.4, seconds=12.0).context(NOW).people[0].change
    assert change is not None and change.words == "has grown unhappier"


def test_change_of_somebody_else_is_not_reported() -> None:
    tracker = followed(0.4, 0.4)
    for step in range(20):
        tracker.add_states([state("f2", -0.4, NOW - (20 - step) * SECOND // 10)])
    tracker.add_states([state("f2", -0.4)])
    assert tracker.context(NOW).people[0].change is None


def test_uncertain_moments_do_not_make_a_change() -> None:
    assert followed(0.4, -0.4, confidence=0.3).context(NOW).people[0].change is None


def test_clock_that_was_set_back_starts_over() -> None:
    tracker = followed(0.4, -0.4)
    earlier = NOW - 500 * SECOND
    tracker.add_states([state(at_ns=earlier)])
    assert tracker.context(earlier).people[0].change is None


def test_memory_is_bounded() -> None:
    tracker = ContextTracker()
    for number in range(1000):
        tracker.add_states([state(f"f{number}")])
    assert len(tracker._valences) <= 20


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="context_min_confidence"):
        ContextConfig(context_min_confidence=1.5)


def test_a_step_for_ten_people_takes_a_fifth_of_a_millisecond() -> None:
    tracker = ContextTracker()
    faces = [f"f{number}" for number in range(10)]
    people = [attention(face_id) for face_id in faces]
    for step in range(200):
        at = NOW - (200 - step) * SECOND // 10
        tracker.add_states([state(face_id, math.sin(step / 30), at) for face_id in faces])
    states = [state(face_id) for face_id in faces]
    positions = {face_id: 50.0 * number for number, face_id in enumerate(faces)}
    began, times = time.monotonic(), []
    for _ in range(300):
        start = time.process_time()
        tracker.add_states(states)
        tracker.add_faces(NOW, positions)
        tracker.add_persons(people)
        tracker.context(NOW)
        times.append(time.process_time() - start)
    assert sorted(times)[150] < 0.0002 * slowness(began), f"median {1e6 * sorted(times)[150]:.0f} us"
