"""``emotion-recognize --report``: the page about one recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from emotion_perception import recognition
from emotion_perception.cli import recognize
from emotion_perception.emotions import emotion_index
from emotion_perception.recognition import Moment, RecordingArc
from emotion_perception.types import SECOND, EmotionEstimate, EmotionState, EmotionStatus


def moment(time: float, name: str, duration: float = 60.0) -> Moment:
    """A moment at ``time`` s; without a name, nobody was there."""
    if not name:
        state = EmotionState(0, EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ())
        return Moment(time, duration, state, ())
    p = np.full(8, 0.05 / 7, np.float32)
    p[emotion_index(name)] = 0.95
    emotion = EmotionEstimate.from_probabilities(p)
    return Moment(time, duration, EmotionState(0, EmotionStatus.VISUAL_ONLY, "p", "f", "", emotion, ()), ())


def moments(step: float) -> Iterator[Moment]:
    """A minute: happy, 10 s of nobody, angry; one moment a step and one at the end."""
    for k in range(1, round(60 / step) + 1):
        time = k * step
        yield moment(time, "happy" if time <= 30 else "" if time <= 40 else "angry")
    yield moment(60.0, "angry")


@pytest.mark.parametrize("step", [0.1, 0.3, 1.0, 2.0])
def test_moment_stands_for_the_time_before_it_at_any_step(step: float) -> None:
    arc = RecordingArc(step)
    for each in moments(step):
        arc.add(each)
    summary = arc.summary("talk.mp4")
    assert summary.end_ns == 60 * SECOND
    assert summary.arc.evidence_s.sum() == pytest.approx(50, abs=1.01 * step)
    assert summary.seconds_by_label[emotion_index("happy")] == pytest.approx(30, abs=step)
    middle = summary.arc.times[~summary.arc.known]
    assert middle.min() > 29 and middle.max() < 41


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose recognition is played instead of computed."""

    class Player(recognition.Recognizer):
        def open(self, path: Path, *choices: object) -> Any:
            return Opened(is_image=False, has_video=True, note="", audio_track=0)

        def moments(self, path: Path, *choices: object) -> Iterator[Moment]:
            return moments(self._step)

    class Opened(SimpleNamespace):
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(recognition, "Recognizer", Player)
    return tmp_path / "talk <1>.mp4"


def test_report_is_written_in_addition_to_the_lines(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.html"
    assert recognize.main([str(recording), "--report", str(out)]) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 61
    page = out.read_text()
    assert "<h1>Emotional arc of talk &lt;1&gt;.mp4</h1>" in page
    assert "Length 1:00" in page
    assert '<rect class="gap"' in page


def test_without_the_option_no_report_is_written(recording: Path, tmp_path: Path) -> None:
    assert recognize.main([str(recording)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_an_error_naming_its_path(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a_file").touch()
    out = tmp_path / "a_file" / "out.html"
    assert recognize.main([str(recording), "--report", str(out)]) == 1
    assert str(out) in capsys.readouterr().err


def test_report_takes_one_recording(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        recognize.main(["a.mp4", "b.mp4", "--report", "out.html"])
    assert exit_.value.code == 2
    assert "one recording" in capsys.readouterr().err


def test_image_has_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    assert recognize.main([str(path), "--report", str(tmp_path / "out.html")]) == 1
    assert "is an image" in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()
