"""Models and speech for the acoustic tests; lets them share ``sounds``."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import DATA, PUBLISHED, RATE, LoudnessDetector, card_of

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception


@pytest.fixture
def perception() -> AcousticPerception:
    """The published model behind a detector that takes loud for speech."""
    made = AcousticPerception(AcousticConfig(model=str(PUBLISHED)))
    made.detector = LoudnessDetector()  # type: ignore[assignment]
    return made


@pytest.fixture
def listener() -> AcousticPerception:
    """The acoustic path as a robot has it."""
    return AcousticPerception(AcousticConfig(model=str(PUBLISHED)))


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """2 s quiet, a RAVDESS sentence of a test actor (3 s, quiet at both ends), 1 s quiet; (T,) float32 at 16 kHz."""
    path = DATA / "ravdess_speech" / "Actor_21" / "03-01-05-02-01-01-21.flac"
    if not path.is_file():
        pytest.skip("RAVDESS is not in ../shared/data")
    from emotion_perception.learning.voices.features import read_speech

    quiet = 1e-4 * np.random.default_rng(3).standard_normal(2 * RATE).astype(np.float32)
    return np.concatenate([quiet, read_speech(path), quiet[:RATE]])


@pytest.fixture(scope="session")
def random_net(tmp_path_factory: pytest.TempPathFactory):
    """An untrained network and its published file: (VoiceNet, OverlapNet, path)."""
    torch = pytest.importorskip("torch")
    from emotion_perception.learning.voices.network import OverlapNet, VoiceNet
    from emotion_perception.learning.voices.weights import publish_voice

    torch.manual_seed(0)
    net, overlap = VoiceNet().train(), OverlapNet().train()
    for name, parameter in [*net.named_parameters(), *overlap.named_parameters()]:
        if "norm" in name:  # norms that do nothing would hide an error in them
            torch.nn.init.uniform_(parameter, 0.2, 0.8)
    with torch.no_grad():
        for _ in range(10):
            mel = torch.randn(8, 100, 80) * 15 - 20
            net(mel), overlap(mel)
    path = tmp_path_factory.mktemp("weights") / "random.onnx"
    for module in (net, overlap):  # the file has fp16 weights and fp32 statistics
        statistics = {k: v for k, v in module.state_dict().items() if "running_" in k}
        module.half().float().eval().load_state_dict(statistics, strict=False)
    publish_voice(path, net, overlap, card_of(net, overlap))
    return net, overlap, path
