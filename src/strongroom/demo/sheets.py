"""The papers of a training provider as PDF files: quotations, orders, invoices, certificates.

A sheet is drawn from the row that it belongs to, and the same row always gives the same bytes
(`invariant`), so that file hashes are as reproducible as the rows. About three milliseconds each.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

_WIDTH, _HEIGHT = 595.28, 841.89  # A4 in points
_MARGIN: Final = 56
_LETTERHEAD: Final = "Gulf Training Institute"
_ADDRESS: Final = "P.O. Box 45120, Dubai, United Arab Emirates  |  TRN 100123456700003"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one paper says: a title, labelled facts, and a table with its heading first."""

    title: str
    number: str
    facts: Sequence[tuple[str, str]]
    table: Sequence[Sequence[str]] = ()
    closing: str = ""
    landscape: bool = False
    scanned: bool = False


def draw(sheet: Sheet) -> bytes:
    """The sheet as a PDF of one page; the same sheet gives the same bytes."""
    from reportlab.pdfgen.canvas import Canvas

    size = (_HEIGHT, _WIDTH) if sheet.landscape else (_WIDTH, _HEIGHT)
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=size, invariant=1, pageCompression=1)
    canvas.setTitle(f"{sheet.title} {sheet.number}")
    canvas.setAuthor(_LETTERHEAD)
    canvas.setSubject("Training Management System")
    if sheet.landscape:
        _draw_award(canvas, sheet, *size)
    else:
        _draw_letter(canvas, sheet)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def scan_of(number: str, *, width: int, height: int) -> bytes:
    """A grey image (binary PGM) of `width` by `height` pixels that stands for a scanned original.

    Its grain is a hash of the number: it compresses as badly as a real scan does.
    """
    grain = hashlib.shake_256(number.encode()).digest(width * height)
    paper = bytes.maketrans(bytes(range(256)), bytes(200 + value // 5 for value in range(256)))
    return b"P5\n%d %d\n255\n" % (width, height) + grain.translate(paper)


def _draw_letter(canvas: Canvas, sheet: Sheet) -> None:
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawString(_MARGIN, _HEIGHT - 64, _LETTERHEAD)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(_MARGIN, _HEIGHT - 78, _ADDRESS)
    canvas.line(_MARGIN, _HEIGHT - 88, _WIDTH - _MARGIN, _HEIGHT - 88)
    canvas.setFont("Helvetica-Bold", 18)
    canvas.drawString(_MARGIN, _HEIGHT - 130, f"{sheet.title} {sheet.number}")
    top = _HEIGHT - 165.0
    canvas.setFont("Helvetica", 10)
    for label, value in sheet.facts:
        canvas.drawString(_MARGIN, top, label)
        canvas.drawString(_MARGIN + 130, top, value)
        top -= 16
    _draw_table(canvas, sheet.table, top - 14)
    canvas.setFont("Helvetica-Oblique", 9)
    canvas.drawString(_MARGIN, 70, sheet.closing)
    if sheet.scanned:
        _draw_specks(canvas, sheet.number)


def _draw_table(canvas: Canvas, table: Sequence[Sequence[str]], top: float) -> None:
    """Rows from `top` downwards: the first column on the left, the others right-aligned."""
    for index, row in enumerate(table):
        canvas.setFont("Helvetica-Bold" if index == 0 else "Helvetica", 10)
        canvas.drawString(_MARGIN, top, row[0])
        for place, value in enumerate(reversed(row[1:])):
            canvas.drawRightString(_WIDTH - _MARGIN - 90 * place, top, value)
        canvas.line(_MARGIN, top - 5, _WIDTH - _MARGIN, top - 5)
        top -= 18


def _draw_specks(canvas: Canvas, number: str) -> None:
    """Dust, as a scanner leaves it: a thousand specks, each where a hash of the number says."""
    dust = hashlib.shake_256(number.encode()).digest(4000)
    canvas.setFillGray(0.6)
    for place in range(0, len(dust), 4):
        across = int.from_bytes(dust[place : place + 2], "big") / 65536 * _WIDTH
        up = int.from_bytes(dust[place + 2 : place + 4], "big") / 65536 * _HEIGHT
        canvas.rect(across, up, 0.7, 0.7, stroke=0, fill=1)


def _draw_award(canvas: Canvas, sheet: Sheet, width: float, height: float) -> None:
    canvas.setLineWidth(3)
    canvas.rect(30, 30, width - 60, height - 60)
    canvas.setLineWidth(1)
    canvas.rect(38, 38, width - 76, height - 76)
    canvas.setFont("Helvetica-Bold", 20)
    canvas.drawCentredString(width / 2, height - 110, _LETTERHEAD)
    canvas.setFont("Times-Italic", 34)
    canvas.drawCentredString(width / 2, height - 180, sheet.title)
    top = height - 240
    for label, value in sheet.facts:
        canvas.setFont("Times-Roman", 13)
        canvas.drawCentredString(width / 2, top, label)
        canvas.setFont("Times-Bold", 20)
        canvas.drawCentredString(width / 2, top - 26, value)
        top -= 62
    canvas.setFont("Helvetica", 9)
    canvas.drawString(60, 56, sheet.closing)
    canvas.drawRightString(width - 60, 56, sheet.number)
