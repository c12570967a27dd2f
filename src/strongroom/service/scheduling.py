"""The schedule of a configured application: its jobs, what is known of their runs, what comes next.

From when on a schedule holds is known from the ledger's `schedule` records, which are written
whenever something changed: {since, jobs: [{job, fields, time_zone}], because}. Nothing here runs a
job. See docs/decisions/0012-schedule.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
    make_timetable,
)
from strongroom.plan.schedule import Past, due, upcoming
from strongroom.service.application import Application
from strongroom.service.knowledge import ANNOUNCED, Knowledge, learn, times_of
from strongroom.service.rendering import time_json


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
                "kit_drill": schedule.kit_drill,
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
            settings.kit is not None,
            settings.kit is not None and settings.kit.is_drilled_by_itself,
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
    if (fields := announcement(timetable, known, now)) is None:
        return None
    return application.record(ANNOUNCED, fields)


def announcement(
    timetable: Timetable, known: Knowledge, now: datetime
) -> dict[str, Any] | None:  # Any: JSON values
    """The record that says from when on this schedule holds; None when that is known already, by a
    clock that was not set back since."""
    if known.is_announced and not known.is_set_back:
        return None
    because = "the clock was set back" if known.is_set_back else "the schedule is new or changed"
    jobs = [
        {"job": name, "fields": fields, "time_zone": zone}
        for name, (fields, zone) in times_of(timetable).items()
    ]
    return {"since": time_json(now), "jobs": jobs, "because": because}


def read_knowledge(application: Application, timetable: Timetable, now: datetime) -> Knowledge:
    """What the ledger knows at `now`; StrongroomError when it can't be read."""
    repositories = tuple(application.settings.repositories)
    return learn(application.ledger.entries(), application.name, timetable, repositories, now)
