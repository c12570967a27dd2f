"""Giving a directory's name to another one: at once where the file system can, else in two steps.

Linux exchanges two names in one step (`renameat2` with RENAME_EXCHANGE, see rename(2)): whoever
opens the name sees the one or the other, never nothing. Not every file system knows it, nor does
any other system; there the name is missing for a moment, between two renames.

Invariant: nothing is overwritten. A stop between the steps leaves both directories, each under a
name that `switch_journal` has written down before.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strongroom.errors import TargetError

__all__ = ["exchange", "flush_folder", "move", "switch"]

_AT_FDCWD: Final = -100
_NOREPLACE: Final = 1
_EXCHANGE: Final = 2
# What kernels, file systems and C libraries answer that don't know it.
_UNKNOWN: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY})


def switch(place: Path, incoming: Path, outgoing: Path) -> bool:
    """`place` is what `incoming` was, and `outgoing` is what `place` was.

    Returns whether no moment was without a `place`. TargetError when a name could not be changed;
    then all is as it was.
    """
    if not os.path.lexists(place):
        move(incoming, place)
        return True
    at_once = exchange(incoming, place)
    if at_once:
        _or_back(lambda: move(incoming, outgoing), lambda: exchange(incoming, place))
    else:
        move(place, outgoing)
        _or_back(lambda: move(incoming, place), lambda: outgoing.rename(place))
    flush_folder(place.parent)
    return at_once


def exchange(first: Path, second: Path) -> bool:
    """Whether the two names were exchanged; False where that is not known here.

    TargetError when it is known, and refused.
    """
    return _rename_with(_EXCHANGE, first, second)


def move(old: Path, new: Path) -> None:
    """Give a directory a name that nothing has. TargetError when something has it."""
    if _rename_with(_NOREPLACE, old, new):
        return
    if os.path.lexists(new):
        raise _refused(old, new, os.strerror(errno.EEXIST))
    try:
        old.rename(new)
    except OSError as error:
        raise _refused(old, new, error.strerror or "") from error


def flush_folder(folder: Path) -> None:
    """Names that were given in it are on stable storage when this returns; where we may not read
    the folder, some time later."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_with(flags: int, first: Path, second: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if not rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flags):
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise _refused(first, second, os.strerror(number))


def _or_back(step: Callable[[], object], undo: Callable[[], object]) -> None:
    try:
        step()
    except BaseException:
        undo()
        raise


def _refused(old: Path, new: Path, reason: str) -> TargetError:
    return TargetError(f"cannot be renamed to {new}: {reason}", subject=str(old))
