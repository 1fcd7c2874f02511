#!/usr/bin/env python3
"""What the own-face baseline gains and costs (:mod:`emotion_perception.visual.face_baseline`).

Prints the tables of docs/visual_model.md, "A person's own face", each with the baseline and without it:

- ``clips``: six CREMA-D clips of one actor; the baseline comes from the other clips or from the neutral one.
- ``portraits``: streams made of the neutral and the smiling portrait of each person, with jitter and noise.
- ``streams``: simulated margins of persons whose resting faces are those of portraits and of FER+ PublicTest.
- ``strangers``: PublicTest, one face per track, and all of them in one track as if the tracker confused everybody.

    . scripts/env.sh
    python scripts/measure_face_baseline.py --data ../shared/data                 # all, about 10 minutes
    python scripts/measure_face_baseline.py --data ../shared/data --only clips
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.acoustic.perception import AcousticPerception
from emotion_perception.emotions import CREMAD_CODES, EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.hmm_filter import TemporalConfig, initial_belief, next_belief, to_report
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.media.images import read_image
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media
from emotion_perception.recognition import Event, Recognizer, fuse_events
from emotion_perception.types import SECOND, FaceObservation
from emotion_perception.visual.face_baseline import FaceBaseline
from emotion_perception.visual.perception import VisualConfig, VisualPerception

STEP_S = 0.1  # between two frames or states
SETTLE_S = 0.7  # after a change, not counted: the temporal filter needs about 0.3 s
NEUTRAL_S, SMILE_S = 6.0, 2.0  # of a stream of portraits
MARGIN = 80  # px around a portrait, for the jitter
CLIP_ORDERS = 30  # random orders of the clips
PERSONS = 16  # of each simulated scene

PIPELINE = VisualPerception(VisualConfig(emotion_prior="balanced"))

Scene = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]  # labels (N,) and strengths 0..1 (N,)


def new_baseline() -> FaceBaseline:
    """As the pipeline makes it."""
    baseline = PIPELINE.face_filter().baseline
    assert baseline is not None
    return baseline


# --- clips


def clip_events(path: Path) -> list[Event]:
    """The faces, not filtered, and the voice of a clip."""
    PIPELINE.reset()
    acoustic, events = AcousticPerception(), []
    with open_media(path, "", "") as media:
        for item in media.read():
            stamp = round(item.time * SECOND)
            if isinstance(item, MediaFrame):
                found = [face for face in PIPELINE.detect(item.image, stamp) if face.crop is not None]
                events.append(Event(item.time, item.time, _observations(found[:1])))
            else:
                voices = acoustic.push(item.samples, item.sample_rate, stamp)
                events += [Event(item.time, item.end, voice) for voice in (*voices, None)]
        events += [Event(events[-1].time, events[-1].end, voice) for voice in acoustic.flush()]
    return events


def _observations(faces: Sequence) -> tuple[FaceObservation, ...]:
    if not faces:
        return ()
    estimates = PIPELINE.classifier.estimates(np.stack([face.crop for face in faces]))
    return tuple(PIPELINE.observations(faces, estimates))


def play(
    events: Sequence[Event], baseline: FaceBaseline | None, recognizer: Recognizer, voice: bool
) -> tuple[int, int]:
    """Labels of the fused state: of its mean over the clip and of the end. The baseline goes on learning."""
    track = PIPELINE.face_filter()
    track.baseline = baseline
    filtered = []
    for event in events:
        if isinstance(event.evidence, tuple):
            faces = tuple(track.update(face, round(event.time * SECOND)) for face in event.evidence)
            filtered.append(replace(event, evidence=faces))
        elif voice or event.evidence is None:
            filtered.append(event)
    moments = list(fuse_events(filtered, recognizer.fusion(), STEP_S))
    mean = np.mean([moment.state.emotion.probabilities for moment in moments], 0)
    return int(mean.argmax()), moments[-1].state.emotion.label


def clips(data: Path) -> None:
    """Table of the six clips."""
    paths = sorted((data / "cremad_clips").glob("*.flv"))
    events = {path.stem.split("_")[2]: clip_events(path) for path in paths}
    recognizer, rng = Recognizer(), np.random.default_rng(0)
    print("\n| six clips, label of the mean state (of the last state) | " + " | ".join(events) + " | right |")
    print("|---|" + "---|" * (len(events) + 1))

    def after(before: Sequence[str], times: int = 1) -> FaceBaseline:
        baseline = new_baseline()
        for code in [*before] * times:
            play(events[code], baseline, recognizer, voice=False)
        return baseline

    def row(name: str, baselines: dict[str, FaceBaseline | None], voice: bool) -> None:
        labels = {code: play(events[code], copy.deepcopy(baselines[code]), recognizer, voice) for code in events}
        right = [sum(labels[code][k] == CREMAD_CODES[code] for code in events) for k in (0, 1)]
        cells = [f"{EMOTIONS[mean]} ({EMOTIONS[end]})" for mean, end in labels.values()]
        print(f"| {name} | " + " | ".join(cells) + f" | {right[0]} ({right[1]}) |", flush=True)

    neutral, neutrals = after(["NEU"]), after(["NEU"], 5)
    others = {code: after([other for other in events if other != code]) for code in events}
    for modality, voice in (("face", False), ("face and voice", True)):
        row(f"{modality}, without", dict.fromkeys(events), voice)
        row(f"{modality}, neutral clip before", dict.fromkeys(events, neutral), voice)
        row(f"{modality}, neutral clip five times before", dict.fromkeys(events, neutrals), voice)
        row(f"{modality}, the other five clips before", dict(others), voice)
    right = []
    for _ in range(CLIP_ORDERS):
        baseline = new_baseline()
        order = [str(code) for code in rng.permutation(list(events))]
        right.append([play(events[code], baseline, recognizer, False)[0] == CREMAD_CODES[code] for code in order])
    print(f"\n{CLIP_ORDERS} random orders, face, by place in the order, % right: {_percent(np.mean(right, 0))}")


# --- portraits


def _walk(rng: np.random.Generator, n: int, deviation: float, time_s: float) -> np.ndarray:
    """``(n,)`` steps of an Ornstein-Uhlenbeck process."""
    keep = np.exp(-STEP_S / time_s)
    values = [rng.normal()]
    for _ in range(n - 1):
        values.append(keep * values[-1] + np.sqrt(1 - keep * keep) * rng.normal())
    return deviation * np.array(values)


def jittered(images: Sequence[np.ndarray], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Frames of a camera: the portraits moved, turned, scaled, brighter or darker, with noise."""
    walks = [_walk(rng, len(images), sd, time) for sd, time in ((6, 1), (6, 1), (2.5, 1.5), (0.03, 1.5), (0.06, 2))]
    for image, right, down, angle, scale, light in zip(images, *walks, strict=True):
        height, width = image.shape[:2]
        move = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1 + scale)
        move[:, 2] += (MARGIN + right, MARGIN + down)
        size = (width + 2 * MARGIN, height + 2 * MARGIN)
        frame = cv2.warpAffine(image, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        noise = rng.normal(0, 4, (*frame.shape[:2], 1))
        yield np.clip(frame * (1 + light) + noise, 0, 255).astype(np.uint8)


def portraits(data: Path, pairs: int) -> None:
    """Table of the streams of neutral and smiling portraits."""
    folder = data / "external_faces" / "portraits"
    rows = []
    for number, path in enumerate(sorted((folder / "neutral").glob("*_03.jpg"))[:pairs]):
        smiling = folder / "happy" / path.name.replace("_03", "_08")
        if not smiling.exists():
            continue
        images = [read_image(path)] * round(NEUTRAL_S / STEP_S) + [read_image(smiling)] * round(SMILE_S / STEP_S)
        PIPELINE.reset()
        without, with_baseline = PIPELINE.face_filter(), PIPELINE.face_filter()
        without.baseline = None
        for i, frame in enumerate(jittered(images, np.random.default_rng(number))):
            stamp, time = round(i * STEP_S * SECOND), i * STEP_S
            found = [face for face in PIPELINE.detect(frame, stamp) if face.crop is not None][:1]
            for alone in _observations(found):
                names = [track.update(alone, stamp).emotion.name for track in (without, with_baseline)]
                rows.append((number, time, *names))
    number, time, *labels = (np.array(column) for column in zip(*rows, strict=True))
    print("\n| portraits | neutral frames neutral % | smiling frames happy % | persons whose smile is happy % |")
    print("|---|---|---|---|")
    smiling, resting = time > NEUTRAL_S + SETTLE_S, (time > SETTLE_S) & (time < NEUTRAL_S - STEP_S / 2)
    for name, label in zip(("without", "with the baseline"), labels, strict=True):
        persons = [(label[smiling & (number == n)] == "happy").mean() > 0.5 for n in np.unique(number)]
        shares = ((label[resting] == "neutral").mean(), (label[smiling] == "happy").mean(), np.mean(persons))
        cells = " | ".join(f"{100 * share:.1f}" for share in shares)
        print(f"| {name} ({len(persons)} persons) | {cells} |", flush=True)


# --- simulated streams


def margins_of(p: np.ndarray) -> np.ndarray:
    """``(N, 6)`` log-likelihood ratios against neutral of ``(N, 7)`` probabilities under equal priors."""
    log_p = np.log(np.maximum(p, 1e-12))
    return np.asarray(log_p[:, 1:] - log_p[:, :1])


def _mostly_neutral(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels, strengths = np.zeros(600, int), np.zeros(600)
    for begin in (rng.integers(50, 250), rng.integers(320, 550)):
        labels[begin : begin + 30], strengths[begin : begin + 30] = rng.integers(1, 7), rng.uniform(0.3, 1)
    return labels, strengths


def _from_the_start(emotion: str) -> Scene:
    def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat([VISUAL_EMOTIONS.index(emotion), 0], [600, 200])
        return labels, np.full(800, rng.uniform(0.4, 1))

    return scene


def _minute_of_smiles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([0, 1, 0], [80, 600, 100]), np.full(780, rng.uniform(0.4, 1))


def _all_emotions(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(rng.permutation([*range(7)] * 2), 40), np.repeat(rng.uniform(0.3, 1, 14), 40)


SCENES: dict[str, Scene] = {
    "90 % neutral, two slight or strong expressions a minute": _mostly_neutral,
    "happy for the first 60 s, then neutral": _from_the_start("happy"),
    "angry for the first 60 s, then neutral": _from_the_start("angry"),
    "sad for the first 60 s, then neutral": _from_the_start("sad"),
    "neutral for 8 s, a smile of a minute, neutral": _minute_of_smiles,
    "all emotions equally often, 4 s each": _all_emotions,
    "neutral for a minute": lambda rng: (np.zeros(600, int), np.zeros(600)),
}


def simulate(rest: np.ndarray, expressions: np.ndarray, scene: tuple, rng: np.random.Generator) -> np.ndarray:
    """``(N, 6)`` margins of a person: rest, the mean change of the expression times its strength, and noise."""
    labels, strengths = scene
    noise = np.stack([_walk(rng, len(labels), 0.8, 1.0) for _ in rest], 1)
    common = _walk(rng, len(labels), 0.6, 1.0)[:, None]
    frames = rng.normal(0, 0.3, noise.shape)
    return np.asarray(rest + strengths[:, None] * expressions[labels] + noise + common + frames)


def follow(margins: np.ndarray, baseline: FaceBaseline | None) -> np.ndarray:
    """``(N,)`` labels of a stream after baseline and temporal filter."""
    temporal, belief, labels = TemporalConfig(), None, []
    for row in margins:
        p = np.exp([0.0, *row])
        p /= p.sum()
        if baseline is not None:
            p = baseline.adapt(p, STEP_S)
        belief = initial_belief(p, temporal) if belief is None else next_belief(belief, p, STEP_S, temporal)
        labels.append(to_report(belief, temporal).argmax())
    return np.array(labels)


def read_public(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``(N, 7)`` of PublicTest and labels ``(N,)``."""
    faces = load_ferplus(data / "ferplus.npz", "PublicTest")
    known = (faces.majority >= 0) & (faces.majority < len(VISUAL_EMOTIONS))
    chunks = np.array_split(faces.faces[known], 60)
    return np.concatenate([PIPELINE.classifier.probabilities(chunk)[0] for chunk in chunks]), faces.majority[known]


def streams(data: Path, persons: int) -> None:
    """Table of the simulated streams."""
    p, labels = read_public(data)
    public, rng = margins_of(p), np.random.default_rng(0)
    means = np.stack([public[labels == k].mean(0) for k in range(len(VISUAL_EMOTIONS))])
    folder = data / "external_faces" / "portraits" / "neutral"
    studio = [PIPELINE.crops(read_image(path))[0] for path in sorted(folder.iterdir())]
    rests = np.concatenate(
        [
            margins_of(PIPELINE.classifier.probabilities(np.stack(studio))[0]),
            rng.permutation(public[labels == 0])[: len(studio)],
        ]
    )
    print("\n| simulated streams | without, right % | with, right % | worst stream, points | streams that lose 5 |")
    print("|---|---|---|---|---|")

    def row(name: str, gains: list[tuple[float, float]]) -> None:
        without, with_baseline = 100 * np.array(gains).T
        change = with_baseline - without
        means = f"{without.mean():.1f} | {with_baseline.mean():.1f}"
        print(f"| {name} | {means} | {change.min():+.1f} | {(change < -5).sum()} of {len(gains)} |", flush=True)

    def person(number: int, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(number)
        drawn = scene(rng)
        return simulate(rests[rng.integers(len(rests))], means - means[0], drawn, rng), drawn[0]

    for name, scene in SCENES.items():
        gains = []
        for number in range(persons):
            margins, truth = person(number, scene)
            gains.append(tuple((follow(margins, b) == truth).mean() for b in (None, new_baseline())))
        row(name, gains)
    gains = []
    for number in range(persons):
        first, _ = person(number, _mostly_neutral)
        second, truth = person(1000 + number, _all_emotions)
        both = np.concatenate([first, second])
        gains.append(tuple((follow(both, b)[len(first) :] == truth).mean() for b in (None, new_baseline())))
    row("another person in the same track (tracker error): the second person", gains)


def strangers(data: Path) -> None:
    """Table of unknown people."""
    p, labels = read_public(data)
    order = np.random.default_rng(0).permutation(len(p))
    young = np.stack([new_baseline().adapt(row, 0.0) for row in p])
    confused = new_baseline()
    mixed = np.empty_like(young)
    for i in order:
        mixed[i] = confused.adapt(p[i], STEP_S)
    print("\n| strangers: PublicTest, balanced prior | accuracy % | mean recall % |\n|---|---|---|")
    names = ("without", "one track per face", "all faces in one track (tracker error)")
    for name, q in zip(names, (p, young, mixed), strict=True):
        right = q.argmax(1) == labels
        recall = np.mean([right[labels == k].mean() for k in range(len(VISUAL_EMOTIONS))])
        print(f"| {name} | {100 * right.mean():.1f} | {100 * recall:.1f} |", flush=True)


def _percent(shares: np.ndarray) -> str:
    return ", ".join(f"{100 * share:.0f}" for share in shares)


def main() -> None:
    """Print the tables."""
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="with cremad_clips, external_faces, ferplus.npz")
    parser.add_argument("--only", choices=("clips", "portraits", "streams", "strangers"))
    parser.add_argument("--pairs", type=int, default=102, help="of portraits")
    parser.add_argument("--persons", type=int, default=PERSONS, help="of each simulated scene")
    args = parser.parse_args()
    tables = {
        "clips": lambda: clips(args.data),
        "portraits": lambda: portraits(args.data, args.pairs),
        "streams": lambda: streams(args.data, args.persons),
        "strangers": lambda: strangers(args.data),
    }
    for name, table in tables.items():
        if args.only in (None, name):
            table()


if __name__ == "__main__":
    main()
