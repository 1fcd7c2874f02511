"""From images to faces with emotions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.emotions import CALM, HAPPY
from emotion_perception.errors import ModelError
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.inference.protocols import FaceEstimates
from emotion_perception.priors import BALANCED
from emotion_perception.types import SECOND
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.detector import iou_matrix
from emotion_perception.visual.face_crop import is_tiny
from emotion_perception.visual.face_search import NEWCOMERS
from emotion_perception.visual.perception import VisualPerception
from emotion_perception.visual.quality import quality_exponent

FRAME = SECOND // 30
FACE = (184, 64, 85, 111)  # x, y, width, height in the portrait
ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "models" / "expression.onnx"
CLIP = ROOT.parent / "shared" / "data" / "cremad_clips" / "1001_DFA_HAP_XX.flv"
needs_clip = pytest.mark.skipif(not CLIP.exists(), reason=f"the CREMA-D clip is not there: {CLIP.name}")


@pytest.fixture(scope="module")
def clip() -> list[tuple[np.ndarray, float]]:
    """Images and their times in seconds."""
    av = pytest.importorskip("av")
    with av.open(str(CLIP)) as video:
        return [(frame.to_ndarray(format="bgr24"), frame.time) for frame in video.decode(video=0)]


def overlap(box, expected) -> float:
    return float(iou_matrix(np.array([[box.x, box.y, box.width, box.height]]), np.array([expected], float))[0, 0])


def test_a_single_picture_gives_its_face_at_once(perception, astronaut):
    for observed in (perception.still(astronaut), perception.process(astronaut, 0)):
        assert len(observed) == 1
        assert overlap(observed[0].box, FACE) > 0.7
        assert observed[0].quality > 0.9
        assert observed[0].emotion.name == "happy"
        assert observed[0].emotion.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert observed[0].emotion.probabilities[CALM] == 0


def test_a_grey_image_gives_what_the_colour_image_does(perception, astronaut):
    [colour] = perception.still(astronaut)
    [grey] = perception.still(cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY))
    assert overlap(grey.box, (colour.box.x, colour.box.y, colour.box.width, colour.box.height)) > 0.8
    assert grey.emotion.name == colour.emotion.name


def test_nobody_there_gives_nothing(perception):
    blank = np.full((480, 640, 3), 90, np.uint8)
    assert perception.still(blank) == ()
    assert [perception.process(blank, i * FRAME) for i in range(10)] == [()] * 10


def test_a_face_that_moves_keeps_its_identity_and_is_followed_between_searches(perception, scene):
    ids = set()
    for i in range(30):
        x = 20 + 12 * i
        [observed] = perception.process(scene(x, 100), i * FRAME)
        ids.add(observed.face_id)
        assert overlap(observed.box, (x + FACE[0] - 150, 100 + FACE[1] - 20, FACE[2], FACE[3])) > 0.6
    assert len(ids) == 1


def test_a_face_keeps_its_identity_through_occlusion_and_is_not_reported_meanwhile(perception, scene):
    seen, blank = scene(200, 100), np.full((480, 640, 3), 90, np.uint8)
    before = [perception.process(seen, i * FRAME)[0].face_id for i in range(10)]
    hidden = [perception.process(blank, i * FRAME) for i in range(10, 34)]
    after = [face.face_id for i in range(34, 44) for face in perception.process(seen, i * FRAME)]
    assert hidden == [()] * 24
    assert set(before) == set(after)
    assert len(after) >= 3  # the next search is at most 0.2 s away


def test_a_newcomer_is_found_while_another_face_is_followed(perception, scene):
    alone = scene(20, 100)
    both = np.where(scene(400, 250) != 90, scene(400, 250), alone)
    [first] = perception.process(alone, 0)
    counts = [len(perception.process(both, i * FRAME)) for i in range(1, 10)]
    assert counts[-1] == 2
    assert first.face_id in {face.face_id for face in perception.process(both, 10 * FRAME)}


def test_where_there_are_too_many_faces_the_near_are_read_and_the_far_are_told_as_unknown(scene):
    perception = VisualPerception(VisualConfig(expression_model=str(PUBLISHED), max_faces=1))
    image = scene(20, 20, scale=0.6)
    large = scene(300, 150, scale=1.3)
    image = np.where(large != 90, large, image)
    for i in range(10):
        near, far = perception.process(image, i * FRAME)
        assert near.box.x > 250 and near.quality > 0.9 and near.emotion.name == "happy"
        assert far.box.x < 150 and far.quality == 0 and far.emotion.confidence == 0
        assert np.isnan(far.emotion.intensities).all()
    [only] = perception.still(image)
    assert only.box.x > 250


def test_thirty_faces_cost_no_more_looks_than_a_few_and_are_all_followed(perception, astronaut, monkeypatch):
    read, windows, observed = [], [], []
    classify, refine = perception.classifier.estimates, perception.detector.refine
    monkeypatch.setattr(perception.classifier, "estimates", lambda faces: read.append(len(faces)) or classify(faces))
    monkeypatch.setattr(perception.detector, "refine", lambda *args: windows.append(i) or refine(*args))
    for i in range(26):
        image = np.full((480, 640, 3), 90, np.uint8)
        for k in range(30):
            head = cv2.resize(astronaut[20:200, 150:300], (63 + k % 6, 76), interpolation=cv2.INTER_AREA)
            x, y = 12 + k % 6 * 104 + round(4 * np.sin(0.12 * i + k)), 4 + k // 6 * 94
            image[y : y + 76, x : x + head.shape[1]] = head
        observed.append(perception.process(image, i * SECOND // 25))
    most = perception.config.max_faces
    assert max(read) == most
    assert max(Counter(windows).values()) <= most + NEWCOMERS
    assert [len(faces) for faces in observed[-5:]] == [30] * 5
    assert len({face.face_id for faces in observed for face in faces}) == 30
    assert [sum(face.emotion.confidence > 0 for face in faces) for faces in observed[-5:]] == [most] * 5
    assert {face.detection_score > 0 for face in observed[-2] if face.quality == 0} == {False}  # not looked for


def test_a_repeated_stamp_gives_the_same_answer(perception, astronaut):
    first = perception.process(astronaut, SECOND)
    assert perception.process(np.zeros((480, 640, 3), np.uint8), SECOND) is first


def test_a_late_image_gives_nothing_and_disturbs_nothing(perception, astronaut):
    [before] = perception.process(astronaut, SECOND)
    assert perception.process(astronaut, SECOND - 2 * FRAME) == ()
    [after] = perception.process(astronaut, SECOND + FRAME)
    assert after.face_id == before.face_id


def test_a_jump_back_in_time_forgets_every_face(perception, astronaut):
    [before] = perception.process(astronaut, 100 * SECOND)
    [after] = perception.process(astronaut, SECOND)
    assert after.face_id != before.face_id


def test_reset_forgets_every_face(perception, astronaut):
    [before] = perception.process(astronaut, SECOND)
    perception.reset()
    [after] = perception.process(astronaut, SECOND + FRAME)
    assert after.face_id != before.face_id


def test_a_bad_picture_of_a_face_is_believed_less(perception, astronaut):
    [good] = perception.still(astronaut)
    [blurred] = perception.still(cv2.GaussianBlur(astronaut, (0, 0), 6))
    assert blurred.quality < 0.5
    assert blurred.emotion.confidence < good.emotion.confidence


def test_one_odd_image_does_not_flip_the_expression(perception, astronaut, monkeypatch):
    for i in range(20):
        [steady] = perception.process(astronaut, i * FRAME)
    certain = np.zeros((1, 7), np.float32)
    certain[0, 3] = 1.0
    monkeypatch.setattr(perception.classifier, "estimates", lambda faces: estimates(certain * 0.9 + 0.1 / 7, certain))
    [odd] = perception.process(astronaut, 20 * FRAME)
    assert odd.emotion.name == steady.emotion.name
    for i in range(21, 60):
        [changed] = perception.process(astronaut, i * FRAME)
    assert changed.emotion.name == "angry"


def estimates(p: np.ndarray, strengths: np.ndarray, familiarity: float = 1.0) -> FaceEstimates:
    """What a classifier estimates for one face."""
    return FaceEstimates(p, strengths, np.array([familiarity]))


def showing(label: int, confidence: float) -> np.ndarray:
    """What a classifier says of one face, (1, 7)."""
    p = np.full((1, 7), (1 - confidence) / 6)
    p[0, label] = confidence
    return p


def test_from_pictures_to_state_a_blink_passes_unseen_and_a_change_shows_soon(perception, astronaut, monkeypatch):
    """Through filter and fusion: neither may smooth what the other has smoothed."""
    happy, angry = showing(1, 0.9), showing(3, 0.9)
    shown = iter([happy] * 25 + [angry] * 3 + [happy] * 22 + [angry] * 25)
    strengths = np.full((1, 7), 0.5)
    monkeypatch.setattr(perception.classifier, "estimates", lambda faces: estimates(next(shown), strengths))
    monkeypatch.setattr(perception, "config", replace(perception.config, facial_actions=False))
    fusion, names = EmotionFusion(), []
    for i in range(75):
        fusion.add_faces(i * SECOND // 25, perception.process(astronaut, i * SECOND // 25))
        state = fusion.state(i * SECOND // 25)
        names.append(state.emotion.name)
    assert names[:50] == ["happy"] * 50
    assert names[50:].index("angry") < 10  # 0.4 s
    assert state.emotion.confidence == pytest.approx(0.9, abs=0.05)


def test_without_a_filter_each_picture_speaks_for_itself(astronaut, monkeypatch):
    perception = VisualPerception(
        VisualConfig(expression_model=str(PUBLISHED), expression_hold_s=0, intensity_smoothing_s=0)
    )
    said = iter([showing(1, 0.9), showing(3, 0.9)])
    monkeypatch.setattr(perception.classifier, "estimates", lambda faces: estimates(next(said), np.full((1, 7), 0.5)))
    names = [perception.process(astronaut, i * FRAME)[0].emotion.name for i in range(2)]
    assert names == ["happy", "angry"]


@pytest.mark.parametrize(("familiarity", "share"), [(1.0, 1.0), (0.4, 0.4), (0.0, 0.0)])
def test_an_unfamiliar_picture_lowers_quality_and_confidence(perception, astronaut, monkeypatch, familiarity, share):
    monkeypatch.setattr(perception, "config", replace(perception.config, facial_actions=False))
    [plain] = perception.still(astronaut)
    answer = estimates(showing(1, 0.9), np.full((1, 7), 0.5), familiarity)
    monkeypatch.setattr(perception.classifier, "estimates", lambda faces: answer)
    [face] = perception.still(astronaut)
    quality = quality_of(perception, astronaut)
    assert face.quality == pytest.approx(share * quality)
    exponent = quality_exponent(min(1.0, share * quality / perception.config.full_quality))
    expected = (showing(1, 0.9)[0] ** exponent)[1] / (showing(1, 0.9)[0] ** exponent).sum()
    likelihood = face.emotion.with_prior(BALANCED)
    assert likelihood.confidence == pytest.approx(expected, abs=0.01)
    assert face.box == plain.box


def quality_of(perception: VisualPerception, image: np.ndarray) -> float:
    """Of the picture alone."""
    return perception.detect_still(image)[0].quality


def test_intensities_follow_slowly(perception, astronaut, monkeypatch):
    strengths = iter([np.zeros((1, 7))] + [np.ones((1, 7))] * 30)
    monkeypatch.setattr(perception.classifier, "estimates", lambda faces: estimates(showing(1, 0.9), next(strengths)))
    seen = [perception.process(astronaut, i * FRAME)[0].emotion.intensities[HAPPY] for i in range(31)]
    assert seen == sorted(seen)
    assert seen[0] == 0 and seen[1] < 0.2 and seen[-1] > 0.95


def test_the_newest_picture_of_a_face_is_kept_while_it_is_in_view(perception, astronaut):
    assert perception.newest_crop() is None
    [face] = perception.process(astronaut, FRAME)
    kept = perception.newest_crop(face.face_id)
    assert kept is perception.newest_crop() and kept.stamp_ns == FRAME
    assert (kept.crop.shape, kept.crop.dtype) == ((48, 48), np.uint8)
    assert kept.emotion.name == "happy"
    assert perception.newest_crop("nobody") is None
    perception.process(astronaut, 2 * FRAME)
    assert perception.newest_crop(face.face_id).stamp_ns == 2 * FRAME
    perception.process(np.full_like(astronaut, 90), 3 * FRAME)
    assert perception.newest_crop(face.face_id) is None and perception.newest_crop() is None
    perception.process(astronaut, 4 * FRAME)
    perception.reset()
    assert perception.newest_crop() is None


def test_a_tiny_picture_is_a_face_by_itself(perception, astronaut):
    x, y, width, height = FACE
    tiny = cv2.resize(astronaut[y : y + height, x : x + width], (48, 48), interpolation=cv2.INTER_AREA)
    assert is_tiny(tiny)
    assert not is_tiny(astronaut)
    [observed] = perception.still(tiny)
    assert (observed.box.width, observed.box.height) == (48, 48)
    assert observed.emotion.name == "happy"


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 2000, 3), (2000, 3), (2, 2)])
def test_an_image_of_odd_proportions_holds_nobody(perception, shape):
    assert perception.process(np.zeros(shape, np.uint8), 0) == ()
    assert perception.still(np.zeros(shape, np.uint8)) == ()


def test_a_view_into_a_read_only_buffer_is_as_good_as_a_copy(perception, astronaut):
    buffer = np.zeros((512, 600, 3), np.uint8)
    buffer[:, :512] = astronaut
    buffer.setflags(write=False)
    [of_view], [of_copy] = perception.still(buffer[:, :512]), perception.still(astronaut)
    assert of_view.box == of_copy.box


@pytest.mark.parametrize("image", [np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4))])
def test_an_image_it_cannot_take_is_refused_and_the_next_is_taken(perception, astronaut, image):
    with pytest.raises(ValueError, match="image"):
        perception.process(image, 0)
    assert len(perception.process(astronaut, FRAME)) == 1


@pytest.mark.parametrize("field", ["expression_model", "face_detector_model"])
def test_a_missing_model_is_named(tmp_path, field):
    path = str(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=path):
        VisualPerception(VisualConfig(**({"expression_model": str(PUBLISHED)} | {field: path})))


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_faces", 0), ("detection_width", 300), ("expression_hold_s", -1.0), ("expression_slip", 1.0)],
)
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        VisualConfig(**{field: value})


def test_a_face_without_features_is_no_evidence(perception):
    judged = perception.whole_face(np.zeros((48, 48), np.uint8))
    assert judged.quality == 0
    assert judged.emotion.with_prior(BALANCED).confidence == pytest.approx(1 / 7, abs=1e-3)


@needs_clip
def test_two_people_who_walk_past_each_other_keep_their_identities(perception, astronaut, clip):
    at_front, behind = astronaut[20:200, 150:300], cv2.resize(clip[0][0][40:240, 130:310], (150, 180))
    for i in range(45):
        x_front, x_behind = 10 + 10 * i, 470 - 10 * i
        image = np.full((480, 640, 3), 90, np.uint8)
        image[150:330, x_behind : x_behind + 150] = behind
        image[160:340, x_front : x_front + 150] = at_front
        centres = {face.face_id: face.box.x + face.box.width / 2 for face in perception.process(image, i * FRAME)}
        if i == 8:
            goes_right, goes_left = sorted(centres, key=centres.__getitem__)
    assert len(centres) == 2
    assert centres[goes_right] > 480
    assert centres[goes_left] < 150


@needs_clip
def test_a_face_keeps_its_identity_behind_someone_who_stops_before_it_for_a_second(perception, astronaut, clip):
    """In real pixels, through search, windows and tracker: the one in front covers the other for 30 images."""
    behind = cv2.resize(clip[0][0][40:240, 130:310], (150, 180))
    in_front = cv2.resize(astronaut[20:200, 150:300], (180, 216))
    hidden = 0
    names: list[dict[str, float]] = []
    for i in range(70):
        x = {**dict.fromkeys(range(20, 50), 228)}.get(i, 20 + 10.4 * i if i < 20 else 228 + 12 * (i - 49))
        image = np.full((480, 640, 3), 90, np.uint8)
        image[160:340, 240:390] = behind
        left = round(x)
        image[140:356, left : left + 180] = in_front[:, : 640 - left]
        faces = perception.process(image, i * FRAME)
        hidden += len(faces) == 1
        names.append({face.face_id: face.box.x + face.box.width / 2 for face in faces})
    first = names[2]
    waits = max(first, key=first.__getitem__)
    assert len(first) == 2 and hidden >= 30
    assert names[-1].keys() == first.keys()
    assert names[-1][waits] == pytest.approx(first[waits], abs=20)


@needs_clip
def test_the_happy_clip_has_one_face_that_is_mostly_happy(perception, clip):
    ids: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for image, time in clip:
        for observed in perception.process(image, int(time * SECOND)):
            ids[observed.face_id] += 1
            names[observed.emotion.name] += 1
    assert len(ids) == 1
    assert ids.total() == len(clip)
    assert names.most_common(1)[0][0] == "happy"
