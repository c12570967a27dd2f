"""Bringing the sources of a recovery back, all at the same time: each from whichever copy gives it,
beside its place, proven, and then under its name.

Invariants: the journal says that a source is proven before it gets its name, and that it has it
after; an interrupt breaks all of them off, and removes what they have not finished.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from strongroom.errors import (
    BusyError,
    IntegrityError,
    StorageError,
    StrongroomError,
    TargetError,
)
from strongroom.model import Finding, Progress, Verdict, finding
from strongroom.postgres.crew import Crews
from strongroom.recovery import Outcome, restore
from strongroom.recovery.place import Database, Place, Tree
from strongroom.repository import SnapshotView
from strongroom.service.proof import with_findings
from strongroom.service.recovery_ground import Ground
from strongroom.service.recovery_journal import Brought, Journal
from strongroom.service.recovery_standing import keep_state, look_again, marked_changed
from strongroom.service.restoration import shown
from strongroom.service.selection import Candidate
from strongroom.sources import Source

__all__ = ["Copies", "Result", "bring_all", "by_hand", "held_readable", "place_of"]

_LOOK_SECONDS: Final = 0.5
# How long an interrupted run waits for what it has begun to be removed again.
_CLEAN_SECONDS: Final = 20.0

# In the words of the system, of ours, and of git.
_NO_SPACE: Final = re.compile(r"no space (is )?left|quota exceeded|out of diskspace", re.IGNORECASE)

Copies: TypeAlias = Mapping[str, Sequence[Candidate]]
"""Each source's copies, in the order in which to try them."""


@dataclass(slots=True)
class Result:
    """What one source came to in this run."""

    brought: Brought | None = None
    copy: Candidate | None = None
    outcome: Outcome | None = None
    error: StrongroomError | None = None
    failures: list[Finding] = field(default_factory=list)


_Done: TypeAlias = "queue.Queue[tuple[str, Result | BaseException]]"


def place_of(ground: Ground, source: Source, key: str) -> Place:
    """Where a source goes in the recovery of this key."""
    target = ground.targets[source.name]
    return Database(target, key) if source.kind == "postgres" else Tree(Path(target), key)


@contextlib.contextmanager
def held_readable(copies: Copies) -> Iterator[tuple[Copies, list[Finding]]]:
    """The copies in repositories that nobody prunes meanwhile, and which of them could not be
    locked: those are left out. Raises the first error when a source is left without a copy."""
    repositories = {one.repository.name: one.repository for of in copies.values() for one in of}
    failed: dict[str, StrongroomError] = {}
    with contextlib.ExitStack() as stack:
        for name, repository in repositories.items():
            try:
                stack.enter_context(repository.reading())
            except (BusyError, StorageError, IntegrityError) as error:
                failed[name] = error
        usable = {
            name: [one for one in of if one.repository.name not in failed]
            for name, of in copies.items()
        }
        for name, left in usable.items():
            if not left:
                raise failed[copies[name][0].repository.name]
        told = [finding("repository-unreachable", name, str(e)) for name, e in failed.items()]
        yield usable, told


def bring_all(
    sources: Sequence[Source],
    ground: Ground,
    copies: Copies,
    journal: Journal,
    progress: Progress,
    took: Callable[[str, Result], None],
    *,
    anyway: bool = False,
) -> None:
    """Bring these sources back, each in a thread of its own; `took` gets what came of each, in
    this thread. With `anyway`, what is not what was captured gets its name, too. Whatever else
    than an error of ours ends it ends them all."""
    work = _Work(ground, journal, progress, anyway)
    threads = []
    for source in sources:
        bring = _Bringing(source, copies[source.name], work)
        thread = threading.Thread(target=bring, name=f"recover {source.name}", daemon=True)
        thread.start()
        threads.append(thread)
    waiting = len(threads)
    try:
        while waiting:
            with contextlib.suppress(queue.Empty):  # looks up, so that signals get through
                name, result = work.done.get(timeout=_LOOK_SECONDS)
                if not isinstance(result, Result):
                    raise result
                waiting -= 1
                took(name, result)
    except BaseException:
        work.interrupt()
        until = time.monotonic() + _CLEAN_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        raise


class _Work:
    """What the threads have in common. It is a `Progress`, which whoever reads or writes tells how
    far it is: there an interrupt ends it."""

    def __init__(self, ground: Ground, journal: Journal, progress: Progress, anyway: bool) -> None:
        self.ground, self.journal, self.anyway = ground, journal, anyway
        self.done: _Done = queue.Queue()
        self.crews = Crews()
        self._progress = progress
        self._interrupted = threading.Event()

    def now(self) -> datetime:
        return self.ground.application.clock()

    def interrupt(self) -> None:
        """All is to end."""
        self._interrupted.set()
        self.crews.interrupt()

    def go_on(self) -> None:
        """StrongroomError `interrupted` once all is to end."""
        if self._interrupted.is_set():
            raise StrongroomError("the run was cancelled", code="interrupted")

    def begin(self, stage: str, total_bytes: int | None) -> None:
        self._progress.begin(stage, total_bytes)

    def advance(self, bytes_done: int, items_done: int = 0) -> None:
        self.go_on()
        self._progress.advance(bytes_done, items_done)

    def end(self) -> None:
        self._progress.end()


