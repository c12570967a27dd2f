"""What was done beside proofs: runs, checks of stores, prunes, alerts, and people's acts; and room.

`history_of` reads the ledger's records, in their order. What came of a run is told by several: the
run's own (`backup`, `check` ...), the schedule's (`job`) and the command line's (`command`), which
know the exit status. Each is read for what it knows; a record that says nothing counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from strongroom.findings import Severity
from strongroom.report.act import ACTS, COMMANDS
from strongroom.report.field import begin, mapping, mappings, moment, number, text, texts
from strongroom.report.handed_over import Record, as_observed, put_in_order
from strongroom.report.kit_history import KitDrill, KitMade, KitSight, drilled, made, misled, sight
from strongroom.report.noticed import Noticed, noticed

__all__ = [
    "ALL_JOBS",
    "CHANGED",
    "Act",
    "Beat",
    "Delivery",
    "Due",
    "Ending",
    "Frozen",
    "History",
    "HistoryBuilder",
    "Inspection",
    "Prune",
    "Reach",
    "Record",
    "Retiming",
    "Run",
    "Space",
    "Timetable",
    "history_of",
]


_One = TypeVar("_One")
ALL_JOBS: Final = "*"


class Ending(StrEnum):
    """How a run ended; OPEN when the record doesn't say, or when somebody stopped it."""

    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Run:
    """A run, or the part of it that was about one source or repository (`subject`, else empty).

    `action` is what the schedule calls it: `capture`, `check`, `drill`, `verify-daily` ...
    """

    seq: int
    at: datetime
    action: str
    subject: str
    ending: Ending
    begun_at: datetime
    error: str = ""
    scheduled_for: datetime | None = None

    @property
    def took(self) -> timedelta:
        return max(self.at - self.begun_at, timedelta())


@dataclass(frozen=True, slots=True)
class Inspection:
    """A check of a repository. `content` tells that stored bytes were found damaged, which only
    reading the same bytes again can show to be over."""

    seq: int
    at: datetime
    repository: str
    is_sound: bool
    read_data: bool
    never_read_bytes: int | None = None
    oldest_read_at: datetime | None = None
    found: Noticed | None = None
    content: bool = False


@dataclass(frozen=True, slots=True)
class Prune:
    """A prune of a repository; one that `ended` is False of was begun, and nobody knows more."""

    seq: int
    at: datetime
    repository: str
    ended: bool
    dropped: int = 0
    refused: int = 0
    kept: int | None = None
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt to tell somebody something."""

    seq: int
    at: datetime
    to: str
    delivered: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """How much room the store of a repository had."""

    seq: int
    at: datetime
    repository: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a repository answered."""

    seq: int
    at: datetime
    repository: str
    reached: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody did by hand, and that is not done every day."""

    seq: int
    at: datetime
    what: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Retiming:
    """That these jobs, by their names, got other times; `ALL_JOBS` stands for all."""

    at: datetime
    jobs: frozenset[str]


@dataclass(frozen=True, slots=True)
class History:
    """All of it, oldest first; `begun_at` is the time of the ledger's first record, `repairs` have
    the numbers of their records and the repositories."""

    begun_at: datetime | None = None
    runs: tuple[Run, ...] = ()
    inspections: tuple[Inspection, ...] = ()
    repairs: tuple[tuple[int, str], ...] = ()
    prunes: tuple[Prune, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    spaces: tuple[Space, ...] = ()
    reaches: tuple[Reach, ...] = ()
    acts: tuple[Act, ...] = ()
    retimings: tuple[Retiming, ...] = ()
    kits: tuple[KitMade, ...] = ()
    kit_sights: tuple[KitSight, ...] = ()
    kit_drills: tuple[KitDrill, ...] = ()


# How many signs of life may be missing.
_MISSED_BEATS: Final = 3


@dataclass(frozen=True, slots=True)
class Due:
    """What is to run by itself: the newest times at which it was due, newest first, and the next
    one. An empty `subject` means that it is about all; `own`: its times are not those of all that
    do this."""

    action: str
    subject: str
    times: tuple[datetime, ...]
    next_at: datetime | None = None
    own: bool = False

    def is_timed_by(self, job: str) -> bool:
        """Whether it has, or had, its times from this job."""
        if job == f"{self.action}:{self.subject}":
            return True
        return job == ALL_JOBS or (job == self.action and not self.own)


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of something that runs by itself, and how often it gives one."""

    name: str
    at: datetime
    every: timedelta

    @property
    def silent_from(self) -> datetime:
        """From when on it is silent, without another sign."""
        return self.at + _MISSED_BEATS * self.every


