"""Choices that were measured on this machine, kept so that no later start measures again.

One small JSON file per network in ``$XDG_CACHE_HOME/emotion_perception/precision`` (``~/.cache`` by default); remove
the folder to measure again. A choice holds for one CPU, one version of OpenVINO and one content of the model file. The
files are only a memory: where they cannot be read or written, each start measures.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import openvino as ov

from emotion_perception.files import read_json, write_atomically

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimdhp", "bf16", "i8mm")


@functools.cache
def cpu_name() -> str:
    """The CPU's name and those instruction sets that decide which precision is fast; a virtual CPU may lack some."""
    name, flags = platform.machine(), set[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{name} {platform.processor()}"
    for line in lines:
        field, _, value = line.partition(":")
        if field.strip() in ("model name", "CPU part"):
            name = value.strip()
        elif field.strip() in ("flags", "Features"):
            flags = set(value.split())
            break
    return " ".join((name, *(instruction for instruction in INSTRUCTIONS if instruction in flags)))


def choice_file(model: Path, part: str = "") -> Path:
    """Where the choice for a model file is kept.

    Args:
        model: the network's file; its content counts, not its name.
        part: which network, if the file has several.

    Raises:
        OSError: the model cannot be read.
    """
    content = hashlib.blake2b(model.read_bytes()).hexdigest()
    key = hashlib.blake2b("\n".join((cpu_name(), ov.__version__, content, part)).encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "emotion_perception" / "precision" / f"{model.stem}-{key}.json"


def known_choice(file: Path, among: set[str]) -> str | None:
    """The choice kept in a file; None if there is none, or none of those possible."""
    try:
        kept = read_json(file)
    except (OSError, ValueError):
        return None
    choice = kept.get("precision") if isinstance(kept, dict) else None
    return choice if choice in among else None


def keep_choice(file: Path, choice: str, milliseconds: Mapping[str, float]) -> None:
    """Keep a choice with what was measured; a folder that cannot be written is no error."""
    kept = {"cpu": cpu_name(), "precision": choice, "milliseconds": dict(milliseconds)}
    with suppress(OSError):
        write_atomically(file, [json.dumps(kept, indent=1), "\n"])
