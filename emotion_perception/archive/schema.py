"""Columns of an archive's data set, with type and meaning.

``docs/archives.md`` contains the tables of :func:`markdown`; a test compares them.
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
    """One column: name, type, and meaning with unit and range."""

    name: str
    type: pa.DataType
    text: str


COURSE = (
    Column("time_s", pa.float64(), "time of the frame, or end of the segment of speech, s of the recording"),
    Column(
        "probabilities",
        DISTRIBUTION,
        "the eight emotions at that time, sum 1; those of a face after the temporal filter",
    ),
    Column("intensities", DISTRIBUTION, "intensity of each emotion, 0..1; NaN if the model has no such output"),
    Column("valence", pa.float32(), "-1..1"),
    Column("arousal", pa.float32(), "-1..1"),
    Column("quality", pa.float32(), "face: quality of the crop, 0..1"),
    Column("score", pa.float32(), "face: detection score, 0..1"),
    Column("x", pa.float32(), "face: left edge, px of the frame"),
    Column("y", pa.float32(), "face: upper edge, px"),
    Column("width", pa.float32(), "face: px"),
    Column("height", pa.float32(), "face: px"),
    Column("duration_s", pa.float32(), "voice: length of the segment, s"),
    Column("snr_db", pa.float32(), "voice: signal-to-noise ratio, dB; NaN if unknown"),
    Column("overlapped", pa.bool_(), "voice: overlapped speech"),
    Column("final", pa.bool_(), "voice: the decision at the end of the utterance"),
)
SEGMENTS = (
    Column("path", pa.string(), "file or folder of the recording"),
    Column("place", pa.string(), "place of the recording (see Places and hours)"),
    Column("part", pa.int32(), "part of the recording, from 0; the number in the file name"),
    Column("segment", pa.int32(), "shot or utterance of the part, from 0"),
    Column("kind", pa.string(), "`shot`: frames between two cuts; `face`: one face in a shot; `voice`: an utterance"),
    Column("opened_by", pa.string(), "why it starts: `start` of the recording, `cut`, `part`, `speech`"),
    Column("start_s", pa.float64(), "start, s of the recording"),
    Column("end_s", pa.float64(), "end, s of the recording"),
    Column("began_at", pa.timestamp("ms", "UTC"), "date and time of the start; null if unknown"),
    Column("subject", pa.string(), "`face_1`, `face_2` …, `voice`; null for a shot"),
    Column("first_s", pa.float64(), "first frame or start of the speech, s of the recording"),
    Column("last_s", pa.float64(), "last frame or end of the speech, s of the recording"),
    Column("samples", pa.int32(), "number of analysed frames or decisions"),
    Column("label", pa.string(), "most probable emotion; null for a shot"),
    Column("confidence", pa.float32(), "probability that the label is correct, 0..1"),
    Column("valence", pa.float32(), "-1..1"),
    Column("arousal", pa.float32(), "-1..1"),
    Column("probabilities", DISTRIBUTION, "face: mean over its frames; voice: the decision at the end"),
    Column("intensities", DISTRIBUTION, "intensity of each emotion, 0..1; NaN if the model has no such output"),
    Column("quality", pa.float32(), "face: mean quality, 0..1"),
    Column("course", pa.list_(pa.struct([(c.name, c.type) for c in COURSE])), "every frame or decision (below)"),
)
ARCS = (
    Column("time_s", pa.float64(), "middle of the bin, s of the recording"),
    Column("seconds", pa.float64(), "length of the bin, s"),
    Column("status", pa.string(), "`NO_EVIDENCE`, `VISUAL_ONLY`, `ACOUSTIC_ONLY` or `AUDIO_VISUAL`"),
    Column("label", pa.string(), "most probable emotion; null without evidence"),
    Column("confidence", pa.float32(), "0..1"),
    Column("valence", pa.float32(), "-1..1; null without evidence"),
    Column("valence_sd", pa.float32(), "its standard deviation"),
    Column("smooth_valence", pa.float32(), "smoothed valence, from which turning points and shape are computed"),
    Column("arousal", pa.float32(), "-1..1"),
    Column("arousal_sd", pa.float32(), "its standard deviation"),
    Column("trust", pa.float32(), "weight of the evidence, 0..1"),
    Column("probabilities", DISTRIBUTION, "the eight emotions"),
)


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema; descriptions are in the metadata of its fields."""
    return pa.schema(
        [pa.field(column.name, column.type, metadata={"description": column.text}) for column in columns],
        metadata={"emotion_archive_format": str(FORMAT_VERSION)},
    )


def table(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows, given by column name, as a table; missing values are null."""
    schema = arrow_schema(columns)
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def markdown() -> str:
    """The columns as Markdown tables, for the documentation."""
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
