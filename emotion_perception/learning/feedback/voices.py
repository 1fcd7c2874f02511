"""Fine-tuning of the voice model on corrected voices; :mod:`.learn` has the part common to faces and voices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.nn import functional as F

from emotion_perception.acoustic.features import N_MELS
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector
from emotion_perception.emotions import EMOTIONS
from emotion_perception.feedback.recent import MIN_SOUND_S
from emotion_perception.learning import precision
from emotion_perception.learning.feedback.learn import Feedback, FeedbackTraining, Learner
from emotion_perception.learning.voices import calibration
from emotion_perception.learning.voices.augmentation import colour, mask_spectrogram, noise_spectrograms
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.dataset import Speech, Targets, draw_batch
from emotion_perception.learning.voices.features import FeatureBank, clip_features
from emotion_perception.learning.voices.network import VoiceNet
from emotion_perception.learning.voices.train import adamw, emotion_loss, intensity_loss
from emotion_perception.learning.voices.weights import load_voice, publish_voice

CHANGED = 0.1  # share of the predictions in which two equally accurate models differ


@dataclass(frozen=True)
class VoiceFeedbackTraining(FeedbackTraining):
    """Hyper-parameters. The tolerance depends on the number of test clips, see :attr:`VoiceLearner.tolerance`."""

    batch: int = 32
    learning_rate: float = 3e-4  # AdamW peak of the layers after the encoder
    weight_decay: float = 0.05
    interpolation: float = 0.5  # chosen on validation speakers, see docs/dashboard.md
    tolerance: float = 0.0  # accuracy, 0..1; 0: computed from the size of the test set
    base: AcousticTraining = field(default_factory=AcousticTraining)  # sampling and augmentation of the base data


class VoiceLearner(Learner):
    """Fine-tunes the voice model on corrected voices.

    Args:
        data: folder of speech corpora.
        cache: folder for cached features of the base data; these take minutes and never change.
    """

    kind = "voice"
    labels = EMOTIONS
    published = "voice.onnx"

    def __init__(self, data: Path, cache: Path, config: VoiceFeedbackTraining | None = None) -> None:
        self.data, self.cache = data, cache
        self.config: VoiceFeedbackTraining = config or VoiceFeedbackTraining()
        self._detector: VoiceActivityDetector | None = None
        self._rng = np.random.default_rng(self.config.seed)

    @property
    def tolerance(self) -> float:
        """Standard error of the accuracy difference between two equally accurate models that differ in 10 % of clips.

        Each corpus has the same weight, so the smallest contributes most: with 240, 127 and 538 clips the error is 1.2
        percentage points. (For 3,518 faces it would be 0.5.)
        """
        if self.config.tolerance:
            return self.config.tolerance
        sizes = [len(split) for split in self.tested.splits]
        return math.sqrt(CHANGED * sum(1 / size for size in sizes)) / len(sizes)

    def read(self, path: Path) -> list[np.ndarray]:
        """Log-mel ``(F, 80)`` of the corrected sound, cropped as at run time, and of perturbed copies."""
        self._detector = self._detector or VoiceActivityDetector()
        try:
            found = clip_features(path.with_suffix(".wav"), self._detector, self.config.base.copies, self._rng)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"its sound cannot be read ({error})") from None
        if len(found[0]) < 100 * MIN_SOUND_S:
            raise ValueError(f"its sound has {len(found[0]) / 100:.2f} s of speech, {MIN_SOUND_S} s are needed")
        if float(np.ptp(found[0])) == 0:
            raise ValueError("its sound is silent")
        return found

    def prepare(self) -> None:
        """Read the corpora, or their cached features."""
        speech = Speech.read(self.data, self.config.base, self.cache)
        self.training, self.validation, self.tested = map(speech.held_for, ("train", "validation", "test"))
        for name, part in (("train", self.training), ("validation", self.validation), ("test", self.tested)):
            if not part.splits:
                raise ValueError(f"{self.data} has no speaker to {name} with")

    def load(self, weights: Path) -> VoiceNet:
        """Load the emotion network of a published file."""
        return load_voice(weights)[0]

    def publish(self, path: Path, net: Any, changes: dict[str, Any], source: Path) -> None:
        """Write the fine-tuned network; overlap detector and other card fields are those of ``source``."""
        _, overlap, card = load_voice(source)
        distance, unfamiliar = calibration.fit_distance(net, self.training, self.validation)
        publish_voice(path, net, overlap, card.to_mapping() | changes | {"unfamiliar": unfamiliar}, distance)

    def optimizer(self, net: Any) -> torch.optim.Optimizer:
        """The same optimizer as in training."""
        return adamw(net, self.config.learning_rate, self.config.base.encoder_rate, self.config.weight_decay)

    def begin(self, net: Any, feedback: Feedback) -> None:
        """Join base data and corrections in one bank, so that babble is mixed from both."""
        net.train()
        corrected = _bank([feedback.evidence[row] for row in feedback.learn])
        self._bank = FeatureBank.join([self.training.bank, corrected])
        self._targets = Targets.of(self.training.splits, self.config.base.share)
        self._labels = torch.from_numpy(feedback.labels[feedback.learn])
        self._noises = noise_spectrograms(self.config.seed)
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._rng = np.random.default_rng(self.config.seed)

    def batch_loss(self, net: Any, base_rows: int, corrections: torch.Tensor) -> torch.Tensor:
        """Losses of the training for base clips; cross-entropy over all labels for corrected clips."""
        config, base, targets = self.config, self.config.base, self._targets
        rows = torch.multinomial(targets.draw, base_rows, replacement=True, generator=self._generator)
        drawn = torch.cat([rows, len(targets.labels) + corrections])
        mel, frames = draw_batch(self._bank, drawn.numpy(), self._noises, base, self._rng)
        mel = colour(mel, base.microphone_db, self._generator)
        mel = mask_spectrogram(mel, frames, base.masked_bands, base.masked_share, self._generator)
        with precision.autocast(mel.device, self.number_format):
            emotion, intensity, _ = net(mel, frames)
        emotion, intensity = emotion.float(), intensity.float()
        labels = targets.labels[rows]
        loss = emotion_loss(emotion[:base_rows], labels, targets.present[rows], base).mean()
        loss = loss + base.intensity_weight * intensity_loss(
            intensity[:base_rows], labels, targets.intensity[rows], torch.ones(base_rows)
        )
        corrected = F.cross_entropy(emotion[base_rows:], self._labels[corrections], label_smoothing=config.smoothing)
        return (1 - config.feedback_share) * loss + config.feedback_share * corrected

    def predict(self, net: Any, evidence: Sequence[Any]) -> np.ndarray:
        """The most probable emotion of each whole clip."""
        return calibration.predict(net, _bank([copies[:1] for copies in evidence]))[0].argmax(1)

    def test(self, net: Any) -> dict[str, Any]:
        """Accuracy and mean recall, averaged over the corpora, and the scores of each corpus."""
        found = {name: round(value, 4) for name, value in calibration.evaluate(net, self.tested).items()}
        corpora = [split.corpus for split in self.tested.splits]
        return {
            "test_voices": {split.corpus: len(split) for split in self.tested.splits},
            "accuracy": round(float(np.mean([found[f"{corpus}_accuracy"] for corpus in corpora])), 4),
            "mean_recall": round(float(np.mean([found[f"{corpus}_uar"] for corpus in corpora])), 4),
            **{name: value for name, value in found.items() if not name.endswith("_closed")},
        }

    def card(self, net: Any) -> dict[str, Any]:
        """The card fields that are determined on the validation speakers, as in training."""
        validated = calibration.HeldOutLogits.of(net, self.validation)
        return {
            "calibration": calibration.fit_calibration(validated),
            "population": calibration.mean_logits(validated).tolist(),
            "scores": calibration.evaluate(net, self.validation),
        }


def _bank(clips: Sequence[Sequence[np.ndarray]]) -> FeatureBank:
    """Store the copies of all clips in one bank."""
    ends = np.cumsum([len(copy) for copies in clips for copy in copies]).reshape(len(clips), -1)
    lengths = np.array([[len(copy) for copy in copies] for copies in clips])
    mel = np.concatenate([copy for copies in clips for copy in copies])
    assert mel.shape[1] == N_MELS
    return FeatureBank(mel, np.stack([ends - lengths, ends], axis=-1))
