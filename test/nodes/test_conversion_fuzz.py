"""Whatever a message holds, only ConversionError leaves the conversion layer."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from emotion_msgs.msg import (
    AudioChunk,
    EmotionEstimate,
    EmotionState,
    FaceEmotion,
    FaceEmotionArray,
    ModalityEvidence,
    PersonState,
    VoiceEmotion,
)
from emotion_perception.messages import depth
from emotion_perception.ros import conversions
from emotion_perception.ros.conversions import IMAGE_ENCODINGS, ConversionError
from emotion_perception.types import Box
from emotion_perception.visualization.markers import Labels, camera_from_info, camera_from_size, state_to_overlay

FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
uint8, uint32 = st.integers(0, 255), st.integers(0, 2**32 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
small = st.integers(0, 70)
float32 = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf")])
unit = st.floats(0, 1, width=32)
text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
stamps = st.builds(Time, sec=int32, nanosec=uint32)
durations = st.builds(Duration, sec=int32, nanosec=uint32)
headers = st.builds(Header, stamp=stamps, frame_id=text)


def filled(kind: type, **fields: Any) -> st.SearchStrategy[Any]:
    """Messages with these fields."""
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


def floats(count: int) -> st.SearchStrategy[np.ndarray]:
    wild = st.lists(float32, min_size=count, max_size=count).map(lambda v: np.array(v, np.float32))
    sound = st.integers(0, count - 1).map(lambda i: np.eye(count, dtype=np.float32)[i])
    return wild | sound


estimates = filled(
    EmotionEstimate,
    probabilities=floats(8),
    intensities=floats(8),
    label=uint8,
    confidence=unit | float32,
    valence=unit | float32,
    arousal=unit | float32,
)
rois = filled(RegionOfInterest, x_offset=uint32, y_offset=uint32, width=uint32, height=uint32)
faces = filled(
    FaceEmotion,
    face_id=text,
    roi=rois,
    detection_score=float32,
    quality=float32,
    emotion=estimates,
    mouth_opening=float32,
    mouth_motion=float32,
)
face_arrays = filled(FaceEmotionArray, header=headers, faces=st.lists(faces, max_size=3))
voices = filled(
    VoiceEmotion,
    header=headers,
    voice_id=text,
    duration=durations,
    snr_db=float32,
    overlapped_speech=st.booleans(),
    final=st.booleans(),
    emotion=estimates,
    level_db=st.lists(float32, max_size=5),
)
evidence = filled(ModalityEvidence, modality=uint8, weight=float32, age=durations, emotion=estimates)
states = filled(
    EmotionState,
    header=headers,
    person_id=text,
    face_id=text,
    voice_id=text,
    status=st.integers(0, 5) | uint8,
    emotion=estimates,
    evidence=st.lists(evidence, max_size=3),
    latency=durations,
)
level = unit | float32
persons = filled(
    PersonState,
    header=headers,
    person_id=text,
    face_id=text,
    is_partner=st.booleans(),
    engagement=st.integers(0, 5) | uint8,
    looking=level,
    attention=level,
    looking_duration=level,
    distance=level,
    zone=st.integers(0, 4) | uint8,
    approach_speed=level,
    speaking=level,
)
fitting_images = st.tuples(small, small, st.sampled_from(IMAGE_ENCODINGS)).map(
    lambda drawn: Image(
        height=drawn[0], width=drawn[1], encoding=drawn[2], step=8 * drawn[1], data=bytes(8 * drawn[0] * drawn[1])
    )
)
images = fitting_images | filled(
    Image,
    header=headers,
    height=small | uint32,
    width=small | uint32,
    encoding=st.sampled_from(IMAGE_ENCODINGS) | text,
    is_bigendian=uint8,
    step=small | uint32,
    data=st.integers(0, 6000).map(lambda n: array.array("B", bytes(n))) | st.binary(max_size=300),
)
JPEG = conversions.image_to_compressed(np.full((16, 16, 3), 90, np.uint8), Header()).data.tobytes()
broken_jpeg = st.tuples(st.integers(0, len(JPEG) - 1), uint8, st.integers(0, len(JPEG))).map(
    lambda cut: JPEG[: cut[0]] + bytes([cut[1]]) + JPEG[cut[0] + 1 : cut[2]]
)
depths = st.tuples(small, small, st.sampled_from(sorted(depth.ENCODINGS)), st.integers(0, 16), uint8).map(
    lambda drawn: Image(
        height=drawn[0],
        width=drawn[1],
        encoding=drawn[2],
        is_bigendian=drawn[4],
        step=drawn[1] * (4 if drawn[2] == "32FC1" else 2) + drawn[3],
        data=bytes(range(200)) * 100,
    )
)
compressed = filled(CompressedImage, header=headers, format=text, data=st.binary(max_size=300) | broken_jpeg)
chunks = filled(
    AudioChunk,
    header=headers,
    sample_rate=uint32 | st.sampled_from([0, 8000, 16_000]),
    channels=uint8,
    samples=st.integers(0, 500).map(lambda n: array.array("h", bytes(2 * n))),
)


def survives(convert: Callable[[Any], Any], message: Any) -> Any:
    """The conversion's result, or None where it was refused with words."""
    try:
        return convert(message)
    except ConversionError as error:
        said = str(error)
    assert said.strip(), "a refusal says why"
    return None


