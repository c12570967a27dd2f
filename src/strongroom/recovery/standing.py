"""What a restored source looks like, so that a later run knows whether it still stands as proven.

Not a proof: a file stands by its size and time, a row by the transaction that wrote it. Whoever
sets both back on purpose is not found out; whoever deletes, empties or writes is. Owners, modes
and times of folders do not count, since a recovery sets them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from strongroom.errors import TargetError
from strongroom.postgres.database_state import TABLE

__all__ = ["differences", "state_of_tree"]

_MOST_NAMED: Final = 3
# Git writes it anew whenever anybody asks for the status.
_OF_GIT: Final = ".git/index"


def state_of_tree(folder: Path) -> dict[str, str]:
    """Its files, folders and links; TargetError when it cannot be read."""
    found: dict[str, str] = {}

    def refuse(error: OSError) -> None:
        raise error

    try:
        for above, folders, files in os.walk(folder, onerror=refuse):
            for name in (*folders, *files):
                place = os.path.join(above, name)  # noqa: PTH118 - of millions
                found[os.path.relpath(place, folder)] = _of_place(place)
    except OSError as error:
        raise TargetError(error.strerror or "", subject=str(error.filename)) from error
    found.pop(_OF_GIT, None)
    return {os.fsencode(name).decode("utf-8", "backslashreplace"): s for name, s in found.items()}


def _of_place(place: str) -> str:
    status = os.lstat(place)
    if stat.S_ISREG(status.st_mode):
        return f"file {status.st_size} {status.st_mtime_ns}"
    if stat.S_ISLNK(status.st_mode):
        return "link " + os.fsencode(Path(place).readlink()).decode("utf-8", "backslashreplace")
    return f"other {stat.S_IFMT(status.st_mode):o}"


def differences(
    before: Mapping[str, str],
    now: Mapping[str, str],
    *,
    may_grow: bool,
    passed_over: Collection[str] = (),
) -> list[str]:
    """How it differs, a phrase for each kind of difference. `may_grow`: what was added since is
    somebody's work, as of an application that was started. `passed_over` are places, with all
    below them, that are not looked at."""
    names = [*before, *(one for one in now if one not in before)]
    seen = [one for one in names if not _is_below(one, passed_over)]
    told: list[str] = []
    gone, changed, added = [], [], []
    for name in seen:
        old, new = before.get(name), now.get(name)
        if new is None:
            gone.append(name.removeprefix(TABLE))
        elif old is None:
            added.append(name.removeprefix(TABLE))
        elif name.startswith(TABLE):
            told += _of_rows(name.removeprefix(TABLE), old, new, may_grow)
        elif old != new:
            changed.append(name)
    for what, which in (("gone", gone), ("changed", changed), ("added", added)):
        if which and not (what == "added" and may_grow):
            told.append(f"{what}: {_listed(which)}")
    return told


def _of_rows(table: str, old: str, new: str, may_grow: bool) -> list[str]:
    count, total, *_ = map(int, old.split(":"))
    left, left_total, _, added = map(int, new.split(":"))
    if left < count:
        return [f"{table} held {count} rows, of which {left} stand as they were"]
    if total != left_total:
        return [f"rows of {table} were written since"]
    return [f"{added} rows were added to {table}"] if added and not may_grow else []


def _is_below(name: str, places: Collection[str]) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in places)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
