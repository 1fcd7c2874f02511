"""A store of many conversations, made in seconds: rows in the database, and one hard link per conversation as its file.

The files are links to a few real ones, so lists and statistics are those of a store of this size, but opening one
conversation shows the values of the file that it is linked to.

Run ``python test/support/many_conversations.py FOLDER [COUNT]`` for a folder to try the page with.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from page_world import store_conversation

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import make_private_folder
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.store_database import transaction
from emotion_perception.interaction.store_records import row
from emotion_perception.types import SECOND

LINKS = 20_000  # to one file; ext4 allows 65,000


def make_many(
    folder: Path, count: int, end: datetime, days: int = 365, files: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Store conversations, evenly over ``days`` days before the day of ``end``, from 9 to 20 o'clock.

    Args:
        folder: a new one.
        count: number of conversations.
        end: the last day is the one before.
        days: number of days.
        files: also make the links, 0.1 ms each; without them the store must not look for files.

    Returns:
        Start (s since the epoch), score (NaN: none) and duration (s) of each.
    """
    random = np.random.default_rng(1)
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    midnights = np.array([(midnight - timedelta(days=day)).timestamp() for day in range(1, days + 1)])
    starts = midnights[random.integers(0, days, count)] + 3600 * random.uniform(9, 20, count)
    scores = np.where(random.random(count) < 0.9, np.round(random.normal(62, 18, count).clip(0, 100)), np.nan)
    durations = random.gamma(2.0, 60.0, count).round(2)
    labels = random.choice(["happy", "neutral", "sad", "angry", ""], count, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    waits = np.where(random.random(count) < 0.7, np.round(random.exponential(8, count)), np.nan)
    places = random.choice(["entrance", "checkout", ""], count)

    make_private_folder(folder)
    templates = [_template(folder.parent / f".{folder.name}-files", i) for i in range(-(-count // LINKS))]
    varied = ["id", "name", "folded_name", "start", "duration", "wait", "score", "margin", "verdict", "label", "place"]
    varied += [f"seconds_{label}" for label in EMOTIONS]
    fixed = [name for name in templates[0][1] if name not in varied]
    base = [tuple(values[name] for name in fixed) for _, values in templates]
    columns = zip(starts, durations, waits, scores, labels.tolist(), places.tolist(), strict=True)

    def lines() -> Iterator[tuple[object, ...]]:
        for i, (start, duration, wait, score, label, place) in enumerate(columns):
            known = score == score  # NaN differs from itself
            verdict = "unknown" if not known else "satisfied" if score > 50 else "dissatisfied"
            name = f"visitor {i}" if i % 10 == 0 else ""
            seconds = [duration if label == emotion else 0.0 for emotion in EMOTIONS]
            yield (
                *(f"c{i:07}", name, name, float(start), float(duration), None if wait != wait else float(wait)),
                *(float(score) if known else None, 9.0 if known else None, verdict, label or None, place),
                *map(float, seconds),
                *base[i // LINKS],
            )

    store = ConversationStore(folder)
    store.page()
    connection, _ = store._database.connect()
    marks = ", ".join("?" * (len(varied) + len(fixed)))
    with transaction(connection):
        connection.executemany(f"INSERT INTO conversation ({', '.join(varied + fixed)}) VALUES ({marks})", lines())
        connection.execute("INSERT INTO person SELECT number, 'person_1' FROM conversation")
    store.close()
    for i in range(count if files else 0):
        os.link(templates[i // LINKS][0], f"{folder}/c{i:07}.json")
    return starts, scores, durations


def _template(folder: Path, i: int) -> tuple[str, dict[str, object]]:
    store_conversation(folder, f"template{i}", i * SECOND, i, seconds=30)
    path = folder / f"template{i}.json"
    status = path.stat()
    return str(path), row("", json.loads(path.read_text()), status.st_mtime_ns, status.st_size)


if __name__ == "__main__":
    began = time.monotonic()
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    make_many(Path(sys.argv[1]), number, datetime.now().astimezone())
    print(f"{number} conversations in {time.monotonic() - began:.1f} s")
