"""Scores by group of people: who is compared, over what, and how sure that is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, FEARFUL, HAPPY, SAD
from emotion_perception.learning.evaluation.groups import (
    People,
    people_of_speech,
    plot_groups,
    read_people,
    score_groups,
)
from emotion_perception.learning.voices.corpora import SpeechSplit

LABELS = np.tile([HAPPY, SAD, ANGRY, FEARFUL], 10)


def people(groups: list[str], cases_each: int = 4) -> People:
    """One person per entry of ``groups`` with so many cases."""
    persons = np.repeat([f"p{number}" for number in range(len(groups))], cases_each)
    return People(persons, {"sex": np.repeat(groups, cases_each)})


def answers(labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Outputs ``(N, 8)`` that name the label where ``right``, and happy or sad otherwise."""
    return np.eye(8)[np.where(right, labels, np.where(labels == HAPPY, SAD, HAPPY))]


def test_gap_is_the_difference_of_the_best_and_the_worst_group() -> None:
    who = people(["female"] * 5 + ["male"] * 5)
    right = np.concatenate([np.ones(20, bool), np.arange(20) % 4 < 2])  # of the men, two of four emotions
    result = score_groups(answers(LABELS, right), LABELS, who, "sex")
    assert result["groups"]["female"]["uar"] == 1.0 and result["groups"]["male"]["uar"] == 0.5
    gap = result["gap"]["uar"]
    assert (gap["best"], gap["worst"], gap["difference"]) == ("female", "male", 0.5)
    assert gap["interval"] == [0.5, 0.5], "all people of a group are alike"


def test_interval_is_over_people_and_not_over_cases() -> None:
    who = people(["female"] * 6 + ["male"] * 6, 100)
    labels = np.tile([HAPPY, SAD], 600)
    right = np.repeat([True, False] * 6, 100)  # every other person is always right, the others never
    result = score_groups(answers(labels, right), labels, who, "sex")
    low, high = result["groups"]["female"]["accuracy_interval"]
    assert low < 0.2 and high > 0.8, "600 independent cases would give 0.46 to 0.54"


def test_group_of_few_people_has_no_interval() -> None:
    who = people(["female"] * 5 + ["male"] * 4, 4)
    labels = LABELS[:36]
    result = score_groups(answers(labels, np.arange(36) < 34), labels, who, "sex")
    assert result["gap"]["uar"]["worst"] == "male"
    assert result["groups"]["male"]["uar_interval"] is None
    assert result["gap"]["uar"]["interval"] is None
    assert result["groups"]["female"]["uar_interval"] is not None


def test_group_of_few_people_is_not_the_worst_where_two_larger_ones_are_compared() -> None:
    who = people(["a"] * 5 + ["b"] * 5 + ["c"], 4)
    labels = np.append(LABELS, LABELS[:4])
    right = np.arange(44) < 38  # c is never right, and b is wrong twice
    gap = score_groups(answers(labels, right), labels, who, "sex")["gap"]["accuracy"]
    assert (gap["best"], gap["worst"]) == ("a", "b") and gap["interval"] is not None


def test_uar_compares_only_emotions_that_every_group_has() -> None:
    who = people(["female", "male"], 4)
    labels = np.array([HAPPY, SAD, HAPPY, SAD, HAPPY, SAD, ANGRY, ANGRY])
    right = labels != ANGRY
    result = score_groups(answers(labels, right), labels, who, "sex")
    assert result["labels_compared"] == ["happy", "sad"]
    assert result["gap"]["uar"]["difference"] == 0.0
    assert result["gap"]["accuracy"]["difference"] == 0.5


def test_cases_without_group_are_counted_and_left_out() -> None:
    who = people(["female", "male", ""], 4)
    labels = LABELS[:12]
    result = score_groups(np.eye(8)[labels], labels, who, "sex")
    assert result["unknown"] == 4 and set(result["groups"]) == {"female", "male"}


def test_one_group_or_an_unknown_field_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="fewer than two groups"):
        score_groups(np.eye(8)[LABELS[:4]], LABELS[:4], people(["female"]), "sex")
    with pytest.raises(ValueError, match="the data have sex"):
        score_groups(np.eye(8)[LABELS[:4]], LABELS[:4], people(["female"]), "height")


def test_speakers_have_the_sex_and_age_band_that_the_corpus_states() -> None:
    split = SpeechSplit(
        "tess",
        (Path("a"), Path("b"), Path("c")),
        np.array([HAPPY, SAD, SAD]),
        np.array(["tess/OAF", "tess/YAF", "tess/X"]),
        np.full(3, np.nan, np.float32),
        np.array([1.0, 0.0, np.nan], np.float32),
        np.array([64.0, 26.0, np.nan], np.float32),
    )
    who = people_of_speech(split)
    assert list(who.fields["sex"]) == ["female", "male", ""]
    assert list(who.fields["age"]) == ["60 and over", "under 30", ""]


def test_people_of_images_are_found_by_the_beginning_of_the_file_name(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("face_id,face_age,face_sex\nX001,24,female\nX002,,male\n")
    files = [
        tmp_path / "happy" / "002_08.jpg",
        tmp_path / "neutral" / "001_03.jpg",
        tmp_path / "neutral" / "003_03.jpg",
    ]
    who = read_people(table, files)
    assert list(who.persons) == ["002", "001", "003"]
    assert list(who.fields["sex"]) == ["male", "female", ""]
    assert list(who.fields["age"]) == ["", "under 30", ""]


@pytest.mark.parametrize("text", ["", "id\n1\n", "id,sex\n001,male,extra\n", "id,sex\n777,male\n"])
def test_table_that_describes_nobody_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "people.csv"
    table.write_text(text)
    with pytest.raises(ValueError):
        read_people(table, [tmp_path / "001_03.jpg"])


def test_gap_is_drawn(tmp_path: Path) -> None:
    who = people(["female"] * 5 + ["male"] * 5)
    result = score_groups(np.eye(8)[LABELS], LABELS, who, "sex")
    plot_groups(tmp_path / "by_sex.png", "a model", "sex", result)
    image = cv2.imread(str(tmp_path / "by_sex.png"))
    assert image.std() > 5 and {path.name for path in tmp_path.iterdir()} == {"by_sex.png"}
