"""What somebody with our credentials could do to a repository: the doctor asks, and judges.

The one who takes a host over holds all that the host holds. What then counts is what the store
itself refuses, keeps as a version, or has locked. Asking leaves nothing behind that anybody sees.

Invariant: what is not known is told as unknown and never counts as protected.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from strongroom.errors import BusyError, StorageError
from strongroom.repository import Repository
from strongroom.repository.storage import Immutability, Keeping, LockMode, Reach, RunningLock

_ELSEWHERE: Final = (
    "Keep one copy where these credentials can destroy nothing: see *An immutable copy* in "
    "docs/OPERATIONS.md."
)
_LIFT: Final = (
    "Use object_lock_mode: compliance, or let these credentials have neither "
    "s3:BypassGovernanceRetention nor s3:DeleteObjectVersion."
)
_LOCK: Final = (
    "Set object_lock; or make sure that these credentials may not change the bucket's versioning "
    "and lifecycle."
)
_RENEW: Final = (
    "Run `strongroom prune`, which renews locks, with credentials that may lock objects."
)
_ASK: Final = "Let these credentials read the bucket's versioning (s3:GetBucketVersioning)."


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a thief could do, in words; whether what is stored outlives it, None when nobody can
    know; and what to do about it."""

    told: str
    protected: bool | None
    remedy: str


def exposure(repository: Repository) -> Exposure:
    """Ask the store, harmlessly. StorageError when it can't be reached."""
    immutability = repository.storage.immutability()
    if immutability is None:
        return Exposure("can remove and overwrite everything", False, _ELSEWHERE)
    keeping = immutability.keeping()
    reach = _reach(repository, immutability)
    lock = immutability.lock_of("config") if keeping.lockable is not False else None
    return judge(keeping, reach, lock, datetime.now(UTC))


def _reach(repository: Repository, immutability: Immutability) -> Reach:
    """Tried with a lock of ours, where one can be taken."""
    lock = repository.new_lock()
    try:
        try:
            lock.acquire()
        except BusyError:
            return immutability.reach()
        except StorageError as error:
            if error.code not in ("store-refused", "store-full"):
                raise
            return immutability.reach()
        return immutability.reach(lock.name)
    finally:
        lock.release()


def judge(keeping: Keeping, reach: Reach, lock: RunningLock | None, now: datetime) -> Exposure:
    """The worst that is possible by what the store said. `lock` is that of `config`, which ends
    before those of all else that is needed."""
    if keeping.versions:
        return _of_versions(keeping, reach, lock, now)
    if reach.removes is False:
        return _without_removing(keeping, reach)
    if keeping.versions is None:
        told = "can remove and overwrite everything; whether versions of it stay is unknown"
        return Exposure(told, None, _ASK)
    suspended = ": versions are suspended" if keeping.suspended else ""
    return Exposure(f"can remove and overwrite everything{suspended}", False, _ELSEWHERE)


def _without_removing(keeping: Keeping, reach: Reach) -> Exposure:
    """The store refuses to remove, and keeps no versions or doesn't tell."""
    if reach.replaces is False:
        return Exposure("can add only: the store refuses to remove and to overwrite", True, "")
    if reach.replaces is None:
        told = "cannot remove; whether it could overwrite is unknown"
        return Exposure(told, None, "Run `strongroom doctor` while nobody prunes.")
    if keeping.versions is None:
        told = "cannot remove, but overwrite everything; whether versions stay is unknown"
        return Exposure(told, None, _ASK)
    told = "cannot remove, but overwrite everything: the bucket keeps no versions"
    return Exposure(told, False, "Let the bucket keep versions, and lock objects.")


def _of_versions(
    keeping: Keeping, reach: Reach, lock: RunningLock | None, now: datetime
) -> Exposure:
    hides = "overwrite" if reach.removes is False else "remove and overwrite"
    if lock is not None and lock.until > now:
        until = f"Object Lock ({lock.mode.value}) until {lock.until:%Y-%m-%d %H:%M} UTC"
        if lock.mode is LockMode.COMPLIANCE or reach.erases is False:
            told = f"can {hides}, not destroy: recoverable by versions, {until}"
            return Exposure(told, True, "")
        told = f"can {hides}; {until}, unless it may bypass that, which is unknown"
        return Exposure(told, None, _LIFT)
    lapsed = ""
    if keeping.object_lock is not None or lock is not None:
        ended = f"ended {lock.until:%Y-%m-%d}" if lock else "is not there, or may not be asked"
        lapsed = f"; the lock of `config` {ended}"
    remedy = _RENEW if lapsed else _LOCK
    if reach.erases:
        return Exposure(
            f"can destroy everything: versions may be erased, too{lapsed}",
            False,
            remedy if lapsed else _ELSEWHERE,
        )
    if reach.erases is None:
        told = f"can {hides}; whether it can erase the versions is unknown{lapsed}"
        return Exposure(told, None, remedy)
    told = (
        f"can {hides}, not erase: recoverable by versions {_span(keeping)}, unless it may change "
        f"the bucket's settings, which is unknown{lapsed}"
    )
    return Exposure(told, None, remedy)


def _span(keeping: Keeping) -> str:
    if "lifecycle" in keeping.unread:
        return "for an unknown time"
    if keeping.versions_end_after is None:
        return "without an end"
    return f"for {keeping.versions_end_after.days} days"
