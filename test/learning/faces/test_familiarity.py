"""The familiarity of pictures to a face network is learnt from foreign ones and travels in the network's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.faces import familiarity
from emotion_perception.learning.faces.export import publish_faces
from emotion_perception.learning.faces.familiarity import (
    FamiliarityFit,
    FamiliarityNet,
    exponents,
    familiarities,
    fit,
    learn_familiarity,
    learn_if_enough,
)
from emotion_perception.learning.faces.familiarity_graph import (
    ACTIVATIONS,
    NetworkReader,
    Readings,
    add_descriptor,
    attach,
)
from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig
from emotion_perception.learning.onnx_files import read_initializers
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.quality import quality_exponent

SMALL = FamiliarityFit(ordinary=400, each=40, components=20, hidden=8, epochs=40)
SEVEN = np.full(7, 1 / 7)


def readings(rng: np.random.Generator, n: int = 600) -> Readings:
    """A network that is right on ordinary faces, and certain of anything on foreign ones, whose descriptor differs."""
    foreign = np.arange(n) % 2 == 1
    labels = rng.integers(0, 7, n)
    answer = np.where(foreign, rng.integers(0, 7, n), labels)
    logits = 6.0 * np.eye(7)[answer]
    descriptors = rng.normal(size=(2, n, 30)).astype(np.float32)
    descriptors[:, foreign, :3] += 3
    return Readings(
        descriptors,
        logits - np.logaddexp.reduce(logits, 1, keepdims=True),
        np.ones(n),
        labels,
        np.where(foreign, "masked", "ordinary"),
    )


@pytest.fixture(scope="module")
def fitted() -> FamiliarityNet:
    return fit(readings(np.random.default_rng(0)), SEVEN, SMALL)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("face") / "net.onnx"
    publish_faces(path, ExpressionNet(ExpressionNetConfig(8, (8, 16), (1, 1), (2, 2))), {})
    return path


def test_ordinary_pictures_are_familiar_and_those_it_is_wrongly_certain_of_are_not(fitted):
    unseen = readings(np.random.default_rng(1))
    ordinary = unseen.kinds == "ordinary"
    found = familiarities(fitted, unseen)
    assert found[ordinary].mean() > 0.7
    assert found[~ordinary].mean() < 0.2


def test_exponents_of_the_fit_are_those_of_the_robot():
    quality = np.linspace(0, 1, 30)
    expected = [quality_exponent(q / familiarity.FULL_QUALITY) for q in quality]
    np.testing.assert_allclose(exponents(torch.from_numpy(quality)).numpy(), expected, atol=1e-6)


def some_net(reader: NetworkReader, crops: np.ndarray) -> tuple[FamiliarityNet, Readings]:
    read = reader.read(crops, np.zeros(len(crops), int), "ordinary")
    torch.manual_seed(1)
    net = FamiliarityNet(np.concatenate(read.descriptors), SMALL)
    torch.nn.init.normal_(net.direct.weight, std=0.3)
    return net.eval(), read


def test_the_file_computes_what_was_fitted_and_its_other_outputs_stay(published, tmp_path):
    crops = np.random.default_rng(2).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    crops = np.array(
        [np.clip(crop * share, 0, 255) for crop, share in zip(crops, np.linspace(0.2, 1, 40), strict=True)]
    )
    crops = crops.astype(np.uint8)
    reader = NetworkReader(published)
    net, read = some_net(reader, crops)
    card = attach(tmp_path / "net.onnx", reader, net, {"mean": {}})
    assert card.outputs["familiarity"] == "familiarity" and load_card(tmp_path / "net.onnx") == card
    before, after = (
        ExpressionClassifier(path, exact=True).estimates(crops) for path in (published, tmp_path / "net.onnx")
    )
    np.testing.assert_allclose(after.familiarity, familiarities(net, read), atol=0.02)
    assert np.ptp(after.familiarity) > 0.05
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-5)
    assert (before.familiarity == 1).all()


def test_a_second_fit_replaces_the_first_and_the_weights_can_be_trained_further(published, tmp_path):
    crops = np.random.default_rng(2).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    once, twice = tmp_path / "once.onnx", tmp_path / "twice.onnx"
    reader = NetworkReader(published)
    net, _ = some_net(reader, crops)
    attach(once, reader, net, {})
    reader = NetworkReader(once)
    attach(twice, reader, net, {})
    assert [o.name for o in onnx.load(twice).graph.output] == [o.name for o in onnx.load(once).graph.output]
    assert len(onnx.load(twice).graph.node) == len(onnx.load(once).graph.node)
    assert read_initializers(twice).keys() == read_initializers(published).keys()


def test_too_few_faces_leave_a_trained_model_as_it_is(archive, published):
    before = published.read_bytes()
    assert learn_if_enough(published, archive) is None
    assert published.read_bytes() == before
    with pytest.raises(ValueError, match="at least 200"):
        learn_familiarity(published, archive)


def test_a_network_without_convolutions_is_refused(published):
    bare = onnx.load(published)
    kept = [node for node in bare.graph.node if node.op_type not in ACTIVATIONS]
    del bare.graph.node[:]
    bare.graph.node.extend(kept)
    with pytest.raises(ModelError, match=r"net\.onnx: no convolutional layers"):
        add_descriptor(bare, published)
