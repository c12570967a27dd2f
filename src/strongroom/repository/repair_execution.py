"""Repair, carried out: first what adds, then, alone with the repository, what replaces.

    shared lock: whole and fetched blobs, rewritten directories -> packs -> index
    exclusive lock: new index files -> new snapshots -> a word to the caller -> old snapshots
    -> old index files -> damaged packs

A stop anywhere leaves what was there and some of the new beside it: nothing that restored before
does not afterwards (invariant I4), and the next run goes on. What was captured since the plan was
made stays: only what the plan names goes, and only as it was then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import zstandard

from strongroom.errors import BusyError, IntegrityError, StorageError
from strongroom.model import Progress, Silent
from strongroom.repository.copy import derived_record, missing_snapshots
from strongroom.repository.giver import Givers, verified_blobs
from strongroom.repository.index import decode_index, encode_index, index_parts
from strongroom.repository.lock import Lock
from strongroom.repository.pack import BlobType, PackEntry
from strongroom.repository.pack_reading import in_order
from strongroom.repository.packer import DEFAULT_PACK_BYTES, Packer
from strongroom.repository.prune import move_blobs
from strongroom.repository.repair import RepairPlan
from strongroom.repository.repair_record import with_record
from strongroom.repository.repository import Repository, pack_name
from strongroom.repository.snapshot import REPAIRED, Snapshot
from strongroom.repository.touched import path_text
from strongroom.repository.tree_rewriting import TreeRewriting

_RUN_BYTES: Final = 8 << 20
_BUFFERS: Final = 4


@dataclass(frozen=True, slots=True)
class Made:
    """A snapshot that a repair made: in place of which one, and the paths that it lacks."""

    former: str
    id: str
    snapshot: Snapshot
    lacks: tuple[str, ...] = ()


@dataclass(slots=True)
class RepairReport:
    """What a run has done; complete also when it was broken off."""

    moved_blobs: int = 0
    fetched_blobs: int = 0
    added_bytes: int = 0
    made: list[Made] = field(default_factory=list)
    dropping: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    replaced_indexes: int = 0
    deleted: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)


def execute_repair(
    repository: Repository,
    plan: RepairPlan,
    givers: Givers,
    *,
    report: RepairReport,
    before_dropping: Callable[[], None],
    drop_lost: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Carry a plan out; `report` tells what was done, also when this raises.

    `before_dropping` is called when `report.dropping` names snapshots that are about to go; when
    it raises, none goes. BusyError when others use the repository, or when it has changed since
    the plan was made: then nothing was removed.
    """
    if plan.is_empty(drop_lost=drop_lost):
        return
    salvage = _Salvage(repository, plan, givers, report, progress or Silent())
    rewritten = salvage.run(plan.lost.snapshots if drop_lost else (), workers)
    lock = repository.new_lock(exclusive=True)
    try:
        lock.acquire()
        lock.confirm()
        replacing = _Replacing(repository.with_fresh_index(), plan, report, lock)
        replacing.run(rewritten, givers, before_dropping, drop_lost=drop_lost)
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """A damaged snapshot without what is lost; `tree` is None when nothing is left of it."""

    snapshot: Snapshot
    tree: str | None
    lacks: tuple[str, ...]


