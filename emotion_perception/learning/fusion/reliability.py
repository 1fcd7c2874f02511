"""Learn how the two published models are to be pooled, from validation data alone; read it from top to bottom.

Faces of FER+ PublicTest and voices of RAVDESS' validation actors, as they are and damaged, go through the robot's own
path. Each model's confusion matrix gives its class-conditional factors; pairs of a face and a voice of the same emotion
(synthetic: they are different people) give the weight of each by the quality of what was seen and heard. Both are
written into the models' cards, where :mod:`emotion_perception.fusion.reliability` reads them. The test splits of either
corpus are never touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from scipy.optimize import minimize
from tqdm import tqdm

from emotion_perception.acoustic.features import SAMPLE_RATE
from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.emotions import CALM, EMOTIONS, NEUTRAL
from emotion_perception.files import replacing
from emotion_perception.fusion.pooling import FLOOR
from emotion_perception.fusion.reliability import Reliability, load_reliabilities, model_name
from emotion_perception.inference.cards import card_path
from emotion_perception.learning.faces.labelled import load_ferplus_faces
from emotion_perception.learning.voices.augmentation import coloured_noise, fan_noise
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.media.files import read_audio
from emotion_perception.visual.perception import VisualConfig, VisualPerception

VALIDATION_FACES, VALIDATION_VOICES = "PublicTest", "validation"
# Cases that a class is believed to have besides its own, answered without bias; chosen by the log loss on people (for
# faces, pictures) that the factors were not taken from. RAVDESS' two validation actors lead to the last: none at all.
PSEUDO_COUNTS = (5.0, 20.0, 100.0, 500.0, 1e9)
# The frequencies of FER+ are those of pictures on the web, and nobody knows those of a robot's people. Half-way (as
# exponent) to even ones costs 0.3 points on faces as they come and gains 2 on faces of each emotion alike (PublicTest).
# The prior is in the pool once, so the voice brings none.
FACE_PRIOR, VOICE_PRIOR = 0.5, 0.0
FACE_QUALITIES = (0.05, 0.25, 0.5, 0.8)
VOICE_SNRS_DB = (-8.0, -3.0, 2.0, 8.0, 15.0)
NOISY_COPIES = 4  # of each validation clip
# Nats; holds a weight that the data say little about near 1. The faces are thousands of people's, the voices two: from
# 0.03 to 1 the log loss on the other actor is 0.400 to 0.401, so two cannot tell one SNR's weight from the next one's,
# while that of undamaged validation pairs is 0.251 and 0.243, and their calibration error 0.070 and 0.053.
FACE_RIDGE, VOICE_RIDGE = 1e-3, 1.0
PAIRS = 20_000
HEADER = """\
# How fusion uses the estimates of each model as evidence. Written by `emotion-train fusion`; keys are the models' names
# in their cards.
#   factors         factor on the probability of each emotion, against the model's bias towards some emotions
#   weights         exponent of the distribution in the pool at a face quality (0..1) or voice SNR (dB), linear between
#   unknown_weight  the same where quality or SNR is not known
#   confusion       mean probabilities by true emotion, for information
"""

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Answers:
    """What a model said about N labelled cases that the robot would have taken as evidence or not."""

    probabilities: np.ndarray  # (N, 8)
    labels: np.ndarray  # (N,) int64, index in the vocabulary
    quality: np.ndarray  # (N,) a face's quality 0..1, a voice's SNR in dB, NaN where it is not known
    seconds: np.ndarray  # (N,) of speech; 0 of a face
    heard: np.ndarray  # (N,) bool: there was a face or speech at all
    group: np.ndarray  # (N,) int64; cases of different groups are of different people (voices) or pictures (faces)

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: np.ndarray) -> Answers:
        """Some of them, by a mask or by rows."""
        return Answers(**{name: value[chosen] for name, value in vars(self).items()})


def joined(parts: Sequence[Answers]) -> Answers:
    """All of several."""
    return Answers(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


# --- what the models say ------------------------------------------------------------------------------------------


def any_face_damage(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise, blur, few pixels, darkness or glare, of a random strength from hardly any to hopeless."""
    strength = rng.random()
    x: np.ndarray = face.astype(np.float32)
    kind = rng.integers(5)
    if kind == 0:
        x = x + rng.normal(0, 80 * strength, x.shape)
    elif kind == 1:
        x = cv2.GaussianBlur(x, (0, 0), 0.5 + 4 * strength)
    elif kind == 2:
        side = round(24 - 18 * strength)
        x = cv2.resize(cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA), x.shape[::-1])
    elif kind == 3:
        x = 255 * (x / 255) ** (1 + 7 * strength) + rng.normal(0, 3, x.shape)
    else:
        x = x * (1 + 4 * strength) + 50 * strength
    return x.clip(0, 255).astype(np.uint8)


