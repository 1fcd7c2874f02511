"""An archive's report: one HTML page that needs nothing else and loads nothing.

Every figure of a plot is in a table, too. The search runs in the page, over the moments at which somebody began to show
an emotion; the page's content security policy lets no other script run, and nothing be fetched.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np

from emotion_perception.archive.families import LEAST_ARCS, Family, find_families
from emotion_perception.archive.query import LASTING_S, SURE, ArchiveQueries, Turn, by_hour, by_place
from emotion_perception.archive.store import ArchiveError
from emotion_perception.emotions import ALIASES, EMOTIONS
from emotion_perception.files import write_atomically
from emotion_perception.reports.conversation import COLOURS, document
from emotion_perception.types import clock_text

MOST_TURNS = 20_000  # in the page; the surest
CURVE_POINTS = 120  # of a small arc
QUESTION = "where did customers turn angry?"

_STYLE = """
input[type=search]{font:inherit;padding:.4rem .6rem;width:min(32rem,100%);box-sizing:border-box;color:inherit;
background:var(--paper);border:1px solid var(--soft);border-radius:.375rem}
button{font:inherit;padding:.4rem .9rem;border:1px solid var(--soft);border-radius:.375rem;background:var(--panel);
color:inherit;cursor:pointer}:focus-visible{outline:3px solid var(--valence);outline-offset:2px}
label{display:block;font-weight:600}body{max-width:75rem}
svg.small{min-width:0;width:14rem;height:3rem}svg.bar{min-width:0;width:100%;min-width:12rem;height:1.1rem}
.families{display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:1rem;padding:0}
.families li{list-style:none;background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.75rem}
.families svg{min-width:0;width:100%;height:6rem}td.path{overflow-wrap:anywhere}a{color:var(--valence)}
"""


def write_report(folder: Path, path: Path, time_zone: str = "") -> None:
    """Write the report of a data set, as a whole or not at all.

    Args:
        folder: the data set's.
        path: the page's.
        time_zone: in which hours are counted; empty is this machine's.

    Raises:
        ArchiveError: there is no data set, it is damaged, or the page cannot be written.
    """
    page = report(folder, time_zone, folder.resolve() == path.parent.resolve())
    try:
        write_atomically(path, [page])
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written ({error.strerror or error})") from error


def report(folder: Path, time_zone: str = "", links: bool = False) -> str:
    """The page; ``links``: it will lie in the data set's folder, so that it can lead to each recording's own page.

    Raises:
        ArchiveError: there is no data set, or it is damaged.
    """
    queries = ArchiveQueries(folder)
    zone = ZoneInfo(time_zone) if time_zone else None
    read = [told for told in queries.markers if told["status"] != "failed"]
    troubled = [told for told in queries.markers if told["status"] != "done"]
    shares, curves = queries.shares(), queries.curves()
    turns = sorted(queries.turns(), key=lambda turn: -turn.confidence)
    left_out = max(0, len(turns) - MOST_TURNS)
    name = folder.resolve().name
    hours = sum(told["duration_s"] for told in read) / 3600
    counts = Counter({kind: sum(told[kind] for told in read) for kind in ("shots", "faces", "voices")})
    families = find_families(curves)
    unnamed = sum(share.seconds for share in shares if share.begin is None)
    return document(
        f"Archive: {name}",
        [
            f"<h1>Archive: {escape(name)}</h1>",
            f'<p class="soft">{len(read)} recordings, {hours:.1f} hours; {counts["shots"]} shots, {counts["faces"]} '
            f"faces in shots, {counts['voices']} utterances. {len(troubled)} recordings failed or are damaged.</p>",
            _search_section(left_out),
            "<h2>Through the day</h2>",
            _shares_table(
                {f"{hour:02d}:00": mass for hour, mass in by_hour(shares, zone).items()},
                "hour",
                f"Time zone: {time_zone or 'that of the machine that made this page'}."
                + (f" Of {clock_text(unnamed)} nobody knows the hour." if unnamed else ""),
            ),
            "<h2>By place</h2>",
            _shares_table(by_place(shares), "place", ""),
            "<h2>Families of arcs</h2>",
            _families_section(families, read),
            "<h2>Recordings</h2>",
            _recordings_table(read, curves, zone, links),
            "<h2>Failed and damaged</h2>",
            _troubles_table(troubled),
            "<h2>How to read this</h2>",
            _METHOD,
            _data(queries.markers, turns[:MOST_TURNS], time_zone),
        ],
        _STYLE,
        Path(__file__).with_name("static").joinpath("search.js").read_text(),
    )


_METHOD = f"""<p>Estimated from facial expression and tone of voice by statistical models, which are often wrong about a
single moment and do not know what a person feels. Seconds are those of faces in view and of speech, added up: two
faces for one second are two seconds. A moment of the search is where somebody begins to show an emotion that is at
least {100 * SURE:.0f} % likely at its height; a face shows it for {LASTING_S:g} s at least. A face is followed through
its shot only: who comes back is somebody new, and nobody is recognised. Arcs are those of the person in front, by face
and voice together. Families are made by k-means over the arcs' course from first to last evidence.</p>"""


