#!/usr/bin/env python3
"""How the published face model holds up on poor pictures, and what its confidence is then worth.

Damages FER+ PublicTest faces step by step (the benchmark split, PrivateTest, stays unseen) and prints tables of
accuracy, log loss and confidence against the quality of the same images (:mod:`emotion_perception.visual.quality`). Its
ramps, ``quality_exponent`` and the decision against brightening dark faces rest on these tables: run this again when
a new model is published.

    . scripts/env.sh
    python scripts/measure_quality.py --data ../shared/data/ferplus.npz     # all tables, some minutes
    python scripts/measure_quality.py --data ../shared/data/ferplus.npz --only light
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.metrics import calibration_bins
from emotion_perception.resources import find_model
from emotion_perception.types import FaceDetection
from emotion_perception.visual import quality
from emotion_perception.visual.alignment import BOX_SIZE, FRAME, crop_face
from emotion_perception.visual.detector import FaceDetector
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.face_crop import whole_image
from emotion_perception.visual.quality import quality_exponent

NOISE = 3.0  # grey levels, of a camera
POWERS = np.arange(0.0, 1.51, 0.05)  # to which a distribution is raised, in the search for the best
QUALITY_BINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999, 1.001)
ENLARGED = 4  # FER2013's faces are too small for the detector as they are
BATCH = 64

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Pictures:
    """N crops as the classifier gets them, their labels and what their quality is taken to be."""

    crops: np.ndarray  # (N, 48, 48) uint8
    labels: np.ndarray  # (N,)
    factor: np.ndarray  # (N,) the one factor of quality that the damage is about
    quality: np.ndarray  # (N,) the whole


def blurred(sigma: float) -> Damage:
    """Gaussian, px of the crop."""
    return lambda face, rng: cv2.GaussianBlur(face, (0, 0), sigma) if sigma else face


def dark(mean: float) -> Damage:
    """Less light for the same sensor: scaled to a mean, then noise."""
    return lambda face, rng: grainy(NOISE)(face * (mean / max(face.mean(), 1.0)), rng)


def dusk(gamma: float) -> Damage:
    """A gamma and noise: the shadows go first."""
    return lambda face, rng: grainy(NOISE)(255 * (face / 255.0) ** gamma, rng)


def overexposed(mean: float) -> Damage:
    """Brighter by a constant until the mean is reached; what passes white is lost."""

    def damage(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        low, high = 0.0, 255.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if np.clip(face + middle, 0, 255).mean() < mean else (low, middle)
        return grainy(NOISE)(face + high, rng)

    return damage


def flat(deviation: float) -> Damage:
    """Fog: contrast reduced to a deviation, then noise."""
    return lambda face, rng: grainy(NOISE)((face - face.mean()) * (deviation / max(face.std(), 1.0)) + face.mean(), rng)


def grainy(levels: float) -> Damage:
    """Gaussian noise, grey levels."""
    return lambda face, rng: (face + rng.normal(0, levels, face.shape)).round().clip(0, 255).astype(np.uint8)


def light_and_noise(crop: np.ndarray) -> float:
    """The two factors that a dim room touches."""
    return quality.light_quality(crop) * quality.sharpness_quality(crop)


def seen_small(face: np.ndarray, side: float) -> tuple[np.ndarray, FaceDetection]:
    """The crop of a face whose box has that side in the camera's image."""
    frame = max(2, round(side * FRAME / BOX_SIZE))
    tiny = cv2.resize(face, (frame, frame), interpolation=cv2.INTER_AREA)
    box = whole_image(frame, frame).box
    inner = side / 2
    detection = whole_image(frame, frame)
    detection = replace(
        detection, box=replace(box, x=frame / 2 - inner, y=frame / 2 - inner, width=2 * inner, height=2 * inner)
    )
    return crop_face(tiny, detection), detection


def probabilities(classifier: ExpressionClassifier, crops: np.ndarray) -> np.ndarray:
    """``(N, 7)``, batch by batch."""
    return np.concatenate([classifier.probabilities(crops[i : i + BATCH])[0] for i in range(0, len(crops), BATCH)])


def tempered(p: np.ndarray, power: np.ndarray | float) -> np.ndarray:
    """Rows raised to a power and normalised."""
    q = np.maximum(p, 1e-9) ** np.reshape(power, (-1, 1))
    return q / q.sum(1, keepdims=True)


def log_loss(p: np.ndarray, labels: np.ndarray) -> float:
    """Mean, in nats."""
    return float(-np.log(np.maximum(p[np.arange(len(p)), labels], 1e-12)).mean())


def best_power(p: np.ndarray, labels: np.ndarray) -> float:
    """The power at which the log loss is least."""
    return float(min(POWERS, key=lambda power: log_loss(tempered(p, power), labels)))


def header() -> None:
    print(
        "|  | n | accuracy | log loss | best power | confidence | ECE | factor | quality "
        "| confidence, softened | ECE, softened |"
    )
    print("|" + "---|" * 11)


