"""Train the voice-emotion network on RAVDESS, EmoDB and nEMO together; read it from top to bottom.

One vocabulary for the three: a label that a corpus lacks is masked out of its clips' softmax, so that nEMO's silence
about disgust teaches nothing about disgust. The intensity head learns from RAVDESS alone. The published weights are the
moving average; their temperature is fitted on the validation speakers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.acoustic.voice_net import VoiceNet, VoiceNetConfig
from emotion_perception.emotions import EMOTIONS
from emotion_perception.learning import metrics
from emotion_perception.learning.common import (
    MovingAverage,
    load_checkpoint,
    one_cycle,
    publish_weights,
    save_checkpoint,
    seed_everything,
)
from emotion_perception.learning.speech_augmentation import colour, cut, mask_spectrogram
from emotion_perception.learning.speech_corpora import CORPORA, HELD_OUT, SpeechSplit, load_speech
from emotion_perception.learning.speech_features import FeatureBank, speech_features

NEVER = -1e4  # logit of a label that does not compete
CALIBRATED_AT = (0.5, 1.0, 2.0, 0.0)  # s from the start of each clip; 0 is all of it


@dataclass(frozen=True)
class AcousticTraining:
    """Hyper-parameters of one published model (``config/training/acoustic.yaml``)."""

    epochs: int = 80
    batch: int = 64
    learning_rate: float = 2e-3  # AdamW peak
    weight_decay: float = 0.05  # 3,600 clips are few for 0.7 million weights
    average_decay: float = 0.995  # the average forgets in 200 steps, four epochs
    copies: int = 5  # of each clip: itself, and four at another speed, in a room, in noise
    ravdess_share: float = 0.5  # of the clips drawn; the only corpus with all eight labels
    emodb_share: float = 0.2
    nemo_share: float = 0.3
    shortest_cut: float = 0.8  # s, cuts as short as the first decisions on the robot
    longest_cut: float = 3.5  # s
    tempo: float = 0.12  # a cut plays up to this much faster or slower, pitch unchanged
    microphone_db: float = 4.0  # deviation of a random smooth curve over the bands
    masked_bands: int = 10
    masked_share: float = 0.2  # of the frames, twice
    smoothing: float = 0.1
    mixup_share: float = 0.5
    mixup_alpha: float = 0.4
    intensity_weight: float = 0.2
    seed: int = 7
    net: VoiceNetConfig = field(default_factory=VoiceNetConfig)


@dataclass(frozen=True)
class Targets:
    """What the clips of one or more splits are labelled with, one row a clip."""

    labels: Tensor  # (N,) int64
    present: Tensor  # (N, 8) bool, labels the clip's corpus has
    intensity: Tensor  # (N,) float32, NaN where unknown
    draw: Tensor  # (N,) float64, how often a clip is drawn

    @classmethod
    def of(cls, splits: Sequence[SpeechSplit], shares: dict[str, float] | None = None) -> Targets:
        """Stack the splits; within its corpus' share every label is drawn equally often."""
        draw = []
        for split in splits:
            count = np.bincount(split.labels, minlength=len(EMOTIONS))
            share = shares[split.corpus] if shares else 1.0
            draw.append(share / count[split.labels] / (count > 0).sum())
        return cls(
            torch.from_numpy(np.concatenate([split.labels for split in splits])),
            torch.from_numpy(np.concatenate([np.tile(split.present, (len(split), 1)) for split in splits])),
            torch.from_numpy(np.concatenate([split.intensity for split in splits])),
            torch.from_numpy(np.concatenate(draw)),
        )


def train(data: Path, out: Path, config: AcousticTraining, checkpoint: Path) -> dict:
    """Train, resuming from ``checkpoint`` where it exists, and publish ``out`` (safetensors). Returns the card.

    Args:
        data: folder that holds ``ravdess_speech`` and any of ``emodb``, ``nemo``.

    Raises:
        FileNotFoundError: no RAVDESS in ``data``.
    """
    corpora = [name for name in CORPORA if (data / name).is_dir()]
    if "ravdess_speech" not in corpora:
        raise FileNotFoundError(f"no ravdess_speech in {data}; it is the only corpus with all eight labels")
    training = [load_speech(data / name, "train") for name in corpora]
    validation = [load_speech(data / name, "validation") for name in corpora]
    bank = speech_features(training, config.copies, config.seed, checkpoint.with_suffix(".train.npz"))
    held = speech_features(validation, 1, config.seed, checkpoint.with_suffix(".validation.npz"))
    net, history = fit(training, bank, config, checkpoint, validation, held)
    card = {
        "model": "voice-emotion",
        "labels": list(EMOTIONS),
        "corpora": corpora,
        "held_out": {name: {k: list(v) for k, v in HELD_OUT[name].items()} for name in corpora},
        "training": asdict(config),
        "calibration": calibrate(net, validation, held),
        "validation": {k: v for k, v in history[-1].items() if k not in ("seconds", "epoch")} if history else {},
    }
    publish_weights(out, net, card)
    return card


