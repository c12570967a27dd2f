"""The demo's papers are real PDF files that any reader opens, and the same paper twice is equal."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfReader

from strongroom.demo.sheets import Sheet, draw, scan_of

_LETTER = Sheet(
    title="Tax invoice",
    number="INV-2026-000123",
    facts=[("Bill to", "Al Noor Contracting LLC"), ("Payable by", "2026-02-27")],
    table=[["Course", "Quantity", "AED"], ["First Aid (FIR-106)", "3", "1,350.00"]],
    closing="Payable in AED within 30 days.",
)
_AWARD = Sheet(
    title="Certificate of Achievement",
    number="TMS-100001",
    facts=[("This is to certify that", "Layla Al Balushi")],
    landscape=True,
)
_SCAN = Sheet(title="Local purchase order", number="LPO-1005", facts=[], scanned=True)


@pytest.mark.parametrize("sheet", [_LETTER, _AWARD, _SCAN], ids=lambda sheet: sheet.number)
def test_a_reader_finds_one_page_with_all_that_the_sheet_says(sheet: Sheet) -> None:
    content = draw(sheet)
    assert content.startswith(b"%PDF-1.")
    reader = PdfReader(io.BytesIO(content), strict=True)
    assert len(reader.pages) == 1
    text = reader.pages[0].extract_text()
    said = [sheet.number, sheet.title, *(word for fact in sheet.facts for word in fact)]
    said += [cell for row in sheet.table for cell in row]
    assert [word for word in said if word not in text] == []
    assert reader.metadata is not None
    assert reader.metadata.title == f"{sheet.title} {sheet.number}"


def test_a_certificate_lies_on_its_side() -> None:
    page = PdfReader(io.BytesIO(draw(_AWARD))).pages[0]
    assert page.mediabox.width > page.mediabox.height


def test_the_same_sheet_gives_the_same_bytes_and_another_number_gives_others() -> None:
    other = Sheet(title=_SCAN.title, number="LPO-1010", facts=[], scanned=True)
    assert draw(_SCAN) == draw(_SCAN)
    assert draw(_SCAN) != draw(other)


def test_a_scan_is_an_image_of_the_size_asked_for() -> None:
    image = scan_of("LPO-1005", width=40, height=30)
    header, pixels = image[:13], image[13:]
    assert header == b"P5\n40 30\n255\n"
    assert len(pixels) == 40 * 30
    assert min(pixels) >= 200, "paper is light"
    assert image == scan_of("LPO-1005", width=40, height=30)
