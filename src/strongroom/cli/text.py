"""How answers look to people: tables, sizes, spans, verdicts and findings.

Invariant: what others wrote (names of files, messages of servers, a repository's records) comes
through `plain`, so that none of it moves the cursor, makes a line or reorders what is read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import click

from strongroom.findings import FINDING_KINDS
from strongroom.model import Finding, Severity, Verdict

_COLOURS: Final = {
    "PROVEN": "green",
    "STALE": "yellow",
    "UNKNOWN": "yellow",
    "FAILED": "red",
    "note": "blue",
    "hint": "cyan",
    "warning": "yellow",
    "unknown": "yellow",
    "failure": "red",
}
_MOST_FINDINGS: Final = 20
# Controls and line separators, invisible formatting (with what turns the direction of writing) and
# what is no character at all; but not the joiners that names in many scripts are written with.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")
_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_ORDER: Final = (Severity.FAILURE, Severity.UNKNOWN, Severity.WARNING, Severity.NOTE)


def size(bytes_count: int | None) -> str:
    """`0 B`, `512 B`, `1.5 KiB`, `12.3 MiB`; a dash when nobody knows."""
    if bytes_count is None:
        return "-"
    amount, unit = float(bytes_count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1023.95 or unit == "TiB":
            break
        amount /= 1024
    return f"{bytes_count} B" if unit == "B" else f"{amount:.1f} {unit}"


def span(seconds: float) -> str:
    """`0.4 s`, `12.3 s`, `4 min 05 s`, `2 h 03 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`, `1,204 comparisons`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def clock(moment: datetime, time_zone: str) -> str:
    """A time for people, in the configuration's time zone."""
    return f"{moment.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M:%S}"


def plain(text: str) -> str:
    """A text that others wrote, on one line and without what a terminal would obey: such
    characters are told as in Python's texts, `\\n` or `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode("ascii")
        if unicodedata.category(one) in _OBEYED and one not in _JOINERS
        else one
        for one in text
    )


def one_line(text: str) -> str:
    """A line of an answer as it may reach a terminal: colours stay, all else is `plain`."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    return "".join(one if place % 2 else plain(one) for place, one in enumerate(parts))


def coloured(word: str) -> str:
    """A verdict or severity in its colour, where the terminal has colours."""
    colour = _COLOURS.get(word)
    return click.style(word, fg=colour, bold=word in Verdict.__members__) if colour else word


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = "") -> list[str]:
    """Aligned lines; columns whose head is named in `right` (spaced words) stand to the right."""
    cells = [list(heads), *(list(row) for row in rows)]
    plain = [[click.unstyle(cell) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    to_right = [head in right.split() for head in heads]
    lines = []
    for row, bare in zip(cells, plain, strict=True):
        parts = []
        for cell, text, width, aligned in zip(row, bare, widths, to_right, strict=True):
            gap = " " * (width - len(text))
            parts.append(gap + cell if aligned else cell + gap)
        lines.append("  ".join(parts).rstrip())
    return lines


def finding_lines(findings: Sequence[Finding], *, all_of_them: bool = False) -> list[str]:
    """Findings, the worst first; without `all_of_them` at most twenty, notes left out."""
    shown = [one for one in findings if all_of_them or one.severity is not Severity.NOTE]
    shown.sort(key=lambda one: _ORDER.index(one.severity))
    limit = len(shown) if all_of_them else _MOST_FINDINGS
    lines = [
        f"  {coloured(one.severity.value)}  {one.code}  {plain(one.subject)}: {plain(one.message)}"
        for one in shown[:limit]
    ]
    if len(shown) > limit:
        lines.append(f"  … and {len(shown) - limit} more; --verbose shows all")
    return lines


def hint_lines(findings: Iterable[Finding]) -> list[str]:
    """What to do about these findings: a line for each code that is a failure, once."""
    codes = dict.fromkeys(one.code for one in findings if one.severity is Severity.FAILURE)
    return [f"  {coloured('hint')}  {code}  {FINDING_KINDS[code].remedy}" for code in sorted(codes)]
