"""What runs by itself: the jobs that a configuration makes, and which of them exclude each other.

All sources are captured together by one job, so that there are whole recovery points; a source with
a time of its own is also captured alone by another. Each repository is checked by a job of its own.
What never runs is told with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from strongroom.config.value import NEVER
from strongroom.plan.calendar import Calendar

CAPTURE: Final = "capture"
COPY: Final = "copy"
CHECK: Final = "check"
PRUNE: Final = "prune"
DRILL: Final = "drill"
APPLICATION_DRILL: Final = "application-drill"
KIT_DRILL: Final = "kit-drill"

# The most urgent first: new work is saved, gets its copies, is looked at, and only then does
# anything go.
_URGENCY: Final = (CAPTURE, COPY, CHECK, PRUNE, DRILL, APPLICATION_DRILL, KIT_DRILL)
_DRILLS: Final = frozenset({DRILL, APPLICATION_DRILL, KIT_DRILL})
_PRUNE_EXCLUDES: Final = frozenset({CAPTURE, COPY, CHECK, *_DRILLS})


@dataclass(frozen=True, slots=True)
class Declared:
    """What a configuration says about when. Fields are five cron fields, or `never`.

    `times` has the settings of `schedule` that are times, `sources` and `repositories` the times of
    their own that some have, and `amounts` how much of a repository is read in place of
    `check_amount`. `has_kit`: there is a recovery kit, and `drills_kit`: it can be drilled by
    itself.
    """

    application: str
    time_zone: str
    jitter: timedelta
    times: Mapping[str, str]
    sources: Mapping[str, str | None]
    repositories: Mapping[str, str | None]
    check_amount: str
    amounts: Mapping[str, str] = field(default_factory=dict)
    has_application_check: bool = False
    has_kit: bool = False
    drills_kit: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """Something that runs by itself. `setting` says where its time stands; `fields` are empty for
    one that has none, because it runs when it is needed."""

    application: str
    name: str
    setting: str
    fields: str
    time_zone: str = "UTC"
    jitter: timedelta = timedelta()
    sources: tuple[str, ...] = ()
    repository: str | None = None
    amount: str | None = None

    @property
    def action(self) -> str:
        return action_of(self.name)

    @property
    def calendar(self) -> Calendar:
        """ValueError for a job that has no time of its own."""
        if not self.fields:
            raise ValueError(f"{self.name} has no time of its own")
        return Calendar(self.fields, self.time_zone)

    @property
    def most_jitter(self) -> timedelta:
        """By how much each run may be late, where one answer has to do for all of them: less than
        the time until the job's next."""
        shortest = self.calendar.shortest() if self.jitter else None
        return self.jitter if shortest is None else min(self.jitter, shortest)

    @property
    def declared(self) -> str:
        """`schedule.capture is 0 2 * * *`"""
        return f"{self.setting} is {self.fields}"


@dataclass(frozen=True, slots=True)
class Omitted:
    """A job that a configuration could have and has not."""

    name: str
    because: str

    @property
    def message(self) -> str:
        return f"{self.name} does not run by itself: {self.because}"


@dataclass(frozen=True, slots=True)
class Timetable:
    """All that runs by itself, the most urgent first."""

    jobs: tuple[Job, ...]
    omitted: tuple[Omitted, ...] = ()


def action_of(name: str) -> str:
    """What a job of this name does: the word before the colon."""
    return name.partition(":")[0]


def urgency(name: str) -> tuple[int, str]:
    """What sorts jobs by their names, the most urgent first."""
    action = action_of(name)
    place = _URGENCY.index(action) if action in _URGENCY else len(_URGENCY)
    return place, name


def is_in_the_way(running: str, wanted: str) -> bool:
    """Whether a job must not begin while this one runs.

    It holds both ways, but for copies: they don't begin during a capture, which may begin during
    one, since new work must not wait for a slow line.
    """
    ran, want = action_of(running), action_of(wanted)
    pair = {ran, want}
    return (
        running == wanted
        or pair == {CAPTURE}
        or (ran, want) == (CAPTURE, COPY)
        or pair <= _DRILLS
        or (PRUNE in pair and bool(pair & _PRUNE_EXCLUDES))
    )


def make_timetable(declared: Declared) -> Timetable:
    """The jobs of a configuration, and what does not run and why."""
    found = sorted(
        [
            *_captures(declared),
            *_copies(declared),
            *_checks(declared),
            *_others(declared),
        ],
        key=lambda one: urgency(one.name),
    )
    return Timetable(
        tuple(one for one in found if isinstance(one, Job)),
        tuple(one for one in found if isinstance(one, Omitted)),
    )


def _captures(declared: Declared) -> Iterator[Job | Omitted]:
    together = tuple(name for name, own in declared.sources.items() if own != NEVER)
    if together:
        yield _timed(
            declared, CAPTURE, "schedule.capture", declared.times[CAPTURE], sources=together
        )
    else:
        yield Omitted(CAPTURE, "no source is to be captured by itself")
    for name, own in declared.sources.items():
        if own is not None:
            yield _timed(
                declared, f"{CAPTURE}:{name}", f"sources.{name}.capture", own, sources=(name,)
            )


def _copies(declared: Declared) -> Iterator[Job | Omitted]:
    if len(declared.repositories) > 1:
        yield Job(declared.application, COPY, "", "")
    else:
        yield Omitted(COPY, "there is one repository only")


def _checks(declared: Declared) -> Iterator[Job | Omitted]:
    for name, own in declared.repositories.items():
        setting = "schedule.check" if own is None else f"repositories.{name}.check"
        yield _timed(
            declared,
            f"{CHECK}:{name}",
            setting,
            declared.times[CHECK] if own is None else own,
            repository=name,
            amount=declared.amounts.get(name, declared.check_amount),
        )


def _others(declared: Declared) -> Iterator[Job | Omitted]:
    for setting, fields in declared.times.items():
        name = setting.replace("_", "-")
        if name in (CAPTURE, CHECK):
            continue
        if name == APPLICATION_DRILL and fields != NEVER and not declared.has_application_check:
            yield Omitted(name, "there is no application_check that says how to start it")
        elif name == KIT_DRILL and not declared.has_kit:
            continue
        elif name == KIT_DRILL and fields != NEVER and not declared.drills_kit:
            yield Omitted(name, "kit has no folder, or nothing that opens what is in it")
        else:
            yield _timed(declared, name, f"schedule.{setting}", fields)


def _timed(
    declared: Declared,
    name: str,
    setting: str,
    fields: str,
    *,
    sources: tuple[str, ...] = (),
    repository: str | None = None,
    amount: str | None = None,
) -> Job | Omitted:
    if fields == NEVER:
        return Omitted(name, f"{setting} is {NEVER}")
    return Job(
        declared.application,
        name,
        setting,
        fields,
        declared.time_zone,
        declared.jitter,
        sources,
        repository,
        amount,
    )
