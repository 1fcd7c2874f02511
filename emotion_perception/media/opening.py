"""Opening any media file or recording by its path."""

from __future__ import annotations

import os
from pathlib import Path

from emotion_perception.media.bag_names import METADATA, is_storage_name, recording_name, storage_files
from emotion_perception.media.files import MediaFile
from emotion_perception.media.formats import RECORDING_SUFFIXES, checked_path, image_format
from emotion_perception.media.images import ImageFile
from emotion_perception.media.items import MediaError
from emotion_perception.media.source import StoredMedia


def open_media(path: str | Path, image_topic: str = "", audio_topic: str = "", audio_track: int = 0) -> StoredMedia:
    """Open a local video, audio or image file, or a ROS recording; use it as a context manager.

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
    if is_recording(path) or _one_recording(Path(path)):
        from emotion_perception.media.rosbag import Recording  # here: other files do not need rosbags

        return Recording(path, image_topic, audio_topic)
    if image_topic or audio_topic:
        raise MediaError(f"{path}: only a recording (.mcap, .db3, .bag, or its folder) has topics")
    file = checked_path(path)
    return ImageFile(file) if image_format(file) else MediaFile(file, audio_track)


def is_recording(path: str | Path) -> bool:
    """Whether a path is a ROS recording by its name: the folder of a rosbag2, or one of its files, or a ROS 1 bag.

    A folder without ``metadata.yaml`` is one if it contains a storage file with its own name, as ``ros2 bag record``
    writes it: ``walk/walk_0.mcap``.
    """
    path = Path(path)
    if os.path.isfile(path / METADATA):
        return True
    if not os.path.isdir(path):
        return path.suffix.lower() in RECORDING_SUFFIXES or is_storage_name(path.name)
    try:
        return any(recording_name(file) == path.name for file in storage_files(path))
    except OSError:
        return False


def _one_recording(path: Path) -> bool:
    """Whether a folder contains the storage files of a single recording."""
    try:
        names = {recording_name(file) for file in storage_files(path)}
    except OSError:
        return False
    if len(names) > 1:
        raise MediaError(
            f"{path}: {len(names)} recordings in it ({', '.join(sorted(names)[:5])} ...): give one of them, or all to "
            "emotion-archive analyse"
        )
    return bool(names)
