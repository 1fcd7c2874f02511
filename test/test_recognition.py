"""The Python interface: from a media file to emotion states without ROS."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from skimage import data

import emotion_perception
from emotion_perception import recognition
from emotion_perception.types import EmotionStatus


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(recognition)
    assert result.attempted >= 3 and result.failed == 0


def test_recognizer_is_imported_from_the_package() -> None:
    assert emotion_perception.Recognizer is recognition.Recognizer
    with pytest.raises(AttributeError, match="Recogniser"):
        _ = emotion_perception.Recogniser


def test_importing_the_package_loads_no_library() -> None:
    script = (
        "import sys, emotion_perception; print(sorted({'numpy', 'cv2', 'av', 'openvino', 'torch'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_image_has_one_moment_with_the_state_of_its_largest_face(tmp_path: Path) -> None:
    path = tmp_path / "portrait.png"
    cv2.imwrite(str(path), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    (moment,) = emotion_perception.Recognizer().moments(str(path))
    assert moment.time == 0.0
    assert moment.state.status == EmotionStatus.VISUAL_ONLY and moment.state.emotion.name == "happy"
    assert [face.face_id for face in moment.faces] == [moment.state.face_id]


@pytest.mark.parametrize(("rate", "step"), [(0.0, 1.0), (10.0, -1.0)])
def test_rates_that_are_not_positive_are_refused(rate: float, step: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        emotion_perception.Recognizer(frames_per_second=rate, step=step)
