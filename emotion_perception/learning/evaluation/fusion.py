"""Score the fusion on faces and voices of people that neither model nor the pooling has met.

FER+ PrivateTest faces are paired with RAVDESS voices of the test actors that show the same emotion. The two are
different people, and the face is a still: such pairs are **synthetic**, which every output says. Each face is taken
once, so emotions are as frequent as among the faces; the report tells the same for each emotion alike. All goes through
:class:`emotion_perception.fusion.engine.EmotionFusion` as on the robot. Six real audio-visual clips come beside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.emotions import CALM, CREMAD_CODES, EMOTIONS, NEUTRAL
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import FUSION_FILE, reliability_of
from emotion_perception.fusion.text import text_available, text_evidence
from emotion_perception.learning import metrics
from emotion_perception.learning.fusion.reliability import (
    Answers,
    face_answers,
    kept,
    synthetic_pairs,
    voice_answers,
    with_noise,
)
from emotion_perception.learning.fusion.utterances import utterances
from emotion_perception.learning.report import finite, write_report, write_text
from emotion_perception.recognition import Recognizer
from emotion_perception.resources import find_model
from emotion_perception.types import Box, EmotionEstimate, EmotionModality, FaceObservation, VoiceObservation
from emotion_perception.visual.perception import VisualConfig, VisualPerception

NOTE = (
    "Synthetic pairs: still faces of FER+ PrivateTest with voices of RAVDESS' test actors of the same emotion, "
    "who are other people."
)
FACE_NOISE = 100.0  # grey levels; the face model is at chance
VOICE_NOISE_DB = -15.0  # the voice model is at chance, where speech is found at all
BALANCED = 400  # pairs of each emotion
RESAMPLES = 1000  # of the voices, for the interval
NOW = 1_000_000_000_000  # ns


@dataclass(frozen=True)
class Outcome:
    """What one way of combining said about N pairs."""

    probabilities: np.ndarray  # (N, 8)
    confidence: np.ndarray  # (N,)

    def scores(self, labels: np.ndarray) -> dict[str, float]:
        """Accuracy, the same with neutral and calm as one, mean recall, calibration error, log loss (nats)."""
        scores = metrics.score(self.probabilities, labels, self.confidence)
        merged = np.concatenate((self.probabilities[:, :2].sum(1, keepdims=True), self.probabilities[:, 2:]), axis=1)
        said = self.probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return {
            "accuracy": scores.accuracy,
            "accuracy_neutral_or_calm": float((merged.argmax(1) == np.maximum(labels - 1, 0)).mean()),
            "uar": scores.uar,
            "ece": scores.ece,
            "log_loss": float(-np.log(np.maximum(said, 1e-4)).mean()),
        }

    def right(self, labels: np.ndarray) -> np.ndarray:
        """``(N,)`` bool."""
        return np.asarray(self.probabilities.argmax(1) == labels)


class Pooling:
    """The robot's fusion on one face and one voice at a time.

    Raises:
        ModelError: a model's card is missing or wrong.
    """

    def __init__(self, expression: Path, voice: Path, fusion_file: str = FUSION_FILE) -> None:
        self._visual = reliability_of(str(expression), fusion_file)
        self._acoustic = reliability_of(str(voice), fusion_file)

    def __call__(
        self, faces: Answers | None, voices: Answers | None, words: Sequence[EmotionEstimate | None] = ()
    ) -> Outcome:
        """What the state says, row by row; what was not heard, and what is left out (None), is no evidence."""
        count = len(faces) if faces is not None else len(voices) if voices is not None else 0
        states = [self._state(faces, voices, words[row] if words else None, row) for row in range(count)]
        return Outcome(
            np.array([state.probabilities for state in states]), np.array([state.confidence for state in states])
        )

    def _state(
        self, faces: Answers | None, voices: Answers | None, words: EmotionEstimate | None, row: int
    ) -> EmotionEstimate:
        fusion = EmotionFusion(visual=self._visual, acoustic=self._acoustic)
        if faces is not None and faces.heard[row]:
            seen = EmotionEstimate.from_probabilities(faces.probabilities[row])
            face = FaceObservation("face", Box(0, 0, 100, 100), 1.0, float(faces.quality[row]), seen)
            fusion.add_faces(NOW, [face])
        if voices is not None and voices.heard[row]:
            told = EmotionEstimate.from_probabilities(voices.probabilities[row])
            snr, seconds = float(voices.quality[row]), float(voices.seconds[row])
            fusion.add_voice(VoiceObservation(NOW, seconds, "voice", snr, False, True, told))
        if words is not None:
            fusion.add_text(NOW, words)
        return fusion.state(NOW).emotion


def simple_rules(faces: Answers, voices: Answers) -> dict[str, Outcome]:
    """What is usually done: mean, product and maximum of the two models' distributions.

    A face's neutral is shared out to neutral and calm, as it does not tell the two apart.
    """
    p, q = faces.probabilities.astype(np.float64), voices.probabilities.astype(np.float64)
    p = p.copy()
    p[:, CALM] = p[:, NEUTRAL] = p[:, NEUTRAL] / 2
    rules = {"mean": p + q, "product": p * q, "maximum": np.maximum(p, q)}
    found = {}
    for name, combined in rules.items():
        combined /= combined.sum(1, keepdims=True)
        found[name] = Outcome(combined, combined.max(1))
    return found


def evaluate(data: Path, out: Path, expression: Path | None = None, voice: Path | None = None) -> dict[str, Any]:
    """Write ``report.json``, ``fusion.md`` and the plots into ``out``; return what is to be printed.

    Args:
        data: the folder that holds ``ferplus.npz``, ``ravdess_speech`` and, if wanted, ``cremad_clips``.
        expression, voice: weights to score; the published ones where left out.

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model is missing or corrupt.
    """
    expression, voice = expression or find_model("expression.safetensors"), voice or find_model("voice.onnx")
    visual = VisualPerception(VisualConfig(expression_model=str(expression)))
    acoustic = AcousticPerception(AcousticConfig(model=str(voice)))

    def faces_of(name: str, damage: Callable[..., np.ndarray] | None) -> Answers:
        return kept(out / "answers", name, expression, lambda: face_answers(visual, data, "PrivateTest", damage))

    def voices_of(name: str, damage: Callable[..., np.ndarray] | None) -> Answers:
        return kept(out / "answers", name, voice, lambda: voice_answers(acoustic, data, "test", damage))

    faces, voices = faces_of("test_faces", None), voices_of("test_voices", None)
    noisy_faces, noisy_voices = faces_of("drowned_faces", _drown_face), voices_of("drowned_voices", _drown_voice)
    pooling = Pooling(expression, voice)
    rng = np.random.default_rng(0)
    shown, told = synthetic_pairs(faces.labels, voices.labels, rng)
    labels = voices.labels[told]
    ways = _ways(pooling, faces.where(shown), voices.where(told))
    fused = ways["fused"]
    report: dict[str, Any] = {
        "note": NOTE,
        "pairs": len(labels),
        "faces": len(faces),
        "voices": len(voices),
        "ways": {name: way.scores(labels) for name, way in ways.items()},
        "fused_accuracy_interval": _interval(fused.right(labels), told, len(voices), rng),
        "mcnemar": _mcnemar(ways, labels),
        "mcnemar_one_pair_a_voice": _once_a_voice(pooling, faces, voices, rng),
        "each_emotion_alike": _balanced(pooling, faces, voices, rng),
        "drop_outs": _drop_outs(pooling, faces.where(shown), voices.where(told), rng),
        "noise": _noise(pooling, faces, voices, noisy_faces, noisy_voices, shown, told),
        "contradiction": _contradiction(pooling, faces, voices, fused, rng),
    }
    if text_available():
        report["words"] = _words(pooling, faces.where(shown), voices.where(told), ways, rng)
    clips = sorted((data / "cremad_clips").glob("*.flv"))
    if clips:
        report["real_clips"] = _real_clips(clips, expression, voice)
    summary = {
        "synthetic_pairs": True,
        **{name: _short(ways[name].scores(labels)) for name in ("fused", "visual", "acoustic")},
        "gain_over_best_single": _gain(report["ways"], "accuracy"),
        "gain_over_best_single_neutral_or_calm": _gain(report["ways"], "accuracy_neutral_or_calm"),
        "pairs": len(labels),
    }
    write_report(
        out, "Fused, synthetic pairs of FER+ faces and RAVDESS voices", fused.probabilities, labels, fused.confidence,
        {"summary": summary, "fusion": report},
    )  # fmt: skip
    write_text(out / "fusion.md", as_text(finite(report)))
    return dict(finite(summary))


def _drown_face(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (face + rng.normal(0, FACE_NOISE, face.shape)).clip(0, 255).astype(np.uint8)


def _drown_voice(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return with_noise(samples, rng.normal(size=len(samples)).astype(np.float32), VOICE_NOISE_DB)


def _ways(pooling: Pooling, faces: Answers, voices: Answers) -> dict[str, Outcome]:
    alone = {"visual": pooling(faces, None), "acoustic": pooling(None, voices)}
    return {"fused": pooling(faces, voices), **alone, **simple_rules(faces, voices)}


def _short(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(scores[name], 4) for name in ("accuracy", "ece", "accuracy_neutral_or_calm")}


def _gain(ways: dict[str, dict[str, float]], score: str) -> float:
    return round(ways["fused"][score] - max(ways["visual"][score], ways["acoustic"][score]), 4)


def _interval(right: np.ndarray, told: np.ndarray, voices: int, rng: np.random.Generator) -> list[float]:
    """95 % of the accuracy, resampling voices: the pairs are many, the voices few."""
    hits, uses = np.bincount(told, right, voices), np.bincount(told, minlength=voices)
    draws = rng.integers(voices, size=(RESAMPLES, voices))
    shares = hits[draws].sum(1) / np.maximum(1, uses[draws].sum(1))
    return [float(share) for share in np.quantile(shares, (0.025, 0.975))]


def _mcnemar(ways: dict[str, Outcome], labels: np.ndarray) -> dict[str, float]:
    right = ways["fused"].right(labels)
    return {name: metrics.mcnemar(right, way.right(labels)) for name, way in ways.items() if name != "fused"}


def _once_a_voice(pooling: Pooling, faces: Answers, voices: Answers, rng: np.random.Generator) -> dict[str, float]:
    """The same test where no voice is in two pairs: few pairs, but independent ones."""
    as_shown = np.where(voices.labels == CALM, NEUTRAL, voices.labels)
    shown = np.array([rng.choice(np.flatnonzero(faces.labels == label)) for label in as_shown])
    return _mcnemar(_ways(pooling, faces.where(shown), voices), voices.labels)


def _balanced(pooling: Pooling, faces: Answers, voices: Answers, rng: np.random.Generator) -> dict[str, Any]:
    shown, told = synthetic_pairs(faces.labels, voices.labels, rng, BALANCED)
    ways = _ways(pooling, faces.where(shown), voices.where(told))
    return {name: way.scores(voices.labels[told]) for name, way in ways.items()}


def _drop_outs(pooling: Pooling, faces: Answers, voices: Answers, rng: np.random.Generator) -> dict[str, Any]:
    """Half of the faces, or of the voices, are not there."""
    found = {}
    for name in ("faces", "voices"):
        gone = rng.random(len(faces)) < 0.5
        kept_faces = _without(faces, gone) if name == "faces" else faces
        kept_voices = _without(voices, gone) if name == "voices" else voices
        found[f"half of the {name} missing"] = pooling(kept_faces, kept_voices).scores(voices.labels)
    return found


def _without(answers: Answers, gone: np.ndarray) -> Answers:
    return replace(answers, heard=answers.heard & ~gone)


def _noise(
    pooling: Pooling,
    faces: Answers,
    voices: Answers,
    noisy_faces: Answers,
    noisy_voices: Answers,
    shown: np.ndarray,
    told: np.ndarray,
) -> dict[str, Any]:
    """One side drowned in noise until its model is at chance, against the other side alone.

    Only pairs whose one side alone can be asked count: those of speech that is found.
    """
    labels = voices.labels[told]
    cases = {
        f"faces in noise of {FACE_NOISE:.0f} grey levels": (noisy_faces.where(shown), voices.where(told), "acoustic"),
        f"voices in noise at {VOICE_NOISE_DB:.0f} dB": (faces.where(shown), noisy_voices.where(told), "visual"),
    }
    found = {}
    for name, (seen, heard, other) in cases.items():
        both = pooling(seen, heard).scores(labels)["accuracy"]
        alone = pooling(seen, None) if other == "visual" else pooling(None, heard)
        drowned = noisy_faces if other == "acoustic" else noisy_voices
        found[name] = {
            "drowned_model_uar": metrics.score(drowned.probabilities, drowned.labels).uar,
            "taken_as_evidence": float(drowned.heard.mean())
            if other == "visual"
            else float((seen.quality > 0.05).mean()),
            "fused": both,
            f"{other}_alone": alone.scores(labels)["accuracy"],
            "difference": both - alone.scores(labels)["accuracy"],
        }
    return found


def _contradiction(
    pooling: Pooling, faces: Answers, voices: Answers, agreeing: Outcome, rng: np.random.Generator
) -> dict[str, float]:
    """Faces and voices of different emotions: whom the state follows, and whether it says that it doubts."""
    shown = rng.integers(len(faces), size=len(faces))
    told = rng.integers(len(voices), size=len(faces))
    seen, heard = faces.labels[shown], voices.labels[told]
    apart = seen != np.where(heard == CALM, NEUTRAL, heard)
    outcome = pooling(faces.where(shown[apart]), voices.where(told[apart]))
    said = outcome.probabilities.argmax(1)
    with_face = np.where(said == CALM, NEUTRAL, said) == seen[apart]
    with_voice = (said == heard[apart]) & ~with_face
    return {
        "pairs": int(apart.sum()),
        "follows_the_face": float(with_face.mean()),
        "follows_the_voice": float(with_voice.mean()),
        "follows_neither": float((~with_face & ~with_voice).mean()),
        "confidence": float(outcome.confidence.mean()),
        "confidence_of_agreeing_pairs": float(agreeing.confidence.mean()),
    }


def _words(
    pooling: Pooling, faces: Answers, voices: Answers, ways: dict[str, Outcome], rng: np.random.Generator
) -> dict[str, Any]:
    """What a sentence of the same emotion adds: the half of :mod:`learning.utterances` that nothing was fitted to."""
    texts, moods = utterances(odd=True)
    said = [text_evidence(text) for text in texts]
    rows = [int(rng.choice(np.flatnonzero(moods == label))) for label in voices.labels]
    words = [said[row] for row in rows]
    found: dict[str, Any] = {"sentences": len(texts), "with_valence": sum(item is not None for item in said)}
    for name, (seen, heard) in {
        "fused": (faces, voices),
        "visual": (faces, None),
        "acoustic": (None, voices),
    }.items():
        with_words, without = pooling(seen, heard, words), ways[name]
        found[name] = {
            "accuracy": with_words.scores(voices.labels)["accuracy"],
            "gain": with_words.scores(voices.labels)["accuracy"] - without.scores(voices.labels)["accuracy"],
            "log_loss_gain": without.scores(voices.labels)["log_loss"] - with_words.scores(voices.labels)["log_loss"],
            "mcnemar": metrics.mcnemar(with_words.right(voices.labels), without.right(voices.labels)),
        }
    return found


def _real_clips(clips: Sequence[Path], expression: Path, voice: Path) -> list[dict[str, Any]]:
    """CREMA-D: one actor, six clips, through the whole path; too few to be a score."""
    recognizer = Recognizer(
        VisualConfig(expression_model=str(expression), id_seed=0),
        AcousticConfig(model=str(voice)),
        frames_per_second=25,
        step=0.2,
    )
    rows = []
    for path in tqdm(clips, desc="clips", unit="clip", leave=False):
        said: dict[str, list[np.ndarray]] = {"fused": [], "visual": [], "acoustic": []}
        for moment in recognizer.moments(path):
            if moment.state.evidence:
                said["fused"].append(moment.state.emotion.probabilities)
            for item in moment.state.evidence:
                if item.modality != EmotionModality.TEXT:
                    said[item.modality.name.lower()].append(item.emotion.probabilities)
        means = {name: np.mean(values, axis=0) for name, values in said.items() if values}
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


def as_text(report: dict[str, Any]) -> str:
    """The report as Markdown."""

    def percent(value: float) -> str:
        return f"{100 * value:.1f} %"

    low, high = report["fused_accuracy_interval"]
    lines = ["# Fusion", "", report["note"], ""]
    for title, ways in (
        (f"Each face once, {report['pairs']} synthetic pairs", report["ways"]),
        (f"Each emotion alike, {BALANCED} synthetic pairs of each", report["each_emotion_alike"]),
    ):
        lines += [
            f"## {title}",
            "",
            "| | accuracy | neutral and calm as one | UAR | ECE | log loss |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {percent(s['accuracy'])} | {percent(s['accuracy_neutral_or_calm'])} | {percent(s['uar'])} "
            f"| {s['ece']:.3f} | {s['log_loss']:.3f} |"
            for name, s in ways.items()
        ]
        lines.append("")
    lines += [
        f"95 % of the fused accuracy, resampling the {report['voices']} voices: {percent(low)} to {percent(high)}.",
        "",
    ]
    lines += ["## McNemar's test of fused against", "", "| | all pairs | one pair a voice |", "|---|---|---|"]
    single = report["mcnemar_one_pair_a_voice"]
    lines += [f"| {name} | p = {p:.2g} | p = {single[name]:.2g} |" for name, p in report["mcnemar"].items()]
    lines += ["", "## Drop-outs (synthetic pairs)", ""]
    lines += [f"- {name}: {percent(s['accuracy'])}, ECE {s['ece']:.3f}" for name, s in report["drop_outs"].items()]
    lines += ["", "## Noise on one side (synthetic pairs)", ""]
    for name, found in report["noise"].items():
        other = "acoustic" if "acoustic_alone" in found else "visual"
        lines.append(
            f"- {name} (its model's UAR {percent(found['drowned_model_uar'])}; {percent(found['taken_as_evidence'])} "
            f"of it taken as evidence): fused {percent(found['fused'])}, "
            f"{other} alone {percent(found[f'{other}_alone'])}, difference {100 * found['difference']:+.1f} points"
        )
    told = report["contradiction"]
    lines += [
        "",
        "## Contradicting pairs (synthetic)",
        "",
        f"Of {told['pairs']} the state follows the face in {percent(told['follows_the_face'])}, the voice in "
        f"{percent(told['follows_the_voice'])}, neither in {percent(told['follows_neither'])}; mean confidence "
        f"{told['confidence']:.2f}, of agreeing pairs {told['confidence_of_agreeing_pairs']:.2f}.",
        "",
    ]
    if "words" in report:
        words = report["words"]
        lines += [
            f"## Words (synthetic pairs, with one of {words['sentences']} sentences of the same emotion)",
            "",
            *(
                f"- {name} with words: {percent(words[name]['accuracy'])}, {100 * words[name]['gain']:+.1f} points "
                f"(p = {words[name]['mcnemar']:.2g}), log loss {-words[name]['log_loss_gain']:+.3f}"
                for name in ("fused", "visual", "acoustic")
            ),
            "",
        ]
    if "real_clips" in report:
        lines += [
            "## Real clips: CREMA-D, one actor (no score, too few)",
            "",
            "| clip | truth | fused | visual | acoustic |",
        ]
        lines.append("|---|---|---|---|---|")
        lines += [
            f"| {row['clip']} | {row['truth']} | "
            + " | ".join(row.get(way, "-") for way in ("fused", "visual", "acoustic"))
            + " |"
            for row in report["real_clips"]
        ]
        lines.append("")
    return "\n".join(lines)
