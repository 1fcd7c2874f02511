"""Stated deviations of valence and arousal against errors."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.learning.evaluation.affect_scores import affect_scores


def test_deviations_of_calibrated_probabilities_match_the_errors() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(8, 0.4), 4000)
    labels = np.array([rng.choice(8, p=row) for row in p])
    scores = affect_scores(p, labels)
    for name in ("valence", "arousal"):
        # The spread within one emotion is stated, but the points of labels do not have it.
        assert scores[f"{name}_deviation"] ** 2 == pytest.approx(scores[f"{name}_rmse"] ** 2 + 0.1**2, rel=0.05)
        assert 0.6 < scores[f"{name}_within_deviation"] < 0.85


def test_deviations_of_overconfident_probabilities_are_below_the_errors() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(8, 0.4), 2000)
    labels = np.array([rng.choice(8, p=row) for row in p])
    overconfident = p**4 / (p**4).sum(axis=1, keepdims=True)
    scores = affect_scores(overconfident, labels)
    assert scores["valence_deviation"] < 0.8 * scores["valence_rmse"]
