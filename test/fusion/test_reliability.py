"""What a model's card says of its word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from emotion_perception.emotions import CALM, EMOTIONS, HAPPY, NEUTRAL, SAD
from emotion_perception.errors import ModelError
from emotion_perception.fusion.reliability import KEY, Reliability
from emotion_perception.inference.runtime import read_card
from emotion_perception.types import EmotionEstimate

TOLD = {"factors": [1.0] * 8, "quality": [0.0, 1.0], "weight": [0.2, 1.0], "unknown": 0.5}


def test_card_without_reliability_gives_none():
    assert Reliability.from_card({"labels": []}, "m") is None


def test_weight_is_straight_between_the_qualities_and_constant_beyond():
    told = Reliability.from_card({KEY: TOLD}, "m")
    assert told is not None
    assert [told.at(quality) for quality in (-1, 0, 0.5, 1, 3)] == pytest.approx([0.2, 0.2, 0.6, 1.0, 1.0])
    assert told.at(float("nan")) == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"factors": [1.0] * 7}, "factors"),
        ({"factors": [1.0] * 7 + [0.0]}, "factors"),
        ({"quality": [1.0, 0.0]}, "quality must rise"),
        ({"weight": [1.0]}, "a weight each"),
        ({"weight": [1.0, float("nan")]}, "weights must be"),
        ({"unknown": None}, "TypeError"),
    ],
)
def test_nonsense_in_a_card_names_the_model_and_what_is_wrong(change: dict, words: str):
    with pytest.raises(ModelError, match=rf"my\.safetensors.*{words}"):
        Reliability.from_card({KEY: TOLD | change}, "my.safetensors")


def test_reading_keeps_a_distribution_and_the_doubt_about_it():
    factors = (1.0, 1.0, 0.5, 2.0, 1.0, 1.0, 1.0, 1.0)
    p = np.array([0.1, 0.0, 0.5, 0.4, 0, 0, 0, 0], np.float32)
    read = Reliability(factors).read(EmotionEstimate.from_probabilities(p, confidence=0.25))
    assert read.label == SAD
    assert read.probabilities.sum() == pytest.approx(1)
    assert read.confidence == pytest.approx(read.probabilities.max() / 2)


def test_equal_factors_change_nothing():
    estimate = EmotionEstimate.from_probabilities(np.ones(8))
    assert Reliability().read(estimate) is estimate


# --- how it is measured


@pytest.fixture(scope="module")
def learning():
    return pytest.importorskip(
        "emotion_perception.learning.fusion.reliability", reason="needs torch and its companions"
    )


def answers(learning, labels: np.ndarray, p: np.ndarray, quality: float = 1.0):
    n = len(labels)
    return learning.Answers(
        p.astype(np.float32), labels, np.full(n, quality), np.ones(n), np.ones(n, bool), np.arange(n) % 2
    )


def says_happy_too_often(learning, rng: np.random.Generator, n: int = 4000):
    """A face model whose evidence is sound but that leans to happy by a factor of four."""
    classes = [e for e in range(8) if e != CALM]
    labels = rng.choice(classes, n)
    z = rng.normal(size=(n, 8))
    z[np.arange(n), labels] += 1.5
    likelihood = np.exp(1.5 * z)
    likelihood[:, CALM] = 0
    likelihood[:, HAPPY] *= 4
    return answers(learning, labels, likelihood / likelihood.sum(1, keepdims=True))


def test_factors_undo_a_lean_of_the_model(learning):
    cases = says_happy_too_often(learning, np.random.default_rng(0))
    factors = learning.learnt_factors(cases, 1.0)
    others = [factors[e] for e in range(8) if e not in (CALM, HAPPY)]
    assert factors[HAPPY] / np.mean(others) == pytest.approx(0.25, rel=0.15)
    assert factors[CALM] == factors[NEUTRAL]
    plain = (cases.probabilities.argmax(1) == cases.labels).mean()
    assert ((cases.probabilities * factors).argmax(1) == cases.labels).mean() > plain + 0.01


def test_few_cases_hardly_move_the_factors(learning):
    few = says_happy_too_often(learning, np.random.default_rng(0), 20)
    factors = learning.class_factors(few, 1.0, 20.0)
    assert 0.6 < factors[HAPPY] / factors[SAD] < 1.1


def test_what_is_one_speakers_alone_is_not_taken_for_the_models(learning):
    """One of two leans to happy, the other away from it: nothing is learnt from either."""
    rng = np.random.default_rng(3)
    one, other = (says_happy_too_often(learning, rng, 60) for _ in range(2))
    p = other.probabilities.copy()
    p[:, HAPPY] /= 16
    other = replace(other, probabilities=p / p.sum(1, keepdims=True), group=np.ones(60, int))
    both = learning.joined([replace(one, group=np.zeros(60, int)), other])
    np.testing.assert_allclose(learning.learnt_factors(both, 1.0), 1.0, atol=0.15)


def test_an_overconfident_model_gets_a_weight_under_one_where_it_is(learning):
    rng = np.random.default_rng(1)

    def sense(n: int, honest: float, quality: float, with_calm: bool):
        labels = rng.choice([e for e in range(8) if with_calm or e != CALM], n)
        z = rng.normal(size=(n, 8))
        z[np.arange(n), labels] += 1.0
        p = np.exp(z * honest)
        return answers(learning, labels, p / p.sum(1, keepdims=True), quality)

    faces = learning.joined([sense(3000, 1.0, 0.8, False), sense(3000, 3.0, 0.05, False)])
    voices = sense(3000, 1.0, 15.0, True)
    by_quality, by_snr, losses = learning.pooling_weights(faces, voices, np.ones(8), np.ones(8))
    assert by_quality[-1] == pytest.approx(1.0, abs=0.2)
    assert by_quality[0] == pytest.approx(1 / 3, abs=0.12)
    assert by_snr[-2] == pytest.approx(1.0, abs=0.2)
    assert losses["log_loss"] < losses["log_loss_at_weight_1"]


def test_synthetic_pairs_show_one_emotion_and_neutral_faces_go_with_calm_voices_too(learning):
    rng = np.random.default_rng(2)
    faces, voices = np.array([NEUTRAL] * 200 + [SAD] * 50), np.repeat(np.arange(len(EMOTIONS)), 5)
    shown, told = learning.synthetic_pairs(faces, voices, rng)
    assert sorted(shown) == list(range(250))
    assert set(voices[told[:200]]) == {NEUTRAL, CALM}
    assert set(voices[told[200:]]) == {SAD}
    shown, told = learning.synthetic_pairs(faces, voices, rng, each=10)
    assert np.bincount(voices[told], minlength=8)[:4].tolist() == [10, 10, 0, 10]


def test_card_is_rewritten_and_the_weights_stay(learning, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    tensors = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.ones(3, np.float32)}
    save_file(tensors, path, metadata={"card": '{"labels": ["x"]}'})
    learning.put_in_card(path, TOLD)
    assert read_card(path) == {"labels": ["x"], KEY: TOLD}
    kept = load_file(path)
    assert {name: value.dtype for name, value in kept.items()} == {name: v.dtype for name, v in tensors.items()}
    np.testing.assert_array_equal(kept["a"], tensors["a"])
    assert list(tmp_path.iterdir()) == [path]