class _Bringing:
    """Brings one source back."""

    def __init__(self, source: Source, copies: Sequence[Candidate], work: _Work) -> None:
        self._source, self._copies, self._work = source, copies, work
        self._journal = work.journal
        self._place = place_of(work.ground, source, work.journal.key)
        self._target = work.ground.targets[source.name]

    def __call__(self) -> None:
        result: Result | BaseException = Result()
        try:
            with self._work.crews.gathering():
                result = self._bring()
        except StrongroomError as error:
            result = Result(error=error)
        except BaseException as error:
            result = error
        finally:
            self._work.done.put((self._source.name, result))

    def _bring(self) -> Result:
        known = self._journal.brought.get(self._source.name)
        if known is not None and self._may_settle(known):
            # Compared by an earlier run, which was stopped before the name, or declined to give it.
            at = self._place.now_at()
            _, told = look_again(self._work.ground, self._journal, self._source, at)
            if not told:
                return Result(self._settle(known))
            if at == self._target:  # it has its name already, and is nothing of ours to remove
                return Result(self._settle(marked_changed(known, told)))
            self._journal.forget(self._source.name)
        failures: list[Finding] = []
        last: StrongroomError | None = None
        for copy in self._copies:
            begun_at = self._work.now()
            target = self._prepare(failures)
            view = SnapshotView(copy.repository, copy.snapshot, self._work)
            try:
                outcome = restore(self._source, view, target)
                left = by_hand(self._source, view, self._work.ground.given_role())
                self._work.go_on()  # what was broken off proves nothing
            except (StorageError, IntegrityError) as error:
                last = error
                message = f"{self._source.name}: {error}"
                failures.append(finding("recovery-copy-failed", copy.repository.name, message))
                self._discard()
                continue
            except BaseException as error:
                self._discard()  # a disk that ran full is not left so
                if isinstance(error, TargetError) and _is_about_space(error):
                    error.hint = "Free space there, then run the command again: it goes on."
                raise
            brought = self._brought(copy, outcome, left, begun_at)
            return Result(self._keep(brought, target), copy, outcome, failures=failures)
        assert last is not None, "there is a copy of each source"
        raise last

    def _prepare(self, failures: Sequence[Finding]) -> str:
        """The target, made empty. What was loaded in place stays there, whether an earlier run was
        stopped or a copy has failed in this one."""
        name = self._source.name
        try:
            target = self._place.prepare()
        except TargetError as error:
            if name not in self._journal.loading:
                raise
            why, more = "an earlier run has begun to load it and was stopped", ""
            if failures:
                failed = failures[-1]
                why = f"the copy in {failed.subject} failed while it was loaded ({failed.message})"
                more = ", with --repository and the name of another one"
            raise TargetError(
                f"{error.message}; {why}",
                subject=error.subject,
                code=error.code,
                hint="Drop this database and create it again, empty; then run the command again"
                f"{more}.",
            ) from error
        if self._place.in_place and name not in self._journal.loading:
            self._journal.load_in_place(name)
        return target

    def _discard(self) -> None:
        # Why it is to go counts; the next run tries again.
        with contextlib.suppress(StrongroomError):
            self._place.discard()

    def _brought(
        self, copy: Candidate, outcome: Outcome, left: tuple[str, ...], begun_at: datetime
    ) -> Brought:
        judged = with_findings(outcome, copy.repository.salvage_findings)
        verdict = judged.verdict or Verdict.UNKNOWN
        is_same = verdict is not Verdict.FAILED
        return Brought(
            self._source.name,
            copy.repository.name,
            copy.snapshot.id,
            shown(self._target) if is_same else self._place.where(),
            verdict,
            outcome.checked,
            outcome.size_bytes,
            judged.findings,
            outcome.stages,
            begun_at,
            self._work.now(),
            left,
        )

    def _keep(self, brought: Brought, target: str) -> Brought:
        """What isn't what was captured does not get its name, and is restored again by a next
        run."""
        keep_state(self._work.ground, self._source, target)
        self._journal.keep(brought)
        return self._settle(brought) if self._may_settle(brought) else brought

    def _may_settle(self, brought: Brought) -> bool:
        return brought.verdict is not Verdict.FAILED or self._work.anyway

    def _settle(self, brought: Brought) -> Brought:
        self._place.settle()
        settled = replace(brought, target=shown(self._target), settled=True)
        self._journal.keep(settled)
        return settled


def _is_about_space(error: TargetError) -> bool:
    return _NO_SPACE.search(error.message) is not None


def by_hand(source: Source, view: SnapshotView, given: str | None) -> tuple[str, ...]:
    """What the snapshot knows of and could not take along, a line for each; but the password of
    the role `given`, which the recovery sets itself."""
    from strongroom.sources.database import DatabaseSource

    if not isinstance(source, DatabaseSource):
        return ()
    left = []
    for one in source.coverage(view):
        subject = one.subject
        if one.kind == "passwords":
            subject = ", ".join(role for role in subject.split(", ") if role != given)
        if subject and one.status in ("needs-action", "not-exportable"):
            left.append(f"{source.name}: {one.kind} ({subject}): {one.explanation}")
    return tuple(left)
