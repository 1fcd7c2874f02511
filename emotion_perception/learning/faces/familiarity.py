"""Teach a published face network when not to trust itself: the output ``familiarity`` of its ONNX file.

A network that has only seen photographs of uncovered, upright faces answers for any picture, and confidently. The
activations of its own layers show that a picture is unlike its training faces (Lee et al. 2018), so a small network
reads them in the same inference: the mean of each channel in the upper and the lower half of the picture and its
deviation, at the last layer of each resolution. Its output, 0..1, multiplies the quality of the face.

It is fitted to the log loss of what is published: the classifier's likelihoods, flattened by the exponent of the
resulting quality (sample-dependent temperature: Joy et al. 2023), on the validation faces of FER+ as they are and in
the kinds of :data:`~emotion_perception.learning.faces.foreign_faces.FITTED`. Nothing in it depends on the architecture,
except that it has convolutions; a network without this output has familiarity 1 everywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.learning.faces.familiarity_graph import NetworkReader, Readings, attach, concatenate
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.foreign_faces import FITTED, NO_FACE, make_foreign
from emotion_perception.visual.quality import quality_exponent

FULL_QUALITY = 0.9  # VisualConfig.full_quality
LEAST_FACES = 200  # labelled faces without which nothing can be fitted


@dataclass(frozen=True)
class FamiliarityFit:
    """Hyper-parameters."""

    ordinary: int = 2400  # faces of PublicTest as they are
    each: int = 400  # faces of PublicTest of each foreign kind
    components: int = 160  # principal components of the descriptor
    hidden: int = 24
    ordinary_weight: float = 0.55  # share of the ordinary faces in the loss
    ordinary_pull: float = 0.4  # weight of the log loss of "ordinary faces are familiar"
    epochs: int = 12
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0


class FamiliarityNet(nn.Module):
    """Descriptors ``(M, D)`` -> logits ``(M,)`` of the familiarity: principal components, distances, one hidden layer.

    Args:
        ordinary: descriptors ``(N, D)`` of ordinary faces, which the components are those of.
        config: sizes.
    """

    mean: Tensor
    spread: Tensor
    components: Tensor
    deviations: Tensor
    usual: Tensor

    def __init__(self, ordinary: np.ndarray, config: FamiliarityFit) -> None:
        super().__init__()
        x = torch.from_numpy(ordinary).double()
        spread = x.std(0) + 1e-3 * x.std()
        centred = (x - x.mean(0)) / spread
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        count = min(config.components, len(singular) - 1)
        self.register_buffer("mean", x.mean(0).float())
        self.register_buffer("spread", spread.float())
        self.register_buffer("components", axes[:count].T.contiguous().float())
        self.register_buffer("deviations", (singular[:count] / len(x) ** 0.5).float())
        self.register_buffer("usual", torch.zeros(2))
        self.usual.copy_(self._distances(torch.from_numpy(ordinary).float())[1].mean(0))
        inputs = count + 2
        self.direct = nn.Linear(inputs, 1)
        self.hidden = nn.Sequential(
            nn.Linear(inputs, config.hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(config.hidden, 1)
        )
        for last in (self.direct, self.hidden[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.constant_(self.direct.bias, 2.0)

    def _distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened components, and the logarithms of the Mahalanobis distance and of what the components leave over."""
        centred = (x - self.mean) / self.spread
        inside = centred @ self.components
        left_over = (centred.square().mean(1) - inside.square().sum(1) / centred.shape[1]).clamp(min=1e-4)
        whitened = inside / self.deviations
        return whitened, torch.stack([whitened.square().mean(1).clamp(min=1e-4).log(), left_over.log()], 1)

    def forward(self, descriptors: Tensor) -> Tensor:
        whitened, distances = self._distances(descriptors)
        x = torch.cat([whitened, 3 * (distances - self.usual)], 1).clamp(-6, 6)
        return (self.direct(x) + self.hidden(x))[:, 0]


def exponents(quality: Tensor) -> Tensor:
    """:func:`~emotion_perception.visual.quality.quality_exponent` of qualities ``(N,)``."""
    q = (quality / FULL_QUALITY).clamp(0, 1)
    low, floor = 0.05, quality_exponent(0.05)
    return torch.where(q < low, q * (floor / low), floor + (q - low) * ((1 - floor) / (1 - low)))


