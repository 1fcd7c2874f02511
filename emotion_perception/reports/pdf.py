"""Documents as A4 PDF through fpdf2: searchable and accessible text, charts as vector graphics."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

from fpdf import FPDF, XPos, YPos
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from emotion_perception.emotions import EMOTION_COLOURS
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
    runs,
    runs_of_equal,
)

Colour = tuple[int, int, int]  # RGB, 0..255

INK, SOFT, LINE, WELL = (19, 24, 32), (86, 96, 112), (210, 216, 224), (243, 245, 248)
CURVES = {"valence": (10, 92, 194), "arousal": (163, 71, 0)}
PANEL = 34.0  # mm, height of a line of a chart
FONT = "DejaVu"  # has Latin, Greek, Cyrillic and more
FONTS = Path(__file__).with_name("fonts")
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every table of the font


class _Paper(FPDF):
    """A4 with page numbers."""

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font(FONT, size=8)
        self.set_text_color(*SOFT)
        self.cell(0, 6, f"emotion_perception, page {self.page_no()} of {{nb}}", align="C")


def render_pdf(document: Document) -> bytes:
    """A document as PDF; collapsed tables are omitted."""
    pdf = _Paper(format="A4")
    pdf.add_font(FONT, "", FONTS / "DejaVuSans.ttf")
    pdf.add_font(FONT, "B", FONTS / "DejaVuSans-Bold.ttf")
    pdf.set_title(document.title)
    pdf.set_lang("en")
    pdf.set_margins(18, 18)
    pdf.set_auto_page_break(True, 18)
    pdf.add_page()
    _text(pdf, document.title, 18, "B")
    _text(pdf, document.subtitle, 9, colour=SOFT)
    pdf.ln(4)
    for block in document.blocks:
        _block(pdf, block)
    return bytes(pdf.output())


def _block(pdf: FPDF, block: Block) -> None:
    if isinstance(block, Heading):
        _heading(pdf, block.text, 20)
    elif isinstance(block, Paragraph):
        pdf.ln(1.5)
        _text(pdf, block.text, 8.5, colour=SOFT)
    elif isinstance(block, Facts):
        _facts(pdf, block.items)
    elif isinstance(block, Chart):
        _chart(pdf, block)
    elif isinstance(block, Portraits):
        _portraits(pdf, block.items)
    elif not block.folded:
        _table(pdf, block)


def _text(pdf: FPDF, text: str, size: float, style: str = "", colour: Colour = INK) -> None:
    pdf.set_font(FONT, style, size)
    pdf.set_text_color(*colour)
    pdf.multi_cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _heading(pdf: FPDF, text: str, needs: float) -> None:
    """A heading, on the next page if less than ``needs`` mm are left below it."""
    if pdf.will_page_break(needs + 12):
        pdf.add_page()
    pdf.ln(6)
    _text(pdf, text, 11.5, "B")
    pdf.ln(1.5)


def _facts(pdf: FPDF, facts: Sequence[tuple[str, str]]) -> None:
    """Two columns on a tinted background; values that do not fit are truncated."""
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


def _chart(pdf: FPDF, chart: Chart) -> None:
    height = (PANEL + 5) * len(chart.lines)
    _heading(pdf, chart.title, height + 24)
    top, left, width = pdf.get_y() + 1, pdf.l_margin + 9, pdf.epw - 9

    def x(seconds: float) -> float:
        return left + width * min(1.0, seconds / max(chart.seconds, 1e-9))

    for number, line in enumerate(chart.lines):
        _panel(pdf, chart, line, (left, top + number * (PANEL + 5), width))
    bottom = top + height - 3
    for begin, end, label in runs_of_equal(chart.strip):
        pdf.set_fill_color(EMOTION_COLOURS[label])
        pdf.rect(x(begin * chart.step), bottom, x(end * chart.step) - x(begin * chart.step) + 0.05, 3.5, "F")
    pdf.set_text_color(*SOFT)
    pdf.set_font(FONT, size=7.5)
    for seconds, text in chart.ticks:
        pdf.set_xy(x(seconds) - 10, bottom + 4)
        pdf.cell(20, 4, text, align="C")
    pdf.set_xy(pdf.l_margin, bottom + 9.5)
    strip = " Strip: most probable emotion." if chart.strip else ""
    _text(pdf, chart.legend + strip, 8, colour=SOFT)


def _panel(pdf: FPDF, chart: Chart, line: Line, place: tuple[float, float, float]) -> None:
    """One line of a chart at left, top, width in mm."""
    left, top, width = place

    def x(index: int) -> float:
        return left + width * min(1.0, chart.middle(index) / max(chart.seconds, 1e-9))

    def y(value: float) -> float:
        return top + PANEL * (1 - min(1.0, max(-1.0, value))) / 2

    pdf.set_font(FONT, size=7.5)
    pdf.set_text_color(*SOFT)
    pdf.set_line_width(0.2)
    pdf.set_draw_color(*LINE)
    for value, text in ((1, "+1"), (0, "0"), (-1, "\u22121")):
        pdf.line(left, y(value), left + width, y(value))
        pdf.set_xy(pdf.l_margin, y(value) - 2)
        pdf.cell(7, 4, text, align="R")
    pdf.set_xy(left, top + 0.5)
    pdf.cell(width, 4, f"{line.name}: {line.upper} above, {line.lower} below")
    colour = CURVES.get(line.name, INK)
    with pdf.local_context(fill_opacity=0.15):
        pdf.set_fill_color(*colour)
        for begin, end in runs([limits is not None for limits in line.band]):
            limits = [(i, found) for i in range(begin, end) if (found := line.band[i]) is not None]
            edge = [(x(i), y(low)) for i, (low, _) in limits] + [(x(i), y(high)) for i, (_, high) in reversed(limits)]
            if len(limits) > 1:
                pdf.polygon(edge, style="F")
    pdf.set_draw_color(*colour)
    pdf.set_line_width(0.5)
    for begin, end in runs([value is not None for value in line.curve]):
        if end - begin > 1:
            pdf.polyline([(x(i), y(line.curve[i] or 0.0)) for i in range(begin, end)])


def _portraits(pdf: FPDF, portraits: Sequence[Portrait]) -> None:
    """Rows of six, each with its caption."""
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
    aligns = tuple("RIGHT" if i >= table.first_number else "LEFT" for i in range(len(table.columns)))
    widths = (2.4, *([1.0] * (len(table.columns) - 1))) if len(table.columns) < 4 else (1.0,) * len(table.columns)
    if table.colours:  # they are the key of the strip under the arc
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
