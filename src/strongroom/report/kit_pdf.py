"""The printed page of a recovery kit as a PDF file for A4 paper, its QR codes on further pages.

The same page gives the same bytes. Codes correct errors at level H: up to a third of one may be
stained. Letters are those that every PDF reader has; what they lack is told as in Python's texts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from strongroom.report.kit_page import KitPage, page_parts, page_subject

__all__ = ["page_pdf"]

_A4: Final = (595.28, 841.89)
_MARGIN: Final = 36.0
_FOOT: Final = 34.0
# 82 mm: a module is more than half a millimetre wide, which cameras of telephones tell apart.
_CODE: Final = 82 * 72 / 25.4
_ON_A_PAGE: Final = 6


def page_pdf(page: KitPage, codes: Sequence[str]) -> bytes:
    """The page for A4 paper, with these codes after it; the same bytes for the same page."""
    # Codes take long: they are drawn once.
    pages = _build(page, (), 0)[1] + -(-len(codes) // _ON_A_PAGE)
    return _build(page, codes, pages)[0]


# Any below: the library's own shapes, which have no types


def _build(page: KitPage, codes: Sequence[str], pages: int) -> tuple[bytes, int]:
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    buffer = io.BytesIO()
    built = BaseDocTemplate(
        buffer,
        pagesize=_A4,
        title=page.title,
        author="Strongroom",
        subject=f"Kit {page.kit}, made {page.made}",
        creator="Strongroom",
        lang="en",
        invariant=1,
        pageCompression=1,
    )
    width, height = _A4
    frame = Frame(
        _MARGIN, _FOOT, width - 2 * _MARGIN, height - _FOOT - _MARGIN + 8, 0, 0, 0, 0
    )  # fmt: skip

    def foot(canvas: Any, built: Any) -> None:
        canvas.setFont("Times-Roman", 8)
        canvas.drawString(_MARGIN, 20, f"{page.title}, kit {page.kit}, {page.made}")
        number = f"page {built.page} of {pages}" if pages else ""
        canvas.drawRightString(width - _MARGIN, 20, number)

    built.addPageTemplates([PageTemplate(frames=[frame], onPage=foot)])
    built.build(list(_flow(page, codes)))
    return buffer.getvalue(), built.page


def _flow(page: KitPage, codes: Sequence[str]) -> Iterator[Any]:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import HRFlowable, PageBreak, Paragraph, Spacer

    title = ParagraphStyle("title", fontName="Times-Bold", fontSize=19, leading=23)
    small = ParagraphStyle("small", fontName="Times-Roman", fontSize=9.5, leading=12)
    heading = ParagraphStyle(
        "heading", fontName="Helvetica-Bold", fontSize=9, leading=12, spaceBefore=7, keepWithNext=1
    )
    text = ParagraphStyle("text", fontName="Times-Roman", fontSize=10, leading=12.4)
    typed = ParagraphStyle(
        "typed", fontName="Courier", fontSize=8, leading=10, leftIndent=24, firstLineIndent=-12,
        splitLongWords=1,
    )  # fmt: skip
    yield HRFlowable(width="100%", thickness=2.2, color="#1b1b1b", spaceAfter=3)
    yield Paragraph(_markup(page.title), title)
    yield Paragraph(_markup(page_subject(page)), small)
    for part in page_parts(page):
        yield Paragraph(_markup(part.heading), heading)
        for told in part.told:
            yield Paragraph(_markup(told), text)
        for line in part.typed:
            yield Paragraph(_markup(line), typed)
        for told in part.then:
            yield Paragraph(_markup(told), text)
    if codes:
        yield PageBreak()
        yield from _codes(codes)
    else:
        yield Spacer(1, 6)


def _codes(codes: Sequence[str]) -> Iterator[Any]:
    """Two in a row, three rows on a page, each with its number."""
    from reportlab.graphics.barcode.qr import QrCode
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph, Table

    caption = ParagraphStyle("caption", fontName="Helvetica", fontSize=8, leading=9, alignment=1)
    cells = [
        [
            Paragraph(f"Code {number} of {len(codes)}", caption),
            QrCode(one, width=_CODE, height=_CODE, qrLevel="H"),
        ]
        for number, one in enumerate(codes, start=1)
    ]
    if len(cells) % 2:
        cells.append([])
    rows = [list(pair) for pair in zip(cells[::2], cells[1::2], strict=True)]
    grid = Table(rows, colWidths=[(_A4[0] - 2 * _MARGIN) / 2] * 2)
    grid.setStyle([
        ("ALIGN", (0, 0), (-1, -1), "CENTER"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ])  # fmt: skip
    yield grid


def _markup(text: str) -> str:
    """The text with nothing in it that is markup, and what these letters lack told as Python's
    texts do."""
    shown = "".join(
        one if _is_western(one) else one.encode("unicode_escape").decode("ascii") for one in text
    )
    return escape(shown)


def _is_western(character: str) -> bool:
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
