"""fusion_node's /group_emotion: what a robot in front of several people hears."""

from __future__ import annotations

import math

import numpy as np
import pytest
from node_world import World, a_face, now_header

from emotion_msgs.msg import FaceEmotionArray, GroupEmotion
from emotion_perception.emotions import SAD
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import Box, EmotionEstimate, FaceObservation


def a_sad_face(face_id: str) -> FaceObservation:
    probabilities = np.full(8, 0.02, np.float32)
    probabilities[SAD] = 0.86
    return FaceObservation(face_id, Box(0, 0, 90, 90), 0.9, 0.8, EmotionEstimate.from_probabilities(probabilities))


def test_the_group_is_told_from_the_newest_picture_and_its_end_as_well(ros: World):
    node = ros.add(FusionNode, visual_max_age_s=0.5)
    node.trigger_configure()
    groups: list[GroupEmotion] = ros.hear(GroupEmotion, "group_emotion", qos.profile("state"))
    node.trigger_activate()
    assert ros.until(lambda: bool(groups))
    assert groups[0].faces_counted == 0, "before anybody is seen"
    assert math.isnan(groups[0].agreement)

    eyes = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    assert ros.matched(eyes)
    header = now_header()
    faces = [a_face("f1"), a_face("f2"), a_face("f3"), a_sad_face("f4")]
    eyes.publish(conversions.faces_to_message(faces, header, 640, 480))
    assert ros.until(lambda: groups[-1].faces_counted == 4)
    told = groups[-1]
    assert told.header == header
    assert told.emotion.label == told.emotion.HAPPY
    assert sum(told.emotion.probabilities) == pytest.approx(1.0, abs=1e-4)
    assert 0.3 < told.agreement < 0.9
    assert 0.2 < told.valence_spread < 0.8
    assert list(told.differing_face_ids) == ["f4"]

    assert ros.until(lambda: groups[-1].faces_counted == 0), "no pictures come any more"
    assert not groups[-1].differing_face_ids and groups[-1].emotion.confidence == 0
