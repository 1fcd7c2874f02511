"""Transfer learning: a network pretrained on other images, with the heads of the face network.

The published model is fine-tuned in this way from the face encoder. Torchvision's networks are here for comparison, and
as teachers of smaller ones.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from emotion_perception.errors import ModelError
from emotion_perception.learning.faces.face_encoder import face_encoder
from emotion_perception.learning.faces.network import N_FERPLUS, N_VISUAL, ExpressionNet

# Families whose children before the pooling run in sequence, in the order of definition.
FAMILIES = (
    "convnext_", "efficientnet_", "mnasnet", "mobilenet_", "regnet_", "resnet", "resnext", "shufflenet_", "vgg",
    "wide_resnet",
)  # fmt: skip
POOLING = ("avgpool", "classifier", "fc")  # name of the first child after the feature layers
FACE_ENCODER = "face_encoder"  # emotion_perception.learning.faces.face_encoder
CONTRAST = 50.0  # grey levels, standard deviation of the faces that the face encoder is given
# Input normalisation of torchvision's weights, for values 0..1 (He et al. 2016 and later networks).
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneConfig:
    """Choice of the network; with an empty ``name``, :class:`ExpressionNet` is trained instead."""

    name: str = ""  # face_encoder, or of torchvision: mobilenet_v3_small, vgg16, resnet18, efficientnet_b0, ...
    size: int = 64  # px to which faces are enlarged; layers designed for 224 px resolve too little at 48
    width: float = 1.0  # of the face encoder, relative to the published weights
    first_rate: float = 0.1  # rate of the first pretrained layer over that of the heads (Howard & Ruder 2018)
    frozen: int = 0  # layers, from the first, that keep their pretrained weights
    dropout: float = 0.3
    mirror: bool = True  # as in ExpressionNetConfig


class BackboneNet(nn.Module):
    """As :class:`ExpressionNet`: faces ``(N, 1, 48, 48)``, 0..255 -> logits ``(N, 8)``, ``(N, 7)``, ``(N, 7)``.

    Raises:
        ModelError: unknown network, not one of :data:`FAMILIES`, or faces of this size are too small for it.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = face_encoder(config.width) if config.name == FACE_ENCODER else _torchvision_trunk(config.name)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1) * 255, persistent=False)
        channels = self._channels()
        self.dropout = nn.Dropout(config.dropout)
        self.ferplus = nn.Linear(channels, N_FERPLUS)
        self.fer2013 = nn.Linear(channels, N_VISUAL)
        self.intensity = nn.Linear(channels, N_VISUAL)

    @torch.no_grad()
    def _channels(self) -> int:
        self.trunk.eval()
        try:
            channels = self._features(torch.zeros(1, 1, self.config.size, self.config.size)).shape[1]
        except RuntimeError as error:
            raise ModelError(f"{self.config.name} cannot see faces of {self.config.size} pixels ({error})") from error
        self.trunk.train()
        return int(channels)

    def load_pretrained(self, path: Path) -> None:
        """Load torchvision weights into the layers below the heads: a state dict as ``.pth`` or ``.safetensors``.

        The classifier in the file is ignored, whatever its classes.

        Raises:
            ModelError: the file is missing, corrupt, or of another network; the message names it and the mismatch.
        """
        if not path.is_file():
            raise ModelError(f"backbone weights not found: {path}")
        try:
            # Weights only: an untrusted pickle must not run code.
            given = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
            raise ModelError(f"not a state dict: {path} ({type(error).__name__}: {error})") from error
        if not isinstance(given, dict):
            raise ModelError(f"not a state dict: {path} ({type(given).__name__})")
        wanted = self.trunk.state_dict()
        for name, value in wanted.items():
            found = given.get(name)
            if found is None and name.endswith("num_batches_tracked"):  # missing in older files, and unused
                continue
            if not isinstance(found, Tensor) or found.shape != value.shape:
                there = tuple(found.shape) if isinstance(found, Tensor) else "nothing"
                raise ModelError(
                    f"not weights of {self.config.name}: {path} has {there} for {name}, expected {tuple(value.shape)}"
                )
        self.trunk.load_state_dict({name: given.get(name, value) for name, value in wanted.items()})

    def layers(self) -> list[nn.Module]:
        """The layers in order from input to output; the heads form the last one."""
        stages = list(self.trunk.children())
        if len(stages) == 1:
            stages = list(stages[0].children())
        return [*stages, nn.ModuleList([self.ferplus, self.fer2013, self.intensity])]

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.dropout(self._features(faces))
        return self.ferplus(features), self.fer2013(features), self.intensity(features)

    def _features(self, faces: Tensor) -> Tensor:
        """``(N, 1, H, W)``, 0..255 -> ``(N, channels)``."""
        size, ours = self.config.size, self.config.name == FACE_ENCODER
        x = ExpressionNet.standardise(faces) * CONTRAST if ours else (faces - self.mean) / self.deviation
        if x.shape[-1] != size:
            x = F.interpolate(x, size=(size, size), mode="bicubic" if ours else "bilinear", align_corners=False)
        return self.trunk(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))


def _torchvision_trunk(name: str) -> nn.Sequential:
    """The feature layers of a torchvision network, named as in its state dict.

    Raises:
        ModelError: unknown network, or not one of :data:`FAMILIES`.
    """
    known = [each for each in models.list_models(module=models) if each.startswith(FAMILIES)]
    if name not in known:
        raise ModelError(f"unknown backbone {name!r}; there are {', '.join((FACE_ENCODER, *sorted(known)))}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for child, layer in models.get_model(name, weights=None).named_children():
        if child in POOLING:
            break
        layers[child] = layer
    return nn.Sequential(layers)
