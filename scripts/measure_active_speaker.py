#!/usr/bin/env python3
"""How often active-speaker detection is right, on scenes that are composed of recorded faces and voices.

Every face is perceived once, as the robot perceives it, from the audio-visual CREMA-D clips (also damaged or with a
painted mask), and from studio portraits in front of a camera that moves a little. Scenes combine these observations:
two people of whom one is heard, people who listen to a voice from out of view, and one person whose mouth is seen
badly.
Each decision about a voice is one case: is the most probable speaker the true one?

``--clips`` adds audio-visual clips of other people, one visible speaker in each.

    . scripts/env.sh
    python scripts/measure_active_speaker.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.emotions import ANGRY
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media
from emotion_perception.types import SECOND, Box, EmotionState, FaceObservation, VoiceObservation
from emotion_perception.visual.perception import VisualConfig, VisualPerception

FPS = 15.0
NEARER = 1.15  # times as large, of the face that does not speak
APART = 0.5  # s between the voices of two people who both speak
PORTRAITS, PORTRAIT_S = 8, 6.0
FOCAL, CENTRE, FROM_THE_SIDE = 600.0, 320.0, 1.6  # px, px, rad; camera and direction of the voice from out of view
Image = np.ndarray
Damage = Callable[[Image, np.random.Generator], Image]


@dataclass(frozen=True)
class Clip:
    """What the robot perceives of a clip, or of a portrait: then there are no voices."""

    name: str
    faces: tuple[tuple[float, FaceObservation], ...]  # time, s
    voices: tuple[VoiceObservation, ...]

    @property
    def begins(self) -> float:
        """Beginning of the first utterance, s."""
        return self.voices[0].stamp_ns / SECOND - self.voices[0].duration

    @property
    def silent(self) -> list[FaceObservation]:
        """The face before the speech; lips part a little before the sound."""
        return [face for time, face in self.faces if time < self.begins - 0.1 and not math.isnan(face.mouth_motion)]

    def listening(self) -> Clip:
        """The same person without speaking: the frames before the speech, to and fro, for 30 s."""
        cycle = self.silent + self.silent[::-1]
        faces = tuple((step / FPS, cycle[step % len(cycle)]) for step in range(round(30 * FPS)))
        return Clip(self.name, faces, ())

    def shifted(self, delay: float) -> Clip:
        """Later by ``delay`` s; listening before and after."""
        listening = [face for _, face in self.listening().faces]
        own = [(time + delay, face) for time, face in self.faces if not math.isnan(face.mouth_motion)]
        first, last = own[0][0], own[-1][0]
        before = [(step / FPS, listening[step]) for step in range(max(0, math.ceil(first * FPS)))]
        after = [(last + (step + 1) / FPS, listening[step]) for step in range(60)]
        return Clip(self.name, (*before, *own, *after), ())


@dataclass(frozen=True)
class Scene:
    """Faces by id, a voice, and whose it is ("": nobody's in view)."""

    faces: dict[str, Clip]
    voices: Sequence[VoiceObservation]
    speaker: str
    nearer: str = ""
    direction: float = math.nan  # rad, of the voice


# --- perception


def perceive(
    path: Path, visual: VisualPerception, acoustic: AcousticPerception, fps: float = FPS, damage: Damage | None = None
) -> Clip:
    """A clip with at most ``fps`` frames per second, each damaged first."""
    visual.reset()
    acoustic.reset()
    rng = np.random.default_rng(0)
    faces, voices, due = [], [], 0.0
    with open_media(path) as media:
        for item in media.read():
            if not isinstance(item, MediaFrame):
                voices += acoustic.push(item.samples, item.sample_rate, round(item.time * SECOND))
            elif item.time >= due - 0.005:
                due = item.time + 1 / fps
                image = damage(item.image, rng) if damage else item.image
                faces += [(item.time, face) for face in visual.process(image, round(item.time * SECOND))[:1]]
    return Clip(path.stem, tuple(faces), tuple(voices + acoustic.flush()))


def portrait(path: Path, visual: VisualPerception, seed: int) -> Clip:
    """A portrait in front of a camera that moves slowly."""
    visual.reset()
    image, rng = cv2.imread(str(path)), np.random.default_rng(seed)
    height, width = image.shape[:2]
    phases, faces = rng.uniform(0, 2 * math.pi, 3), []
    for step in range(round(PORTRAIT_S * FPS)):
        right, down, turn = np.sin(phases + np.array([2.1, 1.3, 0.9]) * step / FPS) * [8.0, 5.0, 3.0]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
        matrix[:, 2] += right, down
        moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        noisy = (moved + rng.normal(0, 2, moved.shape)).clip(0, 255).astype(np.uint8)
        faces += [(step / FPS, face) for face in visual.process(noisy, round(step / FPS * SECOND))[:1]]
    return Clip(path.stem, tuple(faces), ())


def shrunk(share: float) -> Damage:
    """Smaller images."""
    return lambda image, _: cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def noisy(image: Image, rng: np.random.Generator) -> Image:
    """Sensor noise of 8 grey levels."""
    return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def packed(image: Image, _: np.random.Generator) -> Image:
    """JPEG of quality 25."""
    return cv2.imdecode(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 25))[1], cv2.IMREAD_COLOR)


