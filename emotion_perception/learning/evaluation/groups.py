"""Scores by group of people (sex, age ...), with intervals over people, and the gap between groups.

Cases of one person are not independent, so the bootstrap resamples people within each group, with all their cases
(Field & Welsh 2007). With fewer than :data:`MIN_PERSONS` people a bootstrap is too narrow: such a group has no
interval, and is not compared with others where there are two larger groups.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display is needed
from matplotlib import pyplot as plt

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import replacing
from emotion_perception.learning.voices.corpora import SpeechSplit

AGE_BANDS = ((30, "under 30"), (45, "30 to 44"), (60, "45 to 59"), (200, "60 and over"))  # years, upper end exclusive
RESAMPLES = 2000
MIN_PERSONS = 5  # of a group with an interval
UNKNOWN = ""


@dataclass(frozen=True)
class People:
    """Who is seen or heard in each of N cases."""

    persons: np.ndarray  # (N,) str
    fields: Mapping[str, np.ndarray]  # field -> (N,) str, the group; empty where unknown

    def where(self, rows: Sequence[int]) -> People:
        """The cases in ``rows``, in their order."""
        chosen = np.asarray(rows, dtype=int)
        return People(self.persons[chosen], {name: groups[chosen] for name, groups in self.fields.items()})

    def groups(self, field: str) -> np.ndarray:
        """``(N,)`` groups of a field.

        Raises:
            ValueError: the data do not have the field, or fewer than two groups of it.
        """
        if field not in self.fields:
            raise ValueError(f"--by {field}: the data have {', '.join(sorted(self.fields)) or 'no such field'}")
        groups = self.fields[field]
        if len(set(groups.tolist()) - {UNKNOWN}) < 2:
            raise ValueError(f"--by {field}: the data have fewer than two groups to compare")
        return groups


def age_band(years: float) -> str:
    """The age group of a person; empty if the age is NaN.

    Example:
        >>> age_band(64), age_band(float("nan"))
        ('60 and over', '')
    """
    return next((name for end, name in AGE_BANDS if years < end), UNKNOWN)


def people_of_speech(split: SpeechSplit) -> People:
    """Speakers of a corpus with ``sex`` and ``age`` as far as the corpus states them."""
    sex = np.where(np.isnan(split.female), UNKNOWN, np.where(split.female > 0.5, "female", "male"))
    return People(split.speakers, {"sex": sex, "age": np.array([age_band(float(years)) for years in split.age])})


def read_people(table: Path, files: Iterable[Path]) -> People:
    """People in files whose names begin with the person's id and an underscore, such as ``012_03.jpg``.

    Args:
        table: CSV file; the first column is the id (R writes ``X012`` for 012), every other column a field. A field
            ``face_NAME`` is also found as NAME. Numbers in a column named age are grouped in bands.
        files: the labelled files.

    Raises:
        ValueError: the table is not readable, or describes nobody in ``files``.
        OSError: the table cannot be opened.
    """
    try:
        rows = list(csv.reader(table.read_text(encoding="utf-8-sig").splitlines()))
        header, entries = rows[0][1:], {row[0].strip(): row[1:] for row in rows[1:] if row}
    except (UnicodeDecodeError, csv.Error, IndexError) as error:
        raise ValueError(f"{table}: not a CSV file with a header ({error})") from error
    if not header or any(len(values) != len(header) for values in entries.values()):
        raise ValueError(f"{table}: every row needs an id and {len(header)} fields")
    persons = [path.stem.partition("_")[0] for path in files]
    known = [entries.get(person, entries.get(f"X{person}")) for person in persons]
    if not any(known):
        raise ValueError(f"{table}: describes none of the people in the data")
    fields: dict[str, np.ndarray] = {}
    for column, title in enumerate(header):
        name = title.strip().lower().removeprefix("face_")
        values = [UNKNOWN if entry is None else entry[column].strip() for entry in known]
        fields[name] = np.array([_band(value) for value in values] if name == "age" else values)
    return People(np.array(persons), fields)


def _band(text: str) -> str:
    try:
        return age_band(float(text))
    except ValueError:
        return text


def score_groups(
    probabilities: np.ndarray, labels: np.ndarray, people: People, field: str, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Accuracy and UAR of every group, and the gap between the best and the worst, with 95 % intervals.

    UAR is over the labels that every group has, so that groups with different labels can be compared; it does not
    depend on how often each label occurs in a group, as accuracy does.

    Args:
        probabilities: ``(N, 8)``.
        labels: ``(N,)``.
        people: of the N cases.
        field: of ``people``.
        resamples: number of bootstrap samples.
        seed: the same seed gives the same intervals.

    Returns:
        ``groups`` (name -> ``n``, ``persons``, ``accuracy``, ``uar`` and their ``_interval``, None for few people),
        ``unknown`` (cases without group), ``labels_compared`` and ``gap`` (score -> ``best``, ``worst``,
        ``difference``, ``interval``).

    Raises:
        ValueError: fewer than two groups, or no label that all of them have.
    """
    groups = people.groups(field)
    names = sorted(set(groups.tolist()) - {UNKNOWN}, key=_group_order)
    common = sorted(set.intersection(*(set(labels[groups == name].tolist()) for name in names)))
    if not common:
        raise ValueError(f"--by {field}: no emotion occurs in all of {', '.join(names)}")
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    samples: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        chosen = groups == name
        tables = _tables_by_person(probabilities[chosen].argmax(1), labels[chosen], people.persons[chosen])
        accuracy, uar = _scores(tables.sum(0)[None], common)
        count = len(tables)
        draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples if count >= MIN_PERSONS else 0)
        sampled = _scores(np.tensordot(draws, tables, axes=1), common)
        samples[name] = dict(zip(("accuracy", "uar"), sampled, strict=True))
        found[name] = {
            "n": int(chosen.sum()),
            "persons": count,
            "accuracy": float(accuracy[0]),
            "accuracy_interval": _interval(samples[name]["accuracy"]),
            "uar": float(uar[0]),
            "uar_interval": _interval(samples[name]["uar"]),
        }
    large = [name for name in names if found[name]["persons"] >= MIN_PERSONS]
    compared = large if len(large) > 1 else names
    gap: dict[str, Any] = {}
    for score in ("accuracy", "uar"):
        best, worst = (choose(compared, key=lambda name: found[name][score]) for choose in (max, min))
        both = all(len(samples[name][score]) for name in (best, worst))
        gap[score] = {
            "best": best,
            "worst": worst,
            "difference": found[best][score] - found[worst][score],
            "interval": _interval(samples[best][score] - samples[worst][score]) if both else None,
        }
    return {
        "groups": found,
        "unknown": int((groups == UNKNOWN).sum()),
        "labels_compared": [EMOTIONS[label] for label in common],
        "gap": gap,
    }


