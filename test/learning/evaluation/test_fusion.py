"""The evaluation of the fusion, on made-up model outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emotion_perception.emotions import CALM, NEUTRAL
from emotion_perception.priors import PRIORS

evaluate_fusion = pytest.importorskip("emotion_perception.learning.evaluation.fusion", reason="needs torch and more")
fusion_rules = pytest.importorskip("emotion_perception.learning.evaluation.fusion_rules")
outputs = pytest.importorskip("emotion_perception.learning.fusion.outputs")


def sense(rng: np.random.Generator, labels: np.ndarray, strength: float, calm: bool):
    """Calibrated outputs of a model for these labels; a face shows calm as neutral."""
    z = rng.normal(size=(len(labels), 8))
    z[np.arange(len(labels)), labels if calm else np.where(labels == CALM, NEUTRAL, labels)] += strength
    p = np.exp(strength * z)
    if not calm:
        p[:, CALM] = 0
    p = (p / p.sum(1, keepdims=True)).astype(np.float32)
    n = len(labels)
    return outputs.ModelOutputs(p, labels, np.ones(n), np.full(n, 2.0), np.ones(n, bool), np.arange(n) % 2)


@pytest.fixture
def pooling(tmp_path: Path):
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(b"")  # only the card is read
    bare.with_suffix(".yaml").write_text("model: bare\nlabels: [happy, sad]\n")
    return fusion_rules.Pooling(bare, bare)


def test_two_independent_senses_are_better_than_either_and_mcnemar_sees_it(pooling):
    rng = np.random.default_rng(0)
    labels = rng.integers(8, size=400)
    outcomes = fusion_rules.all_outcomes(pooling, sense(rng, labels, 1.8, False), sense(rng, labels, 1.8, True))
    scores = {name: outcome.scores(labels) for name, outcome in outcomes.items()}
    assert evaluate_fusion._gain(scores, "accuracy") > 0.05
    p_values = evaluate_fusion._mcnemar(outcomes, labels)
    assert max(p_values["visual"], p_values["acoustic"]) < 0.001
    assert set(p_values) == {"visual", "acoustic", "mean", "product", "maximum"}


def test_voice_that_was_not_found_is_no_evidence(pooling):
    rng = np.random.default_rng(1)
    labels = rng.integers(8, size=50)
    faces, voices = sense(rng, labels, 1.5, False), sense(rng, labels, 1.5, True)
    silent = evaluate_fusion._without(voices, np.ones(50, bool))
    np.testing.assert_array_equal(pooling(faces, silent).probabilities, pooling(faces, None).probabilities)
    nothing = pooling(None, silent)
    assert (nothing.confidence == 0).all()
    np.testing.assert_allclose(nothing.probabilities, 1 / 8)


def test_simple_rules_divide_neutral_of_a_face_between_neutral_and_calm():
    labels = np.array([CALM])
    p = np.zeros((1, 8), np.float32)
    p[0, NEUTRAL] = 1
    face = outputs.ModelOutputs(p, labels, np.ones(1), np.zeros(1), np.ones(1, bool), np.zeros(1, int))
    voice = sense(np.random.default_rng(2), labels, 6.0, True)
    for name, outcome in fusion_rules.simple_rules(face, voice, PRIORS["balanced"]).items():
        assert outcome.probabilities.sum() == pytest.approx(1)
        assert outcome.probabilities[0].argmax() == CALM, name


def test_interval_accounts_for_the_number_of_voices():
    """A hundred pairs with one voice count as one voice."""
    rng = np.random.default_rng(3)
    spoken = np.repeat(np.arange(20), 100)
    low, high = evaluate_fusion._interval(spoken % 2 == 0, spoken, 20, rng)
    assert low < 0.35 and high > 0.65
