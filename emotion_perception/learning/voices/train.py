"""Train the voice-emotion network on RAVDESS, EmoDB and nEMO together; read it from top to bottom.

One vocabulary for the three: a label that a corpus lacks competes with a handicap in its clips' softmax, so that nEMO's
silence about disgust teaches little about disgust, and yet its anger is not taken for disgust. The intensity head
learns from RAVDESS alone. Training begins with an encoder that has learnt speech elsewhere, and changes it slowly. The
published weights are the moving average; how sure they are is fitted on speakers that they, or the networks of a
cross-validation, never heard.
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
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.acoustic.emotion_classifier import OVERLAP
from emotion_perception.acoustic.features import LONGEST
from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import replacing
from emotion_perception.inference.runtime import read_card, read_weights
from emotion_perception.learning import metrics
from emotion_perception.learning.common import (
    MovingAverage,
    load_checkpoint,
    one_cycle,
    publish_weights,
    put_weights,
    save_checkpoint,
    seed_everything,
)
from emotion_perception.learning.voices.augmentation import (
    add_noise_to_spectrogram,
    colour,
    cut,
    mask_spectrogram,
    noise_spectrograms,
)
from emotion_perception.learning.voices.corpora import CORPORA, HELD_OUT, SpeechSplit, load_speech
from emotion_perception.learning.voices.features import FeatureBank, speech_features
from emotion_perception.learning.voices.network import VoiceNet, VoiceNetConfig
from emotion_perception.learning.voices.overlap import OverlapTraining, train_overlap

SHARES = {"ravdess_speech": "ravdess_share", "emodb": "emodb_share", "nemo": "nemo_share"}  # corpus to its setting
SPEECH_ENCODER = "speech-encoder"  # the card's model of weights that are an encoder's alone
CALIBRATED_AT = (0.5, 1.0, 2.0, 0.0)  # s from the start of each clip; 0 is all of it


@dataclass(frozen=True)
class AcousticTraining:
    """Hyper-parameters of one published model (``config/training/acoustic.yaml``)."""

    epochs: int = 80
    batch: int = 64
    learning_rate: float = 1e-3  # AdamW peak of the head
    encoder_rate: float = 0.1  # of that, the encoder's, 0 leaves it: 5,000 clips are few for 6 million weights
    weight_decay: float = 0.05
    average_decay: float = 0.995  # the average forgets in 200 steps, three epochs
    copies: int = 4  # of each clip: itself, and three at another speed, often in a room
    ravdess_share: float = 0.5  # of the clips drawn; the only corpus with all eight labels
    emodb_share: float = 0.2
    nemo_share: float = 0.3
    shortest_cut: float = 0.8  # s, cuts as short as the first decisions on the robot
    longest_cut: float = 3.5  # s
    tempo: float = 0.12  # a cut plays up to this much faster or slower, pitch unchanged
    noise_share: float = 0.55  # of the draws have noise in them
    babble_share: float = 0.3  # of these, other voices; the others white, pink, fan or music
    babble_margin: float = 0.35  # share of a cut, at most, that is babble alone, before and again after the speech
    quietest_snr: float = 25.0  # dB
    loudest_snr: float = 0.0  # dB
    microphone_db: float = 4.0  # deviation of a random smooth curve over the bands
    masked_bands: int = 10
    masked_share: float = 0.2  # of the frames, twice
    smoothing: float = 0.1
    handicap: float = 1.0  # off the logits of labels that a clip's corpus lacks; large, and they do not compete at all
    mixup_share: float = 0.5
    mixup_alpha: float = 0.4
    intensity_weight: float = 0.2
    sex: str = "off"  # VoiceNet's; for the study of docs/acoustic_model.md
    sex_weight: float = 0.3  # of telling it, where that is a task
    seed: int = 7
    net: VoiceNetConfig = field(default_factory=VoiceNetConfig)
    overlap: OverlapTraining = field(default_factory=OverlapTraining)  # of the detector of overlapped speech


@dataclass(frozen=True)
class Targets:
    """What the clips of one or more splits are labelled with, one row a clip."""

    labels: Tensor  # (N,) int64
    present: Tensor  # (N, 8) bool, labels the clip's corpus has
    intensity: Tensor  # (N,) float32, NaN where unknown
    sex: Tensor  # (N,) float32, 1 a woman, -1 a man
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
            torch.from_numpy(np.concatenate([2 * split.female - 1 for split in splits])),
            torch.from_numpy(np.concatenate(draw)),
        )


@dataclass(frozen=True)
class Speech:
    """All clips of some corpora, and their features in the same order."""

    splits: tuple[SpeechSplit, ...]  # one per corpus
    bank: FeatureBank

    @classmethod
    def read(cls, data: Path, config: AcousticTraining, cache: Path) -> Speech:
        """All corpora in ``data`` that have a share; features are kept in the folder ``cache``.

        Raises:
            FileNotFoundError: no RAVDESS in ``data``.
        """
        corpora = [name for name in CORPORA if (data / name).is_dir() and getattr(config, SHARES[name]) > 0]
        if "ravdess_speech" not in corpora:
            raise FileNotFoundError(f"no ravdess_speech in {data}; it is the only corpus with all eight labels")
        splits = tuple(load_speech(data / name, "all") for name in corpora)
        banks = [speech_features(split, config.copies, config.seed, cache) for split in splits]
        return cls(splits, FeatureBank.join(banks))

    def where(self, chosen: Sequence[np.ndarray]) -> Speech:
        """The clips that ``chosen`` marks, ``(N,)`` bool for each corpus; a corpus without any is left out."""
        kept = [split.where(mask) for split, mask in zip(self.splits, chosen, strict=True)]
        return Speech(tuple(split for split in kept if len(split)), self.bank.where(np.concatenate(chosen)))

    def held_for(self, split: str) -> Speech:
        """The clips of ``train``, ``validation`` or ``test``."""
        return self.where([one.held_for(split) for one in self.splits])


def train(
    data: Path,
    out: Path,
    config: AcousticTraining,
    checkpoint: Path,
    folds: Path | None = None,
    initial: Path | None = None,
    features: Path | None = None,
) -> dict:
    """Train, resuming from ``checkpoint`` where it exists, and publish ``out`` (safetensors). Returns the card.

    Args:
        data: folder that holds ``ravdess_speech`` and any of ``emodb``, ``nemo``.
        initial: published weights, or an encoder's, to begin from. Published weights without an epoch are published
            again as they are, calibrated anew and with another detector of overlapped speech.
        folds: what ``emotion-eval acoustic --protocol leave-speakers-out`` wrote. How sure to be is then fitted on all
            its speakers but the test speakers; else on the validation speakers alone.
        features: folder that keeps the clips' features between trainings; None keeps them beside the checkpoint.

    Raises:
        FileNotFoundError: no RAVDESS in ``data``.
        ModelError: ``initial`` is missing, corrupt, or of another architecture.
    """
    speech = Speech.read(data, config, features or checkpoint.parent)
    validation = speech.held_for("validation")
    net, _ = fit(speech.held_for("train"), config, checkpoint, validation, initial)
    overlap, overlap_card = train_overlap(speech.splits, checkpoint.with_suffix(".overlap"), config.overlap)
    card = {
        "model": "voice-emotion",
        "labels": list(EMOTIONS),
        "corpora": [split.corpus for split in speech.splits],
        "held_out": {s.corpus: {k: list(v) for k, v in HELD_OUT[s.corpus].items()} for s in speech.splits},
        "training": asdict(config),
        "calibration": fit_calibration(read_folds(folds)) if folds else calibrate(net, validation),
        "population": population(Verdicts.of(net, validation)).tolist(),
        "overlap": overlap_card,
        "validation": evaluate(net, validation),
    }
    if initial is not None and not config.epochs:  # the same weights: what was found out about them stays
        card |= {k: v for k, v in read_card(initial).items() if k not in ("calibration", "population", "overlap")}
    net.sex = net.given_sex = None
    net.add_module("overlap", overlap)
    publish_weights(out, net, card)
    return card


def fit(
    training: Speech,
    config: AcousticTraining,
    checkpoint: Path | None,
    validation: Speech | None = None,
    initial: Path | VoiceNet | None = None,
) -> tuple[VoiceNet, list[dict]]:
    """Train one network; the moving average and the scores of each epoch.

    ``validation`` is only watched: nothing is chosen by it, so that a fold of a cross-validation may be passed.
    ``initial``: published weights, an encoder's, or a network, to begin from.

    Raises:
        ValueError: an encoder that nobody trained was to stay as it is.
        ModelError: ``initial`` is missing, corrupt, or of another architecture.
    """
    if initial is None and not config.encoder_rate:
        raise ValueError("encoder_rate 0 leaves the encoder as it is: give weights to begin with (--initial)")
    seed_everything(config.seed)
    net = VoiceNet(config.net, config.sex)
    if isinstance(initial, VoiceNet):
        net.load_state_dict(initial.state_dict())
    elif initial is not None:
        load_voice(net, initial)
    net.encoder.requires_grad_(config.encoder_rate > 0)
    average = MovingAverage(net, config.average_decay)
    optimizer = adamw(net, config.learning_rate, config.encoder_rate, config.weight_decay)
    peaks = [group["lr"] for group in optimizer.param_groups]
    shares = {corpus: getattr(config, share) for corpus, share in SHARES.items()}
    targets, bank = Targets.of(training.splits, shares), training.bank
    noises = noise_spectrograms(config.seed)
    steps = max(1, int((targets.draw > 0).sum()) // config.batch)
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
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            rows = order[step * config.batch : (step + 1) * config.batch]
            mel, frames = draw_batch(bank, rows.numpy(), noises, config, rng)
            mel = colour(mel, config.microphone_db, generator)
            other = torch.randperm(len(rows), generator=generator)
            share = _mixup_shares(len(rows), config, rng)
            mel = share[:, None, None] * mel + (1 - share[:, None, None]) * mel[other]
            frames = torch.where(share < 1, torch.maximum(frames, frames[other]), frames)
            mel = mask_spectrogram(mel, frames, config.masked_bands, config.masked_share, generator)
            # Half of the time the sex is not given: the network must do without it on the robot.
            given = targets.sex[rows] * (torch.rand(len(rows), generator=generator) < 0.5)
            with torch.autocast("cpu", torch.bfloat16):
                emotion, strength, sex = net(mel, frames, given if config.sex == "condition" else None)
            emotion, strength = emotion.float(), strength.float()
            loss = (
                share * emotion_loss(emotion, targets.labels[rows], targets.present[rows], config)
                + (1 - share) * emotion_loss(emotion, targets.labels[rows[other]], targets.present[rows[other]], config)
            ).mean()
            loss = loss + config.intensity_weight * intensity_loss(
                strength, targets.labels[rows], targets.intensity[rows], share
            )
            if sex is not None:
                woman = (targets.sex[rows] + 1) / 2
                woman = share * woman + (1 - share) * woman[other]
                loss = loss + config.sex_weight * F.binary_cross_entropy_with_logits(sex.float(), woman)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            average.update(net)
            losses.append(loss.item())
        scores: dict = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": time.monotonic() - started}
        if validation is not None:
            scores |= evaluate(average.module, validation)
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


def adamw(net: VoiceNet, learning_rate: float, encoder_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """The optimizer; weight decay is for kernels and matrices alone."""
    groups = []
    for encoder in (False, True) if encoder_rate else (False,):
        rate = learning_rate * (encoder_rate if encoder else 1)
        parameters = [p for name, p in net.named_parameters() if name.startswith("encoder.") == encoder]
        for decay in (weight_decay, 0.0):
            chosen = [p for p in parameters if (p.dim() > 1) == bool(decay)]
            groups.append({"params": chosen, "weight_decay": decay, "lr": rate})
    return torch.optim.AdamW(groups)


def load_voice(net: VoiceNet, weights: Path) -> None:
    """Put published weights into ``net``, or an encoder's into its encoder (``scripts/speech_encoder.py``).

    What is published beside a network, the detector of overlapped speech, is left; so are an encoder's further layers.

    Raises:
        ModelError: the file is missing, corrupt, or of another architecture; names it.
    """
    tensors, card = read_weights(weights)
    module: nn.Module = net.encoder if card.get("model") == SPEECH_ENCODER else net
    wanted = module.state_dict()
    found = {name: torch.from_numpy(value) for name, value in tensors.items() if not name.startswith(OVERLAP)}
    if module is net.encoder:
        found = {name: value for name, value in found.items() if name in wanted or not name.startswith("layers.")}
    put_weights(module, found, weights)


def draw_batch(
    bank: FeatureBank, rows: np.ndarray, noises: np.ndarray, config: AcousticTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cuts of one length, drawn anew for each batch, from a random copy of each clip, often in noise.

    Babble is made of the clips in ``bank``, so of no voice that does not train.

    Args:
        noises: ``(M, F, 80)`` log-mel of the noises that are not voices.

    Returns:
        ``(N, F, 80)`` float32 dB, zero behind each clip's end, and ``(N,)`` its valid frames.
    """
    length = int(rng.uniform(config.shortest_cut, config.longest_cut) * 100)
    mel = np.zeros((len(rows), length, bank.mel.shape[1]), np.float32)
    frames = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        clip = bank.clip(int(row), int(rng.integers(bank.copies)))
        noise: list[np.ndarray] = []
        before = after = 0
        if rng.random() < config.noise_share:
            if rng.random() < config.babble_share:
                voices = rng.integers(len(bank.offsets), size=rng.integers(3, 7))
                noise = [bank.clip(int(voice)) for voice in voices]
                before, after = (rng.uniform(0, config.babble_margin, 2) * length).astype(int)
            else:
                piece = noises[rng.integers(len(noises))]
                noise = [piece[rng.integers(len(piece) // 2) :]]
        tempo = float(rng.uniform(1 - config.tempo, 1 + config.tempo))
        part = cut(clip, length - before - after, tempo, rng)
        if noise:
            snr = float(rng.uniform(config.loudest_snr, config.quietest_snr))
            part = add_noise_to_spectrogram(part, noise, snr, before, after)
        mel[i, : len(part)] = part
        frames[i] = len(part)
    longest = int(frames.max())
    return torch.from_numpy(mel[:, :longest]), torch.from_numpy(frames)


def _mixup_shares(n: int, config: AcousticTraining, rng: np.random.Generator) -> Tensor:
    """``(n,)`` the row's own share in its mixture (Zhang et al. 2018), 0.5..1; 1 where it is not mixed."""
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, n)
    share = np.where(rng.random(n) < config.mixup_share, np.maximum(share, 1 - share), 1.0)
    return torch.from_numpy(share.astype(np.float32))


def emotion_loss(logits: Tensor, labels: Tensor, present: Tensor, config: AcousticTraining) -> Tensor:
    """``(N,)`` cross-entropy; labels that are not ``present`` have a handicap, and no share of the smoothing."""
    log_p = (logits - config.handicap * ~present).log_softmax(1)
    right = log_p.gather(1, labels[:, None])[:, 0]
    spread = log_p.masked_fill(~present, 0.0).sum(1) / present.sum(1)
    return -(1 - config.smoothing) * right - config.smoothing * spread


def intensity_loss(logits: Tensor, labels: Tensor, intensity: Tensor, share: Tensor) -> Tensor:
    """Mean cross-entropy of the strength of the labelled emotion over the rows where it is known, less where mixed."""
    known = ~intensity.isnan()
    weight = known * share
    chosen = logits.gather(1, labels[:, None])[:, 0]
    each = F.binary_cross_entropy_with_logits(chosen, intensity.nan_to_num(0.5), reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1)


@torch.inference_mode()
def predict(
    net: VoiceNet, bank: FeatureBank, sex: Tensor | None = None, batch: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Emotion and intensity logits ``(N, 8)`` of the clips (copy 0) of ``bank``; ``sex`` ``(N,)`` if given.

    Of more than four seconds the last are heard.
    """
    net.eval()
    lengths = np.minimum(bank.offsets[:, 0, 1] - bank.offsets[:, 0, 0], LONGEST)
    order = np.argsort(lengths)  # clips of like length together: little padding
    emotion, strength = (np.zeros((len(lengths), len(EMOTIONS)), np.float32) for _ in range(2))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        mel = np.zeros((len(rows), int(lengths[rows].max()), bank.mel.shape[1]), np.float32)
        for i, row in enumerate(rows):
            mel[i, : lengths[row]] = bank.clip(int(row))[-LONGEST:]
        a, b, _ = net(torch.from_numpy(mel), torch.from_numpy(lengths[rows]), None if sex is None else sex[rows])
        emotion[rows], strength[rows] = a.float().numpy(), b.float().numpy()
    return emotion, strength


def evaluate(net: VoiceNet, speech: Speech) -> dict[str, float]:
    """Accuracy, accuracy among the corpus' own labels, and unweighted average recall of each corpus."""
    emotion, _ = predict(net, speech.bank)
    found: dict[str, float] = {}
    start = 0
    for split in speech.splits:
        scores = metrics.score(softmax(emotion[start : start + len(split)], axis=1), split.labels)
        start += len(split)
        found[f"{split.corpus}_accuracy"] = scores.accuracy
        found[f"{split.corpus}_accuracy_closed"] = scores.accuracy_closed
        found[f"{split.corpus}_uar"] = scores.uar
    return found


@dataclass(frozen=True)
class Verdicts:
    """What a network made of clips that it was not trained on, whole and cut short; it is what calibration needs."""

    logits: np.ndarray  # (len(CALIBRATED_AT), N, 8) float32; the last are of the whole clips
    seconds: np.ndarray  # (len(CALIBRATED_AT), N) float32, how much was heard
    labels: np.ndarray  # (N,) int64
    speakers: np.ndarray  # (N,) str, "<corpus>/<speaker>"

    @classmethod
    def of(cls, net: VoiceNet, speech: Speech) -> Verdicts:
        """Hear every clip of ``speech``."""
        banks = [speech.bank.shortened(round(s * 100)) if s else speech.bank for s in CALIBRATED_AT]
        return cls(
            np.stack([predict(net, bank)[0] for bank in banks]),
            np.stack([bank.seconds.astype(np.float32) for bank in banks]),
            np.concatenate([split.labels for split in speech.splits]),
            np.concatenate([split.speakers for split in speech.splits]),
        )

    @classmethod
    def join(cls, parts: Sequence[Verdicts]) -> Verdicts:
        """Those of several networks, each about its own clips."""
        return cls(
            np.concatenate([part.logits for part in parts], axis=1),
            np.concatenate([part.seconds for part in parts], axis=1),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.speakers for part in parts]),
        )

    def where(self, chosen: np.ndarray) -> Verdicts:
        """Those that ``chosen``, ``(N,)`` bool, marks."""
        return Verdicts(self.logits[:, chosen], self.seconds[:, chosen], self.labels[chosen], self.speakers[chosen])

    def save(self, path: Path) -> None:
        """Write ``path`` (npz) atomically."""
        with replacing(path) as partial:
            np.savez(partial, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: Path) -> Verdicts:
        """Read what :meth:`save` wrote."""
        with np.load(path) as stored:
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})

    @property
    def corpora(self) -> np.ndarray:
        """``(N,)`` str."""
        return np.array([str(speaker).split("/")[0] for speaker in self.speakers])


