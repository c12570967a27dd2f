"""Repair: damaged repositories made whole from what they still hold and from each other.

What is about to go is written down before it goes, as with prune: a snapshot that vanishes without
such a line is a failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strongroom.errors import (
    EXIT_FINE,
    EXIT_PARTIAL,
    BusyError,
    ConfigError,
    StorageError,
    StrongroomError,
)
from strongroom.evidence import Entry
from strongroom.model import Finding, finding
from strongroom.repository import Repository, Snapshot
from strongroom.repository.giver import Givers
from strongroom.repository.repair import IsCopy, RepairPlan, copy_by_id, plan_repair
from strongroom.repository.repair_execution import RepairReport, execute_repair
from strongroom.repository.touched import MOST_OF_ONE, Touched
from strongroom.service.application import Application

_MOST_RECORDED: Final = 1_000  # lost paths that go into the ledger


@dataclass(frozen=True, slots=True)
class Repaired:
    """One repository: what is wrong, and what was done about it (if anything)."""

    repository: str
    plan: RepairPlan
    drop_lost: bool
    done: RepairReport | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left that a snapshot needs and nobody has."""
        if self.done is not None and self.done.locked:
            return False
        settled = self.done is not None and self.drop_lost and not self.plan.malformed.count
        return self.plan.is_whole or settled

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        plan, done = self.plan, self.done or RepairReport()
        return {
            "repository": self.repository,
            "whole": self.is_whole,
            "plan": plan_json(plan, drop_lost=self.drop_lost),
            "done": self.done is not None,
            "healed_blobs": done.fetched_blobs,
            "moved_blobs": done.moved_blobs,
            "added_bytes": done.added_bytes,
            "snapshots": _made_json(done, MOST_OF_ONE),
            "dropped": done.dropped,
            "packs_deleted": done.deleted,
            "packs_locked": done.locked,
            "findings": [one.as_json() for one in (*plan.findings, *self.notes)],
        }


@dataclass(frozen=True, slots=True)
class RepairResult:
    """All repositories that were asked."""

    repositories: tuple[Repaired, ...]

    @property
    def exit_status(self) -> int:
        return EXIT_FINE if all(one.is_whole for one in self.repositories) else EXIT_PARTIAL

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {"repositories": [one.as_json() for one in self.repositories]}


def plan_json(plan: RepairPlan, *, drop_lost: bool) -> dict[str, Any]:  # Any: JSON values
    """What a plan says, for scripts and the ledger."""
    return {
        "empty": plan.is_empty(drop_lost=drop_lost),
        "packs": plan.packs,
        "bytes_read": plan.bytes_read,
        "unreadable_indexes": list(plan.unreadable_indexes),
        "packs_gone": list(plan.gone),
        "packs_damaged": [
            {
                "id": one.id,
                "bytes": one.size_bytes,
                "fault": one.fault,
                "whole_blobs": one.whole,
                "broken_blobs": one.broken,
            }
            for one in plan.damaged
        ],
        "packs_listed_anew": [pack for pack, _ in plan.listed_anew],
        "packs_listed_twice": list(plan.repeated),
        "moved_blobs": len(plan.moved),
        "fetched_blobs": {one.giver: len(one.locations) for one in plan.fetched},
        "snapshots_returning": [
            {"id": one.id, "from": one.giver, "copy": one.copy.id} for one in plan.returning
        ],
        "unreadable_snapshots": list(plan.unreadable_snapshots),
        "lost_blobs": len(plan.lost_data) + len(plan.lost_trees),
        "lost": plan.lost.as_json(),
        "malformed": plan.malformed.as_json(),
    }


def _made_json(report: RepairReport, most: int) -> list[dict[str, Any]]:  # Any: JSON values
    return [
        {
            "id": one.id,
            "source": one.snapshot.source,
            "from_id": one.former,
            "tree": one.snapshot.tree,
            "lacks": Touched(len(one.lacks), (one.former,), one.lacks).as_json(most),
        }
        for one in report.made
    ]


def repair(
    application: Application,
    name: str | None = None,
    *,
    dry_run: bool = False,
    givers: Sequence[str] = (),
    drop_lost: bool = False,
    read_data: bool = True,
) -> RepairResult:
    """Make one repository, or each, whole from itself and the others, or those that are named.

    Without `drop_lost`, nothing goes that is not safe elsewhere. ConfigError `usage` for a giver
    that is the repository itself; BusyError when others use a repository: then nothing was removed
    from it.
    """
    if name is not None and name in givers:
        raise ConfigError(
            "a repository gives nothing to itself", subject=name, code="usage",
            hint="Name another one with --from.",
        )  # fmt: skip
    names = [name] if name else list(application.settings.repositories)
    for one in names:
        application.repository(one)  # one that does not open is told before anything is changed
    workers = application.settings.engine.worker_count
    results = []
    for one in names:
        with contextlib.ExitStack() as reading:
            opened, noticed = _givers(application, one, givers, reading)
            run = _Run(application, one, Givers(opened, workers=workers), noticed)
            results.append(run.repair(dry_run=dry_run, drop_lost=drop_lost, read_data=read_data))
    return RepairResult(tuple(results))


