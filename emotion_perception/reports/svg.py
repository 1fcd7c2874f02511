"""Charts as SVG for inline use in a page; the page's style sheet gives the colours of lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emotion_perception.emotions import EMOTION_COLOURS, EMOTIONS
from emotion_perception.reports.document import Chart, Line, runs, runs_of_equal
from emotion_perception.types import clock_text

WIDTH, LEFT, RIGHT, TOP = 900.0, 64.0, 16.0, 14.0  # px
PANEL, BETWEEN, STRIP = 150.0, 22.0, 18.0  # px, heights


@dataclass(frozen=True)
class Panel:
    """One line of a chart in pixels, its curve and its band as path data."""

    name: str
    upper: str
    lower: str
    top: float
    gaps: tuple[tuple[float, float], ...]  # left edge and width
    bands: tuple[str, ...]
    curves: tuple[str, ...]  # never over a gap
    dots: tuple[tuple[float, float], ...]
    turns: tuple[tuple[float, float], ...]

    def y(self, value: float) -> float:
        """Vertical position of a value, px."""
        return self.top + PANEL * (1 - min(1.0, max(-1.0, value))) / 2


@dataclass(frozen=True)
class Strip:
    """One run of an emotion: edges in px, colour, and what it means."""

    left: float
    width: float
    colour: str
    text: str


class ChartLayout:
    """Lay out a chart in pixels for the template.

    Args:
        chart: what is drawn.
    """

    width, left, right, panel, strip_height = WIDTH, LEFT, WIDTH - RIGHT, PANEL, STRIP

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.panels = [
            self._panel(line, TOP + i * (PANEL + BETWEEN), chart.turning_points if i == 0 else ())
            for i, line in enumerate(chart.lines)
        ]
        self.strip_top = self.panels[-1].top + PANEL + TOP
        self.axis = self.strip_top + (36 if chart.strip else 6)
        self.height = self.axis + TOP

    def x(self, seconds: float) -> float:
        """Horizontal position of a time, px."""
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, seconds / max(self.chart.seconds, 1e-9)))

    @property
    def strips(self) -> Iterable[Strip]:
        """The emotions below the panels."""
        step = self.chart.step
        for begin, end, label in runs_of_equal(self.chart.strip):
            left, right = self.x(begin * step), self.x(end * step)
            times = f"{clock_text(begin * step)} to {clock_text(min(self.chart.seconds, end * step))}"
            yield Strip(left, right - left, EMOTION_COLOURS[label], f"{EMOTIONS[label]}, {times}")

    def _panel(self, line: Line, top: float, turning_points: tuple[tuple[float, float], ...]) -> Panel:
        panel = Panel(line.name, line.upper, line.lower, top, (), (), (), (), ())

        def point(index: int, value: float | None) -> str:
            return f"{self.x(self.chart.middle(index)):.1f} {panel.y(value or 0.0):.1f}"

        known = [value is not None for value in line.values]
        step = self.chart.step
        gaps = [(self.x(begin * step), self.x(end * step)) for begin, end in runs([not flag for flag in known])]
        bands = []
        for begin, end in runs([limits is not None for limits in line.band]):
            limits = [(i, found) for i in range(begin, end) if (found := line.band[i]) is not None]
            edge = [point(i, low) for i, (low, _) in limits] + [point(i, high) for i, (_, high) in reversed(limits)]
            if len(limits) > 1:
                bands.append(f"M{'L'.join(edge)}Z")
        return Panel(
            line.name,
            line.upper,
            line.lower,
            top,
            tuple((left, right - left) for left, right in gaps),
            tuple(bands),
            tuple(
                f"M{'L'.join(point(i, line.curve[i]) for i in range(begin, end))}"
                for begin, end in runs(known)
                if end - begin > 1
            ),
            tuple(
                (self.x(self.chart.middle(i)), panel.y(value))
                for i, value in enumerate(line.values)
                if value is not None and line.smooth
            ),
            tuple((self.x(seconds), panel.y(value)) for seconds, value in turning_points),
        )
