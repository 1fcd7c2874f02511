"""Fine-tuning of the face model on corrected faces; what faces and voices share is in :mod:`.learn`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.feedback.recent import MARGIN
from emotion_perception.inference.cards import load_card
from emotion_perception.learning import precision
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.augmentation import AugmentationConfig, augment_faces
from emotion_perception.learning.faces.export import publish_faces
from emotion_perception.learning.faces.familiarity import learn_if_enough
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.network import N_VISUAL
from emotion_perception.learning.faces.teachers import load_network
from emotion_perception.learning.feedback.learn import Feedback, FeedbackTraining, Learner
from emotion_perception.media.images import read_image
from emotion_perception.visual.face_crop import whole_crop
from emotion_perception.visual.perception import VisualPerception

# Strong, because few faces are corrected, and each is learnt many times.
AUGMENTATION = AugmentationConfig(
    warp=1.0, light=0.35, tone=0.5, resolution=0.25, blur=0.15, sharpen=0.2, compress=0.2, noise=0.4, cover=0.3
)

TEST_SPLIT = "PrivateTest"  # never used for training or calibration


@dataclass(frozen=True)
class FaceFeedbackTraining(FeedbackTraining):
    """Hyper-parameters. The tolerance is within the sampling error of 3,518 faces."""

    learning_rate: float = 0.004  # peak, SGD; small, to preserve what was learnt before
    momentum: float = 0.9


class FaceLearner(Learner):
    """Fine-tunes the face model on corrected faces.

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
        """``(48, 48)`` uint8: the face nearest to the centre of the stored image, aligned as at run time; the original
        box if no face is detected."""
        self._perception = self._perception or VisualPerception()
        image = read_image(path.with_suffix(".jpg"))
        height, width = image.shape[:2]
        found = [
            (face.box, face.crop)
            for face in self._perception.detect_still(image, landmarks=False)
            if face.crop is not None
        ]
        if found:
            distance = [
                abs(box.x + box.width / 2 - width / 2) + abs(box.y + box.height / 2 - height / 2) for box, _ in found
            ]
            return found[int(np.argmin(distance))][1]
        inset = MARGIN / (1 + 2 * MARGIN)
        x, y = round(inset * width), round(inset * height)
        return whole_crop(np.ascontiguousarray(image[y : height - y, x : width - x]))

    def prepare(self) -> None:
        """Read the three splits of FER+."""
        self.training = load_ferplus(self.data, "Training")
        self.validation, self.tested = load_ferplus(self.data, "PublicTest"), load_ferplus(self.data, TEST_SPLIT)

    def load(self, weights: Path) -> Any:
        """The network of a published file."""
        return load_network(weights)

    def publish(self, path: Path, net: Any, changes: dict[str, Any], source: Path) -> None:
        """Write the fine-tuned network, with a familiarity of its own; the rest of the card is that of ``source``."""
        publish_faces(path, net, load_card(source).to_mapping() | changes)
        learn_if_enough(path, self.data)

    def optimizer(self, net: Any) -> torch.optim.Optimizer:
        """As in training."""
        return torch.optim.SGD(
            net.parameters(), lr=self.config.learning_rate, momentum=self.config.momentum, nesterov=True
        )

    def begin(self, net: Any, feedback: Feedback) -> None:
        """Make tensors of the base data and the corrections."""
        net.eval()  # keeps the batch-norm statistics of the base data
        base, training = train_visual.VisualTraining(), self.training
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._draw = train_visual.draw_weights(training, base.rare_power)
        self._faces = torch.from_numpy(training.faces)
        self._targets = train_visual.label_tensors(training, base)
        size = training.faces.shape[1:]  # the network may take larger faces, but enlarges small ones itself
        corrected = [cv2.resize(feedback.evidence[row], size, interpolation=cv2.INTER_AREA) for row in feedback.learn]
        self._corrected = torch.from_numpy(np.stack(corrected))
        self._labels = torch.from_numpy(feedback.labels[feedback.learn])

    def batch_loss(self, net: Any, base_rows: int, corrections: torch.Tensor) -> torch.Tensor:
        """The training's loss on base faces; on corrected faces the cross-entropy of both classification heads."""
        config, base = self.config, train_visual.VisualTraining()
        rows = torch.multinomial(self._draw, base_rows, replacement=True, generator=self._generator)
        faces = torch.cat([self._faces[rows], self._corrected[corrections]]).unsqueeze(1).float()
        x = augment_faces(faces, self._generator, AUGMENTATION)
        with precision.autocast(x.device, self.number_format):
            heads = net(x.contiguous(memory_format=torch.channels_last))
        a, b, c = (head.float()[:base_rows] for head in heads)
        new = [head.float()[base_rows:] for head in heads]
        soft, strength, label, weight = (target[rows] for target in self._targets)
        loss = train_visual.training_loss(a, b, c, soft, strength, label, weight, base)
        truth = self._labels[corrections]
        corrected = F.cross_entropy(new[0], truth, label_smoothing=config.smoothing)
        corrected = corrected + base.fer2013_weight * F.cross_entropy(new[1], truth, label_smoothing=config.smoothing)
        return (1 - config.feedback_share) * loss + config.feedback_share * corrected

    def predict(self, net: Any, evidence: Sequence[Any]) -> np.ndarray:
        """The most probable emotion by the FER+ head."""
        return train_visual.predict(net, np.stack(evidence))[0][:, :N_VISUAL].argmax(1)

    def test(self, net: Any) -> dict[str, Any]:
        """Accuracy and mean recall on the majority votes of the test split."""
        truth = self.tested.majority
        rows = (truth >= 0) & (truth < N_VISUAL)
        right = self.predict(net, list(self.tested.faces[rows])) == truth[rows]
        recalls = [right[truth[rows] == c].mean() for c in range(N_VISUAL) if (truth[rows] == c).any()]
        return {
            "test_faces": int(rows.sum()),
            "accuracy": round(float(right.mean()), 4),
            "mean_recall": round(float(np.mean(recalls)), 4),
        }

    def card(self, net: Any) -> dict[str, Any]:
        """The calibration, fitted on the validation split."""
        return {"calibration": train_visual.calibrate(net, self.validation)}
