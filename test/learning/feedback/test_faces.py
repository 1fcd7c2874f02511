"""Learning from corrections: rehearsed, scored before and after, refused when worse, versioned and taken back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from emotion_perception.cli.train import main
from emotion_perception.dashboard.learning_job import LearningConfig, LearningJob
from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.feedback.model_versions import ModelVersions
from emotion_perception.learning.faces import teachers
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.network import ExpressionNetConfig
from emotion_perception.learning.feedback import faces as face_feedback
from emotion_perception.learning.feedback import learn as feedback
from emotion_perception.learning.feedback.faces import FaceFeedbackTraining, FaceLearner
from emotion_perception.learning.feedback.learn import got_worse

SMALL = train_visual.VisualTraining(epochs=3, batch=16, net=ExpressionNetConfig(16, (16, 16, 16, 16), (1, 1, 1, 1)))
HAPPY, SAD, ANGRY = (VISUAL_EMOTIONS.index(name) for name in ("happy", "sad", "angry"))
QUICK = FaceFeedbackTraining(steps=200, batch=16, learning_rate=0.02, tolerance=0.05)


def faces(rng: np.random.Generator, n: int, bright_rows: slice | None) -> np.ndarray:
    """Noise, with a bright bar where there is one: its height is the emotion."""
    made = rng.integers(0, 60, (n, 48, 48)).astype(np.uint8)
    if bright_rows is not None:
        made[:, bright_rows, 8:40] += 150
    return made


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A FER+-like archive: a bar below is happy, none is sad."""
    rng = np.random.default_rng(0)
    happy = rng.random(256) < 0.5
    images = np.where(happy[:, None, None], faces(rng, 256, slice(30, 40)), faces(rng, 256, None))
    votes = np.zeros((256, 10), np.uint8)
    votes[happy, 1] = votes[~happy, 3] = 9
    votes[:, 0] = 1
    usage = np.array(["Training"] * 128 + ["PublicTest"] * 64 + ["PrivateTest"] * 64)
    path = tmp_path_factory.mktemp("base") / "ferplus.npz"
    np.savez(path, images=images, votes=votes, usage=usage, fer2013=np.where(happy, 3, 4).astype(np.int8))
    return path


