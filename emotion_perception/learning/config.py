"""Training configurations: one YAML file per published model, read into the dataclass that documents its fields."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

T = TypeVar("T")


def load_config(path: Path | None, into: type[T], overrides: dict[str, Any] | None = None) -> T:
    """Read a YAML mapping into the dataclass ``into``; what it leaves out keeps its default.

    Raises:
        ValueError: a key the dataclass lacks, or a value of the wrong type; the message names key and file.
        FileNotFoundError: no such file.
    """
    values = yaml.safe_load(path.read_text()) or {} if path else {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    return _build(into, values | (overrides or {}), str(path or "overrides"))


def from_mapping(into: type[T], values: dict[str, Any]) -> T:
    """Read a mapping, such as the one in a model's card, into the dataclass ``into``.

    Raises:
        ValueError: a key the dataclass lacks, or a value of the wrong type; the message names it.
    """
    return _build(into, values, into.__name__)


def _build(into: type[T], values: dict[str, Any], where: str) -> T:
    types = get_type_hints(into)
    known = {f.name for f in fields(into)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{where}: unknown setting {key!r}; there are {', '.join(sorted(known))}")
        kind = types[key]
        if is_dataclass(kind):
            if not isinstance(value, dict):
                raise ValueError(f"{where}: {key} must be a mapping, got {value!r}")
            arguments[key] = _build(kind, value, f"{where}: {key}")  # type: ignore[arg-type]
        elif kind is float and isinstance(value, int) and not isinstance(value, bool):
            arguments[key] = float(value)
        elif kind in (int, float, str, bool) and type(value) is not kind:
            raise ValueError(f"{where}: {key} must be {kind.__name__}, got {value!r}")
        else:
            arguments[key] = tuple(value) if isinstance(value, list) else value
    return into(**arguments)
