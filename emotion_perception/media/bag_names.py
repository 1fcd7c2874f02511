"""The files of ROS recordings by their names; without rosbags, which other files do not need."""

from __future__ import annotations

import re
from pathlib import Path

METADATA = "metadata.yaml"
ROS1_SUFFIX = ".bag"
STORAGE_SUFFIXES = (".mcap", ".db3")
COMPRESSED_SUFFIX = ".zstd"


def storage_files(folder: Path) -> list[Path]:
    """The storage files of ROS 2 recordings in a folder, in the order of their numbers; of one format, MCAP first."""
    files = [file for file in folder.iterdir() if is_storage_name(file.name)] if folder.is_dir() else []
    for suffix in STORAGE_SUFFIXES:
        if chosen := [file for file in files if suffix in file.suffixes]:
            return sorted(chosen, key=lambda file: [int(n) for n in re.findall(r"\d+", file.name)])
    return []


def is_storage_name(name: str) -> bool:
    """Whether a file is a storage file of a ROS 2 recording, by its name."""
    return Path(name.lower().removesuffix(COMPRESSED_SUFFIX)).suffix in STORAGE_SUFFIXES


def recording_name(file: Path) -> str:
    """The name of the recording that a storage file belongs to: without number and suffixes.

    Example:
        >>> recording_name(Path("walk/walk_12.mcap.zstd"))
        'walk'
    """
    return re.sub(r"_\d+$", "", file.name.partition(".")[0])