class _Salvage:
    """Blobs into new packs: whole ones of damaged packs, those of givers, new directories."""

    def __init__(
        self,
        repository: Repository,
        plan: RepairPlan,
        givers: Givers,
        report: RepairReport,
        progress: Progress,
    ) -> None:
        self._repository, self._plan, self._givers = repository, plan, givers
        self._report, self._progress = report, progress
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._packer = Packer(repository, pack_bytes=DEFAULT_PACK_BYTES, most_buffers=_BUFFERS)
        self._stored: set[tuple[BlobType, bytes]] = set()

    def run(self, damaged: Sequence[str], workers: int) -> list[_Rewritten]:
        """All of it stored and indexed; the damaged snapshots without what they lost."""
        plan = self._plan
        if not (plan.moved or plan.fetched or damaged):
            return []
        done = False
        try:
            self._packer.begin()
            self._move()
            self._fetch(workers)
            self._packer.flush()  # what is rewritten may be read from there
            rewritten = self._rewrite(damaged)
            self._packer.flush()
            done = True
            return rewritten
        finally:
            self._packer.end(abandoned=not done)
            self._report.added_bytes = self._packer.added_bytes

    def _move(self) -> None:
        moved = self._plan.moved
        try:
            move_blobs(self._packer, moved, run_bytes=_RUN_BYTES, progress=self._progress)
        except IntegrityError as error:
            raise _changed(self._repository, error.message) from error
        self._report.moved_blobs = len(moved)

    def _fetch(self, workers: int) -> None:
        for fetched in self._plan.fetched:
            giver = self._givers.named(fetched.giver)
            left = {(one.entry.type, one.entry.id) for one in fetched.locations}
            for location, plain in verified_blobs(giver, fetched.locations, workers=workers):
                entry = location.entry
                self._add(entry.type, entry.id, plain)
                left.discard((entry.type, entry.id))
                self._report.fetched_blobs += 1
                self._progress.advance(len(plain))
            if left:
                raise _changed(giver, f"{len(left)} blobs are not whole there any more")

    def _add(self, blob_type: BlobType, blob_id: bytes, plain: bytes) -> None:
        frame = self._compressor.compress(plain)
        is_data = blob_type is BlobType.DATA
        blob = self._repository.codec().encode(blob_id, plain, frame, keep_raw=is_data)
        self._packer.add(blob_type, blob.sealed, [(blob_id, len(blob.sealed), blob.plain_length)])

    # Snapshots without what is lost

    def _rewrite(self, damaged: Sequence[str]) -> list[_Rewritten]:
        plan, wanted = self._plan, frozenset(damaged)
        trees = TreeRewriting(self._read_tree, self._put_tree, plan.lost_trees, plan.lost_data)
        mine = [one for one in plan.snapshots if one.id in wanted]
        left = [one for one in mine if one.tree not in plan.lost_trees]
        roots = [trees.rewrite(one.tree) for one in left]
        self._packer.flush()  # from where they are read again
        rewritten = [_Rewritten(one, None, ("/",)) for one in mine if one.tree in plan.lost_trees]
        for one, root in zip(left, roots, strict=True):
            lacks = tuple(sorted(map(path_text, trees.lost_below(one.tree))))
            told = with_record(self._repository.read_blob, self._put, one, root, lacks)
            rewritten.append(_Rewritten(one, told, lacks))
        return rewritten

    def _read_tree(self, tree: str) -> bytes:
        return self._repository.read_blob(BlobType.TREE, bytes.fromhex(tree))

    def _put_tree(self, content: bytes) -> str:
        return self._put(BlobType.TREE, content).hex()

    def _put(self, blob_type: BlobType, content: bytes) -> bytes:
        """Store a blob, once. Whether the repository has it is not asked: it may lie in a pack that
        is about to go."""
        blob_id = hashlib.sha256(content).digest()
        if (blob_type, blob_id) not in self._stored:
            self._stored.add((blob_type, blob_id))
            self._add(blob_type, blob_id, content)
        return blob_id