def _search_section(left_out: int) -> str:
    names = ["time", "lasts", "date and time", "place", "recording", "shows", "by", "confidence"]
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    note = f"<p>The {left_out} least sure moments are left out.</p>" if left_out else ""
    return (
        '<form id="search" role="search"><label for="words">Search the moments</label>'
        f'<p><input type="search" id="words" value="{QUESTION}" aria-describedby="hint"> <button>Search</button></p>'
        f'<p class="soft" id="hint">Emotions ({", ".join(EMOTIONS)}), &ldquo;turn&rdquo; for a change, '
        "&ldquo;face&rdquo; or &ldquo;voice&rdquo;, and parts of places&rsquo; and files&rsquo; names.</p></form>"
        '<p id="told" role="status"></p><noscript><p>The search needs JavaScript.</p></noscript>'
        f'<div class="scroll"><table id="table" hidden><caption class="soft">Moments</caption><thead><tr>{heads}</tr>'
        f'</thead><tbody id="moments"></tbody></table></div><button id="more" hidden>More</button>{note}'
    )


def _shares_table(shares: Mapping[str, np.ndarray], what: str, note: str) -> str:
    rows = []
    for name, mass in shares.items():
        total = float(mass.sum())
        cells = "".join(f'<td class="n">{100 * value / total:.0f} %</td>' for value in mass)
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td>{_bar(mass / total)}</td>'
            f'<td class="n">{clock_text(total)}</td>{cells}</tr>'
        )
    if not rows:
        return "<p>Nothing is known.</p>"
    legend = "".join(
        f'<th scope="col" class="n"><span class="key" style="background:{colour}"></span>{name}</th>'
        for name, colour in zip(EMOTIONS, COLOURS, strict=True)
    )
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">{what}</th><th scope="col">shares</th>'
        f'<th scope="col" class="n">seen and heard</th>{legend}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f'</div><p class="soft">{escape(note)}</p>'
    )


def _bar(shares: np.ndarray) -> str:
    """Shares ``(8,)`` of 1 as one stacked bar; their figures stand beside it."""
    edges = np.concatenate([[0.0], np.cumsum(shares)]) * 200
    parts = "".join(
        f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="16" fill="{colour}"/>'
        for left, right, colour in zip(edges[:-1], edges[1:], COLOURS, strict=True)
        if right - left >= 0.05
    )
    return (
        f'<svg class="bar" viewBox="0 0 200 16" preserveAspectRatio="none" aria-hidden="true">{parts}'
        '<rect class="frame" x="0" y="0" width="200" height="16"/></svg>'
    )


def _families_section(families: Sequence[Family], read: Sequence[dict[str, Any]]) -> str:
    if not families:
        return f"<p>Too few arcs with enough evidence: {LEAST_ARCS} are needed.</p>"
    by_id = {told["recording"]: told for told in read}
    items = []
    for number, family in enumerate(families, 1):
        members = [by_id[member] for member in family.members if member in by_id]
        shapes = Counter(told["summary"]["shape"]["text"] for told in members)
        names = "".join(f"<li>{escape(Path(told['path']).name)}</li>" for told in members)
        shape, count = shapes.most_common(1)[0]
        mean = float(family.mean.mean())
        text = (
            f"Family {number}: {len(members)} recordings, mean valence {mean:+.2f}, from {family.mean[0]:+.2f} to "
            f"{family.mean[-1]:+.2f}"
        )
        items.append(
            f"<li><strong>{text}</strong>{_family_svg(family, text)}"
            f'<p class="soft">Most frequent shape: {escape(shape)} ({count} of {len(members)}).</p>'
            f"<details><summary>Recordings, the most typical first</summary><ol>{names}</ol></details></li>"
        )
    return f'<ul class="families">{"".join(items)}</ul>'