def fit(
    training: Sequence[SpeechSplit],
    bank: FeatureBank,
    config: AcousticTraining,
    checkpoint: Path | None,
    validation: Sequence[SpeechSplit] = (),
    held: FeatureBank | None = None,
) -> tuple[VoiceNet, list[dict]]:
    """Train one network on the splits whose features are ``bank``; the moving average and the scores of each epoch.

    ``validation`` is only watched: nothing is chosen by it, so that a fold of a cross-validation may be passed.
    """
    seed_everything(config.seed)
    net = VoiceNet(config.net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = MovingAverage(net, config.average_decay)
    decayed = [p for p in net.parameters() if p.dim() > 1]
    plain = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    shares = {"ravdess_speech": config.ravdess_share, "emodb": config.emodb_share, "nemo": config.nemo_share}
    targets = Targets.of(training, shares)
    steps = max(1, len(targets.labels) // config.batch)
    total = steps * config.epochs
    first, history = 0, []
    if checkpoint is not None and (state := load_checkpoint(checkpoint)):
        net.load_state_dict(state["net"])
        average.module.load_state_dict(state["average"])
        average.updates = state["updates"]
        optimizer.load_state_dict(state["optimizer"])
        first, history = state["epoch"], state["history"]

    for epoch in range(first, config.epochs):
        net.train()
        started, losses = time.monotonic(), []
        # Seeded by the epoch: a resumed run draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed(config.seed * 1000 + epoch)
        rng = np.random.default_rng((config.seed, epoch))
        order = torch.multinomial(targets.draw, steps * config.batch, replacement=True, generator=generator)
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", leave=False):
            factor = one_cycle(epoch * steps + step, total)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * factor
            rows = order[step * config.batch : (step + 1) * config.batch]
            mel, frames = draw_batch(bank, rows.numpy(), config, rng)
            mel = colour(mel, config.microphone_db, generator)
            other = torch.randperm(len(rows), generator=generator)
            share = _mixup_shares(len(rows), config, rng)
            mel = share[:, None, None] * mel + (1 - share[:, None, None]) * mel[other]
            frames = torch.where(share < 1, torch.maximum(frames, frames[other]), frames)
            mel = mask_spectrogram(mel, frames, config.masked_bands, config.masked_share, generator)
            with torch.autocast("cpu", torch.bfloat16):
                emotion, strength = net(mel, frames)
            emotion, strength = emotion.float(), strength.float()
            loss = (
                share * emotion_loss(emotion, targets.labels[rows], targets.present[rows], config.smoothing)
                + (1 - share)
                * emotion_loss(emotion, targets.labels[rows[other]], targets.present[rows[other]], config.smoothing)
            ).mean()
            loss = loss + config.intensity_weight * intensity_loss(
                strength, targets.labels[rows], targets.intensity[rows], share
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            average.update(net)
            losses.append(loss.item())
        scores: dict = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": time.monotonic() - started}
        if held is not None:
            scores |= evaluate(average.module, validation, held)
        history.append(scores)
        tqdm.write(json.dumps({k: round(v, 4) for k, v in scores.items()}))
        if checkpoint is not None:
            save_checkpoint(
                checkpoint,
                {
                    "net": net.state_dict(),
                    "average": average.module.state_dict(),
                    "updates": average.updates,
                    "optimizer": optimizer.state_dict(),
                    "epoch": epoch + 1,
                    "history": history,
                },
            )
    return average.module, history


def draw_batch(
    bank: FeatureBank, rows: np.ndarray, config: AcousticTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cuts of one length, drawn anew for each batch, from a random copy of each clip.

    Returns:
        ``(N, F, 64)`` float32 dB, zero behind each clip's end, and ``(N,)`` its valid frames.
    """
    length = int(rng.uniform(config.shortest_cut, config.longest_cut) * 100)
    mel = np.zeros((len(rows), length, bank.mel.shape[1]), np.float32)
    frames = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        clip = bank.clip(int(row), int(rng.integers(bank.copies))).astype(np.float32)
        part = cut(clip, length, float(rng.uniform(1 - config.tempo, 1 + config.tempo)), rng)
        mel[i, : len(part)] = part
        frames[i] = len(part)
    longest = int(frames.max())
    return torch.from_numpy(mel[:, :longest]), torch.from_numpy(frames)


def _mixup_shares(n: int, config: AcousticTraining, rng: np.random.Generator) -> Tensor:
    """``(n,)`` the row's own share in its mixture (Zhang et al. 2018), 0.5..1; 1 where it is not mixed."""
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, n)
    share = np.where(rng.random(n) < config.mixup_share, np.maximum(share, 1 - share), 1.0)
    return torch.from_numpy(share.astype(np.float32))


def emotion_loss(logits: Tensor, labels: Tensor, present: Tensor, smoothing: float) -> Tensor:
    """``(N,)`` cross-entropy among the labels that ``present`` allows; the smoothing goes to those alone."""
    log_p = logits.masked_fill(~present, NEVER).log_softmax(1)
    right = log_p.gather(1, labels[:, None])[:, 0]
    spread = log_p.masked_fill(~present, 0.0).sum(1) / present.sum(1)
    return -(1 - smoothing) * right - smoothing * spread


def intensity_loss(logits: Tensor, labels: Tensor, intensity: Tensor, share: Tensor) -> Tensor:
    """Mean cross-entropy of the strength of the labelled emotion over the rows where it is known, less where mixed."""
    known = ~intensity.isnan()
    weight = known * share
    chosen = logits.gather(1, labels[:, None])[:, 0]
    each = F.binary_cross_entropy_with_logits(chosen, intensity.nan_to_num(0.5), reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1)


@torch.inference_mode()
def predict(net: VoiceNet, bank: FeatureBank, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Emotion and intensity logits ``(N, 8)`` of the clips (copy 0) of ``bank``, whole."""
    net.eval()
    lengths = bank.offsets[:, 0, 1] - bank.offsets[:, 0, 0]
    order = np.argsort(lengths)  # clips of like length together: little padding
    emotion, strength = (np.zeros((len(lengths), len(EMOTIONS)), np.float32) for _ in range(2))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        mel = np.zeros((len(rows), int(lengths[rows].max()), bank.mel.shape[1]), np.float32)
        for i, row in enumerate(rows):
            mel[i, : lengths[row]] = bank.clip(int(row))
        a, b = net(torch.from_numpy(mel), torch.from_numpy(lengths[rows]))
        emotion[rows], strength[rows] = a.float().numpy(), b.float().numpy()
    return emotion, strength


def evaluate(net: VoiceNet, splits: Sequence[SpeechSplit], bank: FeatureBank) -> dict[str, float]:
    """Accuracy, accuracy among the corpus' own labels, and unweighted average recall of each split."""
    emotion, _ = predict(net, bank)
    found: dict[str, float] = {}
    start = 0
    for split in splits:
        scores = metrics.score(softmax(emotion[start : start + len(split)], axis=1), split.labels)
        start += len(split)
        found[f"{split.corpus}_accuracy"] = scores.accuracy
        found[f"{split.corpus}_accuracy_closed"] = scores.accuracy_closed
        found[f"{split.corpus}_uar"] = scores.uar
    return found


def calibrate(net: VoiceNet, splits: Sequence[SpeechSplit], bank: FeatureBank) -> dict[str, float]:
    """How sure to be: ``probabilities = softmax(scale * d / (d + short_s) * logits)`` of a stretch of ``d`` seconds.

    A temperature (Guo et al. 2017), and how much less half a second tells than a sentence; both minimise the log loss
    on the clips of ``splits``, whole and cut short, among each corpus' own labels. Each corpus counts alike, however
    many clips it has.
    """
    logits, seconds = [], []
    for cut_s in CALIBRATED_AT:
        shortened = bank.shortened(round(cut_s * 100)) if cut_s else bank
        logits.append(predict(net, shortened)[0])
        seconds.append(shortened.seconds)
    present = np.concatenate([np.tile(split.present, (len(split), 1)) for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    starts = np.cumsum([0, *(len(split) for split in splits)])[:-1]
    largest = max(len(split) for split in splits)
    rows = np.concatenate(
        [start + np.arange(largest) % len(split) for start, split in zip(starts, splits, strict=True)]
    )
    masked = np.concatenate([np.where(present, part, NEVER)[rows] for part in logits])
    duration = np.concatenate([part[rows] for part in seconds])[:, None]
    truth = np.tile(labels[rows], len(logits))
    best: tuple[float, dict[str, float]] | None = None
    for short_s in np.linspace(0, 1, 21):
        scale, loss = metrics.fit_temperature(masked * duration / (duration + short_s), truth)
        if best is None or loss < best[0]:
            best = loss, {"scale": scale, "short_s": float(short_s)}
    assert best is not None
    return best[1]