def row(name: str, seen: Pictures, p: np.ndarray) -> None:
    """One line of a table; "softened": after :func:`quality_exponent`."""
    softened = tempered(p, np.array([quality_exponent(q / 0.9) for q in seen.quality]))
    error, error_softened = (calibration_bins(x, seen.labels).expected_error for x in (p, softened))
    print(
        f"| {name} | {len(p)} | {(p.argmax(1) == seen.labels).mean():.1%} | {log_loss(p, seen.labels):.3f} "
        f"| {best_power(p, seen.labels):.2f} | {p.max(1).mean():.3f} | {error:.3f} | {np.median(seen.factor):.2f} "
        f"| {np.median(seen.quality):.2f} | {softened.max(1).mean():.3f} | {error_softened:.3f} |",
        flush=True,
    )


def damaged(faces: np.ndarray, labels: np.ndarray, damage: Damage, factor: Callable[[np.ndarray], float]) -> Pictures:
    """Faces damaged as crops, their size and pose as they are in the median."""
    rng = np.random.default_rng(0)
    crops = np.stack([damage(face, rng) for face in faces])
    near = whole_image(96, 96)
    whole = np.array([quality.face_quality(crop, near) for crop in crops])
    return Pictures(crops, labels, np.array([factor(crop) for crop in crops]), whole)


def shrunk(faces: np.ndarray, labels: np.ndarray, side: float) -> Pictures:
    """Faces as seen at that side in the camera's image."""
    both = [seen_small(face, side) for face in faces]
    crops = np.stack([crop for crop, _ in both])
    factor = np.array([quality.size_quality(found) for _, found in both])
    return Pictures(crops, labels, factor, np.array([quality.face_quality(c, d) for c, d in both]))


