"""Fast augmentation of a batch of small grey-scale faces: low light, rotation, blur and occlusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment_faces(faces: Tensor, generator: torch.Generator, damage: float = 1.0, warp: float = 1.0) -> Tensor:
    """Randomly augment ``(N, 1, H, W)`` float faces, 0..255; the result has the same shape and range.

    Each face may be mirrored, rotated (a fifth of them by up to 30 degrees), scaled, shifted, lit from one side,
    darkened by a gamma, reduced in resolution, motion-blurred, overlaid with sensor noise, and partly occluded.

    Args:
        damage: 0..1, factor on the frequency of all but the first four.
        warp: 0..1, share of the faces that are rotated, scaled and shifted. The others stay as sharp as the faces at
            run time; interpolation between pixels blurs.
    """
    n, _, height, width = faces.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def chosen(share: float) -> Tensor:
        return torch.rand(n, generator=generator) < share

    angle = torch.randn(n, generator=generator) * math.radians(9)
    angle = torch.where(chosen(0.2), uniform(-math.radians(30), math.radians(30)), angle)
    zoom = uniform(0.82, 1.18)
    aspect = uniform(0.93, 1.07)
    shift = uniform(-0.12, 0.12, 2)
    if warp < 1:
        still = chosen(1 - warp)
        angle[still], zoom[still], aspect[still], shift[still] = 0.0, 1.0, 1.0, 0.0
    mirror = torch.where(chosen(0.5), -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack(
        [
            torch.stack([mirror * cos * zoom * aspect, -sin * zoom, shift[:, 0]], -1),
            torch.stack([mirror * sin * zoom, cos * zoom / aspect, shift[:, 1]], -1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, [n, 1, height, width], align_corners=False)
    x = F.grid_sample(faces, grid, padding_mode="reflection", align_corners=False) / 255

    # Light: from one side, then darker or brighter by a gamma.
    ramp_x = torch.linspace(-1, 1, width).view(1, 1, 1, width)
    ramp_y = torch.linspace(-1, 1, height).view(1, 1, height, 1)
    slope = torch.where(chosen(0.35 * damage), 1.0, 0.0).view(n, 1, 1, 1)
    side = ramp_x * uniform(-0.6, 0.6, 1, 1, 1) + ramp_y * uniform(-0.6, 0.6, 1, 1, 1)
    x = x * (1 + slope * side).clamp(0.15, 1.8)
    gamma = torch.where(chosen(0.5 * damage), torch.exp(uniform(-0.7, 1.0)), 1.0).view(n, 1, 1, 1)
    x = x.clamp(0, 1).pow(gamma)

    # Resolution: some faces are reduced to 16-36 pixels and enlarged, as distant faces are.
    small = int(torch.randint(16, 37, (1,), generator=generator))
    blurred = F.interpolate(x, size=(small, small), mode="area")
    blurred = F.interpolate(blurred, size=(height, width), mode="bilinear", align_corners=False)
    x = torch.where(chosen(0.25 * damage).view(n, 1, 1, 1), blurred, x)

    # Motion blur of some faces: one direction per batch, up to nine pixels.
    moved = chosen(0.15 * damage).nonzero()[:, 0]
    if len(moved):
        x[moved] = _motion_blur(x[moved], generator)

    # Sensor noise of random strength, after the darkening, as in a real sensor.
    sigma = torch.where(chosen(0.4 * damage), uniform(0, 0.07), 0.0).view(n, 1, 1, 1)
    x = (x + sigma * torch.randn(x.shape, generator=generator)).clamp(0, 1)

    # Occlusion: a rectangle of up to a third of the side, filled with the image's mean grey or with noise.
    centre_x, centre_y = uniform(-1, 1, 1, 1, 1), uniform(-1, 1, 1, 1, 1)
    half_x, half_y = uniform(0.1, 0.36, 1, 1, 1), uniform(0.1, 0.36, 1, 1, 1)
    inside = ((ramp_x - centre_x).abs() < half_x) & ((ramp_y - centre_y).abs() < half_y)
    inside = inside & chosen(0.3 * damage).view(n, 1, 1, 1)
    fill = torch.where(chosen(0.5).view(n, 1, 1, 1), x.mean((1, 2, 3), keepdim=True), uniform(0, 1, 1, height, width))
    return torch.where(inside, fill, x) * 255


def _motion_blur(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Blur ``(N, 1, H, W)`` along one random line of 3 to 9 pixels."""
    length, angle = torch.rand(2, generator=generator).tolist()
    length, angle, taps = 3 + 6 * length, math.pi * angle, 9
    kernel = torch.zeros(1, 1, taps, taps)
    for offset in torch.linspace(-0.5, 0.5, 2 * taps).tolist():
        row, column = offset * length * math.sin(angle), offset * length * math.cos(angle)
        kernel[0, 0, round(row) + taps // 2, round(column) + taps // 2] += 1
    padded = F.pad(faces, [taps // 2] * 4, mode="reflect")
    return F.conv2d(padded, kernel / kernel.sum())


def mirror_faces(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror a random half of the faces ``(N, 1, H, W)``."""
    chosen = torch.rand(len(faces), generator=generator) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), faces.flip(-1), faces)


def mix_faces(
    faces: Tensor, targets: tuple[Tensor, ...], share: float, alpha: float, generator: torch.Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mixup (Zhang et al. 2018) on a random ``share`` of the batch: faces and targets are blended with equal weights.

    A blend of a neutral and a happy face is a weaker smile, so the intensity head also learns intermediate values.
    """
    n = len(faces)
    weight = torch.distributions.Beta(alpha, alpha).sample((n,))
    weight = torch.maximum(weight, 1 - weight)
    weight = torch.where(torch.rand(n, generator=generator) < share, weight, 1.0)
    other = torch.randperm(n, generator=generator)

    def blend(values: Tensor) -> Tensor:
        w = weight.view(n, *[1] * (values.dim() - 1))
        return values * w + values[other] * (1 - w)

    return blend(faces), tuple(blend(target) for target in targets)