def _family_svg(family: Family, text: str) -> str:
    x = np.linspace(0, 200, len(family.mean))

    def points(values: np.ndarray, xs: np.ndarray = x) -> str:
        return "L".join(f"{a:.1f} {40 - 38 * min(1.0, max(-1.0, v)):.1f}" for a, v in zip(xs, values, strict=True))

    band = f"{points(family.mean + family.spread)}L{points((family.mean - family.spread)[::-1], x[::-1])}"
    return (
        f'<svg viewBox="0 0 200 80" preserveAspectRatio="none" role="img" aria-label="{escape(text)}">'
        f'<path class="zero" stroke-dasharray="3 4" d="M0 40H200"/><path class="band-valence" d="M{band}Z"/>'
        f'<path class="valence" d="M{points(family.mean)}"/></svg>'
    )


def _recordings_table(
    read: Sequence[dict[str, Any]],
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    zone: tzinfo | None,
    links: bool,
) -> str:
    if not read:
        return "<p>None could be read.</p>"
    rows = []
    for told in sorted(read, key=lambda told: told["path"]):
        summary, identity = told["summary"], told["recording"]
        satisfaction = summary["satisfaction"]
        score = (
            "&ndash;" if satisfaction["score"] is None else f"{satisfaction['score']} &plusmn; {satisfaction['margin']}"
        )
        name = escape(Path(told["path"]).name)
        if links:
            name = f'<a href="{quote(f"arcs/recording={identity}/arc.html")}">{name}</a>'
        began = ""
        if told["began_at"]:
            began = f"{datetime.fromisoformat(told['began_at']).astimezone(zone):%Y-%m-%d %H:%M}"
        rows.append(
            f'<tr><th scope="row" class="path">{name}</th><td>{escape(told["place"])}</td><td>{began}</td>'
            f'<td class="n">{clock_text(told["duration_s"])}</td>'
            f"<td>{_curve_svg(*curves.get(identity, _NO_CURVE))}</td>"
            f"<td>{summary['emotion']['label'] or 'nobody'}</td>"
            f'<td class="n">{_valence(summary)}</td><td>{escape(summary["shape"]["text"])}</td>'
            f'<td class="n">{score}</td></tr>'
        )
    heads = "".join(
        f'<th scope="col"{" class=n" if number else ""}>{head}</th>'
        for head, number in (
            ("recording", False), ("place", False), ("began", False), ("length", True), ("arc of valence", False),
            ("mostly", False), ("valence", True), ("shape", False), ("satisfaction", True),
        )
    )  # fmt: skip
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


_NO_CURVE = (np.zeros(0), np.zeros(0))


def _valence(summary: dict[str, Any]) -> str:
    return f"{summary['emotion']['valence']:+.2f}" if summary["emotion"]["label"] else "&ndash;"


def _curve_svg(times: np.ndarray, valence: np.ndarray) -> str:
    """A small arc; its page has the large one. Never a line over a gap."""
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
    drawn = "".join(f"M{'L'.join(run if len(run) > 1 else run * 2)}" for run in [*parts, run] if run)
    return (
        '<svg class="small" viewBox="0 0 200 40" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="zero" stroke-dasharray="3 4" d="M0 20H200"/><path class="valence" d="{drawn}"/></svg>'
    )


def _troubles_table(troubled: Sequence[dict[str, Any]]) -> str:
    if not troubled:
        return "<p>None.</p>"
    rows = "".join(
        f'<tr><th scope="row" class="path">{escape(told["path"])}</th><td>{told["status"]}</td>'
        f"<td>{escape(told['reason'])}</td></tr>"
        for told in sorted(troubled, key=lambda told: told["path"])
    )
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">recording</th><th scope="col">what</th>'
        f'<th scope="col">reason</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _data(markers: Sequence[dict[str, Any]], turns: Sequence[Turn], time_zone: str) -> str:
    """What the search knows."""
    numbers = {told["recording"]: i for i, told in enumerate(markers)}
    kinds = ("face", "voice")
    told = {
        "emotions": EMOTIONS,
        "emotion_names": {name: i for i, name in enumerate(EMOTIONS)} | ALIASES,
        "kinds": kinds,
        "time_zone": time_zone,
        "recordings": [
            {
                "name": Path(told["path"]).name,
                "path": told["path"],
                "place": told["place"],
                "began": datetime.fromisoformat(told["began_at"]).astimezone(timezone.utc).timestamp()
                if told.get("began_at")
                else None,
            }
            for told in markers
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
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script>'
