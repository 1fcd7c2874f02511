"""Video and audio files as a stream of frames and audio blocks in the order of media time.

Times are seconds from the start of the earlier of the two streams, so a stream that begins later keeps its offset, and
sound and images stay synchronised.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from emotion_perception.media.decoding import (
    DuePackets,
    audio_streams,
    decode,
    decode_from,
    frame_rate,
    frame_thumbnail,
    frame_to_bgr,
    frame_to_samples,
    open_container,
    pick_video,
    pixel_aspect_ratio,
)
from emotion_perception.media.formats import checked_path
from emotion_perception.media.items import LazyFrame, MediaAudio, MediaError, MediaFrame, MediaItem
from emotion_perception.media.source import StoredMedia, interval_number
from emotion_perception.messages.samples import Downmix, to_float, to_int16

MAX_AUDIO_BLOCK_S = 0.032  # longer codec frames are cut, so that a live consumer gets blocks like a microphone's
AUDIO_JITTER_S = 0.02  # stamps this close to the sample count are rounding (FLV counts milliseconds), not gaps
LEVEL_S = 30.0  # of each of several audio tracks, in which their levels are compared
SILENCE = 1e-4  # root mean square, 0..1; digital silence with dither is below
MAX_GAP_S = 600.0  # longest pause in a stream; a larger step of the stamps is damage
# At this many frames per interval, B frames are skipped; the frame that is due may then be the next one.
FRAMES_TO_SKIP = 4


class MediaFile(StoredMedia):
    """A video or audio file.

    Args:
        path: of the file.
        audio_track: number of the audio track, from 1; 0: that which a player would choose, or, if that is silent at
            its beginning, the loudest.

    Raises:
        MediaError: nothing in it can be decoded, or there is no such track.
    """

    def __init__(self, path: Path, audio_track: int = 0) -> None:
        super().__init__(path)
        self._origin = 0.0  # s on the container's clock that is media time 0
        self._pixel_aspect = 1.0
        with open_container(path) as container:
            self.audio_tracks = len(audio_streams(container))
        if audio_track > self.audio_tracks:
            raise MediaError(f"{path}: no audio track {audio_track}, it has {self.audio_tracks}")
        self.audio_track = audio_track or self._audible_track()
        self._probe()

    def _read(self) -> Generator[MediaItem, None, None]:
        streams: list[Generator[MediaItem, None, None]] = []
        if self.has_video:
            streams.append(self._images())
        if self.has_audio:
            streams.append(self.sound())
        # Each stream has its own container, so at most one item of each is held, however the file is interleaved.
        try:
            yield from heapq.merge(*streams, key=lambda item: item.time)
        finally:
            for stream in streams:
                stream.close()

    def _probe(self) -> None:
        """Find the streams and decode the first frame of each, so that `has_video` and `has_audio` are sure."""
        first: dict[str, float] = {}
        for kind in ("video", "audio"):
            with open_container(self.path) as container:
                stream = pick_video(container) if kind == "video" else self._audio_stream(container)
                if stream is None:
                    continue
                if container.duration:
                    self.duration = container.duration / av.time_base
                self.created = str(container.metadata.get("creation_time", ""))
                frame = next(decode(container, stream, self._count_error), None)
                if frame is None:
                    continue
                first[kind] = frame.time if frame.pts is not None and frame.time is not None else math.nan
                if kind == "video":
                    self.has_video = True
                    self.fps = frame_rate(stream)
                    self._pixel_aspect = pixel_aspect_ratio(stream)
                    self.height, self.width = frame_to_bgr(frame, self._pixel_aspect).shape[:2]
                else:
                    self.has_audio = True
                    self.sample_rate, self.channels = frame.sample_rate, len(frame.layout.channels)
        if not first:
            raise MediaError(f"{self.path}: no video or audio in it that can be decoded")
        known = [time for time in first.values() if not math.isnan(time)]
        self._origin = min(known, default=0.0)
        self.seekable = self.duration is not None and len(known) == len(first)
        self.errors = self.repaired = 0  # those found here are counted again by read()

    def _audio_stream(self, container: Any) -> Any:
        streams = audio_streams(container)
        return streams[self.audio_track - 1] if self.audio_track else None

    def _audible_track(self) -> int:
        """The track that a player would choose, or the loudest if that begins in silence; 0 without sound."""
        if self.audio_tracks <= 1:
            return self.audio_tracks
        with open_container(self.path) as container:
            default = [bool(s.disposition & av.stream.Disposition.default) for s in audio_streams(container)]
        choice = 1 + (default.index(True) if True in default else 0)
        levels = [self._level(track) for track in range(1, self.audio_tracks + 1)]
        return choice if levels[choice - 1] > SILENCE else 1 + int(np.argmax(levels))

    def _level(self, track: int) -> float:
        """Root mean square, 0..1, of the loudest channel in the first `LEVEL_S` of a track."""
        self.audio_track = track
        blocks = [b.samples for b in itertools.takewhile(lambda b: b.time < LEVEL_S, self.sound())]
        widths = {block.shape[1] for block in blocks}
        if len(widths) != 1:
            return 0.0
        return float(np.sqrt(np.square(np.concatenate(blocks) / 32768.0).mean(axis=0).max()))

    def _count_error(self) -> None:
        self.errors += 1

    def _is_damaged(self, time: float, last: float) -> bool:
        """Whether a stamp is far past the stated end or the stamp before; used as it is, it would halt the playback."""
        return (self.duration is not None and time > self.duration + 10.0) or time > last + MAX_GAP_S

    def _images(self) -> Generator[MediaItem, None, None]:
        for frame in self.frames():
            try:
                image = frame.image()
            except (av.error.FFmpegError, ValueError, MemoryError):
                self.errors += 1
                continue
            yield MediaFrame(frame.time, image)

    def frames(self, start: float = 0.0, interval: float = 0.0) -> Generator[LazyFrame, None, None]:
        """See :meth:`StoredMedia.frames`."""
        with open_container(self.path) as container:
            stream = pick_video(container)
            if stream is None:
                return
            period = 1 / self.fps
            last: float | None = None
            in_row = 0  # consecutive stamps that were repaired
            slot = -1  # interval of the newest frame that was due
            for frame in self._decoded(container, stream, start, interval):
                time = math.nan if frame.pts is None else float(frame.time) - self._origin
                if last is None:
                    last = -period if start == 0 or math.isnan(time) else time - period
                if time > last and not self._is_damaged(time, last):
                    in_row = 0
                else:
                    # After one repeated stamp, half a frame leaves room for the next; several are counted by the rate.
                    time = last + (period / 2 if in_row == 0 and not math.isnan(time) else period)
                    in_row += 1
                    self.repaired += 1
                last = time
                if time < start:
                    continue
                due = interval <= 0 or interval_number(time, interval) > slot
                if due and interval > 0:
                    slot = interval_number(time, interval)
                yield LazyFrame(
                    time, due, partial(frame_to_bgr, frame, self._pixel_aspect), partial(frame_thumbnail, frame)
                )

    def _decoded(self, container: Any, stream: Any, start: float, interval: float) -> Iterator[Any]:
        """Frames from the last one before ``start`` on; fewer if that suffices for the interval."""
        wanted = None
        if interval > 0 and stream.codec_context.codec.intra_only:
            wanted = partial(DuePackets, self._origin, interval)
        elif interval * self.fps >= FRAMES_TO_SKIP:
            stream.codec_context.skip_frame = "NONREF"
        return decode_from(container, stream, self._origin + start, self._origin, self._count_error, wanted)

    def sound(self, start: float = 0.0) -> Generator[MediaAudio, None, None]:
        """See :meth:`StoredMedia.sound`."""
        with open_container(self.path) as container:
            stream = self._audio_stream(container)
            if stream is None:
                return
            clock: float | None = None  # time of the next sample, by count
            for frame in decode_from(container, stream, self._origin + start, self._origin, self._count_error):
                try:
                    samples = to_int16(frame_to_samples(frame))
                except (av.error.FFmpegError, ValueError, MemoryError):
                    self.errors += 1
                    continue
                rate = frame.sample_rate
                time = math.nan if frame.pts is None else float(frame.time) - self._origin
                if clock is None:
                    clock = 0.0 if math.isnan(time) or self._is_damaged(time, start) else time
                elif math.isnan(time) or self._is_damaged(time, clock) or time < clock - 1.0:
                    self.repaired += 1
                elif time > clock + AUDIO_JITTER_S:
                    clock = time  # samples are missing: the gap keeps the rest synchronised
                elif time < clock - AUDIO_JITTER_S:
                    samples = samples[round((clock - time) * rate) :]  # already yielded
                    self.repaired += 1
                step = max(1, int(rate * MAX_AUDIO_BLOCK_S))
                pieces = max(1, math.ceil(len(samples) / step))
                for block in np.array_split(samples, pieces):
                    if not len(block):
                        continue
                    if clock + len(block) / rate > start:
                        yield MediaAudio(clock, np.ascontiguousarray(block), rate)
                    clock += len(block) / rate


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """All sound of a file as ``((T,) float32 in -1..1, sample rate in Hz)``, channels averaged (:class:`Downmix`).

    Reading ends at a damaged end, or where the sample rate changes.

    Raises:
        MediaError: the file cannot be opened or has no sound that can be decoded.
    """
    file = checked_path(path)
    parts: list[np.ndarray] = []
    rate = 0
    with open_container(file) as container:
        downmix = Downmix()
        for stream in audio_streams(container)[:1]:
            for frame in decode(container, stream):
                rate = rate or frame.sample_rate
                if frame.sample_rate != rate:
                    break
                parts.append(downmix(np.clip(np.nan_to_num(to_float(frame_to_samples(frame))), -1.0, 1.0)))
    if not parts:
        raise MediaError(f"{file}: no audio in it that can be decoded")
    return np.concatenate(parts), rate
