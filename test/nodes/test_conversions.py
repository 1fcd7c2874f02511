"""Messages to dataclasses and back, field by field, and what happens to broken ones."""

from __future__ import annotations

import array
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_world import a_face, a_voice, happy_estimate
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from emotion_msgs.msg import AudioChunk
from emotion_perception.emotions import HAPPY
from emotion_perception.ros import conversions as c
from emotion_perception.types import (
    Box,
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Evidence,
    FaceLandmarks,
)

STAMP = 1_700_000_000_123_456_789


def raw_image(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    """A message whose rows are ``padding`` bytes longer than the pixels."""
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    height, width = pixels.shape[:2]
    return Image(
        height=height, width=width, encoding=encoding, step=padded.shape[1], data=array.array("B", padded.tobytes())
    )


def state(status: EmotionStatus = EmotionStatus.AUDIO_VISUAL) -> EmotionState:
    evidence = (
        Evidence(EmotionModality.VISUAL, 0.8, 0.02, happy_estimate()),
        Evidence(EmotionModality.ACOUSTIC, 0.5, 1.25, happy_estimate(0.4)),
    )
    return EmotionState(STAMP, status, "p1", "f1", "v1", happy_estimate(), evidence)


# --- time


def test_stamps_survive_the_round_trip_to_the_nanosecond():
    assert c.stamp_to_ns(c.ns_to_stamp(STAMP)) == STAMP
    assert c.stamp_to_ns(c.ns_to_stamp(-1_500_000_000)) == -1_500_000_000


def test_durations_survive_the_round_trip_and_infinity_becomes_nothing():
    assert c.duration_to_seconds(c.seconds_to_duration(1.25)) == 1.25
    assert c.duration_to_seconds(c.seconds_to_duration(-0.5)) == -0.5
    assert c.duration_to_seconds(c.seconds_to_duration(math.inf)) == 0.0
    assert c.duration_to_seconds(c.seconds_to_duration(math.nan)) == 0.0


# --- pictures

COLOUR = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_bgr8_is_given_without_a_copy_and_cannot_be_written_to():
    message = raw_image(COLOUR, "bgr8")
    image = c.image_from_message(message)
    np.testing.assert_array_equal(image, COLOUR)
    assert np.shares_memory(image, np.frombuffer(message.data, np.uint8))
    assert not image.flags.writeable


@pytest.mark.parametrize("padding", [0, 5])
def test_every_channel_order_becomes_bgr_whatever_the_padding(padding: int):
    alpha = np.full((4, 6, 1), 255, np.uint8)
    np.testing.assert_array_equal(c.image_from_message(raw_image(COLOUR, "bgr8", padding)), COLOUR)
    rgb = np.ascontiguousarray(COLOUR[..., ::-1])
    np.testing.assert_array_equal(c.image_from_message(raw_image(rgb, "rgb8", padding)), COLOUR)
    bgra = np.concatenate((COLOUR, alpha), axis=2)
    np.testing.assert_array_equal(c.image_from_message(raw_image(bgra, "bgra8", padding)), COLOUR)
    rgba = np.concatenate((rgb, alpha), axis=2)
    np.testing.assert_array_equal(c.image_from_message(raw_image(rgba, "rgba8", padding)), COLOUR)


def test_grey_stays_grey_and_sixteen_bits_become_eight_in_either_byte_order():
    grey = COLOUR[..., 0]
    np.testing.assert_array_equal(c.image_from_message(raw_image(np.ascontiguousarray(grey), "mono8", 3)), grey)
    wide = (grey.astype(np.uint16) << 8) + 0x7F
    np.testing.assert_array_equal(c.image_from_message(raw_image(wide.astype("<u2"), "mono16", 2)), grey)
    big = raw_image(wide.astype(">u2"), "mono16")
    big.is_bigendian = 1
    np.testing.assert_array_equal(c.image_from_message(big), grey)


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuyv", "yuyv")])
def test_yuv_422_gives_the_colour_that_was_meant(encoding: str, order: str):
    # ITU-R BT.601: pure red is Y 82, U 90, V 240.
    quad = {"uyvy": (90, 82, 240, 82), "yuyv": (82, 90, 82, 240)}[order]
    pixels = np.tile(np.array(quad, np.uint8).reshape(1, 2, 2), (4, 3, 1))
    blue, green, red = c.image_from_message(raw_image(pixels, encoding))[2, 2].astype(int)
    assert red > 245 and green < 10 and blue < 10


def test_nv21_gives_the_colour_that_was_meant():
    luma = np.full((4, 6), 82, np.uint8)
    chroma = np.tile(np.array((240, 90), np.uint8), (2, 3))  # V first
    message = raw_image(np.concatenate((luma, chroma)), "nv21")
    message.height = 4
    blue, green, red = c.image_from_message(message)[2, 2].astype(int)
    assert red > 245 and green < 10 and blue < 10


@pytest.mark.parametrize(
    ("pattern", "red_at"), [("rggb", (0, 0)), ("bggr", (1, 1)), ("grbg", (0, 1)), ("gbrg", (1, 0))]
)
def test_bayer_patterns_are_named_by_their_first_row(pattern: str, red_at: tuple[int, int]):
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[red_at[0] :: 2, red_at[1] :: 2] = 200
    for message in (
        raw_image(mosaic, f"bayer_{pattern}8"),
        raw_image(mosaic.astype("<u2") << 8, f"bayer_{pattern}16"),
    ):
        blue, green, red = c.image_from_message(message)[4, 4].astype(int)
        assert red > 150 and green < 60 and blue < 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "32FC3"}, "unknown image encoding '32FC3'"),
        ({"encoding": ""}, "unknown image encoding ''"),
        ({"width": 0}, "no pixels"),
        ({"height": 0}, "no pixels"),
        ({"step": 17}, "step is 17 bytes"),
        ({"height": 5}, "data is 72 bytes"),
        ({"height": 2**31, "width": 2**31}, "more than any camera"),
        ({"data": array.array("B")}, "data is 0 bytes"),
        ({"encoding": "nv21", "height": 3}, "even size"),
    ],
)
def test_a_broken_image_is_refused_with_what_is_wrong(change: dict, words: str):
    message = raw_image(COLOUR, "bgr8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(c.ConversionError, match=words):
        c.image_from_message(message)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*c.IMAGE_ENCODINGS, "", "32FC3", "bgr8 ", "\x00"]),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 60),
    st.integers(0, 1),
    st.binary(max_size=400),
)
def test_whatever_an_image_says_only_conversion_errors_come_out(encoding, height, width, step, big, data):
    message = Image(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=big, data=array.array("B", data)
    )
    try:
        image = c.image_from_message(message)
    except c.ConversionError:
        return
    assert image.dtype == np.uint8 and image.shape[:2] == (height, width) and image.shape[2:] in ((), (3,))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_images_are_decoded(suffix: str):
    picture = np.full((16, 24, 3), (200, 40, 90), np.uint8)
    data = cv2.imencode(suffix, picture)[1].tobytes()
    image = c.image_from_compressed(CompressedImage(format=suffix[1:], data=array.array("B", data)))
    assert image.shape == picture.shape and np.abs(image.astype(int) - picture).max() < 6


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_picture_are_refused(data: bytes):
    with pytest.raises(c.ConversionError, match=r"cannot be decoded|empty"):
        c.image_from_compressed(CompressedImage(format="jpeg", data=array.array("B", b"x" + data if data else b"")))