def fit(readings: Readings, prior: np.ndarray, config: FamiliarityFit) -> FamiliarityNet:
    """Fit a network to readings of ordinary and foreign faces.

    Args:
        readings: of faces drawn alike; those without a label should leave nothing but the prior.
        prior: ``(7,)``, class frequencies of the labels.
        config: hyper-parameters.
    """
    torch.manual_seed(config.seed)
    ordinary = readings.kinds == "ordinary"
    views = len(readings.descriptors)
    net = FamiliarityNet(np.concatenate(readings.descriptors[:, ordinary]), config)
    descriptors = torch.from_numpy(np.concatenate(readings.descriptors)).float()
    likelihoods = torch.from_numpy(np.tile(readings.likelihoods, (views, 1))).float()
    quality = torch.from_numpy(np.tile(readings.quality, views)).float()
    labels = torch.from_numpy(np.tile(readings.labels, views)).long()
    known = torch.from_numpy(np.tile(ordinary, views))
    share = config.ordinary_weight
    weight = torch.where(known, share / known.float().mean(), (1 - share) / (~known).float().mean())
    frequencies = torch.from_numpy(prior / prior.sum()).float()
    target = torch.where((labels < 0)[:, None], frequencies, F.one_hot(labels.clamp(min=0), len(prior)).float())
    batch = 512
    steps = config.epochs * (len(labels) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, steps)
    net.train()
    for step in range(steps):
        if step % (len(labels) // batch) == 0:
            order = torch.randperm(len(labels))
        rows = order[step % (len(labels) // batch) * batch :][:batch]
        logit = net(descriptors[rows])
        t = exponents(quality[rows] * logit.sigmoid())
        log_p = (likelihoods[rows] * t[:, None] + frequencies.log()).log_softmax(1)
        loss = -(target[rows] * log_p).sum(1) + config.ordinary_pull * known[rows] * F.softplus(-logit)
        loss = (loss * weight[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def familiarities(net: FamiliarityNet, readings: Readings) -> np.ndarray:
    """``(N,)``, as the attached network computes them."""
    logits = torch.stack([net(torch.from_numpy(view).float()) for view in readings.descriptors])
    return np.asarray(logits.mean(0).sigmoid().numpy())


def labelled_faces(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Faces ``(N, 48, 48)`` of PublicTest whose majority vote ``(N,)`` is one of the seven emotions.

    Raises:
        ValueError, OSError: the data are not readable.
    """
    split = load_ferplus(data, "PublicTest")
    known = (split.majority >= 0) & (split.majority < len(VISUAL_EMOTIONS))
    return split.faces[known], split.majority[known]


def readings_of(reader: NetworkReader, data: Path, config: FamiliarityFit) -> Readings:
    """Ordinary and foreign faces of PublicTest, read by a network.

    Raises:
        ValueError: there are too few labelled faces.
    """
    labelled, majority = labelled_faces(data)
    if len(labelled) < LEAST_FACES:
        raise ValueError(f"{data}: {len(labelled)} labelled faces in PublicTest; at least {LEAST_FACES} are needed")
    rng = np.random.default_rng(config.seed)
    parts = []
    for seed, kind in enumerate(("ordinary", *FITTED, *NO_FACE)):
        rows = rng.permutation(len(labelled))[: config.ordinary if kind == "ordinary" else config.each]
        faces = labelled[rows] if kind == "ordinary" else make_foreign(labelled[rows], kind, seed)
        labels = np.full(len(rows), -1) if kind in NO_FACE else majority[rows]
        parts.append(reader.read(reader.crops(faces), labels, kind))
    return concatenate(parts)


def learn_familiarity(model: Path, data: Path, out: Path | None = None, config: FamiliarityFit | None = None) -> dict:
    """Fit the familiarity of a published face network and write it into its file, or into ``out``.

    An earlier familiarity in the file is replaced; nothing else in it changes.

    Args:
        model: ONNX file with its card.
        data: ``ferplus.npz``; PublicTest is used.
        out: ONNX file to write; None: ``model``.
        config: hyper-parameters.

    Returns:
        The scores in the card: mean familiarity of the ordinary faces and of each foreign kind it was fitted to.

    Raises:
        ModelError: the model is missing, has no card, or has no convolutions.
        ValueError, OSError: the data are not readable, or too few.
    """
    config = config or FamiliarityFit()
    reader = NetworkReader(model)
    readings = readings_of(reader, data, config)
    known = readings.labels[readings.labels >= 0]
    net = fit(readings, np.bincount(known, minlength=len(VISUAL_EMOTIONS)) / len(known), config)
    familiarity = familiarities(net, readings)
    scores = {
        str(kind): round(float(familiarity[readings.kinds == kind].mean()), 2) for kind in np.unique(readings.kinds)
    }
    attach(out or model, reader, net, {"data": "FER+ PublicTest", **asdict(config), "mean": scores})
    return scores


def learn_if_enough(model: Path, data: Path) -> dict | None:
    """:func:`learn_familiarity` in the model's own file after a training; None if the faces are too few for it.

    Raises:
        ModelError, ValueError, OSError: as :func:`learn_familiarity`.
    """
    return learn_familiarity(model, data) if len(labelled_faces(data)[0]) >= LEAST_FACES else None
