"""Whatever the zone, the fields, the gaps and the restarts: no run twice, no day lost, and nothing
beside what excludes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.plan.calendar import Calendar, jitter
from strongroom.plan.job import is_in_the_way, make_timetable
from strongroom.plan.schedule import upcoming
from tests.support.schedule_ground import World, declared, every, job

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
# Clocks that change by an hour, by half of one, at midnight, twice a year more, by a day, or never.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Dubai",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
# The days around which clocks were or will be changed somewhere, besides any others.
CHANGES = (
    datetime(2011, 12, 29, tzinfo=UTC),
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC),
    datetime(2026, 9, 5, tzinfo=UTC),
    datetime(2026, 10, 3, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2026, 10, 31, tzinfo=UTC),
)
zones = st.sampled_from(ZONES)
moments = st.one_of(
    st.builds(
        lambda base, minutes: base + minutes * MINUTE,
        st.sampled_from(CHANGES),
        st.integers(-1440, 3 * 1440),
    ),
    st.builds(
        lambda number: datetime(2008, 1, 1, tzinfo=UTC) + number * SECOND,
        st.integers(0, 22 * 366 * 86400),
    ),
)
minutes = st.integers(0, 59)
hours = st.integers(0, 23)
daily = st.builds("{} {} * * *".format, minutes, hours)
seldom = st.builds("{} {} {} * *".format, minutes, hours, st.sampled_from(("1", "15", "L", "*/9")))
weekly = st.builds("{} {} * * {}".format, minutes, hours, st.integers(0, 7))
named = st.one_of(
    daily,
    seldom,
    weekly,
    st.builds("{},{} {},{} * * *".format, minutes, minutes, hours, hours),
)
following = st.one_of(
    st.builds("*/{} * * * *".format, st.integers(5, 59)),
    st.builds("{} * * * *".format, minutes),
    st.builds("*/{} {} * * *".format, st.integers(5, 59), hours),
    st.builds("{} */{} * * {}".format, minutes, st.integers(1, 12), st.integers(0, 6)),
)
any_fields = st.one_of(named, following)


@given(any_fields, zones, moments)
def test_what_is_found_forwards_is_found_backwards(fields: str, zone: str, at: datetime) -> None:
    calendar = Calendar(fields, zone)
    newest, following = calendar.newest(at), calendar.after(at)
    assert newest is not None
    assert following is not None
    assert newest <= at < following
    assert calendar.after(newest) == following
    assert calendar.newest(following) == following
    assert calendar.newest(following - SECOND) == newest


@settings(max_examples=15, deadline=None)
@given(following, zones, moments)
def test_what_follows_the_clock_is_every_minute_that_it_shows_so(
    fields: str, zone: str, at: datetime
) -> None:
    begin = at.replace(second=0, microsecond=0)
    shown = set(
        islice(
            CronSim(fields, begin.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - 2 * DAY), 9000
        )
    )
    expected = [
        one
        for one in every(MINUTE, begin + MINUTE, begin + 2 * DAY)
        if one.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) in shown
    ]
    assert list(Calendar(fields, zone).between(begin, begin + 2 * DAY)) == expected


@given(named, zones, moments)
def test_but_for_a_day_that_never_was_the_times_are_cronsim_s(
    fields: str, zone: str, at: datetime
) -> None:
    begin = at.astimezone(ZoneInfo(zone))
    if begin.fold:  # where cronsim would begin within what it has passed
        begin = begin.replace(fold=0)
    theirs = [one.astimezone(UTC) for one in islice(CronSim(fields, begin), 12)]
    calendar = Calendar(fields, zone)
    ours = list(islice(_from(calendar, begin.astimezone(UTC)), 12))
    # Two times within one gap are one moment, and Apia's lost day has none.
    lost = datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert [one for one in dict.fromkeys(theirs) if one != lost or zone != "Pacific/Apia"][:8] == [
        one for one in ours if one != lost or zone != "Pacific/Apia"
    ][:8]


def _from(calendar: Calendar, begin: datetime) -> Sequence[datetime]:
    found: list[datetime] = []
    one = calendar.after(begin)
    while one is not None and len(found) < 14:
        found.append(one)
        one = calendar.after(one)
    return found


@given(daily, zones, moments)
def test_a_daily_run_has_one_moment_on_each_day(fields: str, zone: str, at: datetime) -> None:
    found = list(Calendar(fields, zone).between(at - 40 * DAY, at + 40 * DAY))
    there = [one.astimezone(ZoneInfo(zone)).date() for one in found]
    assert len(set(there)) == len(there)
    assert set(_days(there[0], there[-1])) - set(there) <= (
        {date(2011, 12, 30)} if zone == "Pacific/Apia" else set()
    )


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@settings(max_examples=15, deadline=None)
@given(daily, zones, st.sampled_from(CHANGES), st.integers(0, 180))
def test_who_looks_each_minute_runs_each_day_once(
    fields: str, zone: str, begin: datetime, spread: int
) -> None:
    calendar = Calendar(fields, zone)
    world = World((job("capture", fields, zone, spread * MINUTE),), begin)
    end = begin + 2 * DAY
    world.go(every(MINUTE, begin, end))
    expected = list(calendar.between(begin, end))
    ran = world.times_of("capture")
    # The last one may still wait for its jitter.
    assert ran in (expected, expected[:-1])
    assert not spread or all(
        at - run.scheduled_for < (spread + 1) * MINUTE for run, at in world.ran
    )


gaps = st.lists(st.integers(1, 2 * 1440), min_size=1, max_size=10)


@settings(deadline=None)
@given(any_fields, zones, moments, gaps, st.integers(0, 90))
def test_after_each_gap_one_run_makes_up_for_all(
    fields: str, zone: str, begin: datetime, gaps: list[int], spread: int
) -> None:
    calendar = Calendar(fields, zone)
    one = job("capture", fields, zone, spread * MINUTE)
    world = World((one,), begin)
    now = begin
    for gap in gaps:
        before = world.handled.get("capture", begin)
        now += gap * MINUTE
        world.tick(now)
        world.tick(now)  # it ends, and nothing more is due
        missed = [at for at in calendar.between(before, now) if _begins(one, at) <= now]
        ran = world.handled.get("capture", begin)
        assert ran == (missed[-1] if missed else before)
    times = world.times_of("capture")
    assert len(set(times)) == len(times)
    assert times == sorted(times)
    told = [run.missed for run, _ in world.ran]
    assert sum(told) <= len(list(calendar.between(begin, now)))


def _begins(one: object, at: datetime) -> datetime:
    from strongroom.plan.job import Job

    assert isinstance(one, Job)
    following = one.calendar.after(at)
    assert following is not None
    return at + jitter("tms", one.name, at, min(one.jitter, following - at))


names = st.sampled_from(("capture", "prune", "check:local", "drill", "application-drill", "copy"))


@settings(deadline=None)
@given(
    st.fixed_dictionaries({}, optional={
        "capture": any_fields, "prune": any_fields, "check": any_fields, "drill": any_fields,
        "application_drill": any_fields, "verify_daily": any_fields,
    }),
    st.dictionaries(names, st.integers(0, 3000), max_size=6),
    st.lists(st.integers(1, 2000), min_size=5, max_size=60),
    zones,
    moments,
)  # fmt: skip
def test_what_excludes_each_other_never_runs_together_and_nothing_is_forgotten(
    times: dict[str, str], takes: dict[str, int], gaps: list[int], zone: str, begin: datetime
) -> None:
    jobs = make_timetable(declared(times, sources={"code": "15 * * * *"}, zone=zone)).jobs
    world = World(jobs, begin, {name: number * MINUTE for name, number in takes.items()})
    now = begin
    for gap in gaps:
        now += gap * MINUTE
        plan = world.tick(now)  # which asserts that nothing is in the way of anything
        for one, other in pairwise(sorted(world.live)):
            assert not is_in_the_way(one, other)
        # Whatever is due and was not started is told, with what it waits for.
        told = {one.due.job.name for one in plan.held} | {one.job.name for one in plan.start}
        for each in jobs:
            if not each.fields or each.name in told:
                continue
            newest = each.calendar.newest(now)
            assert newest is not None
            running = world.live.get(each.name)
            handled = running[1].scheduled_for if running else world.handled.get(each.name, begin)
            assert newest <= max(handled, begin)
    for each in jobs:
        ran = world.times_of(each.name)
        assert ran == sorted(set(ran))


@given(any_fields, zones, moments, st.integers(1, 30))
def test_the_next_runs_are_those_of_the_calendar(
    fields: str, zone: str, now: datetime, count: int
) -> None:
    one = job("capture", fields, zone)
    found = upcoming([one], World((one,), now).past, {}, now, count)
    assert [each.scheduled_for for each in found] == list(
        islice(Calendar(fields, zone).between(now, now + 4000 * DAY), count)
    )


@settings(deadline=None)
@given(daily, zones, moments, st.lists(st.integers(-1380, 3000), min_size=3, max_size=30))
def test_a_clock_that_goes_back_by_less_than_a_day_runs_nothing_twice(
    fields: str, zone: str, begin: datetime, steps: list[int]
) -> None:
    world = World((job("capture", fields, zone),), begin)
    now = highest = begin
    for step in steps:
        now = max(now + step * MINUTE, highest - DAY)
        highest = max(highest, now)
        world.tick(now)
        world.tick(now)
    times = world.times_of("capture")
    assert times == sorted(set(times))
