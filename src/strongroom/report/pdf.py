"""The report as a PDF file for A4 paper, on one page where it fits.

The letters are those that every PDF reader has (Times, Helvetica, Courier); for other scripts the
fonts that are given are used, and a character that none of them has is told as in Python's texts,
`\\u4e2d`: visibly, and never by another one. The same document gives the same bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from strongroom.report.document import Cell, Document, Facts, Kind, Section, Table
from strongroom.report.right_to_left import visual_order

__all__ = [
    "FOOT",
    "HEIGHT",
    "INNER",
    "MARGIN",
    "WIDTH",
    "Setting",
    "characters_in",
    "foreign_characters",
    "pdf_file",
]

WIDTH, HEIGHT = 595.28, 841.89  # A4 in points
MARGIN: Final = 38.0
FOOT: Final = 36.0
INNER: Final = WIDTH - 2 * MARGIN
# How much smaller all may be set when it then fits on one page.
_SMALLER: Final = 0.92
_FACT_SHARE: Final = 0.14
_COLOURS: Final = {"PROVEN": "#1f6b3a", "STALE": "#7a5200", "UNKNOWN": "#444444",
                   "FAILED": "#8c1c13"}  # fmt: skip
# What the library's parser runs into where a file is no font.
_NO_FONT: Final = (struct.error, LookupError, ValueError, TypeError, AttributeError)
_DASHES: Final = {"STALE": [3, 2], "UNKNOWN": [1, 2]}


def foreign_characters(document: Document) -> frozenset[str]:
    """The characters for which fonts have to be given."""
    return characters_in(_texts(document))


def characters_in(texts: Iterable[str]) -> frozenset[str]:
    """The same for texts."""
    return frozenset(one for text in texts for one in visual_order(text) if not _is_western(one))


def pdf_file(document: Document, fonts: Sequence[bytes] = ()) -> bytes:
    """The file. `fonts` are TrueType files, in the order in which they are tried."""
    for scale in (1.0, _SMALLER):
        setting = Setting(fonts, scale)
        if _build(document, setting, 0)[1] == 1:
            return _build(document, setting, 1)[0]
    setting = Setting(fonts, 1.0)
    return _build(document, setting, _build(document, setting, 0)[1])[0]


def _texts(document: Document) -> Iterator[str]:
    yield from (document.title, document.subject, document.made, document.covers)
    yield from (document.because, document.alarm)
    for section in document.sections:
        match section.block:
            case Table(rows=rows):
                cells: Iterable[Cell] = (cell for row in rows for cell in row)
            case Facts(facts):
                cells = (cell for _, cell in facts)
        for cell in cells:
            yield cell.text
            yield cell.small


def _is_western(character: str) -> bool:
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


class Setting:
    """Fonts and styles. Any: the library's own shapes, which have no types."""

    def __init__(self, fonts: Sequence[bytes], scale: float) -> None:
        from reportlab.lib.fonts import addMapping
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFError, TTFont

        self._fallbacks: list[tuple[str, Any]] = []
        for number, content in enumerate(fonts):
            name = f"Fallback{number}"
            try:
                font = TTFont(name, io.BytesIO(content))
            except (TTFError, *_NO_FONT):  # of another kind than the library can take, or damaged
                continue
            pdfmetrics.registerFont(font)
            for bold in (0, 1):
                for italic in (0, 1):
                    addMapping(name, bold, italic, name)
            self._fallbacks.append((name, font.face.charToGlyph))

        def style(font: str, size: float, leading: float, **more: Any) -> Any:
            more |= {"fontSize": size * scale, "leading": leading * scale}
            options = {"fontName": font, **more}
            return ParagraphStyle(f"{font}-{size}-{sorted(more)}", **options)

        loose = scale == 1.0
        self.grid = [
            *_GRID,
            ("TOPPADDING", (0, 0), (-1, -1), 1.6 if loose else 0.9),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2 if loose else 1.5),
        ]
        self.title = style("Times-Bold", 19, 22)
        self.subject = style("Times-Roman", 12, 15)
        self.made = style("Times-Roman", 9, 11.5, textColor="#555555")
        self.because = style("Times-Roman", 10.5, 13)
        self.alarm = style("Times-Bold", 11, 13.5, textColor=_COLOURS["FAILED"])
        above = 8.5 if loose else 6.5
        self.section = style("Helvetica-Bold", 7.2, 9, spaceBefore=above, spaceAfter=1.5,
                             keepWithNext=1)  # fmt: skip
        self.head = style("Times-Bold", 7.9, 9.4, textColor="#444444")
        self.head_right = style("Times-Bold", 7.9, 9.4, textColor="#444444", alignment=2)
        self.text = style("Times-Roman", 8.6, 10)
        self.first = style("Times-Bold", 8.6, 10)
        self.number = style("Times-Roman", 8.6, 10, alignment=2)
        self.small = style("Times-Roman", 7.3, 8.5, textColor="#555555")
        self.small_right = style("Times-Roman", 7.3, 8.5, textColor="#555555", alignment=2)
        self.digest = style("Courier", 6.5, 8)

    def paragraph(self, text: str, style: Any, *, before: str = "") -> Any:
        """A paragraph in which nothing of the text is markup."""
        from reportlab.platypus import Paragraph

        lines = "<br/>".join(map(self.markup, text.split("\n")))
        return Paragraph(before + lines, style)

    def markup(self, text: str) -> str:
        """The text with each character in a font that has it."""
        out, pending, current = [], "", ""
        for one in visual_order(text, lambda one: self._font_of(one) is not None):
            found = self._font_of(one)
            font = found or ""
            shown = one.encode("unicode_escape").decode("ascii") if found is None else one
            if font != current and pending:
                out.append(_in_font(current, pending))
                pending = ""
            current = font
            pending += shown
        return "".join([*out, _in_font(current, pending)])

    def _font_of(self, character: str) -> str | None:
        """The font that has a character, empty where the text's own does; None when none has."""
        if _is_western(character):
            return ""
        for name, glyphs in self._fallbacks:
            if ord(character) in glyphs:
                return name
        return None


