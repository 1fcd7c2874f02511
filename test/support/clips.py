"""Writes media files for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 16_000  # Hz, of the sound
FPS = 30
TICKS = 30_000  # per second, of the stamps of pictures


def write_clip(
    path: Path,
    frames: list[np.ndarray] | None = None,
    samples: np.ndarray | None = None,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    pixel_format: str = "yuv420p",
    video_start: float = 0.0,
    audio_start: float = 0.0,
    rotation: int | None = None,
    display_matrix: tuple[int, ...] | None = None,
    pixel_aspect: Fraction | None = None,
    frame_times: list[float] | None = None,
    skip_audio: tuple[float, float] = (0.0, 0.0),
    fps: int = FPS,
) -> Path:
    """A file with the frames (BGR) at ``fps`` or the times given, and mono samples at RATE less a stretch of them."""
    with av.open(str(path), "w") as container:
        video = audio = None
        if frames is not None:
            video = container.add_stream(video_codec, rate=fps)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = pixel_format
            video.time_base = Fraction(1, TICKS)
            video.codec_context.time_base = Fraction(1, TICKS)
            if rotation is not None:
                video.set_display_rotation(rotation)
            if display_matrix is not None:
                video.set_display_matrix(display_matrix)
            if pixel_aspect is not None:
                video.codec_context.sample_aspect_ratio = pixel_aspect
        if samples is not None:
            audio = container.add_stream(audio_codec, rate=RATE, layout="mono")
        for index, image in enumerate(frames or []):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixel_format)
            seconds = frame_times[index] if frame_times else index / fps
            frame.pts = round((seconds + video_start) * TICKS)
            frame.time_base = Fraction(1, TICKS)
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            fifo = av.AudioFifo()
            whole = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
            whole.sample_rate, whole.pts, whole.time_base = RATE, 0, Fraction(1, RATE)
            fifo.write(whole)
            size = audio.codec_context.frame_size or 1024
            position = 0
            while (piece := fifo.read(size, partial=True)) is not None:
                piece.pts, piece.time_base = position + round(audio_start * RATE), Fraction(1, RATE)
                position += piece.samples
                if skip_audio[0] <= (position - piece.samples) / RATE < skip_audio[1]:
                    continue
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def write_tracks(path: Path, tracks: list[np.ndarray], rate: int = RATE) -> Path:
    """A Matroska file with several mono audio tracks, ``(T,)`` int16 of the same length."""
    with av.open(str(path), "w", format="matroska") as container:
        streams = [container.add_stream("flac", rate=rate, layout="mono") for _ in tracks]
        for begin in range(0, len(tracks[0]), 4096):
            for stream, samples in zip(streams, tracks, strict=True):
                frame = av.AudioFrame.from_ndarray(samples[begin : begin + 4096].reshape(1, -1), "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path
