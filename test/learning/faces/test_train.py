"""The trainings' building blocks: configuration, schedule, augmentation, resuming."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emotion_perception.emotions import VISUAL_EMOTIONS, VISUAL_INDICES
from emotion_perception.errors import ModelError
from emotion_perception.learning.common import (
    load_checkpoint,
    one_cycle,
    save_checkpoint,
)
from emotion_perception.learning.config import load_config
from emotion_perception.learning.faces import labelled, teachers
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.backbone import FACE_ENCODER
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig
from emotion_perception.learning.onnx_files import read_initializers, read_network
from emotion_perception.media.formats import IMAGE_SUFFIXES

SMALL = train_visual.VisualTraining(epochs=2, batch=16, net=ExpressionNetConfig(16, (16, 16, 16, 16), (1, 1, 1, 1)))


def test_ferplus_reads_votes_in_the_visual_order(archive):
    split = load_ferplus(archive, "Training")
    assert split.faces.shape == (64, 48, 48)
    assert (split.majority[:2] == -1).all()
    assert set(split.majority[2:]) == {1, 2}  # happy and sad among the seven
    assert (split.majority[2:] == split.fer2013[2:]).all()
    assert np.allclose(split.distribution.sum(1), 1)


def test_ferplus_names_the_splits_there_are(archive):
    with pytest.raises(ValueError, match="unknown split 'test'; FER\\+ has Training"):
        load_ferplus(archive, "test")


def test_evaluation_leaves_out_what_has_no_label(archive):
    crowd = labelled.load_ferplus_faces(archive, "Training", "ferplus")
    original = labelled.load_ferplus_faces(archive, "Training", "fer2013")
    assert len(crowd.faces) == 62 and len(original.faces) == 64
    assert set(crowd.labels) <= set(VISUAL_INDICES)


def test_training_killed_after_an_epoch_resumes_to_the_same_weights(archive, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    train_visual.train(archive, tmp_path / "whole.onnx", SMALL, tmp_path / "whole.ckpt")

    def save_then_die(path, state):
        save_checkpoint(path, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_visual, "save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train_visual.train(archive, tmp_path / "resumed.onnx", SMALL, tmp_path / "resumed.ckpt")
    monkeypatch.setattr(train_visual, "save_checkpoint", save_checkpoint)
    assert load_checkpoint(tmp_path / "resumed.ckpt")["epoch"] == 1
    train_visual.train(archive, tmp_path / "resumed.onnx", SMALL, tmp_path / "resumed.ckpt")
    whole, resumed = read_initializers(tmp_path / "whole.onnx"), read_initializers(tmp_path / "resumed.onnx")
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_published_weights_load_back_with_their_card(archive, tmp_path):
    train_visual.train(archive, tmp_path / "net.onnx", SMALL, tmp_path / "net.ckpt")
    net = ExpressionNet(SMALL.net)
    weights, card = read_network(tmp_path / "net.onnx")
    weights = {name: torch.from_numpy(value) for name, value in weights.items()}
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    assert card["calibration"]["ferplus_scale"] > 0 and card["calibration"]["fer2013_scale"] > 0
    assert card["training"]["net"]["widths"] == list(SMALL.net.widths)


def test_training_begins_from_given_weights(archive, tmp_path):
    train_visual.train(archive, tmp_path / "first.onnx", SMALL, tmp_path / "first.ckpt")
    none = train_visual.VisualTraining(**{**SMALL.__dict__, "epochs": 0})
    train_visual.train(archive, tmp_path / "b.onnx", none, tmp_path / "b.ckpt", tmp_path / "first.onnx")
    first, begun = read_initializers(tmp_path / "first.onnx"), read_initializers(tmp_path / "b.onnx")
    heads = ("ferplus.bias", "fer2013.bias")  # the prior was taken off and, newly calibrated, added again
    assert all(np.array_equal(first[name], begun[name]) for name in first if name not in heads)
    assert all(np.allclose(first[name], begun[name], atol=0.05) for name in heads)


def test_a_head_learns_likelihoods_and_is_published_with_the_prior(archive, tmp_path):
    config = replace(SMALL, epochs=6, learning_rate=0.1, augment=False)
    card = train_visual.train(archive, tmp_path / "net.onnx", config, tmp_path / "c")
    split, net = load_ferplus(archive, "PublicTest"), teachers.load_network(tmp_path / "net.onnx")
    frequencies = train_visual.class_frequencies(split)
    published = train_visual.predict(net, split.faces)[0]
    train_visual.fold_priors(net, (-frequencies[0], -frequencies[1]), card["calibration"])
    likelihoods = train_visual.predict(net, split.faces)[0]
    scale = card["calibration"]["ferplus_scale"]
    assert np.allclose(scale * (published - likelihoods), frequencies[0].numpy(), atol=0.02)
    # The prior of the card is that of the logits.
    prior = np.array([card["prior"][name] for name in VISUAL_EMOTIONS])
    known = prior > 0
    share = np.exp(frequencies[0].numpy()[:7])[known]
    assert np.allclose(share / share.sum(), prior[known], atol=0.02)


def test_weights_of_another_network_are_refused(archive, tmp_path):
    train_visual.train(archive, tmp_path / "first.onnx", SMALL, tmp_path / "first.ckpt")
    with pytest.raises(ModelError, match=r"first\.onnx"):
        train_visual.train(
            archive,
            tmp_path / "b.onnx",
            replace(SMALL, net=replace(SMALL.net, stem=8)),
            tmp_path / "b.ckpt",
            tmp_path / "first.onnx",
        )


def test_both_optimizers_learn_and_another_is_refused(archive, tmp_path):
    for optimizer, rate in (("sgd", 0.1), ("adamw", 0.03)):
        config = replace(SMALL, epochs=8, optimizer=optimizer, learning_rate=rate, augment=False)
        card = train_visual.train(archive, tmp_path / f"{optimizer}.onnx", config, tmp_path / optimizer)
        assert card["validation"]["ferplus8"] > 0.8  # 0.63 of the faces are of one kind
    with pytest.raises(ValueError, match="optimizer must be sgd or adamw, got 'lion'"):
        train_visual.train(archive, tmp_path / "x.onnx", replace(SMALL, optimizer="lion"), tmp_path / "x")


def test_schedule_rises_then_falls():
    factors = [one_cycle(step, 100) for step in range(100)]
    assert max(factors) == pytest.approx(1, abs=0.02)
    assert factors.index(max(factors)) in range(13, 18)
    assert factors[0] < 0.1 and factors[-1] < 0.01


def test_training_computes_in_the_measured_precision(archive, tmp_path, used_precisions):
    train_visual.train(archive, tmp_path / "net.onnx", replace(SMALL, epochs=1), tmp_path / "net.ckpt")
    measured, *used = used_precisions
    assert measured is None and set(used) == {torch.bfloat16}
    assert load_checkpoint(tmp_path / "net.ckpt")["precision"] is torch.bfloat16


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    rate: float = 0.1
    name: str = "a"
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)


def test_configuration_reads_nested_values(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("rate: 1\nsizes: [3, 4]\ninner: {size: 5}\n")
    assert load_config(path, Outer, {"name": "b"}) == Outer(1.0, "b", Inner(5), (3, 4))


@pytest.mark.parametrize(
    ("text", "says"),
    [("rat: 1", "unknown setting 'rat'"), ("name: 3", "name must be str, got 3"), ("- 1", "expected a mapping")],
)
def test_configuration_names_what_is_wrong(tmp_path, text, says):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_config(path, Outer)


def test_published_configurations_are_complete():
    root = Path(__file__).resolve().parents[3] / "config" / "training"
    published = load_config(root / "visual.yaml", train_visual.VisualTraining)
    assert not published.backbone.name and len(published.teacher_shares) == 2
    assert published.net == teachers.load_network(root.parents[1] / "models" / "expression.onnx").config
    teacher = load_config(root / "visual_encoder.yaml", train_visual.VisualTraining)
    assert teacher.backbone.name == FACE_ENCODER and teacher.augmentation.warp > 0


def test_a_network_that_the_robot_could_not_rebuild_is_refused():
    with pytest.raises(ValueError, match="a stage of 8 channels after 4 has stride 2, got 1"):
        ExpressionNetConfig(4, (8, 8), (1, 1), (1, 2))
    with pytest.raises(ValueError, match="one for each stage"):
        ExpressionNetConfig(4, (4, 8), (1, 1))


def test_folders_are_named_after_emotions(tmp_path):
    for name in ("happy", "anger"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"x")
        (tmp_path / name / "notes.txt").write_bytes(b"x")
    files = labelled.load_folders(tmp_path, IMAGE_SUFFIXES)
    assert [p.parent.name for p in files.paths] == ["anger", "happy"]
    assert files.labels.tolist() == [4, 2]
    assert files.other == 2


def test_a_folder_that_names_no_emotion_is_refused(tmp_path):
    (tmp_path / "smug").mkdir()
    with pytest.raises(ValueError, match="smug.*unknown emotion"):
        labelled.load_folders(tmp_path, IMAGE_SUFFIXES)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "happy").mkdir()
    with pytest.raises(ValueError, match="no .*png"):
        labelled.load_folders(tmp_path, IMAGE_SUFFIXES)
