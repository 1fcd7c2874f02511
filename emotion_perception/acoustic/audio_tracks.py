"""Which of several audio tracks of a film has the speech: a silent first track, music, or another microphone."""

from __future__ import annotations

import numpy as np

from emotion_perception.acoustic.ring_buffer import resample
from emotion_perception.acoustic.voice_activity import THRESHOLD, VoiceActivityDetector
from emotion_perception.media.items import MediaAudio, MediaError
from emotion_perception.media.opening import open_media
from emotion_perception.media.source import StoredMedia

SAMPLES, SAMPLE_S = 12, 5.0  # excerpts of a film, and the length of each, s
MARGIN = 0.1  # share of speech by which another track must exceed the chosen one: tracks in other languages do not


def speech_track(media: StoredMedia) -> int:
    """Number of the audio track with clearly more speech than the others, else of the one that is read.

    Args:
        media: open; it is not changed.

    Raises:
        ModelError: the voice activity detector's weights are missing.
        MediaError: the file can no longer be opened.
    """
    if media.audio_tracks < 2:
        return media.audio_track
    detector = VoiceActivityDetector()
    shares = {track: _speech_share(media, track, detector) for track in range(1, media.audio_tracks + 1)}
    best = max(shares, key=lambda track: (shares[track], -track))
    return best if shares[best] > shares[media.audio_track] + MARGIN else media.audio_track


def _speech_share(media: StoredMedia, track: int, detector: VoiceActivityDetector) -> float:
    """Share of the windows in excerpts of a track that contain a voice, 0..1."""
    try:
        with open_media(media.path, audio_track=track) as opened:
            length = max(0.0, (opened.duration or 0.0) - SAMPLE_S)
            starts = np.linspace(0, length, SAMPLES) if opened.seekable and length > SAMPLES * SAMPLE_S else [0.0]
            span = SAMPLE_S if len(starts) > 1 else SAMPLES * SAMPLE_S
            found = [_voice_probabilities(opened, float(start), span, detector) for start in starts]
    except MediaError:
        return 0.0  # a track without sound that can be decoded
    windows = np.concatenate(found)
    return float((windows >= THRESHOLD).mean()) if len(windows) else 0.0


def _voice_probabilities(media: StoredMedia, start: float, span: float, detector: VoiceActivityDetector) -> np.ndarray:
    blocks = []
    for block in media.sound(start):
        if block.time > start + span:
            break
        blocks.append(block)
    same = [b.samples for b in blocks if same_form(b, blocks[0])]
    if not same:
        return np.zeros(0, np.float32)
    return detector.probabilities(resample(np.concatenate(same), blocks[0].sample_rate))


def same_form(one: MediaAudio, other: MediaAudio) -> bool:
    """Whether two blocks have the same sample rate and number of channels, which may change within a file."""
    return one.sample_rate == other.sample_rate and one.samples.shape[1] == other.samples.shape[1]
