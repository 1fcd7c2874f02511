"""CSV that spreadsheets read as text and numbers, never as formulas."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import ArcSample
from emotion_perception.types import SECOND

# The beginning of a cell: of the text, or after a character that some locale uses as a separator. Blanks and
# invisible characters before a formula do not stop every spreadsheet from reading it.
_BEGIN = re.compile(r"(?:^|[;\t\r\n|])[\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff]*(?=(.))", re.DOTALL)
_FORMULA = "=+-@"


def as_cell(value: Any) -> Any:
    """A value that no spreadsheet interprets as a formula: each sign that could begin one is prefixed with an
    apostrophe.
    """
    return _BEGIN.sub(_neutralise, value) if isinstance(value, str) else value


def _neutralise(found: re.Match[str]) -> str:
    # Full-width and other forms of the signs are read like their ASCII forms.
    return f"{found[0]}'" if unicodedata.normalize("NFKC", found[1])[:1] in _FORMULA else found[0]


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV with a header; empty without rows."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({key: as_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def sample_lines(samples: Iterable[ArcSample]) -> Iterator[str]:
    """The samples of a conversation as lines of CSV after a header; without evidence the values are empty."""
    names = ["time", "status", "label", "confidence", "valence", "arousal", *EMOTIONS]
    yield _line([*names, "visual_weight", "acoustic_weight", "text_weight", "person_id"])
    for sample in samples:
        time = f"{sample.time_ns / SECOND:.3f}"
        if not sample.has_evidence:
            yield _line([time, sample.status.name, *[""] * (len(names) + 2)])
            continue
        numbers = (sample.confidence, sample.valence, sample.arousal, *sample.probabilities, *sample.weights)
        label = EMOTIONS[int(sample.probabilities.argmax())]
        person = as_cell(sample.person_id)
        yield _line([time, sample.status.name, label, *(f"{x:.4f}" for x in numbers), person])


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
