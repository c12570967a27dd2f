"""How numbers, tables and findings look to people, and what never gets out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
import pytest

from strongroom.cli.run import Run, error_lines, redact
from strongroom.cli.text import (
    clock,
    count,
    finding_lines,
    hint_lines,
    one_line,
    plain,
    size,
    span,
    table,
)
from strongroom.errors import SourceError, StrongroomError
from strongroom.model import finding


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1048524, "1023.9 KiB"),
        (1048575, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (7 << 50, "7168.0 TiB"),
    ],
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_counts() -> None:
    assert count(1, "entry", "entries") == "1 entry"
    assert count(0, "entry", "entries") == "0 entries"
    assert count(1204, "comparison") == "1,204 comparisons"


def test_times_are_told_in_the_configured_zone() -> None:
    moment = datetime(2026, 11, 22, 22, 30, tzinfo=UTC)
    assert clock(moment, "Asia/Dubai") == "2026-11-23 02:30:00"


def test_tables_are_aligned_whatever_their_colours() -> None:
    rows = [("a", click.style("PROVEN", fg="green"), "5"), ("long name", "FAILED", "12345")]
    assert [click.unstyle(line) for line in table(("NAME", "VERDICT", "N"), rows, right="N")] == [
        "NAME       VERDICT      N",
        "a          PROVEN       5",
        "long name  FAILED   12345",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\rPROVEN all fine", "a\\rPROVEN all fine"),
        ("\x1b]0;title\x07 \x1b[2J \x9b2J \x7f", "\\x1b]0;title\\x07 \\x1b[2J \\x9b2J \\x7f"),
        ("two\nlines\ttab \u2028 \u2029", "two\\nlines\\ttab \\u2028 \\u2029"),
        ("gnp.\u202efdp \u2066x\u2069 \u200f", "gnp.\\u202efdp \\u2066x\\u2069 \\u200f"),
        ("\udcff \U000e0041 \ufffe", "\\udcff \\U000e0041 \\ufffe"),
        ("عربي 中文 ünï 🏦👩\u200d🚀 no-break\u00a0space \\", None),
    ],
)
def test_nothing_that_a_terminal_obeys_comes_from_others(text: str, shown: str | None) -> None:
    assert plain(text) == (text if shown is None else shown)


def test_a_line_keeps_our_colours_and_nothing_else() -> None:
    green = click.style("PROVEN", fg="green", bold=True)
    assert one_line(f"{green}  a\x1b[2K\rb\nc") == f"{green}  a\\x1b[2K\\rb\\nc"
    red = click.style("red", fg="red")
    (line,) = finding_lines([finding("tree-extra", f"a {red}", "no\nPROVEN")])
    assert click.unstyle(line) == r"  failure  tree-extra  a \x1b[31mred\x1b[0m: no\nPROVEN"


def test_the_worst_findings_come_first_and_notes_only_on_request() -> None:
    found = [
        finding("content-order", "t", "order"),
        finding("folder-missing", "lpos", "gone"),
        *(finding("content-differs", f"t{number}", "differs") for number in range(25)),
    ]
    lines = [click.unstyle(line) for line in finding_lines(found)]
    assert lines[0] == "  failure  content-differs  t0: differs"
    assert lines[-1] == "  … and 6 more; --verbose shows all"
    assert len(lines) == 21
    whole = [click.unstyle(line) for line in finding_lines(found, all_of_them=True)]
    assert whole[-2:] == [
        "  warning  folder-missing  lpos: gone",
        "  note  content-order  t: order",
    ]


def test_every_code_that_fails_has_its_remedy_once() -> None:
    found = [
        finding("pack-missing", "local: ab", "gone"),
        finding("pack-missing", "local: cd", "gone"),
        finding("folder-missing", "lpos", "gone"),
        finding("content-differs", "t", "differs"),
    ]
    lines = [click.unstyle(line) for line in hint_lines(found)]
    assert [line.split("  ")[1:3] for line in lines] == [
        ["hint", "content-differs"],
        ["hint", "pack-missing"],
    ]
    assert lines[1].endswith("Run `strongroom repair`: other repositories give what is lost.")
    assert hint_lines(found[2:3]) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:pa:ss@h/db", "postgresql://u:***@h/db"),
        ("s3://key:secret@host/b and ftp://a:b@c", "s3://key:***@host/b and ftp://a:***@c"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("host=h password=geheim dbname=d", "host=h password=*** dbname=d"),
        ("PGPASSWORD = 'two words' x", "PGPASSWORD=*** x"),
        ("at 12:30 by a@b", "at 12:30 by a@b"),
    ],
)
def test_what_looks_like_a_password_never_gets_out(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_an_error_has_three_lines_at_most() -> None:
    error = SourceError("connection refused", subject="database", code="database-unreachable")
    lines = [click.unstyle(line) for line in error_lines(error)]
    assert lines == [
        "Error: database: connection refused",
        "Hint: Check host, port and that the server is running.",
    ]
    bug = [click.unstyle(line) for line in error_lines(StrongroomError("KeyError: 'x'"))]
    assert bug == [
        "Error: Something happened that the program does not foresee.",
        "KeyError: 'x'",
        "Hint: Run again with --verbose and report the trace.",
    ]


def test_documents_stay_documents_whatever_they_quote(capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "nodes": [{"path": "/uploads/reset-password=1.pdf"}],
        "findings": [{"message": "expected password = 'geheim', observed postgres://u:geheim@h/d"}],
        "target": "postgres://u:geheim@h/d",
        "count": 1,
    }
    Run(json=True).result(document, [])
    written = json.loads(capsys.readouterr().out)
    assert written["nodes"] == document["nodes"]
    assert written["count"] == 1
    assert "geheim" not in json.dumps(written)
