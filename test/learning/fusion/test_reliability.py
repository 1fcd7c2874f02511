"""How the reliability of the models is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emotion_perception.emotions import CALM, EMOTIONS, HAPPY, NEUTRAL, SAD
from emotion_perception.errors import ModelError
from emotion_perception.fusion.reliability import load_reliabilities

learning = pytest.importorskip("emotion_perception.learning.fusion.reliability", reason="needs torch and more")
outputs = pytest.importorskip("emotion_perception.learning.fusion.outputs")

ENTRY = {"factors": dict.fromkeys(EMOTIONS, 1.0), "weights": {0.0: 0.2, 1.0: 1.0}, "unknown_weight": 0.5}


def made_up(labels: np.ndarray, p: np.ndarray, quality: float = 1.0):
    n = len(labels)
    return outputs.ModelOutputs(
        p.astype(np.float32), labels, np.full(n, quality), np.ones(n), np.ones(n, bool), np.arange(n) % 2
    )


def says_happy_too_often(rng: np.random.Generator, n: int = 4000):
    """A face model whose evidence is sound but that leans to happy by a factor of four."""
    classes = [e for e in range(8) if e != CALM]
    labels = rng.choice(classes, n)
    z = rng.normal(size=(n, 8))
    z[np.arange(n), labels] += 1.5
    likelihood = np.exp(1.5 * z)
    likelihood[:, CALM] = 0
    likelihood[:, HAPPY] *= 4
    return made_up(labels, likelihood / likelihood.sum(1, keepdims=True))


def test_factors_remove_a_bias_of_the_model():
    cases = says_happy_too_often(np.random.default_rng(0))
    factors = learning.learned_factors(cases)
    others = [factors[e] for e in range(8) if e not in (CALM, HAPPY)]
    assert factors[HAPPY] / np.mean(others) == pytest.approx(0.25, rel=0.15)
    assert factors[CALM] == factors[NEUTRAL]
    plain = (cases.probabilities.argmax(1) == cases.labels).mean()
    assert ((cases.probabilities * factors).argmax(1) == cases.labels).mean() > plain + 0.01


def test_few_cases_hardly_change_the_factors():
    few = says_happy_too_often(np.random.default_rng(0), 20)
    factors = learning.class_factors(few, 20.0)
    assert 0.6 < factors[HAPPY] / factors[SAD] < 1.1


def test_bias_of_one_speaker_alone_is_not_learned():
    """One of two leans to happy, the other away from it: nothing is learnt from either."""
    rng = np.random.default_rng(3)
    one, other = (says_happy_too_often(rng, 60) for _ in range(2))
    p = other.probabilities.copy()
    p[:, HAPPY] /= 16
    other = replace(other, probabilities=p / p.sum(1, keepdims=True), group=np.ones(60, int))
    both = outputs.concatenate([replace(one, group=np.zeros(60, int)), other])
    np.testing.assert_allclose(learning.learned_factors(both), 1.0, atol=0.15)


def test_overconfident_model_gets_a_weight_below_one_at_that_quality():
    rng = np.random.default_rng(1)

    def sense(n: int, honest: float, quality: float, with_calm: bool):
        labels = rng.choice([e for e in range(8) if with_calm or e != CALM], n)
        z = rng.normal(size=(n, 8))
        z[np.arange(n), labels] += 1.0
        p = np.exp(z * honest)
        return made_up(labels, p / p.sum(1, keepdims=True), quality)

    faces = outputs.concatenate([sense(3000, 1.0, 0.8, False), sense(3000, 3.0, 0.05, False)])
    voices = sense(3000, 1.0, 15.0, True)
    by_quality, by_snr, losses = learning.pooling_weights(faces, voices, np.ones(8), np.ones(8))
    assert by_quality[-1] == pytest.approx(1.0, abs=0.2)
    assert by_quality[0] == pytest.approx(1 / 3, abs=0.12)
    assert by_snr[-2] == pytest.approx(1.0, abs=0.2)
    assert losses["log_loss"] < losses["log_loss_at_weight_1"]


def test_synthetic_pairs_show_one_emotion_and_neutral_faces_go_with_calm_voices_too():
    rng = np.random.default_rng(2)
    faces, voices = np.array([NEUTRAL] * 200 + [SAD] * 50), np.repeat(np.arange(len(EMOTIONS)), 5)
    shown, heard = outputs.synthetic_pairs(faces, voices, rng)
    assert sorted(shown) == list(range(250))
    assert set(voices[heard[:200]]) == {NEUTRAL, CALM}
    assert set(voices[heard[200:]]) == {SAD}
    shown, heard = outputs.synthetic_pairs(faces, voices, rng, each=10)
    assert np.bincount(voices[heard], minlength=8)[:4].tolist() == [10, 10, 0, 10]


def test_fusion_file_keeps_the_entries_of_other_models(tmp_path: Path):
    path = tmp_path / "new" / "fusion.yaml"
    learning.write_fusion_file(path, {"a": ENTRY, "b": ENTRY})
    learning.write_fusion_file(path, {"b": ENTRY | {"unknown_weight": 0.9}})
    assert {name: r.unknown_weight for name, r in load_reliabilities(path).items()} == {"a": 0.5, "b": 0.9}
    assert path.read_text().startswith("# How fusion uses")
    assert list(path.parent.iterdir()) == [path]


def test_file_that_is_not_a_fusion_file_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "notes.yaml"
    path.write_text("mine: 1")
    with pytest.raises(ModelError, match=r"notes\.yaml"):
        learning.write_fusion_file(path, {"a": ENTRY})
    assert path.read_text() == "mine: 1"
