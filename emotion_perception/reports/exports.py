"""Reports to take away: a conversation, a day or a week, as PDF, HTML, CSV or JSON; numbers, if no more is asked for.

HTML and PDF show small pictures of people where they are asked for and the configuration has consented to storing them
(:mod:`emotion_perception.feedback.pictures`). All four are made of the same :class:`Report`: a heading, facts, tables,
and arcs as numbers; so they say the same.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from html import escape
from typing import Any

from emotion_perception.emotions import EMOTIONS
from emotion_perception.feedback.pictures import CONSENT, NoConsent, Picture, Pictures, evenly
from emotion_perception.interaction.history import Archive, NotStored, period
from emotion_perception.reports.conversation import COLOURS
from emotion_perception.types import clock_text

Z = 1.96  # of a 95 % interval
MOST_PICTURES = 24  # in a report; 6 kB each
MEAN_ARC_PARTS = 20  # of a conversation, from beginning to end
METHOD = (
    "Estimated from facial expression and tone of voice by statistical models, which are often wrong about a single "
    "moment and do not know what a person feels. Satisfaction is 0 to 100, 50 is indifference; its weights are "
    "reasoned, not fitted to any survey. Intervals are 95 %. They cover chance and the estimates' own doubt, not a "
    "model that is wrong with confidence. Decide nothing about a single person by this."
)


@dataclass(frozen=True)
class Table:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int = 0  # so many columns, from the right, hold numbers
    colours: tuple[str, ...] = ()  # a colour before the first cell of each row


@dataclass(frozen=True)
class Curve:
    """An arc to be drawn: values -1..1 over time, None where nothing was seen or heard."""

    title: str
    seconds: float  # length of all
    step: float  # s between two values
    valence: tuple[float | None, ...]
    arousal: tuple[float | None, ...]
    strip: tuple[str | None, ...] = ()  # colour of the most probable emotion
    band: tuple[tuple[float, float] | None, ...] = ()  # 95 % interval of the valence
    marks: tuple[str, ...] = ()  # five texts under the time axis; without them minutes and seconds
    legend: str = (
        "Solid: valence (pleasant). Dashed: arousal (excited). Strip: most probable emotion. Gaps: no evidence."
    )

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Five places on the time axis, s, and what is written there."""
        places = [self.seconds * part / 4 for part in range(5)]
        return tuple(zip(places, self.marks or [clock_text(place) for place in places], strict=True))


@dataclass(frozen=True)
class Portrait:
    """A small picture of somebody, and what is to be said of it."""

    jpeg: bytes
    caption: str


@dataclass(frozen=True)
class Report:
    """What a report says."""

    name: str  # as a file name
    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    curves: tuple[Curve, ...] = ()
    rows: tuple[dict[str, Any], ...] = field(default=())  # a line of the CSV each
    portraits: tuple[Portrait, ...] = ()  # in HTML and PDF


# --- what is said -------------------------------------------------------------------------------------------------


def conversation_report(archive: Archive, interaction_id: str, pictures: Pictures | None = None) -> Report:
    """The report of one conversation; with ``pictures`` it shows who it was with as each stretch of an emotion began.

    Raises:
        NotStored: there is no such conversation.
        NoConsent: storing pictures was not consented to.
    """
    fields = archive.read(interaction_id)
    try:
        report = _conversation(interaction_id, fields)
        if pictures is None:
            return report
        start = float(fields["start"])
        chosen = [
            (found, f"{clock_text(max(0.0, found.stamp_ns / 1e9 - start))} {found.label}")
            for found in evenly(pictures.of(interaction_id), MOST_PICTURES)
        ]
        return replace(report, portraits=_portraits(chosen))
    except (KeyError, TypeError, IndexError) as error:
        raise NotStored(f"conversation {interaction_id!r} cannot be read: {error!r} in its file") from None


def _portraits(chosen: Sequence[tuple[Picture, str]]) -> tuple[Portrait, ...]:
    made = []
    for picture, caption in chosen:
        with contextlib.suppress(FileNotFoundError):  # its time was over just now
            made.append(Portrait(picture.path.read_bytes(), caption))
    return tuple(made)


