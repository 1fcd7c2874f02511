"""The recipes of docs/extending.md work in the whole package, not only in their own code blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from markdown_page import ROOT, MarkdownPage
from package_copy import PackageCopy
from rosbags.typesys import get_types_from_msg
from stand_in_networks import write_face_network

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.media.items import MediaAudio
from emotion_perception.media.opening import open_media
from emotion_perception.visual.expression import ExpressionClassifier

RunPage = Callable[..., dict[str, Any]]
PAGE = "docs/extending.md"


def test_a_recording_with_the_added_audio_message_is_read(run_page: RunPage, tmp_path: Path):
    run_page(PAGE, "Another audio message")
    store = bags.typestore()
    kind = "my_robot_msgs/msg/Microphone"
    store.register(get_types_from_msg("std_msgs/Header header\nuint32 rate\nfloat32[] data\n", kind))
    speaker = bags.Speaker(store)
    sound = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    messages = [
        ("/sound", kind, bags.START, speaker.make(kind, header=speaker.header(at / 10), rate=16_000, data=sound))
        for at in range(5)
    ]
    path = bags.write(tmp_path / "bag", store, messages)
    with open_media(path) as recording:
        items = [item for item in recording.read() if isinstance(item, MediaAudio)]
    assert [item.sample_rate for item in items] == [16_000] * 5
    np.testing.assert_allclose(items[2].samples[:, 0] / 32768, sound, atol=1 / 32768)


@pytest.mark.parametrize(
    ("network", "likeliest"), [("emotion-ferplus-8.onnx", "fearful"), ("enet_b0_8_best_afew.onnx", "surprised")]
)
def test_the_ready_cards_map_the_classes_of_their_networks(
    run_page: RunPage, tmp_path: Path, network: str, likeliest: str
):
    run_page(PAGE, "Another face model")
    classifier = ExpressionClassifier(tmp_path / network)  # logits 0, 1, 2 ...: each class beats those before it
    probabilities, intensities = classifier.probabilities(np.zeros((2, *classifier.crop_shape), np.uint8))
    expected = [label for label in classifier.card.labels if label is not None]
    posterior = probabilities[0] * classifier.card.prior_of(VISUAL_EMOTIONS)  # as the network gives it, with its prior
    assert [VISUAL_EMOTIONS[i] for i in np.argsort(posterior)] == expected
    assert expected[-1] == likeliest and len(expected) == 7
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert np.isnan(intensities).all()


def test_the_card_of_emotiefflib_normalises_colours_as_the_library_does(run_page: RunPage, tmp_path: Path):
    run_page(PAGE, "Another face model")
    path = tmp_path / "enet_b0_8_best_afew.onnx"
    weights = np.zeros((8, 3))
    weights[0, 0] = 1  # the first class, angry, is the first channel
    write_face_network(path, weights, np.zeros(8))
    crop = np.zeros((1, 224, 224, 3), np.uint8)
    crop[..., 2] = 255  # BGR: red
    p = ExpressionClassifier(path, exact=True).probabilities(crop)[0][0]
    red = (1.0 - 0.485) / 0.229  # of RGB in 0..1, as the library computes it
    assert p[VISUAL_EMOTIONS.index("angry")] == pytest.approx(np.exp(red) / (np.exp(red) + 6), abs=1e-3)


@pytest.fixture
def changed_package(tmp_path: Path) -> Callable[[str], PackageCopy]:
    """Makes a copy of the package with the changes of a section of the page, whose checks pass there."""

    def change(section: str) -> PackageCopy:
        copy = PackageCopy(tmp_path / "package")
        blocks = MarkdownPage(ROOT / PAGE).section_blocks(section)
        for block in blocks:
            if block.language == "diff":
                copy.apply(block)
        checks = [block for block in blocks if "check" in block.words]
        assert checks
        for block in checks:
            copy.run("\n" * (block.line - 1) + block.text)
        return copy

    return change


IMPORT_EVERYTHING = """
import importlib, pkgutil, emotion_perception
assert emotion_perception.__file__.startswith({folder!r}), emotion_perception.__file__
for module in pkgutil.walk_packages(emotion_perception.__path__, "emotion_perception."):
    if not module.name.endswith(("fer_peer", "upload_worker")):
        importlib.import_module(module.name)
from emotion_perception.emotions import EMOTIONS
print(len(EMOTIONS), EMOTIONS[-1])
"""


@pytest.mark.slow
def test_the_recipe_for_an_emotion_works_in_the_whole_package(changed_package: Callable[[str], PackageCopy]):
    copy = changed_package("A ninth emotion")
    assert copy.run(IMPORT_EVERYTHING.format(folder=str(copy.folder))).split() == ["9", "bored"]


@pytest.mark.slow
def test_the_recipe_for_a_modality_works_in_the_node(changed_package: Callable[[str], PackageCopy]):
    pytest.importorskip("emotion_msgs", reason="needs emotion_msgs: scripts/setup.sh")
    copy = changed_package("A fourth modality")
    assert copy.run(POSTURE_IN_THE_NODE).split() == ["sad", "0", "3"]


POSTURE_IN_THE_NODE = """
import rclpy
from emotion_perception.emotions import EMOTIONS
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.ros import conversions
from emotion_perception.types import Box, EmotionEstimate, EmotionState, EmotionStatus, FaceObservation

def estimate(**shares):
    return EmotionEstimate.from_probabilities([shares.get(name, 0.02) for name in EMOTIONS])

rclpy.init()
node = FusionNode(parameter_overrides=[
    rclpy.parameter.Parameter("autostart", value=False), rclpy.parameter.Parameter("posture_weight", value=1.0)])
node.trigger_configure()
node.trigger_activate()
now = node.now_ns
published = []
node._state.publish = published.append
face = FaceObservation("f", Box(0, 0, 90, 90), 0.9, 0.9, estimate(neutral=0.5, sad=0.4))
node._on_faces(conversions.faces_to_message([face], conversions.make_header(now), 640, 480))
posture = EmotionState(now, EmotionStatus.VISUAL_ONLY, "", "", "", estimate(sad=0.9), ())
node._published_ns = 0
node._on_posture(conversions.state_to_message(posture, now))
state = published[-1]
print(EMOTIONS[state.emotion.label], *(item.modality for item in state.evidence))
import os, sys
sys.stdout.flush()
os._exit(0)
"""
