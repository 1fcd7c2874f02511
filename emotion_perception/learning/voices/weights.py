"""Write a trained voice network as ONNX with its model card, and load weights for further training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from emotion_perception.acoustic.emotion_classifier import (
    CHANNELS,
    DISTANCE,
    EMOTION,
    INTENSITY,
    OVERLAP,
    SPECTROGRAM,
)
from emotion_perception.acoustic.features import HOP, LONGEST, N_MELS, SAMPLE_RATE
from emotion_perception.emotions import EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import ModelCard, VoiceInput, load_card
from emotion_perception.learning.config import from_mapping
from emotion_perception.learning.onnx_files import export_network, read_initializers
from emotion_perception.learning.voices.network import (
    OverlapNet,
    OverlapNetConfig,
    SpeechEncoder,
    TrainingDistance,
    UtteranceNet,
    VoiceNet,
    VoiceNetConfig,
)

ENCODER_LICENCE = "speech encoder: BSD-2-Clause and MIT, see THIRD_PARTY.md"
LICENCES = {  # of the weights, by whether all training corpora permit commercial use
    False: f"non-commercial research use, as its training data; {ENCODER_LICENCE}",
    True: f"the training data permit commercial use with attribution, see licences; {ENCODER_LICENCE}",
}
OVERLAP_PREFIX = "overlap."  # of the names of the overlap network's weights in the file
DISTANCE_PREFIX = "distance."  # the same of the distance from the training clips
EXAMPLE_FRAMES = 150  # length of the example input that the export traces; the exported length is variable


def publish_voice(
    path: Path,
    net: VoiceNet,
    overlap: OverlapNet | None,
    card: Mapping[str, Any],
    distance: TrainingDistance | None = None,
) -> dict[str, Any]:
    """Write the networks as one ONNX file with fp16 weights, and the card as YAML and in the file's metadata.

    Args:
        path: ``.onnx`` file.
        net: emotion network, without the layers for the study of the speaker's sex.
        overlap: detector of overlapped speech; None: the model has none.
        card: fields of the card other than labels, input and outputs: ``calibration``, ``population``, ``overlap``
            (threshold), ``training`` (``net``), ``prior``, ``scores``, ``unfamiliar``.
        distance: from the training clips; None: confidence is the same for sounds unlike all of them.

    Returns:
        All fields of the card.
    """
    features = {SPECTROGRAM: torch.zeros(1, EXAMPLE_FRAMES, N_MELS)}
    outputs = [EMOTION, INTENSITY] if distance is None else [EMOTION, INTENSITY, DISTANCE]
    dynamic = {SPECTROGRAM: {1: "frames"}}
    if overlap is not None:
        features[CHANNELS] = torch.zeros(1, 3, EXAMPLE_FRAMES, N_MELS)
        outputs.append(OVERLAP)
        dynamic[CHANNELS] = {2: "frames"}
    fields = {
        "model": "voice-emotion",
        "labels": list(EMOTIONS),
        "input": asdict(VoiceInput(SAMPLE_RATE, LONGEST * HOP / SAMPLE_RATE)),
        "licence": LICENCES[bool(card.get("sellable", False))],
        **card,
        "outputs": {name: "distance" if name == DISTANCE else "logits" for name in outputs},
    }
    module = UtteranceNet(net, overlap, distance).eval()
    checked = ModelCard.from_mapping(fields, str(path))
    export_network(path, module, features, outputs, checked, dynamic, "net.")
    return checked.to_mapping()


def load_voice(path: Path) -> tuple[VoiceNet, OverlapNet | None, ModelCard]:
    """Load the networks, in evaluation mode, and the card from a file that :func:`publish_voice` wrote.

    Raises:
        ModelError: the file is missing, corrupt, or of another model; the message names it.
    """
    card = load_card(path)
    try:
        net = VoiceNet(from_mapping(VoiceNetConfig, card.details["training"]["net"]))
        several = card.details.get("overlap", {}).get("net")
        overlap = None if several is None else OverlapNet(from_mapping(OverlapNetConfig, several))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"not weights of a voice model: {path} ({type(error).__name__}: {error})") from error
    put_weights(net, overlap, read_initializers(path), path)
    return net.eval(), overlap if overlap is None else overlap.eval(), card


def put_weights(net: VoiceNet, overlap: OverlapNet | None, weights: Mapping[str, np.ndarray], path: Path) -> None:
    """Load the weights of a published file into the networks; ``path`` is used in error messages.

    Raises:
        ModelError: the weights are of another architecture; the message names the file.
    """
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    _put(net, {k: v for k, v in tensors.items() if not k.startswith((OVERLAP_PREFIX, DISTANCE_PREFIX))}, path)
    if overlap is not None:
        rest = {k.removeprefix(OVERLAP_PREFIX): v for k, v in tensors.items() if k.startswith(OVERLAP_PREFIX)}
        _put(overlap, rest, path)


def load_initial(net: VoiceNet, path: Path) -> None:
    """Initialise ``net`` from a published voice model (``.onnx``), or only its encoder (``.safetensors``).

    ``scripts/speech_encoder.py`` writes the encoder file; layers that ``net`` does not have are ignored.

    Raises:
        ModelError: the file is missing, corrupt, or of another architecture; the message names it.
    """
    if path.suffix == ".safetensors":
        wanted = net.encoder.state_dict()
        found = _read_encoder(path)
        _put(net.encoder, {k: v for k, v in found.items() if k in wanted or not k.startswith("layers.")}, path)
        return
    put_weights(net, None, read_initializers(path), path)


def save_encoder(path: Path, encoder: SpeechEncoder, source: str) -> None:
    """Write a pretrained encoder's weights in fp16 as safetensors; ``source`` names their origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in encoder.state_dict().items()}, path, {"source": source})


def _read_encoder(path: Path) -> dict[str, torch.Tensor]:
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"speech encoder not readable: {path} ({error})") from error


def _put(module: nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load all weights of ``module`` except the batch counters of its batch norms."""
    counters = {k: v for k, v in module.state_dict().items() if k.endswith("num_batches_tracked")}
    try:
        module.load_state_dict({**counters, **weights})
    except RuntimeError as error:
        raise ModelError(f"not weights of this network: {path} ({error})") from error
