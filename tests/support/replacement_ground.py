"""A directory that is replaced and rolled back, by whole runs and by ones that are killed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from strongroom.recovery import Replacement, Rollback, replace_content, roll_back
from strongroom.repository import Repository, SnapshotView
from strongroom.repository.storage import LocalStorage
from strongroom.sources.files import FilesSource
from tests.support.repository_ground import PASSWORD
from tests.support.system_calls import without_exchange
from tests.support.tree_ground import describe

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
Described: TypeAlias = dict[bytes, tuple[object, ...]]
LATER = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def view_of(store: Path) -> SnapshotView:
    """The newest snapshot of a store in a directory."""
    repository = Repository.open(LocalStorage(store), PASSWORD, name="store")
    return SnapshotView(repository, repository.find("latest"))


def replace(store: Path, place: Path, now: datetime, *, exchanges: bool = True) -> Replacement:
    """The newest snapshot of `tree`, which lies beside the store, in the place of what is there."""
    if not exchanges:
        without_exchange()
    source = FilesSource("tree", store.parent / "tree")
    return replace_content(
        source, view_of(store), str(place), typed=place.name, now=now, records=place.parent
    )


def back(place: Path, now: datetime, *, exchanges: bool = True) -> Rollback:
    """The way back."""
    if not exchanges:
        without_exchange()
    return roll_back(str(place), now=now, records=place.parent)


# By name, for processes of their own


def replace_here(store: Path, place: Path) -> None:
    replace(store, place, NOW)


def replace_there(store: Path, place: Path) -> None:
    replace(store, place, NOW, exchanges=False)


def replace_there_and_tell(store: Path, place: Path, told: Path) -> None:
    done = replace(store, place, NOW, exchanges=False)
    told.write_text("\n".join(one.code for one in done.outcome.findings))


def back_here(place: Path) -> None:
    back(place, LATER)


def back_there(place: Path) -> None:
    back(place, LATER, exchanges=False)


def used(folder: Path) -> tuple[Path, Described]:
    """A directory in use, and what is in it."""
    folder.mkdir()
    place = folder / "uploads"
    (place / "lpos").mkdir(parents=True)
    (place / "lpos" / "1.pdf").write_text("changed since")
    (place / "mine").write_text("work of today")
    return place, describe(place)


def beside(place: Path) -> set[str]:
    """The names of all that lies where the directory lies, its own included."""
    return {one.name for one in place.parent.iterdir()}