def test_a_picture_goes_out_as_it_comes_in():
    header = c.make_header(STAMP, "camera")
    for picture, encoding in ((COLOUR, "bgr8"), (np.ascontiguousarray(COLOUR[..., 1]), "mono8")):
        message = c.image_to_message(picture, header)
        assert (message.height, message.width, message.encoding) == (4, 6, encoding)
        assert message.header == header and message.step == len(message.data) // 4
        np.testing.assert_array_equal(c.image_from_message(message), picture)


# --- sound


def test_stereo_samples_stay_interleaved():
    samples = np.arange(-10, 10, dtype=np.int16).reshape(-1, 2)
    message = c.audio_to_message(samples, 44_100, c.make_header(STAMP, "mic"))
    assert (message.channels, message.sample_rate, message.header.frame_id) == (2, 44_100, "mic")
    assert list(message.samples[:4]) == [-10, -9, -8, -7]
    back, rate, stamp = c.audio_from_message(message)
    np.testing.assert_array_equal(back, samples)
    assert (rate, stamp) == (44_100, STAMP)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": 0}, "0 channels"),
        ({"channels": 3}, "4 samples for 3 channels"),
        ({"sample_rate": 0}, "0 Hz"),
        ({"samples": array.array("h")}, "empty"),
    ],
)
def test_a_broken_chunk_is_refused_with_what_is_wrong(change: dict, words: str):
    message = AudioChunk(sample_rate=16_000, channels=2, samples=array.array("h", [1, 2, 3, 4]))
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(c.ConversionError, match=words):
        c.audio_from_message(message)


