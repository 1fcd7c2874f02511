"""Draws results onto an image: boxes, ids, labels, confidences, bars. No ROS.

No meaning rests on colour alone: every colour has its word next to it.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from emotion_perception.emotions import EMOTION_COLOURS, EMOTIONS
from emotion_perception.types import Box, EmotionEstimate, EmotionState, EmotionStatus, FaceObservation

Colour = tuple[int, int, int]  # BGR, 0..255

EMOTION_BGR: tuple[Colour, ...] = tuple((int(c[5:7], 16), int(c[3:5], 16), int(c[1:3], 16)) for c in EMOTION_COLOURS)
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
STATUS_TEXT = {
    EmotionStatus.NO_EVIDENCE: "no evidence",
    EmotionStatus.VISUAL_ONLY: "face only",
    EmotionStatus.ACOUSTIC_ONLY: "voice only",
    EmotionStatus.AUDIO_VISUAL: "face + voice",
}


def draw(
    image: np.ndarray,
    faces: Iterable[FaceObservation],
    state: EmotionState | None,
    scores: bool = True,
    bars: bool = True,
) -> np.ndarray:
    """A copy of ``image`` with faces and state drawn on it.

    Args:
        image: uint8 ``(H, W, 3)`` bgr or ``(H, W)`` grey; not changed.
        faces: their boxes may extend beyond the image.
        state: drawn as a line at the bottom, with bars; None: not drawn.
        scores: write confidences after the labels.
        bars: draw the state's eight probabilities as bars.

    Returns:
        uint8 ``(H, W, 3)`` bgr.
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    scale = max(0.75, min(canvas.shape[:2]) / 480)
    partner = state.face_id if state is not None else ""
    for face in faces:
        _draw_face(canvas, face, scale, face.face_id == partner, scores)
    if state is not None:
        if bars and state.status != EmotionStatus.NO_EVIDENCE:
            _draw_bars(canvas, state.emotion, scale)
        _draw_state(canvas, state, scale, scores)
    return canvas


def label_text(emotion: EmotionEstimate, scores: bool = True) -> str:
    """``happy 87 %``, or ``happy``; ``?`` for a face without an emotion estimate."""
    if emotion.confidence <= 0:
        return "?"
    return f"{emotion.name} {100 * emotion.confidence:.0f} %" if scores else emotion.name


def _draw_face(canvas: np.ndarray, face: FaceObservation, scale: float, chosen: bool, scores: bool) -> None:
    colour = EMOTION_BGR[face.emotion.label]
    left, top, right, bottom = _corners(face.box)
    thickness = max(1, round((4 if chosen else 2) * scale))
    # A dark edge keeps light colours visible on a light background.
    cv2.rectangle(canvas, (left, top), (right, bottom), _BLACK, thickness + 2)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, thickness)
    _text(canvas, f"{face.face_id}: {label_text(face.emotion, scores)}", (left, top), scale, colour)


def _draw_state(canvas: np.ndarray, state: EmotionState, scale: float, scores: bool) -> None:
    text, colour = STATUS_TEXT[state.status], _WHITE
    if state.status != EmotionStatus.NO_EVIDENCE:
        text = f"{label_text(state.emotion, scores)}  ({text})"
        colour = EMOTION_BGR[state.emotion.label]
    _text(canvas, text, (round(8 * scale), canvas.shape[0] - round(6 * scale)), 1.3 * scale, colour)


def _draw_bars(canvas: np.ndarray, emotion: EmotionEstimate, scale: float) -> None:
    """One bar per emotion in the upper left corner: its name, and its probability as length."""
    row, length = round(17 * scale), round(90 * scale)
    names = round(12 * scale) + max(cv2.getTextSize(name, _FONT, 0.55 * scale, 1)[0][0] for name in EMOTIONS)
    height, width = min(canvas.shape[0], row * len(EMOTIONS) + row // 2), min(canvas.shape[1], names + length + row)
    canvas[:height, :width] //= 2  # darker background
    for i, (name, probability) in enumerate(zip(EMOTIONS, emotion.probabilities, strict=True)):
        y = row * (i + 1)
        cv2.putText(canvas, name, (round(6 * scale), y), _FONT, 0.55 * scale, _WHITE, 1, cv2.LINE_AA)
        end = names + round(length * float(np.clip(np.nan_to_num(probability), 0, 1)))
        cv2.rectangle(canvas, (names, y - row // 2), (end, y), EMOTION_BGR[i], cv2.FILLED)


def _corners(box: Box) -> tuple[int, int, int, int]:
    """Whole pixels, limited to what OpenCV can draw."""
    values = (box.x, box.y, box.x + box.width, box.y + box.height)
    left, top, right, bottom = (int(np.clip(np.nan_to_num(value), -30000, 30000)) for value in values)
    return left, top, right, bottom


def _text(canvas: np.ndarray, text: str, corner: tuple[int, int], scale: float, colour: Colour) -> None:
    """Coloured text on black with its lower left corner at ``corner``, shifted so that it lies inside the image."""
    size = 0.6 * scale
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    x = max(0, min(corner[0], canvas.shape[1] - width))
    y = max(height + below, min(corner[1], canvas.shape[0] - 1))
    cv2.rectangle(canvas, (x, y - height - below), (x + width, y), _BLACK, cv2.FILLED)
    cv2.putText(canvas, text, (x, y - below // 2 - 1), _FONT, size, colour, 1, cv2.LINE_AA)
