"""Freeing space: which packs hold what no snapshot needs, and how they go without any danger.

    plan (shared lock) -> repack what is worth it -> exclusive lock -> nobody else has pruned since
    -> read the snapshots again -> snapshots -> new index files -> old index files -> packs

The exclusive lock is held for the last line only, not while packs are read and uploaded: what was
captured meanwhile is read again under it, and the packs that it relies on stay. A stop anywhere
leaves blobs or packs too many, never too few (invariant I4), and the next run goes on.

What is missing or has another size than the index says makes a plan impossible: pruning on top of
damage would make it final. Packs younger than a grace period, by the store's clock, stay.

A store may refuse to remove what is locked, or hide it and keep a version. What is refused stays
with all that it needs; what is hidden is not counted as freed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from strongroom.errors import BusyError, IntegrityError, StorageError
from strongroom.model import Progress, Silent
from strongroom.repository.index import Location, decode_index, encode_index, index_parts
from strongroom.repository.pack import BlobType, PackEntry, whole_pack_bytes
from strongroom.repository.packer import DEFAULT_PACK_BYTES, Packer
from strongroom.repository.repository import Repository, pack_name
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.storage import Immutability, Keeping
from strongroom.repository.storage.protocol import StoredFile
from strongroom.repository.view import gather_runs

_RUN_BYTES: Final = 8 << 20
_RUN_BLOBS: Final = 50_000
_BUFFERS: Final = 4
_SMALL_SHARE: Final = 0.25
_MANY_SMALL: Final = 10


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """`max_unused` is the share of used bytes that may stay unused; `grace` spares young packs."""

    max_unused: float = 0.05
    grace: timedelta = timedelta(hours=24)
    pack_bytes: int = DEFAULT_PACK_BYTES


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a run will do. Sizes are of sealed blobs, in bytes; packs are named by their ids.

    `unneeded` are all packs that hold nothing of what stays, also those that don't go yet;
    `index_files` are those that the plan relies on.
    """

    drop: tuple[str, ...]
    keep: tuple[str, ...]
    delete: tuple[str, ...]
    repack: tuple[str, ...]
    orphans: tuple[str, ...]
    young: tuple[str, ...]
    unneeded: tuple[str, ...]
    used_bytes: int
    unused_bytes: int
    delete_bytes: int
    repack_bytes: int
    rewritten_bytes: int
    index_files: frozenset[str]

    @property
    def freed_bytes(self) -> int:
        """What the store will hold less, if it lets go of what is removed."""
        return self.delete_bytes + self.repack_bytes - self.rewritten_bytes

    @property
    def going(self) -> frozenset[str]:
        """The packs that will not be there any more."""
        return frozenset((*self.delete, *self.repack, *self.orphans))

    @property
    def is_empty(self) -> bool:
        return not (self.drop or self.delete or self.repack or self.orphans)


@dataclass(slots=True)
class PruneReport:
    """What a run has done; complete also when it was broken off.

    `locked` names snapshots, index files and packs that the store refused to remove. The bytes of
    removed packs are freed, hidden (the store keeps versions of them), or it is not known which.
    `locked_until` is when the last lock ends of what is hidden or was refused, where that is told.
    """

    dropped: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    hidden_bytes: int = 0
    unknown_bytes: int = 0
    locked: list[str] = field(default_factory=list)
    locked_until: datetime | None = None


class _Marks:
    """Which blobs of an index are needed."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._index = repository.index
        self.used = bytearray(len(self._index))

    def add(self, roots: Iterable[str]) -> None:
        """Mark all that is below these trees; IntegrityError when something is in no index."""
        stack = list(roots)
        while stack:
            tree = stack.pop()
            if not self._mark(BlobType.TREE, bytes.fromhex(tree)):
                continue
            for node in self._repository.read_tree(tree):
                if node.subtree is not None:
                    stack.append(node.subtree)
                for blob_id in node.content:
                    self._mark(BlobType.DATA, blob_id)

    def _mark(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob was not marked before."""
        place = self._index.place(blob_type, blob_id)
        if place is None:
            raise IntegrityError(
                "a snapshot needs a blob that no index names: nothing is pruned",
                subject=f"{self._repository.name}: {blob_id.hex()[:12]}",
                code="index-damaged",
                hint="Run `strongroom check`, then `strongroom repair`.",
            )
        if self.used[place]:
            return False
        self.used[place] = 1
        return True


