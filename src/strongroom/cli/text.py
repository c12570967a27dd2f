"""How answers look to people: tables, sizes, spans, verdicts and findings.

Invariant: what others wrote (names of files, messages of servers, a repository's records) comes
through `plain`, so that none of it moves the cursor, makes a line or reorders what is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

import click

from strongroom.findings import FINDING_KINDS
from strongroom.model import Finding, Severity, Verdict
from strongroom.report.wording import age, clock, count, plain, size, span

__all__ = [
    "age",
    "clock",
    "coloured",
    "count",
    "finding_lines",
    "hint",
    "hint_lines",
    "one_line",
    "plain",
    "size",
    "span",
    "table",
    "wrapped",
]

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
_WIDTH: Final = 100
_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_ORDER: Final = (Severity.FAILURE, Severity.UNKNOWN, Severity.WARNING, Severity.NOTE)


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


def wrapped(text: str, indent: str = "") -> Iterable[str]:
    """A text as lines of at most a hundred characters; words that are longer stay whole."""
    lines = wrap(text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return [f"{indent}{line}" for line in lines or [""]]


def hint(text: str, indent: str = "") -> Iterable[str]:
    """What to do, as lines: the first begins with the word."""
    first, *others = wrapped(f"hint  {text}", indent)
    return [first.replace("hint", coloured("hint"), 1), *others]
