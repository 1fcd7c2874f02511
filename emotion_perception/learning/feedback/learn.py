"""Learn from what people corrected, without unlearning the rest; read it from top to bottom.

The accepted corrections of a folder (:mod:`emotion_perception.feedback.corrections`) are a few faces or voices of one
place, the base data thousands of others. Each batch has a quarter of the former and three quarters of the latter
(rehearsal: Robins 1995), the learning rate is small, and the batch norms keep their statistics. Every fifth correction
is held out.

Before and after, the model is scored on the base data's test split, which never changes, and on the corrections. A
model that got worse is not put into place; one that is becomes a version, with its card, that one command takes back.

What faces and voices have of their own is in :mod:`emotion_perception.learning.feedback.faces` and
:mod:`emotion_perception.learning.feedback.voices`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from emotion_perception.feedback.corrections import ACCEPTED, PENDING, read_correction
from emotion_perception.files import write_atomically
from emotion_perception.inference.cards import card_path
from emotion_perception.learning.common import one_cycle, seed_everything
from emotion_perception.media.items import MediaError

CURRENT = "current.onnx"
LEARNT_AT_LEAST = 0.1  # of the corrections that were wrong before
_VERSION = re.compile(r"v(\d{4})\.onnx")


@dataclass(frozen=True)
class FeedbackTraining:
    """Hyper-parameters that both models have."""

    steps: int = 200
    batch: int = 64
    feedback_share: float = 0.25  # of a batch; each correction is seen some 3,200 / N times, each time augmented anew
    learning_rate: float = 0.001  # the peak
    smoothing: float = 0.1  # of the corrected labels: people err, too
    way: float = 1.0  # gone from the old weights towards the trained ones; less forgets less (Wortsman et al. 2022)
    least: int = 5  # corrections to learn from; fewer would be learnt by heart
    tolerance: float = 0.005  # of accuracy, and 2x of the mean recall, on the test split: what chance alone may cost
    seed: int = 7

    @property
    def ours(self) -> int:
        """Corrections in a batch."""
        return round(self.batch * self.feedback_share)


@dataclass(frozen=True)
class Feedback:
    """Accepted corrections of one kind, as the model gets them."""

    evidence: tuple[Any, ...]  # N faces or voices
    labels: np.ndarray  # (N,) int64, index in the model's vocabulary
    held_out: np.ndarray  # (N,) bool
    left_out: tuple[str, ...] = ()  # those that cannot be read, each with the reason
    pending: int = 0  # of this kind that nobody has reviewed; not in the above

    @property
    def learn(self) -> np.ndarray:
        """Rows to learn from."""
        return np.flatnonzero(~self.held_out)

    @property
    def draw(self) -> torch.Tensor:
        """How often each row of :attr:`learn` is drawn: each corrected emotion as often as the others.

        A hundred happy ones do not drown three sad ones.
        """
        labels = self.labels[self.learn]
        return torch.from_numpy(1.0 / np.bincount(labels)[labels])


class Learner(ABC):
    """What learning from corrections is for one of the models."""

    kind: ClassVar[str]  # of the corrections: "face" or "voice"
    labels: ClassVar[tuple[str, ...]]  # its vocabulary
    published: ClassVar[str]  # name of the weights that all begins with
    config: FeedbackTraining

    @property
    def tolerance(self) -> float:
        """What of the accuracy on the test split chance alone may cost."""
        return self.config.tolerance

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The evidence of the correction with this JSON file.

        Raises:
            ValueError, OSError: it cannot be read.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Read the base data; this may take minutes.

        Raises:
            ValueError, OSError: they are not there.
        """

    @abstractmethod
    def load(self, weights: Path) -> Any:
        """The network of published weights."""

    @abstractmethod
    def batch_loss(self, net: Any, base_rows: int, mine: torch.Tensor) -> torch.Tensor:
        """Loss of a batch of so many clips of the base data and the corrections ``mine`` (indices in those learnt)."""

    @abstractmethod
    def optimizer(self, net: Any) -> torch.optim.Optimizer:
        """Of the fine-tuning, at the peak of its learning rate."""

    @abstractmethod
    def begin(self, net: Any, feedback: Feedback) -> None:
        """Get ready to draw batches; batch norms must keep their statistics."""

    @abstractmethod
    def said(self, net: Any, evidence: Sequence[Any]) -> np.ndarray:
        """``(N,)`` what the robot would say of each."""

    @abstractmethod
    def test(self, net: Any) -> dict[str, Any]:
        """``accuracy`` and ``mean_recall`` on the test split, what it is made of as ``test_...``, and what else."""

    @abstractmethod
    def card(self, net: Any) -> dict[str, Any]:
        """What of the model's card has changed with its weights; it is calibrated anew."""

    @abstractmethod
    def publish(self, path: Path, net: Any, changes: dict[str, Any], source: Path) -> None:
        """Write the network with the card of the file ``source`` and these ``changes`` to it."""


