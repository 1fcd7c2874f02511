"""The files of the conversations in a folder: found, matched to a query, removed."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from emotion_perception.interaction.history import is_conversation_id
from emotion_perception.interaction.journal import is_locked
from emotion_perception.interaction.records import JOURNAL_SUFFIX
from emotion_perception.interaction.store_records import ConversationQuery

Version = tuple[int, int]  # time of the last change in ns, size in bytes

_PART = ".part."  # prefix of a file that was not completed
_SUFFIXES = (f"{JOURNAL_SUFFIX}.damaged", JOURNAL_SUFFIX, ".csv", ".html", ".json")  # the JSON file last
_TIME = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Removed:
    """What was removed."""

    ids: tuple[str, ...]  # conversations without any file now
    files: int
    running: int  # conversations left alone, as another process is recording them
    problem: str  # why the rest was not removed; empty if all was


def json_versions(folder: Path, known: Mapping[str, Version] | None = None) -> dict[str, Version]:
    """The JSON files of a folder by the id of the conversation.

    Args:
        folder: it may not exist.
        known: versions that need not be looked up again, which takes most of the time.
    """
    versions: dict[str, Version] = {}
    try:
        entries = os.scandir(folder)
    except OSError:
        return versions
    with entries:
        for item in entries:
            name, _, suffix = item.name.rpartition(".")
            if suffix != "json" or not is_conversation_id(name):
                continue
            if known is not None and name in known:
                versions[name] = known[name]
                continue
            try:
                status = item.stat()
            except OSError:
                continue  # removed in the meantime
            versions[name] = (status.st_mtime_ns, status.st_size)
    return versions


def files_by_id(folder: Path) -> dict[str, list[Path]]:
    """All files of conversations by id, each list in the order in which the files must be removed."""
    found: dict[str, list[Path]] = {}
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        plain = name.removeprefix(_PART)
        interaction_id = plain.removesuffix(_suffix(plain))
        if interaction_id != plain and is_conversation_id(interaction_id):
            found.setdefault(interaction_id, []).append(folder / name)
    for paths in found.values():
        paths.sort(key=lambda path: (not path.name.startswith(_PART), _SUFFIXES.index(_suffix(path.name))))
    return found


def _suffix(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), "")


def matches_unread(query: ConversationQuery, interaction_id: str, paths: Sequence[Path]) -> bool:
    """Whether a query for deletion covers a conversation that is not indexed: unfinished, damaged, or half deleted.

    Its time is that in its id, else that of its newest file. It is of a person if a file contains the person's id or
    name. Other conditions cannot be checked and match nothing.
    """
    if query.interaction_id:
        return query.interaction_id == interaction_id
    if query.describes_content:
        return False
    began = _time(interaction_id, paths)
    if query.start is not None and began < query.start.timestamp():
        return False
    if query.end is not None and began >= query.end.timestamp():
        return False
    return not query.person or any(_mentions(path, query.person) for path in paths)


def remove(conversations: Mapping[str, Sequence[Path]]) -> Removed:
    """Remove files, those of one conversation after the other; stops at the first that cannot be removed."""
    ids: list[str] = []
    files = running = 0
    problem = ""
    for interaction_id, paths in conversations.items():
        try:
            if any(path.name.endswith(JOURNAL_SUFFIX) and is_locked(path) for path in paths):
                running += 1
                continue
            for path in paths:
                path.unlink(missing_ok=True)
                files += 1
        except FileNotFoundError:
            running += 1  # its journal has just become its report
            continue
        except OSError as error:
            problem = f"{path}: {error.strerror or error}"
            break
        ids.append(interaction_id)
    return Removed(tuple(ids), files, running, problem)


def _time(interaction_id: str, paths: Sequence[Path]) -> float:
    if found := _TIME.match(interaction_id):
        try:
            return datetime.strptime(found[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            pass
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def _mentions(path: Path, person: str) -> bool:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return False
    forms = {person, html.escape(person), json.dumps(person)[1:-1]}
    return any(re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) for form in forms)
