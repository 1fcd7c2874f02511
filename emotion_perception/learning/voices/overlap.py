"""Train the detector of overlapped speech on mixtures of the corpora's speakers.

A mixture has two to four speakers of one corpus (two corpora would differ in their microphones), at levels within a
few dB, with or without reverberation and noise; single voices are processed in the same way. Babble is not used as
noise, because background voices are neither overlapped speech nor a single voice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.acoustic.features import SAMPLE_RATE, log_mel
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector, crop_to_speech
from emotion_perception.learning import precision
from emotion_perception.learning.common import (
    load_checkpoint,
    moving_average,
    one_cycle_schedule,
    save_checkpoint,
    seed_everything,
)
from emotion_perception.learning.report import finite
from emotion_perception.learning.voices.augmentation import (
    NOISES,
    add_noise,
    colour,
    make_noise,
    mask_spectrogram,
    reverberate,
)
from emotion_perception.learning.voices.corpora import SpeechSplit
from emotion_perception.learning.voices.features import read_speech
from emotion_perception.learning.voices.network import OverlapNet

SECONDS = (0.5, 4.0)  # length of a mixture, as for segments at run time
LEVEL_DB = 3.0  # largest deviation of a voice's level, dB
MOST = 4  # simultaneous speakers
FALSE_ALARMS = 0.05  # share of single voices above the threshold


@dataclass(frozen=True)
class OverlapTraining:
    """Hyper-parameters. The mixtures are generated once and used in every epoch."""

    mixtures: int = 4000  # for training; half of them contain one voice
    held: int = 800  # for choosing the threshold, and the same number for the test
    clips_per_speaker: int = 30  # clips concatenated as the speech of one speaker
    epochs: int = 10
    batch: int = 32
    learning_rate: float = 3e-3
    seed: int = 7


@dataclass(frozen=True)
class Mixtures:
    """Spectrograms of one or more simultaneous voices."""

    mel: tuple[np.ndarray, ...]  # each (F, 80) float16 log-mel, dB
    speakers: np.ndarray  # (N,) int, number of speakers

    @property
    def several(self) -> np.ndarray:
        """``(N,)`` bool: more than one speaker."""
        return self.speakers > 1


class Voices:
    """Speech of each speaker, without pauses at the start and end of its clips; source of the mixtures."""

    def __init__(self, splits: Sequence[SpeechSplit], clips_per_speaker: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        detector = VoiceActivityDetector()
        self.corpora: list[list[np.ndarray]] = []  # per corpus and speaker, (T,) float32
        for split in splits:
            speech = []
            for speaker in tqdm(np.unique(split.speakers), desc=f"voices of {split.corpus}", unit="speaker"):
                rows = rng.permutation(np.flatnonzero(split.speakers == speaker))[:clips_per_speaker]
                clips = [crop_to_speech(read_speech(split.paths[row]), detector) for row in rows]
                speech.append(np.concatenate([clip / (clip.std() + 1e-6) for clip in clips]))
            if len(speech) > 1:  # a single speaker cannot be mixed
                self.corpora.append(speech)
        if not self.corpora:
            raise ValueError("overlapped speech needs a corpus with two speakers to mix")

    def mixture(self, speakers: int, rng: np.random.Generator) -> np.ndarray:
        """``(T,)`` float32 mixture of ``speakers`` speakers of one corpus."""
        enough = [corpus for corpus in self.corpora if len(corpus) >= speakers]
        corpus = enough[rng.integers(len(enough))]
        n = int(rng.uniform(*SECONDS) * SAMPLE_RATE)
        room = (float(rng.uniform(0.15, 0.7)), float(rng.uniform(-2, 12))) if rng.random() < 0.5 else None
        x = np.zeros(n, np.float32)
        for who in rng.permutation(len(corpus))[:speakers]:
            start = rng.integers(max(1, len(corpus[who]) - n))
            voice = np.resize(corpus[who][start : start + n], n)
            voice = reverberate(voice, *room, rng) if room else voice
            x += voice / (voice.std() + 1e-6) * 10 ** (float(rng.uniform(-LEVEL_DB, LEVEL_DB)) / 20)
        if rng.random() < 0.6:
            kind = [kind for kind in NOISES if kind != "babble"][rng.integers(len(NOISES) - 1)]
            x = add_noise(x, make_noise(kind, n, rng, []), float(rng.uniform(5, 30)))
        return 0.05 * x

    def mixtures(self, n: int, seed: int) -> Mixtures:
        """``n`` mixtures: half with one voice, the others with two to four voices in equal numbers."""
        rng = np.random.default_rng(seed)
        most = min(MOST, max(map(len, self.corpora)))
        counts = np.where(np.arange(n) % 2 == 0, 1, 2 + np.arange(n) // 2 % (most - 1))
        mel = [log_mel(self.mixture(int(c), rng)).astype(np.float16) for c in tqdm(counts, "mixtures", unit="mixture")]
        return Mixtures(tuple(mel), counts)


def train_overlap(
    splits: Sequence[SpeechSplit], checkpoint: Path | None, config: OverlapTraining
) -> tuple[OverlapNet, dict]:
    """Train, resuming from ``checkpoint``; returns the network and its card entries: threshold and scores.

    The training, validation (threshold) and test mixtures have no speakers in common.

    Args:
        splits: complete corpora.

    Raises:
        ValueError: no corpus has two speakers in each of training, validation and test.
    """
    seed_everything(config.seed)
    state = load_checkpoint(checkpoint) if checkpoint is not None else None
    net = OverlapNet()
    if state is None:
        mixtures = {
            part: Voices([s.where(s.held_for(part)) for s in splits], config.clips_per_speaker, config.seed).mixtures(
                config.mixtures if part == "train" else config.held, config.seed + i
            )
            for i, part in enumerate(("train", "validation", "test"))
        }
        net = _fit(net, mixtures["train"], config)
        logits = {part: predict(net, mixtures[part]) for part in ("validation", "test")}
        state = {"net": net.state_dict(), "card": _card(logits, mixtures)}
        if checkpoint is not None:
            save_checkpoint(checkpoint, state)
    net.load_state_dict(state["net"])
    return net.eval(), {"net": asdict(net.config), **state["card"]}


def _fit(net: OverlapNet, mixtures: Mixtures, config: OverlapTraining) -> OverlapNet:
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = moving_average(net, 0.99)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.02)
    steps = max(1, len(mixtures.mel) // config.batch)
    schedule = one_cycle_schedule(optimizer, steps * config.epochs)
    several = torch.from_numpy(mixtures.several.astype(np.float32))
    number_format = _choose_precision(net, mixtures, config)
    generator = torch.Generator().manual_seed(config.seed)
    for epoch in range(config.epochs):
        net.train()
        losses: list[float] = []
        # Batches of mixtures of similar length, in random order, need little padding.
        jitter = torch.tensor([len(m) for m in mixtures.mel]) + 40 * torch.rand(len(mixtures.mel), generator=generator)
        order = jitter.argsort()
        for i in torch.randperm(steps, generator=generator):
            rows = order[i * config.batch : (i + 1) * config.batch]
            mel, frames = _batch([mixtures.mel[row] for row in rows])
            mel = mask_spectrogram(colour(mel, 4.0, generator), frames, 8, 0.1, generator)
            loss = _loss(net, mel, frames, several[rows], number_format)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            losses.append(loss.item())
        tqdm.write(json.dumps({"overlap_epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4)}))
    return cast(OverlapNet, average.module)


def _choose_precision(net: OverlapNet, mixtures: Mixtures, config: OverlapTraining) -> torch.dtype:
    n = max(2, config.batch // 4)
    mel, frames = _batch(mixtures.mel[:n])
    several = torch.from_numpy(mixtures.several[:n].astype(np.float32))

    def loss(net: OverlapNet, number_format: torch.dtype) -> torch.Tensor:
        return _loss(net, mel, frames, several, number_format)

    return precision.training_precision(net.train(), loss)


def _loss(
    net: OverlapNet, mel: torch.Tensor, frames: torch.Tensor, several: torch.Tensor, number_format: torch.dtype
) -> torch.Tensor:
    with precision.autocast(mel.device, number_format):
        logits = net(mel, frames)
    return F.binary_cross_entropy_with_logits(logits.float(), several)


@torch.inference_mode()
def predict(net: OverlapNet, mixtures: Mixtures) -> np.ndarray:
    """``(N,)`` logits of overlapped speech."""
    net.eval()
    return np.array([float(net(*_batch([mel]))[0]) for mel in mixtures.mel])


def _batch(mels: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    frames = np.array([len(mel) for mel in mels])
    out = np.zeros((len(mels), frames.max(), mels[0].shape[1]), np.float32)
    for row, mel in zip(out, mels, strict=True):
        row[: len(mel)] = mel
    return torch.from_numpy(out), torch.from_numpy(frames)


def _card(logits_of: dict[str, np.ndarray], mixtures: dict[str, Mixtures]) -> dict:
    threshold = float(np.quantile(logits_of["validation"][~mixtures["validation"].several], 1 - FALSE_ALARMS))
    logits, several, speakers = logits_of["test"], mixtures["test"].several, mixtures["test"].speakers
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(logits), size=len(logits)) for _ in range(1000)]
    short = np.array([len(mel) for mel in mixtures["test"].mel]) < 150
    counts = np.unique(speakers[several])
    return finite(
        {
            "threshold": float(expit(threshold)),
            "test_mixtures": len(logits),
            "auc": _area(logits, several),
            "auc_95": np.nanpercentile([_area(logits[rows], several[rows]) for rows in drawn], [2.5, 97.5]).tolist(),
            "auc_by_speakers": {
                str(n): _area(logits[rows], several[rows]) for n in counts for rows in [~several | (speakers == n)]
            },
            "auc_under_1_5_s": _area(logits[short], several[short]),
            "found": float((logits[several] > threshold).mean()),
            "false_alarms": float((logits[~several] > threshold).mean()),
        }
    )


def _area(logits: np.ndarray, several: np.ndarray) -> float:
    """Area under the ROC curve; NaN if there is only one class."""
    return float(roc_auc_score(several, logits)) if 0 < several.sum() < len(several) else float("nan")
