"""Counts and means of conversations with their 95 % intervals, as numbers and as text."""

from __future__ import annotations

import math

from emotion_perception.interaction.store_records import ConversationStatistics

Z95 = 1.959964  # quantile of the normal distribution at 0.975


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), valid for few and for extreme counts; 0..1 if ``total`` is 0."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = count / total, Z95**2 / total
    middle = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def share_text(count: int, total: int) -> str:
    """``7 of 9 (45 to 94 %)``."""
    if total == 0:
        return "none rated"
    low, high = share_interval(count, total)
    return f"{count} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def mean_text(statistics: ConversationStatistics) -> str:
    """``61 ± 9``, the mean satisfaction."""
    if statistics.satisfaction_mean is None or statistics.satisfaction_half_width is None:
        return "none rated"
    return f"{statistics.satisfaction_mean:.0f} ± {math.ceil(statistics.satisfaction_half_width)}"


def signed(value: float | None, digits: int = 2) -> str:
    """``+0.25``, without a minus before a zero."""
    if value is None:
        return "unknown"
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]
