"""Where a source comes back to: beside its place first, under a name that only this recovery has,
and into its place once it is proven.

Invariants: nothing but what bears this recovery's own name is ever removed; what bears the place's
name was proven. A database in which nothing may be made beside it is the exception, see `Database`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Protocol

from strongroom.errors import TargetError
from strongroom.postgres.replacement import (
    database_exists,
    drop_if_made,
    name_beside,
    take_name,
)
from strongroom.postgres.target import (
    MAINTENANCE,
    find_database,
    foreign_owner,
    may_create_databases,
)
from strongroom.sources.database import connection_to

__all__ = ["Database", "Place", "Tree", "apply_ownership"]


class Place(Protocol):
    """One source's place."""

    in_place: bool

    def inspect(self) -> None:
        """TargetError when something is there, or nothing can be made there."""
        ...

    def holds(self) -> bool:
        """Whether what was restored is there, under its own name or beside."""
        ...

    def prepare(self) -> str:
        """Where to restore to, made empty: what an earlier try has left there is gone."""
        ...

    def settle(self) -> None:
        """Give the place's name to what was restored and proven; harmless the second time."""
        ...

    def discard(self) -> None:
        """Remove what was restored beside the place; TargetError when that fails."""
        ...

    def now_at(self) -> str:
        """Where what was restored is: beside its place, or in it."""
        ...

    def where(self) -> str:
        """What was restored and did not get the place's name, for people."""
        ...


class Tree:
    """A folder: `final`, and beside it `.NAME.recovering-KEY`."""

    in_place = False

    def __init__(self, final: Path, key: str) -> None:
        self.final = final
        self.beside = final.with_name(f".{final.name}.recovering-{key}")

    def inspect(self) -> None:
        if os.path.lexists(self.final):
            raise TargetError(
                "something is there that this recovery has not put there",
                subject=str(self.final),
                code="target-not-empty",
                hint="Move it away, or recover into another directory.",
            )

    def holds(self) -> bool:
        return self.final.is_dir() or self.beside.is_dir()

    def prepare(self) -> str:
        self.inspect()
        self.discard()
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(error.strerror or "", subject=str(self.final.parent)) from error
        return str(self.beside)

    def settle(self) -> None:
        if not os.path.lexists(self.beside) and os.path.lexists(self.final):
            return
        self.inspect()
        try:
            self.beside.rename(self.final)
            _flush_folder(self.final.parent)
        except OSError as error:
            raise TargetError(
                f"cannot be renamed to {self.final}: {error.strerror}", subject=str(self.beside)
            ) from error

    def discard(self) -> None:
        if not os.path.lexists(self.beside):
            return
        try:
            shutil.rmtree(self.beside, onerror=_open_and_try_again)
        except OSError as error:
            raise TargetError(
                f"what an earlier run has left cannot be removed: {error.strerror}",
                subject=str(self.beside),
            ) from error

    def now_at(self) -> str:
        return str(self.beside if os.path.lexists(self.beside) else self.final)

    def where(self) -> str:
        return str(self.beside)


class Database:
    """A database, and beside it `NAME_recovering_KEY` on the same server.

    One that is there, and is empty, gives way. Where the role may make no database, or it is one
    that every server has, the empty one is loaded as it stands (`in_place`): what a killed run
    leaves in it is refused by the next one.
    """

    def __init__(self, target: str, key: str) -> None:
        self._target = target
        self._address = connection_to(target)
        self._beside = name_beside(self._address.database, f"_recovering_{key}")
        self.in_place = False

    def inspect(self) -> None:
        is_there, may_create = find_database(self._address), may_create_databases(self._address)
        if not is_there and not may_create:
            raise TargetError(
                "there is no such database, and the role may not create one",
                subject=self._address.describe(),
                hint="Connect as a role with CREATEDB, or name an existing empty database.",
            )
        gives_way = is_there and may_create and self._address.database not in MAINTENANCE
        owner = foreign_owner(self._address) if gives_way else None
        if owner is not None:
            raise TargetError(
                f"it belongs to {owner}, so that what is restored could not take its name",
                subject=self._address.describe(),
                hint="Connect as that role, or drop this empty database: it is made anew.",
            )

    def holds(self) -> bool:
        if database_exists(self._address, self._beside):
            return True
        try:
            find_database(self._address)
        except TargetError as error:
            if error.code != "target-not-empty":
                raise
            return True
        return False

    def prepare(self) -> str:
        exists = find_database(self._address)
        fixed = self._address.database in MAINTENANCE
        self.in_place = exists and (fixed or not may_create_databases(self._address))
        if self.in_place:
            return self._target
        drop_if_made(self._address, self._beside)
        return self._address.with_database(self._beside).conninfo()

    def settle(self) -> None:
        if not self.in_place:
            take_name(self._address, self._beside)

    def discard(self) -> None:
        if not self.in_place:
            drop_if_made(self._address, self._beside)

    def now_at(self) -> str:
        if database_exists(self._address, self._beside):
            return self._address.with_database(self._beside).conninfo()
        return self._target

    def where(self) -> str:
        name = self._address.database if self.in_place else self._beside
        return self._address.with_database(name).describe()


def apply_ownership(
    tree: Path,
    *,
    owner: tuple[int, int] | None,
    folder_mode: int | None,
    file_mode: int | None,
    kept: frozenset[Path] = frozenset(),
) -> int:
    """Give a tree to a user and group (-1 leaves one as it is), and set modes; returns of how many
    files and folders. Links are given away and never followed; the modes of `kept` stay."""
    count = 0
    folders = [tree]
    try:
        for above, names, files in os.walk(tree):
            folders += [Path(above, name) for name in names]
            for place in (Path(above, name) for name in files):
                _set(place, owner, None if place in kept else file_mode)
                count += 1
        # From the inside out: a folder may lose the rights that its content needs.
        for place in reversed(folders):
            _set(place, owner, folder_mode)
            count += 1
    except OSError as error:
        raise TargetError(
            f"its owner or mode cannot be set: {error.strerror}",
            subject=str(error.filename or tree),
            hint="Recover as root, or leave `recovery.ownership` out.",
        ) from error
    return count


def _set(place: Path, owner: tuple[int, int] | None, mode: int | None) -> None:
    if owner is not None:
        os.chown(place, *owner, follow_symlinks=False)
    if mode is not None and not stat.S_ISLNK(place.lstat().st_mode):
        place.chmod(mode)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Any: shutil's own shapes
def _open_and_try_again(remove: Any, name: str, _: Any) -> None:
    """A folder whose owner may not write in it keeps what it holds."""
    place = Path(name)
    for one in (place.parent, place):
        with contextlib.suppress(OSError):
            if not one.is_symlink():
                one.chmod(stat.S_IRWXU)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(name)
    else:
        remove(name)