def population(verdicts: Verdicts) -> np.ndarray:
    """``(8,)`` mean logits of whole clips, every label of every corpus alike: what a voice deviates from."""
    kinds = np.char.add(verdicts.corpora, verdicts.labels.astype(str))
    return np.mean([verdicts.logits[-1][kinds == kind].mean(axis=0) for kind in np.unique(kinds)], axis=0)


def all_folds(folder: Path) -> Verdicts:
    """What the folds of a cross-validation said about all their speakers.

    Raises:
        FileNotFoundError: there is no fold in ``folder``.
    """
    paths = sorted(folder.glob("fold_*.npz"))
    if not paths:
        raise FileNotFoundError(f"no fold_*.npz in {folder}; emotion-eval acoustic --protocol leave-speakers-out")
    return Verdicts.join([Verdicts.load(path) for path in paths])


def read_folds(folder: Path) -> Verdicts:
    """:func:`all_folds` without the test speakers of the project, who may not calibrate a model."""
    verdicts = all_folds(folder)
    tested = [f"{corpus}/{speaker}" for corpus, held in HELD_OUT.items() for speaker in held["test"]]
    return verdicts.where(~np.isin(verdicts.speakers, tested))


def calibrate(net: VoiceNet, speech: Speech) -> dict[str, float]:
    """:func:`fit_calibration` on clips that ``net`` did not train on."""
    return fit_calibration(Verdicts.of(net, speech))


