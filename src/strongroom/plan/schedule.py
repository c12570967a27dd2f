"""What is due now, what has to wait, and what comes next: every answer with its reason.

The rules, which docs/decisions/0012-schedule.md explains:

- A time counts for a job when it is later than the newest time for which the job ran, and later
  than the moment from which its schedule is known. So a new or changed schedule makes nothing due.
- For all times that were missed one run makes up, which is for the newest of them.
- A capture whose newest run failed is due again after an hour.
- What excludes a run that goes on, or one that was chosen before it, waits and stays due.
- Runs that are recorded for up to a day ahead of the clock count: the clock was set back, and
  nothing runs twice. What is further ahead was written by a clock that was wrong, and counts for
  nothing.

The clock is an argument. Invariants: no job is started for a time that is not later than the last
one it ran for; no two runs are started of which one is in the way of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from strongroom.plan.calendar import jitter
from strongroom.plan.job import (
    CAPTURE,
    COPY,
    Declared,
    Job,
    Omitted,
    Timetable,
    is_in_the_way,
    make_timetable,
    urgency,
)

__all__ = [
    "CLOCK_TOLERANCE",
    "Declared",
    "Due",
    "Held",
    "Job",
    "Omitted",
    "Past",
    "Plan",
    "Timetable",
    "Upcoming",
    "due",
    "make_timetable",
    "upcoming",
]

CLOCK_TOLERANCE: Final = timedelta(days=1)
# How often it is tried to bring a repository up to date.
COPY_INTERVAL: Final = timedelta(hours=1)
# After how long a capture that failed is tried again.
RETRY_INTERVAL: Final = timedelta(hours=1)
# What begins so long after its time is told to be late: nobody looks at the clock all the time.
_PUNCTUAL: Final = timedelta(minutes=10)
_MOST_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of each job by its name.

    `since`: from when on its present schedule is known; a job that is missing is new now.
    `handled`: the newest time for which it ran, however that ended.
    `captured`: the sources of which there is a capture.
    `failed`: the captures whose newest run failed, and when that began.
    `lagging`: the repositories that lack what others have, and when it was last tried to copy it.
    """

    since: Mapping[str, datetime]
    handled: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    captured: frozenset[str] = frozenset()
    failed: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    lagging: Mapping[str, datetime | None] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Due:
    """A run that is due. `scheduled_for` is the time that it is made for, and what tells it from
    the job's other runs; `missed` counts the times before it, or itself, that nobody kept, 1,000 at
    most; `repositories` are those that a copy is for."""

    job: Job
    scheduled_for: datetime
    because: str
    missed: int = 0
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """A run that is due and has to wait, and for what."""

    due: Due
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start now, in this order, what waits, and what is odd about the records."""

    start: tuple[Due, ...] = ()
    held: tuple[Held, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A run to come: it begins at `begin_at`, which is `scheduled_for` and its jitter."""

    job: Job
    scheduled_for: datetime
    begin_at: datetime
    because: str


def due(jobs: Iterable[Job], past: Past, live: Mapping[str, datetime], now: datetime) -> Plan:
    """What to start at `now`, while the jobs of these names are running, or are about to, each
    for this time."""
    jobs = tuple(jobs)
    candidates = [one for job in jobs if (one := _candidate(job, past, live, now)) is not None]
    candidates.sort(key=lambda one: (urgency(one.job.name)[0], one.scheduled_for, one.job.name))
    start: list[Due] = []
    held: list[Held] = []
    for one in candidates:
        name = one.job.name
        running = [other for other in sorted(live) if is_in_the_way(other, name)]
        chosen = [other.job.name for other in start if is_in_the_way(other.job.name, name)]
        if name in live:
            held.append(Held(one, "its last run goes on"))
        elif running:
            held.append(Held(one, f"{running[0]} is running"))
        elif chosen:
            held.append(Held(one, f"{chosen[0]} goes first"))
        else:
            start.append(one)
    return Plan(tuple(start), tuple(held), tuple(_odd(jobs, past, now)))


def upcoming(
    jobs: Iterable[Job], past: Past, live: Mapping[str, datetime], now: datetime, count: int
) -> tuple[Upcoming, ...]:
    """The next runs that begin later than `now`, in order; jobs without a time have none."""
    found: list[Upcoming] = []
    for job in jobs:
        if job.fields:
            found += islice(_runs(job, _base(job, past, live, now), now), count)
    found.sort(key=lambda one: (one.begin_at, urgency(one.job.name)))
    return tuple(found[:count])


