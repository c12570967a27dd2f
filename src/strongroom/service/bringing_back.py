"""Bringing one source of a recovery back: from whichever copy gives it, beside its place, proven,
and then under its name.

Invariant: the journal says that it is proven before it gets its name, and that it has it after.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from strongroom.errors import IntegrityError, StorageError, StrongroomError, TargetError
from strongroom.model import Finding, Progress, Verdict, finding
from strongroom.recovery import Outcome, restore
from strongroom.recovery.place import Database, Place, Tree
from strongroom.repository import SnapshotView
from strongroom.service.proof import with_findings
from strongroom.service.recovery_ground import Ground
from strongroom.service.recovery_journal import Brought, Journal
from strongroom.service.restoration import shown
from strongroom.service.selection import Candidate
from strongroom.sources import Source

__all__ = ["Bringing", "Done", "Result", "place_of"]


@dataclass(slots=True)
class Result:
    """What one source came to in this run."""

    brought: Brought | None = None
    copy: Candidate | None = None
    outcome: Outcome | None = None
    error: StrongroomError | None = None
    failures: list[Finding] = field(default_factory=list)


Done: TypeAlias = "queue.Queue[tuple[str, Result | BaseException]]"


def place_of(ground: Ground, source: Source, key: str) -> Place:
    """Where a source goes in the recovery of this key."""
    target = ground.targets[source.name]
    return Database(target, key) if source.kind == "postgres" else Tree(Path(target), key)


class Bringing:
    """Brings one source back, in a thread of its own."""

    def __init__(
        self,
        source: Source,
        ground: Ground,
        copies: Sequence[Candidate],
        journal: Journal,
        done: Done,
        progress: Progress,
    ) -> None:
        self._source, self._copies, self._journal = source, copies, journal
        self._place = place_of(ground, source, journal.key)
        self._target = ground.targets[source.name]
        self._done, self._progress = done, progress

    def __call__(self) -> None:
        result: Result | BaseException = Result()
        try:
            result = self._bring()
        except StrongroomError as error:
            result = Result(error=error)
        except BaseException as error:
            result = error
        finally:
            self._done.put((self._source.name, result))

    def _bring(self) -> Result:
        known = self._journal.brought.get(self._source.name)
        if known is not None:  # proven by an earlier run, which was stopped before the name
            self._place.settle()
            brought = replace(known, settled=True)
            self._journal.keep(brought)
            return Result(brought)
        failures: list[Finding] = []
        last: StrongroomError | None = None
        for copy in self._copies:
            target = self._prepare()
            view = SnapshotView(copy.repository, copy.snapshot, self._progress)
            try:
                outcome = restore(self._source, view, target)
                by_hand = _by_hand(self._source, view)
            except (StorageError, IntegrityError) as error:
                last = error
                message = f"{self._source.name}: {error}"
                failures.append(finding("recovery-copy-failed", copy.repository.name, message))
                self._place.discard()
                continue
            except BaseException:
                self._place.discard()  # a disk that ran full is not left so
                raise
            return self._keep(copy, outcome, by_hand, failures)
        assert last is not None, "there is a copy of each source"
        raise last

    def _prepare(self) -> str:
        try:
            target = self._place.prepare()
        except TargetError as error:
            if self._source.name not in self._journal.loading:
                raise
            raise TargetError(
                f"{error.message}; an earlier run was stopped while it loaded it",
                subject=error.subject,
                code=error.code,
                hint="Drop this database and create it again, empty; then run the command again.",
            ) from error
        if self._place.in_place and self._source.name not in self._journal.loading:
            self._journal.load_in_place(self._source.name)
        return target

    def _keep(
        self, copy: Candidate, outcome: Outcome, by_hand: tuple[str, ...], failures: list[Finding]
    ) -> Result:
        """What isn't what was captured does not get its name, and is restored again by a next
        run."""
        judged = with_findings(outcome, copy.repository.salvage_findings)
        verdict = judged.verdict or Verdict.UNKNOWN
        brought = Brought(
            self._source.name,
            copy.repository.name,
            copy.snapshot.id,
            shown(self._target),
            verdict,
            outcome.checked,
            outcome.size_bytes,
            judged.findings,
            outcome.stages,
            by_hand,
            in_place=self._place.in_place,
        )
        if verdict is not Verdict.FAILED:
            self._journal.keep(brought)
            self._place.settle()
            brought = replace(brought, settled=True)
            self._journal.keep(brought)
        return Result(brought, copy, outcome, failures=failures)


def _by_hand(source: Source, view: SnapshotView) -> tuple[str, ...]:
    """What the snapshot knows of and could not take along."""
    from strongroom.sources.database import DatabaseSource

    if not isinstance(source, DatabaseSource):
        return ()
    return tuple(
        f"{source.name}: {one.kind} ({one.subject}): {one.explanation}"
        for one in source.coverage(view)
        if one.status in ("needs-action", "not-exportable")
    )