def _in_font(font: str, text: str) -> str:
    return f'<font name="{font}">{escape(text)}</font>' if font else escape(text)


def _build(document: Document, setting: Setting, pages: int) -> tuple[bytes, int]:
    """The file, and how many pages it has; their number stands on each when it is known."""
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    buffer = io.BytesIO()
    built = BaseDocTemplate(
        buffer,
        pagesize=(WIDTH, HEIGHT),
        title=f"{document.title}: {document.subject}",
        author="Strongroom",
        subject=f"{document.verdict} at {document.made}",
        creator="Strongroom",
        lang="en",
        invariant=1,
        pageCompression=1,
    )
    frame = Frame(MARGIN, FOOT, INNER, HEIGHT - FOOT - 30, 0, 0, 0, 0)

    def foot(canvas: Any, page: Any) -> None:
        canvas.setFont("Times-Roman", 7.5)
        canvas.setFillGray(0.33)
        number = f"page {page.page} of {pages}" if pages else ""
        canvas.drawRightString(WIDTH - MARGIN, 22, number)
        canvas.drawString(MARGIN, 22, f"Strongroom, evidence as of {document.made}")

    built.addPageTemplates([PageTemplate(frames=[frame], onPage=foot)])
    built.build(list(_flow(document, setting)))
    return buffer.getvalue(), built.page


def _flow(document: Document, setting: Setting) -> Iterator[Any]:
    from reportlab.platypus import HRFlowable, Spacer
    from reportlab.platypus import Table as Grid

    yield HRFlowable(width="100%", thickness=2.2, color="#1b1b1b", spaceAfter=3)
    yield setting.paragraph(document.title, setting.title)
    yield setting.paragraph(document.subject, setting.subject)
    yield setting.paragraph(f"Made {document.made}; covers {document.covers}", setting.made)
    yield Spacer(1, 6)
    because = setting.paragraph(document.because, setting.because)
    whole = Grid(
        [[_mark(document.verdict, 9.0), because]],
        colWidths=[_mark_width(document.verdict, 9.0) + 10, None],
    )
    whole.setStyle([*_NO_PADDING, ("VALIGN", (0, 0), (-1, -1), "MIDDLE")])
    yield whole
    yield Spacer(1, 5)
    yield HRFlowable(width="100%", thickness=0.7, color="#1b1b1b", spaceAfter=2)
    if document.alarm:
        alarm = Grid([[setting.paragraph(document.alarm, setting.alarm)]], colWidths=[INNER])
        alarm.setStyle([("BOX", (0, 0), (-1, -1), 1.6, _COLOURS["FAILED"])])
        yield Spacer(1, 4)
        yield alarm
    for section in document.sections:
        yield from _section(section, setting)


