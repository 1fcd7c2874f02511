"""Fine-tune a model on people's corrections without forgetting what it learnt before.

The accepted corrections in a folder (:mod:`emotion_perception.feedback.corrections`) are few and from one place, the
base data are many. A quarter of each batch are corrections, three quarters base data (rehearsal, Robins 1995); the
learning rate is small, and the batch-norm statistics are kept. Every fifth correction is held out.

The model is scored before and after, on the fixed test split of the base data and on the corrections. If it is worse,
the old model stays in use. Otherwise it becomes a new version with its card; one command returns to the old one.

What is specific to faces and voices is in :mod:`emotion_perception.learning.feedback.faces` and
:mod:`emotion_perception.learning.feedback.voices`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from emotion_perception.feedback.corrections import ACCEPTED, read_correction
from emotion_perception.feedback.learnable import MIN_CORRECTIONS, count_pending, is_held_out
from emotion_perception.feedback.model_versions import FRESH, ModelVersions
from emotion_perception.inference.cards import card_path
from emotion_perception.learning import precision
from emotion_perception.learning.common import one_cycle_schedule, seed_everything
from emotion_perception.media.items import MediaError

MIN_LEARNT = 0.1  # share of the corrections that were wrong before
STAGES = ("read", "data", "before", "learn", "after", "publish")  # of a training, in this order

Progress = Callable[[str, int, int], object]  # takes one of STAGES, steps done, steps in all (0: not countable)


def no_progress(stage: str, done: int, total: int) -> None:
    """For whoever does not watch."""


@dataclass(frozen=True)
class FeedbackTraining:
    """Hyper-parameters common to both models."""

    steps: int = 200
    batch: int = 64
    feedback_share: float = 0.25  # of a batch; each of N corrections is used about 3,200 / N times, augmented anew
    learning_rate: float = 0.001  # peak
    smoothing: float = 0.1  # of the corrected labels: people make mistakes
    interpolation: float = 1.0  # from old (0) to trained (1) weights; less forgets less (Wortsman et al. 2022)
    min_corrections: int = MIN_CORRECTIONS
    tolerance: float = 0.005  # accepted loss of accuracy, twice as much of mean recall, on the test split: by chance
    seed: int = 7

    @property
    def corrections_per_batch(self) -> int:
        """Number of corrections in a batch."""
        return round(self.batch * self.feedback_share)


@dataclass(frozen=True)
class Feedback:
    """Accepted corrections of one kind as inputs of the model."""

    evidence: tuple[Any, ...]  # N faces or voices
    labels: np.ndarray  # (N,) int64, index in the model's vocabulary
    held_out: np.ndarray  # (N,) bool
    left_out: tuple[str, ...] = ()  # corrections that cannot be read, with the reason
    pending: int = 0  # number of corrections of this kind not reviewed yet; not included above
    ids: tuple[str, ...] = ()  # N, of the corrections

    @property
    def learn(self) -> np.ndarray:
        """Rows to train on."""
        return np.flatnonzero(~self.held_out)

    @property
    def draw(self) -> torch.Tensor:
        """Sampling weight of each row of :attr:`learn`: all corrected emotions are equally frequent."""
        labels = self.labels[self.learn]
        return torch.from_numpy(1.0 / np.bincount(labels)[labels])


class Learner(ABC):
    """Fine-tuning of one of the models on corrections."""

    kind: ClassVar[str]  # of the corrections: "face" or "voice"
    labels: ClassVar[tuple[str, ...]]  # the model's emotions
    published: ClassVar[str]  # name of the initial model
    config: FeedbackTraining
    number_format: torch.dtype = torch.float32  # of the forward passes

    @property
    def tolerance(self) -> float:
        """Accepted loss of accuracy on the test split."""
        return self.config.tolerance

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The model's input for the correction with this JSON file.

        Raises:
            ValueError, OSError: it cannot be read.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Read the base data; this may take minutes.

        Raises:
            ValueError, OSError: they are missing.
        """

    @abstractmethod
    def load(self, weights: Path) -> Any:
        """The network of published weights."""

    @abstractmethod
    def batch_loss(self, net: Any, base_rows: int, corrections: torch.Tensor) -> torch.Tensor:
        """Loss of a batch.

        Args:
            net: the network.
            base_rows: number of examples to draw from the base data.
            corrections: indices in :attr:`Feedback.learn`.
        """

    @abstractmethod
    def optimizer(self, net: Any) -> torch.optim.Optimizer:
        """The optimizer with its peak learning rates."""

    @abstractmethod
    def begin(self, net: Any, feedback: Feedback) -> None:
        """Prepare to draw batches from the beginning; batch norms must keep their statistics."""

    @abstractmethod
    def predict(self, net: Any, evidence: Sequence[Any]) -> np.ndarray:
        """``(N,)`` index of the most probable emotion of each input."""

    @abstractmethod
    def test(self, net: Any) -> dict[str, Any]:
        """Scores on the test split: ``accuracy``, ``mean_recall``, its sizes as ``test_...``, and others."""

    @abstractmethod
    def card(self, net: Any) -> dict[str, Any]:
        """The fields of the card that depend on the weights, such as the new calibration."""

    @abstractmethod
    def publish(self, path: Path, net: Any, changes: dict[str, Any], source: Path) -> None:
        """Write the network; its card is that of the file ``source`` with ``changes``."""