def plan_prune(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    drop: Iterable[str],
    *,
    options: PruneOptions,
    now: datetime,
) -> PrunePlan:
    """What to do so that the snapshots other than `drop` keep all that they need.

    `now` is the store's. IntegrityError when a needed pack is gone or of another size.
    """
    dropped = frozenset(drop)
    if unreadable := repository.index_findings:
        raise IntegrityError(
            f"{len(unreadable)} index files are unreadable, so what they name is unknown: nothing "
            "is pruned",
            subject=unreadable[0].subject,
            code="index-damaged",
            hint="Run `strongroom check`, then `strongroom repair`.",
        )
    marks = _Marks(repository)
    marks.add(one.tree for one in snapshots if one.id not in dropped)
    files = {one.name: one for one in repository.storage.list("data")}
    survey = _Survey(repository, marks, files)
    survey.look()
    young = {
        pack for pack in survey.all_packs if _is_young(files.get(pack_name(pack)), now, options)
    }
    delete = [pack for pack in survey.unused if pack not in young]
    worth = survey.worth_repacking(options)
    repack = [pack for pack in worth if pack not in young]
    orphans = [pack for pack in survey.orphans if pack not in young]
    size = survey.sizes
    return PrunePlan(
        drop=tuple(one.id for one in snapshots if one.id in dropped),
        keep=tuple(one.id for one in snapshots if one.id not in dropped),
        delete=tuple(delete),
        repack=tuple(repack),
        orphans=tuple(orphans),
        young=tuple(sorted(young & {*survey.unused, *survey.orphans, *worth})),
        unneeded=tuple(sorted({*survey.unused, *survey.orphans})),
        used_bytes=sum(survey.used_bytes.values()),
        unused_bytes=sum(survey.unused_bytes.values()),
        delete_bytes=sum(size[pack] for pack in (*delete, *orphans)),
        repack_bytes=sum(size[pack] for pack in repack),
        rewritten_bytes=sum(survey.used_bytes[pack] for pack in repack),
        index_files=repository.index_files,
    )


def _is_young(file: StoredFile | None, now: datetime, options: PruneOptions) -> bool:
    """A store that tells no times is protected by the exclusive lock alone."""
    if file is None or file.modified_at is None:
        return False
    return now - file.modified_at < options.grace


class _Survey:
    """How much of each pack is needed."""

    def __init__(self, repository: Repository, marks: _Marks, files: dict[str, StoredFile]) -> None:
        self._repository, self._marks, self._files = repository, marks, files
        self.used_bytes: dict[str, int] = {}
        self.unused_bytes: dict[str, int] = {}
        self.unused: list[str] = []
        self.sizes: dict[str, int] = {}
        self._mixed: set[str] = set()

    @property
    def all_packs(self) -> set[str]:
        return {*self.sizes}

    @property
    def orphans(self) -> list[str]:
        """Packs that no index names."""
        return sorted(pack for pack in self.sizes if pack not in self.used_bytes)

    def look(self) -> None:
        for name, file in self._files.items():
            self.sizes[name.rpartition("/")[2]] = file.size_bytes
        place = 0
        for pack, entries in self._repository.index.packs():
            used = unused = 0
            for entry in entries:
                if self._marks.used[place]:
                    used += entry.length
                else:
                    unused += entry.length
                place += 1
            # A pack that is listed twice counts once for each list.
            self.used_bytes[pack] = self.used_bytes.get(pack, 0) + used
            self.unused_bytes[pack] = self.unused_bytes.get(pack, 0) + unused
            if used:
                self._must_be_whole(pack, entries)
            if len({entry.type for entry in entries}) > 1:
                self._mixed.add(pack)
        self.unused = sorted(
            pack for pack, used in self.used_bytes.items() if not used and pack in self.sizes
        )

    def _must_be_whole(self, pack: str, entries: Sequence[PackEntry]) -> None:
        observed, expected = self.sizes.get(pack), whole_pack_bytes(entries)
        if observed == expected:
            return
        what = "is gone" if observed is None else f"has {observed} of {expected} bytes"
        raise IntegrityError(
            f"a pack that is needed {what}: nothing is pruned",
            subject=f"{self._repository.name}: {pack}",
            code="pack-damaged",
            hint="Run `strongroom check`, then `strongroom repair`.",
        )

    def worth_repacking(self, options: PruneOptions) -> list[str]:
        """Partly used packs, the worst first, until what stays unused is little enough; packs with
        data and trees; and small ones, when there are many of them."""
        partly = [
            pack for pack, unused in self.unused_bytes.items() if unused and self.used_bytes[pack]
        ]
        partly.sort(key=lambda pack: self.used_bytes[pack] / self.unused_bytes[pack])
        left = sum(self.unused_bytes[pack] for pack in partly)
        allowed = options.max_unused * sum(self.used_bytes.values())
        chosen = []
        for pack in partly:
            if left <= allowed and pack not in self._mixed:
                continue
            left -= self.unused_bytes[pack]
            chosen.append(pack)
        small = [
            pack
            for pack, used in self.used_bytes.items()
            if used and self.sizes.get(pack, 0) < _SMALL_SHARE * options.pack_bytes
        ]
        if len(small) >= _MANY_SMALL:
            chosen += [pack for pack in small if pack not in chosen]
        return sorted(chosen)


