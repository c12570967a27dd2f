"""The schedule of a configured application: its jobs, what is known of their runs, what comes next.

What ran is known from the ledger's `job` records, which whoever runs jobs writes. From when on a
schedule holds is known from its `schedule` records, which `announce` writes whenever something
changed: {since, jobs: [{job, fields, time_zone}], because}. Nothing here runs a job.

A record that is for more than a day later than the clock showed afterwards was written by a clock
that was wrong; it counts for nothing until a day after the time that it names. See
docs/decisions/0012-schedule.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from strongroom.config import Settings
from strongroom.errors import StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding
from strongroom.plan.job import (
    APPLICATION_DRILL,
    CAPTURE,
    COPY,
    Declared,
    Job,
    Timetable,
    action_of,
    make_timetable,
)
from strongroom.plan.schedule import CLOCK_TOLERANCE, Past, due, upcoming
from strongroom.service.application import Application
from strongroom.service.backlog import backlog
from strongroom.service.rendering import time_json

# The kinds of records of which a schedule is known.
ANNOUNCED: Final = "schedule"
RAN: Final = "job"

# Exit statuses of runs after which there is a capture.
_CAPTURED: Final = (0, 3, None)
_READ: Final = frozenset({ANNOUNCED, RAN, "backup"})
_Times: TypeAlias = Mapping[str, tuple[str, str]]
"""Fields and time zone of each job by its name."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the ledger knows. `is_announced`: the schedule as it is now stands there; `was_run`:
    some schedule does, so that somebody ran it; `is_set_back`: it was written by a clock that
    showed a much later time than now, which nothing in the ledger tells yet."""

    past: Past
    is_announced: bool = False
    was_run: bool = False
    is_set_back: bool = False


@dataclass(frozen=True, slots=True)
class NextRun:
    """A run to come; `waits` is what it has to wait for, if anything."""

    job: Job
    at: datetime
    scheduled_for: datetime
    because: str
    waits: str = ""

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "job": self.job.name,
            "action": self.job.action,
            "sources": list(self.job.sources),
            "repository": self.job.repository,
            "at": time_json(self.at),
            "scheduled_for": time_json(self.scheduled_for),
            "because": self.because,
            "waits": self.waits or None,
        }


@dataclass(frozen=True, slots=True)
class NextRuns:
    """The next runs, those that are due now first, and what else is to be known."""

    runs: tuple[NextRun, ...]
    notes: tuple[str, ...]
    time_zone: str

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "time_zone": self.time_zone,
            "runs": [one.as_json() for one in self.runs],
            "notes": list(self.notes),
        }


def timetable_of(settings: Settings) -> Timetable:
    """The jobs of a configuration."""
    schedule = settings.schedule
    return make_timetable(
        Declared(
            settings.application,
            schedule.time_zone,
            schedule.jitter,
            {
                "capture": schedule.capture,
                "prune": schedule.prune,
                "check": schedule.check,
                "drill": schedule.drill,
                "application_drill": schedule.application_drill,
                "verify_daily": schedule.verify_daily,
                "verify_weekly": schedule.verify_weekly,
                "verify_monthly": schedule.verify_monthly,
            },
            {name: one.capture for name, one in settings.sources.items()},
            {name: one.check for name, one in settings.repositories.items()},
            schedule.check_amount,
            {
                name: one.check_amount
                for name, one in settings.repositories.items()
                if one.check_amount is not None
            },
            settings.application_check is not None,
        )
    )


def next_runs(application: Application, count: int, now: datetime) -> NextRuns:
    """The next `count` runs, as far as they can be known; nothing is written."""
    timetable = timetable_of(application.settings)
    notes: list[str] = []
    try:
        known = read_knowledge(application, timetable, now)
    except StrongroomError as error:
        known = Knowledge(Past({}))
        notes.append(f"What ran before is not known: {error}")
    else:
        notes += _standing(known)
    runs: list[NextRun] = []
    if known.was_run:
        plan = due(timetable.jobs, known.past, {}, now)
        runs += [NextRun(one.job, now, one.scheduled_for, one.because) for one in plan.start]
        runs += [
            NextRun(one.due.job, now, one.due.scheduled_for, one.due.because, one.because)
            for one in plan.held
        ]
        notes += plan.notes
    runs += [
        NextRun(one.job, one.begin_at, one.scheduled_for, one.because)
        for one in upcoming(timetable.jobs, known.past, {}, now, count)
    ]
    if any(one.name == COPY for one in timetable.jobs):
        notes.append("copy has no time: it runs when a repository lacks what another one has")
    notes += _split(application, timetable)
    notes += [one.message for one in timetable.omitted]
    return NextRuns(tuple(runs[:count]), tuple(notes), application.settings.schedule.time_zone)


def _split(application: Application, timetable: Timetable) -> Iterator[str]:
    """What the drill of the whole application lacks where sources are captured apart."""
    together = next((one.sources for one in timetable.jobs if one.name == CAPTURE), ())
    apart = [name for name in application.settings.sources if name not in together]
    if apart and any(one.name == APPLICATION_DRILL for one in timetable.jobs):
        yield (
            f"application-drill takes a recovery point of all sources, and {', '.join(apart)} "
            "is not captured with the others: `strongroom backup` makes one"
        )


def _standing(known: Knowledge) -> Iterator[str]:
    if not known.was_run:
        yield (
            "No run by itself is recorded here: start the service (`strongroom serve`), or let "
            "another scheduler do it (--systemd, --cron)"
        )
    elif not known.is_announced:
        yield "The service has not taken up this schedule yet: it does when it is reloaded"
    if known.is_set_back:
        yield (
            "The clock was set back: runs are recorded for more than a day from now, and these do "
            "not count"
        )


def announce(
    application: Application, timetable: Timetable, now: datetime
) -> Entry | Finding | None:
    """Write down from when on this schedule holds, if that is not known yet, or was written by a
    clock that has been set back since; to be called by whoever runs jobs, at its beginning, when
    it reloads, and when knowledge `is_set_back`."""
    known = read_knowledge(application, timetable, now)
    if known.is_announced and not known.is_set_back:
        return None
    because = "the clock was set back" if known.is_set_back else "the schedule is new or changed"
    jobs = [
        {"job": name, "fields": fields, "time_zone": zone}
        for name, (fields, zone) in _times(timetable).items()
    ]
    return application.record(
        ANNOUNCED, {"since": time_json(now), "jobs": jobs, "because": because}
    )


def read_knowledge(application: Application, timetable: Timetable, now: datetime) -> Knowledge:
    """What the ledger knows at `now`; StrongroomError when it can't be read."""
    entries = tuple(application.ledger.entries())
    repositories = tuple(application.settings.repositories)
    return learn(entries, application.name, timetable, repositories, now)


