"""Synthesised pictures unlike the training faces: covered, drawn, turned, off a screen, heavily compressed, no face.

They teach a network when not to trust itself (:mod:`emotion_perception.learning.faces.familiarity`) and measure how far
its confidence can be trusted there. The kinds in :data:`HELD_OUT` are for measuring only.
"""

from __future__ import annotations

import cv2
import numpy as np

from emotion_perception.learning.faces.corruptions import CORRUPTIONS, FaceDamage

HEAD = 0.8  # half the crop's side, in radii of the head
WORKING_SIZE = 96  # px, side to which smaller faces are enlarged while they are changed


def _grid(face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x, y of the pixels, -1..1, each ``(H, W)`` float32."""
    height, width = face.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return x, y


def _clip(face: np.ndarray) -> np.ndarray:
    return face.round().clip(0, 255).astype(np.uint8)


def _texture(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cloth, hair or skin: a grey level with smooth shading and grain, ``(H, W)`` float32."""
    coarse = rng.normal(0, rng.uniform(2, 25), (5, 5)).astype(np.float32)
    shade = cv2.resize(coarse, face.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return rng.uniform(15, 240) + shade + rng.normal(0, rng.uniform(0, 10), face.shape).astype(np.float32)


def _covered(face: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The face with a texture where the mask ``(H, W)``, 0..1, is 1."""
    soft = cv2.GaussianBlur(where.astype(np.float32), (0, 0), face.shape[0] / 100)
    return _clip(face * (1 - soft) + _texture(face, rng) * soft)


def masked(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A surgical mask or scarf over nose, mouth and chin, with folds."""
    x, y = _grid(face)
    top = rng.uniform(-0.08, 0.25) + rng.uniform(0.0, 0.35) * x**2 + rng.uniform(-0.06, 0.06) * x
    where = (y > top) & (x**2 / rng.uniform(0.7, 1.0) ** 2 + (y - 0.2) ** 2 / rng.uniform(0.75, 1.0) ** 2 < 1)
    folds = rng.uniform(0, 14) * np.sin(y * rng.uniform(12, 30) + rng.uniform(0, 6) + 2 * x**2)
    covered = _covered(face, where, rng).astype(np.float32)
    return _clip(covered + folds * where)


def half_covered(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A door, pillar or head hides 35 to 65 % of the face from one side."""
    x, y = _grid(face)
    angle = rng.choice([0, np.pi / 2, np.pi, 3 * np.pi / 2]) + rng.normal(0, 0.25)
    return _covered(face, x * np.cos(angle) + y * np.sin(angle) > rng.uniform(-0.3, 0.3), rng)


def hand(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to three ellipses of the size of a hand, cup or microphone over mouth, nose or eyes."""
    x, y = _grid(face)
    where = np.zeros(face.shape, bool)
    for _ in range(rng.integers(1, 4)):
        cx, cy, angle = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.7), rng.uniform(0, np.pi)
        u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        where |= (u / rng.uniform(0.25, 0.7)) ** 2 + (v / rng.uniform(0.15, 0.4)) ** 2 < 1
    return _covered(face, where, rng)


def sunglasses(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark glasses over both eyes, as two ellipses with a bridge."""
    x, y = _grid(face)
    height, level = rng.uniform(0.16, 0.24), rng.uniform(-0.24, -0.14)
    lenses = ((np.abs(x) - 0.37) / 0.31) ** 2 + ((y - level) / height) ** 2 < 1
    where = lenses | ((np.abs(x) < 0.9) & (np.abs(y - level + height / 2) < 0.04))
    dark = rng.uniform(5, 45) + rng.uniform(-15, 15) * x + rng.uniform(0, 30) * (y < level)
    return _clip(np.where(where, 0.12 * face + 0.88 * dark, face))


def defocused(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of 2 to 8 % of the side."""
    return cv2.GaussianBlur(face, (0, 0), rng.uniform(0.02, 0.08) * face.shape[0])


def pixelated(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mosaic of 8 to 16 tiles a side, as faces are anonymised."""
    tiles = int(rng.integers(8, 17))
    tiny = cv2.resize(face, (tiles, tiles), interpolation=cv2.INTER_AREA)
    return cv2.resize(tiny, face.shape[::-1], interpolation=cv2.INTER_NEAREST)


def compressed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG of quality 4 to 15 at 40 to 96 px."""
    side = int(rng.integers(40, 97))
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(4, 16))])
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return cv2.resize(decoded, face.shape[::-1], interpolation=cv2.INTER_LINEAR)


def cartoon(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat tones with dark outlines: edge-preserving smoothing, 3 to 6 grey levels, ink."""
    smooth = face
    for _ in range(4):
        smooth = cv2.bilateralFilter(smooth, 7, rng.uniform(30, 60), 7)
    levels = rng.integers(3, 7)
    low, high = np.percentile(smooth, (1, 99))
    tone = ((smooth - low) / max(high - low, 1.0)).clip(0, 1)
    flat = (tone * (levels - 1)).round() / (levels - 1) * rng.uniform(120, 200) + rng.uniform(20, 55)
    block = max(3, face.shape[0] // 10 | 1)
    ink = cv2.adaptiveThreshold(
        cv2.medianBlur(face, 3), 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, rng.uniform(4, 9)
    )
    return _clip(flat * (0.15 + 0.85 * cv2.GaussianBlur(ink, (3, 3), 0) / 255))


def sketch(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pencil lines on white paper: the face divided by its blurred self (colour dodge)."""
    wide = cv2.GaussianBlur(face, (0, 0), rng.uniform(0.02, 0.05) * face.shape[0]).astype(np.float32)
    lines = (face / np.maximum(wide, 1.0)).clip(0, 1) ** rng.uniform(2, 5)
    paper = rng.uniform(200, 250)
    return _clip(paper * lines + rng.normal(0, rng.uniform(0, 6), face.shape))


def engraved(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A halftone of a newspaper or a banknote's hatching: tone as the width of parallel lines or dots."""
    x, y = _grid(face)
    angle, lines = rng.uniform(0, np.pi), rng.uniform(12, 24) * np.pi
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * lines / 2)
    if rng.random() < 0.5:
        wave = wave * np.sin((y * np.cos(angle) - x * np.sin(angle)) * lines / 2)
    tone = cv2.normalize(face, np.empty(face.shape, np.float32), 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
    return _clip(255 / (1 + np.exp(-8 * (tone - 0.5 + 0.4 * wave))))


def off_screen(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photographed from a screen: moire, scan lines, a lamp's reflection, raised black level, a screen's tone curve."""
    x, y = _grid(face)
    tone = 255 * (face / 255.0) ** rng.uniform(0.6, 1.7)
    for _ in range(rng.integers(1, 4)):
        angle, waves, bend = rng.uniform(0, np.pi), rng.uniform(10, 70), rng.uniform(-8, 8)
        phase = (x * np.cos(angle) + y * np.sin(angle)) * waves + bend * (x**2 + y**2)
        tone = tone * (1 + rng.uniform(0.04, 0.25) * np.sin(phase))
    cx, cy, reach = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.25, 0.9)
    reflection = rng.uniform(10, 140) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / reach**2)
    band = rng.uniform(0, 40) * (np.abs(x - rng.uniform(-1, 1) + 0.4 * y) < rng.uniform(0.05, 0.3))
    return _clip(rng.uniform(0, 60) + tone * rng.uniform(0.5, 0.85) + reflection + band)


def _turned(face: np.ndarray, side: float, up: float) -> np.ndarray:
    """A head, as a cylinder, turned by ``side`` and ``up`` (rad), with the visible part of the face centred."""
    x, y = _grid(face)

    def source(across: np.ndarray, turn: float, size: int) -> tuple[np.ndarray, np.ndarray]:
        place = HEAD * across + 0.75 * np.sin(turn)
        on_head = np.sin(np.arcsin(place.clip(-1, 1)) - turn) / HEAD
        return ((on_head + 1) / 2 * (size - 1)).astype(np.float32), np.abs(place) > 1

    map_x, beyond_x = source(x, side, face.shape[1])
    map_y, beyond_y = source(y, up, face.shape[0])
    seen = cv2.remap(face, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(beyond_x | beyond_y, np.uint8(np.median(face[:, [0, -1]])), seen)


def turned_aside(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Yaw of 35 to 70 degrees."""
    return _turned(face, np.radians(rng.uniform(35, 70)) * rng.choice([-1, 1]), 0.0)


def nodding(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pitch of 30 to 60 degrees, up or down."""
    return _turned(face, rng.normal(0, 0.15), np.radians(rng.uniform(30, 60)) * rng.choice([-1, 1]))


def lying(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Roll of 40 to 140 degrees to either side."""
    angle = rng.uniform(40, 140) * rng.choice([-1, 1])
    height, width = face.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(face, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def upside_down(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by 180 degrees."""
    return np.ascontiguousarray(face[::-1, ::-1])


def misframed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop of a wrong detection: 0.45 to 0.65 or 1.6 to 2.4 times the right size, shifted."""
    zoom = rng.uniform(0.45, 0.65) if rng.random() < 0.5 else rng.uniform(1.6, 2.4)
    height, width = face.shape
    shift_x, shift_y = rng.uniform(-0.15, 0.15, 2) * (width, height) * zoom
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.array([[zoom, 0, 0], [0, zoom, 0]], np.float64)
    matrix[:, 2] = centre - zoom * centre + (shift_x, shift_y)
    return cv2.warpAffine(face, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def negative(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bright and dark exchanged, as on film or by an infrared camera."""
    return 255 - face


def melted(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Seen through rippled glass or distorted by a filter: smooth random displacements of some percent of the side."""
    height, width = face.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    reach = rng.uniform(0.015, 0.045)
    wide = [rng.normal(0, reach * height, (6, 6)).astype(np.float32) for _ in range(2)]
    shift_x, shift_y = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in wide)
    return cv2.remap(face, x + shift_x, y + shift_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def scrambled(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """No face: its tiles in random order and direction, so that no expression is left."""
    count = int(rng.integers(2, 5))
    side = face.shape[0] // count
    starts = range(0, side * count, side)
    tiles = [face[row : row + side, column : column + side] for row in starts for column in starts]
    order = rng.permutation(len(tiles))
    turned = [np.rot90(tiles[i], int(rng.integers(0, 4))) for i in order]
    whole = np.vstack([np.hstack(turned[r : r + count]) for r in range(0, len(turned), count)])
    return cv2.resize(np.ascontiguousarray(whole), face.shape[::-1], interpolation=cv2.INTER_LINEAR)


# Kinds that fit the familiarity. The camera's corruptions are among them, all but motion blur.
FITTED: dict[str, FaceDamage] = {
    "masked": masked,
    "half_covered": half_covered,
    "defocused": defocused,
    "compressed": compressed,
    "cartoon": cartoon,
    "off_screen": off_screen,
    "turned_aside": turned_aside,
    "lying": lying,
    "upside_down": upside_down,
    "misframed": misframed,
    "engraved": engraved,
    "negative": negative,
    "small": CORRUPTIONS["small"],
    "low_light": CORRUPTIONS["low_light"],
    "rotated": CORRUPTIONS["rotated"],
}
# Kinds that the fit never sees.
HELD_OUT: dict[str, FaceDamage] = {
    "hand": hand,
    "sunglasses": sunglasses,
    "motion_blur": CORRUPTIONS["blurred"],
    "pixelated": pixelated,
    "sketch": sketch,
    "nodding": nodding,
    "melted": melted,
}
NO_FACE: dict[str, FaceDamage] = {"scrambled": scrambled}  # pictures in which no expression is left
FOREIGN: dict[str, FaceDamage] = FITTED | HELD_OUT | NO_FACE


def make_foreign(faces: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    """Change uint8 faces ``(N, S, S)`` one by one; the same seed gives the same result.

    Raises:
        ValueError: ``name`` is not in :data:`FOREIGN`.
    """
    if name not in FOREIGN:
        raise ValueError(f"unknown kind of picture {name!r}; there are {', '.join(FOREIGN)}")
    rng, change = np.random.default_rng(seed), FOREIGN[name]
    native = name in CORRUPTIONS or change in CORRUPTIONS.values()
    return np.stack([_changed(face, change, rng, native) for face in faces]) if len(faces) else faces


def _changed(face: np.ndarray, change: FaceDamage, rng: np.random.Generator, native: bool) -> np.ndarray:
    """Change a face at :data:`WORKING_SIZE` or more, so that lines and edges are finer than its pixels."""
    side = face.shape[0]
    if native or side >= WORKING_SIZE:
        return change(face, rng)
    large = cv2.resize(face, (WORKING_SIZE, WORKING_SIZE), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(change(large, rng), (side, side), interpolation=cv2.INTER_AREA)
