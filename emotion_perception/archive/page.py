"""An archive's report: one self-contained HTML page that loads nothing.

Every figure of a plot is also in a table. The search runs in the page, over the times at which somebody begins to
display an emotion; the page's content security policy allows no other script and no request.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np
from markupsafe import Markup

from emotion_perception.archive.families import MIN_ARCS, Family, find_families
from emotion_perception.archive.query import LASTING_S, SURE, ArchiveQueries, Turn, by_hour, by_place
from emotion_perception.archive.store import ArchiveError
from emotion_perception.emotions import ALIASES, EMOTION_COLOURS, EMOTIONS
from emotion_perception.files import write_atomically
from emotion_perception.reports.html import content_security_policy, environment
from emotion_perception.types import clock_text

MOST_TURNS = 20_000  # maximum number of onsets in the page, those with the highest probability
CURVE_POINTS = 120  # of a small arc
QUESTION = "where did customers turn angry?"
TEMPLATES = Path(__file__).with_name("templates")
SCRIPT = Path(__file__).with_name("static") / "search.js"


def write_report(folder: Path, path: Path, time_zone: str = "") -> None:
    """Write the report of a data set atomically.

    Args:
        folder: of the data set.
        path: of the page.
        time_zone: in which hours are counted; empty: the computer's own.

    Raises:
        ArchiveError: there is no data set, it is damaged, or the page cannot be written.
    """
    page = report(folder, time_zone, folder.resolve() == path.parent.resolve())
    try:
        write_atomically(path, [page])
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written ({error.strerror or error})") from error


def report(folder: Path, time_zone: str = "", links: bool = False) -> str:
    """The page.

    Args:
        folder: of the data set.
        time_zone: in which hours are counted; empty: the computer's own.
        links: the page will lie in the data set's folder, so it can link to the page of each recording.

    Raises:
        ArchiveError: there is no data set, or it is damaged.
    """
    queries = ArchiveQueries(folder)
    zone = ZoneInfo(time_zone) if time_zone else None
    read = [marker for marker in queries.markers if marker["status"] != "failed"]
    problems = [marker for marker in queries.markers if marker["status"] != "done"]
    shares, curves = queries.shares(), queries.curves()
    turns = sorted(queries.turns(), key=lambda turn: -turn.confidence)
    hours = sum(marker["duration_s"] for marker in read) / 3600
    counts = Counter({kind: sum(marker[kind] for marker in read) for kind in ("shots", "faces", "voices")})
    unnamed = sum(share.seconds for share in shares if share.begin is None)
    script = SCRIPT.read_text()
    return (
        environment(TEMPLATES)
        .get_template("archive.html.jinja")
        .render(
            title=f"Archive: {folder.resolve().name}",
            policy=content_security_policy(script),
            overview=f"{len(read)} recordings, {hours:.1f} hours; {counts['shots']} shots, {counts['faces']} faces in "
            f"shots, {counts['voices']} utterances. {len(problems)} recordings failed or are damaged.",
            question=QUESTION,
            left_out=max(0, len(turns) - MOST_TURNS),
            hours=_share_rows({f"{hour:02d}:00": mass for hour, mass in by_hour(shares, zone).items()}),
            hours_note=f"Time zone: {time_zone or 'that of the computer that made this page'}."
            + (f" Of {clock_text(unnamed)} nobody knows the hour." if unnamed else ""),
            places=_share_rows(by_place(shares)),
            families=_family_items(find_families(curves), read),
            least_arcs=MIN_ARCS,
            recordings=_recording_rows(read, curves, zone, links),
            problems=sorted(problems, key=lambda marker: marker["path"]),
            sure=SURE,
            lasting_s=LASTING_S,
            data=_data(queries.markers, turns[:MOST_TURNS], time_zone),
            script=Markup(script),
        )
    )


def _share_rows(shares: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Name, total and shares of the emotions ``(8,)`` as bars of a width of 200 and as figures."""
    rows = []
    for name, mass in shares.items():
        total = float(mass.sum())
        edges = np.concatenate([[0.0], np.cumsum(mass / total)]) * 200
        bars = [
            {"left": left, "width": right - left, "colour": colour}
            for left, right, colour in zip(edges[:-1], edges[1:], EMOTION_COLOURS, strict=True)
            if right - left >= 0.05
        ]
        figures = [f"{100 * value / total:.0f} %" for value in mass]
        rows.append({"name": name, "total": clock_text(total), "bars": bars, "shares": figures})
    return rows


