"""What the ledger knows of a schedule: what ran and for when, and from when on the schedule holds.

`RunMemory` takes records in their order and answers for any time. What ran is told by `job`
records, which whoever runs jobs writes; from when on a schedule holds, by `schedule` records.

A record that is for more than a day later than the clock showed afterwards was written by a clock
that was wrong; it counts for nothing until a day after the time that it names. See
docs/decisions/0012-schedule.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from strongroom.evidence import Entry
from strongroom.plan.job import CAPTURE, COPY, Timetable, action_of
from strongroom.plan.schedule import CLOCK_TOLERANCE, Past
from strongroom.service.backlog import KINDS as OF_BACKLOG
from strongroom.service.backlog import Backlog

__all__ = ["ANNOUNCED", "RAN", "Knowledge", "RunMemory", "Times", "learn", "times_of"]

# The kinds of records of which a schedule is known.
ANNOUNCED: Final = "schedule"
RAN: Final = "job"

# Exit statuses of runs after which there is a capture.
_CAPTURED: Final = (0, 3, None)

Times: TypeAlias = Mapping[str, tuple[str, str]]
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
class _Announced:
    """A schedule, and from when on it holds."""

    since: datetime
    times: Times


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run that ended: the time that it was for, None when somebody asked for it, when it began,
    and whether it failed."""

    job: str
    scheduled_for: datetime | None
    begun_at: datetime
    failed: bool


class RunMemory:
    """Takes the records of one application in their order, and keeps what they tell of runs."""

    def __init__(self) -> None:
        self._told: list[_Announced | _Ran] = []
        self._captured: set[str] = set()
        # What tells of backlogs, and how much of it each repository's has taken.
        self._stored: list[Entry] = []
        self._backlogs: dict[str, tuple[Backlog, int]] = {}

    def take(self, entry: Entry) -> None:
        """What this record tells."""
        if entry.kind == ANNOUNCED:
            since = _moment(entry.fields.get("since")) or entry.at
            self._told.append(_Announced(since, _announced(entry)))
        elif entry.kind == RAN:
            name, at = entry.fields.get("job"), _moment(entry.fields.get("scheduled_for"))
            begun_at = _moment(entry.fields.get("begun_at")) or entry.at
            failed = entry.fields.get("exit_status") not in _CAPTURED
            known = at if isinstance(name, str) else None
            self._told.append(_Ran(str(name), known, begun_at, failed))
        elif entry.kind == "backup":
            self._captured.update(_captured(entry))
        if entry.kind in OF_BACKLOG:
            self._stored.append(entry)

    def knowledge(
        self, timetable: Timetable, repositories: Sequence[str], now: datetime
    ) -> Knowledge:
        """What is known at `now` of the jobs of this timetable."""
        read = self._read(now)
        wanted = times_of(timetable)
        lagging: dict[str, datetime | None] = {}
        if any(job.name == COPY for job in timetable.jobs):
            lagging = {name: read.tried for name in repositories if self._lacks(name)}
        failed = {
            name: newest.begun_at
            for name, newest in read.newest.items()
            if newest.failed and action_of(name) == CAPTURE
        }
        past = Past(
            dict(_since(read.announced, wanted)),
            read.handled,
            frozenset(self._captured),
            failed,
            lagging,
        )
        latest = read.announced[0].times if read.announced else None
        return Knowledge(past, latest == wanted, bool(read.announced), read.is_set_back)

    def _read(self, now: datetime) -> _Read:
        read = _Read()
        # What the clock showed at the earliest when later records were written.
        earliest: datetime | None = None
        for one in reversed(self._told):
            at = one.scheduled_for if isinstance(one, _Ran) else one.since
            shown = one.begun_at if isinstance(one, _Ran) else one.since
            seen = now if earliest is None else min(earliest, now)
            if at is None:
                pass  # it only tells what the clock showed
            elif at <= seen + CLOCK_TOLERANCE or at <= now - CLOCK_TOLERANCE:
                read.take(one, at)
            elif earliest is None or at <= earliest + CLOCK_TOLERANCE:
                read.is_set_back = True  # and no record tells of it yet
            earliest = shown if earliest is None else min(earliest, shown)
        return read

    def _lacks(self, repository: str) -> bool:
        found, taken = self._backlogs.get(repository) or (Backlog(repository), 0)
        for entry in self._stored[taken:]:
            found.take(entry)
        self._backlogs[repository] = found, len(self._stored)
        return bool(found.lacking)


def learn(
    entries: Iterable[Entry],
    application: str,
    timetable: Timetable,
    repositories: Sequence[str],
    now: datetime,
) -> Knowledge:
    """What these records, in their order, know at `now`."""
    memory = RunMemory()
    for entry in entries:
        if entry.fields.get("application") == application:
            memory.take(entry)
    return memory.knowledge(timetable, repositories, now)


def times_of(timetable: Timetable) -> dict[str, tuple[str, str]]:
    """Fields and time zone of each job that has a time."""
    return {one.name: (one.fields, one.time_zone) for one in timetable.jobs if one.fields}


@dataclass(slots=True)
class _Read:
    """What is gathered from the records that count, from the newest to the oldest."""

    handled: dict[str, datetime] = field(default_factory=dict)
    announced: list[_Announced] = field(default_factory=list)
    newest: dict[str, _Ran] = field(default_factory=dict)
    tried: datetime | None = None
    is_set_back: bool = False

    def take(self, one: _Announced | _Ran, at: datetime) -> None:
        if isinstance(one, _Announced):
            self.announced.append(one)
            return
        self.handled[one.job] = max(at, self.handled.get(one.job, at))
        self.newest.setdefault(one.job, one)
        if one.job == COPY:
            self.tried = self.tried or one.begun_at


def _since(announced: Sequence[_Announced], wanted: Times) -> Iterator[tuple[str, datetime]]:
    """From when on each job has had the time that it has, without having lost it since."""
    for name, times in wanted.items():
        since = None
        for one in announced:  # the newest first
            if one.times.get(name) != times:
                break
            since = one.since
        if since is not None:
            yield name, since


# Records


def _announced(entry: Entry) -> dict[str, tuple[str, str]]:
    told = entry.fields.get("jobs")
    return {
        str(one.get("job")): (str(one.get("fields")), str(one.get("time_zone")))
        for one in (told if isinstance(told, list) else ())
        if isinstance(one, dict)
    }


def _captured(entry: Entry) -> Iterator[str]:
    told = entry.fields.get("snapshots")
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and isinstance(one.get("source"), str):
            yield one["source"]


def _moment(value: Any) -> datetime | None:  # Any: JSON values
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
