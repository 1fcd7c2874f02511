"""95 % intervals of means, from sums that a database can make."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_interval(count: int, total: float, squares: float, squared_margins: float) -> tuple[float, float]:
    """Mean of scores and the half-width of its 95 % interval.

    Both the conversations' own margins and the differences between conversations count. The differences already contain
    each margin, so the larger of the two is taken.

    Args:
        count: number of scores, at least 1.
        total: sum of the scores.
        squares: sum of their squares.
        squared_margins: sum of the squares of their margins (half-width of the 95 % interval of each).
    """
    own = math.sqrt(squared_margins) / count
    return total / count, own if count == 1 else max(own, _half_width(count, total, squares))


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of the mean of at least two values, by Student's t."""
    return _half_width(len(values), sum(values), sum(value * value for value in values))


def _half_width(count: int, total: float, squares: float) -> float:
    from scipy.special import stdtrit  # here, because nodes import this module

    variance = max(0.0, (squares - total * total / count) / (count - 1))
    return float(stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
