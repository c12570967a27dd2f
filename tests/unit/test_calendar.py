"""When cron fields fit: each time on the clock once, also on days on which clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.plan.calendar import Calendar, jitter, parse_fields

DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def told(moments: list[datetime]) -> list[str]:
    return [f"{one:%m-%d %H:%M}" for one in moments]


# Fields, zone, from, to (both UTC), and the moments in UTC that they name.
TABLE = [
    # Berlin: at 2026-10-25 03:00 back to 02:00, at 2026-03-29 02:00 on to 03:00.
    ("30 2 * * *", "Europe/Berlin", "2026-10-24", "2026-10-27",
     ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
    ("30 2 * * *", "Europe/Berlin", "2026-03-28", "2026-03-31",
     ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
    ("0,30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29 23:00", ["03-29 01:00"]),
    ("30 1-3 * * *", "Europe/Berlin", "2026-03-28 23:00", "2026-03-29 23:00",
     ["03-29 00:30", "03-29 01:00", "03-29 01:30"]),
    ("0 2,3 * * *", "Europe/Berlin", "2026-10-24 22:00", "2026-10-25 22:00",
     ["10-25 00:00", "10-25 02:00"]),
    ("*/20 2 * * *", "Europe/Berlin", "2026-10-24 22:00", "2026-10-25 22:00",
     ["10-25 00:00", "10-25 00:20", "10-25 00:40", "10-25 01:00", "10-25 01:20", "10-25 01:40"]),
    ("*/20 2 * * *", "Europe/Berlin", "2026-03-28 23:00", "2026-03-29 21:00", []),
    # New York: at 2026-11-01 02:00 back to 01:00, at 2026-03-08 02:00 on to 03:00.
    ("30 1 * * *", "America/New_York", "2026-10-31", "2026-11-03",
     ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
    ("30 2 * * *", "America/New_York", "2026-03-07", "2026-03-10",
     ["03-07 07:30", "03-08 07:00", "03-09 06:30"]),
    # Lord Howe changes by half an hour: at 2026-04-05 02:00 back to 01:30, at 2026-10-04 02:00 on.
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03", "2026-04-06",
     ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02", "2026-10-05",
     ["10-02 15:45", "10-03 15:30", "10-04 15:15"]),
    ("*/10 2 * * *", "Australia/Lord_Howe", "2026-04-04 14:00", "2026-04-04 16:30",
     ["04-04 15:30", "04-04 15:40", "04-04 15:50", "04-04 16:00", "04-04 16:10", "04-04 16:20"]),
    # Dubai never changes.
    ("30 2 * * *", "Asia/Dubai", "2026-03-28", "2026-03-31",
     ["03-28 22:30", "03-29 22:30", "03-30 22:30"]),
    # Apia had no 2011-12-30.
    ("30 2 * * *", "Pacific/Apia", "2011-12-28 12:00", "2012-01-01",
     ["12-28 12:30", "12-29 12:30", "12-30 12:30", "12-31 12:30"]),
    ("0 12 30 12 *", "Pacific/Apia", "2011-12-01", "2012-01-31", []),
    # Santiago's clocks change at midnight: on 2026-09-06 it was never 00:30.
    ("30 0 * * *", "America/Santiago", "2026-09-05", "2026-09-08",
     ["09-05 04:30", "09-06 04:00", "09-07 03:30"]),
    ("0 0 1 * *", "UTC", "2026-01-15", "2026-03-15", ["02-01 00:00", "03-01 00:00"]),
    ("0 6 * * MON#1", "UTC", "2026-11-01", "2026-12-31", ["11-02 06:00", "12-07 06:00"]),
    ("0 6 L * *", "UTC", "2026-01-31 07:00", "2026-04-15", ["02-28 06:00", "03-31 06:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "zone", "begin", "end", "expected"), TABLE)
def test_each_time_on_the_clock_has_its_moment(
    fields: str, zone: str, begin: str, end: str, expected: list[str]
) -> None:
    calendar = Calendar(fields, zone)
    first, last = utc(begin), utc(end)
    assert told(list(calendar.between(first, last))) == expected
    backwards = []
    found = calendar.newest(last)
    while found is not None and found > first:
        backwards.append(found)
        found = calendar.newest(found - timedelta(seconds=1))
    assert told(backwards[::-1]) == expected


@pytest.mark.parametrize(
    ("zone", "begin", "hours"),
    [
        ("Europe/Berlin", "2026-03-28 23:00", 23),
        ("Europe/Berlin", "2026-10-24 22:00", 25),
        ("America/New_York", "2026-11-01 04:00", 25),
        ("Asia/Dubai", "2026-03-28 20:00", 24),
    ],
)
def test_what_follows_the_clock_happens_as_often_as_it_shows_it(
    zone: str, begin: str, hours: int
) -> None:
    first = utc(begin) - timedelta(minutes=1)
    calendar = Calendar("0 * * * *", zone)
    found = list(calendar.between(first, first + timedelta(hours=hours)))
    assert len(found) == hours
    assert {one.astimezone(UTC) - found[0] for one in found} == {
        timedelta(hours=number) for number in range(hours)
    }


def test_a_moment_within_the_hour_that_comes_twice_is_no_beginning_anew() -> None:
    """02:15 for the second time: 02:30 was an hour ago, when it was shown first."""
    calendar = Calendar("30 2 * * *", "Europe/Berlin")
    second = utc("2026-10-25 01:15")
    assert calendar.newest(second) == utc("2026-10-25 00:30")
    assert calendar.after(second) == utc("2026-10-26 01:30")


def test_the_moment_itself_is_the_newest_and_not_the_next() -> None:
    calendar = Calendar("0 2 * * *", "UTC")
    at = utc("2026-11-26 02:00")
    assert calendar.newest(at) == at
    assert calendar.newest(at - timedelta(microseconds=1)) == at - DAY
    assert calendar.newest(at + timedelta(microseconds=1)) == at
    assert calendar.after(at) == at + DAY
    assert calendar.after(at - timedelta(microseconds=1)) == at


def test_what_comes_seldom_is_found_both_ways() -> None:
    calendar = Calendar("0 0 29 2 *", "UTC")
    assert calendar.after(utc("2026-11-26")) == utc("2028-02-29")
    assert calendar.newest(utc("2026-11-26")) == utc("2024-02-29")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("* * * * *", timedelta(minutes=1)),
        ("15 * * * *", timedelta(hours=1)),
        ("0,59 3 * * *", timedelta(minutes=59)),
        ("0 1,3,23 * * *", timedelta(hours=2)),
        ("0 2 * * *", timedelta(hours=23)),  # on the day on which clocks go forward
        ("0 2 * * 1,3", timedelta(days=2)),
        ("0 7 1 * *", timedelta(days=28)),
        ("0 0 29 2 *", timedelta(days=1461)),
    ],
)
def test_the_shortest_time_between_two(fields: str, expected: timedelta) -> None:
    assert Calendar(fields, "Europe/Berlin").shortest() == expected


def test_jitter_is_the_same_for_the_same_run_and_spreads_others() -> None:
    at = utc("2026-11-26 02:00")
    most = timedelta(minutes=10)
    one = jitter("tms", "capture", at, most)
    assert one == jitter("tms", "capture", at.astimezone(), most)
    many = {jitter(f"app{number}", "capture", at, most) for number in range(200)}
    assert len(many) > 100
    assert min(many) < timedelta(minutes=1)
    assert timedelta(minutes=9) < max(many) < most
    assert all(not found.microseconds for found in many)
    assert jitter("tms", "capture", at, timedelta()) == timedelta()
    assert jitter("tms", "capture", at + DAY, most) != one
    assert jitter("tms", "drill", at, most) != one


def test_fields_are_what_they_name() -> None:
    fields = parse_fields("*/30 1-3 * jan mon-fri")
    assert fields.minutes == {0, 30}
    assert fields.hours == {1, 2, 3}
    assert fields.months == {1}
    assert fields.weekdays == {1, 2, 3, 4, 5}
    assert fields.both
    assert not parse_fields("0 0 1 * mon").both
