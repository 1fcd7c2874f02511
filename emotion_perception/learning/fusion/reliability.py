"""Learn the reliability of the two published models from validation data alone; written to be read top to bottom.

Faces of FER+ PublicTest and voices of RAVDESS' validation actors, clean and degraded, go through the robot's own
pipelines, which give likelihood ratios: the prior in each model's card is taken off, and no other enters here. The
confusion matrix of each model gives its class factors. Pairs of a face and a voice with the same emotion
(synthetic: they are different people) give the weights by quality and SNR. Both are written to the fusion file, which
:mod:`emotion_perception.fusion.reliability` reads. The test splits are never used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import minimize
from scipy.special import log_softmax

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.emotions import CALM, EMOTIONS, NEUTRAL
from emotion_perception.files import replacing
from emotion_perception.fusion.pooling import FLOOR
from emotion_perception.fusion.reliability import MAX_WEIGHT, Reliability, load_reliabilities, model_name
from emotion_perception.learning.evaluation.prior_scores import balancing_weights
from emotion_perception.learning.fusion.outputs import (
    ModelOutputs,
    add_any_noise,
    cached,
    concatenate,
    degrade_face,
    face_outputs,
    synthetic_pairs,
    voice_outputs,
)
from emotion_perception.priors import SMALLEST
from emotion_perception.visual.perception import VisualConfig, VisualPerception

VALIDATION_FACES, VALIDATION_VOICES = "PublicTest", "validation"
# Cases without bias that are added to those of each class. The number is chosen by the log loss on speakers (for faces:
# images) that the factors were not computed from; the two validation actors of RAVDESS lead to the last, no factors.
PSEUDO_COUNTS = (5.0, 20.0, 100.0, 500.0, 1e9)
FACE_QUALITIES = (0.05, 0.25, 0.5, 0.8)
VOICE_SNRS_DB = (-8.0, -3.0, 2.0, 8.0, 15.0)
NOISY_COPIES = 4  # per validation clip
# Nats; regularises weights towards 1. The faces are those of thousands of people, the voices of two: from 0.03 to 1 the
# log loss on the other actor is 0.400 to 0.401, so two actors do not determine a weight per SNR, while the log loss of
# clean validation pairs is 0.251 and 0.243, and their calibration error 0.070 and 0.053.
FACE_RIDGE, VOICE_RIDGE = 1e-3, 1.0
PAIRS = 20_000
HEADER = """\
# How fusion uses the estimates of each model as evidence. Written by `emotion-train fusion`; keys are the models' names
# in their cards.
#   factors         factor on the likelihood ratio of each emotion, against the bias of the model towards some emotions;
#                   class frequencies are not in it: they are in the card of the model and in emotion_prior
#   weights         exponent of the distribution in the pool at a face quality (0..1) or voice SNR (dB), linear between
#   unknown_weight  the same where quality or SNR is not known
#   confusion       mean probabilities by true emotion under the balanced prior, for information
"""


def soft_confusion(outputs: ModelOutputs) -> np.ndarray:
    """Mean probabilities ``(8, 8)`` under the balanced prior, rows the true emotion; NaN rows without a case."""
    with np.errstate(invalid="ignore"):
        return np.stack(
            [
                outputs.probabilities[outputs.labels == emotion].sum(0) / (outputs.labels == emotion).sum()
                for emotion in range(len(EMOTIONS))
            ]
        )


def class_factors(outputs: ModelOutputs, pseudo_counts: float) -> np.ndarray:
    """Factors ``(8,)`` on the likelihood ratios of a model, with geometric mean 1.

    With them the columns of its confusion matrix under the balanced prior have the sums of its rows: at equal class
    frequencies the model predicts each emotion as often as it occurs.

    Args:
        outputs: of the model.
        pseudo_counts: cases without bias that are added to each class.

    Returns:
        A class without a case (calm, of a face) has the factor of neutral, with which it is confused.
    """
    present = np.unique(outputs.labels)
    p = outputs.probabilities[:, present].astype(np.float64)
    counts = balancing_weights(outputs.labels)
    cases = np.array([(outputs.labels == emotion).sum() for emotion in present], dtype=np.float64)
    each = np.array([counts[outputs.labels == emotion][0] for emotion in present])
    factors = np.ones(len(present))
    for _ in range(10):
        predicted = p * factors
        predicted /= predicted.sum(1, keepdims=True)
        factors *= (cases + pseudo_counts) * each / (counts @ predicted + pseudo_counts * each)
    factors /= np.exp(np.log(factors).mean())
    full = np.full(len(EMOTIONS), factors[list(present).index(NEUTRAL)] if NEUTRAL in present else 1.0)
    full[present] = factors
    return full


def learned_factors(outputs: ModelOutputs) -> np.ndarray:
    """:func:`class_factors` with the pseudo-counts that give the least log loss in leave-one-group-out validation."""

    def loss(pseudo_counts: float) -> float:
        nats = 0.0
        for group in np.unique(outputs.group):
            held_out, others = outputs.where(outputs.group == group), outputs.where(outputs.group != group)
            log_p = _merged_log(held_out.probabilities * class_factors(others, pseudo_counts))
            truth = np.maximum(held_out.labels - 1, 0)
            log_p = log_softmax(log_p, axis=1)[np.arange(len(truth)), truth]
            nats -= float(balancing_weights(held_out.labels) @ log_p)
        return nats

    return class_factors(outputs, min(PSEUDO_COUNTS, key=loss))


def _merged_log(p: np.ndarray) -> np.ndarray:
    """Logarithms ``(N, 7)`` of likelihood ratios ``(N, 8)`` as in the pool: of calm and neutral the mean.

    A model without calm (all 0) means both by its neutral.
    """
    merged = p[:, CALM:].astype(np.float64)
    merged[:, 0] = (p[:, NEUTRAL] + p[:, CALM]) / np.where(p[:, CALM] > 0, 2, 1)
    merged /= merged.sum(1, keepdims=True)
    return np.log(merged * (1 - FLOOR * merged.shape[1]) + FLOOR)


def _hats(knots: Sequence[float], values: np.ndarray) -> np.ndarray:
    """``(N, K)`` coefficients of K knots at N values: linear interpolation, constant beyond; zero rows at NaN."""
    clipped = np.clip(np.nan_to_num(values, nan=knots[0]), knots[0], knots[-1])
    shares = np.stack([np.interp(clipped, knots, row) for row in np.eye(len(knots))], axis=1)
    return np.where(np.isnan(values)[:, None], 0.0, shares)


def pooling_weights(
    faces: ModelOutputs, voices: ModelOutputs, face_factors: np.ndarray, voice_factors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """The weights that minimise the mean log loss of the posterior over pairs, which is convex in them.

    Half of the pairs have the class frequencies of the faces, half have equal ones; the prior of each half is its own,
    so the weights contain none.

    Returns:
        Weights at :data:`FACE_QUALITIES`; weights at :data:`VOICE_SNRS_DB` and, last, at an unknown SNR; log losses,
        nats.
    """
    rng = np.random.default_rng(0)
    picks, priors = [], []
    for each in (0, PAIRS // 2 // len(EMOTIONS)):
        f, v = synthetic_pairs(faces.labels, voices.labels, rng, each)
        some = rng.choice(len(f), PAIRS // 2, replace=len(f) < PAIRS // 2)
        picks.append((f[some], v[some]))
        shares = np.bincount(np.maximum(voices.labels[v] - 1, 0), minlength=len(EMOTIONS) - 1) / len(v)
        priors.append(np.tile(np.log(np.maximum(shares, SMALLEST)), (PAIRS // 2, 1)))
    f, v = (np.concatenate(rows) for rows in zip(*picks, strict=True))
    log_prior = np.concatenate(priors)
    truth = np.maximum(voices.labels[v] - 1, 0)  # neutral-or-calm, happy, ...
    log_f = _merged_log(faces.probabilities[f] * face_factors)
    log_v = _merged_log(voices.probabilities[v] * voice_factors)
    hats_f = _hats(FACE_QUALITIES, faces.quality[f])
    hats_v = np.column_stack((_hats(VOICE_SNRS_DB, voices.quality[v]), np.isnan(voices.quality[v])))
    cut, rows = hats_f.shape[1], np.arange(len(truth))
    ridge = np.repeat((FACE_RIDGE, VOICE_RIDGE), (cut, hats_v.shape[1]))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = (hats_f @ w[:cut])[:, None] * log_f + (hats_v @ w[cut:])[:, None] * log_v + log_prior
        z -= z.max(1, keepdims=True)
        total = np.exp(z).sum(1)
        slope = np.exp(z) / total[:, None]
        slope[rows, truth] -= 1
        by_f = hats_f.T @ (slope * log_f).sum(1) / len(rows)
        by_v = hats_v.T @ (slope * log_v).sum(1) / len(rows)
        nats = float((np.log(total) - z[rows, truth]).mean())
        return nats + float(ridge @ (w - 1) ** 2), np.concatenate((by_f, by_v)) + 2 * ridge * (w - 1)

    plain = np.ones(cut + hats_v.shape[1])
    found = minimize(loss, plain, jac=True, bounds=[(0, MAX_WEIGHT)] * len(plain), method="L-BFGS-B")
    losses = {"pairs": len(rows), "log_loss_at_weight_1": loss(plain)[0], "log_loss": float(found.fun)}
    return found.x[:cut], found.x[cut:], losses


def measure(
    data: Path, expression: Path, voice: Path, cache: Path | None = None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
    """The entries of the face model and of the voice model for the fusion file, and log losses of pooling, nats.

    Args:
        data: the folder with ``ferplus.npz`` and ``ravdess_speech``.
        expression, voice: files of the two models.
        cache: folder that keeps the models' outputs for the next run.

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model is missing or corrupt.
    """
    visual = VisualPerception(VisualConfig(expression_model=str(expression)))
    acoustic = AcousticPerception(AcousticConfig(model=str(voice)))
    clean_faces = cached(cache, "faces", expression, lambda: face_outputs(visual, data, VALIDATION_FACES))
    degraded_faces = cached(
        cache, "degraded_faces", expression, lambda: face_outputs(visual, data, VALIDATION_FACES, degrade_face)
    )
    clean_voices = cached(cache, "voices", voice, lambda: voice_outputs(acoustic, data, VALIDATION_VOICES))
    noisy_voices = cached(
        cache,
        "noisy_voices",
        voice,
        lambda: concatenate(
            [voice_outputs(acoustic, data, VALIDATION_VOICES, add_any_noise, seed) for seed in range(NOISY_COPIES)]
        ),
    )
    faces, voices = concatenate([clean_faces, degraded_faces]), concatenate([clean_voices, noisy_voices])
    voices = voices.where(voices.found)  # without speech the robot has no evidence
    face_factors, voice_factors = learned_factors(clean_faces), learned_factors(clean_voices)
    by_quality, by_snr, losses = pooling_weights(faces, voices, face_factors, voice_factors)
    face = Reliability(_rounded(face_factors), FACE_QUALITIES, _rounded(by_quality))
    spoken = Reliability(
        _rounded(voice_factors), VOICE_SNRS_DB, _rounded(by_snr[:-1]), unknown_weight=round(float(by_snr[-1]), 4)
    )
    return (
        _entry(face, clean_faces, f"FER+ {VALIDATION_FACES}, majority vote"),
        _entry(spoken, clean_voices, "RAVDESS speech, validation actors"),
        losses,
    )


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _entry(reliability: Reliability, outputs: ModelOutputs, data: str) -> dict[str, Any]:
    confusion = {
        EMOTIONS[emotion]: dict(zip(EMOTIONS, _rounded(row), strict=True))
        for emotion, row in enumerate(soft_confusion(outputs))
        if not np.isnan(row[0])
    }
    return {"data": data, "cases": len(outputs), **reliability.to_mapping(), "confusion": confusion}


def write_fusion_file(path: Path, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Write entries into a fusion file by the names of their models, atomically; entries of other models stay.

    Raises:
        ModelError: the present file is not a fusion file.
        OSError: it cannot be written.
    """
    entries: dict[str, Any] = {}
    if path.is_file():
        load_reliabilities(path)
        entries = yaml.safe_load(path.read_text())["models"]
    text = HEADER + yaml.safe_dump(
        {"models": {**entries, **models}}, sort_keys=False, width=140, default_flow_style=None
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(text)


def learn(data: Path, expression: Path, voice: Path, fusion_file: Path, cache: Path | None = None) -> dict[str, Any]:
    """Measure both models and write their reliabilities into the fusion file; returns them.

    Raises:
        ValueError, OSError, ModelError: as :func:`measure` and :func:`write_fusion_file`.
    """
    face, spoken, losses = measure(data, expression, voice, cache)
    write_fusion_file(fusion_file, {model_name(expression): face, model_name(voice): spoken})
    return {"fusion_file": str(fusion_file), "visual": face, "acoustic": spoken, **losses}
