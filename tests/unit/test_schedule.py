"""What is due, what waits and what comes next: by tables of small cases."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from strongroom.plan.job import Job, is_in_the_way, make_timetable
from strongroom.plan.schedule import Past, due, upcoming
from tests.support.schedule_ground import (
    SOURCES,
    World,
    declared,
    every,
    job,
    timetable,
    utc,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MONDAY = utc("2026-11-23")
CAPTURE = job("capture", "0 2 * * *")
PRUNE = job("prune", "30 4 * * *")
COPY = Job("tms", "copy", "", "")


def past(job: Job = CAPTURE, *, since: str = "2026-11-01", handled: str = "") -> Past:
    return Past(
        {job.name: utc(since)},
        {job.name: utc(handled)} if handled else {},
        frozenset(SOURCES),
    )


# --- Which jobs there are ---------------------------------------------------------------------


def test_production_s_presets_make_these_jobs() -> None:
    found = timetable()
    assert [(one.name, one.declared) for one in found.jobs] == [
        ("capture", "schedule.capture is 0 2 * * *"),
        ("copy", " is "),
        ("check:local", "schedule.check is 0 5 * * *"),
        ("check:offsite", "schedule.check is 0 5 * * *"),
        ("prune", "schedule.prune is 30 4 * * *"),
        ("drill", "schedule.drill is 0 6 * * 0"),
        ("application-drill", "schedule.application_drill is 0 7 1 * *"),
        ("verify-daily", "schedule.verify_daily is 0 8 * * *"),
        ("verify-monthly", "schedule.verify_monthly is 20 8 1 * *"),
        ("verify-weekly", "schedule.verify_weekly is 10 8 * * 1"),
    ]
    assert found.omitted == ()
    assert found.jobs[0].sources == SOURCES
    assert found.jobs[2].repository == "local"
    assert found.jobs[2].amount == "10%"


def test_what_has_a_time_of_its_own_has_a_job_of_its_own() -> None:
    found = make_timetable(
        declared(
            sources={"database": "0 * * * *", "code": "never"},
            repositories={"local": "never", "offsite": "0 3 * * 6"},
            amounts={"offsite": "5GiB"},
        )
    )
    jobs = {one.name: one for one in found.jobs}
    assert jobs["capture"].sources == ("database", "uploads")
    assert jobs["capture:database"].sources == ("database",)
    assert jobs["capture:database"].declared == "sources.database.capture is 0 * * * *"
    assert jobs["check:offsite"].declared == "repositories.offsite.check is 0 3 * * 6"
    assert jobs["check:offsite"].amount == "5GiB"
    assert [one.message for one in found.omitted] == [
        "capture:code does not run by itself: sources.code.capture is never",
        "check:local does not run by itself: repositories.local.check is never",
    ]


def test_what_never_runs_says_why() -> None:
    times = dict.fromkeys(("prune", "check", "drill", "verify_daily"), "never")
    found = make_timetable(
        declared(
            times,
            sources=dict.fromkeys(SOURCES, "never"),
            repositories={"local": None},
            has_application_check=False,
        )
    )
    assert [one.message for one in found.omitted] == [
        "capture does not run by itself: no source is to be captured by itself",
        *(
            f"capture:{name} does not run by itself: sources.{name}.capture is never"
            for name in sorted(SOURCES)
        ),
        "copy does not run by itself: there is one repository only",
        "check:local does not run by itself: schedule.check is never",
        "prune does not run by itself: schedule.prune is never",
        "drill does not run by itself: schedule.drill is never",
        "application-drill does not run by itself: there is no application_check that says how "
        "to start it",
        "verify-daily does not run by itself: schedule.verify_daily is never",
    ]
    with pytest.raises(ValueError, match="no time of its own"):
        _ = COPY.calendar


# --- What excludes what -----------------------------------------------------------------------

NAMES = (
    "capture",
    "capture:code",
    "copy",
    "check:local",
    "check:offsite",
    "prune",
    "drill",
    "application-drill",
    "verify-daily",
    "verify-weekly",
)
# While the first runs, the second does not begin; besides two runs of one job.
IN_THE_WAY = {
    ("capture", "capture:code"),
    ("capture:code", "capture"),
    ("capture", "copy"),
    ("capture:code", "copy"),
    ("drill", "application-drill"),
    ("application-drill", "drill"),
    *((name, "prune") for name in NAMES if name[:6] not in ("prune", "verify")),
    *(("prune", name) for name in NAMES if name[:6] not in ("prune", "verify")),
}


@pytest.mark.parametrize(("running", "wanted"), list(product(NAMES, NAMES)))
def test_what_is_in_the_way_of_what(running: str, wanted: str) -> None:
    expected = running == wanted or (running, wanted) in IN_THE_WAY
    assert is_in_the_way(running, wanted) is expected
    held = due(
        [job(wanted, "0 2 * * *")],
        past(job(wanted, "0 2 * * *")),
        {running: utc("2026-11-25 02:00")},
        utc("2026-11-26 02:00"),
    ).held
    assert (len(held) == 1) is expected


# --- What is due ------------------------------------------------------------------------------

DUE = [
    # When it is known since, what it ran for, now; what it is due for, how many were missed.
    ("2026-11-01", "2026-11-25 02:00", "2026-11-26 01:59", None, 0),
    ("2026-11-01", "2026-11-25 02:00", "2026-11-26 02:00", "2026-11-26 02:00", 0),
    ("2026-11-01", "2026-11-26 02:00", "2026-11-26 02:00", None, 0),
    ("2026-11-01", "2026-11-25 02:00", "2026-11-26 10:00", "2026-11-26 02:00", 1),
    ("2026-11-01", "2026-11-22 02:00", "2026-11-26 10:00", "2026-11-26 02:00", 4),
    ("2026-11-01", "2026-11-22 02:00", "2026-11-26 02:00", "2026-11-26 02:00", 3),
    ("2026-11-01", "", "2026-11-26 02:00", "2026-11-26 02:00", 25),
    # Known since a moment ago, or since the time itself: nothing of before is due.
    ("2026-11-26 02:00", "", "2026-11-26 02:00", None, 0),
    ("2026-11-26 09:00", "2026-11-20 02:00", "2026-11-26 10:00", None, 0),
    ("2026-11-26 01:59", "", "2026-11-26 02:00", "2026-11-26 02:00", 0),
    # The clock was set back, by hours and by years.
    ("2026-11-01", "2026-11-26 02:00", "2026-11-25 14:00", None, 0),
    ("2026-11-01", "2026-11-26 02:00", "2026-11-25 02:00", None, 0),
    ("2026-11-01", "2036-11-26 02:00", "2026-11-26 02:00", "2026-11-26 02:00", 25),
    ("2036-11-01", "2036-11-26 02:00", "2026-11-26 02:00", None, 0),
]


@pytest.mark.parametrize(("since", "handled", "now", "expected", "missed"), DUE)
def test_a_job_is_due_for_the_newest_time_that_counts(
    since: str, handled: str, now: str, expected: str | None, missed: int
) -> None:
    plan = due([CAPTURE], past(since=since, handled=handled), {}, utc(now))
    assert not plan.held
    found = [(one.scheduled_for, one.missed) for one in plan.start]
    assert found == ([(utc(expected), missed)] if expected else [])


def test_a_job_that_nobody_knew_waits_for_its_time() -> None:
    plan = due([CAPTURE], Past({}, captured=frozenset(SOURCES)), {}, utc("2026-11-26 02:00"))
    assert plan.start == ()


BECAUSE = [
    ("2026-11-25 02:00", "2026-11-26 02:05", "due at 2026-11-26 02:00 UTC: {}"),
    ("2026-11-25 02:00", "2026-11-26 10:05", "due at 2026-11-26 02:00 UTC, 8 h 05 min late: {}"),
    ("2026-11-25 02:00", "2026-11-26 02:30", "due at 2026-11-26 02:00 UTC, 30 min late: {}"),
    (
        "2026-11-24 02:00",
        "2026-11-26 02:05",
        "due at 2026-11-26 02:00 UTC: {}; 1 run was missed since 2026-11-25 02:00 UTC, and this "
        "one makes up for it",
    ),
    (
        "2026-11-22 02:00",
        "2026-11-26 10:05",
        "due at 2026-11-26 02:00 UTC: {}; 4 runs were missed since 2026-11-23 02:00 UTC, and "
        "this one makes up for all of them",
    ),
    (
        "2006-11-22 02:00",
        "2026-11-26 10:05",
        "due at 2026-11-26 02:00 UTC: {}; 1,000 or more runs were missed since 2006-11-23 02:00 "
        "UTC, and this one makes up for all of them",
    ),
]


@pytest.mark.parametrize(("handled", "now", "expected"), BECAUSE)
def test_the_reason_tells_what_was_missed(handled: str, now: str, expected: str) -> None:
    plan = due([CAPTURE], past(since="2000-01-01", handled=handled), {}, utc(now))
    assert [one.because for one in plan.start] == [expected.format("schedule.capture is 0 2 * * *")]


def test_what_was_never_captured_is_captured_at_once() -> None:
    since, now = utc("2026-11-26 09:00"), utc("2026-11-26 09:01")
    jobs = timetable().jobs
    known = dict.fromkeys((one.name for one in jobs), since)
    plan = due(jobs, Past(known), {}, now)
    assert [(one.job.name, one.because, one.scheduled_for) for one in plan.start] == [
        ("capture", "nothing was captured yet", since)
    ]
    # It ran and failed: the next one is in the night, not at once.
    assert due(jobs, Past(known, {"capture": since}), {}, now).start == ()
    # Others captured something of it.
    assert due(jobs, Past(known, captured=frozenset({"code"})), {}, now).start == ()


def test_a_first_capture_whose_time_has_come_runs_for_that_time_and_once() -> None:
    plan = due([CAPTURE], Past({"capture": MONDAY}), {}, MONDAY + 3 * HOUR)
    assert [one.scheduled_for for one in plan.start] == [MONDAY + 2 * HOUR]


def test_a_new_source_with_a_time_of_its_own_is_captured_at_once() -> None:
    jobs = make_timetable(declared(sources={"photos": "0 * * * *"})).jobs
    known = dict.fromkeys((one.name for one in jobs), MONDAY + MINUTE)
    plan = due(jobs, Past(known, captured=frozenset(SOURCES)), {}, MONDAY + 2 * MINUTE)
    assert [one.job.name for one in plan.start] == ["capture:photos"]


def test_the_most_urgent_goes_first_and_the_others_say_what_they_wait_for() -> None:
    jobs = timetable().jobs
    known = dict.fromkeys((one.name for one in jobs), utc("2026-10-01"))
    state = Past(known, captured=frozenset(SOURCES), lagging={"offsite": None})
    plan = due(jobs, state, {}, utc("2026-11-26 09:00"))
    assert [one.job.name for one in plan.start] == [
        "capture",
        "check:local",
        "check:offsite",
        "drill",
        "verify-monthly",
        "verify-weekly",
        "verify-daily",
    ]
    assert [(one.due.job.name, one.because) for one in plan.held] == [
        ("copy", "capture goes first"),
        ("prune", "capture goes first"),
        ("application-drill", "drill goes first"),
    ]
    later = due(
        jobs, state, dict.fromkeys(("capture", "drill"), MONDAY - DAY), utc("2026-11-26 09:00")
    )
    assert [(one.due.job.name, one.because) for one in later.held] == [
        ("capture", "its last run goes on"),
        ("copy", "capture is running"),
        ("prune", "capture is running"),
        ("drill", "its last run goes on"),
        ("application-drill", "drill is running"),
    ]


def test_of_captures_the_one_that_waits_longest_goes_first() -> None:
    jobs = make_timetable(declared(sources={"code": "30 1 * * *"})).jobs
    known = dict.fromkeys((one.name for one in jobs), MONDAY)
    state = Past(known, captured=frozenset(SOURCES))
    plan = due(jobs, state, {}, MONDAY + 3 * HOUR)
    assert [one.job.name for one in plan.start] == ["capture:code"]
    assert [one.due.job.name for one in plan.held] == ["capture"]


COPIES = [
    ({"offsite": None}, ("offsite",)),
    ({"offsite": -59}, ()),
    ({"offsite": -60}, ("offsite",)),
    ({"offsite": 59}, ()),  # the clock was set back
    ({"offsite": 100000}, ("offsite",)),
    ({"vault": None, "offsite": -90, "near": -1}, ("offsite", "vault")),
    ({}, ()),
]


@pytest.mark.parametrize(("lagging", "expected"), COPIES)
def test_a_copy_is_made_when_a_repository_lacks_something_once_an_hour(
    lagging: dict[str, int | None], expected: tuple[str, ...]
) -> None:
    tried = {
        name: None if minutes is None else MONDAY + minutes * MINUTE
        for name, minutes in lagging.items()
    }
    plan = due([COPY], Past({}, lagging=tried), {}, MONDAY)
    assert [one.repositories for one in plan.start] == ([expected] if expected else [])
    if expected == ("offsite",):
        assert plan.start[0].because == "offsite lacks what another repository has"
    assert due([COPY], Past({}, lagging=tried), {"capture:code": MONDAY}, MONDAY).start == ()


def test_a_run_that_goes_on_is_not_due_again_until_its_next_time() -> None:
    live = {"capture": MONDAY + 2 * HOUR}
    known = past(handled="2026-11-22 02:00")
    assert due([CAPTURE], known, live, MONDAY + 20 * HOUR).held == ()
    (held,) = due([CAPTURE], known, live, MONDAY + 26 * HOUR).held
    assert held.because == "its last run goes on"
    assert held.due.scheduled_for == MONDAY + 26 * HOUR
    first = Past({"capture": MONDAY})
    assert due([CAPTURE], first, {"capture": MONDAY}, MONDAY + HOUR).start == ()
    lagging = Past({}, lagging={"offsite": None})
    assert due([COPY], lagging, {"copy": MONDAY}, MONDAY).held == ()


# --- Jitter -----------------------------------------------------------------------------------


def test_a_run_begins_by_its_jitter_later_and_stays_the_run_of_its_time() -> None:
    late = job("capture", "0 2 * * *", jitter=2 * HOUR)
    world = World((late,), MONDAY)
    world.go(every(MINUTE, MONDAY, MONDAY + DAY - MINUTE))
    ((run, at),) = world.ran
    assert run.scheduled_for == MONDAY + 2 * HOUR
    assert MONDAY + 2 * HOUR < at < MONDAY + 4 * HOUR
    (coming,) = upcoming([late], Past({"capture": MONDAY}), {}, MONDAY + 2 * HOUR, 1)
    assert coming.begin_at <= at < coming.begin_at + MINUTE


def test_a_jitter_that_is_longer_than_the_time_between_runs_holds_none_up() -> None:
    busy = job("capture", "*/10 * * * *", jitter=DAY)
    world = World((busy,), MONDAY)
    world.go(every(MINUTE, MONDAY, MONDAY + 6 * HOUR))
    assert world.times_of("capture") == list(
        every(10 * MINUTE, MONDAY + 10 * MINUTE, MONDAY + 6 * HOUR - 10 * MINUTE)
    )


# --- What comes next --------------------------------------------------------------------------


def test_what_comes_next_is_told_in_order_with_its_reason() -> None:
    jobs = timetable(zone="Asia/Dubai").jobs
    known = dict.fromkeys((one.name for one in jobs), utc("2026-11-26 06:00"))
    found = upcoming(jobs, Past(known), {}, utc("2026-11-26 06:00"), 8)
    assert [(f"{one.begin_at:%m-%d %H:%M}", one.job.name) for one in found] == [
        ("11-26 22:00", "capture"),
        ("11-27 00:30", "prune"),
        ("11-27 01:00", "check:local"),
        ("11-27 01:00", "check:offsite"),
        ("11-27 04:00", "verify-daily"),
        ("11-27 22:00", "capture"),
        ("11-28 00:30", "prune"),
        ("11-28 01:00", "check:local"),
    ]
    assert found[0].because == "schedule.capture is 0 2 * * *"


def test_what_comes_next_is_what_will_be_due() -> None:
    jobs = make_timetable(declared(jitter=HOUR)).jobs
    begin = utc("2026-11-29 01:30")
    world = World(jobs, begin)
    expected = upcoming(jobs, world.past, {}, begin, 40)
    world.go(every(MINUTE, begin, begin + 2 * DAY))
    ran = [(run.job.name, run.scheduled_for) for run, _ in world.ran]
    assert sorted(ran[:10]) == sorted([(one.job.name, one.scheduled_for) for one in expected[:10]])


def test_what_ran_already_does_not_come_next() -> None:
    """The clock was set back by an hour."""
    found = upcoming([CAPTURE], past(handled="2026-11-26 02:00"), {}, utc("2026-11-26 01:00"), 1)
    assert [one.scheduled_for for one in found] == [utc("2026-11-27 02:00")]


# --- Time that is not as it should be ---------------------------------------------------------


def test_a_clock_set_back_by_hours_runs_nothing_twice() -> None:
    world = World((CAPTURE, PRUNE), MONDAY)
    world.go(every(MINUTE, MONDAY, MONDAY + 6 * HOUR))
    world.go(every(MINUTE, MONDAY + HOUR, MONDAY + 2 * DAY))
    assert world.times_of("capture") == [MONDAY + 2 * HOUR, MONDAY + 26 * HOUR]
    assert world.times_of("prune") == [MONDAY + 4.5 * HOUR, MONDAY + 28.5 * HOUR]


def test_a_time_in_the_far_future_is_told_and_stops_nothing() -> None:
    plan = due([CAPTURE], past(handled="2036-11-26 02:00"), {}, utc("2026-11-26 02:00"))
    assert plan.notes == (
        "capture ran for 2036-11-26 02:00 UTC, which is to come: the clock was set back, and this "
        "does not count",
    )
    assert len(plan.start) == 1


def test_what_runs_for_longer_than_its_time_runs_once_when_it_has_ended() -> None:
    world = World((job("capture", "0 * * * *"),), MONDAY, {"capture": 150 * MINUTE})
    world.go(every(MINUTE, MONDAY, MONDAY + 6 * HOUR))
    assert world.times_of("capture") == [MONDAY + HOUR, MONDAY + 3 * HOUR, MONDAY + 6 * HOUR]
    _, second, third = (run for run, _ in world.ran)
    assert second.because.endswith(
        "2 runs were missed since 2026-11-23 02:00 UTC, and this one makes up for all of them"
    )
    assert third.missed == 2


def test_a_capture_that_failed_is_tried_again_after_an_hour() -> None:
    jobs = make_timetable(declared()).jobs
    known = dict.fromkeys((one.name for one in jobs), MONDAY)
    handled = {"capture": MONDAY + 2 * HOUR}
    state = Past(
        known, handled, frozenset(SOURCES), failed={"capture": MONDAY + 2 * HOUR + 5 * MINUTE}
    )
    assert due(jobs, state, {}, MONDAY + 3 * HOUR).start == ()
    plan = due(jobs, state, {}, MONDAY + 3 * HOUR + 5 * MINUTE)
    assert [(one.job.name, one.scheduled_for, one.missed) for one in plan.start] == [
        ("capture", MONDAY + 3 * HOUR + 5 * MINUTE, 0)
    ]
    assert "failed: it is tried again" in plan.start[0].because
    held = due(jobs, state, {"capture": MONDAY}, MONDAY + 3 * HOUR + 5 * MINUTE)
    assert [one.due.job.name for one in held.held] == ["capture"]
