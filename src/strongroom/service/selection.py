"""Which snapshot is meant: an id's beginning, `latest`, or the newest at a time.

All repositories that open are asked, so that one lost store does not stop a restore. Of copies of
the same capture, the one in the repository that the configuration names first is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from strongroom.errors import ConfigError, StorageError
from strongroom.model import Finding, Progress, finding
from strongroom.repository import Repository, Snapshot, SnapshotView
from strongroom.service.application import Application

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot and the repository that holds it."""

    repository: Repository
    snapshot: Snapshot

    def belongs_to(self, application: str) -> bool:
        """Whether it is this application's, or of a tool that names no application."""
        return self.snapshot.application in (application, None)


def candidates(
    application: Application, repositories: Sequence[str] = ()
) -> tuple[list[Candidate], list[Finding]]:
    """All snapshots in the repositories that open, oldest first; what could not be read."""
    opened, failed = application.reachable(repositories)
    findings = [
        finding("repository-unreachable", name, str(error)) for name, error in failed.items()
    ]
    found: list[Candidate] = []
    for repository in opened:
        listed = repository.snapshots()
        findings.extend(listed.findings)
        found.extend(Candidate(repository, snapshot) for snapshot in listed.snapshots)
    order = {repository.name: place for place, repository in enumerate(opened)}
    found.sort(key=lambda one: (one.snapshot.time, order[one.repository.name]))
    mine = [one for one in found if one.belongs_to(application.name)]
    return mine, findings


def find(
    application: Application,
    wanted: str,
    *,
    source: str | None = None,
    repository: str | None = None,
    at: datetime | None = None,
) -> Candidate:
    """The one snapshot that is meant; StorageError `snapshot-missing` when none or several are.

    `wanted` is the beginning of an id, `latest`, or `latest:SOURCE`; `at` leaves out what is newer.
    """
    found, findings = candidates(application, [repository] if repository else [])
    for one in findings:
        application.say(f"{one.subject}: {one.message}")
    if wanted.startswith(LATEST + ":"):
        source, wanted = wanted.partition(":")[2], LATEST
    if source is not None:
        found = [one for one in found if one.snapshot.source == source]
    if at is not None:
        found = [one for one in found if one.snapshot.time <= at]
    if wanted == LATEST:
        return _newest(found, source, at)
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


def _newest(found: list[Candidate], source: str | None, at: datetime | None) -> Candidate:
    if not found:
        until = f" at or before {at:%Y-%m-%d %H:%M} UTC" if at else ""
        raise StorageError(
            f"there is no snapshot{until}", subject=source or "", code="snapshot-missing"
        )
    newest = found[-1].snapshot.time
    return next(one for one in found if one.snapshot.time == newest)


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