def load_feedback(folder: Path, learner: Learner) -> Feedback:
    """The accepted corrections of the learner's kind; those that cannot be read are reported and left out.

    Raises:
        ValueError: there is no such folder.
    """
    accepted = folder / ACCEPTED
    if not accepted.is_dir():
        raise ValueError(f"{folder} has no accepted corrections: accept some on the dashboard's feedback page")
    evidence, labels, held_out, left_out, ids = [], [], [], [], []
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
        held_out.append(is_held_out(path, fields))
        ids.append(path.stem)
    return Feedback(
        tuple(evidence),
        np.array(labels, np.int64),
        np.array(held_out, bool),
        tuple(left_out),
        count_pending(folder, learner.kind),
        tuple(ids),
    )


def train_from_feedback(
    folder: Path, learner: Learner, versions: ModelVersions, base: Path, progress: Progress = no_progress
) -> dict[str, Any]:
    """Fine-tune the current version (``base`` if there is none yet); use the result unless it is worse.

    Args:
        folder: of the corrections.
        learner: for faces or voices; has the base data.
        versions: folder of models; ``base`` becomes version 1 of an empty one.
        base: published model to start from.
        progress: called at the beginning of each stage and after each batch.

    Returns:
        The report: scores before and after, ``replaced``, and the ``reason`` if it was not replaced.

    Raises:
        ValueError: too few corrections, or the base data are incomplete.
        OSError: the base data cannot be read.
        ModelError: the weights are missing or corrupt.
    """
    config = learner.config
    seed_everything(config.seed)
    progress("read", 0, 0)
    feedback = load_feedback(folder, learner)
    learn = len(feedback.learn)
    if learn < config.min_corrections:
        raise ValueError(_too_few(folder, learner, feedback))
    net = learner.load(base if versions.current is None else versions.path(versions.current))
    progress("data", 0, 0)
    learner.prepare()
    progress("before", 0, 0)
    before = measure(net, learner, feedback)
    if versions.current is None:
        versions.add(base, {"made": _now(), "from": base.name, "scores": before})
    current = versions.current
    assert current is not None
    _fit(net, learner, feedback, progress)
    progress("after", 0, 0)
    changed = learner.card(net)
    after = measure(net, learner, feedback)
    reason = got_worse(before, after, [card["scores"] for card in versions.cards()], learner.tolerance)
    reason = reason or learnt_nothing(before, after)
    counts = {
        "corrections": learn,
        "held_out": int(feedback.held_out.sum()),
        "left_out": len(feedback.left_out),
        "pending": feedback.pending,
        "ids": list(feedback.ids),
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
    progress("publish", 0, 0)
    source = versions.path(current)
    fresh = versions.folder / FRESH
    learner.publish(fresh, net, {**changed, "feedback": asdict(config)}, source)
    try:
        entry = {"made": _now(), "from": f"version {current}", "scores": after, "before": before, **counts}
        report["version"] = versions.add(fresh, {**entry, "training": asdict(config)})
    finally:
        fresh.unlink(missing_ok=True)
        card_path(fresh).unlink(missing_ok=True)
    return report


def _too_few(folder: Path, learner: Learner, feedback: Feedback) -> str:
    text = f"{folder}: {len(feedback.learn)} accepted {learner.kind}s to learn from, at least "
    text += f"{learner.config.min_corrections} are needed; {int(feedback.held_out.sum())} more are held out"
    if feedback.left_out:
        text += f", {len(feedback.left_out)} cannot be read (the first is {feedback.left_out[0]})"
    if feedback.pending:
        text += f", {feedback.pending} are not reviewed yet on the dashboard's feedback page"
    return text


def _fit(net: Any, learner: Learner, feedback: Feedback, progress: Progress) -> None:
    """Fine-tune ``net`` in place on batches of base data and corrections."""
    config = learner.config
    base_rows = config.batch - config.corrections_per_batch
    generator = torch.Generator().manual_seed(config.seed)
    old = {name: value.clone() for name, value in net.state_dict().items()}
    net.requires_grad_(True)
    learner.begin(net, feedback)
    quarter = torch.arange(max(2, config.corrections_per_batch // 4)) % len(feedback.learn)

    def first_loss(net: Any, number_format: torch.dtype) -> torch.Tensor:
        learner.number_format = number_format
        return learner.batch_loss(net, base_rows // 4, quarter)

    learner.number_format = precision.training_precision(net, first_loss)
    learner.begin(net, feedback)  # draws the same batches, however many were measured
    optimizer = learner.optimizer(net)
    schedule = one_cycle_schedule(optimizer, config.steps)
    for step in tqdm(range(config.steps), desc="learning from feedback", unit="batch", leave=False):
        progress("learn", step, config.steps)
        rows = torch.multinomial(feedback.draw, config.corrections_per_batch, replacement=True, generator=generator)
        loss = learner.batch_loss(net, base_rows, rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    net.requires_grad_(False).eval()
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(old[name].lerp(value, config.interpolation))


def measure(net: Any, learner: Learner, feedback: Feedback) -> dict[str, Any]:
    """Scores on the test split, and accuracy on the corrections used for training and held out."""
    right = np.zeros(0, bool)
    if feedback.evidence:
        right = learner.predict(net, feedback.evidence) == feedback.labels
    held, learnt = right[feedback.held_out], right[~feedback.held_out]
    return {
        **learner.test(net),
        "corrections_right": round(float(learnt.mean()), 4) if len(learnt) else None,
        "held_out_right": round(float(held.mean()), 4) if len(held) else None,
    }


def got_worse(before: dict[str, Any], after: dict[str, Any], versions: list[dict[str, Any]], tolerance: float) -> str:
    """Why a model must not replace the previous one; empty if it may.

    It is compared with the best version so far, so that small losses do not accumulate; versions that were scored on
    another test split (other corpora available) are ignored.
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
    """Why a model that is not worse is not used either: it did not learn; empty if it did or had nothing to learn.

    Corrections that contradict each other or the base data cannot be learnt; this is the sign of many wrong ones.
    """
    old, new = before["corrections_right"], after["corrections_right"]
    if old is None or old == 1 or new - old >= MIN_LEARNT * (1 - old):
        return ""
    return (
        f"it learnt next to nothing: of the corrections it learnt from {100 * new:.0f} % are right, before "
        f"{100 * old:.0f} %; look at the accepted ones again, they may contradict each other or be wrong"
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
