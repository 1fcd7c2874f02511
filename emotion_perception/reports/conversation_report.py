"""Content of the report of one conversation, from the fields of its JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from emotion_perception.emotions import EMOTION_COLOURS, EMOTIONS
from emotion_perception.reports.document import (
    Block,
    Chart,
    Document,
    Facts,
    Heading,
    Line,
    Paragraph,
    Portrait,
    Portraits,
    Table,
    plain,
)
from emotion_perception.reports.statistics import signed
from emotion_perception.types import clock_text

METHOD = (
    "Estimated from facial expression and tone of voice by statistical models, which are often wrong about a single "
    "moment and do not know what a person feels. Where there was neither a face nor a voice, nothing is filled in. "
    "Valence is how pleasant, arousal how excited, both from \u22121 to 1. Satisfaction is 0 to 100, 50 is "
    "indifference; half of its level is the whole conversation, half its end and its most intense moment, which "
    "people remember most. Its weights are reasoned, not fitted to any survey. Intervals are 95 %; they cover chance "
    "and the estimates' own uncertainty, not a model that is wrong with confidence. The shapes are the six arcs of "
    "stories of Reagan et al. (2016). Decide nothing about a single person by this."
)
READING = (Heading("How to read this"), Paragraph(METHOD))


def conversation_document(
    interaction_id: str,
    fields: dict[str, Any],
    title: str = "",
    relative_time: bool = False,
    portraits: Sequence[Portrait] = (),
) -> Document:
    """The report of a conversation.

    Args:
        interaction_id: its id.
        fields: of its JSON file, as :func:`~emotion_perception.reports.conversation.summary_fields` makes them.
        title: heading; made from the conversation's name if empty.
        relative_time: the start is the beginning of a recording, not a date.
        portraits: face images to show.
    """
    arc, duration = fields["arc"], float(fields["duration"])
    name = plain(fields["name"] or fields["person_id"])
    subtitle = (
        f"Length {clock_text(duration)}" if relative_time else f"{when_text(fields['start'])}, {clock_text(duration)}"
    )
    if fields["ended_by"]:
        subtitle += f"; {plain(fields['ended_by'])}"
    if not relative_time:
        subtitle += f"; id {interaction_id}"
    blocks: list[Block] = []
    if fields["recovered"]:
        blocks.append(Paragraph("The recording was interrupted. This is all that had been recorded until then."))
    blocks += [Facts(_facts(fields)), *_score(fields["satisfaction"]), _chart(fields)]
    blocks += [
        Paragraph(f"Shape: {plain(arc['shape']['text'])}; {plain(arc['shape'].get('reason', ''))}."),
        Paragraph(_remarks(fields)),
        time_by_emotion(fields["seconds_by_label"], fields["emotion"]["probabilities"]),
        _turning_points(arc),
    ]
    if portraits:
        blocks.append(Portraits(tuple(portraits)))
    blocks += [_points(arc), *READING]
    kept = tuple(block for block in blocks if not isinstance(block, Table) or block.rows)
    heading = title or (f"Conversation: {name}" if name else "Conversation")
    return Document(interaction_id, plain(heading), subtitle, kept, _rows(arc))


def _facts(fields: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    satisfaction, arc, coverage = fields["satisfaction"], fields["arc"], fields["coverage"]
    known = satisfaction["score"] is not None
    return (
        ("Satisfaction", f"{satisfaction['score']} ± {satisfaction['margin']} of 100" if known else "no score"),
        ("Verdict" if known else "Reason", plain(satisfaction["verdict"] if known else satisfaction["reason"])),
        ("Evidence", f"{100 * coverage['any']:.0f} % of the time"),
        ("Face / voice", f"{100 * coverage['visual']:.0f} % / {100 * coverage['acoustic']:.0f} %"),
        ("Shape of the arc", plain(arc["shape"]["text"])),
        ("Change of valence", signed(fields["valence_change"])),
    )


def _score(satisfaction: dict[str, Any]) -> list[Block]:
    reason = plain(satisfaction["reason"])
    if satisfaction["score"] is None:
        return [Paragraph(f"No satisfaction score: {reason}.")]
    factors = [(plain(item["text"]), float(item["points"])) for item in satisfaction["factors"]]
    rows = [(text, signed(points, 1)) for text, points in factors if abs(points) >= 0.5]
    rest = sum(points for _, points in factors if abs(points) < 0.5)
    if abs(rest) >= 0.05:
        rows.append(("all else", signed(rest, 1)))
    return [
        Paragraph(f"The score rests on {reason}."),
        Table("Contributions to the score, relative to 50", ("what", "points"), tuple(rows), 1),
    ]


def _chart(fields: dict[str, Any]) -> Chart:
    arc, duration = fields["arc"], float(fields["duration"])
    step, smoothing = float(arc["step"]), float(arc.get("smoothing") or 0.0)
    lines = tuple(
        Line(
            name,
            upper,
            lower,
            tuple(arc[name]),
            tuple(arc.get(f"{name}_smoothed") or ()),
            tuple(
                None if value is None or sd is None else (value - sd, value + sd)
                for value, sd in zip(arc[name], arc[f"{name}_sd"], strict=True)
            ),
        )
        for name, upper, lower in (("valence", "pleasant", "unpleasant"), ("arousal", "excited", "drowsy"))
    )
    turns = tuple((float(point["time"]), float(point["valence"])) for point in arc["turning_points"])
    return Chart(
        "Emotional arc",
        duration,
        step,
        lines,
        f"Dots: means of {step:g} s. Lines: smoothed (Gaussian, sigma {smoothing:.1f} s). Bands: 1 standard deviation "
        "of the dots. Circles: turning points. Grey: no evidence.",
        f"Valence and arousal over {clock_text(duration)}. Shape: {plain(arc['shape']['text'])}. "
        f"{len(turns)} turning points. All values are in the table below.",
        tuple(None if label is None else EMOTIONS.index(label) for label in arc["label"]),
        turns,
    )


def _turning_points(arc: dict[str, Any]) -> Table:
    rows = tuple(
        (clock_text(point["time"]), plain(point["kind"]), signed(point["valence"]), signed(point["change_before"]))
        for point in arc["turning_points"]
    )
    return Table("Turning points", ("when", "kind", "valence", "change before"), rows, 2)


def _remarks(fields: dict[str, Any]) -> str:
    if not fields["coverage"]["any"]:
        return "Nobody was seen or heard."
    remarks = []
    best, worst = fields.get("best_moment"), fields.get("worst_moment")
    if best and worst:
        remarks.append(
            f"Best moment at {clock_text(best['time'])} (valence {signed(best['valence'])}), "
            f"worst at {clock_text(worst['time'])} ({signed(worst['valence'])})."
        )
    if not fields["arc"]["turning_points"]:
        remarks.append("No turning points beyond noise.")
    persons = fields.get("persons") or {}
    if len(persons) > 1:
        remarks.append(
            "Persons: " + ", ".join(f"{plain(person, 40)} {clock_text(s)}" for person, s in persons.items()) + "."
        )
    return " ".join(remarks)


def _points(arc: dict[str, Any]) -> Table:
    rows = []
    for i, label in enumerate(arc["label"]):
        start = clock_text(i * arc["step"])
        if label is None:
            rows.append((start, "no evidence", "", "", ""))
            continue
        rows.append(
            (
                start,
                label,
                f"{100 * (arc['confidence'][i] or 0.0):.0f} %",
                f"{signed(arc['valence'][i])} ± {arc['valence_sd'][i] or 0.0:.2f}",
                f"{signed(arc['arousal'][i])} ± {arc['arousal_sd'][i] or 0.0:.2f}",
            )
        )
    columns = ("from", "emotion", "confidence", "valence", "arousal")
    return Table("All points of the arc", columns, tuple(rows), 3, folded=True)


def _rows(arc: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    names = ("status", "label", "confidence", "evidence", "valence", "valence_sd", "arousal", "arousal_sd")
    return tuple(
        {"seconds": round(i * arc["step"], 3), **{name: arc[name][i] for name in names}}
        for i in range(len(arc["valence"]))
    )


def time_by_emotion(seconds: Mapping[str, Any], probabilities: Mapping[str, Any] | None) -> Table:
    """How long each emotion was displayed, the longest first."""
    total = sum(float(value or 0) for value in seconds.values())
    order = sorted((label for label in EMOTIONS if seconds.get(label)), key=lambda label: -float(seconds[label]))
    rows = []
    for label in order:
        cells = [label, clock_text(seconds[label]), f"{100 * seconds[label] / total:.0f} %"]
        if probabilities is not None:
            cells.append(f"{100 * (probabilities.get(label) or 0):.0f} %")
        rows.append(tuple(cells))
    columns = ("emotion", "time", "share") + (("mean probability",) if probabilities is not None else ())
    colours = tuple(EMOTION_COLOURS[EMOTIONS.index(label)] for label in order)
    return Table("Time by emotion", columns, tuple(rows), len(columns) - 1, colours)


def when_text(seconds: float) -> str:
    """Format a time in the computer's local time zone."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
