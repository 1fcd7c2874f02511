"""Counts and means of conversations with their 95 % intervals, as numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), valid for few and for extreme counts; 0..1 if ``total`` is 0."""
    from scipy.stats import binomtest  # here, because nodes import this module and scipy.stats loads slowly

    if total == 0:
        return 0.0, 1.0
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def share_text(count: int, total: int) -> str:
    """``7 of 9 (45 to 94 %)``."""
    if total == 0:
        return "none rated"
    low, high = share_interval(count, total)
    return f"{count} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def mean_interval(scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval, of scores with margins (half-widths of 95 % intervals each).

    Both the conversations' own margins and their differences count. The differences already contain each margin, so
    the larger of the two is taken.
    """
    n = len(scores)
    mean = sum(score for score, _ in scores) / n
    own = math.sqrt(sum(margin**2 for _, margin in scores)) / n
    return mean, own if n == 1 else max(own, half_width([score for score, _ in scores]))


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of the mean of at least two values, by Student's t."""
    from scipy.stats import t

    n = len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return float(t.ppf(0.975, n - 1)) * spread / math.sqrt(n)


def mean_text(entries: Sequence[dict[str, Any]]) -> str:
    """``61 ± 9`` of the entries' scores."""
    if not entries:
        return "none rated"
    mean, half = mean_interval([(float(entry["score"]), float(entry["margin"])) for entry in entries])
    return f"{mean:.0f} ± {math.ceil(half)}"


def signed(value: float | None, digits: int = 2) -> str:
    """``+0.25``, without a minus before a zero."""
    if value is None:
        return "unknown"
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]
