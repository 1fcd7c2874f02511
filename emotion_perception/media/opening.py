"""Opening any media file or recording by its path."""

from __future__ import annotations

from pathlib import Path

from emotion_perception.media.files import MediaFile
from emotion_perception.media.formats import RECORDING_SUFFIXES, checked_path, image_format
from emotion_perception.media.images import ImageFile
from emotion_perception.media.items import MediaError
from emotion_perception.media.source import StoredMedia


def open_media(path: str | Path, image_topic: str = "", audio_topic: str = "", audio_track: int = 0) -> StoredMedia:
    """Open a local video, audio or image file, or a rosbag2 recording; use it as a context manager.

    Args:
        path: a file, or the folder of a recording.
        image_topic, audio_topic: topics of a recording; found by message type where empty.
        audio_track: number of a film's audio track, from 1; 0: that of a player, or the loudest if that is silent.

    Raises:
        MediaError: missing, a directory, empty, not readable, corrupt, or nothing in it can be decoded.

    Example:
        >>> from emotion_perception.resources import demo_clip_path
        >>> with open_media(demo_clip_path()) as media:
        ...     media.width, media.height, media.fps, sum(1 for item in media.read())
        (640, 480, 25.0, 300)
    """
    if is_recording(path):
        from emotion_perception.media.rosbag import Recording  # here: other files do not need rosbags

        return Recording(path, image_topic, audio_topic)
    if image_topic or audio_topic:
        raise MediaError(f"{path}: only a recording (.mcap, .db3, or its folder) has topics")
    file = checked_path(path)
    return ImageFile(file) if image_format(file) else MediaFile(file, audio_track)


def is_recording(path: str | Path) -> bool:
    """Whether a path is a rosbag2 recording: its folder, or one of its files."""
    path = Path(path)
    return path.suffix.lower() in RECORDING_SUFFIXES or (path / "metadata.yaml").is_file()
