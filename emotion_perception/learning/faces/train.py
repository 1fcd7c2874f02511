"""Train the face-expression network on FER+ votes and FER2013 labels together; read it from top to bottom.

FER+ votes teach the distribution (soft cross-entropy), the original FER2013 label a second head, and the vote shares an
intensity head. The network is the robot's own, or a torchvision backbone that has learnt from other pictures. Teachers,
networks trained before, may have their say in the labels, which are noisy (label refinery, Bagherinezhad et al. 2018).
The published weights are the moving average; each head is calibrated to its labels on PublicTest.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.errors import ModelError
from emotion_perception.learning import metrics
from emotion_perception.learning.common import (
    MovingAverage,
    grow_from,
    load_checkpoint,
    load_published,
    one_cycle,
    save_checkpoint,
    seed_everything,
)
from emotion_perception.learning.config import from_mapping
from emotion_perception.learning.faces.augmentation import augment_faces, mirror_faces, mix_faces
from emotion_perception.learning.faces.backbone import BackboneConfig, BackboneNet
from emotion_perception.learning.faces.export import class_prior, publish_faces
from emotion_perception.learning.faces.ferplus import FerPlusSplit, load_ferplus
from emotion_perception.learning.faces.network import N_VISUAL, ExpressionNet, ExpressionNetConfig
from emotion_perception.learning.onnx_files import read_network

FaceNet = ExpressionNet | BackboneNet  # faces (N, 1, 48, 48), 0..255 -> logits of the three heads


@dataclass(frozen=True)
class VisualTraining:
    """Hyper-parameters of one published model (``config/training/visual.yaml``)."""

    epochs: int = 34
    batch: int = 128
    optimizer: str = "sgd"  # or adamw, which learns faster at first: for short trainings
    learning_rate: float = 0.05  # SGD peak; a residual net with batch norm takes 0.1 per 256 faces (Goyal et al. 2017)
    momentum: float = 0.9
    weight_decay: float = 5e-4  # 28,558 faces are few for two million weights
    average_decay: float = 0.998  # the average forgets in about 500 steps, two epochs
    rare_power: float = 0.25  # a class is drawn in proportion to frequency ** (1 - rare_power)
    fer2013_weight: float = 0.7  # the original labels agree with the crowd on two faces of three
    intensity_weight: float = 0.3
    smoothing: float = 0.0  # of the hard FER2013 labels; the votes are soft by themselves
    mixup_share: float = 0.1
    mixup_alpha: float = 0.3
    augment: bool = True  # off, faces are only mirrored: for comparison
    warp: float = 0.6  # 0..1, how many of the faces are turned, scaled and shifted
    damage: float = 0.1  # 0..1, how many of the faces are darkened, blurred, noisy or covered
    soft_votes: bool = True  # off, the crowd's majority is the label: for comparison
    teacher_weight: float = 0.3  # share of what the teachers see in a face in its labels, where there are teachers
    seed: int = 24
    net: ExpressionNetConfig = field(
        default_factory=lambda: ExpressionNetConfig(16, (16, 32, 64, 128, 256), (1, 2, 3, 2, 1), (1, 2, 2, 2, 2), 0.2)
    )
    backbone: BackboneConfig = field(default_factory=BackboneConfig)  # with a name, it takes the place of ``net``


def train(
    data: Path,
    out: Path,
    config: VisualTraining,
    checkpoint: Path,
    initial: Path | None = None,
    teachers: Sequence[Path] = (),
    pretrained: Path | None = None,
) -> dict:
    """Train, resuming from ``checkpoint`` where it exists, and publish ``out`` (ONNX with its card). Returns the card.

    Args:
        data: ``ferplus.npz``.
        initial: published weights to begin from, of the same architecture or one that is narrower, has fewer blocks in
            its stages, or lacks the first stages.
        teachers: published weights, of any width and any backbone, whose mean answer is mixed into the labels.
        pretrained: torchvision's weights of the backbone (:meth:`BackboneNet.load_pretrained`).

    Raises:
        ModelError: one of these files is missing or corrupt, or is of another architecture, or the backbone is unknown.
        ValueError: there are fewer faces than a batch has.
    """
    seed_everything(config.seed)
    net = _build(config.net, config.backbone)
    if initial is not None:
        _begin(net, initial)
    if pretrained is not None:
        if not isinstance(net, BackboneNet):
            raise ModelError(f"{pretrained} is for a backbone, and none is named; {pretrained.name} would not be used")
        net.load_pretrained(pretrained)
    masters = [load_network(path) for path in teachers]
    training, validation = load_ferplus(data, "Training"), load_ferplus(data, "PublicTest")
    if len(training.faces) < config.batch:
        raise ValueError(f"{data}: {len(training.faces)} training faces do not fill a batch of {config.batch}")
    average = MovingAverage(net, config.average_decay)
    groups, rates = _parameter_groups(net, config, begun=initial is not None or pretrained is not None)
    optimizer = _optimizer(groups, config)
    generator = torch.Generator().manual_seed(config.seed)
    steps = len(training.faces) // config.batch
    total = steps * config.epochs
    first, history = 0, []
    if state := load_checkpoint(checkpoint):
        try:
            net.load_state_dict(state["net"])
        except RuntimeError as error:
            raise ModelError(f"{checkpoint} is of another network; begin anew (--restart) or elsewhere") from error
        average.module.load_state_dict(state["average"])
        average.updates = state["updates"]
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_random"])  # dropout and the mixup weights
        first, history = state["epoch"], state["history"]
    elif config.backbone.name and initial is None and pretrained is None:
        tqdm.write(f"{config.backbone.name} begins with random weights: no file of trained ones is given", sys.stderr)

    faces = torch.from_numpy(training.faces)
    votes, intensity, hard, known = label_tensors(training, config)
    if masters:
        crowd, label = taught(masters, training.faces)
        votes = torch.lerp(votes, crowd, config.teacher_weight)
        hard = torch.lerp(hard, label, config.teacher_weight)
    draw = draw_weights(training, config.rare_power)

    for epoch in range(first, config.epochs):
        net.train()
        started, losses = time.monotonic(), []
        order = torch.multinomial(draw, steps * config.batch, replacement=True, generator=generator)
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", leave=False):
            factor = one_cycle(epoch * steps + step, total)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = config.learning_rate * factor * rate
            rows = order[step * config.batch : (step + 1) * config.batch]
            x = faces[rows].unsqueeze(1).float()
            if config.augment:
                x = augment_faces(x, generator, config.damage, config.warp)
            else:
                x = mirror_faces(x, generator)
            x, (soft, strength, label, weight) = mix_faces(
                x,
                (votes[rows], intensity[rows], hard[rows], known[rows]),
                config.mixup_share,
                config.mixup_alpha,
                generator,
            )
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                a, b, c = (head.float() for head in net(x))
            loss = training_loss(a, b, c, soft, strength, label, weight, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            average.update(net)
            losses.append(loss.item())
        scores = evaluate(average.module, validation)
        scores |= {"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": time.monotonic() - started}
        history.append(scores)
        tqdm.write(json.dumps({k: round(v, 4) for k, v in scores.items()}))
        save_checkpoint(
            checkpoint,
            {
                "net": net.state_dict(),
                "average": average.module.state_dict(),
                "updates": average.updates,
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
                "torch_random": torch.get_rng_state(),
                "epoch": epoch + 1,
                "history": history,
            },
        )
    card = {
        "model": "face-expression",
        "training": asdict(config),
        "backbone": config.backbone.name or None,  # the robot runs a network without one only
        "pretrained": pretrained.name if pretrained else None,
        "initial": initial.name if initial else None,
        "teachers": [path.name for path in teachers],
        "calibration": calibrate(average.module, validation),
        "prior": class_prior(validation),
        "validation": {k: v for k, v in history[-1].items() if k not in ("seconds", "epoch")} if history else {},
        "validation_without_average": evaluate(net, validation),
    }
    publish_faces(out, average.module, card)
    return card


def load_network(path: Path) -> FaceNet:
    """A published network as it was trained, fixed and ready to predict.

    Raises:
        ModelError: the file is missing, corrupt, or not a face-expression model of this kind.
    """
    _, card = read_network(path)
    try:
        config = from_mapping(ExpressionNetConfig, card["training"]["net"])
        backbone = from_mapping(BackboneConfig, card["training"].get("backbone", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"not a face-expression model: {path} ({error})") from error
    net = _build(config, backbone)
    load_published(net, path)
    return net.eval().requires_grad_(False)


def _begin(net: FaceNet, initial: Path) -> None:
    """Put ``initial`` into ``net``; blocks that it lacks begin as the identity, which a residual block can be."""
    if isinstance(net, BackboneNet):
        return grow_from(net, initial)
    depth = net.config.blocks
    old = load_network(initial).config
    before = old.blocks if isinstance(old, ExpressionNetConfig) else ()
    late = len(depth) - len(before)  # the old stages are the last ones
    moved: dict[int, int] = {}
    index = sum(depth[:late])
    for was, now in zip(before, depth[late:], strict=False):
        moved |= {len(moved) + i: index + i for i in range(was)}
        index += now
    if late < 0 or any(was > now for was, now in zip(before, depth[late:], strict=True)):
        raise ModelError(f"{initial} has blocks {before}, more than {depth}")

    def place(name: str) -> str:
        layer, _, rest = name.partition(".")
        number, _, rest = rest.partition(".") if layer == "stages" else ("", "", rest)
        return f"stages.{moved[int(number)]}.{rest}" if number else name

    grow_from(net, initial, place, [f"stages.{i}." for i in range(sum(depth)) if i not in moved.values()])


def _build(config: ExpressionNetConfig, backbone: BackboneConfig) -> FaceNet:
    net: FaceNet = BackboneNet(backbone) if backbone.name else ExpressionNet(config)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _parameter_groups(net: FaceNet, config: VisualTraining, begun: bool) -> tuple[list[dict], list[float]]:
    """The optimizer's groups, and each one's share of the learning rate.

    Weight decay is for kernels and matrices alone. Of a backbone that has ``begun`` with trained weights, the first
    layers, which see edges in any picture, move least; the rate grows from layer to layer up to the heads'.
    """
    layers = net.layers() if isinstance(net, BackboneNet) else [net]
    groups, rates = [], []
    for depth, layer in enumerate(layers):
        rate = config.backbone.first_rate ** (1 - depth / (len(layers) - 1)) if begun and len(layers) > 1 else 1.0
        kernels = [p for p in layer.parameters() if p.dim() > 1]
        others = [p for p in layer.parameters() if p.dim() <= 1]
        for parameters, decay in ((kernels, config.weight_decay), (others, 0.0)):
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay})
                rates.append(rate)
    return groups, rates


def _optimizer(groups: list[dict], config: VisualTraining) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.99))
    raise ValueError(f"optimizer must be sgd or adamw, got {config.optimizer!r}")


def taught(masters: Sequence[FaceNet], faces: np.ndarray) -> tuple[Tensor, Tensor]:
    """What the ``masters`` see in uint8 faces ``(N, 48, 48)`` and their mirror images.

    Mean distributions of the FER+ head ``(N, 8)`` and the FER2013 head ``(N, 7)``. They are asked once about the face
    as it is, not about each augmented one: that costs a training nothing, and darkened a face shows the same.
    """
    with torch.autocast("cpu", torch.bfloat16):
        said = [predict(master, faces, flip=True)[:2] for master in masters]
    heads = zip(*said, strict=True)
    crowd, label = (torch.stack([torch.from_numpy(x).softmax(1) for x in head]).mean(0) for head in heads)
    return crowd, label


def label_tensors(split: FerPlusSplit, config: VisualTraining) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the heads learn of each face, as :func:`training_loss` takes it.

    FER+ distribution ``(N, 8)``, strengths ``(N, 7)``, FER2013 label ``(N, 7)``, and ``(N,)`` 1 where it is known.
    """
    votes = torch.from_numpy(split.distribution)
    if not config.soft_votes:
        votes = F.one_hot(torch.from_numpy(split.majority).clamp(min=0), votes.shape[1]).float()
    intensity = torch.from_numpy(split.votes[:, :N_VISUAL] / 10)
    original = torch.from_numpy(split.fer2013)
    hard = F.one_hot(original.clamp(min=0), N_VISUAL).float()
    hard = hard * (1 - config.smoothing) + config.smoothing / N_VISUAL
    return votes, intensity, hard, (original >= 0).float()


