"""The search for faces: combined scores, orientations, tiles, tiny images and images of many sizes."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.types import SECOND, Box, FaceDetection
from emotion_perception.visual.alignment import TEMPLATE, face_roll
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.detector import ROI_SIZE, FaceDetector, iou_matrix, turn_back
from emotion_perception.visual.face_search import MAX_TILES, FaceSearch, combined_score, quarter_turns, tiles

FACE = (184, 64, 85, 111)  # x, y, width, height in the astronaut's portrait
NEWS = Path(__file__).resolve().parents[3] / "shared" / "data" / "external_faces" / "news"
needs_news = pytest.mark.skipif(not NEWS.is_dir(), reason=f"the news photographs are not there: {NEWS}")


def overlap(box: Box, expected: tuple[float, ...]) -> float:
    return float(iou_matrix(np.array([[box.x, box.y, box.width, box.height]]), np.array([expected], float))[0, 0])


class ScriptedDetector:
    """Finds a face of given scores: ``search[width]`` in copies, ``window`` in windows; None: nothing."""

    def __init__(self, search: dict[int | None, float], window: float | None) -> None:
        self.search, self.window, self.searched = search, window, []

    def _face(self, score: float) -> FaceDetection:
        return FaceDetection(Box(100, 100, 80, 100), score, TEMPLATE + np.float32(110))

    def detect(self, image, width=None, turns=0):
        self.searched.append((width, turns))
        return [self._face(self.search[width])] if turns == 0 and width in self.search else []

    def refine(self, image, box, turns=0):
        return self._face(self.window) if turns == 0 and self.window is not None else None


@pytest.mark.parametrize(("search", "window"), [(0.95, 0.35), (0.89, 0.45), (0.93, None), (0.35, 0.9)])
def test_a_face_that_one_detection_is_sure_of_is_not_vetoed_by_the_other(search, window):
    image = np.zeros((300, 300, 3), np.uint8)
    [still] = FaceSearch(ScriptedDetector({640: search}, window), VisualConfig()).single_image(image)
    [streamed] = FaceSearch(ScriptedDetector({None: search}, window), VisualConfig()).frame(image, 0)
    assert still.score == streamed.score == pytest.approx(combined_score(search, window))


@pytest.mark.parametrize(("search", "window"), [(0.6, None), (0.55, 0.4), (0.35, 0.4)])
def test_a_face_that_neither_detection_is_sure_of_is_not_reported(search, window):
    image = np.zeros((300, 300, 3), np.uint8)
    assert FaceSearch(ScriptedDetector({640: search}, window), VisualConfig()).single_image(image) == []
    assert FaceSearch(ScriptedDetector({None: search}, window), VisualConfig()).frame(image, 0) == []


def test_where_no_candidate_survives_a_stream_is_searched_in_a_smaller_copy():
    detector = ScriptedDetector({None: 0.35, 160: 0.9}, 0.4)
    [face] = FaceSearch(detector, VisualConfig()).frame(np.zeros((300, 300, 3), np.uint8), 0)
    assert face.score == pytest.approx(combined_score(0.9, 0.4))
    assert detector.searched == [(None, 0), (160, 0)]


@needs_news
@pytest.mark.parametrize("name", ["surprised/Michelle_Kwan_0002", "happy/Ai_Sugiyama_0001", "fearful/Jackie_Chan_0006"])
def test_a_face_that_fills_a_photograph_is_found(perception, name):
    path = NEWS / f"{name}.jpg"
    image = cv2.imread(str(path))
    [face] = perception.still(image)
    assert face.box.width > 0.55 * image.shape[1]
    perception.process(image, 0)  # a face of low score is confirmed by a second frame
    assert len(perception.process(image, SECOND // 5)) == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_face_turned_by_quarters_is_found_and_brought_upright(perception, astronaut, turns):
    height, width = astronaut.shape[:2]
    turned = np.ascontiguousarray(np.rot90(astronaut, turns))
    [detected] = perception.detect_still(turned)
    [upright] = perception.detect_still(astronaut)
    x, y, w, h = FACE
    expected = [
        (x, y, w, h),
        (y, width - x - w, h, w),
        (width - x - w, height - y - h, w, h),
        (height - y - h, x, h, w),
    ]
    assert overlap(detected.box, expected[turns]) > 0.7
    assert np.corrcoef(detected.crop.ravel(), upright.crop.ravel())[0, 1] > 0.9
    assert perception.still(turned)[0].emotion.name == "happy"


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_in_a_stream_a_turned_face_is_found_and_followed(perception, astronaut, turns):
    turned = np.ascontiguousarray(np.rot90(astronaut, turns))
    found = [perception.process(turned, i * SECOND // 10) for i in range(6)]
    faces = [face for faces in found[2:] for face in faces]
    assert len(faces) == 4 and len({face.face_id for face in faces}) == 1
    assert {face.emotion.name for face in faces} == {"happy"}


def test_an_empty_stream_is_searched_for_turned_faces_once_a_second():
    detector = ScriptedDetector({}, None)
    search = FaceSearch(detector, VisualConfig())
    for i in range(20):  # 4 s
        search.frame(np.zeros((300, 300, 3), np.uint8), i * SECOND // 5)
    assert [turns for _, turns in detector.searched if turns] == [1, 3, 2, 1]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_detections_in_a_turned_image_are_turned_back(turns):
    width, height = 40, 30
    row = np.array([[3, 5, 10, 12, 0.9, *np.arange(10)]], np.float32)
    image = np.zeros((height, width), np.uint8)
    image[5:17, 3:13] = 1
    ys, xs = np.nonzero(np.rot90(image, turns))
    turned = np.array([[xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1, 0.9]], np.float32)
    points = row[0, 5:].reshape(5, 2)
    for _ in range(turns):  # one quarter turn counter-clockwise: x' = y, y' = width - x
        points, width, height = np.stack([points[:, 1], width - points[:, 0]], 1), height, width
    rows = np.concatenate([turned, points.reshape(1, 10)], 1)
    np.testing.assert_allclose(turn_back(rows, turns, 40, 30), row, atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_quarter_turns_bring_landmarks_upright(degrees):
    angle = np.radians(degrees)
    rolled = TEMPLATE @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert np.degrees(face_roll(rolled)) % 360 == pytest.approx(degrees, abs=1e-2)
    assert quarter_turns(rolled) == degrees // 90


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_face_cut_off_by_the_edge_is_found(perception, astronaut, side):
    x, y, width, height = FACE
    left, right = x + round(0.25 * width), x + round(0.75 * width)
    top, bottom = y + round(0.25 * height), y + round(0.75 * height)
    image = {
        "left": astronaut[:, left:],
        "right": astronaut[:, :right],
        "top": astronaut[top:],
        "bottom": astronaut[:bottom],
    }[side]
    [face] = perception.still(image)
    shift = (left if side == "left" else 0, top if side == "top" else 0)
    assert overlap(face.box, (x - shift[0], y - shift[1], width, height)) > 0.4


def test_a_far_face_in_a_wide_panorama_is_found(perception, astronaut):
    panorama = np.full((3000, 17000, 3), 90, np.uint8)
    head = cv2.resize(astronaut[20:200, 150:300], (100, 120), interpolation=cv2.INTER_AREA)
    panorama[1700:1820, 11230:11330] = head
    [face] = perception.still(panorama)
    assert overlap(face.box, (11230 + 34 / 1.5, 1700 + 44 / 1.5, 85 / 1.5, 111 / 1.5)) > 0.6
    assert face.emotion.name == "happy"


@pytest.mark.parametrize(
    "size", [(17000, 3000), (3000, 17000), (17000, 500), (60000, 900), (40000, 30000), (6000, 4000)]
)
def test_tiles_cover_a_large_image_with_overlap_and_are_bounded(size):
    width, height = size
    found = list(tiles(width, height, 640))
    assert 1 < len(found) <= MAX_TILES
    overlap_px = 10 * max(size) / 640
    for axis, length in enumerate(size):
        side = found[0][2]
        starts = sorted({tile[axis] for tile in found})
        assert starts[0] == 0 and starts[-1] + side >= length
        assert all(b - a <= side - overlap_px for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("size", [(640, 480), (4000, 3000), (1920, 1080), (48, 48)])
def test_an_ordinary_image_is_not_tiled(size):
    assert list(tiles(*size, 640)) == []


def icons() -> list[np.ndarray]:
    blank = np.full((64, 64, 3), 255, np.uint8)
    dot = cv2.circle(blank.copy(), (32, 32), 20, (0, 0, 255), -1)
    cross = cv2.line(cv2.line(blank.copy(), (8, 8), (56, 56), 0, 6), (56, 8), (8, 56), 0, 6)
    letter = cv2.putText(blank[:48, :48].copy(), "R", (8, 40), 0, 1.5, (90, 30, 0), 4)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return [dot, cross, letter, noise, blank]


@pytest.mark.parametrize("icon", icons(), ids=["dot", "cross", "letter", "noise", "blank"])
def test_an_icon_is_no_face(perception, icon):
    assert perception.still(icon) == ()


@pytest.mark.parametrize("size", [24, 48, 64])
def test_a_face_crop_as_small_as_an_icon_is_found_with_the_detectors_score(perception, astronaut, size):
    x, y, width, height = FACE
    crop = cv2.resize(astronaut[y : y + height, x - 13 : x + width + 13], (size, size), interpolation=cv2.INTER_AREA)
    [face] = perception.still(crop)
    assert (face.box.width, face.box.height) == (size, size)
    assert 0.5 <= face.detection_score < 1.0
    assert face.emotion.name == "happy"


def test_a_small_face_in_a_tiny_image_has_its_own_box(perception, astronaut):
    [face] = perception.still(cv2.resize(astronaut[20:276, 100:356], (64, 64), interpolation=cv2.INTER_AREA))
    assert face.box.width < 32


def test_an_assumed_face_has_no_detection_score(perception, astronaut):
    assert perception.whole_face(cv2.resize(astronaut, (48, 48))).detection_score == 0


def test_images_of_any_size_share_a_few_compiled_networks(astronaut):
    detector = FaceDetector()
    rng = np.random.default_rng(0)
    for width, height in rng.integers(100, 900, (40, 2)):
        detector.detect(cv2.resize(astronaut, (int(width), int(height)), interpolation=cv2.INTER_AREA))
    assert set(detector._network._requests) <= {
        (ROI_SIZE, ROI_SIZE), (192, 320), (320, 192), (256, 320), (320, 256), (320, 320)
    }  # fmt: skip


@pytest.mark.parametrize("size", [(640, 480), (620, 413), (300, 480), (500, 230)])
def test_padding_to_a_shared_shape_changes_a_face_by_no_more_than_2_percent_of_its_size(astronaut, size):
    """Against the least padding that the network takes, to multiples of 32."""
    scene = np.full((size[1], size[0], 3), 90, np.uint8)
    scene[10:190, 20:170] = astronaut[20:200, 150:300]
    detector = FaceDetector()
    [padded] = detector.detect(scene)
    scale = 320 / max(size)
    copy = cv2.resize(scene, (round(size[0] * scale), round(size[1] * scale)), interpolation=cv2.INTER_AREA)
    copy = cv2.copyMakeBorder(copy, 0, -copy.shape[0] % 32, 0, -copy.shape[1] % 32, cv2.BORDER_CONSTANT)
    [row] = detector._network(copy)
    np.testing.assert_allclose(
        [padded.box.x, padded.box.y, padded.box.width, padded.box.height], row[:4] / scale, atol=0.02 * row[3] / scale
    )
    assert padded.score == pytest.approx(row[4], abs=0.01)