def execute(
    repository: Repository,
    plan: PrunePlan,
    *,
    report: PruneReport,
    options: PruneOptions,
    progress: Progress | None = None,
    last_look: Callable[[Sequence[Snapshot]], None] | None = None,
) -> None:
    """Carry a plan out; `report` tells what was done, also when this raises.

    BusyError when others use the repository, StorageError `store-refused` when not one of the
    snapshots may be removed: then nothing was removed. `last_look` gets the snapshots that are
    there under the exclusive lock; when it raises, nothing was removed, either.
    """
    if plan.repack:
        _repack(repository, plan, options, progress or Silent())
    lock = repository.new_lock(exclusive=True)
    removal = _Removal(repository, report)
    try:
        lock.acquire()
        lock.confirm()
        _must_be_current(repository, plan)
        there = repository.snapshots().snapshots
        if last_look is not None:
            last_look(there)
        planned = set(plan.going)
        needed = _needed_besides(repository, {*plan.keep, *plan.drop}, there)
        refused = removal.drop(plan.drop)
        lock.confirm()
        if refused:
            needed |= _needed_besides(repository, {*plan.keep}, there)
        report.spared = sorted(needed & planned)
        doomed = planned - needed
        doomed -= removal.replace_index(doomed)
        lock.confirm()
        removal.remove_packs(doomed)
    finally:
        lock.release()


def _must_be_current(repository: Repository, plan: PrunePlan) -> None:
    """BusyError when another prune has come between: of two packs with the same blobs it may have
    kept the one that this plan deletes. IntegrityError when an index file that came since cannot
    be read: it would be met again with the snapshots gone."""
    files = {one.name: one for one in repository.storage.list("index")}
    if not plan.index_files <= files.keys():
        raise BusyError(
            "another program has pruned since this run was planned; nothing was removed",
            subject=repository.name,
            hint="Run `strongroom prune` again.",
        )
    for name in files.keys() - plan.index_files:
        decode_index(repository.load_listed(files[name]), name)


class _Removal:
    """What may be refused piece by piece, and whose space may stay in use all the same."""

    def __init__(self, repository: Repository, report: PruneReport) -> None:
        self._storage, self._report = repository.storage, report
        self._repository = repository
        self._immutability = repository.storage.immutability()
        keeping = Keeping(versions=False)
        if self._immutability is not None:
            keeping = self._immutability.keeping()
        self._frees = keeping.frees
        self._lockable = keeping.lockable is not False

    def drop(self, snapshots: Sequence[str]) -> bool:
        """Whether any was refused."""
        refused: StorageError | None = None
        for snapshot in snapshots:
            error = self._remove(f"snapshots/{snapshot}")
            if error is None:
                self._report.dropped.append(snapshot)
            refused = refused or error
        if refused is not None and not self._report.dropped:
            raise refused  # it is not a matter of single locks
        return refused is not None

    def replace_index(self, doomed: set[str]) -> set[str]:
        """Index files without the doomed packs: all new ones are stored before an old one goes.
        Returns the packs that an old one goes on naming, so that they must stay."""
        named: set[str] = set()
        for name, packs in _rewrite_index(self._repository, doomed):
            if self._remove(name) is not None:
                named |= packs
        return named & doomed

    def remove_packs(self, doomed: set[str]) -> None:
        sizes = {one.name: one.size_bytes for one in self._storage.list("data")}
        for pack in sorted(doomed):
            name = pack_name(pack)
            if name not in sizes or self._remove(name) is not None:
                continue
            self._report.deleted.append(pack)
            if self._frees:
                self._report.freed_bytes += sizes[name]
            elif self._frees is None:
                self._report.unknown_bytes += sizes[name]
            else:
                self._report.hidden_bytes += sizes[name]

    def _remove(self, name: str) -> StorageError | None:
        """The refusal, if there was one."""
        if self._lockable and self._immutability is not None:
            self._note_lock(self._immutability, name)
        try:
            self._storage.delete(name)
        except StorageError as error:
            if error.code != "store-refused":
                raise
            self._report.locked.append(name)
            return error
        return None

    def _note_lock(self, immutability: Immutability, name: str) -> None:
        try:
            known = immutability.lock_of(name)
        except StorageError as error:
            if error.code not in ("store-missing", "store-refused"):
                raise
            return
        if known is not None and known.until > datetime.now(UTC):
            last = self._report.locked_until
            self._report.locked_until = max(known.until, last or known.until)


