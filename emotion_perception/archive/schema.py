"""The data set of an archive: the one place that says which columns there are and what they mean.

``docs/archives.md`` holds :func:`markdown`'s tables; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from emotion_perception.emotions import EMOTIONS

FORMAT_VERSION = 1
KINDS = ("shot", "face", "voice")
OPENED_BY = ("start", "cut", "part", "speech")
DISTRIBUTION = pa.list_(pa.float32(), len(EMOTIONS))


@dataclass(frozen=True)
class Column:
    """One column: its name, its type and what it means, unit and range included."""

    name: str
    type: pa.DataType
    text: str


COURSE = (
    Column("time_s", pa.float64(), "when, s of the recording: a picture's time, the end of the speech decided about"),
    Column("probabilities", DISTRIBUTION, "the eight emotions as of then, sum 1; a face's filtered over time"),
    Column("intensities", DISTRIBUTION, "strength of each, 0..1, NaN where the source cannot tell"),
    Column("valence", pa.float32(), "-1..1"),
    Column("arousal", pa.float32(), "-1..1"),
    Column("quality", pa.float32(), "face: how much its picture can be trusted, 0..1"),
    Column("score", pa.float32(), "face: the detector's, 0..1"),
    Column("x", pa.float32(), "face: left edge, px of the picture"),
    Column("y", pa.float32(), "face: upper edge, px"),
    Column("width", pa.float32(), "face: px"),
    Column("height", pa.float32(), "face: px"),
    Column("duration_s", pa.float32(), "voice: speech decided about, s"),
    Column("snr_db", pa.float32(), "voice: signal to noise, dB; NaN where it could not be estimated"),
    Column("overlapped", pa.bool_(), "voice: several people spoke at once"),
    Column("final", pa.bool_(), "voice: the decision at the utterance's end"),
)
SEGMENTS = (
    Column("path", pa.string(), "the recording's file or folder"),
    Column("place", pa.string(), "where it was made (see Places and hours)"),
    Column("part", pa.int32(), "which part of the recording, from 0; the number in the file's name"),
    Column("segment", pa.int32(), "which shot, or which utterance, of the part, from 0"),
    Column("kind", pa.string(), "`shot`: a stretch of pictures; `face`: one face in a shot; `voice`: an utterance"),
    Column("opened_by", pa.string(), "why the segment begins: `start` of the recording, `cut`, `part`, `speech`"),
    Column("start_s", pa.float64(), "the segment's beginning, s of the recording"),
    Column("end_s", pa.float64(), "the segment's end, s of the recording"),
    Column("began_at", pa.timestamp("ms", "UTC"), "its beginning on the calendar; null where nobody knows"),
    Column("subject", pa.string(), "who in the segment: `face_1`, `face_2` …, `voice`; null for a shot"),
    Column("first_s", pa.float64(), "first picture or beginning of the speech, s of the recording"),
    Column("last_s", pa.float64(), "last picture or end of the speech, s of the recording"),
    Column("samples", pa.int32(), "pictures looked at, or decisions"),
    Column("label", pa.string(), "the likeliest emotion over the segment; null for a shot"),
    Column("confidence", pa.float32(), "how likely it is, 0..1"),
    Column("valence", pa.float32(), "-1..1"),
    Column("arousal", pa.float32(), "-1..1"),
    Column("probabilities", DISTRIBUTION, "face: mean over its pictures; voice: the decision at the end"),
    Column("intensities", DISTRIBUTION, "strength of each emotion, 0..1, NaN where the source cannot tell"),
    Column("quality", pa.float32(), "face: mean quality, 0..1"),
    Column("course", pa.list_(pa.struct([(c.name, c.type) for c in COURSE])), "every picture or decision (below)"),
)
ARCS = (
    Column("time_s", pa.float64(), "middle of the bin, s of the recording"),
    Column("seconds", pa.float64(), "length of the bin, s"),
    Column("status", pa.string(), "what was there: `NO_EVIDENCE`, `VISUAL_ONLY`, `ACOUSTIC_ONLY`, `AUDIO_VISUAL`"),
    Column("label", pa.string(), "the likeliest emotion; null without evidence"),
    Column("confidence", pa.float32(), "0..1"),
    Column("valence", pa.float32(), "-1..1; null without evidence"),
    Column("valence_sd", pa.float32(), "its standard deviation"),
    Column("smooth_valence", pa.float32(), "smoothed, as turning points and shape see it"),
    Column("arousal", pa.float32(), "-1..1"),
    Column("arousal_sd", pa.float32(), "its standard deviation"),
    Column("trust", pa.float32(), "weight of the evidence, 0..1"),
    Column("probabilities", DISTRIBUTION, "the eight emotions"),
)


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """As Arrow has it; the descriptions are in the fields' metadata."""
    return pa.schema(
        [pa.field(column.name, column.type, metadata={"description": column.text}) for column in columns],
        metadata={"emotion_archive_format": str(FORMAT_VERSION)},
    )


def table(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows by column name as a table; what a row lacks is null."""
    schema = arrow_schema(columns)
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def markdown() -> str:
    """The columns as tables, for the documentation."""
    parts = []
    for title, columns in (
        ("`segments/recording=ID/part-NNNNN.parquet`", SEGMENTS),
        ("An element of `course`", COURSE),
        ("`arcs/recording=ID/arc.parquet`", ARCS),
    ):
        lines = [f"{title}\n", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {_type_name(column.type)} | {column.text} |" for column in columns]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.value_type}[{kind.list_size}]"
    return "list of structs" if pa.types.is_list(kind) else str(kind)
