"""Which snapshot is meant: an id's beginning, `latest`, or the newest at a time.

All repositories that open are asked, so that one lost store does not stop a restore. Of copies of
the same capture, the one in the repository that the configuration names first is taken.

Invariant: `latest` is never silently an older snapshot. What is known to have been stored and
cannot be read, or is gone, is a failure among the findings of everything that asks for the latest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from strongroom.errors import ConfigError, StorageError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Progress, finding
from strongroom.repository import Repository, Snapshot, SnapshotList, SnapshotView
from strongroom.service.application import Application
from strongroom.service.ledger_copy import broken, is_copy

LATEST = "latest"
# Source, recovery point and tree.
Capture: TypeAlias = tuple[str | None, str | None, str]
# How far the clocks of two hosts may differ.
_TOLERANCE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot and the repository that holds it."""

    repository: Repository
    snapshot: Snapshot

    def belongs_to(self, application: str) -> bool:
        """Whether it is this application's, or of a tool that names no application."""
        return self.snapshot.application in (application, None)


@dataclass(frozen=True, slots=True)
class Survey:
    """All snapshots in the repositories that could be listed, oldest first, and what was noticed.

    Each trouble comes with the source that it is about, None when it may be about any.
    """

    made_at: datetime
    candidates: tuple[Candidate, ...]
    unreachable: tuple[Finding, ...]
    troubles: tuple[tuple[str | None, Finding], ...]

    def about(self, sources: Sequence[str] = ()) -> tuple[Finding, ...]:
        """What was noticed about these sources, or about all."""
        return (
            *self.unreachable,
            *(one for of, one in self.troubles if of is None or not sources or of in sources),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The snapshot that is meant, all copies of that capture, and what belongs to the answer."""

    candidate: Candidate
    copies: tuple[Candidate, ...]
    findings: tuple[Finding, ...]


def survey(application: Application, repositories: Sequence[str] = ()) -> Survey:
    """What the repositories that open hold; the first error is raised when none can be listed."""
    # First, for what is stored meanwhile is listed and not yet recorded, never the reverse.
    stored = stored_snapshots(application)
    opened, failed = application.reachable(repositories)
    found: list[Candidate] = []
    troubles: list[tuple[str | None, Finding]] = [(None, one) for one in broken(application)]
    for repository in opened:
        try:
            listed = repository.snapshots()
        except StrongroomError as error:
            failed[repository.name] = error
            continue
        found.extend(Candidate(repository, snapshot) for snapshot in listed.snapshots)
        known = stored.get(repository.name, {})
        troubles.extend((known.get(_id_of(one)), one) for one in listed.findings)
        troubles.extend(vanished(repository.name, known, listed))
    if len(failed) == len(repositories or application.settings.repositories):
        raise next(iter(failed.values()))
    order = {repository.name: place for place, repository in enumerate(opened)}
    # Of copies of a capture, what was repaired comes last: the others are whole.
    found.sort(
        key=lambda one: (one.snapshot.time, one.snapshot.is_repaired, order[one.repository.name])
    )
    mine = [one for one in found if one.belongs_to(application.name)]
    now = application.clock()
    ahead = [one for one in mine if is_from_future(one.snapshot, now)]
    troubles.extend(
        (one.snapshot.source, from_future(one.repository.name, one.snapshot)) for one in ahead
    )
    unreachable = [
        finding("repository-unreachable", name, str(error)) for name, error in failed.items()
    ]
    return Survey(now, tuple(mine), tuple(unreachable), tuple(troubles))


def stored_snapshots(application: Application) -> dict[str, dict[str, str]]:
    """The source of every snapshot that must be there, by id, by repository, as the ledger tells;
    nothing when it can't be read, which is said. Of a past, what was recorded by then.

    Captures and copies are stored, and so is what somebody pinned. What prune was about to drop
    may be gone, unless it was pinned; what somebody has acknowledged as gone may be, too.
    """
    moment = application.store_as_of
    # What was recorded in the last minute may have come just after, by the store's own clock.
    until = None if moment is None else moment - _TOLERANCE
    stored = _Stored()
    try:
        for entry in application.ledger.entries():
            recent = until is not None and entry.at > until
            if not recent and entry.fields.get("application") == application.name:
                stored.take(entry)
    except StrongroomError as error:
        application.say(f"what was stored before is not known: {error}")
    return stored.by_repository


class _Stored:
    """What must be there after each record of the ledger: sources by id, by repository."""

    def __init__(self) -> None:
        self.by_repository: dict[str, dict[str, str]] = {}
        self._pinned: dict[Capture, set[str]] = {}

    def take(self, entry: Entry) -> None:
        fields = entry.fields
        repository = str(fields.get("repository", fields.get("to")))
        dropped = set(map(str, fields.get("drop", ())))
        if entry.kind in ("prune", "repair"):
            # Written down before it was done, so that it may be there still.
            spared = set().union(*self._pinned.values()) if entry.kind == "prune" else set()
            self._forget(repository, dropped - spared)
        if entry.kind in ("backup", "import", "copy", "pin", "repair"):
            for one in fields.get("snapshots", ()):
                of = self.by_repository.setdefault(str(one.get("repository", repository)), {})
                of[str(one["id"])] = str(one["source"])
        if entry.kind == "pin":
            copies = {str(one["id"]) for one in fields.get("snapshots", ())}
            self._pinned[recorded_capture(entry)] = copies
        elif entry.kind == "unpin":
            self._pinned.pop(recorded_capture(entry), None)
        elif entry.kind == "acknowledge":
            for one in fields.get("snapshots", ()):
                self._forget(str(one["repository"]), {str(one["id"])})

    def _forget(self, repository: str, ids: set[str]) -> None:
        for one in ids:
            self.by_repository.get(repository, {}).pop(one, None)


def gone(stored: dict[str, str], listed: SnapshotList) -> Iterator[tuple[str, str]]:
    """The id and source of each stored snapshot that has no file any more."""
    present = {one.id for one in listed.snapshots} | set(map(_id_of, listed.findings))
    return ((one, source) for one, source in stored.items() if one not in present)


def vanished(
    repository: str, stored: dict[str, str], listed: SnapshotList
) -> Iterator[tuple[str, Finding]]:
    """A finding, with its source, for each stored snapshot that is gone."""
    for snapshot, source in gone(stored, listed):
        subject = f"{repository}: snapshots/{snapshot}"
        message = f"a snapshot of {source} was stored here and is gone"
        yield source, finding("snapshot-vanished", subject, message)


def is_from_future(snapshot: Snapshot, now: datetime) -> bool:
    """Whether it is dated later than any clock that is nearly right can say."""
    return snapshot.time > now + _TOLERANCE


def from_future(repository: str, snapshot: Snapshot) -> Finding:
    """The finding that such a snapshot is passed over."""
    message = f"it is dated {snapshot.time:%Y-%m-%d %H:%M} UTC, which is yet to come"
    return finding("snapshot-from-future", f"{repository}: snapshots/{snapshot.id}", message)


def repaired(repository: str, snapshot: Snapshot) -> Finding:
    """The finding that something is missing in such a snapshot."""
    message = "it lacks what was lost in a damage"
    if snapshot.original is not None:
        message += f"; it was snapshot {snapshot.original[:8]}"
    return finding("snapshot-repaired", f"{repository}: snapshots/{snapshot.id}", message)


def is_foreign(snapshot: Snapshot) -> bool:
    """Whether another tool made it, so that it names neither source nor kind."""
    return snapshot.source is None and snapshot.kind is None


def _foreign(candidate: Candidate) -> Finding:
    """The finding that such a snapshot was taken; StorageError unless it is of one directory."""
    repository, snapshot = candidate.repository.name, candidate.snapshot
    if len(snapshot.paths) != 1:
        raise StorageError(
            f"another tool made it, of {len(snapshot.paths)} paths and not of one directory",
            subject=snapshot.short_id,
            code="snapshot-missing",
            hint="Take it out with `strongroom export` or stock restic.",
        )
    message = f"it names no source; another tool made it of {snapshot.paths[0]}"
    return finding("snapshot-foreign", f"{repository}: snapshots/{snapshot.id}", message)


def _id_of(unreadable: Finding) -> str:
    return unreadable.subject.rpartition("/")[2]


def find(
    application: Application,
    wanted: str,
    *,
    source: str | None = None,
    repository: str | None = None,
    at: datetime | None = None,
) -> Candidate:
    """The one snapshot that is meant, to be read; see `choose`. What was noticed is said."""
    surveyed = survey(application, [repository] if repository else [])
    choice = choose(surveyed, wanted, source=source, at=at)
    say_all(application, choice.findings)
    meant = choice.candidate
    application.note(
        "read",
        {
            "source": meant.snapshot.source,
            "repository": meant.repository.name,
            "snapshot": meant.snapshot.id,
        },
    )
    return meant


def say_all(application: Application, findings: Sequence[Finding]) -> None:
    """Tell people meanwhile."""
    for one in findings:
        application.say(f"{one.subject}: {one.message}")


def choose(
    surveyed: Survey,
    wanted: str,
    *,
    source: str | None = None,
    at: datetime | None = None,
    takes_foreign: bool = False,
) -> Choice:
    """The one snapshot that is meant; StorageError `snapshot-missing` when none or several are.

    `wanted` is the beginning of an id, `latest`, or `latest:SOURCE`; `at` leaves out what is newer.
    With `takes_foreign` a source also gets what another tool made, when its id is given.
    """
    if wanted.startswith(LATEST + ":"):
        source, wanted = wanted.partition(":")[2], LATEST
    takes_foreign = takes_foreign and wanted != LATEST
    found = [
        one
        for one in surveyed.candidates
        if source in (None, one.snapshot.source) or (takes_foreign and is_foreign(one.snapshot))
    ]
    if at is not None:
        found = [one for one in found if one.snapshot.time <= at]
    if wanted == LATEST:
        found = [one for one in found if not is_copy(one.snapshot)]
        candidate = _newest(found, source, at, surveyed.made_at)
        findings = surveyed.about([source] if source is not None else [])
    else:
        candidate = _only(found, wanted)
        findings = surveyed.unreachable
    if takes_foreign and is_foreign(candidate.snapshot):
        findings = (*findings, _foreign(candidate))
    if candidate.snapshot.is_repaired:
        findings = (*findings, repaired(candidate.repository.name, candidate.snapshot))
    meant = capture_of(candidate.snapshot)
    copies = tuple(one for one in found if capture_of(one.snapshot) == meant)
    return Choice(candidate, copies, findings)


def capture_of(snapshot: Snapshot) -> Capture:
    """What all copies of one capture have in common, in whichever repository they are."""
    return snapshot.source, snapshot.point, snapshot.tree


def recorded_capture(entry: Entry) -> Capture:
    """The capture that a record of the ledger is about."""
    source, point = entry.fields.get("source"), entry.fields.get("point")
    return source, point, str(entry.fields.get("tree"))


def _only(found: Sequence[Candidate], wanted: str) -> Candidate:
    matches = [one for one in found if wanted and one.snapshot.id.startswith(wanted.lower())]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StorageError("no snapshot has this id", subject=wanted, code="snapshot-missing")
    listed = ", ".join(sorted(one.snapshot.id[:12] for one in matches[:5]))
    raise StorageError(
        f"several snapshots have ids that begin so ({listed})",
        subject=wanted,
        code="snapshot-missing",
        hint="Give more digits of the id.",
    )


def _newest(
    found: Sequence[Candidate], source: str | None, at: datetime | None, now: datetime
) -> Candidate:
    past = [one for one in found if not is_from_future(one.snapshot, now)]
    if not past:
        until = f" at or before {at:%Y-%m-%d %H:%M} UTC" if at else ""
        ahead = f"; {len(found)} are dated later than now" if found else ""
        raise StorageError(
            f"there is no snapshot{until}{ahead}", subject=source or "", code="snapshot-missing"
        )
    newest = past[-1].snapshot.time
    return next(one for one in past if one.snapshot.time == newest)


def parse_moment(text: str, time_zone: str) -> datetime:
    """An RFC 3339 time, or `2026-11-22 14:00` in the configuration's time zone, as UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(
            "this is not a time",
            subject=text,
            code="usage",
            hint="Write it like 2026-11-22T14:00:00Z or '2026-11-22 14:00'.",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(time_zone))
    return moment.astimezone(UTC)


@contextlib.contextmanager
def reading(candidate: Candidate, *, progress: Progress | None = None) -> Iterator[SnapshotView]:
    """The snapshot's read side, its repository locked against pruning meanwhile."""
    with candidate.repository.reading():
        yield SnapshotView(candidate.repository, candidate.snapshot, progress)
