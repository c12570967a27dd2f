"""What a replacement or a rollback is about to do, written down before it is done, so that the
next one knows what a stopped one has left.

One file for a target: `.NAME.strongroom-switch` beside a directory, one in the state folder for a
database. A line is added before each step and flushed; the last whole line holds. The file is
locked while somebody works, and removed when the work is done: one that is there and can be locked
belongs to a run that was stopped.

Invariant: what bears a name that the journal holds and is the very thing that it holds (a
directory's inode) is ours; nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

from strongroom.errors import BusyError, TargetError

__all__ = [
    "Identity",
    "Journal",
    "Operation",
    "Plan",
    "identity_of",
    "journal_beside",
    "open_journal",
]

Identity: TypeAlias = tuple[int, int]
"""A directory's device and inode, which stay when its name changes."""

_SUFFIX: Final = ".strongroom-switch"
_LONGEST_NAME_BYTES: Final = 255


class Operation(StrEnum):
    """What is being done."""

    REPLACE = "replace"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will take the target's name is called `incoming` until then, and what has it will be
    called `outgoing`. `old` and `new` are which directories these are, None of what is not there
    or not made yet; of databases `old` says only whether there is one. `earlier` is what stopped
    runs have restored in part, by name."""

    operation: Operation
    incoming: str
    outgoing: str
    old: Identity | None = None
    new: Identity | None = None
    earlier: tuple[tuple[str, Identity], ...] = ()


class Journal:
    """An open journal, which nobody else can open meanwhile. `left` is what an earlier run was
    about to do when it was stopped; `was_idle` says that one was stopped before it had a plan."""

    def __init__(self, path: Path, descriptor: int, *, was_there: bool) -> None:
        self._path, self._descriptor = path, descriptor
        self.left = _last_plan(descriptor)
        self.was_idle = was_there and self.left is None

    def write(self, plan: Plan) -> None:
        """From now on the next run knows of this."""
        line = json.dumps(dataclasses.asdict(plan)) + "\n"
        os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            os.write(self._descriptor, line.encode())
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def forget(self) -> None:
        """What stands here is settled; something else may begin."""
        self.left = None
        os.ftruncate(self._descriptor, 0)

    def clear(self) -> None:
        """Nothing is under way any more, and nothing is left that this journal would name."""
        self.left = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def journal_beside(place: Path) -> Path:
    """Where the journal of a directory is."""
    room = _LONGEST_NAME_BYTES - len(_SUFFIX) - 1
    name = os.fsdecode(os.fsencode(place.name)[:room])
    return place.with_name(f".{name}{_SUFFIX}")


@contextlib.contextmanager
def open_journal(path: Path, subject: str) -> Iterator[Journal]:
    """The journal, locked. BusyError while another run has it; TargetError when it can't be
    written. At the end it stays where it is, unless it was cleared or nothing stands in it."""
    was_there = os.path.lexists(path)
    descriptor = _opened(path, subject)
    journal = Journal(path, descriptor, was_there=was_there)
    try:
        yield journal
    finally:
        if not os.fstat(descriptor).st_size:
            journal.clear()
        os.close(descriptor)


def identity_of(path: Path) -> Identity | None:
    """Which directory bears a name; None where nothing does."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _opened(path: Path, subject: str) -> int:
    while True:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise BusyError(
                "it is being replaced or rolled back by another run", subject=subject
            ) from None
        if identity_of(path) == _identity(os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)  # the other run has removed it before we had the lock


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _unwritable(path: Path, error: OSError) -> TargetError:
    return TargetError(
        f"what is about to be done cannot be written down: {error.strerror}",
        subject=str(path),
        hint="Let this user write there, or restore into an empty target.",
    )


def _last_plan(descriptor: int) -> Plan | None:
    """The last line that is whole; a stop while one was written leaves the one before."""
    size = os.fstat(descriptor).st_size
    for line in reversed(os.pread(descriptor, size, 0).split(b"\n")):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return _plan(json.loads(line))
    return None


def _plan(fields: dict[str, Any]) -> Plan:  # Any: JSON values; each is checked
    incoming, outgoing = fields["incoming"], fields["outgoing"]
    if not all(isinstance(one, str) and one for one in (incoming, outgoing)):
        raise ValueError("no names")
    return Plan(
        Operation(fields["operation"]),
        incoming,
        outgoing,
        _read_identity(fields["old"]),
        _read_identity(fields["new"]),
        tuple((str(name), _read_pair(pair)) for name, pair in fields["earlier"]),
    )


def _read_identity(value: Any) -> Identity | None:  # Any: a JSON value
    return None if value is None else _read_pair(value)


def _read_pair(value: Any) -> Identity:  # Any: a JSON value
    device, inode = value
    return int(device), int(inode)
