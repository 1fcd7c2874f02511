"""The files of rules and alerts in the folder of the conversations.

``alerts.jsonl`` has one line per alert, newest last. It is what the page shows, and it keeps a restarted node from
reporting the same period twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emotion_perception.files import MODE, make_private_folder, parse_json, write_atomically
from emotion_perception.interaction.rules import (
    MAX_TEXT,
    RULES_FILE,
    Alert,
    Rule,
    RuleError,
    parse_rules,
    rules_text,
)

ALERTS_FILE = "alerts.jsonl"
MAX_ALERTS = 1000  # alerts read and kept
MAX_FILE = 1_000_000  # bytes; a larger file is cut to the newest MAX_ALERTS


def read_rules(folder: Path) -> tuple[Rule, ...]:
    """The rules of a folder; none if it has no rules file.

    Raises:
        RuleError: the file cannot be read or used.
    """
    path = folder / RULES_FILE
    try:
        with path.open(encoding="utf-8") as file:
            return parse_rules(file.read(MAX_TEXT + 1))
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError:
        raise RuleError(f"{path} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror or error}") from None
    except RuleError as error:
        raise RuleError(f"{path}: {error}") from None


def read_alerts(folder: Path) -> list[Alert]:
    """The newest alerts of a folder, oldest first; damaged lines are skipped."""
    try:
        with (folder / ALERTS_FILE).open("rb") as file:
            lines = file.read(2 * MAX_FILE).splitlines()
    except OSError:
        return []
    alerts = []
    for line in lines[-MAX_ALERTS:]:
        try:
            alerts.append(_alert(parse_json(line)))
        except (ValueError, TypeError, KeyError):
            continue
    return alerts


def write_rules(folder: Path, rules: Iterable[Rule]) -> None:
    """Replace the rules of a folder.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(folder / RULES_FILE, [rules_text(rules)])


def append_alert(folder: Path, alert: Alert) -> None:
    """Store an alert.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / ALERTS_FILE
    make_private_folder(folder)
    with open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, MODE)) as file:
        file.write(_line(alert))
        size = file.tell()
    if size > MAX_FILE:
        write_atomically(path, [_line(item) for item in read_alerts(folder)])


def _line(alert: Alert) -> str:
    return json.dumps(asdict(alert), separators=(",", ":"), allow_nan=False) + "\n"


def _alert(fields: Mapping[str, Any]) -> Alert:
    return Alert(
        rule_id=str(fields["rule_id"]),
        text=str(fields["text"]),
        measure=str(fields["measure"]),
        comparison=str(fields["comparison"]),
        value=float(fields["value"]),
        limit=float(fields["limit"]),
        conversations=int(fields["conversations"]),
        period=str(fields["period"]),
        start=float(fields["start"]),
        end=float(fields["end"]),
        time=float(fields["time"]),
    )
