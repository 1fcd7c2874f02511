"""Train the voice-emotion network on several corpora together.

The corpora share one vocabulary: a label that a corpus lacks competes with a handicap in the softmax of its clips, so
that the absence of disgust in nEMO teaches little about disgust, and yet anger in nEMO is not taken for disgust. The
intensity head learns from corpora with graded intensity only. Training starts from an encoder pretrained on speech,
which changes slowly. The published weights are a moving average, calibrated on speakers that they, or the networks of a
cross-validation, were not trained on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.acoustic.place import ClassStatistics
from emotion_perception.learning import precision
from emotion_perception.learning.common import (
    load_checkpoint,
    moving_average,
    one_cycle_schedule,
    save_checkpoint,
    seed_everything,
)
from emotion_perception.learning.voices.augmentation import colour, mask_spectrogram, noise_spectrograms
from emotion_perception.learning.voices.calibration import (
    HeldOutLogits,
    evaluate,
    fit_calibration,
    fit_distance,
    mean_logits,
    read_folds,
)
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.corpora import SpeechSplit
from emotion_perception.learning.voices.corpus_layouts import CORPORA
from emotion_perception.learning.voices.dataset import Speech, Targets, draw_batch, mixup_shares
from emotion_perception.learning.voices.features import FeatureBank
from emotion_perception.learning.voices.network import OverlapNet, VoiceNet
from emotion_perception.learning.voices.overlap import train_overlap
from emotion_perception.learning.voices.weights import load_initial, load_voice, publish_voice

HELD_PARTS = ("validation", "test")
# Card fields that are also made without training.
RENEWED = ("outputs", "calibration", "prior", "population", "class_statistics", "unfamiliar", "overlap")


def train(
    data: Path | Sequence[Path],
    out: Path,
    stages: AcousticTraining | Sequence[AcousticTraining],
    checkpoint: Path,
    folds: Path | None = None,
    initial: Path | None = None,
    features: Path | None = None,
    detector: Path | None = None,
) -> dict[str, Any]:
    """Train, resuming from ``checkpoint`` if it exists, and publish ``out`` (ONNX). Returns the card's fields.

    Args:
        data: corpora, or folders that contain corpora.
        stages: one or more consecutive trainings; each starts from the weights of the previous one.
        folds: output of ``emotion-eval acoustic --protocol leave-speakers-out``. The calibration is then fitted on all
            its speakers but the test speakers; otherwise on the validation speakers.
        initial: published weights, or an encoder's, to start from. With zero epochs, published weights stay as they
            are and get a new calibration and a new detector of overlapped speech.
        features: folder that caches the clips' features between trainings; None: the checkpoint's folder.
        detector: published model whose detector of overlapped speech is taken over; None: train one.

    Raises:
        FileNotFoundError: no corpus in ``data``.
        ValueError: no speaker is left for validation, or interpolation without a published network to start from.
        ModelError: ``initial`` or ``detector`` is missing, corrupt, or of another architecture.
    """
    stages = [stages] if isinstance(stages, AcousticTraining) else list(stages)
    config = stages[-1]
    speech = Speech.read(data, config, features or checkpoint.parent)
    training, validation = speech.held_for("train"), speech.held_for("validation")
    if not validation.splits:
        raise ValueError("no corpus has a speaker for validation; add one with three speakers or more")
    learnt: Path | VoiceNet | None = initial
    for k, stage in enumerate(stages):
        last = k == len(stages) - 1
        path = checkpoint if last else checkpoint.with_suffix(f".stage{k + 1}{checkpoint.suffix}")
        learnt = net = fit(training, stage, path, validation, learnt)[0]
    if config.interpolation < 1:
        if initial is None or initial.suffix == ".safetensors":
            raise ValueError("interpolation needs a published voice model to start from (--initial)")
        interpolate(net, initial, config.interpolation)
    overlap: OverlapNet | None
    if detector is not None:
        _, overlap, taken = load_voice(detector)
        overlap_card = dict(taken.details.get("overlap", {}))
    else:
        overlap, overlap_card = train_overlap(speech.splits, checkpoint.with_suffix(".overlap"), config.overlap)
    validated = HeldOutLogits.of(net, validation)
    distance, unfamiliar = fit_distance(net, training, validation)
    calibrating = read_folds(folds) if folds else validated
    card: dict[str, Any] = {
        **describe_corpora(speech.splits),
        "training": asdict(config),
        "calibration": fit_calibration(calibrating),
        "population": mean_logits(validated).tolist(),
        "class_statistics": ClassStatistics.of(validated.logits[-1], validated.labels, validated.corpora).to_card(),
        "unfamiliar": unfamiliar,
        "overlap": overlap_card,
        "scores": evaluate(net, validation),
    }
    if initial is not None and not config.epochs:  # the same weights: everything else in their card stays valid
        published = load_voice(initial)[2].to_mapping()
        card |= {k: v for k, v in published.items() if k not in RENEWED}
    net.sex = net.given_sex = None
    return publish_voice(out, net, overlap, card, distance)


@torch.no_grad()
def interpolate(net: VoiceNet, initial: Path, share: float) -> None:
    """Move the weights of ``net`` to ``share`` of the way (0..1) from those of ``initial`` to its own.

    Raises:
        ModelError: ``initial`` is missing, corrupt, or of another architecture.
    """
    start = VoiceNet(net.config)
    load_initial(start, initial)
    old = start.state_dict()
    for name, value in net.state_dict().items():
        if name in old and value.is_floating_point():
            value.copy_(old[name].lerp(value, share))


def describe_corpora(splits: Sequence[SpeechSplit]) -> dict[str, Any]:
    """Card fields about the training data: ``corpora``, ``licences``, ``sellable`` and ``held_out`` speakers.

    ``sellable`` is True only if the licence of every corpus permits commercial use; a model must not be sold otherwise.
    """
    corpora = [CORPORA[split.corpus] for split in splits]
    return {
        "corpora": [corpus.name for corpus in corpora],
        "licences": {corpus.name: corpus.licence for corpus in corpora},
        "sellable": all(corpus.sellable for corpus in corpora),
        "held_out": {
            split.corpus: {part: [name for name, held in split.held_out if held == part] for part in HELD_PARTS}
            for split in splits
        },
    }


def fit(
    training: Speech,
    config: AcousticTraining,
    checkpoint: Path | None,
    validation: Speech | None = None,
    initial: Path | VoiceNet | None = None,
) -> tuple[VoiceNet, list[dict]]:
    """Train one network; returns the moving average of its weights and the scores of each epoch.

    Args:
        validation: scored after each epoch; nothing is chosen by it, so it may be the held-out fold of a
            cross-validation.
        initial: published weights, an encoder's, or a network to start from.

    Raises:
        ValueError: a random encoder would be frozen.
        ModelError: ``initial`` is missing, corrupt, or of another architecture.
    """
    if initial is None and not config.encoder_rate:
        raise ValueError("encoder_rate 0 freezes the encoder, which needs trained weights (--initial)")
    seed_everything(config.seed)
    net = VoiceNet(config.net, config.sex)
    if isinstance(initial, VoiceNet):
        net.load_state_dict(initial.state_dict())
    elif initial is not None:
        load_initial(net, initial)
    net.encoder.requires_grad_(config.encoder_rate > 0)
    average = moving_average(net, config.average_decay)
    averaged = cast(VoiceNet, average.module)
    optimizer = adamw(net, config.learning_rate, config.encoder_rate, config.weight_decay)
    targets, bank = Targets.of(training.splits, config.share), training.bank
    noises = noise_spectrograms(config.seed)
    steps = max(1, int((targets.draw > 0).sum()) // config.batch)
    schedule = one_cycle_schedule(optimizer, steps * config.epochs)
    first, history, number_format = 0, [], None
    if checkpoint is not None and (state := load_checkpoint(checkpoint)):
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first, history, number_format = state["epoch"], state["history"], state["precision"]
    if number_format is None:
        number_format = _choose_precision(net, bank, noises, targets, config)

    for epoch in range(first, config.epochs):
        net.train()
        started, losses = time.monotonic(), []
        # Seeded by the epoch, so that a resumed run draws the same as an uninterrupted one.
        generator = torch.Generator().manual_seed(config.seed * 1000 + epoch)
        rng = np.random.default_rng((config.seed, epoch))
        order = torch.multinomial(targets.draw, steps * config.batch, replacement=True, generator=generator)
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", leave=False):
            rows = order[step * config.batch : (step + 1) * config.batch]
            mel, frames = draw_batch(bank, rows.numpy(), noises, config, rng)
            mel = colour(mel, config.microphone_db, generator)
            other = torch.randperm(len(rows), generator=generator)
            share = mixup_shares(len(rows), config, rng)
            mel = share[:, None, None] * mel + (1 - share[:, None, None]) * mel[other]
            frames = torch.where(share < 1, torch.maximum(frames, frames[other]), frames)
            mel = mask_spectrogram(mel, frames, config.masked_bands, config.masked_share, generator)
            # Half of the time the sex is unknown, as it always is at run time.
            given = targets.sex[rows] * (torch.rand(len(rows), generator=generator) < 0.5)
            with precision.autocast(mel.device, number_format):
                emotion, intensity, sex = net(mel, frames, given if config.sex == "condition" else None)
            emotion, intensity = emotion.float(), intensity.float()
            loss = (
                share * emotion_loss(emotion, targets.labels[rows], targets.present[rows], config)
                + (1 - share) * emotion_loss(emotion, targets.labels[rows[other]], targets.present[rows[other]], config)
            ).mean()
            loss = loss + config.intensity_weight * intensity_loss(
                intensity, targets.labels[rows], targets.intensity[rows], share
            )
            if sex is not None:
                woman = (targets.sex[rows] + 1) / 2
                woman = share * woman + (1 - share) * woman[other]
                loss = loss + config.sex_weight * F.binary_cross_entropy_with_logits(sex.float(), woman)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            losses.append(loss.item())
        scores: dict = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": time.monotonic() - started}
        if validation is not None:
            scores |= evaluate(averaged, validation)
        history.append(scores)
        tqdm.write(json.dumps({k: round(v, 4) for k, v in scores.items()}))
        if checkpoint is not None:
            save_checkpoint(
                checkpoint,
                {
                    "net": net.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "precision": number_format,  # a resumed run gives the same weights
                    "epoch": epoch + 1,
                    "history": history,
                },
            )
    return averaged, history


def _choose_precision(
    net: VoiceNet, bank: FeatureBank, noises: np.ndarray, targets: Targets, config: AcousticTraining
) -> torch.dtype:
    rows = torch.multinomial(targets.draw, max(2, config.batch // 4), True, generator=torch.Generator().manual_seed(0))
    mel, frames = draw_batch(bank, rows.numpy(), noises, config, np.random.default_rng(0))

    def loss(net: VoiceNet, number_format: torch.dtype) -> Tensor:
        with precision.autocast(mel.device, number_format):
            emotion = net(mel, frames, targets.sex[rows] if config.sex == "condition" else None)[0]
        return emotion_loss(emotion.float(), targets.labels[rows], targets.present[rows], config).mean()

    net.train()
    return precision.training_precision(net, loss)


def adamw(net: VoiceNet, learning_rate: float, encoder_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with the encoder's own learning rate; weight decay applies to kernels and matrices only."""
    groups = []
    for encoder in (False, True) if encoder_rate else (False,):
        rate = learning_rate * (encoder_rate if encoder else 1)
        parameters = [p for name, p in net.named_parameters() if name.startswith("encoder.") == encoder]
        for decay in (weight_decay, 0.0):
            chosen = [p for p in parameters if (p.dim() > 1) == bool(decay)]
            groups.append({"params": chosen, "weight_decay": decay, "lr": rate})
    return torch.optim.AdamW(groups)


def emotion_loss(logits: Tensor, labels: Tensor, present: Tensor, config: AcousticTraining) -> Tensor:
    """``(N,)`` cross-entropy; labels that are not ``present`` get a handicap and no share of the label smoothing."""
    log_p = (logits - config.handicap * ~present).log_softmax(1)
    right = log_p.gather(1, labels[:, None])[:, 0]
    spread = log_p.masked_fill(~present, 0.0).sum(1) / present.sum(1)
    return -(1 - config.smoothing) * right - config.smoothing * spread


def intensity_loss(logits: Tensor, labels: Tensor, intensity: Tensor, share: Tensor) -> Tensor:
    """Mean binary cross-entropy of the labelled emotion's intensity where it is known, weighted by ``share``."""
    known = ~intensity.isnan()
    weight = known * share
    chosen = logits.gather(1, labels[:, None])[:, 0]
    each = F.binary_cross_entropy_with_logits(chosen, intensity.nan_to_num(0.5), reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1)
