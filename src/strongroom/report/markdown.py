"""Markdown: writing it, and reading it back as tokens for the page and the PDF file.

What is written is CommonMark with tables, so that any reader shows it. Invariant: a text that
others wrote comes through `text`, `code` or `fenced`, and so is that text and no markup, on one
line, whatever stands in it.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from strongroom.report.wording import plain

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = [
    "anchor",
    "anchors",
    "code",
    "demoted",
    "fenced",
    "joined",
    "plain_text",
    "table",
    "text",
    "tokens",
]

# What begins or ends something within a line. A pipe is for tables, which escape it themselves.
_SPECIAL: Final = re.compile(r"[\\`*\[\]<>&~]|(?<![^\W_])_|_(?![^\W_])")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MOST_LEVEL: Final = 6


def text(given: str) -> str:
    """A text that others wrote, as itself wherever words may stand but at a line's beginning."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], plain(given).strip())


def code(given: str) -> str:
    """The same as code: a name, a path, a command."""
    told = plain(given)
    if not told.strip():
        return text(told) or "–"
    ticks = "`" * (1 + max(map(len, re.findall("`+", told)), default=0))
    padded = told[0] in "` " or told[-1] in "` "
    return f"{ticks} {told} {ticks}" if padded else f"{ticks}{told}{ticks}"


def joined(names: Iterable[str], nothing: str = "–") -> str:
    """Names as code, with commas between; `nothing` when there is none."""
    return ", ".join(map(code, names)) or nothing


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, an empty one before and after; cells are Markdown."""
    yield ""
    yield _row(heads)
    yield _row(["---"] * len(heads))
    for row in rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    # Also within code: the table takes the sign away before anything else is read.
    return f"| {' | '.join(one.replace('|', chr(92) + '|') or ' ' for one in cells)} |"


def fenced(lines: Iterable[str], language: str = "sh") -> Iterator[str]:
    """The lines as a block, an empty one before and after; nothing in them ends it."""
    held = [line for one in lines for line in one.split("\n")]
    longest = max((len(found) for one in held for found in re.findall("`+", one)), default=0)
    fence = "`" * max(3, longest + 1)
    yield ""
    yield fence + language
    yield from held
    yield fence
    yield ""


def demoted(markdown: str, levels: int) -> Iterator[str]:
    """The lines of a whole document with its headings so many levels lower, at most at the sixth,
    so that it can stand below another one's. Underlined headings become marked ones; blocks stay
    as they are, and one that is left open is closed."""
    fence = ""
    lines = markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for place, line in enumerate(lines):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line[found.end() :].strip():
                fence = ""
            yield line
        elif found:
            fence = found[1]
            yield line
        elif heading := _HEADING.match(line):
            level = min(_MOST_LEVEL, len(heading[1]) + levels)
            yield "#" * level + line[heading.end() :]
        elif _is_underlined(lines, place):
            level = min(_MOST_LEVEL, (1 if "=" in lines[place + 1] else 2) + levels)
            yield f"{'#' * level} {line.strip()}"
        elif not (place and _UNDERLINE.match(line) and _is_underlined(lines, place - 1)):
            yield line
    if fence:
        yield fence


def _is_underlined(lines: Sequence[str], place: int) -> bool:
    """Whether a lone line of words stands there with a line below it, which makes a heading."""
    line = lines[place]
    above = lines[place - 1] if place else ""
    return (
        place + 1 < len(lines)
        and bool(_UNDERLINE.match(lines[place + 1]))
        and bool(re.match(r" {0,3}[^\s#>|*+-]", line))
        and not _HEADING.match(line)
        and (not above.strip() or bool(_HEADING.match(above)))
    )


# Reading


def tokens(markdown: str) -> list[Token]:
    """What a reader makes of it: CommonMark with tables; HTML in it is text."""
    from markdown_it import MarkdownIt

    # It tells of each rule that it tries on each line.
    logging.getLogger("markdown_it").setLevel(logging.WARNING)
    return MarkdownIt("commonmark", {"html": False}).enable("table").parse(markdown)


def plain_text(inline: Token) -> str:
    """The words of a heading or paragraph without markup."""
    return "".join(
        one.content if one.type in ("text", "code_inline") else " "
        for one in inline.children or ()
        if one.type in ("text", "code_inline", "softbreak", "hardbreak")
    )


def anchor(title: str) -> str:
    """The name by which a heading is linked to, as readers of Markdown commonly make it."""
    kept = (
        one if one in "-_" or unicodedata.category(one)[0] in "LN" else "-" * (one == " ")
        for one in title.strip().lower()
    )
    return "".join(kept)


def anchors(found: Sequence[Token]) -> dict[int, str]:
    """The name of each heading, by the place of its opening token; no two are alike."""
    names: dict[int, str] = {}
    taken: dict[str, int] = {}
    for place, one in enumerate(found):
        if one.type != "heading_open":
            continue
        name = anchor(plain_text(found[place + 1]))
        number = taken.get(name, 0)
        taken[name] = number + 1
        names[place] = f"{name}-{number}" if number else name
    return names


def document(lines: Iterable[str]) -> str:
    """The lines as a whole: of several empty ones outside of blocks one stays, none at the ends."""
    kept: list[str] = []
    fence = ""
    for one in lines:
        found = _FENCE.match(one)
        if fence:
            fence = "" if found and one.strip() == fence else fence
        elif found:
            fence = found[1]
        elif not one.strip() and (not kept or not kept[-1]):
            continue
        kept.append(one if fence or found else one.rstrip())
    while kept and not kept[-1]:
        kept.pop()
    return "\n".join(kept) + "\n"
