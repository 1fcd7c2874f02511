"""Pictures and models that the tests of the visual core share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.visual.detector import FaceDetector
from emotion_perception.visual.perception import VisualConfig, VisualPerception

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "models" / "expression.onnx"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A public-domain portrait, uint8 (512, 512, 3) BGR: one smiling frontal face, at 184, 64, of 85 x 111 px."""
    data = pytest.importorskip("skimage.data", reason="scikit-image, which ships the portrait, is not installed")
    return cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="session")
def random_net(tmp_path_factory: pytest.TempPathFactory):
    """An untrained network and its published weights: (torch module, path)."""
    torch = pytest.importorskip("torch")
    from emotion_perception.learning.faces.export import publish_faces
    from emotion_perception.learning.faces.network import ExpressionNet

    torch.manual_seed(0)
    net = ExpressionNet().train()
    for name, parameter in net.named_parameters():  # residual branches start at zero, which would hide an error in them
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.2, 0.6)
    with torch.no_grad():
        for _ in range(30):  # gives the batch norms statistics other than 0 and 1
            net(torch.rand(16, 1, 48, 48) * 255)
    path = tmp_path_factory.mktemp("weights") / "random.onnx"
    publish_faces(path, net.half().float().eval(), {"calibration": {"ferplus_scale": 0.4, "fer2013_scale": 0.2}})
    return net, path


@pytest.fixture(scope="session")
def _loaded() -> VisualPerception:
    return VisualPerception(VisualConfig(expression_model=str(PUBLISHED), id_seed=1))


@pytest.fixture
def perception(_loaded: VisualPerception) -> VisualPerception:
    """The published model, having seen nobody yet."""
    _loaded.reset()
    return _loaded


@pytest.fixture(scope="session")
def scene(astronaut):
    """A function that draws a plain grey image with the astronaut's head, 150 x 180 px times ``scale``, at x, y."""

    def draw(x: int, y: int, scale: float = 1.0, size: tuple[int, int] = (480, 640)) -> np.ndarray:
        image = np.full((*size, 3), 90, np.uint8)
        head = cv2.resize(astronaut[20:200, 150:300], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        left, top = max(x, 0), max(y, 0)
        part = head[top - y : top - y + size[0] - top, left - x : left - x + size[1] - left]
        image[top : top + part.shape[0], left : left + part.shape[1]] = part
        return image

    return draw
