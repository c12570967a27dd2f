"""Sizes, spans, counts, times and foreign texts, in words: the same in answers and in reports.

Invariant: what others wrote comes through `plain`, so that none of it moves a cursor, makes a line
or reorders what is read, wherever it is shown.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

# Controls and line separators, invisible formatting (with what turns the direction of writing) and
# what is no character at all; but not the joiners that names in many scripts are written with.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")


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


class Verbatim(str):
    """Text that is given out as it is, because it is what was asked for: nothing in it is masked,
    since a script that was altered would do something else."""

    __slots__ = ()


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


def age(span_of_time: timedelta) -> str:
    """`12.0 s`, `3 h 05 min`, `9 days`, `9 days 4 h`: for objectives and what was observed."""
    if span_of_time < timedelta(hours=48):
        return span(span_of_time.total_seconds()).removesuffix(" 00 min").removesuffix(" 00 s")
    hours = round(span_of_time.total_seconds() / 3600)
    days = count(hours // 24, "day")
    return f"{days} {hours % 24} h" if hours % 24 else days
