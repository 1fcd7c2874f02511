"""The versions of a model that learns from corrections, in a folder; one of them is in use."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emotion_perception.files import MODE, write_atomically

FOLDERS = {"face": "models", "voice": "voice_models"}  # in the folder of the corrections, by kind of correction
CURRENT = "current.onnx"
FRESH = ".trained.onnx"  # trained weights before they become a version
_PARTIAL = (FRESH, ".trained.yaml", ".new.onnx", ".current")
_LOCK = ".lock"
_VERSION = re.compile(r"v(\d{4})\.onnx")


class ModelVersions:
    """A folder of models: ``v0001.onnx`` with ``v0001.json``; ``current.onnx`` is a link to one of them.

    Set visual_node's ``expression_model`` or acoustic_node's ``model`` to the link. Version 1 is the model from which
    the first training started. Each file has its model card in its metadata.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Only one process at a time trains or rolls back; files that a killed training left are removed.

        Raises:
            ValueError: another process does, or there is no folder of corrections.
        """
        if not self.folder.parent.is_dir():
            raise ValueError(f"there is no folder {self.folder.parent}")
        self.folder.mkdir(exist_ok=True)
        descriptor = os.open(self.folder / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another process is training or rolling back the model in {self.folder}") from None
            for name in _PARTIAL:
                (self.folder / name).unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)

    @property
    def link(self) -> Path:
        """The link to the version in use."""
        return self.folder / CURRENT

    @property
    def current(self) -> int | None:
        """Number of the version in use; None if there is none yet."""
        try:
            found = _VERSION.fullmatch(os.readlink(self.link))
        except OSError:
            return None
        return int(found[1]) if found else None

    def path(self, number: int) -> Path:
        """The weights of a version."""
        return self.folder / f"v{number:04}.onnx"

    def card(self, number: int) -> dict[str, Any]:
        """Origin and scores of a version.

        Raises:
            ValueError: there is no such version, or its card is damaged.
        """
        try:
            return json.loads(self.path(number).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.folder} has no version {number} with a card ({error})") from None

    def cards(self) -> list[dict[str, Any]]:
        """The cards of all versions, oldest first."""
        numbers = sorted(int(found[1]) for path in self.folder.glob("*") if (found := _VERSION.fullmatch(path.name)))
        return [self.card(number) for number in numbers]

    def add(self, weights: Path, card: dict[str, Any]) -> int:
        """Add a model as a new version and use it; returns its number."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((entry["version"] for entry in self.cards()), default=0)
        card = {"version": number, "parent": self.current, **card}
        partial = self.folder / ".new.onnx"
        shutil.copyfile(weights, partial)
        write_atomically(self.path(number).with_suffix(".json"), iter((json.dumps(card, indent=1) + "\n",)))
        os.replace(partial, self.path(number))
        self.put_in_place(number)
        return number

    def put_in_place(self, number: int) -> None:
        """Use a version; the link changes atomically.

        Raises:
            ValueError: there is no such version.
        """
        if not self.path(number).is_file():
            raise ValueError(f"{self.folder} has no version {number}")
        link = self.folder / ".current"
        link.unlink(missing_ok=True)
        link.symlink_to(self.path(number).name)
        os.replace(link, self.link)

    def roll_back(self) -> int:
        """Put the version back into place from which the current one was made; its number.

        Raises:
            ValueError: there is none.
        """
        current = self.current
        parent = None if current is None else self.card(current)["parent"]
        if parent is None:
            raise ValueError(f"{self.folder}: there is no version before {current or 'the first'}")
        self.put_in_place(parent)
        return parent
