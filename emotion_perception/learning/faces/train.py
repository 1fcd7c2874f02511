"""Train the face-expression network on FER+ votes and FER2013 labels together; read it from top to bottom.

The first head learns the distribution of the FER+ votes (soft cross-entropy), the second the original FER2013 label,
the third the vote shares as intensities. The loss is logit-adjusted (Menon et al. 2021): the log class frequencies of
the training faces are added to the logits in training only, so a head learns log likelihoods, which hold for faces of
any other frequencies. The network starts from published weights, from the face encoder (scripts/face_encoder.py) or
from random ones. The noisy labels can be mixed with what teachers, networks trained before, predict for the same
augmented faces (Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent"). The published
weights are the moving average; each head is calibrated on PublicTest, whose class frequencies are put into its biases:
the published logits are posteriors under the prior that the model card states.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.learning import precision
from emotion_perception.learning.common import (
    load_checkpoint,
    load_published,
    moving_average,
    one_cycle_schedule,
    save_checkpoint,
    seed_everything,
)
from emotion_perception.learning.faces.augmentation import AugmentationConfig, augment_faces, mirror_faces, mix_faces
from emotion_perception.learning.faces.backbone import BackboneConfig, BackboneNet
from emotion_perception.learning.faces.export import class_prior, publish_faces
from emotion_perception.learning.faces.ferplus import FerPlusSplit, load_ferplus
from emotion_perception.learning.faces.network import N_VISUAL, ExpressionNetConfig
from emotion_perception.learning.faces.teachers import FaceNet, Teachers, build_network


@dataclass(frozen=True)
class VisualTraining:
    """Hyper-parameters of one published model (``config/training/visual.yaml``)."""

    epochs: int = 34
    batch: int = 128
    optimizer: str = "sgd"  # or adamw, which learns faster at first, for short trainings
    learning_rate: float = 0.05  # peak, SGD; 0.1 per 256 faces is usual for residual networks (Goyal et al. 2017)
    momentum: float = 0.9
    weight_decay: float = 5e-4  # high, because 28,558 faces are few for two million weights
    average_decay: float = 0.998  # time constant of about 500 steps, two epochs
    rare_power: float = 0.25  # a class is sampled in proportion to frequency ** (1 - rare_power)
    fer2013_weight: float = 0.7  # the original labels agree with the majority vote on two faces of three
    intensity_weight: float = 0.3
    smoothing: float = 0.0  # of the hard FER2013 labels; the votes are soft already
    mixup_share: float = 0.1
    mixup_alpha: float = 0.3
    augment: bool = True  # False: mirroring only, for comparison
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    soft_votes: bool = True  # False: the majority vote is the label, for comparison
    teacher_weight: float = 0.3  # share of the teachers' predictions in the labels, if there are teachers
    teacher_shares: tuple[float, ...] = ()  # of each teacher in the mean of their logits; empty: equal
    seed: int = 24
    net: ExpressionNetConfig = field(
        default_factory=lambda: ExpressionNetConfig(16, (16, 32, 64, 128, 256), (1, 2, 3, 2, 1), (1, 2, 2, 2, 2), 0.2)
    )
    backbone: BackboneConfig = field(default_factory=BackboneConfig)  # used instead of ``net`` if it has a name


def train(
    data: Path,
    out: Path,
    config: VisualTraining,
    checkpoint: Path,
    initial: Path | None = None,
    teachers: Sequence[Path] = (),
    pretrained: Path | None = None,
) -> dict:
    """Train, resuming from ``checkpoint`` if it exists, and publish ``out`` (ONNX with its card). Returns the card.

    Args:
        data: ``ferplus.npz``.
        initial: published network of the same architecture to start from.
        teachers: published networks, of any width and any backbone, whose mean prediction is mixed into the labels.
        pretrained: torchvision's weights of the backbone (:meth:`BackboneNet.load_pretrained`).

    Raises:
        ModelError: one of these files is missing, corrupt or of another architecture, or the backbone is unknown.
        ValueError: there are fewer faces than a batch needs, or not one share for each teacher.
    """
    seed_everything(config.seed)
    net = build_network(config.net, config.backbone)
    if pretrained is not None:
        if not isinstance(net, BackboneNet):
            raise ModelError(f"{pretrained} holds weights of a backbone, but no backbone is named")
        net.load_pretrained(pretrained)
        for layer in net.layers()[: config.backbone.frozen]:
            layer.requires_grad_(False)
    shown_to = Teachers(teachers, config.teacher_shares) if teachers else None
    training, validation = load_ferplus(data, "Training"), load_ferplus(data, "PublicTest")
    if len(training.faces) < config.batch:
        raise ValueError(f"{data}: {len(training.faces)} training faces do not fill a batch of {config.batch}")
    frequencies = class_frequencies(validation)
    if initial is not None:
        load_published(net, initial)
        scales = load_card(initial).calibration
        fold_priors(net, (-frequencies[0], -frequencies[1]), {k: float(v) for k, v in scales.items()})
    average = moving_average(net, config.average_decay)
    averaged = cast(FaceNet, average.module)
    optimizer = _optimizer(_parameter_groups(net, config, initial is not None or pretrained is not None), config)
    generator = torch.Generator().manual_seed(config.seed)
    steps = len(training.faces) // config.batch
    schedule = one_cycle_schedule(optimizer, steps * config.epochs)
    first, history, number_format = 0, [], None
    if state := load_checkpoint(checkpoint):
        try:
            net.load_state_dict(state["net"])
            average.load_state_dict(state["average"])
        except RuntimeError as error:
            raise ModelError(f"{checkpoint} is of another network: use --restart or another --checkpoint") from error
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_random"])  # dropout and the mixup weights
        first, history, number_format = state["epoch"], state["history"], state["precision"]
    elif config.backbone.name and initial is None and pretrained is None:
        tqdm.write(f"{config.backbone.name} starts with random weights: no pretrained weights are given", sys.stderr)

    faces = torch.from_numpy(training.faces)
    votes, intensity, hard, known = targets = label_tensors(training, config)
    if number_format is None:
        number_format = _choose_precision(net, faces, targets, config)
    draw = draw_weights(training, config.rare_power)
    training_priors = log_priors(votes, hard, known, draw)

    for epoch in range(first, config.epochs):
        net.train()
        started, losses = time.monotonic(), []
        order = torch.multinomial(draw, steps * config.batch, replacement=True, generator=generator)
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", leave=False):
            rows = order[step * config.batch : (step + 1) * config.batch]
            x = faces[rows].unsqueeze(1).float()
            x = augment_faces(x, generator, config.augmentation) if config.augment else mirror_faces(x, generator)
            x, (soft, strength, label, weight) = mix_faces(
                x,
                (votes[rows], intensity[rows], hard[rows], known[rows]),
                config.mixup_share,
                config.mixup_alpha,
                generator,
            )
            x = x.contiguous(memory_format=torch.channels_last)
            if shown_to is not None:
                with precision.autocast(x.device, number_format):
                    views = shown_to(x, frequencies, training_priors)
                soft = torch.lerp(soft, views[0], config.teacher_weight)
                label = torch.lerp(label, views[1], config.teacher_weight)
                strength = torch.lerp(strength, views[2], config.teacher_weight / 2)  # the votes say it best
                weight = weight.clamp(min=config.teacher_weight)  # the teachers also know faces without a FER2013 label
            with precision.autocast(x.device, number_format):
                a, b, c = (head.float() for head in net(x))
            loss = training_loss(
                a + training_priors[0], b + training_priors[1], c, soft, strength, label, weight, config
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            losses.append(loss.item())
        scores = evaluate(averaged, validation, frequencies)
        scores |= {"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": time.monotonic() - started}
        history.append(scores)
        tqdm.write(json.dumps({k: round(v, 4) for k, v in scores.items()}))
        save_checkpoint(
            checkpoint,
            {
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "precision": number_format,  # a resumed run gives the same weights
                "generator": generator.get_state(),
                "torch_random": torch.get_rng_state(),
                "epoch": epoch + 1,
                "history": history,
            },
        )
    calibration = calibrate(averaged, validation, frequencies)
    card = {
        "model": "face-expression",
        "training": asdict(config),
        "backbone": config.backbone.name or None,  # the robot does not run networks with a backbone
        "pretrained": pretrained.name if pretrained else None,
        "initial": initial.name if initial else None,
        "teachers": [path.name for path in teachers],
        "calibration": calibration,
        "prior": class_prior(validation),
        "fer2013_prior": class_prior(validation, "fer2013"),
        "validation": {k: v for k, v in history[-1].items() if k not in ("seconds", "epoch")} if history else {},
        "validation_without_average": evaluate(net, validation, frequencies),
    }
    fold_priors(averaged, frequencies, calibration)
    publish_faces(out, averaged, card)
    return card


def _choose_precision(
    net: FaceNet, faces: Tensor, targets: tuple[Tensor, Tensor, Tensor, Tensor], config: VisualTraining
) -> torch.dtype:
    rows = max(2, config.batch // 4)
    x = faces[:rows].unsqueeze(1).float().contiguous(memory_format=torch.channels_last)
    soft, strength, label, weight = (target[:rows] for target in targets)
    net.train()

    def loss(net: FaceNet, number_format: torch.dtype) -> Tensor:
        with precision.autocast(x.device, number_format):
            ferplus, fer2013, intensity = (head.float() for head in net(x))
        return training_loss(ferplus, fer2013, intensity, soft, strength, label, weight, config)

    return precision.training_precision(net, loss)


def _parameter_groups(net: FaceNet, config: VisualTraining, trained: bool) -> list[dict]:
    """The optimizer's groups with their peak learning rates.

    Weight decay applies to kernels and matrices only. If ``net`` starts from ``trained`` weights, the learning rate of
    a backbone rises from the first layer, whose edge filters suit any image, to the heads.
    """
    layers = net.layers() if isinstance(net, BackboneNet) else [net]
    groups = []
    for depth, layer in enumerate(layers):
        rate = config.backbone.first_rate ** (1 - depth / (len(layers) - 1)) if trained and len(layers) > 1 else 1.0
        kernels = [p for p in layer.parameters() if p.requires_grad and p.dim() > 1]
        others = [p for p in layer.parameters() if p.requires_grad and p.dim() <= 1]
        for parameters, decay in ((kernels, config.weight_decay), (others, 0.0)):
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "lr": config.learning_rate * rate})
    return groups


def _optimizer(groups: list[dict], config: VisualTraining) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.99))
    raise ValueError(f"optimizer must be sgd or adamw, got {config.optimizer!r}")


def label_tensors(split: FerPlusSplit, config: VisualTraining) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The targets of each face for :func:`training_loss`.

    FER+ distribution ``(N, 8)``, intensities ``(N, 7)``, FER2013 label ``(N, 7)``, and ``(N,)`` 1 where it is known.
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
    """Sampling weight of each face: higher for rare majorities, zero without a majority for an emotion."""
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
    """Weighted sum of the three heads' losses.

    Args:
        ferplus, fer2013, intensity: logits ``(N, 8)``, ``(N, 7)``, ``(N, 7)``.
        soft, strength, label: targets of the same shapes.
        weight: ``(N,)`` of the FER2013 labels.
        config: weights of the losses.
    """
    votes = F.cross_entropy(ferplus, soft)
    original = (F.cross_entropy(fer2013, label, reduction="none") * weight).mean()
    strengths = F.binary_cross_entropy_with_logits(intensity, strength)
    return votes + config.fer2013_weight * original + config.intensity_weight * strengths


@torch.inference_mode()
def predict(net: FaceNet, faces: np.ndarray, batch: int = 512, flip: bool | None = None) -> tuple[np.ndarray, ...]:
    """Logits of the three heads for uint8 faces ``(N, 48, 48)``: ``(N, 8)``, ``(N, 7)``, ``(N, 7)``.

    Args:
        flip: average face and mirror image; None: as the network's configuration states.
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


