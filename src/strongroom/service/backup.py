"""Backup: all sources, one after another, into all repositories, as one recovery point.

Each source is read once, whatever the number of repositories. A source or a repository that fails
does not stop the others; what is missing is said, and the exit status is not 0. The point's record,
which says what belongs together and how certainly, is written last: see `point_record`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, StrongroomError
from strongroom.findings import INCOMPLETE
from strongroom.model import Finding, RecoveryPoint, Severity, SnapshotRef, Stage, finding
from strongroom.plan.retention import unusually_small
from strongroom.repository import (
    BlobType,
    Repository,
    Snapshot,
    SnapshotList,
    SnapshotView,
    SnapshotWriter,
)
from strongroom.repository.lock import Lock
from strongroom.service.application import LOG, Application, trace_errors
from strongroom.service.backlog import backlog
from strongroom.service.copying import copy_recorded
from strongroom.service.ledger_copy import broken, store_copies, take_up
from strongroom.service.point import new_point_id
from strongroom.service.point_record import (
    PATH,
    PointRecord,
    PointSource,
    carry_records,
)
from strongroom.service.rendering import error_json, stages_json, time_json
from strongroom.service.room import spaces_json
from strongroom.service.selection import (
    from_future,
    is_from_future,
    stored_snapshots,
    vanished,
)
from strongroom.sources import CaptureContext, Captured, Source


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A recovery point, the sources that could not be captured, and how long it took."""

    point: RecoveryPoint
    wanted: tuple[str, ...]
    errors: tuple[tuple[str, StrongroomError], ...]
    stages: tuple[Stage, ...]
    seconds: float
    minimum_copies: int = 1

    @property
    def captured(self) -> tuple[str, ...]:
        have = {one.source for one in self.point.snapshots}
        return tuple(name for name in self.wanted if name in have)

    @property
    def copies(self) -> dict[str, tuple[str, ...]]:
        """In which repositories each captured source is now."""
        return {
            name: tuple(one.repository for one in self.point.snapshots if one.source == name)
            for name in self.captured
        }

    @property
    def exit_status(self) -> int:
        lacking = any(len(names) < self.minimum_copies for names in self.copies.values())
        if self.errors or lacking or any(map(_is_incomplete, self.point.findings)):
            return EXIT_PARTIAL
        return EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "recovery_point": self.point.id,
            "application": self.point.application,
            "begun_at": time_json(self.point.begun_at),
            "seconds": round(self.seconds, 3),
            "snapshots": [
                {
                    "source": one.source,
                    "repository": one.repository,
                    "id": one.id,
                    "tree": one.tree,
                    "captured_at": time_json(one.captured_at),
                    "bytes": one.bytes,
                    "added_bytes": one.added_bytes,
                    "seconds": round(one.seconds, 3),
                }
                for one in self.point.snapshots
            ],
            "copies": {name: list(names) for name, names in self.copies.items()},
            "minimum_copies": self.minimum_copies,
            "findings": [one.as_json() for one in self.point.findings],
            "errors": [{"source": name, **error_json(error)} for name, error in self.errors],
            "stages": stages_json(self.stages),
        }


def _is_incomplete(one: Finding) -> bool:
    # How many copies there must be is another question.
    if one.code in ("repository-failed", "repository-behind"):
        return False
    return one.severity in (Severity.FAILURE, Severity.UNKNOWN) or one.code in INCOMPLETE


def backup(application: Application, names: Sequence[str] = ()) -> BackupReport:
    """Capture the named sources, or all, as one recovery point.

    Raises the first error when nothing at all was captured.
    """
    begun, begun_at = time.monotonic(), datetime.now(UTC)
    # A key costs an scrypt; what the sources need is imported meanwhile.
    with ThreadPoolExecutor(1, thread_name_prefix="open") as pool:
        opening = pool.submit(application.reachable)
        sources = application.sources(names)
        repositories, unreachable = opening.result()
    run = _Run(application, repositories, new_point_id(begun_at), begun_at)
    for name, error in unreachable.items():
        run.findings.append(finding("repository-failed", name, str(error)))
    with run.locked():
        run.findings.extend(take_up(application, run.repositories))
        run.findings.extend(broken(application))
        run.notice()
        try:
            for source in sources:
                run.capture(source)
            run.look_for_references(sources)
            run.catch_up()
            run.catch_up_earlier()
        finally:
            run.conclude(sources)
            recorded = application.record("backup", run.fields(sources, time.monotonic() - begun))
        if isinstance(recorded, Finding):
            run.findings.append(recorded)
            message = f"its record goes with the ledger: {recorded.message}"
            run.findings.append(finding("point-unrecorded", run.point, message))
        else:
            run.copy_ledger()
    raised = run.errors[0][1] if run.errors and not run.snapshots else None
    trace_errors("source", run.errors, besides=raised)
    if raised is not None:
        raise raised
    point = RecoveryPoint(
        run.point, application.name, begun_at, tuple(run.snapshots), tuple(run.findings)
    )
    return BackupReport(
        point,
        tuple(source.name for source in sources),
        tuple(run.errors),
        tuple(run.stages),
        time.monotonic() - begun,
        application.settings.copies_wanted,
    )


