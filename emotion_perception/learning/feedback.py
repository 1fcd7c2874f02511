"""Learn from what people corrected, without unlearning the rest; read it from top to bottom.

The accepted corrections of a folder (:mod:`emotion_perception.dashboard.corrections`) are a few faces of one place,
the base data 28,558 of the web. Each batch has a quarter of the former and three quarters of the latter (rehearsal:
Robins 1995), the learning rate is small, and the batch norms keep their statistics. Every fifth correction is held out.

Before and after, the model is scored on the base data's test split, which never changes, and on the corrections. A
model that got worse is not put into place; one that is becomes a version, with its card, that one command takes back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from emotion_perception.dashboard.corrections import ACCEPTED, MARGIN, read_correction
from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.files import write_atomically
from emotion_perception.inference import read_weights
from emotion_perception.learning import train_visual
from emotion_perception.learning.common import one_cycle, publish_weights, seed_everything
from emotion_perception.learning.face_augmentation import augment_faces
from emotion_perception.learning.ferplus import FerPlusSplit, load_ferplus
from emotion_perception.media import MediaError, read_image
from emotion_perception.visual.expression_net import N_VISUAL
from emotion_perception.visual.perception import VisualConfig, VisualPerception, whole_crop

TEST_SPLIT = "PrivateTest"  # fixed: no training and no calibration ever sees it
CURRENT = "current.safetensors"
_VERSION = re.compile(r"v(\d{4})\.safetensors")


@dataclass(frozen=True)
class FeedbackTraining:
    """Hyper-parameters."""

    steps: int = 200
    batch: int = 64
    feedback_share: float = 0.25  # of a batch; each correction is seen some 3,200 / N times, each time augmented anew
    learning_rate: float = 0.004  # SGD peak; a thirtieth of the training from scratch
    momentum: float = 0.9
    smoothing: float = 0.1  # of the corrected labels: people err, too
    least: int = 5  # corrections to learn from; fewer would be learnt by heart
    tolerance: float = 0.005  # of accuracy and 2x of the mean recall on the test split, within chance on 3,518 faces
    seed: int = 7


@dataclass(frozen=True)
class Feedback:
    """Accepted corrections of faces, as the classifier sees them."""

    faces: np.ndarray  # (N, 48, 48) uint8
    labels: np.ndarray  # (N,) int64, index in the visual vocabulary
    held_out: np.ndarray  # (N,) bool
    left_out: int  # that could not be read, or are of a voice


class ModelVersions:
    """A folder of models: ``v0001.safetensors`` with ``v0001.json``; ``current.safetensors`` is a link to one of them.

    Point visual_node's ``expression_model`` at the link. Version 1 is the model that all began with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def current(self) -> int | None:
        """Number of the version in place; None where there is none yet."""
        try:
            found = _VERSION.fullmatch(os.readlink(self.folder / CURRENT))
        except OSError:
            return None
        return int(found[1]) if found else None

    def path(self, number: int) -> Path:
        """The weights of a version."""
        return self.folder / f"v{number:04}.safetensors"

    def card(self, number: int) -> dict[str, Any]:
        """What is known of a version.

        Raises:
            ValueError: there is no such version, or its card is damaged.
        """
        try:
            return json.loads(self.path(number).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.folder} has no version {number} with a card ({error})") from None

    def cards(self) -> list[dict[str, Any]]:
        """The cards of all versions, oldest first."""
        numbers = sorted(int(found[1]) for path in self.folder.glob("*") if (found := _VERSION.fullmatch(path.name)))
        return [self.card(number) for number in numbers]

    def add(self, weights: Path, card: dict[str, Any]) -> int:
        """Keep a model and put it into place; its number."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((entry["version"] for entry in self.cards()), default=0)
        card = {"version": number, "parent": self.current, **card}
        partial = self.folder / ".new.safetensors"
        shutil.copyfile(weights, partial)
        write_atomically(self.path(number).with_suffix(".json"), iter((json.dumps(card, indent=1) + "\n",)))
        os.replace(partial, self.path(number))
        self.put_in_place(number)
        return number

    def put_in_place(self, number: int) -> None:
        """Make a version the current one; a reader finds the old or the new one, never none.

        Raises:
            ValueError: there is no such version.
        """
        if not self.path(number).is_file():
            raise ValueError(f"{self.folder} has no version {number}")
        link = self.folder / ".current"
        link.unlink(missing_ok=True)
        link.symlink_to(self.path(number).name)
        os.replace(link, self.folder / CURRENT)

    def roll_back(self) -> int:
        """Put the version back into place from which the current one was made; its number.

        Raises:
            ValueError: there is none.
        """
        current = self.current
        parent = None if current is None else self.card(current)["parent"]
        if parent is None:
            raise ValueError(f"{self.folder}: there is no version before {current or 'the first'}")
        self.put_in_place(parent)
        return parent


def load_feedback(folder: Path) -> Feedback:
    """The accepted corrections of faces.

    Raises:
        ValueError: there is no such folder.
    """
    accepted = folder / ACCEPTED
    if not accepted.is_dir():
        raise ValueError(f"{folder} has no accepted corrections: accept some on the dashboard's feedback page")
    perception = VisualPerception(VisualConfig())
    faces, labels, held_out, left_out = [], [], [], 0
    for path in sorted(accepted.glob("*.json")):
        try:
            fields = read_correction(path)
            if fields["kind"] != "face":
                left_out += 1
                continue
            faces.append(_face_of(perception, read_image(path.with_suffix(".jpg"))))
            labels.append(VISUAL_EMOTIONS.index(fields["label"]))
            # By the id, not by the order: what is held out once is held out in every later training, too. Faces of one
            # stretch look alike: none is learnt where another is to test.
            together = str(fields.get("stretch") or path.stem)
            held_out.append(int(hashlib.sha256(together.encode()).hexdigest(), 16) % 5 == 0)
        except (OSError, ValueError, MediaError) as error:
            tqdm.write(f"left out: {path.name}: {error}")
            left_out += 1
    shape = (0, 48, 48)
    return Feedback(
        np.stack(faces) if faces else np.zeros(shape, np.uint8),
        np.array(labels, np.int64),
        np.array(held_out, bool),
        left_out,
    )


def _face_of(perception: VisualPerception, image: np.ndarray) -> np.ndarray:
    """The face in the middle of a stored picture, aligned as on the robot; where none is found, the box it was in."""
    height, width = image.shape[:2]
    found, crops = perception.still_crops(image)
    if crops:
        off = [
            abs(face.box.x + face.box.width / 2 - width / 2) + abs(face.box.y + face.box.height / 2 - height / 2)
            for face in found
        ]
        return crops[int(np.argmin(off))]
    inset = MARGIN / (1 + 2 * MARGIN)
    x, y = round(inset * width), round(inset * height)
    return whole_crop(np.ascontiguousarray(image[y : height - y, x : width - x]))


def train_from_feedback(
    folder: Path, data: Path, versions: ModelVersions, base: Path, config: FeedbackTraining | None = None
) -> dict[str, Any]:
    """Fine-tune the current version (``base`` where there is none yet); put the result into place if it is no worse.

    Args:
        folder: corrections.
        data: the base data, ``ferplus.npz``.
        versions: where models are kept; gets ``base`` as version 1 at first.
        base: published weights to begin from.

    Returns:
        The report: scores before and after, ``replaced`` and, where it was not, the ``reason``.

    Raises:
        ValueError: too few corrections, or the data are not the base data.
        ModelError: the weights are missing or corrupt.
    """
    config = config or FeedbackTraining()
    seed_everything(config.seed)
    feedback = load_feedback(folder)
    learn = np.flatnonzero(~feedback.held_out)
    if len(learn) < config.least:
        raise ValueError(f"{folder}: {len(learn)} accepted faces to learn from, at least {config.least} are needed")
    test, validation = load_ferplus(data, TEST_SPLIT), load_ferplus(data, "PublicTest")
    training = load_ferplus(data, "Training")
    if versions.current is None:
        net, calibration = _load(base)
        versions.add(base, {"made": _now(), "from": base.name, "scores": measure(net, test, feedback)})
    current = versions.current
    assert current is not None
    net, calibration = _load(versions.path(current))
    before = measure(net, test, feedback)
    _fit(net, training, feedback, learn, config)
    calibration = train_visual.calibrate(net, validation)
    after = measure(net, test, feedback)
    reason = got_worse(before, after, [card["scores"] for card in versions.cards()], config.tolerance)
    report: dict[str, Any] = {
        "corrections": len(learn),
        "held_out": int(feedback.held_out.sum()),
        "left_out": feedback.left_out,
        "before": before,
        "after": after,
        "replaced": not reason,
        "reason": reason,
        "version": current,
    }
    if reason:
        return report
    _, card = read_weights(versions.path(current))
    fresh = versions.folder / ".trained.safetensors"
    publish_weights(fresh, net, {**card, "calibration": calibration, "feedback": asdict(config)})
    try:
        told = {"made": _now(), "from": f"version {current}", "scores": after, "before": before}
        told |= {key: report[key] for key in ("corrections", "held_out", "left_out")}
        report["version"] = versions.add(fresh, {**told, "training": asdict(config)})
    finally:
        fresh.unlink(missing_ok=True)
    return report


def _load(path: Path) -> tuple[Any, dict[str, float]]:
    _, card = read_weights(path)
    return train_visual.load_network(path), card["calibration"]


def _fit(net: Any, training: FerPlusSplit, feedback: Feedback, learn: np.ndarray, config: FeedbackTraining) -> None:
    """The training: three quarters rehearsal, a quarter corrections, all augmented."""
    generator = torch.Generator().manual_seed(config.seed)
    whole = train_visual.VisualTraining()
    net.requires_grad_(True).eval()  # eval: the batch norms' statistics are those of the base data, and stay
    optimizer = torch.optim.SGD(net.parameters(), lr=config.learning_rate, momentum=config.momentum, nesterov=True)
    ours = round(config.batch * config.feedback_share)
    draw_base = train_visual.draw_weights(training, whole.rare_power)
    # Each corrected emotion as often as the others, so that a hundred happy faces do not drown three sad ones.
    counts = np.bincount(feedback.labels[learn], minlength=N_VISUAL)
    draw_ours = torch.from_numpy(1.0 / counts[feedback.labels[learn]])
    base_faces, votes = torch.from_numpy(training.faces), torch.from_numpy(training.distribution)
    strength = torch.from_numpy(training.votes[:, :N_VISUAL] / 10)
    original = torch.from_numpy(training.fer2013)
    hard = F.one_hot(original.clamp(min=0), N_VISUAL).float() * (1 - whole.smoothing) + whole.smoothing / N_VISUAL
    known = (original >= 0).float()
    our_faces, labels = torch.from_numpy(feedback.faces[learn]), torch.from_numpy(feedback.labels[learn])
    for step in tqdm(range(config.steps), desc="learning from feedback", unit="batch", leave=False):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * one_cycle(step, config.steps)
        rows = torch.multinomial(draw_base, config.batch - ours, replacement=True, generator=generator)
        mine = torch.multinomial(draw_ours, ours, replacement=True, generator=generator)
        x = augment_faces(torch.cat([base_faces[rows], our_faces[mine]]).unsqueeze(1).float(), generator)
        heads = net(x.contiguous(memory_format=torch.channels_last))
        a, b, c = (head.float()[: len(rows)] for head in heads)
        new = [head.float()[len(rows) :] for head in heads]
        loss = train_visual.training_loss(a, b, c, votes[rows], strength[rows], hard[rows], known[rows], whole)
        truth = labels[mine]
        corrected = F.cross_entropy(new[0], truth, label_smoothing=config.smoothing)
        corrected = corrected + whole.fer2013_weight * F.cross_entropy(new[1], truth, label_smoothing=config.smoothing)
        loss = (1 - config.feedback_share) * loss + config.feedback_share * corrected
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.requires_grad_(False)


def measure(net: Any, test: FerPlusSplit, feedback: Feedback) -> dict[str, Any]:
    """Accuracy and mean recall on the test split's majority, and accuracy on the corrections, learnt and held out.

    What the robot would say is scored: the FER+ head's answer.
    """
    truth = test.majority
    rows = (truth >= 0) & (truth < N_VISUAL)
    right = _said(net, test.faces[rows]) == truth[rows]
    recalls = [right[truth[rows] == c].mean() for c in range(N_VISUAL) if (truth[rows] == c).any()]
    ours = _said(net, feedback.faces) == feedback.labels if len(feedback.faces) else np.zeros(0, bool)
    held, learnt = ours[feedback.held_out], ours[~feedback.held_out]
    return {
        "test_faces": int(rows.sum()),
        "accuracy": round(float(right.mean()), 4),
        "mean_recall": round(float(np.mean(recalls)), 4),
        "corrections_right": round(float(learnt.mean()), 4) if len(learnt) else None,
        "held_out_right": round(float(held.mean()), 4) if len(held) else None,
    }


def _said(net: Any, faces: np.ndarray) -> np.ndarray:
    return train_visual.predict(net, faces)[0][:, :N_VISUAL].argmax(1)


def got_worse(before: dict[str, Any], after: dict[str, Any], versions: list[dict[str, Any]], tolerance: float) -> str:
    """Why a model must not take the place of the one before; empty where it may.

    It is held against the best version there ever was, so that many small losses do not add up.
    """
    for name, slack in (("accuracy", tolerance), ("mean_recall", 2 * tolerance)):
        best = max([before[name], *(scores[name] for scores in versions)])
        if after[name] < best - slack:
            words = name.replace("_", " ")
            return (
                f"{words} on the test split fell to {100 * after[name]:.1f} %, the best version has {100 * best:.1f} %"
            )
    old, new = before["held_out_right"], after["held_out_right"]
    if old is not None and new is not None and new < old:
        return f"of the held-out corrections {100 * new:.0f} % are right, before {100 * old:.0f} %"
    old, new = before["corrections_right"], after["corrections_right"]
    if old is not None and new is not None and new < old:
        return f"of the corrections it learnt from {100 * new:.0f} % are right, before {100 * old:.0f} %"
    return ""


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
