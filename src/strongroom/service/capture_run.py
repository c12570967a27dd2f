"""A run that captures: all that a backup comes to, one source after another.

What comes of a source is a value of its own (`Part`), which can be written down and taken up again:
so a run that is killed between two sources goes on in another process where it stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model import Finding, SnapshotRef, Stage, finding
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
from strongroom.service.application import LOG, Application
from strongroom.service.capture_part import Part
from strongroom.service.catching_up import catch_up
from strongroom.service.copying import copy_recorded
from strongroom.service.escrow import compare
from strongroom.service.ledger_copy import broken, store_copies, take_up
from strongroom.service.point import new_point_id
from strongroom.service.point_record import PATH, PointRecord, PointSource, parse_record
from strongroom.service.precedent import policies_json
from strongroom.service.rendering import error_json, time_json
from strongroom.service.room import spaces_json
from strongroom.service.runbook import TAG, beside_point
from strongroom.service.selection import (
    from_future,
    is_from_future,
    stored_snapshots,
    vanished,
)
from strongroom.sources import CaptureContext, Captured, Source


class CaptureRun:
    """What a backup has come to so far.

    In order: `begin`, `capture` of each source, `complete`, `conclude`, all while `locked`. A run
    that an earlier process began is opened with its `point` and `begun_at`, and is given by `take`
    what came of sources already.
    """

    @classmethod
    def open(
        cls,
        application: Application,
        names: Sequence[str] = (),
        *,
        point: str | None = None,
        begun_at: datetime | None = None,
    ) -> CaptureRun:
        """The run of the named sources, or all; raises the first error when no repository opens."""
        begun_at = begun_at or application.clock()
        # A key costs an scrypt; what the sources need is imported meanwhile.
        with ThreadPoolExecutor(1, thread_name_prefix="open") as pool:
            opening = pool.submit(application.reachable)
            sources = application.sources(names)
            repositories, unreachable = opening.result()
        run = cls(application, sources, repositories, point or new_point_id(begun_at), begun_at)
        for name, error in unreachable.items():
            run.findings.append(finding("repository-failed", name, str(error)))
        return run

    def __init__(
        self,
        application: Application,
        sources: Sequence[Source],
        repositories: Sequence[Repository],
        point: str,
        begun_at: datetime,
    ) -> None:
        self.application = application
        self.sources = sources
        self.point = point
        self.begun_at = begun_at
        self.record: PointRecord | None = None
        self._parts: list[PointSource] = []
        self._moment: datetime | None = None
        self.snapshots: list[SnapshotRef] = []
        self.findings: list[Finding] = []
        # Of which source they are, as far as they are of one.
        self._about: dict[Finding, str] = {}
        self.errors: list[tuple[str, StrongroomError]] = []
        self.stages: list[Stage] = []
        # Another process may have begun it.
        before = max(0.0, (application.clock() - begun_at).total_seconds())
        self._begun = time.monotonic() - before
        self._locks: dict[str, Lock] = {}
        self.repositories, self._before = self._listed(repositories)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    def begin(self) -> None:
        """What is to be settled, and told, before the first source is read."""
        self.findings.extend(take_up(self.application, self.repositories))
        self.findings.extend(broken(self.application))
        self._notice()

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

    def _notice(self) -> None:
        """What is wrong with earlier snapshots, as far as this host's ledger knows, is told now,
        not at the next drill."""
        first = self.repositories[0].name
        self.findings.extend(self._before.findings)
        stored = stored_snapshots(self.application).get(first, {})
        gone = [one for _, one in vanished(first, stored, self._before)]
        if gone:
            # Another run may have stored them since the listing, and recorded them.
            listed = self.repositories[0].snapshots()
            gone = [one for _, one in vanished(first, stored, listed)]
        self.findings.extend(gone)
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

    def capture(self, source: Source) -> Part:
        """One source into all repositories; its error is kept, not raised."""
        begun = time.monotonic()
        told, stored = len(self.findings), len(self.snapshots)
        described, error = None, None
        try:
            described = self._capture(source)
        except StrongroomError as known:
            error = known
        except Exception as unforeseen:  # the edge of a step: a bug in one must not cost the others
            # Its text is for --verbose alone: the ledger must never hold what it may quote.
            error = StrongroomError(f"something that nobody foresaw: {type(unforeseen).__name__}")
            error.__cause__ = unforeseen
        if error is not None:
            self.application.say(f"{source.name}: {error}")
        part = Part(
            source.name,
            tuple(self.snapshots[stored:]),
            described,
            tuple(self.findings[told:]),
            tuple(one for one in self.findings[told:] if self._about.get(one) == source.name),
            error,
            time.monotonic() - begun,
        )
        del self.findings[told:], self.snapshots[stored:]
        self.take(part)
        return part

    def take(self, part: Part) -> None:
        """What came of a source counts from here on; what is captured after the first database is
        seen from its moment."""
        self.findings.extend(part.findings)
        self._about.update(dict.fromkeys(part.own, part.source))
        self.snapshots.extend(part.snapshots)
        self.stages.append(Stage(part.source, part.seconds))
        if part.error is not None:
            self.errors.append((part.source, part.error))
        if part.described is not None:
            self._parts.append(part.described)
            moment = part.described.facts.get("moment_at")
            if self._moment is None and moment is not None:
                self._moment = datetime.fromisoformat(moment)

    def _capture(self, source: Source) -> PointSource:
        application, progress = self.application, self.application.progress
        begun, now = time.monotonic(), application.clock()
        parent = self._parent(source)
        writer = SnapshotWriter(self.repositories, application.writer_options(), locks=self._locks)
        progress.begin(source.name, parent.snapshot.size_bytes if parent else None)
        try:
            with writer:
                context = CaptureContext(now, parent, progress, self._moment)
                captured = source.capture(writer, context)
                ended_at = application.clock()
                self._found(source, captured.findings)
                committed = writer.commit(
                    captured.root,
                    paths=source.paths,
                    tags=self._tags(source),
                    time=now,
                    parent=parent.snapshot.id if parent else None,
                    summary={
                        "backup_start": time_json(now),
                        "backup_end": time_json(application.clock()),
                        "total_files_processed": captured.files,
                        "total_bytes_processed": captured.size_bytes,
                    },
                )
        finally:
            progress.end()
            self.findings.extend(writer.findings)
            self._gather_from_locks()
        self._compare_size(source, captured.size_bytes)
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
        return _described(source, captured, now, ended_at)

    def complete(self) -> None:
        """What is to be done when all sources were read."""
        self._look_for_references()
        self._catch_up_all()
        self._catch_up_earlier()

    def conclude(self) -> None:
        """What the run has come to goes into the ledger, which goes where the snapshots are."""
        self._conclude_record()
        # Whoever captures has the secrets; whoever asks how things stand may not.
        if (unrecorded := compare(self.application, self.application.clock())) is not None:
            self.findings.append(unrecorded)
        recorded = self.application.record("backup", self._fields())
        if isinstance(recorded, Finding):
            self.findings.append(recorded)
            message = f"its record goes with the ledger: {recorded.message}"
            self.findings.append(finding("point-unrecorded", self.point, message))
        else:
            self._copy_ledger()

    def resume_conclusion(self) -> bool:
        """Whether an earlier process had this run in the ledger already; then only the copies are
        made once more, as far as they lack, with the very record that the ledger has."""
        for entry in self.application.ledger.entries("backup"):
            if entry.fields.get("point") == self.point:
                recorded = entry.fields["record"]
                self.record = parse_record(recorded) if recorded else None
                self._copy_ledger()
                return True
        return False

    def _conclude_record(self) -> None:
        """The point's record; none when nothing was captured."""
        if not self.snapshots:
            return
        wanted = tuple(source.name for source in self.sources)
        failed = {name: error.code for name, error in self.errors}
        present = {one.name for one in self._parts}
        self.record = PointRecord(
            self.point,
            self.application.name,
            self.begun_at,
            self.application.clock(),
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

    def _look_for_references(self) -> None:
        """Files that a captured database refers to and that are not there, told at once."""
        if not self.application.settings.references:
            return
        from strongroom.service.references import check_live

        captured = [
            one for one in self.sources if one.name in {ref.source for ref in self.snapshots}
        ]
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
        self._about.update(dict.fromkeys(findings, source.name))

    def _catch_up_earlier(self) -> None:
        """Copy what repositories that are here today missed in earlier runs."""
        for taker in self.repositories:
            begun = time.monotonic()
            copies, findings = catch_up(self.application, taker, self.repositories)
            self.findings.extend(findings)
            if copies or findings:
                self.stages.append(Stage(f"catch up {taker.name}", time.monotonic() - begun))

    def _catch_up_all(self) -> None:
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

    def _copy_ledger(self) -> None:
        """Put the ledger, with this run's record, where the run's snapshots are."""
        holders = {one.repository for one in self.snapshots}
        repositories = [
            self.application.repository(name)
            for name in self.application.settings.repositories
            if name in holders
        ]
        if repositories and self.record is not None:
            runbook, found = beside_point(self.application)
            self.findings.extend(found)
            noticed = store_copies(
                self.application,
                repositories,
                self.point,
                self._locks,
                beside={PATH: self.record.encode(), **runbook},
                tags=[TAG] if runbook else [],
            )
            self.findings.extend(noticed)
            if runbook:
                self.findings.extend(
                    finding("runbook-unstored", one.subject, one.message) for one in noticed
                )
            self.findings.extend(
                finding("point-unrecorded", one.subject, one.message) for one in noticed
            )

    def _parent(self, source: Source) -> SnapshotView | None:
        """The newest snapshot of the same source in the first repository that could be listed."""
        for snapshot in reversed(self._before.snapshots):
            if snapshot.application == self.application.name and snapshot.source == source.name:
                if not is_from_future(snapshot, self.application.clock()):
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

    def _fields(self) -> dict[str, Any]:  # Any: JSON values
        """The ledger's record; sources that were not reached are told by their absence."""
        return {
            "point": self.point,
            "wanted": [source.name for source in self.sources],
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
                {**one.as_json(), "source": self._about.get(one)} for one in self.findings
            ],
            "errors": [{"source": name, **error_json(error)} for name, error in self.errors],
            "policies": policies_json(
                self.application.settings, [source.name for source in self.sources]
            ),
            "spaces": spaces_json(self.repositories),
            "seconds": round(self.seconds, 3),
        }


def _described(
    source: Source, captured: Captured, begun_at: datetime, ended_at: datetime
) -> PointSource:
    return PointSource(
        source.name, source.kind, captured.root, begun_at, ended_at, {}, captured.facts
    )
