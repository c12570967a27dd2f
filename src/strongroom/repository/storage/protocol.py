"""What the engine asks of a store, as small as it can be.

Errors are StorageErrors: `store-missing` when a file (or the place itself) is not there,
`store-refused` when it is not permitted, `store-full`, `store-unreachable` for what may pass by
itself (a lost connection, a time-out, a store that asks for a pause), `store-failed` for the rest.

A store keeps immutable files under the names of the restic layout (`config`, `keys/ID`,
`data/ab/ID` ...). `save` is atomic and durable: when it returns, the whole file is on stable
storage under its name; before that, nothing is visible under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from strongroom.repository.storage.immutability import Immutability

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a listing: its layout name (`data/ab/abcd...`), its size in bytes, and when it
    was stored by the store's own clock, None where the store doesn't say."""

    name: str
    size_bytes: int
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How large the place of a store is, and how much of that we may still fill, in bytes."""

    total_bytes: int
    free_bytes: int


class Storage(Protocol):
    """What the engine needs of a store; every kind passes tests/contract/test_storage.py. Safe to
    use from several threads."""

    @property
    def location(self) -> str:
        """The location as the configuration names it, without credentials."""
        ...

    @property
    def connections(self) -> int:
        """How many saves or loads at once are worth while."""
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

    def immutability(self) -> Immutability | None:
        """What stands between a file here and whoever has our credentials; None for nothing."""
        ...

    def room(self) -> Room | None:
        """How much room there is; None where the store does not tell, as those don't that have no
        fixed size."""
        ...

    def close(self) -> None:
        """Give connections back; the next operation makes new ones."""
        ...
