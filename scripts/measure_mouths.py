#!/usr/bin/env python3
"""How well mouth motion identifies the speaker, and the constants of :mod:`emotion_perception.fusion.mouth_motion`.

The six audio-visual CREMA-D clips go through the robot's own perception: faces with their mouths, and decisions about
the voice. Each decision is compared with the mouth of the face that spoke, and with mouths that did not: a still
picture that moves (the built-in clip), the same actor while silent, and the same actor while saying something at
another time. A logistic regression on both measures, weighted half and half, gives the log-likelihood ratio; it is
scored on clips that it was not fitted to. Then two clips are put side by side, with the sound of one, and go through
perception and fusion together: whose is the voice taken to be?

All clips are of one actor: the numbers say that it works, not how well on anybody.

    . scripts/env.sh
    python scripts/measure_mouths.py --data ../shared/data/cremad_clips
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.fusion import mouth_motion
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.media.items import MediaAudio, MediaFrame
from emotion_perception.media.opening import open_media
from emotion_perception.resources import demo_clip_path
from emotion_perception.types import VoiceObservation
from emotion_perception.visual.perception import VisualConfig, VisualPerception

SECOND = 1_000_000_000
NEARER = 1.15  # times as large, of the face that does not speak
CLIP_FPS, PAIR_FPS = 30, 15
SHIFTS = (0.3, 0.5, 0.7)  # s, delay of the other speaker
KINDS = ("still", "silent", "speaks otherwise")
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """What the robot perceives of a clip."""

    name: str
    mouth: np.ndarray  # (N, 3) time s, opening, motion
    voices: tuple[VoiceObservation, ...]

    @property
    def spoken(self) -> tuple[float, float]:
        """Beginning and end of the speech, s."""
        last = self.voices[-1]
        return last.stamp_ns / SECOND - last.duration, last.stamp_ns / SECOND


def perceive(path: Path, visual: VisualPerception, acoustic: AcousticPerception, fps: float, damage: Damage) -> Clip:
    """A clip as the robot perceives it, with at most ``fps`` frames per second, each damaged first."""
    visual.reset()
    acoustic.reset()
    rng = np.random.default_rng(0)
    mouth, voices, due = [], [], 0.0
    with open_media(path) as media:
        for item in media.read():
            if not isinstance(item, MediaFrame):
                voices += acoustic.push(item.samples, item.sample_rate, round(item.time * SECOND))
            elif item.time >= due - 0.005:
                due = item.time + 1 / fps
                for face in visual.process(damage(item.image, rng), round(item.time * SECOND))[:1]:
                    mouth.append((item.time, face.mouth_opening, face.mouth_motion))
    return Clip(path.stem, np.array(mouth), tuple(voices + acoustic.flush()))


def others(clip: Clip, clips: list[Clip], still: Clip) -> Iterator[tuple[str, np.ndarray]]:
    """Mouths that do not speak during this clip's speech: kind, and ``(N, 3)`` on the clip's time."""
    first, last = clip.spoken
    for start in (0.5, 4.0, 8.0):
        yield "still", still.mouth - [start - first, 0, 0]
    for other in clips:
        begins, ends = other.spoken
        time = other.mouth[:, 0]
        step = float(np.median(np.diff(time)))
        silent = other.mouth[(time > ends) | (time < begins - 0.1)]  # lips part before the sound
        silent = silent[~np.isnan(silent[:, 2])]
        if len(silent) * step > 0.15:
            yield "silent", _again(np.concatenate((silent, silent[::-1])), first, last, step)
        saying = other.mouth[(time >= begins) & (time <= ends)]
        for shift in SHIFTS:
            rolled = np.roll(saying, -round(shift / step), axis=0)
            yield "speaks otherwise", _again(rolled, first, last, step)


def _again(mouth: np.ndarray, first: float, last: float, step: float) -> np.ndarray:
    """Over and over, from a little before the speech to a little after it."""
    time = np.arange(first - 0.2, last + 0.2, step)
    rows = mouth[np.arange(len(time)) % len(mouth)]
    return np.column_stack((time, rows[:, 1:]))


def measured(mouth: np.ndarray, voice: VoiceObservation) -> tuple[float, float] | None:
    """ln(motion + still) and the correlation of opening and loudness, as the fusion takes them; None: too little."""
    here = mouth - [voice.stamp_ns / SECOND - voice.duration, 0, 0]
    samples = mouth_motion.MouthSamples.from_tables([here])
    ((motion, correlation),) = mouth_motion.mouth_measures(samples, voice.duration, voice.level_db)
    return None if np.isnan(motion) else (float(np.log(motion + mouth_motion.STILL_MOTION)), correlation)


def table(clips: list[Clip], still: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Measures ``(N, 2)``, kinds, clips, and for the same voice which row is its speaker's ``(N,)``."""
    rows, kinds, names, own = [], [], [], []
    for clip in clips:
        for voice in clip.voices:
            true = measured(clip.mouth, voice)
            if true is None:
                continue
            speaks = len(rows)
            for kind, mouth in (("speaks", clip.mouth), *others(clip, clips, still)):
                found = measured(mouth, voice)
                if found is not None:
                    rows.append(found)
                    kinds.append(kind)
                    names.append(clip.name)
                    own.append(speaks)
    return np.array(rows), np.array(kinds), np.array(names), np.array(own)


