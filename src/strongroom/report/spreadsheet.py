"""Rows as CSV that spreadsheets open rightly, and in which no cell is taken for a formula.

As RFC 4180 has it, in UTF-8 with the mark by which spreadsheets know that. A text that begins as a
formula does gets an apostrophe in front: what others wrote (names of sources, reasons, messages)
must not calculate anything on an auditor's desk.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from strongroom.report.wording import plain

__all__ = ["csv_table"]

# Also in full width, which some spreadsheets read alike.
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def csv_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """The table, one line for each row whatever its texts hold."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows([_cell(one) for one in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _cell(text: str) -> str:
    text = plain(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_SIGNS) else text
