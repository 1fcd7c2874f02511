"""Reads the project's Markdown pages: code blocks, headings and links."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```([^`\s]*)[ \t]*([^`]*)$")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(\S+)$")
_HTML_LINK = re.compile(r"(?:href|src)=\"([^\"]+)\"")
_INLINE_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced code block. Words after the language say what tests do with it.

    ``run``: execute it (Python), in one namespace with the page's other blocks. ``file=NAME``: write it to that file.
    """

    language: str
    words: tuple[str, ...]
    text: str
    line: int  # of its first line, from 1

    @property
    def file(self) -> str:
        """Name of the file that holds the block; empty for none."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), "")


@dataclass(frozen=True)
class MarkdownPage:
    """One page of the repository."""

    path: Path

    @property
    def name(self) -> str:
        """Path relative to the repository."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def _lines(self) -> list[tuple[int, str, CodeBlock | None]]:
        """Number and text of each line outside code, and each code block where it begins."""
        found: list[tuple[int, str, CodeBlock | None]] = []
        lines = iter(enumerate(self.path.read_text().splitlines(), start=1))
        for number, line in lines:
            if not (fence := _FENCE.match(line.strip())):
                found.append((number, line, None))
                continue
            inside = []
            for _, code in lines:
                if code.strip() == "```":
                    break
                inside.append(code)
            words = tuple(fence.group(2).split())
            found.append(
                (number, "", CodeBlock(fence.group(1), words, textwrap.dedent("\n".join(inside) + "\n"), number + 1))
            )
        return found

    @property
    def blocks(self) -> list[CodeBlock]:
        """All code blocks in their order."""
        return [block for _, _, block in self._lines if block is not None]

    def section_blocks(self, heading: str) -> list[CodeBlock]:
        """The code blocks below a heading and before the next of the same or a higher level."""
        found: list[CodeBlock] = []
        level = 0  # of the heading; 0 outside its section
        for _, line, block in self._lines:
            if match := _HEADING.match(line):
                here = len(line) - len(line.lstrip("#"))
                if match.group(1) == heading:
                    level = here
                elif here <= level:
                    level = 0
            if block is not None and level:
                found.append(block)
        return found

    @property
    def anchors(self) -> set[str]:
        """Fragments that links may name, formed as GitHub forms them."""
        found: set[str] = set()
        for _, line, _ in self._lines:
            if heading := _HEADING.match(line):
                anchor = github_anchor(heading.group(1))
                repeated = next(n for n in range(len(self._lines)) if (f"{anchor}-{n}" if n else anchor) not in found)
                found.add(f"{anchor}-{repeated}" if repeated else anchor)
        return found

    @property
    def links(self) -> Iterator[tuple[int, str]]:
        """Line and target of every link and image."""
        for number, line, _ in self._lines:
            prose = _INLINE_CODE.sub("", line)
            for pattern in (_LINK, _REFERENCE, _HTML_LINK):
                for match in pattern.finditer(prose):
                    yield number, match.group(1)


def github_anchor(heading: str) -> str:
    """The fragment of a heading: lower case, punctuation dropped, hyphens for spaces."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def all_pages() -> list[MarkdownPage]:
    """Every Markdown page of the project."""
    folders = ("", "docs", "models", "config", "emotion_msgs", ".github")
    return [MarkdownPage(path) for folder in folders for path in sorted((ROOT / folder).glob("*.md"))]