def weights(kinds: np.ndarray) -> np.ndarray:
    """Half for the speakers, the other half for the three kinds alike."""
    shares = {"speaks": 0.5, **dict.fromkeys(KINDS, 0.5 / len(KINDS))}
    return np.array([shares[kind] / (kinds == kind).sum() for kind in kinds]) * len(kinds)


def fit(x: np.ndarray, kinds: np.ndarray) -> LogisticRegression:
    """The regression; its decision is the log-likelihood ratio, as both sides weigh the same."""
    return LogisticRegression(C=1.0).fit(x, kinds == "speaks", sample_weight=weights(kinds))


def present_score(x: np.ndarray) -> np.ndarray:
    """What the fusion makes of the measures."""
    ratio = mouth_motion.MOTION_SLOPE * x[:, 0] + mouth_motion.CORRELATION_SLOPE * x[:, 1] + mouth_motion.OFFSET
    return np.clip(ratio, -mouth_motion.MAX_RATIO, mouth_motion.MAX_RATIO)


def report(title: str, x: np.ndarray, kinds: np.ndarray, names: np.ndarray, own: np.ndarray) -> None:
    """A row: how often the speaker's mouth scores higher than another's, by what the other does; and the fit."""
    cells = []
    for how in ("held out", "as set"):
        scores = present_score(x)
        if how == "held out":
            for name in np.unique(names):
                held = names == name
                scores[held] = fit(x[~held], kinds[~held]).decision_function(x[held])
        for kind in KINDS:
            mine = kinds == kind
            cells.append(f"{(scores[own[mine]] > scores[mine]).mean():.3f}")
        right = kinds == "speaks"
        cells.append(f"{np.average(np.log1p(np.exp(-np.where(right, 1, -1) * scores)), weights=weights(kinds)):.3f}")
    found = fit(x, kinds)
    (motion, together), (base,) = found.coef_[0], found.intercept_
    motions = np.exp(x[:, 0]) - mouth_motion.STILL_MOTION
    medians = " ".join(f"{np.median(motions[kinds == kind]):.2f}" for kind in ("speaks", *KINDS))
    print(f"| {title} | {' | '.join(cells)} | {motion:.1f} {together:.1f} {base:.1f} | {medians} |", flush=True)


def motion_in_time(clips: list[Clip]) -> None:
    """Speech from silence by the motion alone, per frame and over 0.3 s."""
    motion, smooth, spoken = [], [], []
    for clip in clips:
        begins, ends = clip.spoken
        time, _, own = clip.mouth[~np.isnan(clip.mouth[:, 2])].T
        near = np.abs(time - time[:, np.newaxis]) <= 0.15
        motion.append(own)
        smooth.append(near @ own / near.sum(1))
        spoken.append((time > begins + 0.1) & (time < ends - 0.1))  # without what is kept around the speech
    y = np.concatenate(spoken)
    print(
        f"\nMotion alone, speech from silence, area under the curve: {roc_auc_score(y, np.concatenate(motion)):.2f} a "
        f"frame, {roc_auc_score(y, np.concatenate(smooth)):.2f} over 0.3 s ({len(y)} frames)"
    )


def side_by_side(paths: list[Path], visual: VisualPerception, acoustic: AcousticPerception) -> None:
    """Whose the voice is taken to be, where one of two people speaks, and the other, who does not, is nearer."""
    pictures, sounds = [], []
    for path in paths:
        with open_media(path) as media:
            items = list(media.read())
        pictures.append([item.image for item in items if isinstance(item, MediaFrame)])
        sounds.append([item for item in items if not isinstance(item, MediaFrame)])
    print("\n| two faces, the nearer one | decisions | right, with mouths | without | probability of the speaker |")
    print("|---|---|---|---|---|")
    for name in ("is a photograph", "is silent", "speaks 0.5 s later", "speaks 0.5 s earlier"):
        right, plain, chances = [], [], []
        for i, speaks in enumerate(pictures):
            for step in (1, 2):
                other = _other(pictures[(i + step) % len(pictures)], name, len(speaks))
                on_the_right = step == 2
                pair = [
                    np.hstack((nearer(b), a) if on_the_right else (a, nearer(b)))
                    for a, b in zip(speaks, other, strict=True)
                ]
                for owner, chance, without in owners(pair, sounds[i], visual, acoustic, on_the_right):
                    right.append(owner)
                    chances.append(chance)
                    plain.append(without)
        print(
            f"| {name} | {len(right)} | {100 * np.mean(right):.0f} % | {100 * np.mean(plain):.0f} % "
            f"| {np.mean(chances):.2f} |",
            flush=True,
        )


