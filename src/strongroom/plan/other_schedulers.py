"""A schedule's fields as systemd and as other crons write them; nothing that means something else.

What one of them has no words for is refused with a ValueError that says so, never left out. On the
day on which clocks are changed each of them has rules of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import chain, product
from typing import Final

from strongroom.plan.calendar import LAST, LAST_WEEKDAY, Fields, parse_fields

_ALL_DAYS: Final = frozenset(range(1, 32))
_ALL_WEEKDAYS: Final = frozenset(range(1, 8))
_MONDAY_TO_FRIDAY: Final = frozenset(range(1, 6))
_FRIDAY: Final = frozenset({5})
_NAMES: Final = ("", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# What every cron reads: numbers and ranges, with a step behind a range or a star only.
_PLAIN: Final = re.compile(r"(\*(/\d+)?|\d+(-\d+(/\d+)?)?)(,(\*(/\d+)?|\d+(-\d+(/\d+)?)?))*")

# Days as systemd writes them, by numbers or counted from the month's end.
_Days = frozenset[int] | str
_LAST_DAY: Final = "~01"
_LAST_SEVEN: Final = "~07/1"


def on_calendar(text: str, time_zone: str) -> list[str]:
    """The values of `OnCalendar=`, which together name what the fields name in this zone.

    Facts: systemd.time(7), "Calendar events".
    """
    fields = parse_fields(text)
    hours, minutes = _numbers(fields.hours, range(24)), _numbers(fields.minutes, range(60))
    months = _numbers(fields.months, range(1, 13))
    lines = []
    for weekdays, days in _days(fields):
        if isinstance(days, str):
            date = f"*-{months}{days}"
        else:
            date = f"*-{months}-{_numbers(days, range(1, 32))}"
        week = "" if weekdays == _ALL_WEEKDAYS else f"{_week(weekdays)} "
        lines.append(f"{week}{date} {hours}:{minutes}:00 {time_zone}")
    if not lines:
        raise ValueError("no day fits it in systemd's words")
    return lines


def _days(fields: Fields) -> Iterator[tuple[frozenset[int], _Days]]:
    """Weekdays and days of the month that have to fit together; one of the pairs is enough."""
    of_month, of_week = list(_of_month(fields)), list(_of_week(fields))
    if not fields.both:
        yield from chain(of_month, of_week)
        return
    for (weekdays, days), (also_weekdays, also_days) in product(of_month, of_week):
        common = weekdays & also_weekdays
        together = _together(days, also_days)
        if common and together:
            yield common, together


def _of_month(fields: Fields) -> Iterator[tuple[frozenset[int], _Days]]:
    if numbers := fields.days - {LAST, LAST_WEEKDAY}:
        yield _ALL_WEEKDAYS, numbers
    if LAST in fields.days:
        yield _ALL_WEEKDAYS, _LAST_DAY
    if LAST_WEEKDAY in fields.days:
        # The last day, or the Friday before a weekend at the month's end.
        yield _MONDAY_TO_FRIDAY, _LAST_DAY
        yield _FRIDAY, "~02"
        yield _FRIDAY, "~03"


def _of_week(fields: Fields) -> Iterator[tuple[frozenset[int], _Days]]:
    plain = frozenset(one or 7 for one in fields.weekdays if isinstance(one, int))
    if plain:
        yield plain, _ALL_DAYS
    counted = [one for one in fields.weekdays if isinstance(one, tuple)]
    for weekday, number in sorted(counted):
        one = frozenset({weekday or 7})
        if number == LAST:
            yield one, _LAST_SEVEN
        else:
            yield one, frozenset(range(7 * number - 6, min(7 * number, 31) + 1))


def _together(one: _Days, other: _Days) -> _Days:
    if one == _ALL_DAYS:
        return other
    if other == _ALL_DAYS:
        return one
    if isinstance(one, str) or isinstance(other, str):
        raise ValueError("systemd has no words for this mixture of days")
    return one & other


def _week(weekdays: frozenset[int]) -> str:
    return ",".join(
        _NAMES[first] if first == last else f"{_NAMES[first]}..{_NAMES[last]}"
        for first, last in _runs(weekdays)
    )


def _numbers(numbers: frozenset[int], whole: range) -> str:
    if numbers == frozenset(whole):
        return "*"
    return ",".join(
        f"{first:02}" if first == last else f"{first:02}..{last:02}"
        for first, last in _runs(numbers)
    )


def _runs(numbers: Collection[int]) -> list[tuple[int, int]]:
    """The first and the last of each row of numbers that follow each other, three at least."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return [
        pair
        for first, last in runs
        for pair in ([(first, first), (last, last)] if last == first + 1 else [(first, last)])
    ]


def crontab_fields(text: str) -> str:
    """The five fields as any cron reads them: names and steps behind a single number are written
    as numbers."""
    fields = parse_fields(text)
    named = (fields.minutes, fields.hours, fields.days, fields.months, fields.weekdays)
    written = []
    for given, numbers in zip(text.split(), named, strict=True):
        if any(isinstance(one, tuple) or one < 0 for one in numbers):
            raise ValueError("other crons don't know L, LW and #")
        if _PLAIN.fullmatch(given):
            written.append(given)
        elif given.startswith("*"):
            raise ValueError(f"other crons may read {given} otherwise")  # the star has a meaning
        else:
            plain = [one for one in numbers if isinstance(one, int)]
            written.append(
                ",".join(
                    f"{first}" if first == last else f"{first}-{last}"
                    for first, last in _runs(plain)
                )
            )
    return " ".join(written)
