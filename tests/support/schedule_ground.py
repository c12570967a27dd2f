"""Jobs and timetables for tests, and a world in which they run by a clock of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from strongroom.plan.job import Declared, Job, Timetable, is_in_the_way, make_timetable
from strongroom.plan.schedule import Due, Past, Plan, due

TIMES = {
    "capture": "0 2 * * *",
    "prune": "30 4 * * *",
    "check": "0 5 * * *",
    "drill": "0 6 * * 0",
    "application_drill": "0 7 1 * *",
    "verify_daily": "0 8 * * *",
    "verify_weekly": "10 8 * * 1",
    "verify_monthly": "20 8 1 * *",
}
SOURCES = ("database", "uploads", "code")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def declared(
    times: Mapping[str, str] | None = None,
    *,
    sources: Mapping[str, str | None] | None = None,
    repositories: Mapping[str, str | None] | None = None,
    zone: str = "UTC",
    jitter: timedelta = timedelta(),
    amounts: Mapping[str, str] | None = None,
    has_application_check: bool = True,
) -> Declared:
    """Production's presets, but for what is named."""
    return Declared(
        "tms",
        zone,
        jitter,
        {**TIMES, **(times or {})},
        {**dict.fromkeys(SOURCES), **(sources or {})},
        repositories or {"local": None, "offsite": None},
        "10%",
        amounts or {},
        has_application_check,
    )


def timetable(*arguments: Mapping[str, str], zone: str = "UTC") -> Timetable:
    return make_timetable(declared(*arguments, zone=zone))


def job(name: str, fields: str, zone: str = "UTC", jitter: timedelta = timedelta()) -> Job:
    sources = SOURCES if name == "capture" else ()
    return Job("tms", name, f"schedule.{name}", fields, zone, jitter, sources)


@dataclass
class World:
    """Who runs jobs: asks at each tick, runs what it is told for as long as `takes` says, and
    remembers what ran, as the ledger does. It forgets nothing when it is started again."""

    jobs: tuple[Job, ...]
    since: datetime
    takes: Mapping[str, timedelta] = field(default_factory=dict)
    ran: list[tuple[Due, datetime]] = field(default_factory=list)
    live: dict[str, tuple[datetime, Due]] = field(default_factory=dict)
    handled: dict[str, datetime] = field(default_factory=dict)
    captured: frozenset[str] = frozenset(SOURCES)

    @property
    def past(self) -> Past:
        return Past(
            dict.fromkeys((one.name for one in self.jobs), self.since), self.handled, self.captured
        )

    def tick(self, now: datetime) -> Plan:
        """End what has ended by now, start what is to be started."""
        for name, (ends_at, run) in list(self.live.items()):
            if ends_at <= now:
                self.handled[name] = run.scheduled_for
                del self.live[name]
        running = {name: run.scheduled_for for name, (_, run) in self.live.items()}
        plan = due(self.jobs, self.past, running, now)
        for run in plan.start:
            assert all(not is_in_the_way(other, run.job.name) for other in self.live), run
            self.ran.append((run, now))
            self.live[run.job.name] = (now + self.takes.get(run.job.name, timedelta()), run)
        return plan

    def go(self, times: Iterable[datetime]) -> None:
        for one in times:
            self.tick(one)

    def times_of(self, name: str) -> list[datetime]:
        """What a job ran for, in order."""
        return [run.scheduled_for for run, _ in self.ran if run.job.name == name]


def every(step: timedelta, begin: datetime, end: datetime) -> Iterable[datetime]:
    while begin <= end:
        yield begin
        begin += step
