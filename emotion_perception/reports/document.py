"""Content of a report as blocks: headings, paragraphs, facts, tables, charts, images. HTML and PDF render the same
blocks.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any, ClassVar

from emotion_perception.types import clock_text

MAX_TEXT = 120  # characters of a name, a person or a reason in a report
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # s between ticks


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names with values, as an overview."""

    kind: ClassVar[str] = "facts"
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """One table with its heading."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int = 0  # this many columns, counted from the right, hold numbers
    colours: tuple[str, ...] = ()  # colour key before the first cell of each row, "#rrggbb"
    folded: bool = False  # closed at first, and left out of the PDF

    @property
    def first_number(self) -> int:
        """Index of the first column with numbers."""
        return len(self.columns) - self.numbers


@dataclass(frozen=True)
class Line:
    """One quantity over time, -1..1; None without evidence."""

    name: str
    upper: str  # meaning of +1
    lower: str  # meaning of -1
    values: tuple[float | None, ...]
    smooth: tuple[float | None, ...] = ()  # drawn as the line, with the values as dots; empty: the values are the line
    band: tuple[tuple[float, float] | None, ...] = ()  # low and high

    @property
    def curve(self) -> tuple[float | None, ...]:
        """What is drawn as a line."""
        return self.smooth or self.values


@dataclass(frozen=True)
class Chart:
    """Lines over a common time axis, one panel each, with a strip of emotions below."""

    kind: ClassVar[str] = "chart"
    title: str
    seconds: float  # length of the time axis
    step: float  # s, width of a bin
    lines: tuple[Line, ...]
    legend: str
    description: str = ""  # text alternative for screen readers
    strip: tuple[int | None, ...] = ()  # label of each bin
    turning_points: tuple[tuple[float, float], ...] = ()  # s and value on the first line
    marks: tuple[str, ...] = ()  # evenly spaced texts on the time axis instead of times

    def middle(self, index: int) -> float:
        """Middle of a bin, s; the last one may be shorter than the others."""
        return min((index + 0.5) * self.step, (index * self.step + max(self.seconds, index * self.step)) / 2)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions on the time axis, s, and their texts; eleven at most."""
        if self.marks:
            return tuple((self.seconds * i / (len(self.marks) - 1), mark) for i, mark in enumerate(self.marks))
        step = next((step for step in _STEPS if self.seconds / step <= 10), None)
        if step is None:
            return (0.0, "0:00"), (self.seconds, clock_text(self.seconds))
        return tuple((float(t), clock_text(t)) for t in range(0, int(self.seconds) + 1, step))


@dataclass(frozen=True)
class Portrait:
    """A face image and its caption."""

    jpeg: bytes
    caption: str


@dataclass(frozen=True)
class Portraits:
    """Face images in rows."""

    kind: ClassVar[str] = "portraits"
    items: tuple[Portrait, ...]


Block = Heading | Paragraph | Facts | Table | Chart | Portraits


@dataclass(frozen=True)
class Document:
    """A report."""

    name: str  # as a file name
    title: str
    subtitle: str
    blocks: tuple[Block, ...]
    rows: tuple[dict[str, Any], ...] = field(default=())  # lines of the CSV file

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """All facts."""
        return tuple(item for block in self.blocks if isinstance(block, Facts) for item in block.items)

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts."""
        return tuple(block for block in self.blocks if isinstance(block, Chart))

    @property
    def shows_people(self) -> bool:
        """Whether it contains face images."""
        return any(isinstance(block, Portraits) for block in self.blocks)


def plain(text: object, longest: int = MAX_TEXT) -> str:
    """Sanitise external text for a report: in one line, without control characters and lone surrogates, shortened."""
    whole = str(text)[: 4 * longest]
    line = " ".join("".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in whole).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def runs(known: list[bool]) -> list[tuple[int, int]]:
    """Begin and end (exclusive) of each run of true flags."""
    found, begin = [], None
    for i, flag in enumerate([*known, False]):
        if flag and begin is None:
            begin = i
        elif not flag and begin is not None:
            found.append((begin, i))
            begin = None
    return found


def runs_of_equal(values: tuple[int | None, ...]) -> list[tuple[int, int, int]]:
    """Begin, end (exclusive) and value of each run of one value; None is left out."""
    found: list[tuple[int, int, int]] = []
    for i, value in enumerate(values):
        if value is None:
            continue
        if found and found[-1][1] == i and found[-1][2] == value:
            found[-1] = (found[-1][0], i + 1, value)
        else:
            found.append((i, i + 1, value))
    return found
