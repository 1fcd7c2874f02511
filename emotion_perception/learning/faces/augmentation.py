"""Augmentation of a whole batch of small grey faces at once, on the CPU or a GPU.

The training faces are photographs from the web; a robot's camera, a film or a studio shows the same expressions with
another framing, tone, sharpness, compression and background. Each of these is varied on a share of the faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class AugmentationConfig:
    """Which share of the faces (0..1) each change is applied to, and how far the geometric ones go.

    Faces that are not warped keep the sharpness that resampling would cost them.
    """

    warp: float = 0.6  # rotated, scaled, shifted
    rotation: float = 9.0  # degrees, standard deviation; a fifth of the warped faces go up to 30
    zoom: float = 0.18  # largest change of scale
    shift: float = 0.12  # largest shift, of half the image
    light: float = 0.035  # lit from one side
    tone: float = 0.05  # gamma and an S-shaped tone curve
    resolution: float = 0.025  # seen at 16 to 36 pixels
    blur: float = 0.015  # out of focus or in motion
    sharpen: float = 0.0  # unsharp mask, as cameras and downscaling of large images do
    compress: float = 0.0  # JPEG blocks
    noise: float = 0.04  # sensor noise
    cover: float = 0.03  # partly covered
    background: float = 0.0  # another background around the face


def augment_faces(faces: Tensor, generator: torch.Generator, config: AugmentationConfig) -> Tensor:
    """Randomly change ``(N, 1, H, W)`` float faces, 0..255; the result has the same shape, range and device.

    Half of the faces are mirrored. ``generator`` must be on the device of the faces.
    """
    n, _, height, width = faces.shape
    device = faces.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator, device=device) * (high - low) + low

    def chosen(share: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator, device=device) < share

    ramp_x = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, width)
    ramp_y = torch.linspace(-1, 1, height, device=device).view(1, 1, height, 1)
    x = faces / 255
    if config.background:
        inside = torch.sigmoid((uniform(0.85, 1.05, 1, 1, 1) - (ramp_x**2 * 1.3 + ramp_y**2).sqrt()) * 14)
        shade = uniform(0, 1, 1, 1, 1) + uniform(-0.3, 0.3, 1, 1, 1) * ramp_x + uniform(-0.3, 0.3, 1, 1, 1) * ramp_y
        x = torch.where(chosen(config.background), x * inside + shade.clamp(0, 1) * (1 - inside), x)
    x = _warp(x, generator, config)

    side = ramp_x * uniform(-0.6, 0.6, 1, 1, 1) + ramp_y * uniform(-0.6, 0.6, 1, 1, 1)
    x = torch.where(chosen(config.light), x * (1 + side).clamp(0.15, 1.8), x).clamp(0, 1)
    curved = x.pow(torch.exp(uniform(-0.7, 1.0, 1, 1, 1)))
    steepness = uniform(-0.6, 0.9, 1, 1, 1)
    curved = curved + steepness * (curved * (1 - curved) * (2 * curved - 1))  # S curve: more or less contrast
    x = torch.where(chosen(config.tone), curved.clamp(0, 1), x)

    if config.resolution:
        small = int(torch.randint(16, 37, (1,), generator=generator, device=device))
        low = F.interpolate(x, size=(small, small), mode="area")
        low = F.interpolate(low, size=(height, width), mode="bilinear", align_corners=False)
        x = torch.where(chosen(config.resolution), low, x)
    if config.blur:
        blurred = (chosen(config.blur)[:, 0, 0, 0]).nonzero()[:, 0]
        half = len(blurred) // 2
        x[blurred[:half]] = _motion_blur(x[blurred[:half]], generator)
        x[blurred[half:]] = _defocus(x[blurred[half:]], float(torch.rand(1, generator=generator, device=device)) + 0.4)
    if config.sharpen:
        detail = x - _defocus(x, 1.0)
        x = torch.where(chosen(config.sharpen), x + uniform(0.3, 1.5, 1, 1, 1) * detail, x).clamp(0, 1)
    if config.compress:
        x = torch.where(chosen(config.compress), _compress(x, generator), x)

    sigma = torch.where(chosen(config.noise), uniform(0, 0.07, 1, 1, 1), 0.0)
    x = (x + sigma * torch.randn(x.shape, generator=generator, device=device)).clamp(0, 1)

    # A rectangle of up to a third of the side, in the image's own mean grey or in noise.
    centre_x, centre_y = uniform(-1, 1, 1, 1, 1), uniform(-1, 1, 1, 1, 1)
    half_x, half_y = uniform(0.1, 0.36, 1, 1, 1), uniform(0.1, 0.36, 1, 1, 1)
    covered = ((ramp_x - centre_x).abs() < half_x) & ((ramp_y - centre_y).abs() < half_y) & chosen(config.cover)
    fill = torch.where(chosen(0.5), x.mean((1, 2, 3), keepdim=True), uniform(0, 1, 1, height, width))
    return torch.where(covered, fill, x) * 255


def _warp(x: Tensor, generator: torch.Generator, config: AugmentationConfig) -> Tensor:
    """Mirror half of the faces; rotate, scale and shift a share of them."""
    n, _, height, width = x.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator, device=x.device) * (high - low) + low

    angle = torch.randn(n, generator=generator, device=x.device) * math.radians(config.rotation)
    far = uniform(0, 1) < 0.2
    angle = torch.where(far, uniform(-math.radians(30), math.radians(30)), angle)
    zoom, aspect = uniform(1 - config.zoom, 1 + config.zoom), uniform(0.93, 1.07)
    shift = uniform(-config.shift, config.shift, 2)
    still = uniform(0, 1) >= config.warp
    angle[still], zoom[still], aspect[still], shift[still] = 0.0, 1.0, 1.0, 0.0
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack(
        [
            torch.stack([mirror * cos * zoom * aspect, -sin * zoom, shift[:, 0]], -1),
            torch.stack([mirror * sin * zoom, cos * zoom / aspect, shift[:, 1]], -1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, [n, 1, height, width], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _motion_blur(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Smear ``(N, 1, H, W)`` along one random line, 3 to 9 pixels long."""
    if not len(faces):
        return faces
    length, angle = torch.rand(2, generator=generator, device=faces.device).tolist()
    length, angle, taps = 3 + 6 * length, math.pi * angle, 9
    kernel = torch.zeros(1, 1, taps, taps)
    for offset in torch.linspace(-0.5, 0.5, 2 * taps).tolist():
        row, column = offset * length * math.sin(angle), offset * length * math.cos(angle)
        kernel[0, 0, round(row) + taps // 2, round(column) + taps // 2] += 1
    padded = F.pad(faces, [taps // 2] * 4, mode="reflect")
    return F.conv2d(padded, (kernel / kernel.sum()).to(faces.device))


def _defocus(faces: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``(N, 1, H, W)``, sigma in pixels."""
    if not len(faces):
        return faces
    reach = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=faces.device) / sigma) ** 2)
    taps = (taps / taps.sum()).to(faces.dtype)
    padded = F.pad(faces, [reach] * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))


_QUANTISATION = torch.tensor(  # luminance, ITU-T T.81 table K.1
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)


def _compress(faces: Tensor, generator: torch.Generator) -> Tensor:
    """JPEG's block transform and quantisation of ``(N, 1, H, W)``, 0..1, H and W multiples of 8, strength per face."""
    n, _, height, width = faces.shape
    index = torch.arange(8, device=faces.device, dtype=torch.float32)
    basis = torch.cos(math.pi * (2 * index[None] + 1) * index[:, None] / 16) / 2
    basis[0] /= math.sqrt(2)  # (8, 8) orthonormal DCT-II
    blocks = faces.view(n, height // 8, 8, width // 8, 8).permute(0, 1, 3, 2, 4) * 255 - 128
    step = _QUANTISATION.to(faces.device) * torch.exp(
        torch.rand(n, 1, 1, 1, 1, generator=generator, device=faces.device) * 2.3 - 1.6  # quality of about 25 to 85
    )
    coefficients = ((basis @ blocks @ basis.T) / step).round() * step
    restored = (basis.T @ coefficients @ basis + 128) / 255
    return restored.permute(0, 1, 3, 2, 4).reshape(n, 1, height, width).clamp(0, 1)


def mirror_faces(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror a random half of ``(N, 1, H, W)`` and leave the rest as it is."""
    chosen = torch.rand(len(faces), generator=generator, device=faces.device) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), faces.flip(-1), faces)


def mix_faces(
    faces: Tensor, targets: tuple[Tensor, ...], share: float, alpha: float, generator: torch.Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mixup (Zhang et al. 2018) on a random ``share`` of the batch: faces and every target are blended alike.

    A blend of a neutral and a happy face is a weaker smile, so the intensity head also learns what lies between.
    """
    n, device = len(faces), faces.device
    weight = torch.distributions.Beta(alpha, alpha).sample((n,)).to(device)
    weight = torch.maximum(weight, 1 - weight)
    weight = torch.where(torch.rand(n, generator=generator, device=device) < share, weight, 1.0)
    other = torch.randperm(n, generator=generator, device=device)

    def blend(values: Tensor) -> Tensor:
        w = weight.view(n, *[1] * (values.dim() - 1))
        return values * w + values[other] * (1 - w)

    return blend(faces), tuple(blend(target) for target in targets)
