"""Repair, the plan: what of a damaged repository becomes whole again, and what stays lost.

A plan is data and touches nothing. It knows of every pack whether it can be trusted, takes what
verifies out of those that can't, and asks other repositories for what snapshots need besides.
Only what nobody has is lost; that goes only when `execute_repair` is told to drop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from strongroom.model import Finding, Progress, Silent
from strongroom.repository.copy import missing_snapshots
from strongroom.repository.giver import Givers
from strongroom.repository.index import Location
from strongroom.repository.pack import PackEntry
from strongroom.repository.repair_needs import Needs
from strongroom.repository.repair_survey import DamagedPack, Survey
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.touched import Marks, Touched, touched_by

IsCopy = Callable[[str, Snapshot], bool]
"""Whether a snapshot is a copy of the one with this id, of which only the id is known."""

_LOST, _MALFORMED = 0, 1


@dataclass(frozen=True, slots=True)
class Fetched:
    """Blobs that another repository gives, where they lie there."""

    giver: str
    locations: tuple[Location, ...]


@dataclass(frozen=True, slots=True)
class Returning:
    """A snapshot whose file is garbage, and its copy; `giver` is None when that is here already."""

    id: str
    giver: str | None
    copy: Snapshot


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a run will do, and what is lost. Packs and snapshots are named by their ids.

    `lost` tells which paths need a blob that nobody has, `malformed` which ones a directory that
    is whole and must not be used: no repair helps there. `snapshots` are all that can be read.
    """

    unreadable_indexes: tuple[str, ...]
    gone: tuple[str, ...]
    damaged: tuple[DamagedPack, ...]
    listed_anew: tuple[tuple[str, tuple[PackEntry, ...]], ...]
    repeated: tuple[str, ...]
    moved: tuple[Location, ...]
    fetched: tuple[Fetched, ...]
    returning: tuple[Returning, ...]
    unreadable_snapshots: tuple[str, ...]
    lost_trees: frozenset[str]
    lost_data: frozenset[bytes]
    lost: Touched
    malformed: Touched
    snapshots: tuple[Snapshot, ...]
    packs: int
    bytes_read: int
    findings: tuple[Finding, ...]

    @property
    def loses(self) -> bool:
        """Whether something is lost that only dropping it can settle."""
        return bool(self.lost_trees or self.lost_data or self.unreadable_snapshots)

    @property
    def is_whole(self) -> bool:
        """Whether nothing will be missing once this is carried out."""
        return not self.loses and not self.malformed.count

    @property
    def changes_index(self) -> bool:
        listed = any(one.is_listed for one in self.damaged)
        return bool(
            self.unreadable_indexes or self.gone or listed or self.listed_anew or self.repeated
        )

    @property
    def fetched_blobs(self) -> int:
        return sum(len(one.locations) for one in self.fetched)

    def removes(self, *, drop_lost: bool) -> tuple[str, ...]:
        """The packs that go: while something stays lost, a damaged one is the last trace of it."""
        return tuple(one.id for one in self.damaged) if drop_lost or self.is_whole else ()

    def is_empty(self, *, drop_lost: bool) -> bool:
        """Whether there is nothing to do."""
        return not (
            self.changes_index
            or self.moved
            or self.fetched
            or self.returning
            or self.removes(drop_lost=drop_lost)
            or (drop_lost and self.loses)
        )


def copy_by_id(unreadable: str, one: Snapshot) -> bool:
    """A snapshot remembers in `original` which one it is a copy of."""
    return unreadable in (one.id, one.original)


def plan_repair(
    repository: Repository,
    givers: Givers,
    *,
    read_data: bool = True,
    is_copy: IsCopy = copy_by_id,
    workers: int = 2,
    progress: Progress | None = None,
) -> RepairPlan:
    """What to do about every damage of the repository; writes nothing.

    Without `read_data`, packs of the right size are trusted unread. StorageError when a store
    fails: what could not be asked must not count as lost.
    """
    # Snapshots are listed before the index is read: what they need must be in it.
    listed = repository.snapshots()
    unreadable = [one.subject.rpartition("/")[2] for one in listed.findings]
    survey = Survey(repository, workers=workers, progress=progress or Silent())
    survey.look(read_data=read_data)
    returning = _copies(repository, givers, unreadable, listed.snapshots, is_copy)
    while True:
        needs = Needs(repository, survey, givers)
        coming = [one.copy for one in returning if one.giver is not None]
        roots = (*listed.snapshots, *coming)
        for one in roots:
            needs.add(one.tree)
        if suspects := survey.unread(needs.suspects):
            survey.inspect(suspects)
            continue
        needs.find()
        lost, malformed = _touched(needs, roots)
        # What does not come back whole is no better than what is there.
        broken = {one.id for one in coming} & {*lost.snapshots, *malformed.snapshots}
        if not broken:
            break
        returning = [one for one in returning if one.copy.id not in broken]
    back = {one.id for one in returning}
    return RepairPlan(
        unreadable_indexes=tuple(survey.unreadable_indexes),
        gone=survey.gone,
        damaged=tuple(survey.damaged[pack] for pack in sorted(survey.damaged)),
        listed_anew=survey.listed_anew,
        repeated=survey.repeated,
        moved=tuple(survey.moved.values()),
        fetched=tuple(
            Fetched(name, tuple(found.values())) for name, found in needs.fetched.items() if found
        ),
        returning=tuple(returning),
        unreadable_snapshots=tuple(one for one in unreadable if one not in back),
        lost_trees=frozenset(needs.lost_trees),
        lost_data=frozenset(needs.lost_data),
        lost=lost,
        malformed=malformed,
        snapshots=listed.snapshots,
        packs=survey.packs,
        bytes_read=survey.bytes_read,
        findings=tuple(givers.findings),
    )


def _copies(
    repository: Repository,
    givers: Givers,
    unreadable: Iterable[str],
    readable: Sequence[Snapshot],
    is_copy: IsCopy,
) -> list[Returning]:
    """For each snapshot that can't be read the first copy of it, here or elsewhere."""
    wanted = list(unreadable)
    if not wanted:
        return []
    found: dict[str, Returning] = {}
    for giver, offered in ((None, readable), *givers.snapshots()):
        for name in wanted:
            copies = [one for one in offered if is_copy(name, one) and not one.is_repaired]
            if name in found or not copies:
                continue
            is_here = giver is None or not missing_snapshots(repository, copies[:1])
            found[name] = Returning(name, None if is_here else giver, copies[0])
    return list(found.values())


def _touched(needs: Needs, roots: Sequence[Snapshot]) -> tuple[Touched, Touched]:
    """What is touched by blobs that are lost, and by directories that are none."""
    marks = Marks()
    for tree in needs.lost_trees:
        marks.tree(tree, _LOST)
    for blob_id in needs.lost_data:
        marks.blob(blob_id, _LOST)
    for tree in needs.malformed:
        marks.tree(tree, _MALFORMED)
    if marks.is_empty:
        return Touched(), Touched()
    found = touched_by(needs.read_tree, roots, marks)
    return found.get(_LOST, Touched()), found.get(_MALFORMED, Touched())