class ModelVersions:
    """A folder of models: ``v0001.onnx`` with ``v0001.json``; ``current.onnx`` is a link to one of them.

    Set visual_node's ``expression_model`` or acoustic_node's ``model`` to the link. Version 1 is the model from which
    the first training started. A model's card is in the metadata of its file, so that one file holds all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def link(self) -> Path:
        """The link to the version in use."""
        return self.folder / CURRENT

    @property
    def current(self) -> int | None:
        """Number of the version in place; None where there is none yet."""
        try:
            found = _VERSION.fullmatch(os.readlink(self.link))
        except OSError:
            return None
        return int(found[1]) if found else None

    def path(self, number: int) -> Path:
        """The weights of a version."""
        return self.folder / f"v{number:04}.onnx"

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
        partial = self.folder / ".new.onnx"
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
        os.replace(link, self.link)

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


def load_feedback(folder: Path, learner: Learner) -> Feedback:
    """The accepted corrections of the learner's kind; what cannot be read is named and left out.

    Raises:
        ValueError: there is no such folder.
    """
    accepted = folder / ACCEPTED
    if not accepted.is_dir():
        raise ValueError(f"{folder} has no accepted corrections: accept some on the dashboard's feedback page")
    evidence, labels, held_out, left_out = [], [], [], []
    for path in sorted(accepted.glob("*.json")):
        try:
            fields = read_correction(path)
            if fields["kind"] != learner.kind:
                continue
            label = learner.labels.index(fields["label"])
            evidence.append(learner.read(path))
        except (OSError, ValueError, MediaError) as error:
            left_out.append(f"{path.name}: {error}")
            tqdm.write(f"left out: {left_out[-1]}")
            continue
        labels.append(label)
        held_out.append(_is_held_out(path, fields))
    return Feedback(
        tuple(evidence),
        np.array(labels, np.int64),
        np.array(held_out, bool),
        tuple(left_out),
        _count_pending(folder / PENDING, learner.kind),
    )


def _is_held_out(path: Path, fields: dict[str, Any]) -> bool:
    """By the id, not by the order: what is held out once is held out in every later training, too. What is of one
    stretch is alike: none is learnt where another is to test."""
    together = str(fields.get("stretch") or path.stem)
    return int(hashlib.sha256(together.encode()).hexdigest(), 16) % 5 == 0


def _count_pending(folder: Path, kind: str) -> int:
    count = 0
    for path in folder.glob("*.json"):
        try:
            count += read_correction(path)["kind"] == kind
        except (OSError, ValueError):
            continue
    return count


def train_from_feedback(folder: Path, learner: Learner, versions: ModelVersions, base: Path) -> dict[str, Any]:
    """Fine-tune the current version (``base`` where there is none yet); put the result into place if it is no worse.

    Args:
        folder: corrections.
        learner: of the faces or the voices; knows the base data.
        versions: where models are kept; gets ``base`` as version 1 at first.
        base: published weights to begin from.

    Returns:
        The report: scores before and after, ``replaced`` and, where it was not, the ``reason``.

    Raises:
        ValueError: too few corrections, or the data are not the base data.
        OSError: the base data cannot be read.
        ModelError: the weights are missing or corrupt.
    """
    config = learner.config
    seed_everything(config.seed)
    feedback = load_feedback(folder, learner)
    learn = len(feedback.learn)
    if learn < config.least:
        raise ValueError(_too_few(folder, learner, feedback))
    net = learner.load(base if versions.current is None else versions.path(versions.current))
    learner.prepare()
    before = measure(net, learner, feedback)
    if versions.current is None:
        versions.add(base, {"made": _now(), "from": base.name, "scores": before})
    current = versions.current
    assert current is not None
    _fit(net, learner, feedback)
    changed = learner.card(net)
    after = measure(net, learner, feedback)
    reason = got_worse(before, after, [card["scores"] for card in versions.cards()], learner.tolerance)
    reason = reason or learnt_nothing(before, after)
    counts = {
        "corrections": learn,
        "held_out": int(feedback.held_out.sum()),
        "left_out": len(feedback.left_out),
        "pending": feedback.pending,
    }
    report: dict[str, Any] = {
        **counts,
        "before": before,
        "after": after,
        "tolerance": round(learner.tolerance, 4),
        "replaced": not reason,
        "reason": reason,
        "version": current,
    }
    if reason:
        return report
    source = versions.path(current)
    fresh = versions.folder / ".trained.onnx"
    learner.publish(fresh, net, {**changed, "feedback": asdict(config)}, source)
    try:
        entry = {"made": _now(), "from": f"version {current}", "scores": after, "before": before, **counts}
        report["version"] = versions.add(fresh, {**entry, "training": asdict(config)})
    finally:
        fresh.unlink(missing_ok=True)
        card_path(fresh).unlink(missing_ok=True)
    return report


def _too_few(folder: Path, learner: Learner, feedback: Feedback) -> str:
    text = f"{folder}: {len(feedback.learn)} accepted {learner.kind}s to learn from, at least {learner.config.least} "
    text += f"are needed; {int(feedback.held_out.sum())} more are held out"
    if feedback.left_out:
        text += f", {len(feedback.left_out)} cannot be read (the first is {feedback.left_out[0]})"
    if feedback.pending:
        text += f", {feedback.pending} wait to be accepted on the dashboard's feedback page"
    return text


def _fit(net: Any, learner: Learner, feedback: Feedback) -> None:
    """The training: three quarters rehearsal, a quarter corrections, all augmented."""
    config = learner.config
    generator = torch.Generator().manual_seed(config.seed)
    old = {name: value.clone() for name, value in net.state_dict().items()}
    net.requires_grad_(True)
    learner.begin(net, feedback)
    optimizer = learner.optimizer(net)
    peaks = [group["lr"] for group in optimizer.param_groups]
    for step in tqdm(range(config.steps), desc="learning from feedback", unit="batch", leave=False):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * one_cycle(step, config.steps)
        mine = torch.multinomial(feedback.draw, config.ours, replacement=True, generator=generator)
        loss = learner.batch_loss(net, config.batch - config.ours, mine)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.requires_grad_(False).eval()
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(old[name].lerp(value, config.way))


def measure(net: Any, learner: Learner, feedback: Feedback) -> dict[str, Any]:
    """What the robot would say: scores on the test split, and accuracy on the corrections, learnt and held out."""
    right = np.zeros(0, bool)
    if feedback.evidence:
        right = learner.said(net, feedback.evidence) == feedback.labels
    held, learnt = right[feedback.held_out], right[~feedback.held_out]
    return {
        **learner.test(net),
        "corrections_right": round(float(learnt.mean()), 4) if len(learnt) else None,
        "held_out_right": round(float(held.mean()), 4) if len(held) else None,
    }


def got_worse(before: dict[str, Any], after: dict[str, Any], versions: list[dict[str, Any]], tolerance: float) -> str:
    """Why a model must not take the place of the one before; empty where it may.

    It is held against the best version there ever was, so that many small losses do not add up; versions that were
    scored on another test split (other corpora at hand) say nothing.
    """
    tested = {name: value for name, value in before.items() if name.startswith("test_")}
    versions = [scores for scores in versions if tested.items() <= scores.items()]
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


def learnt_nothing(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Why a model that is no worse is not worth the change; empty where it is, or where nothing was wrong.

    Corrections that contradict each other, or what the base data say of the same faces and voices, are not learnt: that
    is how many wrong ones show.
    """
    old, new = before["corrections_right"], after["corrections_right"]
    if old is None or old == 1 or new - old >= LEARNT_AT_LEAST * (1 - old):
        return ""
    return (
        f"it learnt next to nothing: of the corrections it learnt from {100 * new:.0f} % are right, before "
        f"{100 * old:.0f} %; look at the accepted ones again, they may contradict each other or be wrong"
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
