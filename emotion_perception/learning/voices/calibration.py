"""Logits on held-out speakers, and the calibration fitted on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from emotion_perception.acoustic.features import LONGEST
from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import replacing
from emotion_perception.learning import metrics
from emotion_perception.learning.voices.corpus_layouts import CORPORA
from emotion_perception.learning.voices.dataset import Speech
from emotion_perception.learning.voices.features import FeatureBank
from emotion_perception.learning.voices.network import TrainingDistance, VoiceNet

EMBEDDED = 250  # clips of each corpus that the distance from the training clips is fitted to
FAMILIAR_SHARE = 0.95  # of the validation clips: their confidence is not reduced
UNFAMILIAR_SLOPE = 2.0  # of the temperature, per distance between the median and that quantile
CALIBRATED_AT = (0.5, 1.0, 2.0, 0.0)  # s from the start of each clip; 0: the whole clip


@torch.inference_mode()
def predict(
    net: VoiceNet, bank: FeatureBank, sex: Tensor | None = None, batch: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Emotion and intensity logits ``(N, 8)`` of the original clips (copy 0) in ``bank``.

    Only the last four seconds of a clip are used.

    Args:
        sex: ``(N,)`` as for :class:`VoiceNet`.
    """
    net.eval()
    lengths = np.minimum(bank.offsets[:, 0, 1] - bank.offsets[:, 0, 0], LONGEST)
    order = np.argsort(lengths)  # clips of similar length together: little padding
    emotion, intensity = (np.zeros((len(lengths), len(EMOTIONS)), np.float32) for _ in range(2))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        mel = np.zeros((len(rows), int(lengths[rows].max()), bank.mel.shape[1]), np.float32)
        for i, row in enumerate(rows):
            mel[i, : lengths[row]] = bank.clip(int(row))[-LONGEST:]
        a, b, _ = net(torch.from_numpy(mel), torch.from_numpy(lengths[rows]), None if sex is None else sex[rows])
        emotion[rows], intensity[rows] = a.float().numpy(), b.float().numpy()
    return emotion, intensity


@torch.inference_mode()
def embeddings(net: VoiceNet, speech: Speech, most: int) -> Tensor:
    """``(N, 2 * head)`` utterance embeddings of the original clips, of at most ``most`` clips of each corpus."""
    net.eval()
    rng, found, start = np.random.default_rng(0), [], 0
    for split in speech.splits:
        for row in start + rng.permutation(len(split))[:most]:
            mel = torch.from_numpy(speech.bank.clip(int(row))[-LONGEST:].astype(np.float32))[None]
            found.append(net.pooled(*net.encoder(mel, torch.tensor([mel.shape[1]])))[0])
        start += len(split)
    return torch.stack(found)


def fit_distance(net: VoiceNet, training: Speech, validation: Speech) -> tuple[TrainingDistance, dict[str, float]]:
    """Distance from the training clips, and the card field ``unfamiliar`` that says what it does to the confidence.

    The scale of the calibration is divided by ``1 + slope * max(0, distance - from)``. Validation speakers, whom the
    network does not know either, keep their confidence but for the twentieth that is farthest away.
    """
    distance = TrainingDistance.of(embeddings(net, training, EMBEDDED))
    found = distance(embeddings(net, validation, EMBEDDED)).numpy()
    middle, familiar = np.quantile(found, [0.5, FAMILIAR_SHARE])
    return distance, {"from": float(familiar), "slope": float(UNFAMILIAR_SLOPE / max(familiar - middle, 1e-3))}


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
class HeldOutLogits:
    """Logits of clips of speakers that the network was not trained on, of the first seconds and of the whole clip."""

    logits: np.ndarray  # (len(CALIBRATED_AT), N, 8) float32; the last are of the whole clips
    seconds: np.ndarray  # (len(CALIBRATED_AT), N) float32, duration used
    labels: np.ndarray  # (N,) int64
    speakers: np.ndarray  # (N,) str, "<corpus>/<speaker>"

    @classmethod
    def of(cls, net: VoiceNet, speech: Speech) -> HeldOutLogits:
        """Classify every clip of ``speech``."""
        banks = [speech.bank.shortened(round(s * 100)) if s else speech.bank for s in CALIBRATED_AT]
        return cls(
            np.stack([predict(net, bank)[0] for bank in banks]),
            np.stack([bank.seconds.astype(np.float32) for bank in banks]),
            np.concatenate([split.labels for split in speech.splits]),
            np.concatenate([split.speakers for split in speech.splits]),
        )

    @classmethod
    def join(cls, parts: Sequence[HeldOutLogits]) -> HeldOutLogits:
        """Concatenate the logits of several networks, each for its own clips."""
        return cls(
            np.concatenate([part.logits for part in parts], axis=1),
            np.concatenate([part.seconds for part in parts], axis=1),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.speakers for part in parts]),
        )

    def where(self, chosen: np.ndarray) -> HeldOutLogits:
        """The rows selected by ``chosen``, ``(N,)`` bool."""
        return HeldOutLogits(
            self.logits[:, chosen], self.seconds[:, chosen], self.labels[chosen], self.speakers[chosen]
        )

    def save(self, path: Path) -> None:
        """Write ``path`` (npz) atomically."""
        with replacing(path) as partial:
            np.savez(partial, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: Path) -> HeldOutLogits:
        """Read a file of :meth:`save`."""
        with np.load(path) as stored:
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})

    @property
    def corpora(self) -> np.ndarray:
        """``(N,)`` str."""
        return np.array([str(speaker).split("/")[0] for speaker in self.speakers])

    @property
    def rows_by_corpus(self) -> list[np.ndarray]:
        """Row numbers of each corpus."""
        corpora = self.corpora
        return [np.flatnonzero(corpora == name) for name in np.unique(corpora)]