def _group_order(name: str) -> tuple[int, str]:
    bands = [band for _, band in AGE_BANDS]
    return (bands.index(name) if name in bands else len(bands), name)


def _tables_by_person(predicted: np.ndarray, labels: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """``(P, 8, 8)`` confusion matrix of each person, rows the truth."""
    _, person = np.unique(persons, return_inverse=True)
    tables = np.zeros((person.max() + 1, len(EMOTIONS), len(EMOTIONS)))
    np.add.at(tables, (person, labels, predicted), 1)
    return tables


def _scores(tables: np.ndarray, common: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and UAR over the labels ``common``, each ``(R,)``, of ``(R, 8, 8)`` confusion matrices.

    A label that a resample lacks is left out of its mean.
    """
    hits, support = np.diagonal(tables, axis1=1, axis2=2), tables.sum(2)
    accuracy = hits.sum(1) / np.maximum(1, support.sum(1))
    hits, support = hits[:, common], support[:, common]
    present = support > 0
    recall = np.where(present, hits / np.maximum(1, support), 0.0)
    return accuracy, recall.sum(1) / np.maximum(1, present.sum(1))


def _interval(samples: np.ndarray) -> list[float] | None:
    return [float(end) for end in np.quantile(samples, [0.025, 0.975])] if len(samples) else None


def plot_groups(path: Path, title: str, field: str, result: Mapping[str, Any]) -> None:
    """Draw accuracy and UAR of every group with its interval, and state the gap."""
    groups = result["groups"]
    figure, axes = plt.subplots(figsize=(7.5, 1.8 + 0.6 * len(groups)))
    for offset, (score, colour) in zip((-0.14, 0.14), (("uar", "#0072b2"), ("accuracy", "#d55e00")), strict=True):
        gap = result["gap"][score]
        ends = "" if gap["interval"] is None else " ({:.1f} to {:.1f})".format(*(100 * end for end in gap["interval"]))
        label = f"{score}: gap {100 * gap['difference']:.1f} points{ends}"
        for row, one in enumerate(groups.values()):
            low, high = one[f"{score}_interval"] or (one[score], one[score])
            axes.plot([100 * low, 100 * high], [row + offset] * 2, color=colour, lw=2, alpha=0.5)
            axes.plot(100 * one[score], row + offset, "o", color=colour, label=label if row == 0 else None)
    axes.set_yticks(
        range(len(groups)), [f"{name} (n={one['n']}, {one['persons']} people)" for name, one in groups.items()]
    )
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="%, with 95 % interval over people", title=f"{title}, by {field}")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)