def any_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White, pink or fan noise at -8 to 20 dB."""
    kind = rng.integers(3)
    noise = fan_noise(len(samples), rng) if kind == 2 else coloured_noise(len(samples), float(kind), rng)
    return with_noise(samples, noise, float(rng.uniform(-8, 20)))


def with_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Noise of rms 1 added to samples ``(T,)`` so many dB below what is loud in them."""
    loud = samples[np.abs(samples) > 0.01 * np.abs(samples).max()]
    level = float(np.sqrt(np.mean(loud**2))) if len(loud) else 0.0
    return (samples + noise * level * 10 ** (-snr_db / 20)).astype(np.float32)


def face_answers(
    perception: VisualPerception, data: Path, split: str, damage: Damage | None = None, seed: int = 0
) -> Answers:
    """The face model on a split of ``ferplus.npz`` with the crowd's majority; quality as on the robot.

    Raises:
        ValueError, OSError: the data are not readable.
    """
    archive = load_ferplus_faces(data / "ferplus.npz", split, "ferplus")
    rng = np.random.default_rng(seed)
    said, quality = [], []
    for face in tqdm(archive.faces, desc=f"faces of {split}", unit="face", leave=False):
        seen = perception.whole_face(damage(face, rng) if damage else face)
        said.append(seen.emotion.probabilities)
        quality.append(seen.quality)
    n = len(archive.labels)
    return Answers(np.array(said), archive.labels, np.array(quality), np.zeros(n), np.ones(n, bool), np.arange(n) % 2)


def voice_answers(
    perception: AcousticPerception, data: Path, split: str, damage: Damage | None = None, seed: int = 0
) -> Answers:
    """The voice model on RAVDESS' speech of ``split``, one decision a clip; SNR as on the robot.

    Raises:
        ValueError, OSError: the data are not readable.
    """
    corpus = load_speech(data / "ravdess_speech", split)
    rng = np.random.default_rng(seed)
    clips = []
    for path in tqdm(corpus.paths, desc=f"voices of {split}", unit="clip", leave=False):
        samples, rate = read_audio(path)
        mono = np.asarray(samples, np.float32).reshape(len(samples), -1).mean(1)
        if rate != SAMPLE_RATE:
            raise ValueError(f"{path}: {rate} Hz, the corpora lie here in {SAMPLE_RATE} Hz")
        clips.append(perception.classify_recording(damage(mono, rng) if damage else mono, rate))
    return Answers(
        np.array([clip.emotion.probabilities for clip in clips]),
        corpus.labels,
        np.array([clip.snr_db for clip in clips]),
        np.array([clip.duration for clip in clips]),
        np.array([clip.speech_found for clip in clips]),
        np.unique(corpus.speakers, return_inverse=True)[1],
    )


def kept(cache: Path | None, name: str, model: Path, make: Callable[[], Answers]) -> Answers:
    """``make()``, or what it gave before with the same model and the same program."""
    if cache is None:
        return make()
    path = cache / f"{name}-{_fingerprint(model)}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as archive:
            return Answers(**archive)
    made = make()
    cache.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        np.savez(partial, **vars(made))
    return made


