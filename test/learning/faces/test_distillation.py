"""Teachers, the ablation, and what a training can leave out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from emotion_perception.cli import train as cli
from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.learning.evaluation import face_ablation as ablation
from emotion_perception.learning.faces import teachers
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.export import publish_faces
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig
from emotion_perception.learning.onnx_files import read_initializers, read_network

SMALL = train_visual.VisualTraining(
    epochs=2, batch=16, learning_rate=0.12, net=ExpressionNetConfig(16, (16, 16, 16, 16), (1, 1, 1, 1), dropout=0.0)
)
ANGRY = VISUAL_EMOTIONS.index("angry")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def angry_teacher(tmp_path) -> Path:
    """A wider network that sees anger in every face; the archive has none."""
    net = ExpressionNet(ExpressionNetConfig(16, (16, 16, 16, 32), (1, 1, 1, 1)))
    for head in (net.ferplus, net.fer2013):
        torch.nn.init.zeros_(head.weight)
        head.bias.data = 8.0 * (torch.arange(len(head.bias)) == ANGRY)
    shape = {"stem": 16, "widths": [16, 16, 16, 32], "blocks": [1, 1, 1, 1], "dropout": 0.3}
    publish_faces(tmp_path / "angry.onnx", net, {"training": {"net": shape}})
    return tmp_path / "angry.onnx"


def _train(archive: Path, out: Path, config: train_visual.VisualTraining, teachers: tuple[Path, ...] = ()) -> dict:
    return train_visual.train(archive, out, config, out.with_suffix(".ckpt"), None, teachers)


@pytest.fixture
def swapping_teacher(archive, tmp_path) -> Path:
    """Trained on the archive, whose faces are happy or sad, then confuses the two in both heads."""
    out = tmp_path / "trained.onnx"
    card = _train(archive, out, replace(SMALL, epochs=14, augment=False))
    net = teachers.load_network(out)
    order = [0, 2, 1, *range(3, 8)]
    for head in (net.ferplus, net.fer2013):
        rows = order[: len(head.bias)]
        head.weight.data, head.bias.data = head.weight.data[rows], head.bias.data[rows]
    publish_faces(tmp_path / "swapped.onnx", net, card)
    return tmp_path / "swapped.onnx"


def test_a_network_imitates_its_teacher_as_much_as_it_is_told_to(archive, tmp_path, swapping_teacher):
    split = load_ferplus(archive, "PublicTest")
    labelled = split.majority >= 0

    def agreement(weight: float) -> list[float]:
        """Of the heads with the labels, at equal class frequencies."""
        out = tmp_path / f"{weight}.onnx"
        config = replace(SMALL, epochs=14, augment=False, teacher_weight=weight)
        card, net = _train(archive, out, config, (swapping_teacher,)), teachers.load_network(out)
        first, second = train_visual.class_frequencies(split)
        train_visual.fold_priors(net, (-first, -second), card["calibration"])
        heads = train_visual.predict(net, split.faces)[:2]
        return [float((logits[:, 1:3].argmax(1) + 1 == split.majority)[labelled].mean()) for logits in heads]

    assert min(agreement(0.0)) > 0.8
    assert max(agreement(1.0)) < 0.2


def _mean_of_two(angry_teacher: Path, tmp_path: Path, shares: tuple[float, ...]) -> tuple[torch.Tensor, ...]:
    """What a teacher of anger and one of neutral faces predict together, under class frequencies without effect."""
    _, card = read_network(angry_teacher)
    net = teachers.load_network(angry_teacher)
    for head in (net.ferplus, net.fer2013):
        head.bias.data = head.bias.data.roll(-ANGRY)  # sees neutral
    publish_faces(tmp_path / "neutral.onnx", net, card)
    both = teachers.Teachers((angry_teacher, tmp_path / "neutral.onnx"), shares)
    faces = torch.rand(4, 1, 48, 48, generator=torch.Generator().manual_seed(1)) * 255
    none = torch.zeros(8), torch.zeros(7)
    return both(faces, none, none)


def test_two_teachers_that_disagree_are_met_half_way(angry_teacher, tmp_path):
    for predicted, classes in zip(_mean_of_two(angry_teacher, tmp_path, ())[:2], (8, 7), strict=True):
        assert predicted.shape == (4, classes) and torch.allclose(predicted.sum(1), torch.ones(4), atol=1e-5)
        assert (predicted[:, 0] - predicted[:, ANGRY]).abs().max() < 0.01
        assert (predicted[:, 0] > 0.4).all(), "their logits are averaged"


def test_the_teacher_with_the_larger_share_prevails(angry_teacher, tmp_path):
    ferplus, _, intensity = _mean_of_two(angry_teacher, tmp_path, (0.8, 0.2))
    assert (ferplus[:, ANGRY] > 0.95).all()
    assert intensity.shape == (4, 7) and ((intensity > 0) & (intensity < 1)).all()


def test_the_priors_of_the_teachers_are_exchanged(angry_teacher):
    teacher = teachers.Teachers((angry_teacher,))
    faces = torch.zeros(1, 1, 48, 48)
    none = torch.zeros(8), torch.zeros(7)
    frequent = 6.0 * (torch.arange(8) == ANGRY), torch.zeros(7)
    anger = teacher(faces, none, none)[0][0, ANGRY]
    assert teacher(faces, frequent, none)[0][0, ANGRY] < anger, "anger was frequent where they learnt"
    assert teacher(faces, frequent, frequent)[0][0, ANGRY] == pytest.approx(float(anger), abs=1e-5)


def test_shares_that_do_not_fit_the_teachers_are_refused(archive, tmp_path, angry_teacher):
    config = replace(SMALL, teacher_shares=(0.5, 0.4))
    with pytest.raises(ValueError, match="teacher_shares: 1 shares with sum 1 are needed"):
        _train(archive, tmp_path / "out.onnx", config, (angry_teacher,))
    assert not (tmp_path / "out.ckpt").exists()


def test_the_card_names_teachers_and_settings(archive, tmp_path, angry_teacher):
    config = replace(SMALL, epochs=1, augment=False, soft_votes=False)
    _train(archive, tmp_path / "net.onnx", config, (angry_teacher,))
    _, card = read_network(tmp_path / "net.onnx")
    assert card["teachers"] == ["angry.onnx"] and card["initial"] is None and card["backbone"] is None
    assert card["labels"] == [*VISUAL_EMOTIONS, None]
    settings = card["training"]
    assert (settings["augment"], settings["soft_votes"], settings["teacher_weight"]) == (False, False, 0.3)
    assert set(card["validation"]) >= {"ferplus8", "fer2013", "intensity_mae", "loss"}
    assert set(card["calibration"]) == {"ferplus_scale", "fer2013_scale"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "model not found"),
        (b"not weights", "model not readable"),
        ({"labels": []}, "not a face-expression model"),
        ({"training": {"net": {"stem": 4, "depth": 3}}}, "unknown setting 'depth'"),
        ({"training": {"net": {"stem": 4}}}, "not weights of this network"),
        ({"training": {"net": {"stem": 4}, "backbone": {"name": "vgg99"}}}, "unknown backbone 'vgg99'"),
    ],
)
def test_a_teacher_that_is_none_is_refused_before_training(archive, tmp_path, content, says):
    path = tmp_path / ("teacher.safetensors" if isinstance(content, dict) else "teacher.onnx")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        save_file(torch.nn.Linear(2, 2).state_dict(), path, {"card": json.dumps(content)})
    with pytest.raises(ModelError, match=says):
        _train(archive, tmp_path / "out.onnx", SMALL, (path,))
    assert not (tmp_path / "out.onnx").exists() and not (tmp_path / "out.ckpt").exists()


def test_a_missing_teacher_is_an_error_of_the_tool(archive, tmp_path, capsys):
    arguments = ["visual", "--data", str(archive), "--teacher", str(tmp_path / "none.onnx")]
    assert cli.main([*arguments, "--out", str(tmp_path / "out.onnx")]) == 2
    assert "emotion-train: model not found: " in capsys.readouterr().err


def test_too_few_faces_for_a_batch_are_said(archive, tmp_path):
    with pytest.raises(ValueError, match="64 training faces do not fill a batch of 128"):
        _train(archive, tmp_path / "out.onnx", train_visual.VisualTraining())


@pytest.mark.parametrize("augment", [True, False])
def test_augmentation_can_be_switched_off(archive, tmp_path, monkeypatch, augment):
    used = set()
    for name in ("augment_faces", "mirror_faces"):
        monkeypatch.setattr(train_visual, name, lambda x, *_, called=name: used.add(called) or x)
    _train(archive, tmp_path / "net.onnx", replace(SMALL, epochs=1, augment=augment))
    assert used == {"augment_faces" if augment else "mirror_faces"}


@pytest.mark.parametrize("soft_votes", [True, False])
def test_the_crowds_votes_or_its_majority_are_the_label(archive, tmp_path, monkeypatch, soft_votes):
    seen, loss = [], train_visual.training_loss

    def watch(*arguments):
        seen.append(arguments[3])
        return loss(*arguments)

    monkeypatch.setattr(train_visual, "training_loss", watch)
    _train(archive, tmp_path / "net.onnx", replace(SMALL, epochs=1, soft_votes=soft_votes, mixup_share=0.0))
    largest = torch.cat(seen).max(1).values
    assert torch.allclose(largest, torch.full_like(largest, 0.9 if soft_votes else 1.0))  # nine of ten agree


VARIANTS = {"the recipe": {}, "with teacher": {"teacher_weight": 1.0}, "without mixup": {"mixup_share": 0.0}}


def test_an_ablation_scores_each_variant_and_goes_on_where_it_stopped(archive, tmp_path, monkeypatch, angry_teacher):
    monkeypatch.setattr(ablation, "VARIANTS", VARIANTS)
    config, out = replace(SMALL, epochs=1), tmp_path / "table"
    rows = ablation.ablate(archive, out, config, [angry_teacher])
    assert [row["variant"] for row in rows] == list(VARIANTS)
    assert json.loads((out / "ablation.json").read_text()) == rows
    columns = {"ferplus", "ferplus_not_mirrored", "ferplus_recall", "fer2013", *ablation.CORRUPTIONS}
    assert all(set(row) == {"variant", *columns} and 0 <= row[c] <= 1 for row in rows for c in columns)
    cards = [read_network(out / f"{name.replace(' ', '_')}.onnx")[1] for name in VARIANTS]
    assert [card["teachers"] for card in cards] == [[], ["angry.onnx"], []]
    assert [card["training"]["mixup_share"] for card in cards] == [SMALL.mixup_share, SMALL.mixup_share, 0.0]

    (out / "without_mixup.onnx").unlink()
    trained = []
    monkeypatch.setattr(ablation, "train", lambda *a: trained.append(a[1].stem) or train_visual.train(*a))
    assert ablation.ablate(archive, out, config, [angry_teacher]) == rows
    assert trained == ["without_mixup"]


def test_the_published_ingredients_are_settings_that_there_are():
    for change in ablation.VARIANTS.values():
        replace(SMALL, **change)
    assert {} in ablation.VARIANTS.values()


def test_the_tool_writes_an_ablation(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablation, "VARIANTS", {"the recipe": {}})
    config = tmp_path / "small.yaml"
    config.write_text("batch: 16\nnet: {stem: 4, widths: [4, 8, 8, 8], blocks: [1, 1, 1, 1]}\n")
    arguments = ["visual", "--data", str(archive), "--config", str(config), "--epochs", "1"]
    assert cli.main([*arguments, "--ablation", str(tmp_path / "table")]) == 0
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["variant"] == "the recipe"
    assert np.isfinite(list(v for k, v in row.items() if k != "variant")).all()
    assert read_initializers(tmp_path / "table" / "the_recipe.onnx")["ferplus.weight"].shape == (8, 8)
