"""Audio as messages."""

from __future__ import annotations

import array

import numpy as np
from std_msgs.msg import Header

from emotion_msgs.msg import AudioChunk


def audio_to_message(samples: np.ndarray, sample_rate: int, header: Header) -> AudioChunk:
    """Samples int16 ``(T,)`` or ``(T, channels)`` as a message."""
    data = array.array("h")
    data.frombytes(np.ascontiguousarray(samples, dtype=np.int16).data.cast("B"))
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    return AudioChunk(header=header, sample_rate=sample_rate, channels=channels, samples=data)
