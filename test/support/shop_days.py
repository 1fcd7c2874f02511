"""Made-up days of a shop with a robot: summaries of conversations as interaction_node stores them."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import ArcSample, EmotionalArc
from emotion_perception.interaction.summary import summarize
from emotion_perception.reports.conversation import summary_fields
from emotion_perception.types import SECOND, EmotionEstimate, EmotionStatus

# Share of the day's conversations by hour, from 9 to 19.
BY_HOUR = {9: 0.05, 10: 0.09, 11: 0.12, 12: 0.13, 13: 0.1, 14: 0.11, 15: 0.1, 16: 0.11, 17: 0.12, 18: 0.07}
FRIDAY = date(2026, 11, 27)


def make_day(
    folder: Path, day: date, conversations: int = 112, mood: float = 0.2, bad_hour: int | None = None, seed: int = 0
) -> int:
    """Store the conversations of one day; returns their number.

    Args:
        folder: where.
        day: local.
        conversations: about how many.
        mood: -1..1, how pleasant the day is.
        bad_hour: hour in which people wait for long and leave displeased.
        seed: of the random numbers.
    """
    random = np.random.default_rng([seed, day.toordinal()])
    made = 0
    for hour, share in BY_HOUR.items():
        for _ in range(round(share * conversations)):
            start = datetime(day.year, day.month, day.day, hour, int(random.integers(60)), int(random.integers(60)))
            bad = hour == bad_hour
            wait = random.uniform(30, 55) if bad else random.uniform(2, 9)
            own = mood - (0.9 if bad else 0.0)
            make_conversation(folder, f"{day:%m%d}-{made:04d}", start.timestamp(), own, wait, random)
            made += 1
    return made


def make_conversation(
    folder: Path, interaction_id: str, start: float, mood: float, wait: float, random: np.random.Generator
) -> None:
    """Store one conversation: somebody who waits, then talks, and is more or less pleased at the end."""
    seconds = int(wait + random.uniform(25, 80))
    start_ns = round(start) * SECOND
    arc = EmotionalArc(start_ns)
    own, rise = mood + random.normal(0, 0.2), random.normal(0.15, 0.3)
    for i in range(seconds):
        share = i / seconds
        pleasant = own + rise * (share - 0.5) + 0.25 * math.sin(7 * share + own)
        p = np.full(8, 0.03, np.float32)
        for label, height in {
            "happy": max(0.0, pleasant),
            "calm": 0.12,
            "neutral": max(0.05, 0.55 - abs(pleasant)),
            "angry": max(0.0, -0.75 * pleasant),
            "sad": max(0.0, -0.35 * pleasant),
            "surprised": 0.08,
        }.items():
            p[EMOTIONS.index(label)] += height
        p /= p.sum()
        talking = i >= wait
        estimate = EmotionEstimate.from_probabilities(p)
        sample = ArcSample(
            start_ns + i * SECOND,
            EmotionStatus.AUDIO_VISUAL if talking else EmotionStatus.VISUAL_ONLY,
            p,
            float(p.max()),
            estimate.valence,
            estimate.arousal,
            (0.7, 0.3 if talking else 0.0, 0.0),
            "person_1",
            (int(p.argmax()), int(p.argmax()) if talking else -1, -1),
        )
        arc.add(sample)
    summary = summarize(
        arc.arc(start_ns + seconds * SECOND), interaction_id=interaction_id, ended_by="nobody was there any more"
    )
    (folder / f"{interaction_id}.json").write_text(json.dumps(summary_fields(summary)))


def make_weeks(folder: Path, last: date = FRIDAY) -> None:
    """Two weeks until ``last``: closed on Sundays, the last day better than a week before but for one hour."""
    for ago in range(8, -1, -1):
        day = last - timedelta(days=ago)
        if day.weekday() != 6:
            mood = 0.36 if not ago else 0.13 + 0.01 * (day.weekday() - 3)
            make_day(folder, day, 112 if not ago else 92 + day.weekday(), mood, 14 if not ago else None)
