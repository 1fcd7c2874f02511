"""The place of recordings, learnt in a pass before the analysis: files can be read twice, a microphone cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from emotion_perception.acoustic.audio_tracks import same_form
from emotion_perception.acoustic.perception import AcousticPerception
from emotion_perception.acoustic.ring_buffer import SAMPLE_RATE, resample
from emotion_perception.emotions import EMOTIONS
from emotion_perception.media.source import StoredMedia

ENOUGH = 20  # utterances, about a minute of speech; with fewer, one mood cannot be distinguished from the place
LEARNT_S = 600.0  # s of each recording that are used
CHUNK_S = 30.0  # s that are converted at a time


def learn_place(perception: AcousticPerception, recordings: Iterable[StoredMedia]) -> int:
    """Adapt ``perception`` to the place of recordings, and to nothing that it hears later.

    Args:
        perception: its setting ``place_adaptation`` states how much of the shift is removed.
        recordings: of one place; their first ten minutes are used.

    Returns:
        The number of utterances found. With fewer than :data:`ENOUGH`, nothing is adapted.

    Raises:
        MediaError: a file can no longer be opened.
    """
    place = perception.place
    place.learning = False
    place.reset()
    logits = [np.zeros((0, len(EMOTIONS)))]
    logits += [perception.utterance_logits(sound, SAMPLE_RATE) for media in recordings if len(sound := _sound(media))]
    found = np.concatenate(logits)
    if len(found) >= ENOUGH:
        place.fit(found)
    return len(found)


def _sound(media: StoredMedia) -> np.ndarray:
    """``(T,)`` float32 at 16 kHz: the beginning of a recording's sound, up to a change of its rate or channels."""
    parts = list(_chunks(media)) if media.has_audio else []
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _chunks(media: StoredMedia) -> Iterator[np.ndarray]:
    blocks: list[np.ndarray] = []
    first = None
    waiting = 0
    for block in media.sound(0.0):
        first = first or block
        if block.time > first.time + LEARNT_S or not same_form(block, first):
            break
        blocks.append(block.samples)
        waiting += len(block.samples)
        if waiting >= CHUNK_S * block.sample_rate:
            yield resample(np.concatenate(blocks), block.sample_rate)
            blocks, waiting = [], 0
    if first is not None and blocks:
        yield resample(np.concatenate(blocks), first.sample_rate)
