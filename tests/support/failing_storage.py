"""A store that fails at the operation of a test's choice, in front of a real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.errors import StorageError
from strongroom.repository import Storage
from strongroom.repository.storage import (
    Buffer,
    Immutability,
    LocalStorage,
    MemoryStorage,
    StoredFile,
)


@dataclass(frozen=True)
class Failure:
    """Operation number `at` fails, counted from 1; all later ones as well when it is `lasting`.

    A `torn` save leaves half of the file under its temporary name, as a crash would.
    """

    at: int
    lasting: bool = False
    torn: bool = False


class FailingStorage:
    """Passes everything on to `inner`, but for the failure; `operations` lists all calls."""

    def __init__(self, inner: Storage, failure: Failure | None = None) -> None:
        self._inner = inner
        self._failure = failure
        self._guard = threading.Lock()
        self.operations: list[str] = []
        self.failed: list[str] = []

    @property
    def location(self) -> str:
        return self._inner.location

    @property
    def connections(self) -> int:
        return self._inner.connections

    def fail(self, failure: Failure | None) -> None:
        """From now on fail so, counting anew."""
        with self._guard:
            self._failure = failure
            self.operations.clear()

    def create(self) -> None:
        self._step("create")
        self._inner.create()

    def save(self, name: str, data: Buffer) -> None:
        try:
            self._step(f"save {name}")
        except StorageError:
            if self._failure and self._failure.torn:
                self._leave_half(name, data)
            raise
        self._inner.save(name, data)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._step(f"load {name}")
        return self._inner.load(name, offset, length)

    def size(self, name: str) -> int:
        self._step(f"size {name}")
        return self._inner.size(name)

    def list(self, folder: str) -> Iterator[StoredFile]:
        self._step(f"list {folder}")
        return self._inner.list(folder)

    def delete(self, name: str) -> None:
        self._step(f"delete {name}")
        self._inner.delete(name)

    def immutability(self) -> Immutability | None:
        self._step("immutability")
        return self._inner.immutability()

    def close(self) -> None:
        self._inner.close()

    def _step(self, what: str) -> None:
        with self._guard:
            self.operations.append(what)
            failure, number = self._failure, len(self.operations)
            if failure and (number == failure.at or (failure.lasting and number > failure.at)):
                self.failed.append(what)
                raise StorageError(f"operation {number} fails ({what})", subject=self.location)

    def _leave_half(self, name: str, data: Buffer) -> None:
        if isinstance(self._inner, LocalStorage):
            from pathlib import Path

            path = Path(self._inner.location) / f"{name}-tmp-0123456789abcdef"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(data)[: len(data) // 2])


def copied(source: Storage, target: Storage | None = None) -> Storage:
    """All files of a store in another one, in memory unless one is given."""
    target = target or MemoryStorage()
    target.create()
    target.save("config", source.load("config"))
    for folder in ("keys", "data", "index", "snapshots", "locks"):
        for file in source.list(folder):
            target.save(file.name, source.load(file.name))
    return target