def nearer(image: np.ndarray) -> np.ndarray:
    """The centre of an image, enlarged to its size."""
    height, width = image.shape[:2]
    down, right = round(height * (1 - 1 / NEARER) / 2), round(width * (1 - 1 / NEARER) / 2)
    return cv2.resize(image[down : height - down, right : width - right], (width, height))


def _other(images: list[np.ndarray], how: str, count: int) -> list[np.ndarray]:
    if how == "is a photograph":
        return [images[5]] * count
    if how == "is silent":  # the first 0.3 s, to and fro
        images = images[1:10] + images[9:0:-1]
        return [images[k % len(images)] for k in range(count)]
    shift = -15 if how.endswith("later") else 15
    return [images[(k + shift) % len(images)] for k in range(count)]


def owners(
    pair: list[np.ndarray],
    sound: Sequence[MediaAudio],
    visual: VisualPerception,
    acoustic: AcousticPerception,
    speaker_is_right: bool,
) -> Iterator[tuple[bool, float, bool]]:
    """At each decision: whether the voice went to the speaker, its probability, and the same without mouths."""
    visual.reset()
    acoustic.reset()
    ways = [EmotionFusion(FusionConfig(mouth_weight=weight)) for weight in (1.0, 0.0)]
    middle, shown = pair[0].shape[1] / 2, 0
    for chunk in (*sound, None):
        now = chunk.time + len(chunk.samples) / chunk.sample_rate if chunk else np.inf
        while shown < len(pair) and shown / CLIP_FPS <= now:
            stamp = round(shown / CLIP_FPS * SECOND)
            faces = visual.process(pair[shown], stamp)
            shown += CLIP_FPS // PAIR_FPS
            for way in ways:
                way.add_faces(stamp, faces)
        heard = (
            acoustic.push(chunk.samples, chunk.sample_rate, round(chunk.time * SECOND)) if chunk else acoustic.flush()
        )
        for voice in heard:
            here = {face.face_id: (face.box.x + face.box.width / 2 > middle) == speaker_is_right for face in faces}
            found = []
            for way in ways:
                way.add_voice(voice)
                states = [state for state in way.states(voice.stamp_ns) if state.voice_id]
                found.append(bool(states) and here.get(states[0].face_id, False))
            (chances,) = ways[0].speakers.values()
            yield found[0], sum(p for face_id, p in chances.items() if here.get(face_id)), found[1]


def _shrunk(share: float) -> Damage:
    return lambda image, _: cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def _packed(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 25))[1], cv2.IMREAD_COLOR)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with CREMA-D's audio-visual clips (.flv)")
    paths = sorted(parser.parse_args().data.glob("*.flv"))
    visual, acoustic = VisualPerception(VisualConfig(id_seed=0)), AcousticPerception(AcousticConfig())
    conditions: dict[str, tuple[float, Damage]] = {
        "as recorded": (30.0, lambda image, _: image),
        "15 frames per second": (15.0, lambda image, _: image),
        "10 frames per second": (10.0, lambda image, _: image),
        "half the size (face 60 px)": (30.0, _shrunk(0.5)),
        "a quarter (30 px)": (30.0, _shrunk(0.25)),
        "noise of 8 grey levels": (30.0, _noisy),
        "JPEG of quality 25": (30.0, _packed),
    }
    print("Share of other mouths that say less than the speaker's, log loss; fitted to other clips, and as it is set")
    print(f"| | {' | '.join((*KINDS, 'log loss') * 2)} | fitted | median motion |")
    print("|---" * 11 + "|")
    everything = []
    for name, (fps, damage) in conditions.items():
        clips = [perceive(path, visual, acoustic, fps, damage) for path in paths]
        still = perceive(demo_clip_path(), visual, acoustic, fps, damage)
        if not everything:
            first = clips
        everything.append(table(clips, still))
        report(name, *everything[-1])
    base, parts = 0, []
    for x, kinds, names, own in everything:
        parts.append((x, kinds, names, own + base))
        base += len(x)
    report("all", *(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    motion_in_time(first)
    side_by_side(paths, visual, acoustic)


if __name__ == "__main__":
    main()
