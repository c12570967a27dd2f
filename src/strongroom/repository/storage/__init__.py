"""Where a repository's files lie: one Protocol, one module per kind of store.

A vendor's SDK is imported in its own module only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strongroom.errors import ConfigError
from strongroom.repository.storage.local import LocalStorage
from strongroom.repository.storage.memory import MemoryStorage
from strongroom.repository.storage.protocol import Buffer, Storage, StoredFile

__all__ = ["Buffer", "LocalStorage", "MemoryStorage", "Storage", "StoredFile", "open_storage"]

_REMOTE_SCHEMES: Final = frozenset({"s3", "sftp", "rest", "azure", "gs", "b2", "rclone", "swift"})


def open_storage(location: str) -> Storage:
    """The store for a location in restic's syntax: an absolute or relative path for now."""
    scheme, separator, _ = location.partition(":")
    if separator and scheme in _REMOTE_SCHEMES:
        raise ConfigError(
            f"stores of kind `{scheme}:` are not supported by this version",
            subject=location.rpartition("@")[2],
            hint="Use a path on a local or mounted file system.",
        )
    path = location.removeprefix("local:")
    return LocalStorage(Path(path).expanduser())
