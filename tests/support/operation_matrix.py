"""The operations of the engine, and a ground on which each is done by a process of its own that
fails, or is killed, at a storage operation of a test's choice.

To add one: a function that does it to a store (again, when it was broken off), and a row in
OPERATIONS.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import pytest

from strongroom.errors import StorageError, StrongroomError
from strongroom.repository import Committed, Repository, Snapshot, Storage, lock
from strongroom.repository.copy import CopyReport, copy_snapshots
from strongroom.repository.prune import PruneOptions, PruneReport, execute, plan_prune
from strongroom.repository.storage import LocalStorage
from tests.support.failing_storage import FailingStorage, Failure
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    new_repository,
    restore,
)
from tests.support.tree_ground import describe

_AT_ONCE: Final = PruneOptions(grace=timedelta(0), pack_bytes=64 << 10)
_DAYS: Final = 3
# Nobody else is at a store here, so that there is nobody to wait for.
QUICK_SETTLE_SECONDS: Final = 0.01

Description = dict[bytes, tuple[object, ...]]


@dataclass(frozen=True)
class Outcome:
    """How an operation ended: its error's code, or nothing; what it asked of the store, and which
    of that failed. Nobody tells of a process that was killed."""

    error: str = ""
    operations: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    killed: bool = False


class Ground:
    """A directory with a repository of three days, the tree of a fourth one, and another
    repository to copy from. `contents` is what each snapshot's tree was, described without us."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.store, self.other = base / "store", base / "other"
        self.tree, self.other_tree = base / "tree", base / "other tree"
        self.contents: dict[str, Description] = {}
        self._fill(self.store, self.tree, range(_DAYS))
        self._fill(self.other, self.other_tree, range(10, 12))
        self._change(self.tree, _DAYS)
        for part in "abc":
            (self.tree / part).write_bytes(os.urandom(50_000))
        committed, _ = capture(new_repository(), self.tree)
        self.contents[committed.snapshot.tree] = describe(self.tree)

    def _fill(self, store: Path, tree: Path, days: range) -> None:
        new_repository(store)
        for day in days:
            self._change(tree, day)
            committed, _ = capture(
                opened(store), tree, options=SMALL_PACKS, after=timedelta(seconds=day)
            )
            self.contents[committed.snapshot.tree] = describe(tree)

    def _change(self, tree: Path, day: int) -> None:
        """Of the packs of a day, one stays, one goes in part, and that of the trees as a whole."""
        (tree / "folder").mkdir(parents=True, exist_ok=True)
        for part in "abc":
            (tree / "folder" / f"since day {day} {part}").write_bytes(os.urandom(25_000))
        (tree / f"since day {day}").write_bytes(os.urandom(4_000))
        (tree / f"only of day {day}").write_bytes(os.urandom(30_000))
        (tree / f"only of day {day - 1}").unlink(missing_ok=True)

    def copy_to(self, place: Path, *, empty: bool) -> Path:
        """A store as every case finds it."""
        target = place / "store"
        if not empty:
            shutil.copytree(self.store, target)
        return target


def opened(store: Path | Storage) -> Repository:
    storage = LocalStorage(store) if isinstance(store, Path) else store
    return Repository.open(storage, PASSWORD, name="store")


def _init(storage: Storage, _: Path) -> None:
    try:
        Repository.create(storage, PASSWORD, name="store")
    except StorageError as error:
        if error.code != "repository-exists":
            raise
        opened(storage)


def _backup(storage: Storage, base: Path) -> None:
    repository = opened(storage)
    parent = repository.snapshots().snapshots[-1]
    capture(repository, base / "tree", parent=parent, options=SMALL_PACKS)


def _copy(storage: Storage, base: Path) -> None:
    source = opened(base / "other")
    chosen = source.snapshots().snapshots
    copy_snapshots(source, opened(storage), chosen, report=CopyReport())


def _prune(storage: Storage, _: Path) -> None:
    """All but the newest two days go."""
    repository = opened(storage)
    listed = repository.snapshots().snapshots
    drop = [one.id for one in listed[:-2]]
    plan = plan_prune(repository, listed, drop, options=_AT_ONCE, now=datetime.now(UTC))
    execute(repository, plan, report=PruneReport(), options=_AT_ONCE)


@dataclass(frozen=True)
class Operation:
    """`run` does it to a store, given the ground's directory as well. `keeps` is how many of the
    newest earlier snapshots stay; `leaves` are the notes of our check that a stop may leave."""

    run: Callable[[Storage, Path], None]
    keeps: int = _DAYS
    leaves: frozenset[str] = frozenset({"pack-orphaned"})
    makes_the_store: bool = False


OPERATIONS: Final = {
    "init": Operation(_init, keeps=0, leaves=frozenset(), makes_the_store=True),
    "backup": Operation(_backup),
    "copy": Operation(_copy),
    "prune": Operation(_prune, keeps=2, leaves=frozenset({"pack-orphaned", "index-hint"})),
}


def attempt(name: str, store: Path, base: Path, failure: Failure | None = None) -> Outcome:
    """Do an operation in a process of its own, which is gone when this returns, and so are the
    owners of its locks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", __name__])
    ours, theirs = context.Pipe(duplex=False)
    with ours:
        child = context.Process(target=_attempt, args=(theirs, name, store, base, failure))
        child.start()
        theirs.close()
        outcome = Outcome(killed=True)
        with contextlib.suppress(EOFError):
            outcome = ours.recv()
        child.join()
    assert child.exitcode == (-9 if outcome.killed else 0), f"{name} ended with {child.exitcode}"
    child.close()
    return outcome


def _attempt(told: Connection, name: str, store: Path, base: Path, failure: Failure | None) -> None:
    pytest.MonkeyPatch().setattr(lock, "_SETTLE_SECONDS", QUICK_SETTLE_SECONDS)
    storage = FailingStorage(LocalStorage(store), failure)
    error = ""
    try:
        OPERATIONS[name].run(storage, base)
    except StrongroomError as raised:
        error = raised.code
    told.send(Outcome(error, tuple(storage.operations), tuple(storage.failed)))
    told.close()


def content_of(repository: Repository, snapshot: Snapshot, place: Path) -> Description:
    """What a snapshot restores to, described without us."""
    target = place / f"restored {snapshot.short_id}"
    assert restore(repository, Committed("store", snapshot, 0), target) == []
    try:
        return describe(target)
    finally:
        shutil.rmtree(target)
