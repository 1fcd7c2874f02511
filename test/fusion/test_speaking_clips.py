"""Two real people side by side, one of whom speaks: perception and fusion together find the speaker."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.acoustic.perception import AcousticPerception
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media
from emotion_perception.types import SECOND
from emotion_perception.visual.perception import VisualConfig, VisualPerception

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "cremad_clips"

pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason="the CREMA-D clips are not on this machine")


@pytest.mark.parametrize("on_the_left", [True, False])
def test_speaker_is_found_next_to_a_nearer_photograph(on_the_left: bool):
    with open_media(CLIPS / "1001_DFA_ANG_XX.flv") as media:
        items = list(media.read())
    with open_media(CLIPS / "1001_DFA_HAP_XX.flv") as media:
        other = next(item.image for item in media.read() if isinstance(item, MediaFrame) and item.time > 0.2)
    nearer = cv2.resize(other[20:-20, 30:-30], other.shape[1::-1])
    visual, acoustic, fusion = VisualPerception(VisualConfig(id_seed=0)), AcousticPerception(), EmotionFusion()
    found, shown = [], 0
    for item in items:
        stamp_ns = round(item.time * SECOND)
        if isinstance(item, MediaFrame):
            shown += 1
            if shown % 2:  # 15 frames/s are sufficient
                pair = (item.image, nearer) if on_the_left else (nearer, item.image)
                faces = visual.process(np.hstack(pair), stamp_ns)
                fusion.add_faces(stamp_ns, faces)
            continue
        for voice in acoustic.push(item.samples, item.sample_rate, stamp_ns):
            fusion.add_voice(voice)
            found += [
                (state.face_id, face.box.x)
                for state in fusion.states(voice.stamp_ns)
                for face in faces
                if state.voice_id and face.face_id == state.face_id
            ]
    assert len(found) >= 2  # decisions
    assert all((x < other.shape[1] - 100) == on_the_left for _, x in found)