def mean_logits(held_out: HeldOutLogits) -> np.ndarray:
    """``(8,)`` mean logits of whole clips, each label of each corpus with equal weight: the reference of a baseline."""
    kinds = np.char.add(held_out.corpora, held_out.labels.astype(str))
    return np.mean([held_out.logits[-1][kinds == kind].mean(axis=0) for kind in np.unique(kinds)], axis=0)


def all_folds(folder: Path) -> HeldOutLogits:
    """Logits of all speakers, each from the fold of a cross-validation that held the speaker out.

    Raises:
        FileNotFoundError: there is no fold in ``folder``.
    """
    paths = sorted(folder.glob("fold_*.npz"))
    if not paths:
        raise FileNotFoundError(f"no fold_*.npz in {folder}; emotion-eval acoustic --protocol leave-speakers-out")
    return HeldOutLogits.join([HeldOutLogits.load(path) for path in paths])


def read_folds(folder: Path) -> HeldOutLogits:
    """:func:`all_folds` without the project's test speakers, which must not influence a calibration."""
    folds = all_folds(folder)
    tested = [f"{corpus.name}/{speaker}" for corpus in CORPORA.values() for speaker in corpus.held_out.get("test", ())]
    return folds.where(~np.isin(folds.speakers, tested))


def fit_calibration(held_out: HeldOutLogits) -> dict[str, float]:
    """Calibration ``probabilities = softmax(scale * d / (d + short_s) * logits)`` of speech of ``d`` seconds.

    A temperature (Guo et al. 2017) that is higher for short speech; both parameters minimise the log loss on the
    clips, whole and cut short. All eight labels compete, as at run time, also those that a clip's corpus lacks. Each
    corpus has the same weight, whatever its number of clips.
    """
    corpora = held_out.rows_by_corpus
    rows = np.concatenate([np.resize(corpus, max(map(len, corpora))) for corpus in corpora])
    logits = np.concatenate([part[rows] for part in held_out.logits])
    duration = np.concatenate([part[rows] for part in held_out.seconds])[:, None]
    truth = np.tile(held_out.labels[rows], len(held_out.logits))
    best: tuple[float, dict[str, float]] | None = None
    for short_s in np.linspace(0, 3, 31):
        scale, loss = metrics.fit_temperature(logits * duration / (duration + short_s), truth)
        if best is None or loss < best[0]:
            best = loss, {"scale": scale, "short_s": float(short_s)}
    assert best is not None
    return best[1]


def calibrated(held_out: HeldOutLogits, calibration: Mapping[str, float]) -> np.ndarray:
    """``(N, 8)`` probabilities of the whole clips as at run time, over all labels."""
    seconds = held_out.seconds[-1][:, None]
    return softmax(calibration["scale"] * seconds / (seconds + calibration["short_s"]) * held_out.logits[-1], axis=1)
