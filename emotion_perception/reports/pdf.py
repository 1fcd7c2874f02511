"""A report as an A4 document, through fpdf2: text that can be searched and read aloud, charts as lines."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from fpdf import FPDF, XPos, YPos
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from emotion_perception.reports.exports import Curve, Portrait, Report, Table, _limits, _runs

if TYPE_CHECKING:
    from collections.abc import Sequence

INK, SOFT, LINE, WELL = (19, 24, 32), (86, 96, 112), (210, 216, 224), (243, 245, 248)
VALENCE, AROUSAL = (10, 92, 194), (163, 71, 0)
FONT = "DejaVu"  # in matplotlib's wheel; has Latin, Greek, Cyrillic and more
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each table of the font


class _Paper(FPDF):
    """A4 with a number on each page."""

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font(FONT, size=8)
        self.set_text_color(*SOFT)
        self.cell(0, 6, f"emotion_perception, page {self.page_no()} of {{nb}}", align="C")


def document(report: Report, method: str) -> bytes:
    """The report as PDF.

    Args:
        report: what it says.
        method: how to read it, for the end.
    """
    fonts = Path(matplotlib.get_data_path(), "fonts/ttf")
    pdf = _Paper(format="A4")
    pdf.add_font(FONT, "", fonts / "DejaVuSans.ttf")
    pdf.add_font(FONT, "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.set_title(report.title)
    pdf.set_lang("en")
    pdf.set_margins(18, 18)
    pdf.set_auto_page_break(True, 18)
    pdf.add_page()
    _text(pdf, report.title, 18, "B")
    _text(pdf, report.subtitle, 9, colour=SOFT)
    pdf.ln(4)
    _facts(pdf, report.facts)
    for curve in report.curves:
        _curve(pdf, curve)
    for table in report.tables:
        _table(pdf, table)
    if report.portraits:
        _portraits(pdf, report.portraits)
    _heading(pdf, "How to read this", 20)
    _text(pdf, method, 8.5, colour=SOFT)
    return bytes(pdf.output())


def _text(pdf: FPDF, text: str, size: float, style: str = "", colour: tuple[int, int, int] = INK) -> None:
    pdf.set_font(FONT, style, size)
    pdf.set_text_color(*colour)
    pdf.multi_cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _heading(pdf: FPDF, text: str, needs: float) -> None:
    """A heading, on the next page where not ``needs`` mm are left under it."""
    if pdf.will_page_break(needs + 12):
        pdf.add_page()
    pdf.ln(6)
    _text(pdf, text, 11.5, "B")
    pdf.ln(1.5)


def _facts(pdf: FPDF, facts: Sequence[tuple[str, str]]) -> None:
    """Two columns on a tinted ground."""
    rows = -(-len(facts) // 2)
    top, left, width = pdf.get_y(), pdf.l_margin, pdf.epw
    pdf.set_fill_color(*WELL)
    pdf.rect(left, top, width, 11.5 * rows + 4, "F", round_corners=True, corner_radius=2)
    for i, (key, value) in enumerate(facts):
        x, y = left + 4 + (i % 2) * width / 2, top + 3 + (i // 2) * 11.5
        pdf.set_xy(x, y)
        pdf.set_font(FONT, "", 8)
        pdf.set_text_color(*SOFT)
        pdf.cell(width / 2 - 8, 4, key)
        pdf.set_xy(x, y + 4)
        pdf.set_font(FONT, "B", 9.5)
        pdf.set_text_color(*INK)
        while pdf.get_string_width(value) > width / 2 - 8 and len(value) > 4:
            value = value[:-2].rstrip(" ,;…") + "…"
        pdf.cell(width / 2 - 8, 5, value)
    pdf.set_xy(left, top + 11.5 * rows + 4)


def _curve(pdf: FPDF, curve: Curve) -> None:
    _heading(pdf, curve.title, 70)
    left, top, width, height = pdf.l_margin + 9, pdf.get_y() + 1, pdf.epw - 9, 46.0

    def x(i: float) -> float:
        return left + width * min(1.0, i * curve.step / max(curve.seconds, 1e-9))

    def y(value: float) -> float:
        return top + height * (1 - value) / 2

    pdf.set_font(FONT, size=7.5)
    pdf.set_text_color(*SOFT)
    pdf.set_line_width(0.2)
    pdf.set_draw_color(*LINE)
    for value, text in ((1, "+1"), (0, "0"), (-1, "\u22121")):
        pdf.line(left, y(value), left + width, y(value))
        pdf.set_xy(pdf.l_margin, y(value) - 2)
        pdf.cell(7, 4, text, align="R")
    with pdf.local_context(fill_opacity=0.15):
        pdf.set_fill_color(*VALENCE)
        for begin, end in _runs([None if limits is None else limits[0] for limits in curve.band]):
            limits = _limits(curve, begin, end)
            edge = [(x(i + 0.5), y(low)) for i, (low, _) in limits] + [
                (x(i + 0.5), y(high)) for i, (_, high) in limits
            ][::-1]
            if len(limits) > 1:
                pdf.polygon(edge, style="F")
    for values, colour, thick, dash in (
        (curve.arousal, AROUSAL, 0.35, (1.6, 1.1)),
        (curve.valence, VALENCE, 0.55, (0.0, 0.0)),
    ):
        pdf.set_draw_color(*colour)
        pdf.set_line_width(thick)
        pdf.set_dash_pattern(*dash)
        for begin, end in _runs(values):
            pdf.polyline([(x(i + 0.5), y(values[i] or 0.0)) for i in range(begin, max(end, begin + 1))])
    pdf.set_dash_pattern()
    for i, strip in enumerate(curve.strip):
        if strip:
            pdf.set_fill_color(strip)
            pdf.rect(x(i), top + height + 2.5, x(i + 1) - x(i) + 0.05, 3.5, "F")
    for at, text in curve.ticks:
        pdf.set_xy(x(at / curve.step) - 10, top + height + 6.5)
        pdf.cell(20, 4, text, align="C")
    pdf.set_xy(pdf.l_margin, top + height + 12)
    _text(pdf, curve.legend, 8, "", SOFT)


def _portraits(pdf: FPDF, portraits: Sequence[Portrait]) -> None:
    """Six in a row, each with its caption."""
    _heading(pdf, "Pictures", 38)
    across, gap = 6, 4.0
    width = (pdf.epw - gap * (across - 1)) / across
    for first in range(0, len(portraits), across):
        if pdf.will_page_break(width + 8):
            pdf.add_page()
        top = pdf.get_y()
        for i, one in enumerate(portraits[first : first + across]):
            x = pdf.l_margin + i * (width + gap)
            pdf.image(io.BytesIO(one.jpeg), x, top, width, width, keep_aspect_ratio=True, alt_text=one.caption)
            pdf.set_xy(x, top + width + 0.5)
            pdf.set_font(FONT, size=7.5)
            pdf.set_text_color(*SOFT)
            pdf.cell(width, 4, one.caption, align="C")
        pdf.set_xy(pdf.l_margin, top + width + 7)


def _table(pdf: FPDF, table: Table) -> None:
    _heading(pdf, table.title, 22)
    pdf.set_font(FONT, size=9)
    pdf.set_text_color(*INK)
    pdf.set_draw_color(*LINE)
    pdf.set_line_width(0.2)
    pdf.set_fill_color(255, 255, 255)
    first_number = len(table.columns) - table.numbers
    aligns = tuple("RIGHT" if i >= first_number else "LEFT" for i in range(len(table.columns)))
    widths = (2.4, *([1.0] * (len(table.columns) - 1))) if len(table.columns) < 4 else (1.0,) * len(table.columns)
    if table.colours:  # they tell what the strip under the arc means
        aligns, widths = ("LEFT", *aligns), (0.12, *widths)
    with pdf.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(color=SOFT, size_pt=8),
        text_align=aligns,
        col_widths=widths,
        line_height=5.2,
        padding=0.6,
    ) as drawn:
        head = drawn.row()
        if table.colours:
            head.cell("")
        for name in table.columns:
            head.cell(name)
        for at, cells in enumerate(table.rows):
            row = drawn.row()
            if table.colours:
                row.cell("", style=FontFace(fill_color=table.colours[at]))
            for cell in cells:
                row.cell(cell)
