"""Turning points with what each sense showed, reasons of the score, similar conversations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_world import happy

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import ArcSample, EmotionalArc
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import NotStored
from emotion_perception.interaction.records import sample_record, samples_of
from emotion_perception.interaction.summary import summarize
from emotion_perception.interaction.turns import find_turns, most_similar, reasons, resample
from emotion_perception.reports.conversation import summary_fields
from emotion_perception.types import SECOND, EmotionModality, EmotionState, EmotionStatus, Evidence

HAPPY, ANGRY, CALM = (EMOTIONS.index(name) for name in ("happy", "angry", "calm"))


def a_sample(second: float, label: int, voice: int | None = None) -> ArcSample:
    """Face and voice, as fusion_node says it."""
    evidence = [Evidence(EmotionModality.VISUAL, 0.7, 0.0, happy(label=label))]
    if voice is not None:
        evidence.append(Evidence(EmotionModality.ACOUSTIC, 0.3, 0.0, happy(label=voice)))
    time_ns = round(second * SECOND)
    status = EmotionStatus.VISUAL_ONLY if voice is None else EmotionStatus.AUDIO_VISUAL
    state = EmotionState(time_ns, status, "p", "f", "v", happy(label=label), tuple(evidence))
    return ArcSample.from_state(state, time_ns)


def stored(seconds: int = 120) -> dict[str, Any]:
    """The fields of a conversation that is happy, angry for half a minute, and happy again; the voice stays calm."""
    arc = EmotionalArc(0)
    for i in range(seconds):
        arc.add(a_sample(i, ANGRY if 40 <= i < 70 else HAPPY, CALM))
    return summary_fields(summarize(arc.arc(seconds * SECOND), interaction_id="a"))


def test_a_sample_keeps_the_label_of_each_sense():
    assert a_sample(0, HAPPY, ANGRY).sense_labels == (HAPPY, ANGRY, -1)
    assert a_sample(0, HAPPY).sense_labels == (HAPPY, -1, -1)
    silent = Evidence(EmotionModality.ACOUSTIC, 0.0, 9.0, happy(label=ANGRY))
    state = EmotionState(0, EmotionStatus.VISUAL_ONLY, "p", "f", "", happy(), (silent,))
    assert ArcSample.from_state(state, 0).sense_labels == (-1, -1, -1), "a sense without weight says nothing"


def test_the_journal_keeps_it_and_journals_of_earlier_versions_are_read():
    sample = a_sample(1, HAPPY, ANGRY)
    record = json.loads(json.dumps(sample_record(sample)))
    assert next(samples_of(iter([record]))).sense_labels == sample.sense_labels
    for damaged in (None, [1], [1, 2, 99], ["happy", 0, 0], "abc", [True, 0, 0]):
        assert next(samples_of(iter([record | {"sense_labels": damaged}]))).sense_labels == (-1, -1, -1)
    record.pop("sense_labels")
    assert next(samples_of(iter([record]))).has_evidence


def test_the_arc_has_the_longest_label_of_each_sense_in_each_bin():
    arc = EmotionalArc(0, step=2.0)
    for second, voice in ((0, ANGRY), (0.5, CALM), (1.9, None)):
        arc.add(a_sample(second, HAPPY, voice))
    labels = arc.arc(4 * SECOND).sense_labels
    assert labels.tolist() == [[HAPPY, CALM, -1], [HAPPY, -1, -1]]
    assert EmotionalArc(0).arc(0).sense_labels.shape == (0, 3)


def test_a_turn_says_from_what_to_what_and_what_each_sense_showed():
    fields = stored()
    (valley,) = (turn for turn in find_turns(fields["arc"]) if turn.better)
    assert 40 < valley.time < 70 and (valley.before, valley.after) == ("angry", "happy")
    assert valley.senses == {"face": "angry", "voice": "calm"}
    fields["arc"].pop("senses")
    assert all(turn.senses == {} for turn in find_turns(fields["arc"])), "conversations of earlier versions"


def test_senses_that_disagree_are_both_named():
    arc = {
        "step": 1.0,
        "label": ["happy"] * 12 + ["neutral"] * 10,
        "senses": {"face": ["happy"] * 22, "voice": ["angry"] * 22, "words": [None] * 22},
        "turning_points": [{"time": 9.5, "kind": "peak", "valence": 0.5, "change_before": 0.4}],
    }
    (turn,) = find_turns(arc)
    assert (turn.better, turn.before, turn.after) == (False, "happy", "neutral")
    assert turn.senses == {"face": "happy", "voice": "angry"}


def test_the_reasons_are_the_largest_factors_of_each_direction():
    factors = [
        {"name": "happy", "points": 14.6, "text": ""},
        {"name": "end", "points": 6.0, "text": ""},
        {"name": "peak", "points": 5.0, "text": ""},
        {"name": "angry", "points": -3.2, "text": ""},
        {"name": "trend", "points": 0.4, "text": ""},
    ]
    assert reasons({"factors": factors}) == {
        "raised": [{"name": "happy", "points": 15}, {"name": "end", "points": 6}],
        "lowered": [{"name": "angry", "points": 3}],
    }
    assert reasons({"factors": []}) == {"raised": [], "lowered": []}


def entry(name: str, line: list[float | None], label: str | None = "happy") -> dict[str, Any]:
    return {"id": name, "start": 0.0, "duration": 60.0, "score": 50, "label": label, "line": line}


def test_the_most_similar_course_comes_first_and_another_emotion_counts_as_distance():
    rise = [i / 40 for i in range(40)]
    others = [
        entry("self", rise),
        entry("fall", rise[::-1]),
        entry("rise", [value + 0.05 for value in rise]),
        entry("short", rise[::4]),
        entry("angry", rise, "angry"),
        entry("unknown", [None] * 40),
        entry("empty", []),
    ]
    found = most_similar(entry("self", rise), others)
    assert [one["id"] for one in found] == ["short", "rise", "angry", "fall"]
    assert found[1]["distance"] == pytest.approx(0.05) and found[2]["distance"] == pytest.approx(0.15)
    assert most_similar(entry("self", []), others) == []


def test_a_course_is_resampled_to_twenty_points():
    assert resample([1.0]).tolist() == [1.0] * 20
    assert math.isnan(resample([None, 1.0])[0]) and resample([None, 1.0])[-1] == 1.0
    assert np.isnan(resample([])).all()


def test_a_stored_conversation_with_wrong_senses_is_damaged(tmp_path: Path):
    fields = stored()
    (tmp_path / "a.json").write_text(json.dumps(fields))
    assert ConversationStore(tmp_path).read("a")["arc"]["senses"]["voice"][0] == "calm"
    for wrong in ({"face": ["happy"]}, {"nose": []}, {"face": [3] * len(fields["arc"]["label"])}):
        fields["arc"]["senses"] = wrong
        (tmp_path / "a.json").write_text(json.dumps(fields))
        with pytest.raises(NotStored, match="senses"):
            ConversationStore(tmp_path).read("a")