def _fingerprint(model: Path) -> str:
    """Of a model's file and card and of the program that runs it."""
    digest = hashlib.sha256(model.read_bytes())
    if (card := card_path(model)).is_file():
        digest.update(card.read_bytes())
    package = Path(__file__).parents[2]
    for folder in ("inference", "visual", "acoustic"):
        for source in sorted((package / folder).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


# --- pairs --------------------------------------------------------------------------------------------------------


def synthetic_pairs(
    faces: np.ndarray, voices: np.ndarray, rng: np.random.Generator, each: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of faces and of voices of the same emotion, drawn at random; the truth is the voice's label.

    Faces do not tell calm from neutral, so a neutral face goes with a neutral voice or a calm one, evenly.

    Args:
        faces, voices: labels ``(N,)``, ``(M,)``.
        each: so many pairs of each emotion; 0 takes every face once, as often as each emotion is among the faces.

    Raises:
        ValueError: an emotion of the faces has no voice.
    """
    by_emotion = [np.flatnonzero(voices == emotion) for emotion in range(len(EMOTIONS))]
    if each:
        shown = [np.flatnonzero(faces == (NEUTRAL if e == CALM else e)) for e in range(len(EMOTIONS))]
        both = [e for e in range(len(EMOTIONS)) if len(shown[e]) and len(by_emotion[e])]
        return (
            np.concatenate([rng.choice(shown[e], each) for e in both]),
            np.concatenate([rng.choice(by_emotion[e], each) for e in both]),
        )
    wanted = np.where((faces == NEUTRAL) & (rng.random(len(faces)) < 0.5), CALM, faces)
    missing = [EMOTIONS[e] for e in np.unique(wanted) if not len(by_emotion[e])]
    if missing:
        raise ValueError(f"no voice is {', '.join(missing)}, but faces are")
    return np.arange(len(faces)), np.array([rng.choice(by_emotion[e]) for e in wanted])


# --- what is learnt -----------------------------------------------------------------------------------------------


def soft_confusion(answers: Answers) -> np.ndarray:
    """``(8, 8)``, rows the truth, columns the mean probability said; NaN rows where there is no case."""
    with np.errstate(invalid="ignore"):
        return np.stack(
            [
                answers.probabilities[answers.labels == emotion].sum(0) / (answers.labels == emotion).sum()
                for emotion in range(len(EMOTIONS))
            ]
        )


def class_factors(answers: Answers, prior: float, pseudo_counts: float) -> np.ndarray:
    """``(8,)`` what to multiply a model's probabilities with, geometric mean 1.

    Such that the columns of its confusion matrix add up as its rows do, where each emotion is as frequent as in them
    to the power ``prior`` (0: all alike): the model then says each emotion as often as it is there. A class without a
    case gets the factor of neutral, with which it is confused (calm, of a face).
    """
    present = np.unique(answers.labels)
    p = answers.probabilities[:, present].astype(np.float64)
    counts = case_counts(answers.labels, prior)
    cases = np.array([(answers.labels == emotion).sum() for emotion in present], dtype=np.float64)
    each = np.array([counts[answers.labels == emotion][0] for emotion in present])
    factors = np.ones(len(present))
    for _ in range(10):
        said = p * factors
        said /= said.sum(1, keepdims=True)
        factors *= (cases + pseudo_counts) * each / (counts @ said + pseudo_counts * each)
    factors /= np.exp(np.log(factors).mean())
    full = np.full(len(EMOTIONS), factors[list(present).index(NEUTRAL)] if NEUTRAL in present else 1.0)
    full[present] = factors
    return full


def case_counts(labels: np.ndarray, prior: float) -> np.ndarray:
    """``(N,)`` what a case counts, 1 on average, for each emotion to be as frequent as it is to the power ``prior``."""
    frequency = np.bincount(labels, minlength=len(EMOTIONS))[labels]
    counts = frequency ** (prior - 1.0)
    return np.asarray(counts / counts.mean())


def learnt_factors(answers: Answers, prior: float) -> np.ndarray:
    """:func:`class_factors` with the pseudo-counts whose factors, taken from other groups, give the least log loss."""

    def loss(pseudo_counts: float) -> float:
        nats = 0.0
        for group in np.unique(answers.group):
            held, others = answers.where(answers.group == group), answers.where(answers.group != group)
            log_p = _merged_log(held.probabilities * class_factors(others, prior, pseudo_counts))
            truth = np.maximum(held.labels - 1, 0)
            nats -= float(case_counts(held.labels, prior) @ log_p[np.arange(len(truth)), truth])
        return nats

    return class_factors(answers, prior, min(PSEUDO_COUNTS, key=loss))


def _merged_log(p: np.ndarray) -> np.ndarray:
    """Logarithms ``(N, 7)`` of ``(N, 8)`` as the pool takes them: calm and neutral as one."""
    merged = p[:, CALM:].astype(np.float64)
    merged[:, 0] += p[:, NEUTRAL]
    merged /= merged.sum(1, keepdims=True)
    return np.log(merged * (1 - FLOOR * merged.shape[1]) + FLOOR)


def _hats(knots: Sequence[float], values: np.ndarray) -> np.ndarray:
    """``(N, K)`` shares of the knots at each value: linear interpolation, constant beyond; zero rows at NaN."""
    clipped = np.clip(np.nan_to_num(values, nan=knots[0]), knots[0], knots[-1])
    shares = np.stack([np.interp(clipped, knots, row) for row in np.eye(len(knots))], axis=1)
    return np.where(np.isnan(values)[:, None], 0.0, shares)


def pooling_weights(
    faces: Answers, voices: Answers, face_factors: np.ndarray, voice_factors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Weights at :data:`FACE_QUALITIES`, at :data:`VOICE_SNRS_DB` and, last, at an unknown SNR, and log losses in nats.

    The least mean log loss of the pooled distribution over pairs, half of them with faces as they come and half with
    each emotion alike. It is convex in the weights.
    """
    rng = np.random.default_rng(0)
    picks = []
    for each in (0, PAIRS // 2 // len(EMOTIONS)):
        f, v = synthetic_pairs(faces.labels, voices.labels, rng, each)
        some = rng.choice(len(f), PAIRS // 2, replace=len(f) < PAIRS // 2)
        picks.append((f[some], v[some]))
    f, v = (np.concatenate(rows) for rows in zip(*picks, strict=True))
    truth = np.maximum(voices.labels[v] - 1, 0)  # neutral-or-calm, happy, ...
    log_f = _merged_log(faces.probabilities[f] * face_factors)
    log_v = _merged_log(voices.probabilities[v] * voice_factors)
    hats_f = _hats(FACE_QUALITIES, faces.quality[f])
    hats_v = np.column_stack((_hats(VOICE_SNRS_DB, voices.quality[v]), np.isnan(voices.quality[v])))
    cut, rows = hats_f.shape[1], np.arange(len(truth))
    ridge = np.repeat((FACE_RIDGE, VOICE_RIDGE), (cut, hats_v.shape[1]))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = (hats_f @ w[:cut])[:, None] * log_f + (hats_v @ w[cut:])[:, None] * log_v
        z -= z.max(1, keepdims=True)
        total = np.exp(z).sum(1)
        slope = np.exp(z) / total[:, None]
        slope[rows, truth] -= 1
        by_f = hats_f.T @ (slope * log_f).sum(1) / len(rows)
        by_v = hats_v.T @ (slope * log_v).sum(1) / len(rows)
        nats = float((np.log(total) - z[rows, truth]).mean())
        return nats + float(ridge @ (w - 1) ** 2), np.concatenate((by_f, by_v)) + 2 * ridge * (w - 1)

    plain = np.ones(cut + hats_v.shape[1])
    found = minimize(loss, plain, jac=True, bounds=[(0, 4)] * len(plain), method="L-BFGS-B")
    losses = {"pairs": len(rows), "log_loss_at_weight_1": loss(plain)[0], "log_loss": float(found.fun)}
    return found.x[:cut], found.x[cut:], losses


def measure(
    data: Path, expression: Path, voice: Path, cache: Path | None = None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
    """What goes into the card of the face model and into that of the voice model, and what pooling gains by it.

    Args:
        data: the folder that holds ``ferplus.npz`` and ``ravdess_speech``.
        expression, voice: published weights.
        cache: folder that keeps what the models said, for the next time.

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model is missing or corrupt.
    """
    visual = VisualPerception(VisualConfig(expression_model=str(expression)))
    acoustic = AcousticPerception(AcousticConfig(model=str(voice)))
    clean_faces = kept(cache, "faces", expression, lambda: face_answers(visual, data, VALIDATION_FACES))
    damaged_faces = kept(
        cache, "damaged_faces", expression, lambda: face_answers(visual, data, VALIDATION_FACES, any_face_damage)
    )
    clean_voices = kept(cache, "voices", voice, lambda: voice_answers(acoustic, data, VALIDATION_VOICES))
    noisy_voices = kept(
        cache,
        "noisy_voices",
        voice,
        lambda: joined(
            [voice_answers(acoustic, data, VALIDATION_VOICES, any_noise, seed) for seed in range(NOISY_COPIES)]
        ),
    )
    faces, voices = joined([clean_faces, damaged_faces]), joined([clean_voices, noisy_voices])
    voices = voices.where(voices.heard)  # of the others the robot would have told nothing
    face_factors, voice_factors = learnt_factors(clean_faces, FACE_PRIOR), learnt_factors(clean_voices, VOICE_PRIOR)
    by_quality, by_snr, losses = pooling_weights(faces, voices, face_factors, voice_factors)
    face = Reliability(_rounded(face_factors), FACE_QUALITIES, _rounded(by_quality))
    heard = Reliability(
        _rounded(voice_factors), VOICE_SNRS_DB, _rounded(by_snr[:-1]), unknown_weight=round(float(by_snr[-1]), 4)
    )
    return (
        _entry(face, clean_faces, f"FER+ {VALIDATION_FACES}, majority vote"),
        _entry(heard, clean_voices, "RAVDESS speech, validation actors"),
        losses,
    )


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _entry(reliability: Reliability, answers: Answers, data: str) -> dict[str, Any]:
    confusion = {
        EMOTIONS[emotion]: dict(zip(EMOTIONS, _rounded(row), strict=True))
        for emotion, row in enumerate(soft_confusion(answers))
        if not np.isnan(row[0])
    }
    return {"data": data, "cases": len(answers), **reliability.to_mapping(), "confusion": confusion}


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
    face, heard, losses = measure(data, expression, voice, cache)
    write_fusion_file(fusion_file, {model_name(expression): face, model_name(voice): heard})
    return {"fusion_file": str(fusion_file), "visual": face, "acoustic": heard, **losses}
