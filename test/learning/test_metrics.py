"""Scores agree with their definitions, with published values and with what can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from emotion_perception.learning import metrics


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


def test_calibration_is_that_of_the_stated_confidence():
    probabilities = np.tile([0.8, 0.2], (10, 1))
    labels = np.array([0] * 5 + [1] * 5)
    assert metrics.calibration_bins(probabilities, labels, np.full(10, 0.5)).expected_error == pytest.approx(0)


def test_temperature_reverses_a_known_scaling():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 4)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((20000, 1)) > true.cumsum(1)).sum(1).clip(0, 3)
    scale, _ = metrics.fit_temperature(logits * 3, labels)
    assert scale == pytest.approx(1 / 3, rel=0.05)


def test_mcnemar_is_the_exact_test_minus_half_the_probability_of_the_observed_case():
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


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_interval_of_the_accuracy_is_wilsons_as_published(correct: int, n: int, low: float, high: float):
    """Newcombe (1998), table I, method 3."""
    probabilities = np.eye(2)[(np.arange(n) < correct).astype(int)]
    ends = metrics.intervals(probabilities, np.ones(n, dtype=int), resamples=10)
    assert ends.accuracy == pytest.approx((low, high), abs=5e-5)


def _draw(rng: np.random.Generator, n: int, sureness: float) -> tuple[np.ndarray, np.ndarray]:
    """Cases whose labels follow softmax(logits); the classifier says softmax(sureness * logits)."""
    logits = rng.normal(size=(n, 5)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((n, 1)) > true.cumsum(1)).sum(1).clip(0, 4)
    said = np.exp(sureness * logits)
    return said / said.sum(1, keepdims=True), labels


@pytest.mark.parametrize("sureness", [1.0, 1.4])
def test_intervals_have_their_nominal_coverage(sureness):
    rng = np.random.default_rng(5)
    everything = metrics.score(*_draw(rng, 300_000, sureness))
    found = {"accuracy": 0, "uar": 0, "macro_f1": 0, "ece": 0}
    for seed in range(60):
        ends = metrics.intervals(*_draw(rng, 500, sureness), resamples=200, seed=seed)
        for name in found:
            low, high = getattr(ends, name)
            assert 0 <= low <= high <= 1
            found[name] += low <= getattr(everything, name) <= high
    assert min(found.values()) >= 50  # 57 are expected of 95 %; fewer than 50 by chance once in a thousand


@pytest.mark.parametrize("n", [120, 1000])
def test_calibration_error_by_chance_is_that_of_correct_confidences(n: int):
    rng = np.random.default_rng(3)
    found = [metrics.score(*_draw(rng, n, 1.0)) for _ in range(300)]
    assert np.mean([s.ece_by_chance for s in found]) == pytest.approx(np.mean([s.ece for s in found]), rel=0.06)
    too_sure = [metrics.score(*_draw(rng, n, 2.0)) for _ in range(50)]
    assert np.mean([s.ece for s in too_sure]) > 1.5 * np.mean([s.ece_by_chance for s in too_sure])


def test_intervals_narrow_with_the_number_of_cases_and_repeat():
    rng = np.random.default_rng(2)
    few, many = (metrics.intervals(*_draw(rng, n, 1.4)) for n in (200, 5000))
    for name in ("accuracy", "uar", "macro_f1", "ece"):
        assert np.ptp(getattr(many, name)) < 0.4 * np.ptp(getattr(few, name))
    cases = _draw(rng, 300, 1.0)
    assert metrics.intervals(*cases) == metrics.intervals(*cases)
    assert metrics.intervals(*cases) != metrics.intervals(*cases, seed=1)


def test_many_cases_are_resampled_in_blocks():
    ends = metrics.intervals(*_draw(np.random.default_rng(1), 60_000, 1.0), resamples=150)  # 66 at once
    low, high = ends.macro_f1
    assert 0.006 < high - low < 0.011  # four standard errors of a share of 60,000


def test_intervals_are_those_of_the_stated_confidence():
    probabilities, labels = np.tile([0.8, 0.2], (400, 1)), np.array([0] * 200 + [1] * 200)
    assert metrics.intervals(probabilities, labels).ece == pytest.approx((0.25, 0.35), abs=0.02)
    assert metrics.intervals(probabilities, labels, np.full(400, 0.5)).ece[0] == 0


def test_one_case_has_the_widest_interval():
    ends = metrics.intervals(np.eye(8)[[2]], np.array([2]))
    assert ends.accuracy == pytest.approx((0.2065, 1.0), abs=1e-3)
    assert ends.uar == (1.0, 1.0)


def test_abstention_on_doubtful_cases_raises_accuracy():
    confidence = np.array([0.9, 0.5, 0.7, 0.7, 0.3])
    correct = np.array([True, False, True, False, False])
    answered, accuracy = metrics.risk_coverage(correct, confidence)
    assert answered.tolist() == [0.2, 0.6, 0.8, 1.0]  # equally sure ones together
    assert accuracy == pytest.approx([1, 2 / 3, 0.5, 0.4])


def test_no_cases_are_refused():
    with pytest.raises(ValueError, match="nothing to score"):
        metrics.score(np.empty((0, 8)), np.empty(0, dtype=int))


def test_label_ceiling_is_the_accuracy_of_the_ideal_classifier():
    assert metrics.label_ceiling(np.eye(3)[[0, 1, 2, 2]] * 10) == (1.0, 1.0)
    votes = np.repeat([[0.6, 0.4], [0.4, 0.6]], 5000, axis=0) * 10
    # Of a panel of ten drawn from six to four, 63.3 % have more than five for the larger share, and 20.1 % just five,
    # which go to the class that comes first: right for the one half of the cases.
    assert metrics.label_ceiling(votes)[0] == pytest.approx(0.633 + 0.201 / 2, abs=0.003)
    assert metrics.label_ceiling(votes) == metrics.label_ceiling(votes)
    assert metrics.label_ceiling(votes / 10, seed=1)[0] == pytest.approx(0.6, abs=0.003)  # one vote each
