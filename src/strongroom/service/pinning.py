"""Pins: snapshots that stay whatever the policies say, until somebody takes the pin away.

A pin is a record of the ledger and holds for all copies of a capture, in every repository: the
snapshots stay as they are, since a changed tag would be a new snapshot with a new id. See
docs/decisions/0006-pins-in-the-ledger.md.

Invariant: a pin that was accepted holds against a prune that runs at the same time. It is written
under a lock that keeps prune from removing anything, and prune looks at the ledger once more under
its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from strongroom.errors import ConfigError, StorageError
from strongroom.evidence import Entry
from strongroom.model import Finding
from strongroom.repository import Snapshot
from strongroom.service.actor import actor
from strongroom.service.application import Application
from strongroom.service.ledger_copy import store_copies_in, tells_of_snapshots
from strongroom.service.rendering import time_json
from strongroom.service.selection import (
    Candidate,
    Capture,
    Survey,
    capture_of,
    choose,
    recorded_capture,
    survey,
)

# The kinds of records that tell of captures and pins.
_TELLING: Final = frozenset({"backup", "import", "copy", "pin", "unpin"})


@dataclass(frozen=True, slots=True)
class Pin:
    """Who has pinned a capture, when and why; `ids` are those of the copies that were seen."""

    at: datetime
    by: str
    reason: str
    ids: frozenset[str]

    def as_json(self) -> dict[str, str]:
        return {"at": time_json(self.at), "by": self.by, "reason": self.reason}


@dataclass(slots=True)
class Memory:
    """What the ledger tells about snapshots that retention has to respect."""

    pins: dict[Capture, Pin] = field(default_factory=dict)
    _unpinned: set[Capture] = field(default_factory=set)
    _captures: set[Capture] = field(default_factory=set)
    _ids: set[str] = field(default_factory=set)
    _begun_at: datetime | None = None

    def pin_of(self, snapshot: Snapshot) -> Pin | None:
        return self.pins.get(capture_of(snapshot))

    def lacks(self, snapshot: Snapshot) -> bool:
        """Whether the ledger was begun after this capture and knows nothing of it: what was told
        about it before, pins and proofs, went with the ledger that was before."""
        if self._begun_at is not None and snapshot.time >= self._begun_at:
            return False
        known = {snapshot.id, snapshot.original} & self._ids
        return not known and capture_of(snapshot) not in self._captures | self._unpinned

    def add(self, entry: Entry, application: str) -> None:
        """Take the next record in."""
        if not tells_of_snapshots(entry):
            return
        self._begun_at = self._begun_at or entry.at
        if entry.kind not in _TELLING:
            return
        fields = entry.fields
        if fields.get("application") != application:
            return
        if entry.kind in ("backup", "import", "copy", "pin"):
            self._ids |= {str(one["id"]) for one in fields.get("snapshots", ())}
        if entry.kind in ("backup", "import"):
            point = fields.get("point")
            stored = fields.get("snapshots", ())
            self._captures |= {(one["source"], point, str(one["tree"])) for one in stored}
        elif entry.kind == "pin":
            ids = frozenset(str(one["id"]) for one in fields.get("snapshots", ()))
            pin = Pin(entry.at, str(fields.get("by", "")), str(fields.get("reason", "")), ids)
            self.pins[recorded_capture(entry)] = pin
        elif entry.kind == "unpin":
            self.pins.pop(recorded_capture(entry), None)
            self._unpinned.add(recorded_capture(entry))


def remembered(application: Application) -> Memory:
    """What the ledger tells; raises when it cannot be read."""
    memory = Memory()
    for entry in application.ledger.entries():
        memory.add(entry, application.name)
    return memory


@dataclass(frozen=True, slots=True)
class Decided:
    """One capture that was pinned or unpinned: the id that was meant, and its copies as
    (repository, id)."""

    snapshot: str
    capture: Capture
    copies: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        source, point, _ = self.capture
        copies = [{"repository": name, "id": one} for name, one in self.copies]
        return {"id": self.snapshot, "source": source, "recovery_point": point, "copies": copies}

    def as_record(self, reason: str) -> dict[str, Any]:  # Any: JSON values
        """What the ledger gets. The source stands at each copy, as in records of captures."""
        source, point, tree = self.capture
        copies = [{"repository": name, "id": one, "source": source} for name, one in self.copies]
        return {
            "snapshot": self.snapshot,
            "source": source,
            "point": point,
            "tree": tree,
            "snapshots": copies,
            "reason": reason,
            "by": actor(),
        }


@dataclass(frozen=True, slots=True)
class Pinned:
    """What was decided, and which repositories were not asked."""

    decided: tuple[Decided, ...]
    reason: str
    findings: tuple[Finding, ...]

    def as_json(self, word: str) -> Mapping[str, Any]:  # Any: JSON values
        return {
            word: [one.as_json() for one in self.decided],
            "reason": self.reason,
            "findings": [one.as_json() for one in self.findings],
        }


def pin(application: Application, wanted: Sequence[str], *, reason: str = "") -> Pinned:
    """Let these snapshots and all copies of them stay until they are unpinned.

    Each is the beginning of an id, or `latest:SOURCE`. StorageError `snapshot-missing` when one
    is not there; BusyError while a prune removes.
    """
    surveyed = survey(application)
    chosen = [choose(surveyed, one) for one in wanted]
    for one in chosen:
        if one.candidate.snapshot.source is None:
            raise ConfigError(
                "another tool made it, so retention never drops it",
                subject=one.candidate.snapshot.short_id,
                code="usage",
                hint="Leave it as it is.",
            )
    decided = [_pin(application, one.candidate, one.copies, reason) for one in chosen]
    return _pinned_everywhere(application, decided, reason, surveyed)


def _pin(
    application: Application, meant: Candidate, copies: Sequence[Candidate], reason: str
) -> Decided:
    with contextlib.ExitStack() as stack:
        for repository in {one.repository.name: one.repository for one in copies}.values():
            stack.enter_context(repository.reading(confirmed=True))
        there = tuple((one.repository.name, one.snapshot.id) for one in copies if _is_there(one))
        if not there:
            raise StorageError(
                "it has been removed since", subject=meant.snapshot.id, code="snapshot-missing"
            )
        decided = Decided(meant.snapshot.id, capture_of(meant.snapshot), there)
        application.must_record("pin", decided.as_record(reason))
    return decided


def _is_there(one: Candidate) -> bool:
    try:
        one.repository.storage.size(f"snapshots/{one.snapshot.id}")
    except StorageError as error:
        if error.code != "store-missing":
            raise
        return False
    return True


def unpin(application: Application, wanted: Sequence[str], *, reason: str = "") -> Pinned:
    """Leave these snapshots and all copies of them to the policies again.

    Also those that nobody has pinned and that stay because they are older than the ledger.
    ConfigError `usage` when there is nothing to take away.
    """
    memory = remembered(application)
    surveyed = survey(application)
    chosen = [_pinned(memory, surveyed, one) for one in wanted]
    for one in chosen:
        application.must_record("unpin", one.as_record(reason))
    return _pinned_everywhere(application, chosen, reason, surveyed)


def _pinned_everywhere(
    application: Application, decided: Sequence[Decided], reason: str, surveyed: Survey
) -> Pinned:
    """Pins are lost with the host unless the repositories know them."""
    names = (name for one in decided for name, _ in one.copies)
    uncopied = store_copies_in(application, names)
    return Pinned(tuple(decided), reason, (*surveyed.unreachable, *uncopied))


def _pinned(memory: Memory, surveyed: Survey, wanted: str) -> Decided:
    try:
        choice = choose(surveyed, wanted)
    except StorageError:
        # A pin outlives its snapshot, and can be taken away then, too.
        begin = wanted.lower()
        meant = {
            capture: one
            for capture, pin in memory.pins.items()
            for one in pin.ids
            if begin and one.startswith(begin)
        }
        if len(meant) != 1 or any(one.snapshot.id.startswith(begin) for one in surveyed.candidates):
            raise
        [(capture, snapshot_id)] = meant.items()
        return Decided(snapshot_id, capture, ())
    snapshot = choice.candidate.snapshot
    if memory.pin_of(snapshot) is None and not memory.lacks(snapshot):
        raise ConfigError(
            "it is not pinned",
            subject=snapshot.short_id,
            code="usage",
            hint="Look at `strongroom snapshots`, which shows what is.",
        )
    copies = tuple((one.repository.name, one.snapshot.id) for one in choice.copies)
    return Decided(snapshot.id, capture_of(snapshot), copies)
