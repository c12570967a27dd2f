"""What a store keeps although somebody removes or overwrites it: versions, object locks, refusals.

A store that has nothing of that kind has no `Immutability`. Where an answer is None, the store
does not tell, and whoever reads it must not take that for good news.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


class LockMode(StrEnum):
    """Whether a lock can be lifted before it ends: by those who have that right, or by nobody."""

    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """For how long each new object is locked, and in which mode."""

    period: timedelta
    mode: LockMode


@dataclass(frozen=True, slots=True)
class RunningLock:
    """The lock of one object: until when, in UTC, and in which mode."""

    until: datetime
    mode: LockMode


@dataclass(frozen=True, slots=True)
class Keeping:
    """What the store's own settings say.

    `versions`: what is removed or overwritten stays behind as a version; `suspended`: no longer,
    but older versions may be there. `lockable`: objects can be locked; `object_lock`: how new ones
    are, None when they aren't. `versions_end_after`: how long after its removal the store drops a
    version by itself, None when it never does. `unread` names the settings that could not be
    read, about which the other fields say nothing.
    """

    versions: bool | None
    suspended: bool = False
    lockable: bool | None = False
    object_lock: ObjectLock | None = None
    versions_end_after: timedelta | None = None
    unread: frozenset[str] = frozenset()

    @property
    def frees(self) -> bool | None:
        """Whether the space of what is removed is free at once."""
        return None if self.versions is None else not (self.versions or self.suspended)


@dataclass(frozen=True, slots=True)
class Reach:
    """What our credentials were permitted when it was tried: to remove files, to replace them, and
    to erase a version for good."""

    removes: bool | None
    replaces: bool | None
    erases: bool | None


class Immutability(Protocol):
    """What such a store can be asked. Safe to use from several threads."""

    def keeping(self) -> Keeping:
        """Its settings, as far as they may be read."""
        ...

    def reach(self, own_lock: str | None = None) -> Reach:
        """Try, on what nobody needs. `own_lock` is the name of a lock file of ours that is there;
        without one, stores that would be tried by it don't tell whether files are replaced."""
        ...

    def lock_of(self, name: str) -> RunningLock | None:
        """The file's lock, which may have ended; None when it has none, or that may not be asked.
        StorageError `store-missing` when there is no such file."""
        ...

    def renew(self, name: str, lock: ObjectLock, *, least: datetime, until: datetime) -> bool:
        """Lock the file until `until`, unless its lock lasts until `least` anyway; whether that
        was needed. A lock that is running keeps its mode. StorageError `store-refused` when it is
        not permitted, `store-missing` when there is no such file."""
        ...