def _givers(
    application: Application, name: str, wanted: Sequence[str], reading: contextlib.ExitStack
) -> tuple[list[Repository], list[Finding]]:
    """The other repositories that can be read, locked against pruning while `reading`, and a
    finding for each that can't; one that was asked for by its name must."""
    if wanted:
        opened = [application.repository(one).with_fresh_index() for one in wanted if one != name]
        for giver in opened:
            reading.enter_context(giver.reading())
        return opened, []
    others = [one for one in application.settings.repositories if one != name]
    found: list[Repository] = []
    failed: dict[str, StrongroomError] = {}
    try:
        found, failed = application.reachable(others) if others else ([], {})
    except StrongroomError as error:  # the first one's: none opens
        failed = dict.fromkeys(others, error)
    opened = []
    for giver in found:
        try:
            reading.enter_context(giver.reading())
        except (BusyError, StorageError) as error:
            failed[giver.name] = error
        else:
            opened.append(giver.with_fresh_index())
    return opened, [finding("repository-unreachable", one, str(why)) for one, why in failed.items()]


class _Run:
    """The repair of one repository."""

    def __init__(
        self, application: Application, name: str, givers: Givers, noticed: Sequence[Finding]
    ) -> None:
        self._application, self._name, self._givers = application, name, givers
        self._noticed = tuple(noticed)
        # An earlier repair of this run may have changed it.
        self._repository = application.repository(name).with_fresh_index()

    def repair(self, *, dry_run: bool, drop_lost: bool, read_data: bool) -> Repaired:
        application = self._application
        workers = application.settings.engine.worker_count
        with self._repository.reading():
            plan = plan_repair(
                self._repository,
                self._givers,
                read_data=read_data,
                is_copy=_known_copies(application),
                workers=workers,
                progress=application.progress,
            )
        if dry_run or plan.is_empty(drop_lost=drop_lost):
            done = None if dry_run else RepairReport()
            return Repaired(self._name, plan, drop_lost, done, self._noticed)
        report = RepairReport()
        size_bytes = sum(one.entry.length for one in plan.moved)
        size_bytes += sum(one.entry.size_bytes for own in plan.fetched for one in own.locations)
        application.progress.begin(f"repair {self._name}", size_bytes or None)
        try:
            execute_repair(
                self._repository,
                plan,
                self._givers,
                report=report,
                before_dropping=lambda: self._write_down(plan, report),
                drop_lost=drop_lost,
                workers=workers,
                progress=application.progress,
            )
        finally:
            application.progress.end()
            recorded = application.record("repaired", self._fields(plan, report, drop_lost))
        notes = (*self._noticed, *([recorded] if isinstance(recorded, Finding) else []))
        return Repaired(self._name, plan, drop_lost, report, notes)

    def _write_down(self, plan: RepairPlan, report: RepairReport) -> None:
        """StorageError when it can't be written what is about to go."""
        intent = self._application.record(
            "repair",
            {
                "repository": self._name,
                "drop": list(report.dropping),
                "snapshots": _made_json(report, _MOST_RECORDED),
                "lost": plan.lost.as_json(_MOST_RECORDED),
            },
        )
        if not isinstance(intent, Entry):
            raise StorageError(
                f"what would be dropped cannot be written down, so nothing is: {intent.message}",
                subject=intent.subject,
            )

    def _fields(
        self, plan: RepairPlan, report: RepairReport, drop_lost: bool
    ) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self._name,
            "drop_lost": drop_lost,
            "unreadable_indexes": len(plan.unreadable_indexes),
            "packs_gone": list(plan.gone[:_MOST_RECORDED]),
            "packs_damaged": [one.id for one in plan.damaged[:_MOST_RECORDED]],
            "packs_listed_anew": len(plan.listed_anew),
            "moved_blobs": report.moved_blobs,
            "healed_blobs": report.fetched_blobs,
            "givers": [one.giver for one in plan.fetched],
            "dropped": report.dropped,
            "packs_deleted": len(report.deleted),
            "locked": report.locked,
            "lost_blobs": len(plan.lost_data) + len(plan.lost_trees),
        }


@dataclass(frozen=True, slots=True)
class _Capture:
    """What the ledger knows of a snapshot, whichever repository holds it."""

    source: str
    tree: str
    point: str | None
    former: str | None = None  # what it is a copy of

    def is_of(self, one: Snapshot) -> bool:
        if self.former is not None and copy_by_id(self.former, one):
            return True
        same = (one.source, one.tree, one.point) == (self.source, self.tree, self.point)
        return same and self.point is not None


def _known_copies(application: Application) -> IsCopy:
    """Whether a snapshot is a copy of an unreadable one: by its origin, or as the ledger tells."""
    known: dict[str, _Capture] = {}
    try:
        for entry in application.ledger.entries():
            if entry.kind in ("backup", "import", "copy", "repair"):
                for fields in entry.fields.get("snapshots", ()):
                    known[str(fields["id"])] = _capture(fields, entry.fields.get("point"), known)
    except StrongroomError as error:
        application.say(f"what was captured when is not known: {error}")

    def is_copy(unreadable: str, one: Snapshot) -> bool:
        capture = known.get(unreadable)
        return copy_by_id(unreadable, one) or (capture is not None and capture.is_of(one))

    return is_copy


def _capture(
    fields: Mapping[str, Any],  # Any: JSON values
    point: str | None,
    known: Mapping[str, _Capture],
) -> _Capture:
    former = fields.get("from_id")
    if former is not None and former in known:
        point = known[former].point
    return _Capture(str(fields.get("source")), str(fields.get("tree")), point, former)