_NO_PADDING: Final = (
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
)
_GRID: Final = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 7),
    ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
    ("LINEBELOW", (0, 0), (-1, -2), 0.25, "#cccccc"),
)


def _section(section: Section, setting: Setting) -> Iterator[Any]:
    from reportlab.platypus import Table as Grid

    yield setting.paragraph(section.title.upper(), setting.section)
    match section.block:
        case Table() as table:
            if table.rows:
                yield _grid(table, setting)
            else:
                yield setting.paragraph(table.empty, setting.text)
            if table.note:
                yield setting.paragraph(table.note, setting.small)
        case Facts(facts):
            rows = [
                [setting.paragraph(name, setting.first), _flowables(cell, setting)]
                for name, cell in facts
            ]
            grid = Grid(rows, colWidths=[INNER * _FACT_SHARE, INNER * (1 - _FACT_SHARE)])
            grid.setStyle(setting.grid)
            yield grid


def _grid(table: Table, setting: Setting) -> Any:
    from reportlab.platypus import Table as Grid

    numbers = {place for row in table.rows for place, cell in enumerate(row)
               if cell.kind is Kind.NUMBER}  # fmt: skip
    heads = [
        setting.paragraph(head, setting.head_right if place in numbers else setting.head)
        for place, head in enumerate(table.heads)
    ]
    rows = [
        [_flowables(cell, setting, is_first=place == 0) for place, cell in enumerate(row)]
        for row in table.rows
    ]
    widths = [INNER * width / sum(table.widths) for width in table.widths]
    grid = Grid([heads, *rows], colWidths=widths, repeatRows=1)
    grid.setStyle([*setting.grid, ("LINEBELOW", (0, 0), (-1, 0), 0.7, "#1b1b1b")])
    return grid


def _flowables(cell: Cell, setting: Setting, *, is_first: bool = False) -> list[Any]:
    found: list[Any] = []
    small = setting.small
    match cell.kind:
        case Kind.VERDICT:
            found.append(_mark(cell.text, 6.6))
        case Kind.DIGEST:
            found.append(setting.paragraph(cell.text, setting.digest))
        case Kind.NUMBER:
            found.append(setting.paragraph(cell.text, setting.number))
            small = setting.small_right
        case Kind.SEVERITY | Kind.STATE:
            strong = cell.text == "failure" or cell.text.isupper()
            found.append(setting.paragraph(cell.text, setting.first if strong else setting.text))
        case _:
            found.append(setting.paragraph(cell.text, setting.first if is_first else setting.text))
    if cell.small:
        found.append(setting.paragraph(cell.small, small))
    return found


def _mark_width(word: str, size: float) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return float(stringWidth(word, "Helvetica-Bold", size)) + 1.1 * size


def _mark(word: str, size: float) -> Any:
    """A verdict in its box: filled when it is final, dashed or dotted when it is not."""
    from reportlab.graphics.shapes import Drawing, Rect, String
    from reportlab.lib.colors import HexColor, white

    width, height = _mark_width(word, size), size * 1.62
    colour = HexColor(_COLOURS[word])
    dashes = _DASHES.get(word)
    box = Rect(0.5, 0.5, width - 1, height - 1, strokeColor=colour, strokeWidth=0.9,
               fillColor=None if dashes else colour, strokeDashArray=dashes)  # fmt: skip
    text = String(width / 2, height / 2 - size * 0.36, word, textAnchor="middle",
                  fontName="Helvetica-Bold", fontSize=size,
                  fillColor=colour if dashes else white)  # fmt: skip
    drawing = Drawing(width, height + 1)
    drawing.add(box)
    drawing.add(text)
    return drawing
