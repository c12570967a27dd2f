"""Where a repository's files lie: one Protocol, one module per kind of store.

A vendor's SDK is imported in its own module only.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from strongroom.errors import ConfigError
from strongroom.repository.storage.access import AS_TOOLS_DO, Access
from strongroom.repository.storage.immutability import (
    Immutability,
    Keeping,
    LockMode,
    ObjectLock,
    Reach,
    RunningLock,
)
from strongroom.repository.storage.limited import UNLIMITED, LimitedStorage, Limits
from strongroom.repository.storage.local import LocalStorage
from strongroom.repository.storage.memory import MemoryStorage
from strongroom.repository.storage.protocol import Buffer, Room, Storage, StoredFile
from strongroom.repository.storage.retrying import DEFAULT_PATIENCE, Patience, RetryingStorage

__all__ = [
    "DEFAULT_PATIENCE",
    "Access",
    "Buffer",
    "Immutability",
    "Keeping",
    "LimitedStorage",
    "Limits",
    "LocalStorage",
    "LockMode",
    "MemoryStorage",
    "ObjectLock",
    "Patience",
    "Reach",
    "RetryingStorage",
    "Room",
    "RunningLock",
    "Storage",
    "StoredFile",
    "location_kind",
    "open_storage",
]

_KINDS: Final = frozenset({"s3", "rest", "sftp"})
# Other tools' names for stores that we don't reach: no path is meant by them.
_UNKNOWN: Final = frozenset({"azure", "gs", "b2", "rclone", "swift"})


def open_storage(
    location: str,
    access: Access = AS_TOOLS_DO,
    *,
    limits: Limits = UNLIMITED,
    patience: Patience = DEFAULT_PATIENCE,
    object_lock: ObjectLock | None = None,
    as_of: datetime | None = None,
) -> Storage:
    """The store for a location in restic's syntax; nothing is connected yet.

    What may pass is waited out, within `patience`. With `as_of` it is seen as it was then, read
    only. ConfigError for a location that is none, and for a past where there is none.
    """
    kind = location_kind(location)
    if as_of is not None and kind != "s3":
        raise ConfigError(
            "only a bucket of S3 that keeps versions has a past to look at",
            subject=location,
            code="usage",
            hint="Leave --store-as-of out, or name such a repository.",
        )
    made: Storage
    match kind:
        case "s3":
            from strongroom.repository.storage.s3 import S3Storage

            made = S3Storage(location, access, object_lock=object_lock)
            if as_of is not None:
                from strongroom.repository.storage.s3_past import S3PastStorage

                made = S3PastStorage(made, as_of)
        case "rest":
            from strongroom.repository.storage.rest import RestStorage

            made = RestStorage(location, access)
        case "sftp":
            from strongroom.repository.storage.sftp import SftpStorage

            made = SftpStorage(location, access)
        case _:
            made = LocalStorage(Path(location.removeprefix("local:")).expanduser())
    if limits != UNLIMITED:
        made = LimitedStorage(made, limits)
    return made if isinstance(made, LocalStorage) else RetryingStorage(made, patience)


def location_kind(location: str) -> str:
    """`s3`, `rest`, `sftp` or `local`; ConfigError for a store of another kind."""
    scheme, separator, _ = location.partition(":")
    if separator and scheme in _KINDS:
        return scheme
    if separator and scheme in _UNKNOWN:
        raise ConfigError(
            f"stores of kind `{scheme}:` are not supported",
            subject=location.rpartition("@")[2],
            hint="Use a path, s3:, sftp: or rest:.",
        )
    return "local"
