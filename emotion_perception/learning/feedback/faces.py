"""Corrected faces for the face model: what of learning from feedback is theirs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.feedback.recent import MARGIN
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.augmentation import augment_faces
from emotion_perception.learning.faces.export import publish_faces
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.network import N_VISUAL
from emotion_perception.learning.feedback.learn import Feedback, FeedbackTraining, Learner
from emotion_perception.media.files import read_image
from emotion_perception.visual.face_crop import whole_crop
from emotion_perception.visual.perception import VisualPerception

TEST_SPLIT = "PrivateTest"  # fixed: no training and no calibration ever sees it


@dataclass(frozen=True)
class FaceFeedbackTraining(FeedbackTraining):
    """Hyper-parameters; the tolerance is within chance on 3,518 faces."""

    learning_rate: float = 0.004  # SGD peak; a thirtieth of the training from scratch
    momentum: float = 0.9


class FaceLearner(Learner):
    """The face model learns from corrected faces.

    Args:
        data: the base data, ``ferplus.npz``.
    """

    kind = "face"
    labels = VISUAL_EMOTIONS
    published = "expression.onnx"

    def __init__(self, data: Path, config: FaceFeedbackTraining | None = None) -> None:
        self.data = data
        self.config: FaceFeedbackTraining = config or FaceFeedbackTraining()
        self._perception: VisualPerception | None = None

    def read(self, path: Path) -> np.ndarray:
        """``(48, 48)`` uint8: the face in the middle of the stored picture, aligned as on the robot; where none is
        found, the box it was in."""
        self._perception = self._perception or VisualPerception()
        image = read_image(path.with_suffix(".jpg"))
        height, width = image.shape[:2]
        found = [(face.box, face.crop) for face in self._perception.detect_still(image) if face.crop is not None]
        if found:
            off = [
                abs(box.x + box.width / 2 - width / 2) + abs(box.y + box.height / 2 - height / 2) for box, _ in found
            ]
            return found[int(np.argmin(off))][1]
        inset = MARGIN / (1 + 2 * MARGIN)
        x, y = round(inset * width), round(inset * height)
        return whole_crop(np.ascontiguousarray(image[y : height - y, x : width - x]))

    def prepare(self) -> None:
        """Read the archive's three splits."""
        self.training = load_ferplus(self.data, "Training")
        self.validation, self.tested = load_ferplus(self.data, "PublicTest"), load_ferplus(self.data, TEST_SPLIT)

    def load(self, weights: Path) -> Any:
        """The network."""
        return train_visual.load_network(weights)

    def publish(self, path: Path, net: Any, changes: dict[str, Any], source: Path) -> None:
        """Write the fine-tuned network; the rest of the card is ``source``'s."""
        publish_faces(path, net, load_card(source).to_mapping() | changes)

    def optimizer(self, net: Any) -> torch.optim.Optimizer:
        """As in training."""
        return torch.optim.SGD(
            net.parameters(), lr=self.config.learning_rate, momentum=self.config.momentum, nesterov=True
        )

    def begin(self, net: Any, feedback: Feedback) -> None:
        """Tensors of all that is drawn."""
        net.eval()  # the batch norms' statistics are those of the base data, and stay
        whole, training = train_visual.VisualTraining(), self.training
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._draw = train_visual.draw_weights(training, whole.rare_power)
        self._faces = torch.from_numpy(training.faces)
        self._targets = train_visual.label_tensors(training, whole)
        self._ours = torch.from_numpy(np.stack([feedback.evidence[row] for row in feedback.learn]))
        self._labels = torch.from_numpy(feedback.labels[feedback.learn])

    def batch_loss(self, net: Any, base_rows: int, mine: torch.Tensor) -> torch.Tensor:
        """The training's loss on the base faces; of both heads on the corrected ones."""
        config, whole = self.config, train_visual.VisualTraining()
        rows = torch.multinomial(self._draw, base_rows, replacement=True, generator=self._generator)
        x = augment_faces(torch.cat([self._faces[rows], self._ours[mine]]).unsqueeze(1).float(), self._generator)
        heads = net(x.contiguous(memory_format=torch.channels_last))
        a, b, c = (head.float()[:base_rows] for head in heads)
        new = [head.float()[base_rows:] for head in heads]
        soft, strength, label, weight = (target[rows] for target in self._targets)
        loss = train_visual.training_loss(a, b, c, soft, strength, label, weight, whole)
        truth = self._labels[mine]
        corrected = F.cross_entropy(new[0], truth, label_smoothing=config.smoothing)
        corrected = corrected + whole.fer2013_weight * F.cross_entropy(new[1], truth, label_smoothing=config.smoothing)
        return (1 - config.feedback_share) * loss + config.feedback_share * corrected

    def said(self, net: Any, evidence: Sequence[Any]) -> np.ndarray:
        """The FER+ head's answers."""
        return train_visual.predict(net, np.stack(evidence))[0][:, :N_VISUAL].argmax(1)

    def test(self, net: Any) -> dict[str, Any]:
        """On the majority of the test split's votes."""
        truth = self.tested.majority
        rows = (truth >= 0) & (truth < N_VISUAL)
        right = self.said(net, list(self.tested.faces[rows])) == truth[rows]
        recalls = [right[truth[rows] == c].mean() for c in range(N_VISUAL) if (truth[rows] == c).any()]
        return {
            "test_faces": int(rows.sum()),
            "accuracy": round(float(right.mean()), 4),
            "mean_recall": round(float(np.mean(recalls)), 4),
        }

    def card(self, net: Any) -> dict[str, Any]:
        """Calibrated on the validation split."""
        return {"calibration": train_visual.calibrate(net, self.validation)}