def _family_items(families: Sequence[Family], read: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by_id = {marker["recording"]: marker for marker in read}
    items = []
    for number, family in enumerate(families, 1):
        members = [by_id[member] for member in family.members if member in by_id]
        shapes = Counter(marker["summary"]["shape"]["text"] for marker in members)
        shape, count = shapes.most_common(1)[0]
        x = np.linspace(0, 200, len(family.mean))
        upper, lower = (_points(x, family.mean + side * family.spread) for side in (1, -1))
        items.append(
            {
                "text": f"Family {number}: {len(members)} recordings, mean valence {family.mean.mean():+.2f}, from "
                f"{family.mean[0]:+.2f} to {family.mean[-1]:+.2f}",
                "names": [Path(marker["path"]).name for marker in members],
                "shape": shape,
                "count": count,
                "curve": f"M{'L'.join(_points(x, family.mean))}",
                "band": f"M{'L'.join([*upper, *reversed(lower)])}Z",
            }
        )
    return items


def _points(x: np.ndarray, values: np.ndarray) -> list[str]:
    return [f"{a:.1f} {40 - 38 * min(1.0, max(-1.0, v)):.1f}" for a, v in zip(x, values, strict=True)]


def _recording_rows(
    read: Sequence[dict[str, Any]],
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    zone: tzinfo | None,
    links: bool,
) -> list[dict[str, Any]]:
    rows = []
    for marker in sorted(read, key=lambda marker: marker["path"]):
        summary, recording = marker["summary"], marker["recording"]
        satisfaction, label = summary["satisfaction"], summary["emotion"]["label"]
        score = satisfaction["score"]
        began = datetime.fromisoformat(marker["began_at"]).astimezone(zone) if marker["began_at"] else None
        rows.append(
            {
                "name": Path(marker["path"]).name,
                "link": quote(f"arcs/recording={recording}/arc.html") if links else "",
                "place": marker["place"],
                "began": f"{began:%Y-%m-%d %H:%M}" if began else "",
                "length": clock_text(marker["duration_s"]),
                "curve": _curve(*curves.get(recording, (np.zeros(0), np.zeros(0)))),
                "label": label or "nobody",
                "valence": f"{summary['emotion']['valence']:+.2f}" if label else "–",
                "shape": summary["shape"]["text"],
                "score": "–" if score is None else f"{score} ± {satisfaction['margin']}",
            }
        )
    return rows


def _curve(times: np.ndarray, valence: np.ndarray) -> str:
    """Path data of a small arc, never over a gap; the recording's own page has the large one."""
    size = -(-len(valence) // CURVE_POINTS) if len(valence) else 1
    parts: list[list[str]] = []
    run: list[str] = []
    end = float(times[-1]) if len(times) else 1.0
    for begin in range(0, len(valence), size):
        piece = valence[begin : begin + size]
        if np.isnan(piece).all():
            parts.append(run)
            run = []
            continue
        x = 200 * float(times[begin : begin + size].mean()) / max(end, 1e-9)
        run.append(f"{x:.1f} {20 - 19 * float(np.nanmean(piece)):.1f}")
    return "".join(f"M{'L'.join(run if len(run) > 1 else run * 2)}" for run in [*parts, run] if run)


def _data(markers: Sequence[dict[str, Any]], turns: Sequence[Turn], time_zone: str) -> Markup:
    """The data of the search as JSON for a script element."""
    numbers = {marker["recording"]: i for i, marker in enumerate(markers)}
    kinds = ("face", "voice")
    fields = {
        "emotions": EMOTIONS,
        "emotion_names": {name: i for i, name in enumerate(EMOTIONS)} | ALIASES,
        "kinds": kinds,
        "time_zone": time_zone,
        "recordings": [
            {
                "name": Path(marker["path"]).name,
                "path": marker["path"],
                "place": marker["place"],
                "began": datetime.fromisoformat(marker["began_at"]).astimezone(timezone.utc).timestamp()
                if marker.get("began_at")
                else None,
            }
            for marker in markers
        ],
        "turns": [
            [
                numbers[turn.recording],
                round(turn.start, 2),
                round(turn.stop, 2),
                turn.label,
                turn.before,
                kinds.index(turn.kind),
                round(turn.confidence, 3),
            ]
            for turn in turns
            if turn.recording in numbers
        ],
    }
    # In a script element only "</script" and "<!--" could end the text.
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return Markup(text)
