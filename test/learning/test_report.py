"""The report of an evaluation holds what was found, as text, images and JSON."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from sklearn.metrics import classification_report

from emotion_perception.emotions import ANGRY, CALM, EMOTIONS, FEARFUL, HAPPY, SAD
from emotion_perception.learning import metrics, report
from emotion_perception.learning.report import write_report

FILES = {
    "report.json", "classification_report.txt", "confusion_matrix.png", "roc.png", "calibration.png",
    "risk_coverage.png",
}  # fmt: skip


@pytest.fixture
def cases() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, 400)
    logits = rng.normal(size=(400, 8)) + 2 * np.eye(8)[labels]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels


def _read(folder) -> dict:
    return json.loads((folder / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def test_report_writes_every_file_and_valid_json(tmp_path, cases):
    probabilities, labels = cases
    summary = write_report(tmp_path / "out", "test", probabilities, labels, extra={"seconds": 1.0})
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == FILES
    found = _read(tmp_path / "out")
    assert found["accuracy"] == summary["accuracy"] and np.sum(found["confusion_matrix"]) == 400
    assert {"n", "accuracy", "accuracy_closed", "uar", "macro_f1", "auc", "ece", "seconds"} <= set(summary)


def test_report_of_a_single_label_has_no_auc_but_is_json(tmp_path):
    summary = write_report(tmp_path, "one label", np.eye(8)[[2, 2, 3]] * 0.9 + 0.0125, np.array([2, 2, 2]))
    assert summary["auc"] is None
    assert _read(tmp_path)["auc"] is None


def test_scores_come_with_their_intervals(tmp_path, cases):
    summary = write_report(tmp_path, "test", *cases)
    for name, ends in vars(metrics.intervals(*cases)).items():
        assert summary[f"{name}_interval"] == list(ends)
        assert ends[0] <= summary[name] <= ends[1]
    low, high = summary["accuracy_interval"]
    text = (tmp_path / "classification_report.txt").read_text()
    assert f"accuracy  {summary['accuracy']:.4f}".rstrip("0") in text
    assert f"({low:.4f} to {high:.4f}, 95 % confidence)" in text
    assert "_interval" not in text


def test_each_class_has_its_row(tmp_path, cases):
    probabilities, labels = cases
    write_report(tmp_path, "test", probabilities, labels)
    expected = classification_report(
        labels, probabilities.argmax(1), labels=range(8), target_names=EMOTIONS, output_dict=True, zero_division=0
    )
    rows = {row["label"]: row for row in _read(tmp_path)["per_class"]}
    assert set(EMOTIONS[:6]) <= set(rows)
    for name, row in rows.items():
        assert row["support"] == expected[name]["support"]
        assert row["f1"] == pytest.approx(expected[name]["f1-score"])
        if row["support"]:
            assert (row["precision"], row["recall"]) == pytest.approx(
                (expected[name]["precision"], expected[name]["recall"])
            )


def test_cost_of_an_error_is_that_of_the_matrix(tmp_path):
    probabilities, labels = np.eye(8)[[HAPPY, SAD, SAD, HAPPY]], np.array([HAPPY, HAPPY, SAD, SAD])
    cost = np.zeros((8, 8))
    cost[HAPPY, SAD], cost[SAD, HAPPY] = 1.0, 10.0
    summary = write_report(tmp_path, "test", probabilities, labels, cost=cost)
    assert summary["expected_cost"] == pytest.approx(11 / 4)
    assert {row["label"]: row["cost"] for row in _read(tmp_path)["per_class"]} == {"happy": 0.5, "sad": 5.0}


def test_default_cost_of_an_error_is_the_distance_on_the_circumplex():
    assert np.allclose(np.diag(report.COST), 0) and np.allclose(report.COST, report.COST.T)
    assert report.COST[ANGRY, FEARFUL] < 0.2 < report.COST[ANGRY, HAPPY]
    assert report.COST[CALM, ANGRY] == pytest.approx(np.hypot(1.0, 1.3))


def test_accuracy_of_the_most_confident_four_fifths(tmp_path):
    labels = np.full(10, HAPPY)
    probabilities = np.full((10, 8), 0.01)
    probabilities[:8, HAPPY] = np.linspace(0.9, 0.6, 8)
    probabilities[8:, SAD] = 0.3  # unsure, and wrong
    summary = write_report(tmp_path, "test", probabilities, labels)
    assert summary["accuracy"] == 0.8 and summary["accuracy_surest_80"] == 1.0


@pytest.mark.parametrize("colour", [False, True])
def test_the_most_confident_errors_are_drawn(tmp_path, monkeypatch, cases, colour):
    probabilities, labels = cases
    drawn = {}

    def watch(path, title, images, captions):
        drawn.update(images=images, captions=captions)
        draw(path, title, images, captions)

    draw = report._draw_errors
    monkeypatch.setattr(report, "_draw_errors", watch)
    # Of different sizes, as photographs are; the grey value identifies them.
    images = [np.full((40 + i % 5, 48, 3)[: 3 if colour else 2], i % 256, np.uint8) for i in range(400)]
    write_report(tmp_path, "test", probabilities, labels, images=images)
    sheet = cv2.imread(str(tmp_path / "mistakes.png"))
    assert min(sheet.shape[:2]) > 300 and sheet.std() > 10
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    surest = max(wrong, key=lambda i: probabilities[i].max())
    assert len(drawn["captions"]) == report.SHOWN_ERRORS <= len(wrong)
    assert (drawn["images"][0] == surest % 256).all()
    said = probabilities[surest]
    assert drawn["captions"][0] == f"{EMOTIONS[labels[surest]]}\nseen as {EMOTIONS[said.argmax()]} {said.max():.2f}"


def test_report_without_errors_removes_the_error_sheet_of_an_earlier_one(tmp_path):
    labels = np.array([HAPPY, SAD])
    faces = np.zeros((2, 48, 48), np.uint8)
    write_report(tmp_path, "bad", np.eye(8)[[SAD, SAD]], labels, images=faces)
    assert (tmp_path / "mistakes.png").exists()
    write_report(tmp_path, "good", np.eye(8)[labels], labels, images=faces)
    assert {p.name for p in tmp_path.iterdir()} == FILES


def test_most_frequent_confusions_are_shown_as_mean_faces_next_to_correct_ones():
    labels = np.array([HAPPY] * 5 + [SAD] * 4)
    predicted = np.array([SAD, SAD, SAD, HAPPY, HAPPY, HAPPY, SAD, SAD, SAD])
    faces = np.array([10, 20, 60, 200, 100, 90, 1, 2, 3], np.uint8)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    found = report.mean_faces(list(faces), labels, predicted)
    said = [(caption, face.mean()) for caption, face in found]
    assert said == [
        ("happy\nseen as sad (3)", 30),
        ("happy\nseen as happy (2)", 150),
        ("sad\nseen as happy (1)", 90),
        ("sad\nseen as sad (3)", 2),
    ]


def test_number_of_images_must_be_that_of_labels(tmp_path, cases):
    with pytest.raises(ValueError, match="there are 3 images for 400 labels"):
        write_report(tmp_path / "out", "test", *cases, images=np.zeros((3, 48, 48), np.uint8))
    assert not (tmp_path / "out").exists()