def draw_weights(split: FerPlusSplit, power: float) -> Tensor:
    """How often each face is drawn: rare majorities more often; faces the crowd could not name, never."""
    count = np.bincount(split.majority[split.majority >= 0], minlength=8)
    weight = np.where(split.majority >= 0, np.maximum(count, 1)[np.maximum(split.majority, 0)] ** -power, 0.0)
    return torch.from_numpy(weight * (split.votes.sum(1) >= 5))


def training_loss(
    ferplus: Tensor,
    fer2013: Tensor,
    intensity: Tensor,
    soft: Tensor,
    strength: Tensor,
    label: Tensor,
    weight: Tensor,
    config: VisualTraining,
) -> Tensor:
    crowd = F.cross_entropy(ferplus, soft)
    original = (F.cross_entropy(fer2013, label, reduction="none") * weight).mean()
    strengths = F.binary_cross_entropy_with_logits(intensity, strength)
    return crowd + config.fer2013_weight * original + config.intensity_weight * strengths


@torch.inference_mode()
def predict(net: FaceNet, faces: np.ndarray, batch: int = 512, flip: bool | None = None) -> tuple[np.ndarray, ...]:
    """Logits of the three heads for uint8 faces ``(N, 48, 48)``: ``(N, 8)``, ``(N, 7)``, ``(N, 7)``.

    Args:
        flip: mean of face and mirror image; None as the robot does it with this network.
    """
    net.eval()
    flip = net.config.mirror if flip is None else flip
    parts = []
    for start in range(0, len(faces), batch):
        x = torch.from_numpy(faces[start : start + batch]).unsqueeze(1).float()
        x = x.contiguous(memory_format=torch.channels_last)
        heads = net(x)
        if flip:
            heads = tuple((a + b) / 2 for a, b in zip(heads, net(x.flip(-1)), strict=True))
        parts.append([head.float().numpy() for head in heads])
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def evaluate(net: FaceNet, split: FerPlusSplit) -> dict[str, float]:
    """Accuracy of each head on its own labels, and of the intensity head (mean absolute error)."""
    ferplus, fer2013, intensity = predict(net, split.faces)
    crowd, original = split.majority >= 0, split.fer2013 >= 0
    predicted = 0.5 + 0.5 * np.tanh(intensity / 2)
    return {
        "ferplus8": float((ferplus.argmax(1) == split.majority)[crowd].mean()),
        "fer2013": float((fer2013.argmax(1) == split.fer2013)[original].mean()),
        "intensity_mae": float(np.abs(predicted - split.votes[:, :N_VISUAL] / 10).mean()),
    }


def calibrate(net: FaceNet, split: FerPlusSplit) -> dict[str, float]:
    """Temperature of each head on its own labels of ``split`` (Guo et al. 2017), for the logits the robot will have.

    ``softmax(ferplus_scale * ferplus[:7])`` is then the probability that most onlookers agree, and
    ``softmax(fer2013_scale * fer2013)`` that the original label does. The heads are not blended: on either label set
    the least log loss on PublicTest leaves the other head a weight of zero.
    """
    ferplus, fer2013, _ = predict(net, split.faces)
    crowd = (split.majority >= 0) & (split.majority < N_VISUAL)
    original = split.fer2013 >= 0
    return {
        "ferplus_scale": metrics.fit_temperature(ferplus[crowd, :N_VISUAL], split.majority[crowd])[0],
        "fer2013_scale": metrics.fit_temperature(fer2013[original], split.fer2013[original])[0],
    }
