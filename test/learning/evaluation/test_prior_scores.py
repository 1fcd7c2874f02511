"""Scores under the data's own prior and under the balanced one."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, HAPPY, NEUTRAL
from emotion_perception.learning.evaluation.prior_scores import own_prior, prior_scores
from emotion_perception.priors import BALANCED, PRIORS, exchange_prior


def calibrated_cases(n: int, shares: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Likelihood ratios of a sound classifier, and labels with these class frequencies."""
    rng = np.random.default_rng(0)
    labels = rng.choice(list(shares), n, p=list(shares.values()))
    z = rng.normal(size=(n, 8))
    z[np.arange(n), labels] += 1.2
    p = np.exp(1.2 * z)
    return p / p.sum(1, keepdims=True), labels


SHARES = {NEUTRAL: 0.7, HAPPY: 0.25, ANGRY: 0.05}
UNEVEN = dict(enumerate([0.5, 0.2, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03]))


def test_scores_do_not_depend_on_the_prior_that_the_outputs_contain() -> None:
    ratios, labels = calibrated_cases(2000, SHARES)
    found = []
    for prior in (BALANCED, PRIORS["web"]):
        p = exchange_prior(ratios, BALANCED, prior)
        found.append(prior_scores(p, labels, p.max(1), prior))
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_own_prior_is_the_more_accurate_and_calibrated_balanced_has_the_better_mean_recall() -> None:
    ratios, labels = calibrated_cases(40_000, UNEVEN)
    scores = prior_scores(ratios, labels, ratios.max(1), BALANCED)
    assert scores["accuracy_own_prior"] > scores["accuracy_balanced_prior"] + 0.1
    assert scores["uar_balanced_prior"] > scores["uar_own_prior"] + 0.05
    assert scores["ece_own_prior"] < 0.02


def test_calibration_under_the_balanced_prior_counts_all_classes_alike() -> None:
    """With all eight emotions, unevenly frequent, a sound classifier is calibrated under the balanced prior."""
    ratios, labels = calibrated_cases(40_000, UNEVEN)
    scores = prior_scores(ratios, labels, ratios.max(1), BALANCED)
    assert scores["ece_balanced_prior"] < 0.02 and scores["ece_own_prior"] < 0.02


def test_own_prior_has_the_frequencies_of_the_labels_and_excludes_none_entirely() -> None:
    prior = own_prior(np.array([HAPPY, HAPPY, ANGRY, NEUTRAL]))
    assert prior[HAPPY] == pytest.approx(0.5, abs=0.001) and 0 < prior[1] < 0.001
    assert prior.sum() == pytest.approx(1)