class _Run:
    """What a backup has come to so far."""

    def __init__(
        self,
        application: Application,
        repositories: Sequence[Repository],
        point: str,
        begun_at: datetime,
    ) -> None:
        self.application = application
        self.point = point
        self.begun_at = begun_at
        self.record: PointRecord | None = None
        self._parts: list[PointSource] = []
        self._moment: datetime | None = None
        self.snapshots: list[SnapshotRef] = []
        self.findings: list[Finding] = []
        self._about: dict[int, str] = {}
        self.errors: list[tuple[str, StrongroomError]] = []
        self.stages: list[Stage] = []
        self._locks: dict[str, Lock] = {}
        self.repositories, self._before = self._listed(repositories)

    def _listed(
        self, repositories: Sequence[Repository]
    ) -> tuple[Sequence[Repository], SnapshotList]:
        """The repositories from the first one on that can be listed, and what it holds; raises
        the first one's error when none can."""
        errors: list[StrongroomError] = []
        for place, repository in enumerate(repositories):
            try:
                listed = repository.snapshots()
            except StrongroomError as error:
                LOG.debug("repository %s cannot be listed", repository.name, exc_info=True)
                errors.append(error)
                self.findings.append(finding("repository-failed", repository.name, str(error)))
            else:
                return repositories[place:], listed
        raise errors[0]

    def notice(self) -> None:
        """What is wrong with earlier snapshots, as far as this host's ledger knows, is told now,
        not at the next drill."""
        first = self.repositories[0].name
        self.findings.extend(self._before.findings)
        stored = stored_snapshots(self.application).get(first, {})
        self.findings.extend(one for _, one in vanished(first, stored, self._before))
        if lost := self._without_tree(self._before):
            # Once more: somebody may have pruned between the listing and our lock.
            still = {one.id for one in self.repositories[0].snapshots().snapshots}
            lost = [one for one in lost if one.id in still]
        if lost:
            message = f"the index has lost the trees of {len(lost)} snapshots"
            self.findings.append(finding("index-incomplete", first, message))

    def _without_tree(self, listed: SnapshotList) -> list[Snapshot]:
        """The snapshots whose very root no index names. A capture stores again what its source
        still has, which must not hide that the rest is gone."""
        try:
            index = self.repositories[0].index
        except StrongroomError:  # the capture will meet it, and goes on with the others
            LOG.debug("no index of %s yet", self.repositories[0].name, exc_info=True)
            return []
        return [
            one for one in listed.snapshots if not index.has(BlobType.TREE, bytes.fromhex(one.tree))
        ]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds each repository's lock for all that this run stores; whichever can't be locked now
        is tried again for each source."""
        try:
            for repository in self.repositories:
                lock = repository.new_lock()
                self._locks[repository.name] = lock
                try:
                    lock.acquire()
                except StrongroomError:
                    LOG.debug("repository %s is not locked", repository.name, exc_info=True)
                    del self._locks[repository.name]
                    lock.release()
            yield
        finally:
            self._gather_from_locks()
            with contextlib.ExitStack() as ending:
                for lock in self._locks.values():
                    ending.callback(lock.release)

    def _gather_from_locks(self) -> None:
        for lock in self._locks.values():
            self.findings.extend(lock.findings)
            lock.findings.clear()

    def capture(self, source: Source) -> None:
        """One source into all repositories; its error is kept, not raised."""
        begun = time.monotonic()
        try:
            self._capture(source)
        except StrongroomError as error:
            self._failed(source, error)
        except Exception as error:  # the edge of a step: a bug in one must not cost the others
            # Its text is for --verbose alone: the ledger must never hold what it may quote.
            unforeseen = StrongroomError(f"something that nobody foresaw: {type(error).__name__}")
            unforeseen.__cause__ = error
            self._failed(source, unforeseen)
        self.stages.append(Stage(source.name, time.monotonic() - begun))

    def _failed(self, source: Source, error: StrongroomError) -> None:
        self.application.say(f"{source.name}: {error}")
        self.errors.append((source.name, error))

    def _capture(self, source: Source) -> None:
        application, progress = self.application, self.application.progress
        begun, now = time.monotonic(), datetime.now(UTC)
        parent = self._parent(source)
        writer = SnapshotWriter(self.repositories, application.writer_options(), locks=self._locks)
        progress.begin(source.name, parent.snapshot.size_bytes if parent else None)
        try:
            with writer:
                context = CaptureContext(now, parent, progress, self._moment)
                captured = source.capture(writer, context)
                ended_at = datetime.now(UTC)
                self._found(source, captured.findings)
                committed = writer.commit(
                    captured.root,
                    paths=source.paths,
                    tags=self._tags(source),
                    time=now,
                    parent=parent.snapshot.id if parent else None,
                    summary={
                        "backup_start": time_json(now),
                        "backup_end": time_json(datetime.now(UTC)),
                        "total_files_processed": captured.files,
                        "total_bytes_processed": captured.size_bytes,
                    },
                )
        finally:
            progress.end()
            self.findings.extend(writer.findings)
            self._gather_from_locks()
        self._compare_size(source, captured.size_bytes)
        self._remember(source, captured, now, ended_at)
        seconds = time.monotonic() - begun
        self.snapshots.extend(
            SnapshotRef(
                source.name,
                one.repository,
                one.snapshot.id,
                one.snapshot.tree,
                now,
                captured.size_bytes,
                one.added_bytes,
                seconds,
            )
            for one in committed
        )

    def _remember(
        self, source: Source, captured: Captured, begun_at: datetime, ended_at: datetime
    ) -> None:
        """For the point's record; what is captured from here on is seen from the first database."""
        self._parts.append(
            PointSource(
                source.name, source.kind, captured.root, begun_at, ended_at, {}, captured.facts
            )
        )
        if self._moment is None and "moment_at" in captured.facts:
            self._moment = datetime.fromisoformat(captured.facts["moment_at"])

    def conclude(self, sources: Sequence[Source]) -> None:
        """What the run has come to, as the point's record; none when nothing was captured."""
        if not self.snapshots:
            return
        wanted = tuple(source.name for source in sources)
        failed = {name: error.code for name, error in self.errors}
        present = {one.name for one in self._parts}
        self.record = PointRecord(
            self.point,
            self.application.name,
            self.begun_at,
            datetime.now(UTC),
            wanted,
            tuple(
                replace(
                    one,
                    snapshots={
                        ref.repository: ref.id for ref in self.snapshots if ref.source == one.name
                    },
                )
                for one in self._parts
            ),
            {
                name: failed.get(name, "not reached" if name in wanted else "not asked for")
                for name in self.application.settings.sources
                if name not in present
            },
        )

    def look_for_references(self, sources: Sequence[Source]) -> None:
        """Files that a captured database refers to and that are not there, told at once."""
        if not self.application.settings.references:
            return
        from strongroom.service.references import check_live

        captured = [one for one in sources if one.name in {ref.source for ref in self.snapshots}]
        begun = time.monotonic()
        self.findings.extend(check_live(self.application, captured))
        self.stages.append(Stage("look for references", time.monotonic() - begun))

    def _compare_size(self, source: Source, size_bytes: int) -> None:
        """A source that is suddenly half of what it was may be an unmounted volume."""
        before = [
            one.size_bytes
            for one in self._before.snapshots
            if one.application == self.application.name and one.source == source.name
        ]
        if (usual := unusually_small([*before, size_bytes])) is not None:
            message = f"this capture has {size_bytes} bytes, usual are {usual}"
            self._found(source, [finding("source-shrunk", source.name, message)])

    def _found(self, source: Source, findings: Sequence[Finding]) -> None:
        """What is known of a source; the record says of which."""
        self.findings.extend(findings)
        self._about.update((id(one), source.name) for one in findings)

    def catch_up_earlier(self) -> None:
        """Copy what repositories that are here today missed in earlier runs."""
        for taker in self.repositories:
            begun, already = time.monotonic(), len(self.findings)
            try:
                copied = self._catch_up_earlier(taker)
            except StrongroomError as error:
                LOG.debug("repository %s stays behind", taker.name, exc_info=True)
                self.findings.append(finding("repository-behind", taker.name, str(error)))
                copied = True
            if copied or len(self.findings) > already:
                self.stages.append(Stage(f"catch up {taker.name}", time.monotonic() - begun))

    def _catch_up_earlier(self, taker: Repository) -> bool:
        """Whether there was anything to copy."""
        entries = self.application.ledger.entries()
        missed = backlog(entries, self.application.name, taker.name)
        copied = False
        for giver in self.repositories:
            here = {ids[giver.name] for ids in missed if giver.name in ids}
            missed = [ids for ids in missed if giver.name not in ids]
            if here:
                chosen = [one for one in giver.snapshots().snapshots if one.id in here]
                copied = copied or bool(chosen)
                found = copy_recorded(self.application, giver, taker, chosen) if chosen else None
                self.findings.extend(found.findings if found else ())
                points = {one.point for one in chosen}
                self.findings.extend(carry_records(giver, taker, self.application, points))
        if missed:
            where = ", ".join(sorted({name for ids in missed for name in ids}))
            message = f"{len(missed)} earlier snapshots are in {where} only, which is away"
            self.findings.append(finding("repository-behind", taker.name, message))
        return copied

    def catch_up(self) -> None:
        """Copy what a repository lacks of this point from one that has it: it may have failed, or
        been left behind as too slow, while a source was read."""
        if not self.snapshots:
            return
        sources = {one.source for one in self.snapshots}
        for name in self.application.settings.repositories:
            lacking = sources - {one.source for one in self.snapshots if one.repository == name}
            if not lacking:
                continue
            begun = time.monotonic()
            try:
                self._catch_up(name, lacking)
            except StrongroomError as error:
                LOG.debug("repository %s cannot be caught up", name, exc_info=True)
                self.findings.append(finding("repository-behind", name, str(error)))
            self.stages.append(Stage(f"catch up {name}", time.monotonic() - begun))

    def _catch_up(self, name: str, lacking: set[str]) -> None:
        taker = self.application.repository(name)
        for giver in self.repositories:
            having = {
                one.id: one
                for one in self.snapshots
                if one.repository == giver.name and one.source in lacking
            }
            if not having:
                continue
            chosen = [one for one in giver.snapshots().snapshots if one.id in having]
            copied = copy_recorded(self.application, giver, taker, chosen)
            self.findings.extend(copied.findings)
            for before, made in copied.snapshots:
                ref = replace(having[before.id], repository=name, id=made, added_bytes=0)
                self.snapshots.append(ref)
                lacking.discard(ref.source)

    def copy_ledger(self) -> None:
        """Put the ledger, with this run's record, where the run's snapshots are."""
        holders = {one.repository for one in self.snapshots}
        repositories = [
            self.application.repository(name)
            for name in self.application.settings.repositories
            if name in holders
        ]
        if repositories and self.record is not None:
            beside = {PATH: self.record.encode()}
            noticed = store_copies(
                self.application, repositories, self.point, self._locks, beside=beside
            )
            self.findings.extend(noticed)
            self.findings.extend(
                finding("point-unrecorded", one.subject, one.message) for one in noticed
            )

    def _parent(self, source: Source) -> SnapshotView | None:
        """The newest snapshot of the same source in the first repository that could be listed."""
        for snapshot in reversed(self._before.snapshots):
            if snapshot.application == self.application.name and snapshot.source == source.name:
                if not is_from_future(snapshot):
                    return SnapshotView(self.repositories[0], snapshot)
                self.findings.append(from_future(self.repositories[0].name, snapshot))
        return None

    def _tags(self, source: Source) -> list[str]:
        return [
            "strongroom",
            f"source:{source.name}",
            f"kind:{source.kind}",
            f"application:{self.application.name}",
            f"point:{self.point}",
        ]

    def fields(self, sources: Sequence[Source], seconds: float) -> dict[str, Any]:
        """The ledger's record; sources that were not reached are told by their absence."""
        return {
            "point": self.point,
            "wanted": [source.name for source in sources],
            "record": self.record.as_json() if self.record else None,
            "snapshots": [
                {
                    "source": one.source,
                    "repository": one.repository,
                    "id": one.id,
                    "tree": one.tree,
                    "bytes": one.bytes,
                    "added_bytes": one.added_bytes,
                }
                for one in self.snapshots
            ],
            "findings": [
                {**one.as_json(), "source": self._about.get(id(one))} for one in self.findings
            ],
            "errors": [{"source": name, **error_json(error)} for name, error in self.errors],
            "spaces": spaces_json(self.repositories),
            "seconds": round(seconds, 3),
        }