def learn(
    entries: Sequence[Entry],
    application: str,
    timetable: Timetable,
    repositories: Sequence[str],
    now: datetime,
) -> Knowledge:
    """What these records, in their order, know at `now`."""
    read = _Read()
    # What the clock showed at the earliest when later records were written.
    earliest: datetime | None = None
    for entry in reversed(entries):
        if entry.fields.get("application") != application or entry.kind not in _READ:
            continue
        at, shown = _clock(entry)
        seen = now if earliest is None else min(earliest, now)
        if at is None or at <= seen + CLOCK_TOLERANCE or at <= now - CLOCK_TOLERANCE:
            read.take(entry)
        elif earliest is None or at <= earliest + CLOCK_TOLERANCE:
            read.is_set_back = True  # and no record tells of it yet
        if shown is not None:
            earliest = shown if earliest is None else min(earliest, shown)
    wanted = _times(timetable)
    lagging: dict[str, datetime | None] = {}
    if any(job.name == COPY for job in timetable.jobs):
        lagging = {name: read.tried for name in repositories if backlog(entries, application, name)}
    failed = {
        name: begun_at
        for name, (begun_at, is_failed) in read.ended.items()
        if is_failed and action_of(name) == CAPTURE
    }
    past = Past(
        dict(_since(read.announced, wanted)),
        read.handled,
        frozenset(read.captured),
        failed,
        lagging,
    )
    latest = read.announced[0][1] if read.announced else None
    return Knowledge(past, latest == wanted, bool(read.announced), read.is_set_back)


@dataclass(slots=True)
class _Read:
    """What is gathered from the records, from the newest to the oldest."""

    handled: dict[str, datetime] = field(default_factory=dict)
    announced: list[tuple[datetime, _Times]] = field(default_factory=list)
    captured: set[str] = field(default_factory=set)
    ended: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    tried: datetime | None = None
    is_set_back: bool = False

    def take(self, entry: Entry) -> None:
        if entry.kind == ANNOUNCED:
            since = _moment(entry.fields.get("since")) or entry.at
            self.announced.append((since, _announced(entry)))
        elif entry.kind == RAN:
            name, at = entry.fields.get("job"), _moment(entry.fields.get("scheduled_for"))
            if isinstance(name, str) and at is not None:
                self.handled[name] = max(at, self.handled.get(name, at))
                if name not in self.ended:  # the newest record
                    begun_at = _moment(entry.fields.get("begun_at")) or entry.at
                    failed = entry.fields.get("exit_status") not in _CAPTURED
                    self.ended[name] = (begun_at, failed)
                if name == COPY:
                    self.tried = self.tried or _moment(entry.fields.get("begun_at")) or at
        elif entry.kind == "backup":
            told = entry.fields.get("snapshots")
            for one in told if isinstance(told, list) else ():
                if isinstance(one, dict) and isinstance(one.get("source"), str):
                    self.captured.add(one["source"])


def _clock(entry: Entry) -> tuple[datetime | None, datetime | None]:
    """Up to when a record counts, and what the clock showed when it was made; None for what says
    neither."""
    if entry.kind == ANNOUNCED:
        since = _moment(entry.fields.get("since")) or entry.at
        return since, since
    if entry.kind == RAN:
        begun_at = _moment(entry.fields.get("begun_at")) or entry.at
        return _moment(entry.fields.get("scheduled_for")), begun_at
    return None, None


def _since(
    announced: Sequence[tuple[datetime, _Times]], wanted: _Times
) -> Iterator[tuple[str, datetime]]:
    """From when on each job has had the time that it has, without having lost it since."""
    for name, times in wanted.items():
        since = None
        for at, told in announced:  # the newest first
            if told.get(name) != times:
                break
            since = at
        if since is not None:
            yield name, since


def _times(timetable: Timetable) -> dict[str, tuple[str, str]]:
    return {one.name: (one.fields, one.time_zone) for one in timetable.jobs if one.fields}


def _announced(entry: Entry) -> dict[str, tuple[str, str]]:
    told = entry.fields.get("jobs")
    return {
        str(one.get("job")): (str(one.get("fields")), str(one.get("time_zone")))
        for one in (told if isinstance(told, list) else ())
        if isinstance(one, dict)
    }


def _moment(value: Any) -> datetime | None:  # Any: JSON values
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
