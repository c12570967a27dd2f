"""What the ledger knows of a schedule: which runs count, and since when a schedule holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from strongroom.evidence import Entry
from strongroom.plan.job import Timetable, make_timetable
from strongroom.plan.schedule import due
from strongroom.service.knowledge import Knowledge, learn
from strongroom.service.rendering import time_json
from tests.support.schedule_ground import declared, utc

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOW = utc("2026-11-26 10:00")
TABLE = make_timetable(declared())


class Records:
    """Records of a ledger, one after another."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, kind: str, at: datetime, fields: Mapping[str, Any], app: str = "tms") -> None:
        # Any: JSON values
        seq = len(self.entries) + 1
        self.entries.append(Entry(seq, at, kind, {"application": app, **fields}, f"{seq:064x}"))

    def announced(self, at: str, table: Timetable = TABLE) -> None:
        jobs = [
            {"job": one.name, "fields": one.fields, "time_zone": one.time_zone}
            for one in table.jobs
            if one.fields
        ]
        self.add("schedule", utc(at), {"since": time_json(utc(at)), "jobs": jobs})

    def ran(self, job: str, scheduled_for: str, begun_at: str = "", app: str = "tms") -> None:
        begun = utc(begun_at or scheduled_for)
        fields = {"job": job, "scheduled_for": time_json(utc(scheduled_for))}
        self.add("job", begun, {**fields, "begun_at": time_json(begun)}, app)

    def backup(self, at: str, point: str, **stored: str) -> None:
        """What is stored: repositories with the sources that they got."""
        snapshots = [
            {"source": source, "repository": name, "id": f"{point}-{name}-{source}"}
            for name, sources in stored.items()
            for source in sources.split()
        ]
        self.add("backup", utc(at), {"point": point, "snapshots": snapshots})

    def known(self, now: datetime = NOW, table: Timetable = TABLE) -> Knowledge:
        return learn(self.entries, "tms", table, ("local", "offsite"), now)


@pytest.fixture
def records() -> Records:
    return Records()


def test_an_empty_ledger_knows_nothing(records: Records) -> None:
    known = records.known()
    assert not known.past.since
    assert not known.past.handled
    assert not known.was_run
    assert not known.is_announced


def test_the_newest_time_of_each_job_counts_and_only_of_this_application(records: Records) -> None:
    records.announced("2026-11-20")
    records.ran("capture", "2026-11-25 02:00")
    records.ran("capture", "2026-11-26 02:00")
    records.ran("prune", "2026-11-25 04:30")
    records.ran("prune", "2026-11-26 04:30", app="other")
    known = records.known()
    assert known.past.handled == {
        "capture": utc("2026-11-26 02:00"),
        "prune": utc("2026-11-25 04:30"),
    }
    assert set(known.past.since.values()) == {utc("2026-11-20")}
    assert known.is_announced
    assert not known.is_set_back


def test_a_schedule_is_known_since_it_is_as_it_is(records: Records) -> None:
    records.announced("2026-11-01")
    records.announced("2026-11-10", make_timetable(declared({"drill": "0 6 * * 2"})))
    records.announced("2026-11-20")
    since = records.known().past.since
    assert since["drill"] == utc("2026-11-20")
    assert since["capture"] == utc("2026-11-01")


def test_what_had_gone_and_came_back_is_new(records: Records) -> None:
    records.announced("2026-11-01")
    records.announced("2026-11-10", make_timetable(declared({"prune": "never"})))
    records.announced("2026-11-20")
    assert records.known().past.since["prune"] == utc("2026-11-20")


@pytest.mark.parametrize("change", [{"capture": "0 3 * * *"}, {"check": "never"}])
def test_a_change_is_no_schedule_of_before(records: Records, change: dict[str, str]) -> None:
    records.announced("2026-11-01")
    known = records.known(table=make_timetable(declared(change)))
    assert known.was_run
    assert not known.is_announced
    assert ("capture" in known.past.since) is ("capture" not in change)


def test_another_time_zone_is_a_change(records: Records) -> None:
    records.announced("2026-11-01")
    known = records.known(table=make_timetable(declared(zone="Asia/Dubai")))
    assert not known.past.since
    assert not known.is_announced


