"""What the robot may keep of conversations, as chosen on the page: a small file that both nodes read.

It matters only where ``interaction_node`` has no ``directory``. Without the file nothing is kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from emotion_perception.files import read_json, write_atomically

CHOICE_FILE = "storage.json"
CONVERSATIONS = "conversations"  # folder of the conversations, next to the file
MAX_DAYS = 3650


@dataclass(frozen=True)
class StorageChoice:
    """What is kept: numbers about conversations, or nothing.

    Raises:
        ValueError: the retention is out of range.
    """

    keep_numbers: bool = False
    retention_days: int = 90  # conversations are deleted after so many days

    def __post_init__(self) -> None:
        days = self.retention_days
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MAX_DAYS:
            raise ValueError(f"retention_days must be a whole number from 1 to {MAX_DAYS}, got {str(days)[:20]}")
        if not isinstance(self.keep_numbers, bool):
            raise ValueError(f"keep_numbers must be true or false, got {str(self.keep_numbers)[:20]}")


class ChoiceFile:
    """The file of a choice in a folder.

    Args:
        folder: made with the first choice; ``~`` is expanded.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()
        self._path = self.folder / CHOICE_FILE
        self._version: tuple[int, int] | None = None
        self._choice = StorageChoice()

    @property
    def conversations(self) -> Path:
        """Folder of the conversations if numbers are kept."""
        return self.folder / CONVERSATIONS

    def read(self) -> StorageChoice:
        """The choice; that nothing is kept if there is no file or it is damaged. Cheap if the file did not change."""
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._version:
                fields = read_json(self._path)
                self._choice = StorageChoice(fields["keep_numbers"], fields["retention_days"])
                self._version = version
        except (OSError, ValueError, KeyError, TypeError):
            self._choice, self._version = StorageChoice(), None
        return self._choice

    def write(self, choice: StorageChoice) -> None:
        """Remember a choice.

        Raises:
            OSError: the file cannot be written.
        """
        write_atomically(self._path, [json.dumps(asdict(choice)), "\n"])


def directory_in_use(directory: str, data_directory: str) -> str:
    """Folder where conversations are stored now; empty if they are not.

    Args:
        directory: of the node's parameters; it has precedence.
        data_directory: folder of the choice file; empty: the page offers no choice.
    """
    if directory or not data_directory:
        return directory
    file = ChoiceFile(data_directory)
    return str(file.conversations) if file.read().keep_numbers else ""
