"""Class priors: their names and texts, and their exchange."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from emotion_perception.acoustic.perception import AcousticConfig
from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.emotions import CALM, EMOTIONS, HAPPY, NEUTRAL, VISUAL_EMOTIONS, VISUAL_INDICES
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.inference.cards import load_card
from emotion_perception.priors import BALANCED, PRIORS, UNKNOWN, exchange_prior, parse_prior, prior_name
from emotion_perception.recognition import Recognizer
from emotion_perception.resources import find_model
from emotion_perception.types import EmotionEstimate
from emotion_perception.visual.config import VisualConfig

MINE = "neutral=0.3, calm=0.1, happy=0.2, sad=0.1, angry=0.1, fearful=0.05, disgusted=0.05, surprised=0.1"


@pytest.mark.parametrize("name", PRIORS)
def test_named_prior_is_a_distribution_in_which_every_emotion_can_occur(name: str) -> None:
    prior = parse_prior(f" {name.upper()} ")
    assert prior.shape == (len(EMOTIONS),) and prior.sum() == pytest.approx(1) and prior.min() > 0.005
    assert prior_name(prior) == name


def test_web_has_the_class_frequencies_of_the_face_model() -> None:
    faces = PRIORS["web"][list(VISUAL_INDICES)]
    card = load_card(find_model("expression.onnx"))
    stated = card.prior_of(VISUAL_EMOTIONS)
    np.testing.assert_allclose(faces / faces.sum(), stated, atol=0.012)


def test_eight_numbers_are_a_prior_by_name_or_in_the_order_of_the_vocabulary() -> None:
    by_name = parse_prior(MINE)
    np.testing.assert_array_equal(by_name, parse_prior("0.3,0.1,0.2,0.1,0.1,0.05,0.05,0.1"))
    np.testing.assert_array_equal(by_name, parse_prior([0.3, 0.1, 0.2, 0.1, 0.1, 0.05, 0.05, 0.1]))
    np.testing.assert_array_equal(by_name, parse_prior(MINE.replace("happy", "Joy")))
    assert prior_name(by_name) == "custom"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("usual", "must be balanced, service, web, or 8 numbers"),
        ("", "must be balanced"),
        ("neutral=0.5, happy=0.5", "lacks calm, sad, angry"),
        (MINE + ", joy=0.1", "happy twice"),
        (MINE.replace("sad", "hungry"), "unknown emotion 'hungry'"),
        (MINE.replace("0.3", "much"), "must be balanced"),
        (MINE.replace("0.3", "0.9"), r"must sum to 1, got 1\.6"),
        (MINE.replace("calm=0.1", "calm=0"), r"of calm must be at least 0\.0001, got 0"),
        (MINE.replace("calm=0.1", "calm=-0.1"), "of calm must be at least"),
        (MINE.replace("calm=0.1", "calm=nan"), "of calm must be at least"),
        ("0.5, 0.5", "must have 8 numbers .*, got 2"),
    ],
)
@pytest.mark.parametrize("config", [VisualConfig, AcousticConfig, FusionConfig])
def test_invalid_prior_is_refused_with_its_reason(config: type, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(emotion_prior=text)


def test_exchange_there_and_back_changes_nothing() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(8), 100)
    there = exchange_prior(p, PRIORS["web"], PRIORS["balanced"])
    np.testing.assert_allclose(exchange_prior(there, PRIORS["balanced"], PRIORS["web"]), p, atol=1e-6)


def test_prior_that_is_not_known_counts_as_balanced() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(8))
    np.testing.assert_allclose(exchange_prior(p, UNKNOWN, PRIORS["web"]), exchange_prior(p, BALANCED, PRIORS["web"]))
    assert prior_name(UNKNOWN) == "unknown"


def test_no_evidence_gives_the_prior() -> None:
    flat = EmotionEstimate.from_probabilities(np.ones(8))
    np.testing.assert_allclose(flat.with_prior(PRIORS["service"]).probabilities, PRIORS["service"], atol=1e-6)


def test_estimate_under_another_prior_keeps_evidence_intensities_and_trust() -> None:
    p = np.array([0.5, 0, 0.4, 0, 0, 0.1, 0, 0])
    before = EmotionEstimate.from_probabilities(p, np.full(8, 0.5, np.float32), 0.25, PRIORS["web"])
    after = before.with_prior(BALANCED)
    assert after.probabilities[NEUTRAL] / after.probabilities[HAPPY] == pytest.approx(0.5 / 0.4 * 0.2420 / 0.3594)
    assert after.probabilities[CALM] == 0
    assert after.confidence == pytest.approx(0.5 * after.probabilities.max())
    assert after.intensities is before.intensities and after.prior is BALANCED
    assert before.with_prior(before.prior) is before


def test_every_part_has_the_same_default() -> None:
    assert VisualConfig().emotion_prior == AcousticConfig().emotion_prior == FusionConfig().emotion_prior == "service"


def test_launch_argument_reaches_every_node_that_publishes_estimates() -> None:
    given = {"emotion_prior": "web", "ros4hri": "true", "interaction": "true"}
    found = {node.name: node.parameters.get("emotion_prior") for node in graph_nodes(given)}
    publishers = ("visual_node", "acoustic_node", "fusion_node", "ros4hri_node")
    assert {name for name, prior in found.items() if prior == "web"} == set(publishers)
    assert all("emotion_prior" not in node.parameters for node in graph_nodes({}))
    with pytest.raises(ValueError, match="emotion_prior must be"):
        graph_nodes({"emotion_prior": "usual"})


def test_prior_of_a_file_is_applied_once_whichever_way_it_is_read() -> None:
    """A face, fused: the face, its evidence and the state have the same distribution under each prior."""
    image = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    by_prior = {}
    for prior in ("balanced", "web"):
        recognizer = Recognizer(prior=prior)
        (seen,) = recognizer.faces(image)
        by_prior[prior] = seen.emotion
        fusion = EmotionFusion(FusionConfig(emotion_prior=prior))
        fusion.add_faces(0, [seen])
        np.testing.assert_array_equal(seen.emotion.prior, PRIORS[prior])
        fused = fusion.state(0).emotion
        assert fused.label == seen.emotion.label
        np.testing.assert_array_equal(fused.prior, PRIORS[prior])
    exchanged = by_prior["balanced"].with_prior(PRIORS["web"])
    np.testing.assert_allclose(exchanged.probabilities, by_prior["web"].probabilities, atol=0.04)  # bfloat16 or fp32