class _Replacing:
    """New index files and snapshots in place of old ones, with nobody else in the repository."""

    def __init__(
        self, fresh: Repository, plan: RepairPlan, report: RepairReport, lock: Lock
    ) -> None:
        self._repository, self._plan, self._report, self._lock = fresh, plan, report, lock
        self._unusable = {*plan.gone, *(one.id for one in plan.damaged)}

    def run(
        self,
        rewritten: Sequence[_Rewritten],
        givers: Givers,
        before_dropping: Callable[[], None],
        *,
        drop_lost: bool,
    ) -> None:
        """In the order that a stop anywhere may interrupt."""
        listed = self._repository.snapshots()
        garbage = {one.subject.rpartition("/")[2] for one in listed.findings}
        if rewritten:
            self._refuse_what_came_back()
        packs, old = self._index_changes()
        for part in index_parts(packs):
            self._repository.save_file("index", encode_index(part))
        dropping = [*self._returned(garbage, givers), *self._made(rewritten, listed.snapshots)]
        if drop_lost:
            dropping += [one for one in self._plan.unreadable_snapshots if one in garbage]
        self._lock.confirm()
        if dropping:
            self._report.dropping = dropping
            before_dropping()
        try:
            for snapshot in dropping:
                self._repository.storage.delete(f"snapshots/{snapshot}")
                self._report.dropped.append(snapshot)
            for name in old:
                self._repository.storage.delete(name)
                self._report.replaced_indexes += 1
        except StorageError as error:
            if error.code == "store-refused":
                raise _nothing_goes(error) from error
            raise
        self._lock.confirm()
        self._delete(self._plan.removes(drop_lost=drop_lost))

    def _refuse_what_came_back(self) -> None:
        """BusyError when something that was lost has been captured again since."""
        lost = [(BlobType.TREE, bytes.fromhex(one)) for one in self._plan.lost_trees]
        lost += [(BlobType.DATA, one) for one in self._plan.lost_data]
        for blob_type, blob_id in lost:
            places = self._repository.places(blob_type, blob_id)
            if any(one.pack not in self._unusable for one in places):
                raise _changed(self._repository, "something that was lost is there again")

    def _index_changes(self) -> tuple[list[tuple[str, Sequence[PackEntry]]], list[str]]:
        """The packs that need a new place in the index, and the index files that are to go."""
        there = {
            file.name.rpartition("/")[2] for file in list(self._repository.storage.list("data"))
        }
        right = {pack: entries for pack, entries in self._plan.listed_anew if pack in there}
        out = {one.id for one in self._plan.damaged} | (set(self._plan.gone) - there)
        kept: set[str] = set()
        freed: dict[str, Sequence[PackEntry]] = {}
        old: list[str] = []
        for file in sorted(self._repository.storage.list("index"), key=lambda one: one.name):
            try:
                packs = decode_index(self._repository.load_file(file.name), file.name)
            except IntegrityError:
                old.append(file.name)
                continue
            listed = {pack: in_order(entries) for pack, entries in packs}
            wrong = {
                pack for pack, entries in listed.items() if right.get(pack, entries) != entries
            }
            if len(listed) == len(packs) and not listed.keys() & (out | kept | wrong):
                kept |= listed.keys()
            else:
                old.append(file.name)
                freed |= listed
        wanted = {pack: entries for pack, entries in freed.items() if pack not in out} | right
        return [(pack, one) for pack, one in sorted(wanted.items()) if pack not in kept], old

    def _returned(self, garbage: set[str], givers: Givers) -> Iterator[str]:
        """Make copies visible; the files in whose place they come."""
        for one in self._plan.returning:
            if one.id not in garbage:
                continue
            made = one.copy.id
            if one.giver is not None and missing_snapshots(self._repository, [one.copy]):
                record = derived_record(givers.named(one.giver), one.copy)
                made = self._repository.save_file("snapshots", record)
            self._report.made.append(Made(one.id, made, one.copy))
            yield one.id

    def _made(self, rewritten: Sequence[_Rewritten], there: Sequence[Snapshot]) -> Iterator[str]:
        """Make what is left of damaged snapshots visible; the snapshots in whose place it comes."""
        by_id = {one.id: one for one in there}
        for one in rewritten:
            former = by_id.get(one.snapshot.id)
            if former is None:
                continue
            if one.tree is not None:
                made = self._same(former, one.tree, there) or self._repository.save_file(
                    "snapshots",
                    derived_record(
                        self._repository,
                        former,
                        tree=one.tree,
                        tags=[*(tag for tag in former.tags if tag != REPAIRED), REPAIRED],
                    ),
                )
                self._report.made.append(
                    Made(former.id, made, replace(former, tree=one.tree), one.lacks)
                )
            yield former.id

    @staticmethod
    def _same(former: Snapshot, tree: str, there: Sequence[Snapshot]) -> str | None:
        """The snapshot that an earlier run made of this one before it was stopped."""
        origin = former.original or former.id
        found = (
            one.id
            for one in there
            if one.is_repaired and (one.original, one.tree, one.time) == (origin, tree, former.time)
        )
        return next(found, None)

    def _delete(self, packs: Sequence[str]) -> None:
        for pack in packs:
            try:
                self._repository.storage.delete(pack_name(pack))
            except StorageError as error:
                if error.code != "store-refused":
                    raise
                self._report.locked.append(pack)  # an object lock: it goes when that has run out
                continue
            self._report.deleted.append(pack)


def _changed(repository: Repository, message: str) -> BusyError:
    return BusyError(
        f"it has changed since the plan was made: {message}",
        subject=repository.name,
        hint="Run the command again.",
    )


def _nothing_goes(error: StorageError) -> StorageError:
    return StorageError(
        f"the store lets nothing be removed: {error.message}",
        subject=error.subject,
        code="store-refused",
        hint="Run it where files may be removed; what was saved is stored already.",
    )