def test_after_a_change_nothing_of_before_is_due(records: Records) -> None:
    """A weekly drill on Sundays becomes one on Wednesdays, on a Thursday."""
    records.announced("2026-11-01")
    records.ran("drill", "2026-11-22 06:00")
    changed = make_timetable(declared({"drill": "0 6 * * 3"}))
    records.announced("2026-11-26 09:00", changed)
    known = records.known(table=changed)
    drill = [one for one in changed.jobs if one.name == "drill"]
    assert due(drill, known.past, {}, NOW).start == ()
    later = due(drill, known.past, {}, utc("2026-12-02 06:00"))
    assert [one.missed for one in later.start] == [0]


def test_what_was_captured_is_known_by_source(records: Records) -> None:
    records.backup("2026-11-20", "p1", local="uploads code")
    assert records.known().past.captured == {"uploads", "code"}


def test_a_repository_that_lacks_something_lags_since_the_last_try(records: Records) -> None:
    records.backup("2026-11-20", "p1", local="uploads", offsite="uploads")
    assert records.known().past.lagging == {}
    records.backup("2026-11-21", "p2", local="uploads")
    assert records.known().past.lagging == {"offsite": None}
    records.ran("copy", "2026-11-21 08:00", "2026-11-21 08:01")
    assert records.known().past.lagging == {"offsite": utc("2026-11-21 08:01")}
    alone = make_timetable(declared(repositories={"local": None}))
    assert records.known(table=alone).past.lagging == {}


# --- A clock that was wrong ------------------------------------------------------------------


def wrong(records: Records) -> None:
    """The clock was three days ahead for two days of real time, and is right again."""
    records.announced("2026-11-01")
    records.ran("capture", "2026-11-24 02:00")
    for day in (28, 29):
        records.ran("capture", f"2026-11-{day} 02:00")


def test_runs_of_a_clock_that_was_ahead_do_not_count(records: Records) -> None:
    wrong(records)
    known = records.known()
    assert known.is_set_back
    assert known.past.handled == {"capture": utc("2026-11-24 02:00")}
    assert known.past.since["capture"] == utc("2026-11-01")
    capture = [one for one in TABLE.jobs if one.name == "capture"]
    (run,) = due(capture, known.past, {}, NOW).start
    assert run.scheduled_for == utc("2026-11-26 02:00")


def test_they_do_not_count_either_when_the_clock_comes_there(records: Records) -> None:
    wrong(records)
    records.announced("2026-11-26 10:00")
    records.ran("capture", "2026-11-26 02:00", "2026-11-26 10:01")
    capture = [one for one in TABLE.jobs if one.name == "capture"]
    for day in (27, 28, 29, 30):
        now = utc(f"2026-11-{day} 02:00")
        known = records.known(now)
        assert not known.is_set_back
        (run,) = due(capture, known.past, {}, now).start
        assert (run.scheduled_for, run.missed) == (now, 0)
        records.ran("capture", f"2026-11-{day} 02:00")


def test_a_clock_set_back_by_less_than_a_day_takes_nothing_back(records: Records) -> None:
    records.announced("2026-11-01")
    records.ran("capture", "2026-11-26 02:00")
    known = records.known(utc("2026-11-25 12:00"))
    assert not known.is_set_back
    assert known.past.handled == {"capture": utc("2026-11-26 02:00")}


def test_a_host_that_began_in_1970_has_not_lost_its_past(records: Records) -> None:
    """Without a battery, until the network told it the time."""
    records.announced("2026-11-01")
    records.ran("capture", "2026-11-24 02:00")
    records.announced("1970-01-01")
    assert records.known().past.handled == {"capture": utc("2026-11-24 02:00")}


@pytest.mark.parametrize("junk", [None, 7, "yesterday", "2026-11-26", [], {}])
def test_what_can_not_be_read_counts_for_nothing(records: Records, junk: object) -> None:
    records.add("job", NOW, {"job": "capture", "scheduled_for": junk, "begun_at": junk})
    records.add("job", NOW, {"job": junk, "scheduled_for": time_json(NOW)})
    records.add("schedule", NOW, {"since": junk, "jobs": junk})
    records.add("schedule", NOW, {"jobs": [junk, {"job": junk}]})
    known = records.known()
    assert known.past.handled == ({junk: NOW} if isinstance(junk, str) else {})
    assert known.past.since == {}
    assert not known.is_announced
