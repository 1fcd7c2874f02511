"""Scores agree with scikit-learn's and with what can be worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from emotion_perception.learning import metrics
from emotion_perception.learning.report import write_report


@pytest.fixture
def cases():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, 400)
    logits = rng.normal(size=(400, 8)) + 2 * np.eye(8)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probabilities.round(2) + 1e-6, labels


def test_scores_agree_with_scikit_learn(cases):
    probabilities, labels = cases
    predicted = probabilities.argmax(1)
    found = metrics.score(probabilities, labels)
    present = np.unique(labels)
    assert found.n == 400
    assert found.accuracy == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found.uar == pytest.approx(sk.recall_score(labels, predicted, labels=present, average="macro"))
    assert found.macro_f1 == pytest.approx(sk.f1_score(labels, predicted, labels=present, average="macro"))
    expected = np.mean([sk.roc_auc_score(labels == c, probabilities[:, c]) for c in present])
    assert found.auc == pytest.approx(expected)


def test_closed_accuracy_lets_only_present_labels_compete():
    probabilities = np.array([[0.1, 0.5, 0.4, 0, 0, 0, 0, 0], [0.6, 0.0, 0.4, 0, 0, 0, 0, 0]])
    found = metrics.score(probabilities, np.array([2, 0]))
    assert found.accuracy == 0.5
    assert found.accuracy_closed == 1.0


def test_calibration_error_of_a_known_case():
    probabilities = np.tile([0.8, 0.2], (10, 1))
    labels = np.array([0] * 5 + [1] * 5)
    assert metrics.calibration_bins(probabilities, labels).expected_error == pytest.approx(0.3)


def test_stated_confidence_is_what_is_calibrated():
    probabilities = np.tile([0.8, 0.2], (10, 1))
    labels = np.array([0] * 5 + [1] * 5)
    assert metrics.calibration_bins(probabilities, labels, np.full(10, 0.5)).expected_error == pytest.approx(0)


def test_temperature_undoes_a_known_scaling():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 4)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((20000, 1)) > true.cumsum(1)).sum(1).clip(0, 3)
    scale, _ = metrics.fit_temperature(logits * 3, labels)
    assert scale == pytest.approx(1 / 3, rel=0.05)


def test_mcnemar_is_the_exact_test_less_half_of_both_outer_steps():
    a, b = np.array([1] * 9 + [0] * 3 + [1] * 20), np.array([0] * 9 + [1] * 3 + [1] * 20)
    exact = binomtest(3, 12, 0.5).pvalue
    assert metrics.mcnemar(a, b) == pytest.approx(exact - 220 / 2**12)  # 12 over 3 ways to see 3 of 12
    assert metrics.mcnemar(b, a) == metrics.mcnemar(a, b)


def test_mcnemar_of_equals_is_one():
    a = np.array([True, False, True, True])
    assert metrics.mcnemar(a, a) == pytest.approx(1)
    assert metrics.mcnemar(a, a[[1, 0, 2, 3]]) == pytest.approx(1)  # one each


def test_mcnemar_keeps_its_level():
    rng = np.random.default_rng(0)
    trials = rng.random((2000, 2, 60)) < 0.7
    below = np.mean([metrics.mcnemar(a, b) < 0.05 for a, b in trials])
    assert 0.02 < below < 0.065


def test_mcnemar_needs_the_same_cases():
    with pytest.raises(ValueError, match=r"same cases, got shapes \(3,\) and \(4,\)"):
        metrics.mcnemar(np.ones(3), np.ones(4))


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="nothing to score"):
        metrics.score(np.empty((0, 8)), np.empty(0, dtype=int))


def test_report_writes_every_file_and_valid_json(tmp_path, cases):
    probabilities, labels = cases
    summary = write_report(tmp_path / "out", "test", probabilities, labels, extra={"seconds": 1.0})
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        "report.json", "classification_report.txt", "confusion_matrix.png", "roc.png", "calibration.png",
    }  # fmt: skip
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["accuracy"] == summary["accuracy"] and np.sum(report["confusion_matrix"]) == 400
    assert {"n", "accuracy", "accuracy_closed", "uar", "macro_f1", "auc", "ece", "seconds"} <= set(summary)


def test_report_of_a_single_label_has_no_auc_but_is_json(tmp_path):
    summary = write_report(tmp_path, "one label", np.eye(8)[[2, 2, 3]] * 0.9 + 0.0125, np.array([2, 2, 2]))
    assert summary["auc"] is None
    json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