# --- emotions


def assert_same_estimate(got: EmotionEstimate, wanted: EmotionEstimate) -> None:
    np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-6)
    np.testing.assert_array_equal(got.intensities, wanted.intensities)
    for name in ("label", "confidence", "valence", "arousal"):
        assert getattr(got, name) == pytest.approx(getattr(wanted, name), abs=1e-6)


def test_an_estimate_keeps_every_field():
    estimate = EmotionEstimate.from_probabilities(
        happy_estimate().probabilities, np.linspace(0, 1, 8, dtype=np.float32), 0.4
    )
    message = c.estimate_to_message(estimate)
    assert message.label == HAPPY == message.HAPPY
    assert (message.valence_deviation, message.arousal_deviation) == pytest.approx(estimate.deviations)
    assert_same_estimate(c.estimate_from_message(message), estimate)


def test_deviations_of_an_unknown_estimate_are_nan_and_null_in_its_record():
    nothing = EmotionState(STAMP, EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ())
    message = c.state_to_message(nothing, STAMP)
    assert math.isnan(message.emotion.valence_deviation) and math.isnan(message.emotion.arousal_deviation)
    record = c.state_to_record(message)
    assert record["valence_deviation"] is None and record["arousal_deviation"] is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("probabilities", np.zeros(8, np.float32), "no distribution"),
        ("probabilities", np.full(8, np.nan, np.float32), "no distribution"),
        ("probabilities", np.array([2, -1, 0, 0, 0, 0, 0, 0], np.float32), "no distribution"),
        ("confidence", math.nan, "confidence is nan"),
        ("valence", -1.5, "valence is -1.5"),
        ("arousal", math.inf, "arousal is inf"),
    ],
)
def test_an_estimate_that_is_none_is_refused(field: str, value: object, words: str):
    message = c.estimate_to_message(happy_estimate())
    setattr(message, field, value)
    with pytest.raises(c.ConversionError, match=words):
        c.estimate_from_message(message)


def test_faces_keep_every_field_under_the_image_header():
    header = c.make_header(STAMP, "camera")
    message = c.faces_to_message([a_face()], header, 640, 480)
    assert message.header == header
    stamp, (face,) = c.faces_from_message(message)
    assert (stamp, face.face_id, face.box) == (STAMP, "f1", Box(10.0, 20.0, 100.0, 120.0))
    assert (face.detection_score, face.quality) == (pytest.approx(0.9), pytest.approx(0.8))
    assert_same_estimate(face.emotion, a_face().emotion)


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        (Box(-20, -10, 50, 40), (0, 0, 30, 30)),
        (Box(620, 470, 50, 40), (620, 470, 20, 10)),
        (Box(700, 500, 50, 40), (640, 480, 0, 0)),
    ],
)
def test_a_box_is_clipped_to_the_picture(box: Box, clipped: tuple[int, int, int, int]):
    roi = c.box_to_roi(box, 640, 480)
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == clipped


def test_no_face_is_an_empty_list_and_not_an_error():
    assert c.faces_from_message(c.faces_to_message([], Header(), 640, 480)) == (0, ())


def test_a_face_without_id_is_refused():
    with pytest.raises(c.ConversionError, match="without an id"):
        c.faces_from_message(c.faces_to_message([a_face("")], Header(), 640, 480))


def test_a_voice_keeps_every_field():
    message = c.voice_to_message(a_voice(STAMP), "mic")
    assert message.header.frame_id == "mic"
    voice = c.voice_from_message(message)
    assert (voice.stamp_ns, voice.duration, voice.voice_id) == (STAMP, 1.5, "anonymous_speaker")
    assert (voice.snr_db, voice.overlapped_speech, voice.final) == (20.0, False, True)
    assert_same_estimate(voice.emotion, a_voice(STAMP).emotion)


def test_a_state_keeps_every_field_and_tells_its_latency():
    message = c.state_to_message(state(), STAMP + 30_000_000, "camera")
    assert c.duration_to_seconds(message.latency) == pytest.approx(0.03)
    assert message.header.frame_id == "camera"
    back = c.state_from_message(message)
    assert (back.stamp_ns, back.status) == (STAMP, EmotionStatus.AUDIO_VISUAL)
    assert (back.person_id, back.face_id, back.voice_id) == ("p1", "f1", "v1")
    assert [(e.modality, round(e.weight, 3), e.age) for e in back.evidence] == [
        (EmotionModality.VISUAL, 0.8, 0.02),
        (EmotionModality.ACOUSTIC, 0.5, 1.25),
    ]
    assert_same_estimate(back.emotion, state().emotion)