def fit_calibration(verdicts: Verdicts) -> dict[str, float]:
    """How sure to be: ``probabilities = softmax(scale * d / (d + short_s) * logits)`` of a stretch of ``d`` seconds.

    A temperature (Guo et al. 2017), and how much less half a second tells than a sentence; both minimise the log loss
    on the clips, whole and cut short. All eight labels compete, as they do on the robot, also those that a clip's
    corpus lacks. Each corpus counts alike, however many clips it has.
    """
    corpora = verdicts.corpora
    names, counts = np.unique(corpora, return_counts=True)
    rows = np.concatenate([np.resize(np.flatnonzero(corpora == name), counts.max()) for name in names])
    logits = np.concatenate([part[rows] for part in verdicts.logits])
    duration = np.concatenate([part[rows] for part in verdicts.seconds])[:, None]
    truth = np.tile(verdicts.labels[rows], len(verdicts.logits))
    best: tuple[float, dict[str, float]] | None = None
    for short_s in np.linspace(0, 3, 31):
        scale, loss = metrics.fit_temperature(logits * duration / (duration + short_s), truth)
        if best is None or loss < best[0]:
            best = loss, {"scale": scale, "short_s": float(short_s)}
    assert best is not None
    return best[1]


def calibrated(verdicts: Verdicts, calibration: dict[str, float]) -> np.ndarray:
    """``(N, 8)`` probabilities of the whole clips, all labels competing, as the robot states them."""
    seconds = verdicts.seconds[-1][:, None]
    return softmax(calibration["scale"] * seconds / (seconds + calibration["short_s"]) * verdicts.logits[-1], axis=1)
