"""The strength of an emotion rises with the emotion: along blends of faces, and from onset to apex in a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from emotion_perception.emotions import VISUAL_EMOTIONS, VISUAL_INDICES
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.visual.perception import VisualPerception

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CLIPS = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful"}  # those that begin with a face nearly at rest
SHARES = np.linspace(0, 1, 5)
PAIRS = 50  # of each emotion


@pytest.mark.skipif(not (DATA / "ferplus.npz").exists(), reason="ferplus.npz is not on this machine")
def test_strength_rises_along_blends_from_neutral_to_expressive_faces(perception):
    """FER+ PublicTest faces on whose label most of the ten voters agree, of different people, mixed pixel by pixel."""
    split = load_ferplus(DATA / "ferplus.npz", "PublicTest")
    rng = np.random.default_rng(0)
    neutral = split.faces[split.votes[:, VISUAL_EMOTIONS.index("neutral")] >= 8]
    ranks, ends = [], []
    for emotion in range(1, len(VISUAL_EMOTIONS)):
        agreed = split.faces[split.votes[:, emotion] >= 7]
        calm, moved = (faces[rng.integers(0, len(faces), PAIRS)][:, None].astype(float) for faces in (neutral, agreed))
        share = SHARES[:, None, None]
        blends = ((1 - share) * calm + share * moved).round().astype(np.uint8)  # (PAIRS, 5, 48, 48)
        strength = np.stack([perception.classifier.probabilities(row)[1][:, emotion] for row in blends])
        ranks += [spearmanr(SHARES, row).statistic for row in strength]
        ends += list(strength[:, -1] > strength[:, 0])
        assert (np.diff(strength.mean(0)) > 0).all(), f"the mean strength of {VISUAL_EMOTIONS[emotion]} falls somewhere"
    assert len(ranks) == 6 * PAIRS
    assert np.mean(ranks) > 0.8
    assert np.mean(ends) > 0.95


@pytest.mark.skipif(not (DATA / "cremad_clips").exists(), reason="the CREMA-D clips are not on this machine")
@pytest.mark.parametrize("clip", CLIPS)
def test_strength_rises_from_onset_to_apex_of_an_acted_emotion(perception: VisualPerception, clip):
    """The apex is where the face differs most from its first picture: the classifier has no say in it."""
    av = pytest.importorskip("av")
    emotion = VISUAL_INDICES[VISUAL_EMOTIONS.index(CLIPS[clip])]
    labels, crops, strength = [], [], []
    with av.open(str(DATA / "cremad_clips" / f"1001_DFA_{clip}_XX.flv")) as film:
        for frame in film.decode(video=0):
            for face in perception.process(frame.to_ndarray(format="bgr24"), round(frame.time * 1e9)):
                crops.append(perception.newest_crop(face.face_id).crop.astype(float))
                strength.append(face.emotion.intensities[emotion])
                labels.append(face.emotion.label)
    apex = int(np.argmax([np.abs(crop - crops[0]).mean() for crop in crops]))
    assert labels[0] != emotion and apex > 10
    assert spearmanr(np.arange(apex + 1), strength[: apex + 1]).statistic > 0.7
    assert strength[apex] > 2 * np.mean(strength[:5])
