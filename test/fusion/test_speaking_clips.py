"""Real people, of whom one, none or all speak: perception and fusion together find the speaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.acoustic.perception import AcousticPerception
from emotion_perception.emotions import ANGRY
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media
from emotion_perception.types import SECOND, EmotionState
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


def play(
    sound: str, image_at: Callable[[int, np.ndarray], np.ndarray]
) -> Iterator[tuple[dict[str, float], EmotionState]]:
    """At each decision about the voice of a clip: the probability of each speaker, and the conversation partner's
    state. ``image_at`` makes the image to show from its number and the clip's own image."""
    with open_media(CLIPS / sound) as media:
        items = list(media.read())
    visual, acoustic, fusion = VisualPerception(VisualConfig(id_seed=0)), AcousticPerception(), EmotionFusion()
    shown = 0
    for item in items:
        stamp_ns = round(item.time * SECOND)
        if isinstance(item, MediaFrame):
            if shown % 2 == 0:
                fusion.add_faces(stamp_ns, visual.process(image_at(shown, item.image), stamp_ns))
            shown += 1
            continue
        for voice in acoustic.push(item.samples, item.sample_rate, stamp_ns):
            fusion.add_voice(voice)
            state = fusion.state(voice.stamp_ns)
            yield dict(fusion.speakers[voice.voice_id]), state


def test_voice_from_out_of_view_does_not_make_a_silent_face_angry():
    with open_media(CLIPS / "1001_DFA_NEU_XX.flv") as media:
        before = [item.image for item in media.read() if isinstance(item, MediaFrame) and item.time < 0.25]
    silent = before + before[::-1]  # to and fro: small movements as of a listener
    found = list(play("1001_DFA_ANG_XX.flv", lambda shown, _: silent[shown % len(silent)]))
    assert len(found) >= 2  # decisions
    assert found[-1][0][""] > 0.6
    assert not found[-1][1].voice_id
    assert all(state.emotion.probabilities[ANGRY] < 0.3 for _, state in found)


def covered(image: np.ndarray) -> np.ndarray:
    """With a sheet of paper before the mouth; below the tip of the nose."""
    image = image.copy()
    image[155:225, 165:280] = 225
    return image


@pytest.mark.parametrize("seen", [lambda _, image: image, lambda _, image: covered(image)], ids=["seen", "covered"])
def test_voice_of_the_only_person_is_theirs_even_if_the_mouth_is_covered(seen: Callable[[int, np.ndarray], np.ndarray]):
    found = list(play("1001_DFA_ANG_XX.flv", seen))
    assert len(found) >= 2
    assert all(state.voice_id and state.face_id for _, state in found)
    assert all(probabilities[""] < 0.3 for probabilities, _ in found)
