"""Export of reports about a conversation, a day or a week as PDF, HTML, CSV or JSON.

HTML and PDF show small face images if they are requested and the configuration declares consent to storing them
(:mod:`emotion_perception.feedback.pictures`). All four formats are made from the same
:class:`~emotion_perception.reports.document.Document`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emotion_perception.feedback.pictures import CONSENT, NoConsent, Picture, Pictures, evenly
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import period
from emotion_perception.reports.conversation_report import conversation_document
from emotion_perception.reports.document import Document, Portrait
from emotion_perception.reports.html import render_html
from emotion_perception.reports.period_report import entry_time, period_document
from emotion_perception.reports.spreadsheet import csv_text
from emotion_perception.types import SECOND, clock_text

MOST_PICTURES = 24  # in a report; 6 kB each


def conversation_report(archive: ConversationStore, interaction_id: str, pictures: Pictures | None = None) -> Document:
    """The report of one conversation; with ``pictures`` it shows a face image for each change of emotion.

    Raises:
        NotStored: there is no such conversation, or its file is damaged.
        NoConsent: storing pictures was not consented to.
    """
    fields = archive.read(interaction_id)
    chosen = [] if pictures is None else evenly(pictures.of(interaction_id), MOST_PICTURES)
    portraits = _portraits(
        [
            (picture, f"{clock_text(max(0.0, picture.stamp_ns / SECOND - fields['start']))} {picture.label}")
            for picture in chosen
        ]
    )
    return conversation_document(interaction_id, fields, portraits=portraits)


def period_report(
    archive: ConversationStore, kind: str, name: str, pictures: Pictures | None = None, made: float | None = None
) -> Document:
    """The report of a day or a week; with ``pictures`` it shows one face image of each conversation.

    Args:
        archive: the stored conversations.
        kind: ``day`` or ``week``.
        name: ``2026-11-23`` or ``2026-W48``.
        pictures: face images.
        made: when the report is made, s since the epoch; None: now.

    Raises:
        NotStored: the name is no day or week.
        NoConsent: storing pictures was not consented to.
    """
    wanted = period(kind, name)
    portraits: tuple[Portrait, ...] = ()
    if pictures is not None:
        firsts = [(those[0], entry) for entry in archive.within(wanted) if (those := pictures.of(entry["id"]))]
        step = max(1, -(-len(firsts) // MOST_PICTURES))
        portraits = _portraits([(one, f"{entry_time(entry)} {one.label}") for one, entry in firsts[::step]])
    return period_document(archive, wanted, time.time() if made is None else made, portraits)


def _portraits(chosen: Sequence[tuple[Picture, str]]) -> tuple[Portrait, ...]:
    made = []
    for picture, caption in chosen:
        with contextlib.suppress(FileNotFoundError):  # it has just been deleted at the end of its retention
            made.append(Portrait(picture.path.read_bytes(), caption))
    return tuple(made)


def as_html(report: Document) -> bytes:
    """A self-contained page: no script, no external resources."""
    return render_html(report).encode("utf-8", "replace")


def as_csv(report: Document) -> bytes:
    """One line per bin of a conversation, or per conversation of a day or week."""
    return csv_text(report.rows).encode("utf-8-sig", "replace")  # BOM: spreadsheets need it for UTF-8


def as_json(report: Document) -> bytes:
    """Facts and rows for other programs."""
    fields = {"title": report.title, "facts": dict(report.facts), "rows": list(report.rows)}
    return (json.dumps(fields, indent=1, allow_nan=False) + "\n").encode()


def as_pdf(report: Document) -> bytes:
    """An A4 document with searchable text, for printing."""
    from emotion_perception.reports.pdf import render_pdf  # imported here because only PDF needs fpdf2 and its fonts

    return render_pdf(report)


@dataclass(frozen=True)
class Export:
    """One format of a report."""

    write: Callable[[Document], bytes]
    media_type: str
    charset: str | None = None
    shows_pictures: bool = False

    def make(
        self,
        archive: ConversationStore,
        kind: str,
        name: str,
        with_pictures: bool = False,
        pictures: Pictures | None = None,
    ) -> tuple[bytes, str]:
        """The report of a conversation (by id), a day or a week, and its file name without suffix.

        Args:
            archive: the stored conversations.
            kind: ``conversation``, ``day`` or ``week``.
            name: which one.
            with_pictures: show face images.
            pictures: where they are stored.

        Raises:
            NotStored: there is none.
            NoConsent: face images are requested without consent to storing them.
            ValueError: face images are requested in a format without images (CSV, JSON).
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
