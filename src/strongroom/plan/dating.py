"""When a file from before Strongroom was made: from what is known of it, the surest first.

What somebody says goes first, then the file's name, then what stands in the file, then its own
time. A date that can be read in two ways or is yet to come is refused, never guessed. Pure: the
clock's time and the time zone are given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

__all__ = ["Clue", "Dated", "UndatedError", "date_file", "dates_in_name"]

# PostgreSQL has its name since then; files with older times had none, such as the epoch's.
_FIRST_YEAR: Final = 1996
_TOLERANCE: Final = timedelta(minutes=1)

_YEAR_FIRST: Final = re.compile(
    r"(?<!\d)(?P<year>\d{4})(?P<mark>[-_.]?)(?P<month>\d{2})(?P=mark)(?P<day>\d{2})"
    r"(?:[T _.-]?(?P<hour>\d{2})[:hH_.-]?(?P<minute>\d{2})(?:[:mM_.-]?(?P<second>\d{2}))?"
    r"(?P<zulu>Z)?)?(?!\d)"
)
_YEAR_LAST: Final = re.compile(
    r"(?<!\d)(?P<one>\d{1,2})(?P<mark>[-_.])(?P<two>\d{1,2})(?P=mark)(?P<year>\d{4})(?!\d)"
)


class UndatedError(Exception):
    """No date can be relied on; the text says why."""


@dataclass(frozen=True, slots=True)
class Clue:
    """A time that is known of a file, and where it was found, as people say it."""

    where: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Dated:
    """The moment that a file is taken for, in UTC, and by what."""

    at: datetime
    by: str


def date_file(
    name: str,
    *,
    given: datetime | None,
    clues: Sequence[Clue],
    zone: tzinfo,
    now: datetime,
) -> Dated:
    """The date of a file of this name; `clues` are what else is known, the surest first.

    Raises `UndatedError` when the date is yet to come, can be read in two ways, or is not known.
    """
    if given is not None:
        return _checked(Dated(given.astimezone(UTC), "--captured-at"), now)
    believable = [one for one in clues if one.at.astimezone(zone).year >= _FIRST_YEAR]
    named = list(dict.fromkeys(dates_in_name(name, zone)))
    days = {one.day for one in named}
    if len(days) > 1:
        told = " and ".join(one.isoformat() for one in sorted(days))
        raise UndatedError(f"its name can be read as {told}")
    exact = {one.at for one in named if one.at is not None}
    if len(exact) > 1:
        raise UndatedError("its name holds several times of the same day")
    if exact:
        return _checked(Dated(exact.pop(), "its name"), now)
    if days:
        return _checked(_of_day(days.pop(), believable, zone), now)
    for clue in believable:
        return _checked(Dated(clue.at.astimezone(UTC), clue.where), now)
    raise UndatedError("neither its name nor what is in it tells when it was made")


@dataclass(frozen=True, slots=True)
class _Named:
    """A day that a name holds, and the moment where it holds a time of day, too."""

    day: date
    at: datetime | None = None


def dates_in_name(name: str, zone: tzinfo) -> Iterator[_Named]:
    """Every date that a name can be read as; `UndatedError` for a time of day that the zone's
    clocks showed twice or never."""
    for found in _YEAR_FIRST.finditer(name):
        day = _day(found["year"], found["month"], found["day"])
        if day is not None:
            yield _Named(day, _moment(day, found, zone))
    for found in _YEAR_LAST.finditer(name):
        one, two = found["one"], found["two"]
        readings = {_day(found["year"], two, one), _day(found["year"], one, two)}
        for reading in sorted(filter(None, readings)):
            yield _Named(reading)


def _day(year: str, month: str, day: str) -> date | None:
    try:
        read = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return read if read.year >= _FIRST_YEAR else None


def _moment(day: date, found: re.Match[str], zone: tzinfo) -> datetime | None:
    if found["hour"] is None:
        return None
    try:
        clock = time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0))
    except ValueError:
        return None  # digits of something else
    if found["zulu"]:
        return datetime.combine(day, clock, UTC)
    local = datetime.combine(day, clock, zone)
    if local.replace(fold=1).utcoffset() != local.utcoffset():
        raise UndatedError(f"clocks showed {local:%Y-%m-%d %H:%M} twice or not at all that day")
    return local.astimezone(UTC)


def _of_day(day: date, clues: Sequence[Clue], zone: tzinfo) -> Dated:
    """A day without a time of day: the time of whatever clue is of that day, else its beginning,
    so that nothing is taken for newer than it may be."""
    for clue in clues:
        if clue.at.astimezone(zone).date() == day:
            return Dated(clue.at.astimezone(UTC), f"its name, the time of day by {clue.where}")
    begin = datetime.combine(day, time(), zone).astimezone(UTC)
    return Dated(begin, "its name, the beginning of that day")


def _checked(dated: Dated, now: datetime) -> Dated:
    if dated.at > now + _TOLERANCE:
        raise UndatedError(f"{dated.at:%Y-%m-%d %H:%M} UTC, by {dated.by}, is yet to come")
    if dated.at.year < _FIRST_YEAR:
        raise UndatedError(f"{dated.at:%Y-%m-%d} is before {_FIRST_YEAR}")
    return dated
