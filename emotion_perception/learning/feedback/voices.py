"""Corrected voices for the voice model: what of learning from feedback is theirs alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from emotion_perception.acoustic.emotion_classifier import OVERLAP
from emotion_perception.acoustic.features import N_MELS
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector
from emotion_perception.emotions import EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.feedback.recent import MIN_SOUND_S
from emotion_perception.inference.runtime import read_card
from emotion_perception.learning.config import from_mapping
from emotion_perception.learning.feedback.learn import Feedback, FeedbackTraining, Learner
from emotion_perception.learning.voices import train as train_acoustic
from emotion_perception.learning.voices.augmentation import colour, mask_spectrogram, noise_spectrograms
from emotion_perception.learning.voices.features import FeatureBank, clip_features
from emotion_perception.learning.voices.network import VoiceNet, VoiceNetConfig
from emotion_perception.learning.voices.train import SHARES, AcousticTraining, Speech, Targets

CHANGED = 0.1  # share of answers that differ between two models as good as each other


@dataclass(frozen=True)
class VoiceFeedbackTraining(FeedbackTraining):
    """Hyper-parameters. The tolerance is that of the test speakers at hand, see :attr:`VoiceLearner.tolerance`."""

    batch: int = 32
    learning_rate: float = 3e-4  # AdamW peak of the head
    weight_decay: float = 0.05
    way: float = 0.5  # chosen on validation speakers, see docs/dashboard.md
    tolerance: float = 0.0  # 0: by the size of the test set
    base: AcousticTraining = field(default_factory=AcousticTraining)  # how the base data are drawn and augmented


class VoiceLearner(Learner):
    """The voice model learns from corrected voices.

    Args:
        data: folder that holds ``ravdess_speech`` and any of ``emodb``, ``nemo``.
        cache: where the base data's features are kept: they take minutes, and are the same each time.
    """

    kind = "voice"
    labels = EMOTIONS
    published = "voice.safetensors"

    def __init__(self, data: Path, cache: Path, config: VoiceFeedbackTraining | None = None) -> None:
        self.data, self.cache = data, cache
        self.config: VoiceFeedbackTraining = config or VoiceFeedbackTraining()
        self._detector: VoiceActivityDetector | None = None
        self._rng = np.random.default_rng(self.config.seed)

    @property
    def tolerance(self) -> float:
        """The standard error of a difference between two equally good models, whose answers differ in a tenth.

        Each corpus counts alike, so that the smallest has most of the chance in it: with 240, 127 and 538 clips it is
        1.2 points. (3,518 faces make 0.5 of the same.)
        """
        if self.config.tolerance:
            return self.config.tolerance
        sizes = [len(split) for split in self.tested.splits]
        return math.sqrt(CHANGED * sum(1 / size for size in sizes)) / len(sizes)

    def read(self, path: Path) -> list[np.ndarray]:
        """The sound's log-mel ``(F, 80)`` as the robot hears it, and perturbed copies."""
        self._detector = self._detector or VoiceActivityDetector()
        try:
            found = clip_features(path.with_suffix(".wav"), self._detector, self.config.base.copies, self._rng)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"its sound cannot be read ({error})") from None
        if len(found[0]) < 100 * MIN_SOUND_S:
            raise ValueError(f"its sound has {len(found[0]) / 100:.2f} s of speech, {MIN_SOUND_S} s are needed")
        if float(np.ptp(found[0])) == 0:
            raise ValueError("there is nothing to hear in its sound")
        return found

    def prepare(self) -> None:
        """Read the corpora, or their features where they are kept."""
        speech = Speech.read(self.data, self.config.base, self.cache)
        self.training, self.validation, self.tested = map(speech.held_for, ("train", "validation", "test"))
        for name, part in (("train", self.training), ("validation", self.validation), ("test", self.tested)):
            if not part.splits:
                raise ValueError(f"{self.data} has no speaker to {name} with")

    def load(self, weights: Path) -> VoiceNet:
        """The network, without what is published beside it."""
        card = read_card(weights)
        try:
            net = VoiceNet(from_mapping(VoiceNetConfig, card.get("training", {}).get("net", {})))
        except ValueError as error:
            raise ModelError(f"not weights of a voice model: {weights} ({error})") from None
        train_acoustic.load_voice(net, weights)
        return net.eval()

    def beside(self, weights: Path) -> dict[str, torch.Tensor]:
        """The detector of overlapped speech, bit by bit."""
        return {name: value for name, value in load_file(weights).items() if name.startswith(OVERLAP)}

    def optimizer(self, net: Any) -> torch.optim.Optimizer:
        """As in training."""
        return train_acoustic.adamw(
            net, self.config.learning_rate, self.config.base.encoder_rate, self.config.weight_decay
        )

    def begin(self, net: Any, feedback: Feedback) -> None:
        """One bank of base data and corrections, so that babble is made of all."""
        net.train()
        ours = _bank([feedback.evidence[row] for row in feedback.learn])
        self._bank = FeatureBank.join([self.training.bank, ours])
        shares = {corpus: getattr(self.config.base, share) for corpus, share in SHARES.items()}
        self._targets = Targets.of(self.training.splits, shares)
        self._labels = torch.from_numpy(feedback.labels[feedback.learn])
        self._noises = noise_spectrograms(self.config.seed)
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._rng = np.random.default_rng(self.config.seed)

    def batch_loss(self, net: Any, base_rows: int, mine: torch.Tensor) -> torch.Tensor:
        """The training's losses on the base clips; on the corrected ones of the emotion, all labels competing."""
        config, base, targets = self.config, self.config.base, self._targets
        rows = torch.multinomial(targets.draw, base_rows, replacement=True, generator=self._generator)
        drawn = torch.cat([rows, len(targets.labels) + mine])
        mel, frames = train_acoustic.draw_batch(self._bank, drawn.numpy(), self._noises, base, self._rng)
        mel = colour(mel, base.microphone_db, self._generator)
        mel = mask_spectrogram(mel, frames, base.masked_bands, base.masked_share, self._generator)
        with torch.autocast("cpu", torch.bfloat16):
            emotion, strength, _ = net(mel, frames)
        emotion, strength = emotion.float(), strength.float()
        labels = targets.labels[rows]
        loss = train_acoustic.emotion_loss(emotion[:base_rows], labels, targets.present[rows], base).mean()
        loss = loss + base.intensity_weight * train_acoustic.intensity_loss(
            strength[:base_rows], labels, targets.intensity[rows], torch.ones(base_rows)
        )
        corrected = F.cross_entropy(emotion[base_rows:], self._labels[mine], label_smoothing=config.smoothing)
        return (1 - config.feedback_share) * loss + config.feedback_share * corrected

    def said(self, net: Any, evidence: Sequence[Any]) -> np.ndarray:
        """The most probable emotion of each whole sound."""
        return train_acoustic.predict(net, _bank([copies[:1] for copies in evidence]))[0].argmax(1)

    def test(self, net: Any) -> dict[str, Any]:
        """Mean over the corpora, each of which counts alike however many clips it has; and each one's own."""
        found = {name: round(value, 4) for name, value in train_acoustic.evaluate(net, self.tested).items()}
        corpora = [split.corpus for split in self.tested.splits]
        return {
            "test_voices": {split.corpus: len(split) for split in self.tested.splits},
            "accuracy": round(float(np.mean([found[f"{corpus}_accuracy"] for corpus in corpora])), 4),
            "mean_recall": round(float(np.mean([found[f"{corpus}_uar"] for corpus in corpora])), 4),
            **{name: value for name, value in found.items() if not name.endswith("_closed")},
        }

    def card(self, net: Any) -> dict[str, Any]:
        """As in training: how sure to be, and what voices deviate from, by the validation speakers."""
        verdicts = train_acoustic.Verdicts.of(net, self.validation)
        return {
            "calibration": train_acoustic.fit_calibration(verdicts),
            "population": train_acoustic.population(verdicts).tolist(),
            "validation": train_acoustic.evaluate(net, self.validation),
        }


def _bank(clips: Sequence[Sequence[np.ndarray]]) -> FeatureBank:
    """The clips' copies in one array."""
    ends = np.cumsum([len(copy) for copies in clips for copy in copies]).reshape(len(clips), -1)
    lengths = np.array([[len(copy) for copy in copies] for copies in clips])
    mel = np.concatenate([copy for copies in clips for copy in copies])
    assert mel.shape[1] == N_MELS
    return FeatureBank(mel, np.stack([ends - lengths, ends], axis=-1))
