"""Run a model on labelled data, with the preprocessing that runs on the robot, and return its distributions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emotion_perception.inference.cards import load_card
from emotion_perception.learning.evaluation.groups import People, people_of_speech, read_people
from emotion_perception.learning.faces.corruptions import corrupt
from emotion_perception.learning.faces.labelled import load_ferplus_faces, load_folders
from emotion_perception.learning.metrics import label_ceiling
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.learning.voices.corpus_layouts import CORPORA
from emotion_perception.media.files import read_audio
from emotion_perception.media.formats import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from emotion_perception.media.images import read_image
from emotion_perception.media.items import MediaError
from emotion_perception.priors import BALANCED, DEFAULT_PRIOR, PRIORS
from emotion_perception.resources import find_model
from emotion_perception.types import EmotionEstimate
from emotion_perception.visual.expression import ExpressionClassifier


@dataclass(frozen=True)
class Cases:
    """A model's outputs for N labelled cases."""

    title: str
    probabilities: np.ndarray  # (N, 8) under `prior`
    labels: np.ndarray  # (N,) index in the vocabulary
    confidence: np.ndarray  # (N,) the model's confidence, 0..1
    counts: dict[str, int]  # number of cases by how they were read
    ceiling: dict[str, float] = field(default_factory=dict)  # score -> highest value the labels permit, if known
    pictures: Sequence[np.ndarray] | None = None  # N face crops, uint8, if available
    prior: np.ndarray = field(default_factory=lambda: PRIORS[DEFAULT_PRIOR])  # (8,)
    people: People | None = None  # who is seen or heard, if known


def visual(
    data: Path,
    split: str,
    labels: str,
    weights: Path | None = None,
    corruption: str | None = None,
    convention: str | None = None,
    prior: str = DEFAULT_PRIOR,
    people: Path | None = None,
) -> Cases:
    """Run the face model on ``ferplus.npz`` (``split``, ``labels``) or on a folder with one sub-folder per emotion.

    FER2013's original labels are scored on the head trained on them (``convention``), all others on the output that the
    robot uses. In a folder, the largest face of each image is used; if no face is detected, or the image is 64 pixels
    or smaller, the whole image is the face. ``prior`` is the class prior of the outputs. ``corruption`` names a
    degradation applied to the faces of the archive, ``people`` a table of the people in a folder (:func:`read_people`).

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model file is missing or corrupt.
    """
    from emotion_perception.visual.config import VisualConfig
    from emotion_perception.visual.face_crop import is_tiny
    from emotion_perception.visual.perception import VisualPerception

    config = VisualConfig(emotion_prior=prior)
    convention = convention or (labels if data.is_file() else "ferplus")
    path = weights or find_model(config.expression_model)
    if convention not in load_card(path).outputs:  # a third-party network has a single head
        convention = None
    classifier = ExpressionClassifier(path, convention)
    perception = VisualPerception(config, classifier)
    counts: Counter[str] = Counter()
    estimates: list[EmotionEstimate] = []
    if data.is_file():
        archive = load_ferplus_faces(data, split, labels)
        crops = corrupt(archive.faces, corruption) if corruption else archive.faces
        for crop in tqdm(crops, desc="expressions", unit="face"):
            estimates.append(perception.whole_face(crop).emotion)
        counts["whole_picture_small"] = len(crops)
        title = f"{classifier.name}, {classifier.convention} head, on {data.name} {split}, {labels} labels"
        title += f", {corruption}" if corruption else ""
        cases = _cases(title, estimates, archive.labels, counts)
        if archive.votes is not None:
            accuracy, macro_f1 = label_ceiling(archive.votes)
            cases = replace(cases, ceiling={"ceiling_accuracy": accuracy, "ceiling_macro_f1": macro_f1})
        return replace(cases, pictures=list(crops))
    files = load_folders(data, IMAGE_SUFFIXES)
    counts["no_image_by_name"] = files.other
    known = read_people(people, files.paths) if people is not None else None
    kept: list[int] = []
    for row, path in enumerate(tqdm(files.paths, desc="expressions", unit="image")):
        try:
            image = read_image(path)
        except MediaError as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            counts["unreadable"] += 1
            continue
        faces = () if is_tiny(image) else perception.still(image)
        if faces:
            counts["face_found"] += 1
        else:
            counts["whole_picture_small" if is_tiny(image) else "whole_picture_no_face"] += 1
        face = faces[0] if faces else perception.whole_face(image)
        estimates.append(face.emotion)
        kept.append(row)
    title = f"{classifier.name}, {classifier.convention} head, on {data.name}"
    cases = _cases(title, estimates, files.labels[kept], counts)
    return replace(cases, people=known.where(kept) if known is not None else None)


def acoustic(
    data: Path, split: str, weights: Path | None = None, prior: str = DEFAULT_PRIOR, people: Path | None = None
) -> Cases:
    """Run the voice model on a corpus (``split``) or on a folder with a sub-folder per emotion; one decision per file.

    Each file passes the robot's acoustic pipeline: voice activity, noise reduction, classification. If no speech is
    found, the whole file is classified and counted as ``no_speech_found``. ``people`` is as for :func:`visual`.

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model file is missing or corrupt.
    """
    from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception

    counts: Counter[str] = Counter()
    known: People | None = None
    if data.name in CORPORA:
        corpus = load_speech(data, split)
        paths, labels, title = corpus.paths, corpus.labels, f"{data.name} {split}"
        known = people_of_speech(corpus)
    else:
        files = load_folders(data, AUDIO_SUFFIXES | VIDEO_SUFFIXES)
        paths, labels, title = files.paths, files.labels, data.name
        counts["no_sound_by_name"] = files.other
        known = read_people(people, paths) if people is not None else None
    config = AcousticConfig(emotion_prior=prior)
    perception = AcousticPerception(replace(config, model=str(weights)) if weights else config)
    estimates: list[EmotionEstimate] = []
    kept: list[int] = []
    for row, path in enumerate(tqdm(paths, desc="voices", unit="file")):
        try:
            samples, rate = read_audio(path)
            clip = perception.classify_recording(samples, rate)
        except (MediaError, ValueError) as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            counts["unreadable"] += 1
            continue
        counts["speech_found" if clip.speech_found else "no_speech_found"] += 1
        estimates.append(clip.emotion)
        kept.append(row)
    cases = _cases(f"voice model on {title}", estimates, labels[kept], counts)
    return replace(cases, people=known.where(kept) if known is not None else None)


def _cases(title: str, estimates: list[EmotionEstimate], labels: np.ndarray, counts: Counter[str]) -> Cases:
    return Cases(
        title,
        np.array([e.probabilities for e in estimates], dtype=np.float32).reshape(-1, 8),
        labels,
        np.array([e.confidence for e in estimates], dtype=np.float32),
        dict(counts),
        prior=estimates[0].prior if estimates else BALANCED,
    )