@FUZZ
@given(images)
def test_pictures(message: Image):
    image = survives(conversions.image_from_message, message)
    if image is not None:
        assert image.dtype == np.uint8
        assert image.shape[:2] == (message.height, message.width)


@FUZZ
@given(compressed)
def test_compressed_pictures(message: CompressedImage):
    image = survives(conversions.image_from_compressed, message)
    assert image is None or (image.dtype == np.uint8 and image.ndim == 3)


@FUZZ
@given(chunks)
def test_sound(message: AudioChunk):
    found = survives(conversions.audio_from_message, message)
    if found is not None:
        samples, rate, _ = found
        assert samples.shape[1] == message.channels and len(samples) > 0 and rate > 0


@FUZZ
@given(face_arrays)
def test_faces_and_what_is_drawn_of_them(message: FaceEmotionArray):
    found = survives(conversions.faces_from_message, message)
    if found is not None:
        stamp_ns, read = found
        assert all(abs(face.emotion.probabilities.sum() - 1) < 1e-3 for face in read)
        again = conversions.faces_to_message(read, conversions.make_header(stamp_ns), 640, 480)
        assert len(again.faces) == len(message.faces)
        assert len(Labels().update(read, again.header, camera_from_size(640, 480, 60.0), 0.1, True).markers) <= 3


@FUZZ
@given(voices)
def test_voices(message: VoiceEmotion):
    voice = survives(conversions.voice_from_message, message)
    if voice is not None:
        assert voice.duration >= 0
        assert conversions.voice_to_message(voice).voice_id == message.voice_id


@FUZZ
@given(states, int32)
def test_states_and_what_is_told_of_them(message: EmotionState, now: int):
    survives(conversions.state_to_record, message)
    state = survives(conversions.state_from_message, message)
    if state is not None:
        again = conversions.state_to_message(state, now * conversions.SECOND)
        assert again.status == message.status
        assert state_to_overlay(state, _Line).text


@FUZZ
@given(persons)
def test_persons(message: PersonState):
    person = survives(conversions.person_from_message, message)
    if person is not None:
        assert not person.distance < 0 and not person.looking > 1
        again = conversions.person_to_message(person)
        assert (again.engagement, again.zone, again.person_id) == (message.engagement, message.zone, message.person_id)


@FUZZ
@given(images | depths, st.builds(Box, st.floats(), st.floats(), st.floats(), st.floats()), st.booleans())
def test_depth_of_faces(message: Image, box: Box, other_size: bool):
    size = (640.0, 480.0) if other_size else None
    metres = survives(lambda image: depth.depth_in_box(image, box, size), message)
    assert metres is None or np.isnan(metres) or depth.NEAREST <= metres <= depth.FARTHEST


class _Line:
    """The one field of an OverlayText that matters here."""

    def __init__(self) -> None:
        self.text = ""

    def get_fields_and_field_types(self) -> dict[str, str]:
        return {"text": "string"}


@FUZZ
@given(st.lists(st.floats(), min_size=9, max_size=9))
def test_calibrations(k: list[float]):
    camera = camera_from_info(CameraInfo(k=k))
    assert camera is None or (camera.focal_x > 0 and camera.focal_y > 0)


@FUZZ
@given(st.integers(-(2**80), 2**80), st.floats())
def test_times_outside_the_messages_range_are_clipped(ns: int, seconds: float):
    stamp = conversions.ns_to_stamp(ns)
    if abs(ns) < 2**31 * conversions.SECOND:
        assert conversions.stamp_to_ns(stamp) == ns
    assert abs(conversions.duration_to_seconds(conversions.seconds_to_duration(seconds))) <= 2**31


def test_the_fuzzers_inputs_are_not_all_refused():
    """A fuzz test that never gets past the first check tests nothing."""
    counts = {"images": 0, "faces": 0, "states": 0}

    @settings(FUZZ, derandomize=True, max_examples=300)
    @given(images, faces.map(lambda face: FaceEmotionArray(faces=[face])), states)
    def count(image: Image, array: FaceEmotionArray, state: EmotionState) -> None:
        counts["images"] += survives(conversions.image_from_message, image) is not None
        counts["faces"] += survives(conversions.faces_from_message, array) is not None
        counts["states"] += survives(conversions.state_from_message, state) is not None

    count()
    assert all(count >= 3 for count in counts.values()), counts


@pytest.mark.parametrize("label", [8, 255])
def test_a_label_that_does_not_exist_is_refused_in_words(label: int):
    message = EmotionState(status=EmotionState.VISUAL_ONLY, emotion=EmotionEstimate(label=label))
    with pytest.raises(ConversionError, match=f"label {label}"):
        conversions.state_to_record(message)
