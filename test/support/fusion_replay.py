"""A made stream of evidence that reaches every path of the fusion engine, and its recorded states.

Run as a script from the repository's root to record the states anew, after a change that is meant to alter them:
``python test/support/fusion_replay.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emotion_perception.emotions import CALM, EMOTIONS
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.types import Box, EmotionEstimate, EmotionState, FaceObservation, VoiceObservation

RECORDED = Path(__file__).resolve().parents[1] / "fusion" / "replayed_states.npz"
STEPS = 900  # of 1/30 s
START = 1_700_000_000_000_000_000  # ns
VISUAL = Reliability((0.9, 1.0, 1.1, 1.3, 1.2, 0.7, 0.8, 1.0), (0.1, 0.4, 0.9), (0.2, 0.7, 1.1), 0.5)
ACOUSTIC = Reliability((1.2, 0.8, 1.0, 0.9, 1.1, 1.3, 0.7, 1.0), (-5.0, 10.0, 25.0), (0.1, 0.6, 0.9), 0.4)


def replay() -> list[EmotionState]:
    """The states of 30 s: up to five faces that come and go, two voices, text, directions, late and wrong stamps."""
    rng = np.random.default_rng(16)
    fusion = EmotionFusion(None, VISUAL, ACOUSTIC)

    def estimate(of_a_face: bool) -> EmotionEstimate:
        p = rng.dirichlet(np.full(len(EMOTIONS), 0.4))
        p[CALM] *= not of_a_face
        intensities = rng.random(len(EMOTIONS)).astype(np.float32)
        intensities[rng.random(len(EMOTIONS)) < 0.3] = np.nan
        return EmotionEstimate.from_probabilities(p, intensities)

    def face(person: int, step: int) -> FaceObservation:
        size = 80 + 20 * person + 60 * np.sin(step / 70 + person)
        box = Box(120.0 * person + rng.random(), 100.0, size, 1.1 * size)
        opening, motion = rng.random(2) if person != 3 else (np.nan, np.nan)
        score, quality = 0.3 + 0.7 * rng.random(), rng.random()
        return FaceObservation(f"face_{person}", box, score, quality, estimate(True), opening, 0.3 * motion)

    def voice(step: int, stamp_ns: int) -> VoiceObservation:
        duration = 0.4 + 2.0 * rng.random()
        loudness = rng.normal(-30, 6, round(duration / 0.04)).astype(np.float32)
        snr = (20.0, 5.0, -20.0, float("nan"))[step // 20 % 4]
        levels = loudness if step % 3 else np.zeros(0, np.float32)
        voice_id = f"voice_{step // 200 % 2}"
        return VoiceObservation(
            stamp_ns, duration, voice_id, snr, step % 5 == 0, bool(step % 2), estimate(False), levels
        )

    states: list[EmotionState] = []
    for step in range(STEPS):
        now_ns = START + step * 1_000_000_000 // 30
        if step == 150:
            fusion.set_camera(500.0, 320.0)
        if step in (300, 420):
            fusion.set_person("anna", "face_1" if step == 300 else "", "voice_1" if step == 300 else "")
        if step % 7 == 0:
            fusion.add_direction(now_ns, 0.6 * rng.standard_normal())
        if (step % 20 == 0 or step % 47 == 0) and not 480 < step < 690:
            fusion.add_voice(voice(step, now_ns - 100_000_000))
        if step % 130 == 60:
            fusion.add_text(now_ns, estimate(False))
        lag = 200_000_000 if step % 41 == 40 else 0  # an image that arrives late
        jump = 30_000_000_000 if step in (500, 501) else 0  # the source's clock jumps back
        present = [person for person in range(5) if (step // 50 + person) % 4 and not 600 < step < 690]
        size = (640, 480) if step % 2 else None
        fusion.add_faces(now_ns - lag - jump, [face(person, step) for person in present], size)
        if step == 800:
            fusion.add_faces(now_ns + 60_000_000_000, [face(0, step)])  # far ahead of the query
        if step % 10 == 0:
            states += [fusion.state(now_ns), *fusion.states(now_ns + 20_000_000)]
    return states


def table(states: list[EmotionState]) -> dict[str, np.ndarray]:
    """N states as arrays: ids and status as text ``(N,)``, stamps ``(N,)``, and numbers ``(N, 8 + 8 + 3 + 3)``."""
    numbers = []
    for state in states:
        weights = [item.weight for item in state.evidence] + [0.0] * (3 - len(state.evidence))
        emotion = state.emotion
        numbers.append(
            [
                *emotion.probabilities,
                *emotion.intensities,
                emotion.confidence,
                emotion.valence,
                emotion.arousal,
                *weights,
            ]
        )
    ids = [f"{state.status.name} {state.person_id} {state.face_id} {state.voice_id}" for state in states]
    return {
        "ids": np.array(ids),
        "stamps": np.array([state.stamp_ns - START for state in states]),
        "numbers": np.array(numbers),
    }


if __name__ == "__main__":
    np.savez_compressed(RECORDED, **table(replay()))
