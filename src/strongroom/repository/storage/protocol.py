"""What the engine asks of a store, as small as it can be.

A store keeps immutable files under the names of the restic layout (`config`, `keys/ID`,
`data/ab/ID` ...). `save` is atomic and durable: when it returns, the whole file is on stable
storage under its name; before that, nothing is visible under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a listing: its layout name (`data/ab/abcd...`) and its size in bytes."""

    name: str
    size_bytes: int


class Storage(Protocol):
    """What the engine needs of a store; every kind passes tests/contract/test_storage.py.

    Errors: StorageError `store-missing` when `load` or `size` name a file that is not there,
    `store-full`, `store-refused` (not permitted, read-only), `store-failed` for the rest.
    """

    @property
    def location(self) -> str:
        """The location as the configuration names it, without credentials."""
        ...

    def create(self) -> None:
        """Make the place for a new repository; harmless when it is there."""
        ...

    def save(self, name: str, data: Buffer) -> None:
        """Store a whole file, atomically and durably, replacing nothing that readers rely on."""
        ...

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file; a range must lie within it, a short answer is an error."""
        ...

    def size(self, name: str) -> int:
        """The size of a file in bytes."""
        ...

    def list(self, folder: str) -> Iterator[StoredFile]:
        """All files below a folder of the layout (`keys`, `data` ...), in no special order."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; it is not an error when it is gone already."""
        ...
