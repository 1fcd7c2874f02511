"""Families of arcs: clusters of recordings with similar valence over time, by k-means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

POINTS = 32  # of an arc, from its first to its last evidence
MAX_FAMILIES = 6
MIN_ARCS = 4  # fewer arcs have no families
MIN_SILHOUETTE = 0.25  # mean silhouette (Rousseeuw 1987) below which all arcs are one family
SAMPLE = 1000  # arcs used to choose the number of families


@dataclass(frozen=True)
class Family:
    """Recordings with similar arcs."""

    members: tuple[str, ...]  # nearest to the mean first
    mean: np.ndarray  # (32,) smoothed valence, -1..1, over relative time
    spread: np.ndarray  # (32,) standard deviation


def find_families(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[Family, ...]:
    """Families of arcs, the largest first; empty if there are too few arcs.

    Their number, up to six, maximises the mean silhouette; it is one if that is too low. The result is deterministic.

    Args:
        curves: by recording: time, s, and valence ``(N,)``, NaN without evidence. Those with less than eight points
            of evidence, or a gap of more than a third of the time, are left out.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    arcs = {name: resampled(*curves[name]) for name in sorted(curves)}
    names = [name for name, arc in arcs.items() if arc is not None]
    if len(names) < MIN_ARCS:
        return ()
    data = np.stack([arc for arc in arcs.values() if arc is not None])
    labels, best = np.zeros(len(names), int), MIN_SILHOUETTE
    different = len(np.unique(data.round(6), axis=0))
    for count in range(2, min(MAX_FAMILIES, different - 1, len(names) - 1) + 1):
        clusters = KMeans(count, n_init=10, random_state=0).fit_predict(data)
        score = float(silhouette_score(data, clusters, sample_size=min(SAMPLE, len(names)), random_state=0))
        if score > best:
            labels, best = clusters, score
    families = []
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        mean = data[inside].mean(axis=0)
        order = inside[np.argsort(np.linalg.norm(data[inside] - mean, axis=1), kind="stable")]
        families.append(Family(tuple(names[i] for i in order), mean, data[inside].std(axis=0)))
    return tuple(sorted(families, key=lambda family: (-len(family.members), family.members)))


def resampled(times: np.ndarray, valence: np.ndarray) -> np.ndarray | None:
    """An arc at 32 even times from its first to its last evidence; None if it has too little evidence."""
    from emotion_perception.interaction.arc_shape import MAX_SHAPE_GAP, MIN_SHAPE_BINS

    known = np.flatnonzero(~np.isnan(valence))
    if len(known) < MIN_SHAPE_BINS:
        return None
    t = times[known]
    if np.diff(t).max() > MAX_SHAPE_GAP * (t[-1] - t[0]):
        return None
    return np.interp(np.linspace(t[0], t[-1], POINTS), t, valence[known])