def through_detector(
    detector: FaceDetector, faces: np.ndarray, labels: np.ndarray, degrees: float
) -> tuple[Pictures, np.ndarray, np.ndarray]:
    """Faces enlarged, turned, found and cut out as on the robot: pictures, which were found, yaw offsets."""
    side = int(FRAME) * ENLARGED
    border = side // 3
    crops, rows, factor, whole, yaws = [], [], [], [], []
    for i, face in enumerate(faces):
        large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        large = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
        centre = (large.shape[1] - 1) / 2
        turn = cv2.getRotationMatrix2D((centre, centre), -degrees, 1)
        large = cv2.warpAffine(large, turn, large.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        found = detector.detect(cv2.cvtColor(large, cv2.COLOR_GRAY2BGR), 256)
        if not found or found[0].score < 0.6:
            continue
        crop = crop_face(large, found[0])
        crops.append(crop)
        rows.append(i)
        factor.append(quality.pose_quality(found[0].landmarks))
        whole.append(quality.face_quality(crop, found[0]))
        yaws.append(quality.yaw_offset(found[0].landmarks))
    index = np.array(rows, int)
    return Pictures(np.stack(crops), labels[index], np.array(factor), np.array(whole)), index, np.array(yaws)


def brighten_gamma(face: np.ndarray) -> np.ndarray:
    """Adaptive gamma: that power which would bring the mean grey to the middle."""
    mean = float(np.clip(face.mean() / 255, 0.01, 0.99))
    return (255 * (face / 255.0) ** (np.log(0.5) / np.log(mean))).round().clip(0, 255).astype(np.uint8)


def equalise_locally(clip: float) -> Callable[[np.ndarray], np.ndarray]:
    """CLAHE on a grid of 4 x 4 (Zuiderveld 1994)."""
    clahe = cv2.createCLAHE(clip, (4, 4))
    return lambda face: clahe.apply(face)


def measure_light(classifier: ExpressionClassifier, faces: np.ndarray, labels: np.ndarray) -> None:
    """Does brightening a dark face before it is classified help?"""
    remedies: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as it is": lambda face: face,
        "adaptive gamma": brighten_gamma,
        "CLAHE 2": equalise_locally(2.0),
        "CLAHE 4": equalise_locally(4.0),
        "histogram equalised": cv2.equalizeHist,
        "median 3x3": lambda face: cv2.medianBlur(face, 3),
    }
    print("\n### Remedies for low light: accuracy (log loss)\n")
    print("|  | " + " | ".join(remedies) + " |\n|" + "---|" * (len(remedies) + 1))
    damages = {"undamaged": blurred(0)} | {f"gamma {g}": dusk(g) for g in (2.5, 4.0)}
    damages |= {f"mean {m}": dark(m) for m in (30, 15, 8)}
    for name, damage in damages.items():
        rng = np.random.default_rng(0)
        crops = [damage(face, rng) for face in faces]
        cells = []
        for remedy in remedies.values():
            p = probabilities(classifier, np.stack([remedy(crop) for crop in crops]))
            cells.append(f"{(p.argmax(1) == labels).mean():.1%} ({log_loss(p, labels):.3f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    parser.add_argument("--model", default="expression.onnx", help="weights; a path, or a name in the package")
    parser.add_argument("--limit", type=int, default=0, help="take only so many faces (0: all)")
    parser.add_argument("--only", choices=("size", "blur", "light", "remedies", "pose", "trust"), help="one table")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    classifier = ExpressionClassifier(find_model(args.model))
    split = load_ferplus(args.data, "PublicTest")
    known = np.flatnonzero((split.majority >= 0) & (split.majority < len(VISUAL_EMOTIONS)))
    known = known[: args.limit or None]
    faces, labels = split.faces[known], split.majority[known]
    kept: list[tuple[Pictures, np.ndarray]] = []

    def table(title: str, rows: dict[str, Callable[[], Pictures]]) -> None:
        print(f"\n### {title}\n")
        header()
        for name, make in rows.items():
            seen = make()
            p = probabilities(classifier, seen.crops)
            kept.append((seen, p))
            row(name, seen, p)

    def wanted(name: str) -> bool:
        return args.only in (None, name) or (args.only == "trust" and name not in ("remedies", "pose"))

    if wanted("size"):
        sides = (41, 32, 28, 24, 20, 16, 14, 12, 10, 8, 6)
        table("Side of the box, px", {str(s): lambda s=s: shrunk(faces, labels, s) for s in sides})
    if wanted("blur"):
        sigmas = (0, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3, 4)
        make = lambda s: damaged(faces, labels, blurred(s), quality.sharpness_quality)  # noqa: E731
        table("Gaussian blur, px of the crop", {str(s): lambda s=s: make(s) for s in sigmas})
    if wanted("light"):
        steps = {f"mean {m}": dark(m) for m in (60, 40, 30, 22, 15, 10, 6, 4)}
        steps |= {f"gamma {g}": dusk(g) for g in (2.5, 4.0, 6.0)}
        steps |= {f"overexposed to {m}": overexposed(m) for m in (190, 210, 225, 235, 245, 250)}
        steps |= {f"deviation {d}": flat(d) for d in (30, 20, 12, 8, 5, 3)}
        steps |= {f"noise of {n} levels": grainy(n) for n in (10, 20, 40, 60, 100)}
        make = lambda d: damaged(faces, labels, d, light_and_noise)  # noqa: E731
        table("Light (with noise of 3 levels)", {n: lambda d=d: make(d) for n, d in steps.items()})
    if wanted("remedies"):
        measure_light(classifier, faces, labels)
    if wanted("pose"):
        measure_pose(classifier, faces, labels, table)
    if wanted("trust"):
        measure_trust(kept)
    return 0


def measure_pose(
    classifier: ExpressionClassifier,
    faces: np.ndarray,
    labels: np.ndarray,
    table: Callable[[str, dict[str, Callable[[], Pictures]]], None],
) -> None:
    """Roll by turning the picture; yaw as the data set holds it, by the nose's offset from the middle of the eyes."""
    detector = FaceDetector()
    upright, found, yaws = through_detector(detector, faces, labels, 0)
    print(f"\nFound upright: {len(found)} of {len(faces)}")
    edges = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 10)
    bins = {f"{a} to {b}": (yaws >= a) & (yaws < b) for a, b in pairwise(edges)}
    pick = lambda rows: Pictures(*(x[rows] for x in vars(upright).values()))  # noqa: E731
    table("Yaw: the nose tip's offset, in eye distances", {n: lambda r=r: pick(r) for n, r in bins.items() if r.any()})
    subset = found[::3]
    turned = {}
    for degrees in (0, 15, 25, 35, 45, 60, 75, 90):
        seen, kept, _ = through_detector(detector, faces[subset], labels[subset], degrees)
        turned[f"{degrees}, {len(kept) / len(subset):.0%} of them found"] = lambda seen=seen: seen
    table("Roll, degrees", turned)


def measure_trust(kept: list[tuple[Pictures, np.ndarray]]) -> None:
    """All damaged pictures together: what power of the distribution suits what quality."""
    quality = np.concatenate([seen.quality for seen, _ in kept])
    p = np.concatenate([p for _, p in kept])
    labels = np.concatenate([seen.labels for seen, _ in kept])
    print("\n### Quality against the best power, all damages together\n")
    print(
        "| quality | n | accuracy | confidence | best power | log loss as it is | at the best | with its power | ECE |"
    )
    print("|" + "---|" * 9)
    for low, high in pairwise(QUALITY_BINS):
        rows = (quality >= low) & (quality < high)
        if not rows.any():
            continue
        q, y = p[rows], labels[rows]
        power = best_power(q, y)
        soft = tempered(q, np.array([quality_exponent(x / 0.9) for x in quality[rows]]))
        print(
            f"| {low:.2f} to {high:.2f} | {len(y)} | {(q.argmax(1) == y).mean():.1%} | {q.max(1).mean():.3f} "
            f"| {power:.2f} | {log_loss(q, y):.3f} | {log_loss(tempered(q, power), y):.3f} | {log_loss(soft, y):.3f} "
            f"| {calibration_bins(soft, y).expected_error:.3f} |"
        )


if __name__ == "__main__":
    raise SystemExit(main())