def evaluate(net: FaceNet, split: FerPlusSplit, frequencies: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Scores of a network whose heads give log likelihoods (see the module's docstring).

    Accuracy of each head on its own labels at ``frequencies``, mean recall of the seven FER+ classes at equal ones, and
    mean absolute error of the intensity head.
    """
    ferplus, fer2013, intensity = predict(net, split.faces)
    voted, original = split.majority >= 0, split.fer2013 >= 0
    classes = np.unique(split.majority[voted & (split.majority < N_VISUAL)])
    right = ferplus[:, :N_VISUAL].argmax(1) == split.majority
    predicted = 0.5 + 0.5 * np.tanh(intensity / 2)
    return {
        "ferplus8": float(((ferplus + frequencies[0].numpy()).argmax(1) == split.majority)[voted].mean()),
        "balanced_recall": float(np.mean([right[split.majority == c].mean() for c in classes])),
        "fer2013": float(((fer2013 + frequencies[1].numpy()).argmax(1) == split.fer2013)[original].mean()),
        "intensity_mae": float(np.abs(predicted - split.votes[:, :N_VISUAL] / 10).mean()),
    }


def log_priors(votes: Tensor, hard: Tensor, known: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Log class frequencies of the faces as they are drawn: FER+ ``(8,)`` and FER2013 ``(7,)``."""
    share = (draw / draw.sum()).float().unsqueeze(1)
    first, second = (votes * share).sum(0), (hard * share * known.unsqueeze(1)).sum(0)
    return tuple(torch.log((p / p.sum()).clamp(min=1e-4)) for p in (first, second))  # type: ignore[return-value]


def class_frequencies(split: FerPlusSplit) -> tuple[Tensor, Tensor]:
    """Log class frequencies of the majority labels of a split ``(8,)`` and of its FER2013 labels ``(7,)``."""
    labels = ((split.majority, N_VISUAL + 1), (split.fer2013, N_VISUAL))
    counts = [np.maximum(np.bincount(values[values >= 0], minlength=n), 1) for values, n in labels]
    return tuple(torch.from_numpy(np.log(count / count.sum())).float() for count in counts)  # type: ignore[return-value]


def calibrate(net: FaceNet, split: FerPlusSplit, frequencies: tuple[Tensor, Tensor] | None = None) -> dict[str, float]:
    """Inverse temperature of each head on its own labels of ``split`` (Guo et al. 2017).

    ``softmax(ferplus_scale * ferplus[:7] + frequencies[0][:7])`` estimates the majority vote, and
    ``softmax(fer2013_scale * fer2013 + frequencies[1])`` the original label. Without ``frequencies`` they are in the
    logits already, as in a published network (:func:`fold_priors`). The heads are not combined: for either label set,
    the combination with the lowest log loss on PublicTest gives the other head zero weight.
    """
    ferplus, fer2013, _ = predict(net, split.faces)
    voted = (split.majority >= 0) & (split.majority < N_VISUAL)
    original = split.fer2013 >= 0
    first, second = frequencies or (torch.zeros(N_VISUAL), torch.zeros(N_VISUAL))
    return {
        "ferplus_scale": _fit_scale(ferplus[voted, :N_VISUAL], split.majority[voted], first[:N_VISUAL]),
        "fer2013_scale": _fit_scale(fer2013[original], split.fer2013[original], second),
    }


def _fit_scale(logits: np.ndarray, labels: np.ndarray, offset: Tensor) -> float:
    """The scale with the lowest log loss of ``softmax(scale * logits + offset)``."""

    def loss(log_scale: float) -> float:
        scores = torch.from_numpy(logits * np.float32(np.exp(log_scale))) + offset
        return float(F.cross_entropy(scores, torch.from_numpy(labels).long()))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fold_priors(net: FaceNet, frequencies: tuple[Tensor, Tensor], calibration: dict[str, float]) -> None:
    """Add the log class frequencies to the heads' biases: ``softmax(scale * logits)`` is then the posterior.

    Divided by the prior of the model card, the posterior is the likelihood again.
    """
    with torch.no_grad():
        for head, offset, name in zip((net.ferplus, net.fer2013), frequencies, ("ferplus", "fer2013"), strict=True):
            head.bias.add_(offset / calibration[f"{name}_scale"])
