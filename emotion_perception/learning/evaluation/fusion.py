"""Score the fusion on faces and voices of people on whom neither the models nor the pooling were trained.

FER+ PrivateTest faces are paired with RAVDESS voices of the test actors with the same emotion. The two are different
people, and the face is a still image: such pairs are **synthetic**, which every output states. Each face is used once,
so the class frequencies are those of the faces; the report also has the scores at equal frequencies. All pairs are
processed by the robot's fusion engine. Six real audio-visual clips are added if available.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.emotions import CALM, CREMAD_CODES, EMOTIONS, NEUTRAL
from emotion_perception.fusion.text import text_available, text_evidence
from emotion_perception.learning import metrics
from emotion_perception.learning.evaluation.fusion_report import PAIRS_PER_EMOTION, fusion_markdown
from emotion_perception.learning.evaluation.fusion_rules import Outcome, Pooling, all_outcomes
from emotion_perception.learning.evaluation.prior_scores import own_prior
from emotion_perception.learning.fusion.outputs import (
    Damage,
    ModelOutputs,
    cached,
    face_outputs,
    synthetic_pairs,
    voice_outputs,
    with_noise,
)
from emotion_perception.learning.fusion.utterances import utterances
from emotion_perception.learning.report import finite, write_report, write_text
from emotion_perception.priors import BALANCED, DEFAULT_PRIOR, prior_name
from emotion_perception.recognition import Recognizer
from emotion_perception.resources import find_model
from emotion_perception.types import EmotionModality
from emotion_perception.visual.perception import VisualConfig, VisualPerception

NOTE = (
    "Synthetic pairs: still faces of FER+ PrivateTest with voices of RAVDESS' test actors of the same emotion, "
    "who are other people."
)
FACE_NOISE = 100.0  # standard deviation, grey levels; reduces the face model to chance
VOICE_NOISE_DB = -15.0  # reduces the voice model to chance where speech is still found
RESAMPLES = 1000  # bootstrap resamples of the voices, for the interval


def evaluate(
    data: Path, out: Path, expression: Path | None = None, voice: Path | None = None, prior: str = DEFAULT_PRIOR
) -> dict[str, Any]:
    """Write ``report.json``, ``fusion.md`` and the plots into ``out``; return a summary.

    Args:
        data: the folder with ``ferplus.npz``, ``ravdess_speech`` and, optionally, ``cremad_clips``.
        out: folder for the results.
        expression, voice: models to score; None: the published ones.
        prior: class prior of the outcomes.

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model is missing or corrupt.
    """
    expression, voice = expression or find_model("expression.onnx"), voice or find_model("voice.onnx")
    visual = VisualPerception(VisualConfig(expression_model=str(expression)))
    acoustic = AcousticPerception(AcousticConfig(model=str(voice)))

    def faces_of(name: str, damage: Damage | None) -> ModelOutputs:
        return cached(out / "outputs", name, expression, lambda: face_outputs(visual, data, "PrivateTest", damage))

    def voices_of(name: str, damage: Damage | None) -> ModelOutputs:
        return cached(out / "outputs", name, voice, lambda: voice_outputs(acoustic, data, "test", damage))

    faces, voices = faces_of("test_faces", None), voices_of("test_voices", None)
    noisy_faces, noisy_voices = faces_of("noisy_faces", _add_face_noise), voices_of("noisy_voices", _add_voice_noise)
    pooling = Pooling(expression, voice, prior=prior)
    rng = np.random.default_rng(0)
    shown, spoken = synthetic_pairs(faces.labels, voices.labels, rng)
    labels = voices.labels[spoken]
    outcomes = all_outcomes(pooling, faces.where(shown), voices.where(spoken))
    fused = outcomes["fused"]
    report: dict[str, Any] = {
        "note": NOTE,
        "pairs": len(labels),
        "faces": len(faces),
        "voices": len(voices),
        "prior": prior_name(pooling.prior),
        "ways": {name: outcome.scores(labels) for name, outcome in outcomes.items()},
        "own_prior": {name: outcome.with_prior(own_prior(labels)).scores(labels) for name, outcome in outcomes.items()},
        "fused_accuracy_interval": _interval(fused.correct(labels), spoken, len(voices), rng),
        "mcnemar": _mcnemar(outcomes, labels),
        "mcnemar_one_pair_a_voice": _one_pair_per_voice(pooling, faces, voices, rng),
        "each_emotion_alike": _balanced(pooling, faces, voices, rng),
        "drop_outs": _missing_halves(pooling, faces.where(shown), voices.where(spoken), rng),
        "noise": _noise(pooling, faces, voices, noisy_faces, noisy_voices, shown, spoken),
        "contradiction": _contradiction(pooling, faces, voices, fused, rng),
    }
    if text_available():
        report["words"] = _text(pooling, faces.where(shown), voices.where(spoken), outcomes, rng)
    clips = sorted((data / "cremad_clips").glob("*.flv"))
    if clips:
        report["real_clips"] = _real_clips(clips, expression, voice, prior)
    summary = {
        "synthetic_pairs": True,
        "prior": prior_name(pooling.prior),
        **{name: _short(outcomes[name].scores(labels)) for name in ("fused", "visual", "acoustic")},
        "fused_own_prior": _short(report["own_prior"]["fused"]),
        "fused_balanced": _short(report["each_emotion_alike"]["fused"]),
        "gain_over_best_single": _gain(report["ways"], "accuracy"),
        "gain_over_best_single_neutral_or_calm": _gain(report["ways"], "accuracy_neutral_or_calm"),
        "pairs": len(labels),
    }
    write_report(
        out, "Fused, synthetic pairs of FER+ faces and RAVDESS voices", fused.probabilities, labels, fused.confidence,
        {"summary": summary, "fusion": report},
    )  # fmt: skip
    write_text(out / "fusion.md", fusion_markdown(finite(report)))
    return dict(finite(summary))


def _add_face_noise(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (face + rng.normal(0, FACE_NOISE, face.shape)).clip(0, 255).astype(np.uint8)


def _add_voice_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return with_noise(samples, rng.normal(size=len(samples)).astype(np.float32), VOICE_NOISE_DB)


def _short(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(scores[name], 4) for name in ("accuracy", "ece", "accuracy_neutral_or_calm")}


def _gain(scores: dict[str, dict[str, float]], name: str) -> float:
    return round(scores["fused"][name] - max(scores["visual"][name], scores["acoustic"][name]), 4)


def _interval(correct: np.ndarray, spoken: np.ndarray, voices: int, rng: np.random.Generator) -> list[float]:
    """95 % interval of the accuracy, bootstrapped over voices, because there are many pairs but few voices."""
    hits, uses = np.bincount(spoken, correct, voices), np.bincount(spoken, minlength=voices)
    draws = rng.integers(voices, size=(RESAMPLES, voices))
    shares = hits[draws].sum(1) / np.maximum(1, uses[draws].sum(1))
    return [float(share) for share in np.quantile(shares, (0.025, 0.975))]


def _mcnemar(outcomes: dict[str, Outcome], labels: np.ndarray) -> dict[str, float]:
    correct = outcomes["fused"].correct(labels)
    return {
        name: metrics.mcnemar(correct, outcome.correct(labels)) for name, outcome in outcomes.items() if name != "fused"
    }


def _one_pair_per_voice(
    pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs, rng: np.random.Generator
) -> dict[str, float]:
    """McNemar test with each voice in one pair only: few pairs, but independent."""
    as_shown = np.where(voices.labels == CALM, NEUTRAL, voices.labels)
    shown = np.array([rng.choice(np.flatnonzero(faces.labels == label)) for label in as_shown])
    return _mcnemar(all_outcomes(pooling, faces.where(shown), voices), voices.labels)


def _balanced(pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs, rng: np.random.Generator) -> dict[str, Any]:
    shown, spoken = synthetic_pairs(faces.labels, voices.labels, rng, PAIRS_PER_EMOTION)
    outcomes = all_outcomes(pooling, faces.where(shown), voices.where(spoken))
    labels = voices.labels[spoken]
    return {name: outcome.with_prior(BALANCED).scores(labels) for name, outcome in outcomes.items()}


def _missing_halves(
    pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs, rng: np.random.Generator
) -> dict[str, Any]:
    """Scores with half of the faces, or of the voices, missing."""
    found = {}
    for name in ("faces", "voices"):
        missing = rng.random(len(faces)) < 0.5
        kept_faces = _without(faces, missing) if name == "faces" else faces
        kept_voices = _without(voices, missing) if name == "voices" else voices
        found[f"half of the {name} missing"] = pooling(kept_faces, kept_voices).scores(voices.labels)
    return found


def _without(outputs: ModelOutputs, missing: np.ndarray) -> ModelOutputs:
    return replace(outputs, found=outputs.found & ~missing)


def _noise(
    pooling: Pooling,
    faces: ModelOutputs,
    voices: ModelOutputs,
    noisy_faces: ModelOutputs,
    noisy_voices: ModelOutputs,
    shown: np.ndarray,
    spoken: np.ndarray,
) -> dict[str, Any]:
    """Fusion with one modality in noise that reduces its model to chance, compared with the other modality alone."""
    labels = voices.labels[spoken]
    cases = {
        f"faces in noise of {FACE_NOISE:.0f} grey levels": (noisy_faces.where(shown), voices.where(spoken), "acoustic"),
        f"voices in noise at {VOICE_NOISE_DB:.0f} dB": (faces.where(shown), noisy_voices.where(spoken), "visual"),
    }
    found = {}
    for name, (seen, heard, other) in cases.items():
        both = pooling(seen, heard).scores(labels)["accuracy"]
        alone = pooling(seen, None) if other == "visual" else pooling(None, heard)
        noisy = noisy_faces if other == "acoustic" else noisy_voices
        found[name] = {
            "drowned_model_uar": metrics.score(noisy.probabilities, noisy.labels).uar,
            "taken_as_evidence": float(noisy.found.mean())
            if other == "visual"
            else float((seen.quality > 0.05).mean()),
            "fused": both,
            f"{other}_alone": alone.scores(labels)["accuracy"],
            "difference": both - alone.scores(labels)["accuracy"],
        }
    return found


def _contradiction(
    pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs, agreeing: Outcome, rng: np.random.Generator
) -> dict[str, float]:
    """Faces and voices of different emotions: which modality the state follows, and its confidence."""
    shown = rng.integers(len(faces), size=len(faces))
    spoken = rng.integers(len(voices), size=len(faces))
    seen, heard = faces.labels[shown], voices.labels[spoken]
    differ = seen != np.where(heard == CALM, NEUTRAL, heard)
    outcome = pooling(faces.where(shown[differ]), voices.where(spoken[differ]))
    predicted = outcome.probabilities.argmax(1)
    with_face = np.where(predicted == CALM, NEUTRAL, predicted) == seen[differ]
    with_voice = (predicted == heard[differ]) & ~with_face
    return {
        "pairs": int(differ.sum()),
        "follows_the_face": float(with_face.mean()),
        "follows_the_voice": float(with_voice.mean()),
        "follows_neither": float((~with_face & ~with_voice).mean()),
        "confidence": float(outcome.confidence.mean()),
        "confidence_of_agreeing_pairs": float(agreeing.confidence.mean()),
    }


def _text(
    pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs, outcomes: dict[str, Outcome], rng: np.random.Generator
) -> dict[str, Any]:
    """The gain of a sentence of the same emotion, from the test half of :mod:`learning.fusion.utterances`."""
    sentences, emotions = utterances(odd=True)
    estimates = [text_evidence(sentence) for sentence in sentences]
    rows = [int(rng.choice(np.flatnonzero(emotions == label))) for label in voices.labels]
    texts = [estimates[row] for row in rows]
    found: dict[str, Any] = {"sentences": len(sentences), "with_valence": sum(item is not None for item in estimates)}
    for name, (seen, heard) in {
        "fused": (faces, voices),
        "visual": (faces, None),
        "acoustic": (None, voices),
    }.items():
        with_text, without = pooling(seen, heard, texts), outcomes[name]
        found[name] = {
            "accuracy": with_text.scores(voices.labels)["accuracy"],
            "gain": with_text.scores(voices.labels)["accuracy"] - without.scores(voices.labels)["accuracy"],
            "log_loss_gain": without.scores(voices.labels)["log_loss"] - with_text.scores(voices.labels)["log_loss"],
            "mcnemar": metrics.mcnemar(with_text.correct(voices.labels), without.correct(voices.labels)),
        }
    return found


def _real_clips(clips: Sequence[Path], expression: Path, voice: Path, prior: str) -> list[dict[str, Any]]:
    """Run the whole pipeline on CREMA-D clips of one actor; six clips are too few for a score."""
    recognizer = Recognizer(
        VisualConfig(expression_model=str(expression), id_seed=0),
        AcousticConfig(model=str(voice)),
        frames_per_second=25,
        step=0.2,
        prior=prior,
    )
    rows = []
    for path in tqdm(clips, desc="clips", unit="clip", leave=False):
        by_modality: dict[str, list[np.ndarray]] = {"fused": [], "visual": [], "acoustic": []}
        for moment in recognizer.moments(path):
            if moment.state.evidence:
                by_modality["fused"].append(moment.state.emotion.probabilities)
            for item in moment.state.evidence:
                if item.modality != EmotionModality.TEXT:
                    by_modality[item.modality.name.lower()].append(item.emotion.probabilities)
        means = {name: np.mean(values, axis=0) for name, values in by_modality.items() if values}
        truth = CREMAD_CODES[path.stem.split("_")[2]]
        rows.append(
            {
                "clip": path.name,
                "truth": EMOTIONS[truth],
                **{name: EMOTIONS[int(p.argmax())] for name, p in means.items()},
                "probability_of_truth": {name: float(p[truth]) for name, p in means.items()},
            }
        )
    return rows