def _conversation(interaction_id: str, fields: dict[str, Any]) -> Report:
    satisfaction, arc, coverage = fields["satisfaction"], fields["arc"], fields["coverage"]
    known = satisfaction["score"] is not None
    facts = [
        ("Satisfaction", f"{satisfaction['score']} ± {satisfaction['margin']} of 100" if known else "no score"),
        ("Verdict" if known else "Reason", str(satisfaction["verdict"] if known else satisfaction["reason"])),
        ("Evidence", f"{100 * coverage['any']:.0f} % of the time"),
        ("Face / voice", f"{100 * coverage['visual']:.0f} % / {100 * coverage['acoustic']:.0f} %"),
        ("Shape of the arc", str(arc["shape"]["text"])),
        ("Change of valence", _signed(fields["valence_change"])),
    ]
    if fields["recovered"]:
        facts.append(("Interrupted", "this is all that was recorded until then"))
    factors = [(str(item["text"]), _signed(item["points"], 1)) for item in satisfaction["factors"]]
    turns = [
        (clock_text(point["time"]), str(point["kind"]), _signed(point["valence"]), _signed(point["change_before"]))
        for point in arc["turning_points"]
    ]
    tables = [
        _time_by_emotion(fields["seconds_by_label"], fields["emotion"]["probabilities"]),
        Table("What moved the score, from 50", ("what", "points"), tuple(factors), 1),
        Table("Turning points", ("when", "kind", "valence", "change before"), tuple(turns), 2),
    ]
    colours = dict(zip(EMOTIONS, COLOURS, strict=True))
    curve = Curve(
        "Emotional arc",
        float(fields["duration"]),
        float(arc["step"]),
        tuple(arc["valence"]),
        tuple(arc["arousal"]),
        tuple(colours.get(label) for label in arc["label"]),
    )
    rows = [
        {
            "seconds": round(i * arc["step"], 3),
            "status": arc["status"][i],
            "label": arc["label"][i],
            **{
                key: arc[key][i] for key in ("confidence", "evidence", "valence", "valence_sd", "arousal", "arousal_sd")
            },
        }
        for i in range(len(arc["valence"]))
    ]
    who = f"{fields['name'] or fields['person_id'] or 'conversation'}"
    subtitle = f"{_when(fields['start'])}, {clock_text(fields['duration'])}; {fields['ended_by']}; id {interaction_id}"
    return Report(
        interaction_id,
        f"Conversation: {who}",
        subtitle,
        tuple(facts),
        tuple(table for table in tables if table.rows),
        (curve,),
        tuple(rows),
    )


