"""What a bucket keeps against whoever has our credentials: versions, Object Lock, refusals.

Facts, from Amazon's documentation of S3: a DELETE without a version id leaves a marker in a bucket
with versions, also for a name that nobody knows, and is never refused because of a lock; one with
a version id erases that version, unless it is locked. A lock can be made longer by whoever may
lock; shorter only in governance mode, by those who may bypass it. A PUT can't be kept from
hiding what is there.

What is asked changes nothing but for one marker of a name that never was, which is erased again
where that is permitted; trying so shows what is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strongroom.errors import StorageError
from strongroom.repository.storage.immutability import (
    Keeping,
    LockMode,
    ObjectLock,
    Reach,
    RunningLock,
)
from strongroom.repository.storage.s3 import S3Storage, whole_second

_DAYS_A_YEAR: Final = 365
# How a store answers that may not or cannot be asked. What may pass by itself is raised.
_NO_ANSWER: Final = frozenset({"store-refused", "store-failed"})


class S3Immutability:
    """One bucket; safe to use from several threads."""

    def __init__(self, storage: S3Storage) -> None:
        self._storage = storage

    def keeping(self) -> Keeping:
        unread: set[str] = set()
        versioning = self._setting("versions", "get_bucket_versioning", unread)
        status = versioning.get("Status")
        locking = self._setting("Object Lock", "get_object_lock_configuration", unread).get(
            "ObjectLockConfiguration", {}
        )
        lockable = locking.get("ObjectLockEnabled") == "Enabled"
        rules = self._setting("lifecycle", "get_bucket_lifecycle_configuration", unread)
        return Keeping(
            versions=None if "versions" in unread else status == "Enabled",
            suspended=status == "Suspended",
            lockable=None if "Object Lock" in unread else lockable,
            object_lock=self._storage.object_lock or (_default_lock(locking) if lockable else None),
            versions_end_after=_end_of_versions(rules.get("Rules", ()), self._storage.prefix),
            unread=frozenset(unread),
        )

    def _setting(self, name: str, operation: str, unread: set[str]) -> Mapping[str, Any]:
        """The bucket's answer, empty when it has no such setting. Any: boto3's own shapes."""
        try:
            return self._storage.ask(operation)
        except StorageError as error:
            if error.code in _NO_ANSWER:
                unread.add(name)
            elif error.code != "store-missing":
                raise
            return {}

    def reach(self, own_lock: str | None = None) -> Reach:  # noqa: ARG002 - nothing has to be tried
        name = f"data/00/00{secrets.token_hex(31)}"
        marker = None
        removes = erases = None
        try:
            marker = self._storage.ask("delete_object", name).get("VersionId")
            removes = True
        except StorageError as error:
            if error.code != "store-refused":
                raise
            removes = False
        try:
            self._storage.ask("delete_object", name, VersionId=marker or "null")
            erases = True
        except StorageError as error:
            if error.code == "store-unreachable":
                raise
            # Anything but a refusal says that it isn't understood.
            erases = False if error.code == "store-refused" else None
        return Reach(removes, replaces=True, erases=erases)

    def lock_of(self, name: str) -> RunningLock | None:
        return _lock_told(self._storage.ask("head_object", name))

    def renew(self, name: str, lock: ObjectLock, *, least: datetime, until: datetime) -> bool:
        head = self._storage.ask("head_object", name)
        known, mode = _lock_told(head), lock.mode
        if known is not None and known.until >= least:
            return False
        if known is not None and known.until > datetime.now(UTC):
            mode = known.mode
        # Of the version that was looked at: another one may have come meanwhile.
        version = {"VersionId": head["VersionId"]} if head.get("VersionId") else {}
        self._storage.ask(
            "put_object_retention",
            name,
            Retention={"Mode": mode.value.upper(), "RetainUntilDate": whole_second(until)},
            **version,
        )
        return True


# Any in what follows: boto3's own shapes
def _lock_told(head: Mapping[str, Any]) -> RunningLock | None:
    ends, mode = head.get("ObjectLockRetainUntilDate"), str(head.get("ObjectLockMode")).lower()
    if not isinstance(ends, datetime) or mode not in set(LockMode):
        return None
    return RunningLock(ends.astimezone(UTC), LockMode(mode))


def _default_lock(configured: Mapping[str, Any]) -> ObjectLock | None:
    rule = configured.get("Rule", {}).get("DefaultRetention", {})
    days = int(rule.get("Days") or 0) + _DAYS_A_YEAR * int(rule.get("Years") or 0)
    return ObjectLock(timedelta(days=days), LockMode(str(rule["Mode"]).lower())) if days else None


def _end_of_versions(rules: Iterable[Mapping[str, Any]], prefix: str) -> timedelta | None:
    """When the first rule that holds for all below the prefix drops what is no longer current."""
    spans = []
    for rule in rules:
        chosen = rule.get("Filter", {})
        begins = chosen.get("Prefix", rule.get("Prefix", ""))
        days = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
        simple = set(chosen) <= {"Prefix"}
        if rule.get("Status") == "Enabled" and days and simple and prefix.startswith(begins or ""):
            spans.append(timedelta(days=int(days)))
    return min(spans, default=None)
