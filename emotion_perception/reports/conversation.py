"""The files of a conversation: summary (JSON), samples (CSV) and a report for people (HTML).

The HTML is one file that needs nothing else: no script, no font, no picture from elsewhere (its content security
policy forbids them). The plot is inline SVG; every figure in it is also in a table. All text is escaped.
"""

from __future__ import annotations

import csv
import io
import json
import math
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import write_atomically
from emotion_perception.interaction.arc import Arc, ArcSample
from emotion_perception.types import SECOND, EmotionStatus, clock_text

if TYPE_CHECKING:
    from emotion_perception.interaction.summary import ConversationSummary

FORMAT_VERSION = 1
# Okabe & Ito (2008), told apart with any colour vision; light tones for pleasant and quiet, dark for unpleasant.
COLOURS = ("#999999", "#56b4e9", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#009e73", "#e69f00")


def write_files(folder: Path, summary: ConversationSummary, samples: Iterable[ArcSample]) -> tuple[Path, ...]:
    """Write ``<id>.csv``, ``<id>.html`` and ``<id>.json``, each as a whole or not at all; the JSON last.

    Raises:
        OSError: the disk does not take them.
    """
    csv_path, html_path, json_path = (
        folder / f"{summary.interaction_id}.{ending}" for ending in ("csv", "html", "json")
    )
    write_atomically(csv_path, csv_lines(samples))
    write_atomically(html_path, iter((html_page(summary),)))
    write_atomically(json_path, iter((json.dumps(summary_fields(summary), indent=1, allow_nan=False) + "\n",)))
    return json_path, csv_path, html_path


def csv_lines(samples: Iterable[ArcSample]) -> Iterator[str]:
    """A line per sample, with a header; without evidence the values are empty."""
    names = ["time", "status", "label", "confidence", "valence", "arousal", *EMOTIONS]
    yield _csv_row([*names, "visual_weight", "acoustic_weight", "text_weight", "person_id"])
    for sample in samples:
        when = f"{sample.time_ns / SECOND:.3f}"
        if not sample.has_evidence:
            yield _csv_row([when, sample.status.name, *[""] * (len(names) + 2)])
            continue
        numbers = (sample.confidence, sample.valence, sample.arousal, *sample.probabilities, *sample.weights)
        label = EMOTIONS[int(sample.probabilities.argmax())]
        yield _csv_row([when, sample.status.name, label, *(f"{x:.4f}" for x in numbers), sample.person_id])


def _csv_row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def summary_fields(summary: ConversationSummary) -> dict[str, Any]:
    """A summary as JSON-able fields; times are seconds, what is not known is null."""
    arc, satisfaction = summary.arc, summary.satisfaction
    return {
        "format": FORMAT_VERSION,
        "interaction_id": summary.interaction_id,
        "name": summary.name,
        "person_id": summary.person_id,
        "persons": {person: round(seconds, 2) for person, seconds in summary.persons.items()},
        "start": summary.start_ns / SECOND,
        "end": summary.end_ns / SECOND,
        "duration": round(summary.duration, 3),
        "ended_by": summary.ended_by,
        "recovered": summary.recovered,
        "text": summary.text,
        "coverage": {
            "any": round(summary.coverage, 4),
            "visual": round(summary.visual_coverage, 4),
            "acoustic": round(summary.acoustic_coverage, 4),
        },
        "satisfaction": {
            "score": satisfaction.score,
            "margin": satisfaction.margin,
            "verdict": satisfaction.verdict,
            "reason": satisfaction.reason,
            "factors": [
                {"name": item.name, "points": round(item.points, 2), "text": item.text} for item in satisfaction.factors
            ],
            "evidence_s": round(satisfaction.evidence_s, 2),
            "visual_s": round(satisfaction.visual_s, 2),
            "acoustic_s": round(satisfaction.acoustic_s, 2),
            "text_s": round(satisfaction.text_s, 2),
        },
        "emotion": {
            "label": summary.emotion.name if summary.coverage else None,
            "probabilities": dict(zip(EMOTIONS, _numbers(summary.emotion.probabilities), strict=True)),
            "confidence": round(summary.emotion.confidence, 4),
            "valence": round(summary.emotion.valence, 4),
            "arousal": round(summary.emotion.arousal, 4),
        },
        "seconds_by_label": dict(zip(EMOTIONS, _numbers(summary.seconds_by_label, 2), strict=True)),
        "label_changes": summary.label_changes,
        "best_moment": _moment(summary.best),
        "worst_moment": _moment(summary.worst),
        "valence_change": _number(summary.valence_change),
        "arc": arc_fields(arc),
    }


def arc_fields(arc: Arc) -> dict[str, Any]:
    """An arc as JSON-able fields; element i of a list is the bin that begins ``i * step`` seconds after the start."""
    shape = arc.shape
    return {
        "step": arc.step,
        "smoothing": round(arc.smoothing, 3),
        "status": [EmotionStatus(int(status)).name for status in arc.status],
        "label": [EMOTIONS[int(label)] if known else None for label, known in zip(arc.labels, arc.known, strict=True)],
        "confidence": _numbers(arc.confidence),
        "evidence": _numbers(arc.trust),
        "valence": _numbers(arc.valence),
        "valence_sd": _numbers(arc.valence_sd),
        "valence_smoothed": _numbers(arc.smooth_valence),
        "arousal": _numbers(arc.arousal),
        "arousal_sd": _numbers(arc.arousal_sd),
        "valence_trend": _number(arc.valence_trend),
        "arousal_trend": _number(arc.arousal_trend),
        "turning_points": [
            {
                "time": round(point.time, 2),
                "kind": "peak" if point.peak else "valley",
                "valence": round(point.valence, 4),
                "change_before": round(point.before, 4),
                "change_after": round(point.after, 4),
            }
            for point in arc.turning_points
        ],
        "shape": {
            "name": shape.shape.name,
            "text": shape.text,
            "correlation": _number(shape.correlation),
            "correlations": {key.name: round(r, 4) for key, r in shape.correlations.items()},
            "reason": shape.reason,
        },
    }


def _number(value: float, digits: int = 4) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _numbers(values: np.ndarray, digits: int = 4) -> list[float | None]:
    return [_number(float(value), digits) for value in values]


def _moment(moment: tuple[float, float] | None) -> dict[str, float] | None:
    return None if moment is None else {"time": round(moment[0], 2), "valence": round(moment[1], 4)}


# --- the report ---------------------------------------------------------------------------------------------------

_STYLE = """
:root{color-scheme:light
dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--panel:#f6f8fa;--valence:#0550ae;
--arousal:#953800;--gap:#eaeef2} @media
(prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--panel:#151b23;
--valence:#79c0ff;--arousal:#ffa657;--gap:#21262d}} body{margin:0 auto;max-width:60rem;padding:1.5rem
1rem;background:var(--paper);color:var(--ink); font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:.4rem 0}.soft{color:var(--soft)}
.score{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:baseline;background:var(--panel);
border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}
.score strong{font-size:2.25rem;line-height:1}
figure{margin:1rem 0}figcaption{color:var(--soft);font-size:.875rem}
.scroll{overflow-x:auto}svg{display:block;width:100%;min-width:34rem;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
.axis{stroke:var(--line);fill:none}.zero{stroke:var(--soft);fill:none}
.valence{stroke:var(--valence);fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}
.arousal{stroke:var(--arousal);fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dot-valence{fill:var(--valence);opacity:.55}.dot-arousal{fill:var(--arousal);opacity:.55}
.band-valence{fill:var(--valence);opacity:.16}.band-arousal{fill:var(--arousal);opacity:.16}
.gap{fill:var(--gap)}.turn{fill:var(--paper);stroke:var(--valence);stroke-width:2}
.frame{fill:none;stroke:var(--soft);stroke-width:.5}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right}summary{cursor:pointer}
.key{display:inline-block;width:.8em;height:.8em;border:1px solid var(--soft);margin-right:.4em}
@media print{body{max-width:none}details{display:none}}
"""


def html_page(summary: ConversationSummary, title: str = "", relative_time: bool = False) -> str:
    """The report.

    Args:
        summary: of the conversation.
        title: heading; made from the conversation's name where empty.
        relative_time: the start is not a date but the beginning of a recording.
    """
    heading = title or (f"Conversation: {summary.name}" if summary.name else "Conversation")
    length = clock_text(summary.duration)
    when = f"Length {length}" if relative_time else f"{_date(summary.start_ns)}, {length}, id {summary.interaction_id}"
    ended = f"; {summary.ended_by}" if summary.ended_by else ""
    note = ""
    if summary.recovered:
        note = "<p><strong>The recording was interrupted.</strong> This is all that had been recorded until then.</p>"
    sections = [
        f"<h1>{escape(heading)}</h1>",
        f'<p class="soft">{escape(when + ended)}.</p>',
        note,
        _score_section(summary),
        "<h2>Emotional arc</h2>",
        _arc_section(summary),
        "<h2>Time by emotion</h2>",
        _emotion_table(summary),
        _facts(summary),
        _points_table(summary.arc),
        "<h2>How to read this</h2>",
        _METHOD,
    ]
    return document(heading, sections)


def document(title: str, sections: Iterable[str], style: str = "", script: str = "") -> str:
    """A page that needs nothing else, and may load nothing.

    Args:
        title: plain text.
        sections: HTML, in order; empty ones are left out.
        style: more of it, behind that of every report.
        script: the only one that the page runs.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    if script:
        policy += f"; script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


_METHOD = """<p>Estimated from facial expression and tone of voice by statistical models, which are often wrong about a
single moment and do not know what a person feels. Grey stretches of the plot had neither a face nor a voice; nothing
is filled in there. Valence is how pleasant, arousal how excited, both from &minus;1 to 1. The score is 50 for
indifference; half of its level is the whole conversation, half its end and its most intense moment, which people
remember most. Its weights are reasoned and not fitted to any survey, and the margin covers the estimates' own doubt
only. The shapes are the six arcs of stories of Reagan et al. (2016).</p>"""


def _date(ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ns / SECOND, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{ns / SECOND:.0f} s on the robot's clock"


def _score_section(summary: ConversationSummary) -> str:
    result = summary.satisfaction
    if result.score is None:
        return (
            '<div class="score"><strong>&ndash;</strong><span>No satisfaction score: '
            f"{escape(result.reason)}.</span></div>"
        )
    large = [(item.text, item.points) for item in result.factors if abs(item.points) >= 0.5]
    rest = sum(item.points for item in result.factors if abs(item.points) < 0.5)
    rows = "".join(
        f'<tr><td>{escape(text)}</td><td class="n">{points:+.1f}</td></tr>'
        for text, points in [*large, *([("all else", rest)] if abs(rest) >= 0.05 else [])]
    )
    return (
        f'<div class="score"><strong>{result.score} &plusmn; {result.margin}</strong>'
        f"<span>satisfaction of 100: {escape(result.verdict)}<br>"
        f'<span class="soft">from {escape(result.reason)}</span></span></div>\n'
        '<table><caption class="soft">What moved the score, from 50, in points</caption>'
        '<thead><tr><th scope="col">what</th><th scope="col" class="n">points</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _arc_section(summary: ConversationSummary) -> str:
    arc = summary.arc
    described = f"Shape: {arc.shape.text}; {arc.shape.reason}."
    turns = (
        "; ".join(
            f"{'peak' if point.peak else 'valley'} at {clock_text(point.time)}, valence {point.valence:+.2f}"
            for point in arc.turning_points
        )
        or "none beyond noise"
    )
    legend = "".join(
        f'<span class="key" style="background:{colour}"></span>{name} &nbsp;'
        for name, colour in zip(EMOTIONS, COLOURS, strict=True)
    )
    return (
        f'<figure><div class="scroll">{arc_svg(arc)}</div><figcaption>Dots: means of {arc.step:g} s. Lines: smoothed '
        f"(Gaussian, sigma {arc.smoothing:.1f} s). Bands: 1 standard deviation of the dots. Circles: turning points. "
        f"Grey: no evidence.<br>Lowest strip, most probable emotion: {legend}</figcaption></figure>\n"
        f"<p>{escape(described)}</p><p>Turning points: {escape(turns)}.</p>"
    )


def _emotion_table(summary: ConversationSummary) -> str:
    seconds, total = summary.seconds_by_label, float(summary.seconds_by_label.sum())
    if not total:
        return "<p>Nobody was seen or heard.</p>"
    rows = "".join(
        f'<tr><td><span class="key" style="background:{COLOURS[i]}"></span>{EMOTIONS[i]}</td>'
        f'<td class="n">{clock_text(seconds[i])}</td><td class="n">{100 * seconds[i] / total:.0f} %</td>'
        f'<td class="n">{100 * summary.emotion.probabilities[i]:.0f} %</td></tr>'
        for i in np.argsort(-seconds, kind="stable")
    )
    return (
        '<table><thead><tr><th scope="col">emotion</th><th scope="col" class="n">time</th>'
        '<th scope="col" class="n">share</th><th scope="col" class="n">mean probability</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _facts(summary: ConversationSummary) -> str:
    facts = [
        f"Evidence for {100 * summary.coverage:.0f} % of the time: a face for {100 * summary.visual_coverage:.0f} %, "
        f"a voice for {100 * summary.acoustic_coverage:.0f} %."
    ]
    if summary.best is not None and summary.worst is not None:
        facts.append(
            f"Best moment at {clock_text(summary.best[0])} (valence {summary.best[1]:+.2f}), "
            f"worst at {clock_text(summary.worst[0])} ({summary.worst[1]:+.2f})."
        )
    if len(summary.persons) > 1:
        facts.append("Persons: " + ", ".join(f"{who} {clock_text(s)}" for who, s in summary.persons.items()) + ".")
    return "".join(f"<p>{escape(fact)}</p>" for fact in facts)


def _points_table(arc: Arc) -> str:
    rows = []
    for i in range(len(arc)):
        start = f"<tr><td>{clock_text(i * arc.step)}</td>"
        if not arc.known[i]:
            rows.append(f'{start}<td colspan="4">no evidence</td></tr>')
            continue
        rows.append(
            f'{start}<td>{EMOTIONS[int(arc.labels[i])]}</td><td class="n">{100 * arc.confidence[i]:.0f} %</td>'
            f'<td class="n">{arc.valence[i]:+.2f} &plusmn; {arc.valence_sd[i]:.2f}</td>'
            f'<td class="n">{arc.arousal[i]:+.2f} &plusmn; {arc.arousal_sd[i]:.2f}</td></tr>'
        )
    return (
        "<details><summary>All points of the arc</summary><table><thead><tr>"
        '<th scope="col">from</th><th scope="col">emotion</th><th scope="col" class="n">confidence</th>'
        '<th scope="col" class="n">valence</th><th scope="col" class="n">arousal</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


_LEFT, _RIGHT, _WIDTH, _PLOT, _STRIP = 64.0, 16.0, 900.0, 150.0, 18.0


def arc_svg(arc: Arc) -> str:
    """Valence and arousal over time, one above the other, and the most probable emotion below; for inline use."""
    duration = max(arc.duration, 1e-9)
    width = _WIDTH - _LEFT - _RIGHT

    def x(seconds: float) -> float:
        return _LEFT + width * min(1.0, max(0.0, seconds / duration))

    runs = _runs(arc.known)
    label = (
        f"Valence and arousal over {clock_text(arc.duration)}. Shape: {arc.shape.text}. "
        f"{len(arc.turning_points)} turning points. Evidence for {arc.evidence_s.sum():.0f} s. "
        "All values are in the table below."
    )
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:.0f} 400" role="img" aria-labelledby="arc-title arc-desc" '
        'xmlns="http://www.w3.org/2000/svg">',
        f'<title id="arc-title">Emotional arc</title><desc id="arc-desc">{escape(label)}</desc>',
    ]
    plots = (
        ("valence", 14.0, arc.valence, arc.valence_sd, arc.smooth_valence, ("pleasant", "unpleasant")),
        ("arousal", 186.0, arc.arousal, arc.arousal_sd, arc.smooth_arousal, ("excited", "drowsy")),
    )
    for name, top, values, sd, curve, (upper, lower) in plots:

        def y(value: float, top: float = top) -> float:
            return top + _PLOT * (1 - min(1.0, max(-1.0, value))) / 2

        for begin, end in _runs(~arc.known):
            left, right = x(begin * arc.step), x(end * arc.step)
            parts.append(
                f'<rect class="gap" x="{left:.1f}" y="{top:.0f}" width="{right - left:.1f}" height="{_PLOT:.0f}"/>'
            )
        parts.append(f'<rect class="axis" x="{_LEFT:.0f}" y="{top:.0f}" width="{width:.0f}" height="{_PLOT:.0f}"/>')
        parts.append(f'<path class="zero" stroke-dasharray="3 4" d="M{_LEFT:.0f} {y(0):.1f}H{_LEFT + width:.0f}"/>')
        for value, text in ((1, "+1"), (0, "0"), (-1, "\u22121")):
            parts.append(f'<text x="{_LEFT - 8:.0f}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>')
        parts.append(f'<text x="{_LEFT + 6:.0f}" y="{top + 14:.0f}">{name}: {upper}</text>')
        parts.append(f'<text x="{_LEFT + 6:.0f}" y="{top + _PLOT - 6:.0f}">{lower}</text>')
        for begin, end in runs:  # never a line over a gap
            inside = range(begin, end)
            at = [x(float(arc.times[i])) for i in inside]
            upper_edge = [f"{a:.1f} {y(values[i] + sd[i]):.1f}" for a, i in zip(at, inside, strict=True)]
            lower_edge = [f"{a:.1f} {y(values[i] - sd[i]):.1f}" for a, i in zip(at, inside, strict=True)]
            if len(at) > 1:
                parts.append(f'<path class="band-{name}" d="M{"L".join(upper_edge + lower_edge[::-1])}Z"/>')
                line = "L".join(f"{a:.1f} {y(curve[i]):.1f}" for a, i in zip(at, inside, strict=True))
                parts.append(f'<path class="{name}" d="M{line}"/>')
            parts += [
                f'<circle class="dot-{name}" cx="{a:.1f}" cy="{y(values[i]):.1f}" r="1.8"/>'
                for a, i in zip(at, inside, strict=True)
            ]
        if name == "valence":
            parts += [
                f'<circle class="turn" cx="{x(point.time):.1f}" cy="{y(point.valence):.1f}" r="5"/>'
                for point in arc.turning_points
            ]
    top = 350.0
    labels = arc.labels
    for begin, end in runs:
        for first, last in _runs_of_equal(labels, begin, end):
            left, right = x(first * arc.step), x(last * arc.step)
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.0f}" width="{right - left:.1f}" height="{_STRIP:.0f}" '
                f'fill="{COLOURS[int(labels[first])]}"><title>{EMOTIONS[int(labels[first])]}, '
                f"{clock_text(first * arc.step)} to {clock_text(min(duration, last * arc.step))}</title></rect>"
            )
    parts.append(f'<rect class="frame" x="{_LEFT:.0f}" y="{top:.0f}" width="{width:.0f}" height="{_STRIP:.0f}"/>')
    for tick in _ticks(duration):
        parts.append(f'<text x="{x(tick):.1f}" y="386" text-anchor="middle">{clock_text(tick)}</text>')
    return "\n".join([*parts, "</svg>"])


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end (exclusive) of each stretch of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _runs_of_equal(values: np.ndarray, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Begin and end (exclusive) of each stretch of one value within ``begin..end``."""
    first = begin
    for i in range(begin + 1, end + 1):
        if i == end or values[i] != values[first]:
            yield first, i
            first = i


def _ticks(duration: float) -> list[float]:
    """Round times for the axis, ten at most."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400):
        if duration / step <= 10:
            return [float(t) for t in range(0, int(duration) + 1, step)]
    return [0.0, duration]