@dataclass(frozen=True, slots=True)
class Timetable:
    """What is to run by itself, and what gave signs of life; `obstacle` says why nothing can be
    started or recorded now, where that is so."""

    dues: tuple[Due, ...] = ()
    beats: tuple[Beat, ...] = ()
    obstacle: str = ""


class Frozen:
    """Lists that only grow, as tuples: the same one as long as nothing was added."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, ...]] = {}  # Any: as the list has them

    def __call__(self, name: str, growing: Sequence[_One]) -> tuple[_One, ...]:
        if len(self._known.get(name, ())) != len(growing) or name not in self._known:
            self._known[name] = tuple(growing)
        return self._known[name]


class HistoryBuilder:
    """Makes a history of records that are handed to it in their order, and kept no longer."""

    def __init__(self) -> None:
        self.begun_at: datetime | None = None
        self.runs: list[Run] = []
        self.inspections: list[Inspection] = []
        self.repairs: list[tuple[int, str]] = []
        self.prunes: list[Prune] = []
        self.deliveries: list[Delivery] = []
        self.spaces: list[Space] = []
        self.reaches: list[Reach] = []
        self.acts: list[Act] = []
        self.retimings: list[Retiming] = []
        self.kits: list[KitMade] = []
        self.kit_sights: list[KitSight] = []
        self.kit_drills: list[KitDrill] = []
        # The times that a service knew last.
        self.times: Mapping[str, tuple[str, str]] | None = None
        self._frozen = Frozen()

    def add(self, record: Record) -> None:
        """Whatever this record tells."""
        record = as_observed(record)
        if self.begun_at is None:
            self.begun_at = record.at
        reader = _READERS.get(record.kind)
        if reader is not None:
            reader(self, record)
        elif what := ACTS.get(record.kind):
            self.acts.append(Act(record.seq, record.at, what, _about(record.fields)))

    def run(self, one: Record, action: str, subject: str, ending: Ending, error: str = "") -> None:
        """A run that a record tells of."""
        begun_at = begin(one.at, one.fields)
        due = moment(one.fields.get("scheduled_for"))
        run = Run(one.seq, one.at, action, subject, ending, begun_at, error, due)
        put_in_order(self.runs, run, one)

    def history(self) -> History:
        """What the records told, so far."""
        return History(
            self.begun_at,
            self._frozen("runs", self.runs),
            self._frozen("inspections", self.inspections),
            self._frozen("repairs", self.repairs),
            self._frozen("prunes", self.prunes),
            self._frozen("deliveries", self.deliveries),
            self._frozen("spaces", self.spaces),
            self._frozen("reaches", self.reaches),
            self._frozen("acts", self.acts),
            self._frozen("retimings", self.retimings),
            self._frozen("kits", self.kits),
            self._frozen("kit_sights", self.kit_sights),
            self._frozen("kit_drills", self.kit_drills),
        )


def history_of(records: Iterable[Record]) -> History:
    """What these records tell, in their order."""
    builder = HistoryBuilder()
    for one in records:
        builder.add(one)
    return builder.history()


# What each kind of record tells

CHANGED: Final = "the configuration changed"

_ANSWERS: Final = frozenset({40, 41, 42})
_DAMAGED: Final = 30
_PARTIAL: Final = 3
_INTERRUPTED: Final = 130
# Of a command: mistaken words, and a target that was refused. Nothing was to be done yet. Status 2
# alone does not say so: it is that of a secret that cannot be read, too.
_MISTAKEN: Final = 2
_REFUSED: Final = 5


def _about(fields: Mapping[str, Any]) -> str:  # Any: JSON values
    for name in ("source", "repository", "target"):
        if found := text(fields.get(name)):
            return found
    return ""


def _error(fields: Mapping[str, Any]) -> str:  # Any: JSON values
    return text(mapping(fields.get("error")).get("message"))


def _backup(made: HistoryBuilder, one: Record) -> None:
    fields = one.fields
    stored = {text(each.get("source")) for each in mappings(fields.get("snapshots"))}
    errors = {
        text(each.get("source")): text(each.get("message"))
        for each in mappings(fields.get("errors"))
    }
    for name in dict.fromkeys((*texts(fields.get("wanted")), *errors, *stored)):
        if name in errors:
            made.run(one, "capture", name, Ending.FAILED, errors[name])
        elif name in stored:
            made.run(one, "capture", name, Ending.DONE)
        else:
            made.run(one, "capture", name, Ending.FAILED, "it was not reached")
    _spaces(made, one)


def _spaces(made: HistoryBuilder, one: Record) -> None:
    for each in mappings(one.fields.get("spaces")):
        total, free = number(each.get("total_bytes")), number(each.get("free_bytes"))
        if total is not None and free is not None and 0 <= free <= total:
            name = text(each.get("repository"))
            made.spaces.append(Space(one.seq, one.at, name, total, free))


def _check(made: HistoryBuilder, one: Record) -> None:
    fields, repository = one.fields, text(one.fields.get("repository"))
    if "store_as_of" in fields:  # a store's past says nothing of what lies there today
        return
    failures = [
        each for each in noticed(fields.get("findings")) if each.severity is Severity.FAILURE
    ]
    made.inspections.append(
        Inspection(
            one.seq,
            one.at,
            repository,
            fields.get("sound") is True and not failures,
            fields.get("read_data") is True,
            number(fields.get("never_read_bytes")),
            moment(fields.get("oldest_read_at")),
            failures[0] if failures else None,
            any(each.code == "pack-content" for each in failures),
        )
    )
    made.run(one, "check", repository, Ending.DONE)


def _repaired(made: HistoryBuilder, one: Record) -> None:
    repository = text(one.fields.get("repository"))
    made.repairs.append((one.seq, repository))
    made.acts.append(Act(one.seq, one.at, "a repair", repository))


def _prune(made: HistoryBuilder, one: Record) -> None:
    made.prunes.append(Prune(one.seq, one.at, text(one.fields.get("repository")), ended=False))


def _pruned(made: HistoryBuilder, one: Record) -> None:
    fields, repository = one.fields, text(one.fields.get("repository"))
    made.prunes.append(
        Prune(
            one.seq,
            one.at,
            repository,
            fields.get("ended") is not False,
            len(texts(fields.get("dropped"))),
            len(texts(fields.get("locked"))),
            number(fields.get("kept")),
            text(fields.get("policy")),
        )
    )
    if fields.get("ended") is not False:
        made.run(one, "prune", repository, Ending.DONE)


def _drill(made: HistoryBuilder, one: Record) -> None:
    """A drill that compared nothing could not begin: its verdict says so, and why."""
    if number(one.fields.get("checked")):
        made.run(one, "drill", text(one.fields.get("source")), Ending.DONE)


def _application_drill(made: HistoryBuilder, one: Record) -> None:
    if number(one.fields.get("checked")):
        made.run(one, "application-drill", "", Ending.DONE)


def _kit(history: HistoryBuilder, one: Record) -> None:
    history.kits.append(made(one.seq, one.at, one.fields))
    history.acts.append(Act(one.seq, one.at, "a recovery kit made"))


def _kit_compared(history: HistoryBuilder, one: Record) -> None:
    history.kit_sights.append(sight(one.seq, one.at, one.fields))


def _kit_drill(history: HistoryBuilder, one: Record) -> None:
    history.kit_drills.append(drilled(one.seq, one.at, one.fields))
    history.run(one, "kit-drill", "", Ending.DONE)


def _restore(made: HistoryBuilder, one: Record) -> None:
    made.acts.append(Act(one.seq, one.at, "a restore", text(one.fields.get("source"))))


def _copy(made: HistoryBuilder, one: Record) -> None:
    error = _error(one.fields)
    made.run(one, "copy", text(one.fields.get("to")), _ending(error), error)


def _ending(error: str) -> Ending:
    return Ending.FAILED if error else Ending.DONE


def _verify(made: HistoryBuilder, one: Record) -> None:
    made.run(one, f"verify-{text(one.fields.get('list'))}", "", Ending.DONE)
    _spaces(made, one)
    for each in mappings(one.fields.get("reached")):
        reached = each.get("reached") is True
        name, error = text(each.get("repository")), text(each.get("error"))
        made.reaches.append(Reach(one.seq, one.at, name, reached, error))


def _configuration(made: HistoryBuilder, one: Record) -> None:
    """Others than before; that they were seen for the first time is no change."""
    if one.fields.get("digest_before"):
        made.acts.append(Act(one.seq, one.at, CHANGED, text(one.fields.get("file"))))
    changes = mappings(one.fields.get("changes"))
    jobs = frozenset(filter(None, (_retimed(text(each.get("setting"))) for each in changes)))
    if jobs:
        made.retimings.append(Retiming(one.at, jobs))


def _retimed(setting: str) -> str:
    """The job that has its times from this setting; empty when none has."""
    section, _, name = setting.partition(".")
    if section == "schedule":
        return ALL_JOBS if name == "time_zone" else name.replace("_", "-")
    if section == "sources" and name.endswith(".capture"):
        return f"capture:{name.removesuffix('.capture')}"
    if section == "repositories" and name.endswith(".check"):
        return f"check:{name.removesuffix('.check')}"
    if section == "kit":  # without a way to open it, it is not drilled at any time
        return "kit-drill"
    # Without it the whole application is not drilled at any time.
    return "application-drill" if setting == "application_check" else ""


def _schedule(made: HistoryBuilder, one: Record) -> None:
    """The times from now on; that they are known for the first time is no change."""
    times = {
        text(each.get("job")): (text(each.get("fields")), text(each.get("time_zone")))
        for each in mappings(one.fields.get("jobs"))
    }
    before, made.times = made.times, times
    if before is not None:
        names = before.keys() | times.keys()
        jobs = frozenset(name for name in names if before.get(name) != times.get(name))
        if jobs:
            made.retimings.append(Retiming(one.at, jobs))


def _alert(made: HistoryBuilder, one: Record) -> None:
    fields = one.fields
    delivered = fields.get("delivered") is True
    error = text(fields.get("error"))
    made.deliveries.append(Delivery(one.seq, one.at, text(fields.get("to")), delivered, error))


def _job(made: HistoryBuilder, one: Record) -> None:
    fields = one.fields
    action = text(fields.get("action"))
    if not action:
        return
    ending, error = _by_status(action, fields)
    repository = text(fields.get("repository"))
    subjects = texts(fields.get("sources")) or ((repository,) if repository else ("",))
    for subject in subjects if ending is not Ending.PARTIAL else ("",):
        made.run(one, action, subject, ending, error)


def _command(made: HistoryBuilder, one: Record) -> None:
    """What somebody did by hand, or another scheduler; whether it failed is of concern where the
    schedule does it, too."""
    fields = one.fields
    action = COMMANDS.get(text(fields.get("command")))
    if text(fields.get("job")):
        return  # of the service, whose own record tells it
    if action is None or _is_refused(fields):
        return
    if action == "drill" and "--application" in texts(fields.get("arguments")):
        action = "application-drill"
    ending, error = _by_status(action, fields)
    if ending is Ending.FAILED:
        made.run(one, action, "", ending, error)


def _is_refused(fields: Mapping[str, Any]) -> bool:  # Any: JSON values
    """Whether a command was not even begun, since whoever typed it had to mean something else."""
    status, code = number(fields.get("exit_status")), mapping(fields.get("error")).get("code")
    if text(fields.get("command")) == "kit drill" and misled(fields, text(code)):
        return True
    return status == _REFUSED or (status == _MISTAKEN and code in (None, "usage"))


def _by_status(action: str, fields: Mapping[str, Any]) -> tuple[Ending, str]:  # Any: JSON values
    status, error = number(fields.get("exit_status")), _error(fields)
    if status == 0 or status in _ANSWERS or (action == "check" and status == _DAMAGED):
        return Ending.DONE, ""
    if status == _PARTIAL:
        return Ending.PARTIAL, error
    if status == _INTERRUPTED or (status is None and not error):
        return Ending.OPEN, error
    return Ending.FAILED, error or f"exit status {status}"


_READERS: Final[Mapping[str, Callable[[HistoryBuilder, Record], None]]] = {
    "backup": _backup,
    "check": _check,
    "repaired": _repaired,
    "prune": _prune,
    "pruned": _pruned,
    "drill": _drill,
    "application-drill": _application_drill,
    "kit": _kit,
    "kit-compared": _kit_compared,
    "kit-drill": _kit_drill,
    "restore": _restore,
    "copy": _copy,
    "verify": _verify,
    "alert": _alert,
    "job": _job,
    "command": _command,
    "configuration": _configuration,
    "schedule": _schedule,
}
