"""Snapshots, what lies in them, and the bytes of one file."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, StorageError, StrongroomError
from strongroom.model import Finding, Severity, Verdict
from strongroom.repository import Node, Snapshot
from strongroom.service.application import Application
from strongroom.service.ledger_copy import is_copy
from strongroom.service.masking import cut, masked
from strongroom.service.pinning import Memory, Pin, remembered
from strongroom.service.rendering import time_json
from strongroom.service.selection import find, reading, survey

# Records of runs that brought a whole snapshot back and compared it.
_PROOF_KINDS = frozenset({"drill", "restore"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot with what the ledger knows about it."""

    repository: str
    snapshot: Snapshot
    verdict: Verdict
    proven_at: datetime | None
    pin: Pin | None = None

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        one = self.snapshot
        return {
            "id": one.id,
            "repository": self.repository,
            "source": one.source,
            "kind": one.kind,
            "captured_at": time_json(one.time),
            "bytes": one.size_bytes,
            "verdict": self.verdict.value,
            "proven_at": time_json(self.proven_at) if self.proven_at else None,
            "repaired": one.is_repaired,
            "imported": one.is_imported,
            "pinned": self.pin.as_json() if self.pin else None,
            "recovery_point": one.point,
            "tree": one.tree,
            "host": one.hostname,
            "paths": list(one.paths),
        }


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """The snapshots of an application, oldest first."""

    snapshots: tuple[Listed, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_status(self) -> int:
        """Partial when something that should be listed is not there or can't be read."""
        failed = any(one.severity is Severity.FAILURE for one in self.findings)
        return EXIT_PARTIAL if failed else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "snapshots": [one.as_json() for one in self.snapshots],
            "findings": [one.as_json() for one in self.findings],
        }


def snapshots(
    application: Application,
    *,
    sources: Sequence[str] = (),
    repositories: Sequence[str] = (),
    now: datetime | None = None,
) -> SnapshotReport:
    """What there is, of all sources and repositories or the named ones, with verdicts.

    A snapshot is PROVEN when the ledger says so and the proof is not older than `proof_age`;
    STALE when it is; FAILED after a failed drill, and when it was repaired: something is missing
    in it; UNKNOWN when nothing was tried.
    """
    surveyed = survey(application, repositories)
    known, memory = proofs(application), _memory(application)
    limit = (now or application.clock()) - application.settings.objectives.proof_age
    listed = []
    for one in surveyed.candidates:
        if is_copy(one.snapshot) or (sources and one.snapshot.source not in sources):
            continue
        at, verdict = known.get(one.snapshot.id, (None, Verdict.UNKNOWN))
        if verdict is Verdict.PROVEN and at is not None and at < limit:
            verdict = Verdict.STALE
        if one.snapshot.is_repaired:
            verdict = Verdict.FAILED
        pin = memory.pin_of(one.snapshot)
        listed.append(Listed(one.repository.name, one.snapshot, verdict, at, pin))
    return SnapshotReport(tuple(listed), surveyed.about(sources))


def proofs(application: Application) -> dict[str, tuple[datetime | None, Verdict]]:
    """The newest verdict on each snapshot by id; nothing when the ledger can't be read.

    What was proven of a store's past says nothing about what is there now.
    """
    found: dict[str, tuple[datetime | None, Verdict]] = {}
    try:
        for entry in application.ledger.entries():
            if entry.kind not in _PROOF_KINDS:
                continue
            verdict = str(entry.fields.get("verdict"))
            of_now = "store_as_of" not in entry.fields
            if entry.fields.get("reused_bytes") and verdict != Verdict.FAILED:
                continue  # not all of it was read from the store
            if of_now and verdict in Verdict.__members__:
                snapshot = str(entry.fields.get("snapshot"))
                # What a drill in parts found sound takes nothing away from a proof of the whole.
                if entry.fields.get("sample") and verdict != Verdict.FAILED and snapshot in found:
                    continue
                found[snapshot] = (entry.at, Verdict(verdict))
    except StorageError as error:
        application.say(f"verdicts are not known: {error}")
    return found


def _memory(application: Application) -> Memory:
    try:
        return remembered(application)
    except StrongroomError as error:
        application.say(f"pins are not known: {error}")
        return Memory()


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a listing: its path in the snapshot and its node."""

    path: bytes
    node: Node

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        node = self.node
        fields: dict[str, Any] = {
            "path": text(self.path),
            "type": node.type,
            "mode": f"{stat.S_IMODE(node.mode):04o}",
            "uid": node.uid,
            "gid": node.gid,
            "bytes": node.size,
            "modified_at": time_json(modified(node)),
        }
        if node.linktarget is not None:
            fields["target"] = text(node.linktarget)
        return fields


def ls(
    application: Application,
    wanted: str,
    path: str = "/",
    *,
    recursive: bool = False,
    repository: str | None = None,
) -> Iterator[Line]:
    """The entries of a directory in a snapshot, or of everything below it; a file alone."""
    with reading(find(application, wanted, repository=repository)) as view:
        base = b"/" + os.fsencode(path).strip(b"/")
        node = None if base == b"/" else view.node(base)
        if node is not None and node.type != "dir":
            yield Line(base, node)
        elif recursive:
            for inner, found in view.walk(base):
                yield Line(inner, found)
        else:
            prefix = base.rstrip(b"/") + b"/"
            for found in view.children(base):
                yield Line(prefix + found.name, found)


def dump(
    application: Application, wanted: str, path: str, *, repository: str | None = None
) -> Generator[bytes]:
    """The bytes of one file in a snapshot, in order, every piece verified. How many were given is
    noted, also when not all of them were taken."""
    given_bytes = 0
    with reading(find(application, wanted, repository=repository)) as view:
        try:
            for block in view.blocks(b"/" + os.fsencode(path).strip(b"/")):
                given_bytes += len(block)
                yield block
        finally:
            application.note("given", {"path": cut(masked(path)), "bytes": given_bytes})


def modified(node: Node) -> datetime:
    """When a node was last modified, in UTC, cut to microseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=node.mtime_ns // 1000)


def text(name: bytes) -> str:
    """A name for people and JSON: bytes that are no UTF-8 are escaped."""
    return name.decode("utf-8", "backslashreplace")
