"""Controlled corruptions of labelled faces, to measure a model's robustness to poor images of a robot's camera."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

FaceDamage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def low_light(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma 2.5 and sensor noise of 5 grey levels, as in dim light."""
    dark = 255 * (face / 255.0) ** 2.5
    return (dark + rng.normal(0, 5, face.shape)).clip(0, 255).astype(np.uint8)


def rotated(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In-plane rotation by up to 25 degrees in either direction."""
    height, width = face.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rng.uniform(-25, 25), 1.0)
    return cv2.warpAffine(face, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def small(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reduced to 24 pixels and enlarged again."""
    tiny = cv2.resize(face, (24, 24), interpolation=cv2.INTER_AREA)
    return cv2.resize(tiny, face.shape[::-1], interpolation=cv2.INTER_LINEAR)


def blurred(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motion blur of 7 pixels in a random direction."""
    angle, reach = rng.uniform(0, np.pi), 3
    kernel = np.zeros((7, 7), np.float32)
    cosine, sine = np.cos(angle) * reach, np.sin(angle) * reach
    start, end = (round(reach - cosine), round(reach - sine)), (round(reach + cosine), round(reach + sine))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


CORRUPTIONS: dict[str, FaceDamage] = {"low_light": low_light, "rotated": rotated, "small": small, "blurred": blurred}


def corrupt(faces: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    """Corrupt uint8 faces ``(N, H, W)`` one by one; the same seed gives the same result.

    Raises:
        ValueError: ``name`` is not in :data:`CORRUPTIONS`.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}; there are {', '.join(CORRUPTIONS)}")
    rng = np.random.default_rng(seed)
    return np.stack([CORRUPTIONS[name](face, rng) for face in faces]) if len(faces) else faces