def _runs(job: Job, base: datetime, now: datetime) -> Iterator[Upcoming]:
    calendar = job.calendar
    occurrence = calendar.newest(now) or calendar.after(now)
    while occurrence is not None:
        begin_at = _begin_at(job, occurrence)
        if begin_at > now and occurrence > base:
            yield Upcoming(job, occurrence, begin_at, job.declared)
        occurrence = calendar.after(occurrence)


def _base(job: Job, past: Past, live: Mapping[str, datetime], now: datetime) -> datetime:
    """What is not later than this is no time for the job any more."""
    known = [each.get(job.name) for each in (past.since, past.handled, live)]
    limit = now + CLOCK_TOLERANCE
    return max((one for one in known if one is not None and one <= limit), default=now)


def _candidate(job: Job, past: Past, live: Mapping[str, datetime], now: datetime) -> Due | None:
    if not job.fields:
        return None if job.name in live else _copy(job, past, now)
    base = _base(job, past, live, now)
    occurrence = _ready(job, base, now)
    if occurrence is not None:
        return _made_up(job, base, occurrence, now)
    is_first = job.name not in past.handled.keys() | live.keys()
    if job.action == CAPTURE and is_first and past.captured.isdisjoint(job.sources):
        return Due(job, min(base, now), "nothing was captured yet")
    failed_at = past.failed.get(job.name)
    if failed_at is not None and abs(now - failed_at) >= RETRY_INTERVAL:
        return Due(job, now, f"the run of {_told(job, failed_at)} failed: it is tried again")
    return None


def _odd(jobs: Iterable[Job], past: Past, now: datetime) -> Iterator[str]:
    """What is known that can't be, because it is to come."""
    for job in jobs:
        for told, known in (("is known since", past.since), ("ran for", past.handled)):
            at = known.get(job.name)
            if at is not None and at > now + CLOCK_TOLERANCE:
                yield (
                    f"{job.name} {told} {_told(job, at)}, which is to come: the clock was set back,"
                    " and this does not count"
                )


def _copy(job: Job, past: Past, now: datetime) -> Due | None:
    lagging = tuple(
        name
        for name, tried in sorted(past.lagging.items())
        # A try in the far future was one of a clock that was wrong.
        if tried is None or abs(now - tried) >= COPY_INTERVAL
    )
    if job.name != COPY or not lagging:
        return None
    verb = "lacks" if len(lagging) == 1 else "lack"
    because = f"{', '.join(lagging)} {verb} what another repository has"
    return Due(job, now, because, repositories=lagging)


def _begin_at(job: Job, occurrence: datetime) -> datetime:
    """When the run for this time begins: always before the next time comes."""
    following = job.calendar.after(occurrence)
    most = job.jitter if following is None else min(job.jitter, following - occurrence)
    return occurrence + jitter(job.application, job.name, occurrence, most)


def _ready(job: Job, base: datetime, now: datetime) -> datetime | None:
    """The newest time later than `base` whose run should have begun."""
    occurrence = job.calendar.newest(now)
    while occurrence is not None and occurrence > base:
        if _begin_at(job, occurrence) <= now:
            return occurrence
        occurrence = job.calendar.newest(occurrence - timedelta(seconds=1))
    return None


def _made_up(job: Job, base: datetime, occurrence: datetime, now: datetime) -> Due:
    """The run for the newest time, which stands for all that were missed since `base`."""
    begin_at = _begin_at(job, occurrence)
    is_late = now - begin_at > _PUNCTUAL
    times = list(islice(job.calendar.between(base, occurrence), _MOST_COUNTED))
    missed = len(times) if is_late else len(times) - 1
    late = f", {_span(now - begin_at)} late" if is_late and len(times) == 1 else ""
    because = f"due at {_told(job, occurrence)}{late}: {job.declared}"
    if len(times) > 1:
        number = f"{missed:,}" if len(times) < _MOST_COUNTED else f"{_MOST_COUNTED:,} or more"
        runs = "run was" if missed == 1 else "runs were"
        because += f"; {number} {runs} missed since {_told(job, times[0])}, and this one makes up"
        because += " for it" if missed == 1 else " for all of them"
    return Due(job, occurrence, because, missed)


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} days"


def _told(job: Job, moment: datetime) -> str:
    """A time for people, by the schedule's clock."""
    return f"{moment.astimezone(ZoneInfo(job.time_zone)):%Y-%m-%d %H:%M} {job.time_zone}"