class Mask:
    """Paints a medical mask over the lower half of the largest face; it follows the nose, not the jaw."""

    def __init__(self, visual: VisualPerception, colour: tuple[int, int, int]) -> None:
        self._detector, self._colour = visual.detector, colour

    def __call__(self, image: Image, _: np.random.Generator) -> Image:
        """The image with the mask."""
        found = self._detector.detect(image)
        if not found:
            return image
        right_eye, left_eye, nose = found[0].landmarks[:3]
        across = left_eye - right_eye
        down = np.array([-across[1], across[0]])
        corners = [(-0.95, -0.1), (0.95, -0.1), (0.8, 0.8), (0.35, 1.3), (-0.35, 1.3), (-0.8, 0.8)]
        outline = np.array([nose + x * across + y * down for x, y in corners], np.int32)
        painted = cv2.fillPoly(image.copy(), [outline], self._colour)
        for fold in (0.2, 0.45, 0.7):
            start, stop = (tuple(map(int, nose + x * across + fold * down)) for x in (-0.75, 0.75))
            cv2.line(painted, start, stop, tuple(int(0.88 * value) for value in self._colour), 1)
        return cv2.GaussianBlur(painted, (3, 3), 0)


def perceive_all(data: Path, more: Sequence[Path]) -> dict[str, list[Clip]]:
    """All clips by kind."""
    visual, acoustic = VisualPerception(VisualConfig(id_seed=0)), AcousticPerception(AcousticConfig())
    paths = sorted((data / "cremad_clips").glob("*.flv"))
    kinds: dict[str, list[Clip]] = {"clips": [perceive(path, visual, acoustic) for path in paths]}
    kinds["more"] = [
        perceive(path, visual, acoustic) for folder in more for path in sorted(folder.iterdir()) if path.is_file()
    ]
    portraits = sorted((data / "external_faces" / "portraits").glob("*/*.jpg"))
    chosen = portraits[:: len(portraits) // PORTRAITS][:PORTRAITS]
    kinds["portraits"] = [portrait(path, visual, seed) for seed, path in enumerate(chosen)]
    voices = [*sorted((data / "cremad_clips").glob("*.mp3")), *sorted(data.glob("ravdess_speech/Actor_2[1-4]/*05-02*"))]
    kinds["voices"] = [perceive(path, visual, acoustic) for path in voices]
    damages: dict[str, tuple[float, Damage | None]] = {
        "30 frames/s": (30.0, None),
        "10 frames/s": (10.0, None),
        "5 frames/s": (5.0, None),
        "face 60 px": (FPS, shrunk(0.5)),
        "face 30 px": (FPS, shrunk(0.25)),
        "face 20 px": (FPS, shrunk(0.17)),
        "noise of 8 grey levels": (FPS, noisy),
        "JPEG of quality 25": (FPS, packed),
        "white mask": (FPS, Mask(visual, (235, 235, 235))),
        "blue mask": (FPS, Mask(visual, (200, 170, 110))),
        "black mask": (FPS, Mask(visual, (30, 30, 30))),
    }
    for name, (fps, damage) in damages.items():
        kinds[name] = [perceive(path, visual, acoustic, fps, damage) for path in paths]
    return kinds


# --- scenes


def placed(face: FaceObservation, face_id: str, column: int, scale: float) -> FaceObservation:
    """A face as part of the scene: next to the others, and nearer or farther."""
    box = face.box
    moved = Box(box.x + 700 * column, box.y, box.width * scale, box.height * scale)
    return replace(face, face_id=face_id, box=moved)


def decisions(scene: Scene) -> Iterator[tuple[VoiceObservation, dict[str, float], EmotionState]]:
    """Each voice decision with the probability of each speaker, and the state of the conversation partner."""
    fusion = EmotionFusion()
    if not math.isnan(scene.direction):
        fusion.set_camera(FOCAL, CENTRE)
    times, shown = [time for time, _ in next(iter(scene.faces.values())).faces], 0
    at = {face_id: np.array([time for time, _ in clip.faces]) for face_id, clip in scene.faces.items()}
    for voice in sorted(scene.voices, key=lambda voice: (voice.stamp_ns, voice.final)):
        while shown < len(times) and times[shown] * SECOND <= voice.stamp_ns:
            faces = []
            for column, (face_id, clip) in enumerate(scene.faces.items()):
                newest = int(np.searchsorted(at[face_id], times[shown] + 1e-6)) - 1
                if newest >= 0 and times[shown] - at[face_id][newest] < 1 / FPS + 1e-3:
                    scale = NEARER if face_id == scene.nearer else 1.0
                    faces.append(placed(clip.faces[newest][1], face_id, column, scale))
            fusion.add_faces(round(times[shown] * SECOND), faces)
            shown += 1
        if not math.isnan(scene.direction):
            fusion.add_direction(voice.stamp_ns, scene.direction)
        fusion.add_voice(voice)
        state = fusion.state(voice.stamp_ns)
        if voice.voice_id in fusion.speakers:
            yield voice, dict(fusion.speakers[voice.voice_id]), state


def later(voices: Sequence[VoiceObservation], delay: float) -> list[VoiceObservation]:
    """Voice decisions shifted in time."""
    return [replace(voice, stamp_ns=voice.stamp_ns + round(delay * SECOND)) for voice in voices]


def pairs(clips: Sequence[Clip], how: str) -> Iterator[Scene]:
    """Two people of whom one is heard; the other is nearer, and listens, or speaks at another time."""
    for i, speaks in enumerate(clips):
        for other in [clip for clip in (*clips[i + 1 :], *clips[:i]) if len(clip.voices)][:6]:
            if how == "listens":
                second = other.listening()
            else:
                second = other.shifted(speaks.begins - other.begins + (APART if how == "later" else -APART))
            yield Scene({"speaker": speaks, "other": second}, speaks.voices, "speaker", "other")


def next_to_portraits(clips: Sequence[Clip], portraits: Sequence[Clip]) -> Iterator[Scene]:
    """A speaker next to a nearer portrait."""
    for speaks in clips:
        for still in portraits:
            yield Scene({"speaker": speaks, "other": still}, speaks.voices, "speaker", "other")


def out_of_view(listeners: Sequence[Clip], voices: Sequence[Clip], direction: float = math.nan) -> Iterator[Scene]:
    """A listener, and a voice from out of view that begins after two seconds."""
    for listener in listeners:
        for heard in voices:
            yield Scene({"listener": listener}, later(heard.voices, 2.0 - heard.begins), "", direction=direction)


def performance(listeners: Sequence[Clip], voices: Sequence[Clip]) -> Iterator[Scene]:
    """Three listeners, and three utterances one after the other from out of view."""
    for i in range(len(voices)):
        spoken, begins = [], 1.0
        for k in range(3):
            heard = voices[(i + k) % len(voices)]
            spoken += later(heard.voices, begins - heard.begins)
            begins = spoken[-1].stamp_ns / SECOND + 0.7
        chosen = [listeners[(i + k) % len(listeners)] for k in range(3)]
        yield Scene({f"listener {k}": clip for k, clip in enumerate(chosen)}, spoken, "")


def alone(clips: Sequence[Clip], direction: float = math.nan) -> Iterator[Scene]:
    """One person who speaks."""
    for clip in clips:
        yield Scene({"speaker": clip}, clip.voices, "speaker", direction=direction)


def report(name: str, scenes: Iterator[Scene]) -> None:
    """One row of the table."""
    right, final, chances, angry = [], [], [], []
    for scene in scenes:
        looks_angry = any("_ANG_" in clip.name for clip in scene.faces.values())
        for voice, probabilities, state in decisions(scene):
            found = max(probabilities, key=probabilities.__getitem__) == scene.speaker
            right.append(found)
            chances.append(probabilities.get(scene.speaker, 0.0))
            if voice.final:
                final.append(found)
            if voice.emotion.label == ANGRY and not scene.speaker and not looks_angry:
                angry.append(float(state.emotion.probabilities[ANGRY]))
    anger = f"{np.mean(angry):.2f}, {np.quantile(angry, 0.95):.2f}" if angry else ""
    share = f"{100 * np.mean(right):.0f} %" if right else "-"
    whole = f"{100 * np.mean(final):.0f} %" if final else "-"
    print(f"| {name} | {len(right)} | {share} | {whole} | {np.mean(chances):.2f} | {anger} |", flush=True)


def report_all(kinds: dict[str, list[Clip]]) -> None:
    """The table."""
    print("| scene | decisions | right | right, whole utterance | probability of the truth | anger of the listener |")
    print("|---|---|---|---|---|---|")
    portraits, voices = kinds["portraits"], [clip for clip in kinds["voices"] if clip.voices]
    for clips, whose in ((kinds["clips"], ""), ([clip for clip in kinds["more"] if clip.voices], ", other people")):
        if not clips:
            continue
        report(f"two faces, the nearer one a portrait{whose}", next_to_portraits(clips, portraits))
        quiet = [clip for clip in clips if len(clip.silent) >= 2]
        report(f"two faces, the nearer one listens{whose}", pairs(quiet, "listens"))
        report(f"two faces, the nearer one speaks 0.5 s later{whose}", pairs(quiet, "later"))
        report(f"two faces, the nearer one speaks 0.5 s earlier{whose}", pairs(quiet, "earlier"))
        report(f"one face, as recorded{whose}", alone(clips))
        listeners = [clip.listening() for clip in quiet]
        report(f"voice from out of view, one listener{whose}", out_of_view(listeners, voices))
        report(f"the same with its direction{whose}", out_of_view(listeners[:3], voices[:6], FROM_THE_SIDE))
    report("voice from out of view, a portrait", out_of_view(portraits, voices))
    report("three utterances from out of view, three listeners", performance([*portraits, *listeners], voices))
    report("one face, voice from its direction", alone(kinds["clips"], 0.1))
    for name in ("30 frames/s", "10 frames/s", "5 frames/s", "face 60 px", "face 30 px", "face 20 px",
                 "noise of 8 grey levels", "JPEG of quality 25", "white mask", "blue mask", "black mask"):  # fmt: skip
        report(f"one face, {name}", alone(kinds[name]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cremad_clips, ravdess_speech, portraits")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="folders with clips of other people")
    options = parser.parse_args()
    report_all(perceive_all(options.data, options.clips))


if __name__ == "__main__":
    main()