@pytest.fixture(scope="module")
def base(archive, tmp_path_factory) -> Path:
    """A model that tells happy from sad, and knows of nothing else."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model")
    train_visual.train(archive, folder / "base.onnx", SMALL, folder / "checkpoint")
    return folder / "base.onnx"


def accept(folder: Path, images: np.ndarray, label: str, first: int = 0) -> None:
    """Accepted corrections, as the dashboard stores them; whole pictures, as no face is found in them."""
    (folder / "accepted").mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        name = f"20261123T08{(first + i) // 60:02}{(first + i) % 60:02}Z-abcdef"
        framed = cv2.copyMakeBorder(cv2.resize(image, (96, 96)), 48, 48, 48, 48, cv2.BORDER_CONSTANT, value=30)
        cv2.imwrite(str(folder / "accepted" / f"{name}.jpg"), framed, [cv2.IMWRITE_JPEG_QUALITY, 95])
        fields = {"format": 1, "id": name, "kind": "face", "label": label, "said": "happy", "confidence": 0.9}
        (folder / "accepted" / f"{name}.json").write_text(json.dumps(fields))


@pytest.fixture
def corrections(tmp_path) -> Path:
    """Thirty faces with a bar above, which people say are angry."""
    accept(tmp_path / "feedback", faces(np.random.default_rng(1), 30, slice(6, 16)), "angry")
    return tmp_path / "feedback"


def load_feedback(folder: Path) -> feedback.Feedback:
    return feedback.load_feedback(folder, FaceLearner(Path("unread.npz")))


def train_from(folder: Path, archive: Path, versions: ModelVersions, base: Path, config=QUICK) -> dict:
    return feedback.train_from_feedback(folder, FaceLearner(archive, config), versions, base)


def test_accepted_faces_are_read_as_the_classifier_sees_them(corrections):
    read = load_feedback(corrections)
    assert np.shape(read.evidence) == (30, 48, 48) and (read.labels == ANGRY).all() and 0 < read.held_out.sum() < 15
    seen = np.stack(read.evidence)
    bar, below = seen[:, 8:14, 12:36].mean(), seen[:, 30:40, 12:36].mean()
    assert bar > below + 80, "without a face in it, the picture's middle is what was in the box"
    assert (load_feedback(corrections).held_out == read.held_out).all()


def test_voices_are_not_the_face_models_and_damaged_files_are_named(corrections):
    some = sorted((corrections / "accepted").glob("*.json"))
    some[0].write_text(json.dumps({**json.loads(some[0].read_text()), "kind": "voice"}))
    some[1].write_text("{")
    some[2].with_suffix(".jpg").write_bytes(b"no picture")
    read = load_feedback(corrections)
    assert len(read.evidence) == 27
    assert [text.partition(":")[0] for text in read.left_out] == [some[1].name, some[2].name]


def test_the_model_learns_the_corrections_and_keeps_what_it_knew(corrections, archive, base, tmp_path):
    versions = ModelVersions(tmp_path / "models")
    report = train_from(corrections, archive, versions, base)
    assert report["replaced"], report["reason"]
    assert report["before"]["corrections_right"] == 0.0 and report["after"]["corrections_right"] > 0.8
    assert report["after"]["held_out_right"] > 0.8, "learnt, not remembered"
    assert report["after"]["accuracy"] >= report["before"]["accuracy"] - 0.05 and report["before"]["accuracy"] > 0.9
    assert versions.current == 2
    card = versions.card(2)
    assert card["parent"] == 1 and card["scores"] == report["after"] and card["corrections"] == report["corrections"]
    assert teachers.load_network(versions.link)


def test_without_rehearsal_the_same_training_is_refused(archive, base, tmp_path):
    """Everything, happy faces too, was said to be angry: what would be learnt costs more than it brings."""
    accept(tmp_path, faces(np.random.default_rng(2), 20, slice(30, 40)), "angry")
    versions = ModelVersions(tmp_path / "models")
    reckless = FaceFeedbackTraining(steps=60, batch=16, learning_rate=0.05, feedback_share=0.9, tolerance=0.05)
    report = train_from(tmp_path, archive, versions, base, reckless)
    assert not report["replaced"] and "on the test split fell to" in report["reason"]
    assert versions.current == 1 and (versions.link).read_bytes() == base.read_bytes()
    assert [card["version"] for card in versions.cards()] == [1]


def test_too_few_corrections_are_not_learnt_by_heart(archive, base, tmp_path):
    accept(tmp_path, faces(np.random.default_rng(3), 3, None), "angry")
    with pytest.raises(ValueError, match="accepted faces to learn from, at least 5 are needed"):
        train_from(tmp_path, archive, ModelVersions(tmp_path / "models"), base)
    with pytest.raises(ValueError, match="has no accepted corrections"):
        load_feedback(tmp_path / "nowhere")


SCORES = {"accuracy": 0.8, "mean_recall": 0.7, "corrections_right": 0.5, "held_out_right": 0.5}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"accuracy": 0.796, "mean_recall": 0.691, "corrections_right": 0.9}, ""),
        ({"accuracy": 0.794}, "accuracy on the test split fell to 79.4 %, the best version has 80.0 %"),
        ({"mean_recall": 0.689}, "mean recall on the test split fell to 68.9 %"),
        ({"held_out_right": 0.4}, "of the held-out corrections 40 % are right, before 50 %"),
        ({"corrections_right": 0.4}, "of the corrections it learnt from 40 % are right"),
        ({"held_out_right": None}, ""),
    ],
)
def test_what_counts_as_worse(change, reason):
    told = got_worse(SCORES, SCORES | change, [SCORES], 0.005)
    assert told.startswith(reason) and bool(told) == bool(reason)


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [(0.11, 0.14, True), (0.5, 0.5, True), (0.0, 0.2, False), (0.6, 0.8, False), (1.0, 1.0, False)],
)
def test_a_model_that_learnt_next_to_nothing_is_not_worth_the_change(old, new, refused):
    told = feedback.learnt_nothing(SCORES | {"corrections_right": old}, SCORES | {"corrections_right": new})
    assert bool(told) == refused and ("learnt next to nothing" in told) == refused


def test_small_losses_do_not_add_up_over_versions():
    first, now = SCORES | {"accuracy": 0.82}, SCORES
    assert "the best version has 82.0 %" in got_worse(now, SCORES | {"accuracy": 0.799}, [first, now], 0.005)


def test_versions_are_put_into_place_and_taken_back(base, tmp_path):
    versions = ModelVersions(tmp_path / "models")
    assert versions.current is None and versions.cards() == []
    for _ in range(3):
        versions.add(base, {"scores": SCORES})
    assert versions.current == 3
    assert versions.roll_back() == 2 and versions.roll_back() == 1
    assert Path(versions.link).resolve() == versions.path(1).resolve()
    with pytest.raises(ValueError, match="there is no version before 1"):
        versions.roll_back()
    versions.add(base, {"scores": SCORES})
    assert versions.card(4)["parent"] == 1 and versions.roll_back() == 1, "back to what it was made from"


def test_one_command_trains_and_one_takes_back(corrections, archive, base, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(face_feedback, "FaceFeedbackTraining", lambda: QUICK)
    command = ["visual", "--feedback", str(corrections)]
    assert main([*command, "--data", str(archive), "--initial", str(base), "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["version"] == 2
    assert main([*command, "--versions"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["version"], line["current"]) for line in lines] == [(1, False), (2, True)]
    assert main([*command, "--roll-back"]) == 0
    assert ModelVersions(corrections / "models").current == 1
    assert main([*command, "--roll-back"]) == 2
    assert "there is no version before 1" in capsys.readouterr().err


def test_the_command_reports_its_progress_to_the_dashboard(archive, base, tmp_path):
    """The real command in a process of its own, started as the page starts it."""
    folder = tmp_path / "feedback"
    accept(folder, faces(np.random.default_rng(5), 8, slice(6, 16)), "angry")
    ModelVersions(folder / "models").add(base, {"scores": SCORES})  # a small network to start from
    events, stages = [], []

    async def learn() -> dict:
        job = LearningJob(LearningConfig(folder, archive.parent), lambda *event: events.append(event[0]))
        await job.start("face")
        while running := job.running():
            stages.append(running["stage"])
            await asyncio.sleep(0.01)
        return job.state()["models"][0]

    state = asyncio.run(learn())
    last = state["last"]
    assert last["outcome"] in ("installed", "refused"), last["reason"]
    assert events == ["started", last["outcome"]] and {"read", "learn"} <= set(stages)
    assert 5 <= last["corrections"] <= 8 and last["before"]["corrections_right"] == 0.0
    assert last["after"]["accuracy"] > 0.5 and state["new"] == {}
    assert state["version"] == (2 if last["outcome"] == "installed" else 1)


def test_a_model_that_got_worse_ends_the_command_with_its_own_code(corrections, archive, base, capsys, monkeypatch):
    monkeypatch.setattr(feedback, "got_worse", lambda *_: "it is worse")
    quick = FaceFeedbackTraining(steps=1, batch=16)
    monkeypatch.setattr(face_feedback, "FaceFeedbackTraining", lambda: quick)
    told = main(["visual", "--feedback", str(corrections), "--data", str(archive), "--initial", str(base)])
    assert told == 3 and "not replaced: it is worse" in capsys.readouterr().err


def test_face_feedback_is_learnt_in_the_measured_precision(corrections, archive, base, tmp_path, used_precisions):
    train_from(corrections, archive, ModelVersions(tmp_path / "models"), base, replace(QUICK, steps=3))
    assert used_precisions == [None, *[torch.bfloat16] * 3]
