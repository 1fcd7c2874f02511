"""A recording in its own time: stamps and /clock as recorded, loops that set the clock back, nodes that follow."""

from __future__ import annotations

from pathlib import Path

import bags
import numpy as np
import pytest
from bags import SECOND, START, Speaker, typestore, write
from node_world import World
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from emotion_msgs.msg import AudioChunk, EmotionState, FaceEmotionArray
from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.media.items import MediaAudio, MediaFrame
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.nodes.media_source_node import MediaSourceNode
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, qos

LENGTH = 2.0  # s
FPS, RATE = 20, 16_000


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a face that holds still (NASA, public domain) and a tone, as a robot records them."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    portrait = np.ascontiguousarray(data.astronaut()[:256, 64:384, ::-1])
    speaker = Speaker(typestore())
    tone = (3000 * np.sin(np.arange(RATE // 10) * 0.2)).astype(np.int16)[:, None]
    items = [
        *(MediaFrame(i / FPS, portrait) for i in range(round(LENGTH * FPS))),
        *(MediaAudio(i / 10, tone, RATE) for i in range(round(LENGTH * 10))),
    ]
    return write(tmp_path_factory.mktemp("bag") / "talk", speaker.store, bags.film_messages(speaker, items))


def recorded_time(stamp: object) -> float:
    """s from the recording's start."""
    return (conversions.stamp_to_ns(stamp) - START) / SECOND


def test_a_recording_plays_like_a_film_when_no_other_time_is_asked_for(ros: World, bag: Path):
    images = ros.hear(Image, "image_raw", qos.profile("image_in"))
    chunks = ros.hear(AudioChunk, "audio", qos.profile("audio_in"))
    began = ros.node.get_clock().now().nanoseconds
    ros.begin(MediaSourceNode, source=str(bag), wait_for_nodes="test")
    assert ros.until(lambda: len(images) > 30 and len(chunks) == 20, 10.0)
    assert all(conversions.stamp_to_ns(message.header.stamp) > began for message in images), "stamped now"
    assert ros.node.count_publishers("/clock") == 0


def test_stamps_and_clock_are_those_of_the_recording_and_a_loop_sets_them_back(ros: World, bag: Path):
    images = ros.hear(Image, "image_raw", qos.profile("image_in"))
    ticks = ros.hear(Clock, "/clock", 100)
    ros.begin(MediaSourceNode, source=str(bag), wait_for_nodes="test", replay="recorded", loop=True, rate=4.0)
    assert ros.until(lambda: any(a > b for a, b in zip(times(images), times(images)[1:], strict=False)), 20.0)
    assert min(times(images)) >= -0.001 and max(times(images)) <= LENGTH

    def clock() -> list[float]:
        return [recorded_time(tick.clock) for tick in ticks]

    # The first image of a round may arrive before the clock's next message.
    assert ros.until(lambda: bool((np.diff(clock()) < -1.0).any()), 5.0), "the clock was set back with the stamps"
    assert min(clock()) > -0.3 and max(clock()) < LENGTH + 0.5


def times(images: list[Image]) -> list[float]:
    return [recorded_time(image.header.stamp) for image in images]


def test_time_goes_on_at_the_end_so_that_what_was_seen_grows_old(ros: World, bag: Path):
    ticks = ros.hear(Clock, "/clock", 100)
    ros.begin(MediaSourceNode, source=str(bag), wait_for_nodes="", replay="recorded", rate=5.0)
    assert ros.until(lambda: bool(ticks) and recorded_time(ticks[-1].clock) > LENGTH + 1.0, 10.0)


def test_nodes_follow_a_looping_recording_in_its_time(ros: World, bag: Path):
    """Filters are reset where the clock is set back; evidence comes again in every round; nothing is stuck."""
    states = ros.hear(EmotionState, "emotion_state", qos.profile("state"))
    faces = ros.hear(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    visual = ros.begin(VisualNode, use_sim_time=True)
    fusion = ros.begin(FusionNode, use_sim_time=True)
    ros.begin(MediaSourceNode, source=str(bag), wait_for_nodes="visual_node", replay="recorded", loop=True)

    def rounds() -> list[list[EmotionState]]:
        """States with evidence, round by round."""
        found: list[list[EmotionState]] = [[]]
        last = 0
        for state in states:
            stamp = conversions.stamp_to_ns(state.header.stamp)
            if stamp < last - SECOND:
                found.append([])
            last = stamp
            if state.status == EmotionState.VISUAL_ONLY:
                found[-1].append(state)
        return found

    assert ros.until(lambda: len(rounds()) >= 3 and len(rounds()[2]) > 3, 30.0)
    assert all(len(heard) > 3 for heard in rounds()[:3])
    for heard in rounds():
        assert all(-0.001 <= recorded_time(state.header.stamp) <= LENGTH for state in heard)
        assert all(conversions.duration_to_seconds(state.latency) < 1.0 for state in heard), "ages in recorded time"
    ids = [message.faces[0].face_id for message in faces if message.faces]
    assert len(set(ids)) >= 3, "a face of another round is a new face: the tracker was reset"
    assert visual.meter.rejected >= 2 and fusion.meter.rejected >= 1, "each jump was told"


def test_the_graph_plays_a_recording_in_its_own_time_only_under_simulated_time(bag: Path):
    sim = {"use_sim_time": "true"}
    assert graph_nodes({"source": str(bag), **sim})[0].parameters["replay"] == "recorded"
    assert "replay" not in graph_nodes({"source": str(bag)})[0].parameters
    assert "replay" not in graph_nodes({"source": "webcam", **sim})[0].parameters