def period_report(archive: Archive, kind: str, name: str, pictures: Pictures | None = None) -> Report:
    """The report of a day or a week: how many, how satisfied, what was shown, hour by hour or day by day.

    With ``pictures`` it shows who the conversations were with, one picture each.

    Raises:
        NotStored: the name is no day or week.
        NoConsent: storing pictures was not consented to.
    """
    wanted = period(kind, name)
    found = archive.within(wanted)
    scored = [entry for entry in found if entry["score"] is not None]
    seconds = sum(entry["duration"] for entry in found)
    facts = [
        ("Conversations", str(len(found))),
        ("Time in conversation", clock_text(seconds)),
        ("Rated", f"{len(scored)} of {len(found)}"),
        ("Mean satisfaction", mean_text(scored)),
        *(
            (verdict.capitalize(), share_text(sum(entry["verdict"] == verdict for entry in scored), len(scored)))
            for verdict in ("satisfied", "undecided", "dissatisfied")
        ),
        ("Got better", share_text(*_got_better(found))),
    ]
    by_label = {label: sum(entry["seconds_by_label"].get(label, 0.0) for entry in found) for label in EMOTIONS}
    parts: dict[str, list[dict[str, Any]]] = {}
    for entry in found:
        when = datetime.fromtimestamp(entry["start"])
        parts.setdefault(f"{when:%H}:00" if kind == "day" else f"{when:%A %d %B}", []).append(entry)
    split = tuple(
        (part, str(len(those)), mean_text([e for e in those if e["score"] is not None]), _mood_of(those))
        for part, those in parts.items()
    )
    lines = tuple(
        (
            f"{datetime.fromtimestamp(entry['start']):%a %H:%M}" + (f" {entry['name']}" if entry["name"] else ""),
            clock_text(entry["duration"]),
            str(entry["label"] or "nobody"),
            "no score" if entry["score"] is None else f"{entry['score']} ± {entry['margin']}",
        )
        for entry in found
    )
    tables = [
        Table("By hour" if kind == "day" else "By day", ("when", "conversations", "satisfaction", "valence"), split, 3),
        _time_by_emotion(by_label, None),
        Table("All conversations", ("when", "length", "mostly", "satisfaction"), lines, 1),
    ]
    kept = (
        "id",
        "name",
        "person_id",
        "start",
        "duration",
        "coverage",
        "label",
        "valence",
        "score",
        "margin",
        "verdict",
    )
    rows = tuple({key: entry[key] for key in kept} | {"shape": entry["shape"]} for entry in found)
    portraits = []
    if pictures is not None:
        firsts = [(those[0], entry) for entry in found if (those := pictures.of(entry["id"]))]
        step = max(1, -(-len(firsts) // MOST_PICTURES))
        portraits = [(one, f"{datetime.fromtimestamp(e['start']):%a %H:%M} {one.label}") for one, e in firsts[::step]]
    first = datetime.fromtimestamp(wanted.start)
    title = f"{first:%A, %d %B %Y}" if kind == "day" else f"Week {wanted.name[-2:]} of {wanted.name[:4]}"
    made = f"made {_when(datetime.now().timestamp())}"
    return Report(
        f"{kind}-{name}",
        title,
        f"{'Day' if kind == 'day' else 'Week'} report of conversations; {made}",
        tuple(facts),
        tuple(table for table in tables if table.rows),
        _mean_arc(found),
        rows,
        _portraits(portraits),
    )


def _mean_arc(entries: Sequence[dict[str, Any]]) -> tuple[Curve, ...]:
    """How conversations go from beginning to end: the mean of their smoothed valence, each stretched to one length."""
    lines = [entry["line"] for entry in entries if any(value is not None for value in entry["line"])]
    if not lines:
        return ()
    means: list[float | None] = []
    band: list[tuple[float, float] | None] = []
    for part in range(MEAN_ARC_PARTS):
        found = [line[int((part + 0.5) * len(line) / MEAN_ARC_PARTS)] for line in lines]
        known = [value for value in found if value is not None]
        mean = sum(known) / len(known) if known else None
        means.append(mean)
        if mean is None or len(known) < 2:
            band.append(None)
            continue
        spread = math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
        half = _student(len(known) - 1) * spread / math.sqrt(len(known))
        band.append((max(-1.0, mean - half), min(1.0, mean + half)))
    count = f"{len(lines)} conversations" if len(lines) > 1 else "1 conversation"
    curve = Curve(
        f"From beginning to end, mean of {count}",
        float(MEAN_ARC_PARTS),
        1.0,
        tuple(means),
        (),
        band=tuple(band),
        marks=("begin", "1/4", "half", "3/4", "end"),
        legend="Valence (pleasant above, unpleasant below), each conversation stretched to the same length. "
        "Band: 95 % interval of the mean, where there are several.",
    )
    return (curve,)


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which holds for few and for extreme counts too; 0..1 without any."""
    if total == 0:
        return 0.0, 1.0
    p, z2 = count / total, Z * Z
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def share_text(count: int, total: int) -> str:
    """``7 of 9 (45 to 94 %)``."""
    if total == 0:
        return "none rated"
    low, high = share_interval(count, total)
    return f"{count} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def mean_interval(scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval, of scores with margins (half-widths of 95 % intervals each).

    The conversations' own margins and how they differ from each other both count: what differs already holds each one's
    doubt, so the larger of the two is taken.
    """
    n = len(scores)
    mean = sum(score for score, _ in scores) / n
    own = math.sqrt(sum(margin**2 for _, margin in scores)) / n
    if n == 1:
        return mean, own
    spread = math.sqrt(sum((score - mean) ** 2 for score, _ in scores) / (n - 1))
    return mean, max(own, _student(n - 1) * spread / math.sqrt(n))


def mean_text(entries: Sequence[dict[str, Any]]) -> str:
    """``61 ± 9`` of the entries' scores."""
    if not entries:
        return "none rated"
    mean, half = mean_interval([(float(entry["score"]), float(entry["margin"])) for entry in entries])
    return f"{mean:.0f} ± {math.ceil(half)}"


def _student(freedom: int) -> float:
    """97.5 % point of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def _got_better(entries: Sequence[dict[str, Any]]) -> tuple[int, int]:
    known = [entry["valence_change"] for entry in entries if entry["valence_change"] is not None]
    return sum(change > 0.1 for change in known), len(known)


def _mood_of(entries: Sequence[dict[str, Any]]) -> str:
    seen = [(entry["valence"], entry["duration"] * entry["coverage"]) for entry in entries if entry["label"]]
    total = sum(weight for _, weight in seen)
    return _signed(sum(valence * weight for valence, weight in seen) / total) if total else "unknown"


def _time_by_emotion(seconds: dict[str, Any], probabilities: dict[str, Any] | None) -> Table:
    total = sum(float(value or 0) for value in seconds.values())
    order = sorted((label for label in EMOTIONS if seconds.get(label)), key=lambda label: -float(seconds[label]))
    rows = []
    for label in order:
        cells = [label, clock_text(seconds[label]), f"{100 * seconds[label] / total:.0f} %"]
        if probabilities is not None:
            cells.append(f"{100 * (probabilities.get(label) or 0):.0f} %")
        rows.append(tuple(cells))
    columns = ("emotion", "time", "share") + (("mean probability",) if probabilities is not None else ())
    colours = tuple(COLOURS[EMOTIONS.index(label)] for label in order)
    return Table("Time by emotion", columns, tuple(rows), len(columns) - 1, colours)


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def _signed(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "unknown"
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]  # no minus before a zero


# --- how it is written --------------------------------------------------------------------------------------------

_STYLE = """
:root{color-scheme:light dark;--ink:#131820;--soft:#566070;--line:#dfe4ea;--paper:#fff;--well:#f3f5f8;
--v:#0a5cc2;--a:#a34700}
@media(prefers-color-scheme:dark){:root{--ink:#e9edf3;--soft:#9aa5b5;--line:#28303b;--paper:#0f1319;--well:#191f28;
--v:#74b4ff;--a:#ffb070}}
body{margin:0 auto;max-width:56rem;padding:1.5rem 1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}.soft{color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:.8rem 1.5rem;background:var(--well);
border-radius:.75rem;padding:1rem;margin:1rem 0}dt{color:var(--soft);font-size:.875rem}dd{margin:0;font-weight:600}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line)}.n{text-align:right}
.key{display:inline-block;width:.8em;height:.8em;margin-right:.5em;border:1px solid var(--soft)}
svg{display:block;width:100%;height:auto}text{fill:var(--soft);font:12px system-ui,sans-serif}
.v{stroke:var(--v);fill:none;stroke-width:2}.a{stroke:var(--a);fill:none;stroke-width:1.5;stroke-dasharray:6 4}
.p{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;width:7rem}.p img{width:100%;border-radius:.5rem}
figcaption{color:var(--soft);font-size:.875rem}
.z{stroke:var(--line);fill:none}.b{fill:var(--v);opacity:.15}@media(max-width:40rem){text{font-size:22px}}
@media print{body{max-width:none}}
"""


def as_html(report: Report) -> bytes:
    """A page that needs nothing else: no script, nothing loaded."""
    parts = [f"<h1>{escape(report.title)}</h1>", f'<p class="soft">{escape(report.subtitle)}</p>', "<dl>"]
    parts += [f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in report.facts]
    parts.append("</dl>")
    for curve in report.curves:
        parts += [f"<h2>{escape(curve.title)}</h2>", _svg(curve)]
    for table in report.tables:
        first_number = len(table.columns) - table.numbers
        head = "".join(
            f'<th scope="col"{_n(i >= first_number)}>{escape(name)}</th>' for i, name in enumerate(table.columns)
        )
        body = []
        for at, row in enumerate(table.rows):
            key = f'<span class="key" style="background:{table.colours[at]}"></span>' if table.colours else ""
            cells = "".join(
                f"<td{_n(i >= first_number)}>{key if i == 0 else ''}{escape(cell)}</td>" for i, cell in enumerate(row)
            )
            body.append(f"<tr>{cells}</tr>")
        parts.append(
            f"<h2>{escape(table.title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        )
    if report.portraits:
        parts.append('<h2>Pictures</h2><div class="p">')
        parts += [
            f'<figure><img src="data:image/jpeg;base64,{base64.b64encode(one.jpeg).decode()}" '
            f'alt="Face at {escape(one.caption)}"><figcaption>{escape(one.caption)}</figcaption></figure>'
            for one in report.portraits
        ]
        parts.append("</div>")
    parts += ["<h2>How to read this</h2>", f'<p class="soft">{escape(METHOD)}</p>']
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("; img-src data:" if report.portraits else "")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )
    return page.encode()


def _n(number: bool) -> str:
    return ' class="n"' if number else ""


def _runs(values: Sequence[float | None]) -> list[tuple[int, int]]:
    """Begin and end (exclusive) of each stretch of known values."""
    runs, begin = [], None
    for i, value in enumerate([*values, None]):
        if value is not None and begin is None:
            begin = i
        elif value is None and begin is not None:
            runs.append((begin, i))
            begin = None
    return runs


def _limits(curve: Curve, begin: int, end: int) -> list[tuple[int, tuple[float, float]]]:
    """Number and limits of each part of a stretch of the band."""
    return [(i, limits) for i in range(begin, end) if (limits := curve.band[i]) is not None]


def _svg(curve: Curve) -> str:
    width, height, left = 880.0, 180.0, 34.0

    def x(i: float) -> float:
        return left + (width - left) * min(1.0, i * curve.step / max(curve.seconds, 1e-9))

    def y(value: float) -> float:
        return 8 + height * (1 - value) / 2

    label = f"{curve.title}. {curve.legend}"
    parts = [f'<svg viewBox="0 -10 {width:.0f} 250" role="img"><title>{escape(label)}</title>']
    parts += [f'<path class="z" d="M{left} {y(v):.0f}H{width}"/>' for v in (-1, 0, 1)]
    parts += [
        f'<text x="{left - 6}" y="{y(v) + 4:.0f}" text-anchor="end">{text}</text>'
        for v, text in ((1, "+1"), (0, "0"), (-1, "\u22121"))
    ]
    for begin, end in _runs([None if limits is None else limits[0] for limits in curve.band]):
        edge = [f"{x(i + 0.5):.1f} {y(low):.1f}" for i, (low, _) in _limits(curve, begin, end)]
        edge += [f"{x(i + 0.5):.1f} {y(high):.1f}" for i, (_, high) in _limits(curve, begin, end)][::-1]
        parts.append(f'<path class="b" d="M{"L".join(edge)}Z"/>')
    for values, kind in ((curve.arousal, "a"), (curve.valence, "v")):
        for begin, end in _runs(values):
            line = "L".join(f"{x(i + 0.5):.1f} {y(values[i] or 0.0):.1f}" for i in range(begin, end))
            parts.append(f'<path class="{kind}" d="M{line}"/>')
    for i, colour in enumerate(curve.strip):
        if colour:
            parts.append(
                f'<rect x="{x(i):.1f}" y="196" width="{x(i + 1) - x(i) + 0.3:.1f}" height="14" fill="{colour}"/>'
            )
    for part, (at, text) in enumerate(curve.ticks):
        anchor = "end" if part == 4 else "start" if part == 0 else "middle"
        parts.append(f'<text x="{x(at / curve.step):.0f}" y="228" text-anchor="{anchor}">{escape(text)}</text>')
    return "".join(parts) + f'</svg><p class="soft">{escape(curve.legend)}</p>'


def as_csv(report: Report) -> bytes:
    """A line per moment of a conversation, or per conversation of a day or week."""
    text = io.StringIO()
    if report.rows:
        writer = csv.DictWriter(text, list(report.rows[0]), lineterminator="\r\n")
        writer.writeheader()
        for row in report.rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue().encode("utf-8-sig")  # spreadsheets take it for UTF-8 by this mark alone


def _cell(value: Any) -> Any:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_json(report: Report) -> bytes:
    """Facts and rows for other programs."""
    fields = {"title": report.title, "facts": dict(report.facts), "rows": list(report.rows)}
    return (json.dumps(fields, indent=1, allow_nan=False) + "\n").encode()


def as_pdf(report: Report) -> bytes:
    """An A4 document with real text, made to be printed."""
    from emotion_perception.reports.pdf import document

    return document(report, METHOD)


@dataclass(frozen=True)
class Export:
    """One way to write a report."""

    write: Callable[[Report], bytes]
    media_type: str
    charset: str | None = None
    shows_pictures: bool = False

    def make(
        self, archive: Archive, kind: str, name: str, with_pictures: bool = False, pictures: Pictures | None = None
    ) -> tuple[bytes, str]:
        """The report of a conversation (by id), a day or a week, and its file name without ending.

        Args:
            with_pictures: show pictures of people.
            pictures: where they are kept.

        Raises:
            NotStored: there is none.
            NoConsent: pictures are wanted, and storing them was not consented to.
            ValueError: pictures are wanted in a table of numbers.
        """
        shown = None
        if with_pictures:
            if not self.shows_pictures:
                raise ValueError("CSV and JSON never have pictures; ask for html or pdf")
            if pictures is None or not pictures.config.consented:
                raise NoConsent(CONSENT)
            shown = pictures
        if kind == "conversation":
            report = conversation_report(archive, name, shown)
        else:
            report = period_report(archive, kind, name, shown)
        return self.write(report), report.name


EXPORTS: dict[str, Export] = {
    "html": Export(as_html, "text/html", "utf-8", shows_pictures=True),
    "pdf": Export(as_pdf, "application/pdf", shows_pictures=True),
    "csv": Export(as_csv, "text/csv", "utf-8"),
    "json": Export(as_json, "application/json"),
}