def test_a_state_with_an_unknown_status_is_refused():
    message = c.state_to_message(state(), STAMP)
    message.status = 9
    with pytest.raises(c.ConversionError, match="9"):
        c.state_from_message(message)


def test_no_evidence_has_no_latency_and_no_label_in_the_record():
    nothing = EmotionState(STAMP, EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ())
    message = c.state_to_message(nothing, STAMP + 10**9)
    assert c.duration_to_seconds(message.latency) == 0.0
    record = c.state_to_record(message)
    assert (record["status"], record["label"], record["confidence"]) == ("NO_EVIDENCE", "", 0.0)


def test_the_record_of_a_state_names_everything():
    record = c.state_to_record(c.state_to_message(state(), STAMP + 30_000_000))
    assert record["stamp"] == pytest.approx(STAMP / 1e9, abs=1e-5)
    assert (record["status"], record["label"], record["face_id"]) == ("AUDIO_VISUAL", "happy", "f1")
    assert record["latency_ms"] == 30.0
    deviations = record["valence_deviation"], record["arousal_deviation"]
    assert deviations == pytest.approx(state().emotion.deviations, abs=1e-4)
    assert record["probabilities"][HAPPY] == pytest.approx(record["confidence"])
    assert len(record["probabilities"]) == 8


def test_the_array_of_states_bears_the_newest_stamp():
    assert c.stamp_to_ns(c.states_to_message([state(), state()], STAMP + 5).header.stamp) == STAMP
    assert c.stamp_to_ns(c.states_to_message([], STAMP + 5).header.stamp) == STAMP + 5


def measured_landmarks() -> FaceLandmarks:
    rng = np.random.default_rng(0)
    return FaceLandmarks(
        0.97,
        *(0.1, -0.2, 0.3, -0.4, 0.5, 0.6, 0.7),
        rng.uniform(0, 300, (70, 2)).astype(np.float32),
        rng.uniform(0, 1, 52).astype(np.float32),
        "brows lowered 0.6",
    )


def test_landmarks_survive_the_message():
    landmarks = measured_landmarks()
    face = replace(a_face(), landmarks=landmarks)
    message = c.faces_to_message([face], Header(), 640, 480)
    [sent] = message.faces
    assert (sent.head_yaw, sent.head_pitch, sent.head_roll) == pytest.approx((0.1, -0.2, 0.3))
    assert (sent.gaze_yaw, sent.gaze_pitch, sent.eye_closure, sent.jaw_opening) == pytest.approx((-0.4, 0.5, 0.6, 0.7))
    assert sent.facial_actions == "brows lowered 0.6"
    assert list(sent.landmarks[:4]) == landmarks.points.ravel()[:4].tolist(), "x and y of each point in turn"
    _, [back] = c.faces_from_message(message)
    assert back.landmarks is not None
    assert back.landmarks.score == pytest.approx(0.97)
    assert back.landmarks.gaze_pitch == pytest.approx(0.5)
    np.testing.assert_array_equal(back.landmarks.points, landmarks.points)
    np.testing.assert_array_equal(back.landmarks.blendshapes, landmarks.blendshapes)


def test_without_landmarks_the_fields_are_nan_or_empty():
    message = c.faces_to_message([a_face()], Header(), 640, 480)
    [sent] = message.faces
    for name in ("landmark_score", "head_yaw", "head_roll", "gaze_pitch", "eye_closure", "jaw_opening"):
        assert math.isnan(getattr(sent, name)), name
    assert len(sent.landmarks) == len(sent.blendshapes) == 0 and sent.facial_actions == ""
    assert c.faces_from_message(message)[1][0].landmarks is None


def test_incomplete_or_infinite_landmarks_leave_only_their_score():
    def received(change):
        message = c.faces_to_message([replace(a_face(), landmarks=measured_landmarks())], Header(), 640, 480)
        change(message.faces[0])
        return c.faces_from_message(message)[1][0].landmarks

    for change in (
        lambda sent: setattr(sent, "landmarks", [1.0] * 139),
        lambda sent: setattr(sent, "blendshapes", []),
        lambda sent: setattr(sent, "head_yaw", math.inf),
        lambda sent: setattr(sent, "landmarks", [math.nan] * 140),
    ):
        found = received(change)
        assert found.score == pytest.approx(0.97) and math.isnan(found.head_yaw) and found.points.shape == (0, 2)
    assert received(lambda sent: setattr(sent, "landmark_score", -1.0)) is None