def _repack(
    repository: Repository, plan: PrunePlan, options: PruneOptions, progress: Progress
) -> None:
    """Put what is needed of these packs into new ones, verified and as it is sealed."""
    packer = Packer(repository, pack_bytes=options.pack_bytes, most_buffers=_BUFFERS)
    done = False
    try:
        packer.begin()
        _must_be_current(repository, plan)  # and stays so: nobody prunes beside this lock
        wanted = _wanted_of(repository, plan)
        move_blobs(packer, wanted, run_bytes=_RUN_BYTES, progress=progress)
        packer.flush()
        done = True
    finally:
        packer.end(abandoned=not done)


def _wanted_of(repository: Repository, plan: PrunePlan) -> Iterator[Location]:
    """Where the needed blobs lie that are in no pack that stays.

    The index may list a blob's packs in another order than it did for the plan.
    """
    index, marks = repository.index, _Marks(repository)
    snapshots = {one.id: one for one in repository.snapshots().snapshots}
    marks.add(snapshots[one].tree for one in plan.keep if one in snapshots)
    going = plan.going
    for place, location in index.locations():
        if marks.used[place] and location.pack in going:
            others = index.copies(location.entry.type, location.entry.id)
            if all(one.pack in going for one in others):
                yield location


def move_blobs(
    packer: Packer, wanted: Iterable[Location], *, run_bytes: int, progress: Progress
) -> None:
    """Put blobs of the packer's repository into new packs, verified and as they are sealed.

    Neighbours are read together up to `run_bytes`; with 0, each blob by itself. IntegrityError
    when one of them is not whole there.
    """
    repository = packer.repository
    keyed = ((0, location) for location in wanted)
    for run in gather_runs(keyed, run_bytes=run_bytes, most_blobs=_RUN_BLOBS):
        try:
            stored = memoryview(repository.load_pack(run.pack, run.begin, run.end))
        except IntegrityError:
            if len(run.wanted) == 1:
                raise
            alone = [location for _, location in run.wanted]  # what lies between is unreadable
            move_blobs(packer, alone, run_bytes=0, progress=progress)
            continue
        for _, location in run.wanted:
            entry = location.entry
            begin = entry.offset - run.begin
            sealed = stored[begin : begin + entry.length]
            repository.decode(location, sealed)
            packer.add(entry.type, sealed, [(entry.id, entry.length, entry.plain_length)])
            progress.advance(entry.length)


def _needed_besides(repository: Repository, known: set[str], there: Sequence[Snapshot]) -> set[str]:
    """The packs on which snapshots rely that are there and not among the known ones.

    Read anew: another program's index files may have come since, and its snapshots with them.
    """
    since = [one for one in there if one.id not in known]
    if not since:
        return set()
    fresh = repository.with_fresh_index()
    marks = _Marks(fresh)
    marks.add(one.tree for one in since)
    return {location.pack for place, location in fresh.index.locations() if marks.used[place]}


def _rewrite_index(repository: Repository, doomed: set[str]) -> list[tuple[str, set[str]]]:
    """Store index files without the doomed packs, and without what an earlier one names as well
    after a run that was stopped; the old ones, with the packs that each names."""
    old: list[tuple[str, set[str]]] = []
    named: set[tuple[str, int]] = set()

    # Read as they are written: a million blobs are never in memory.
    def staying() -> Iterator[tuple[str, list[PackEntry]]]:
        for file in list(repository.storage.list("index")):
            packs = {
                (pack, hash(tuple(entries))): (pack, entries)
                for pack, entries in decode_index(repository.load_listed(file), file.name)
            }
            if packs.keys() & named or any(pack in doomed for pack, _ in packs):
                old.append((file.name, {pack for pack, _ in packs}))
                yield from (
                    one for key, one in packs.items() if one[0] not in doomed and key not in named
                )
            named.update(packs)

    for part in index_parts(staying()):
        repository.save_file("index", encode_index(part))
    return old
