"""A store that fails at the operation of a test's choice, in front of a real one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from strongroom.errors import StorageError
from strongroom.repository import Storage
from strongroom.repository.storage import (
    Buffer,
    Immutability,
    LocalStorage,
    MemoryStorage,
    Room,
    StoredFile,
)

CHANGES = frozenset({"create", "save", "delete"})
SAVES = frozenset({"save"})
READS = frozenset({"load", "size", "list"})
EVERYTHING = CHANGES | READS | {"immutability"}


class How(StrEnum):
    """What becomes of the chosen operation."""

    ERROR = "an error, and nothing is done"
    TORN = "an error; of a save, half is left under a temporary name"
    SHORT = "an error; of a save, half is left under the file's own name"
    LYING = "no error, though of a save only half was stored"
    KILLED = "the process is killed there; of a save, half is left under a temporary name"


@dataclass(frozen=True)
class Failure:
    """Operation number `at` of the kinds `of` fails, counted from 1; all later ones as well when
    it is `lasting`."""

    at: int
    lasting: bool = False
    how: How = How.ERROR
    of: frozenset[str] = EVERYTHING


class FailingStorage:
    """Passes everything on to `inner`, but for the failure; `operations` lists all calls, `failed`
    those that failed."""

    def __init__(self, inner: Storage, failure: Failure | None = None) -> None:
        self._inner = inner
        self._failure = failure
        self._counted = 0
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
            self._counted = 0
            self.operations.clear()

    def create(self) -> None:
        self._step("create")
        self._inner.create()

    def save(self, name: str, data: Buffer) -> None:
        if not self._step("save", name, data):
            self._inner.save(name, data)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._step("load", name)
        return self._inner.load(name, offset, length)

    def size(self, name: str) -> int:
        self._step("size", name)
        return self._inner.size(name)

    def list(self, folder: str) -> Iterator[StoredFile]:
        self._step("list", folder)
        return self._inner.list(folder)

    def delete(self, name: str) -> None:
        self._step("delete", name)
        self._inner.delete(name)

    def immutability(self) -> Immutability | None:
        self._step("immutability")
        return self._inner.immutability()

    def room(self) -> Room | None:
        return self._inner.room()

    def close(self) -> None:
        self._inner.close()

    def _step(self, kind: str, name: str = "", data: Buffer | None = None) -> bool:
        """Whether the operation fails without saying so."""
        what = f"{kind} {name}".strip()
        with self._guard:
            self.operations.append(what)
            failure = self._failure
            if failure is None or kind not in failure.of:
                return False
            self._counted += 1
            late = failure.lasting and self._counted > failure.at
            if self._counted != failure.at and not late:
                return False
            self.failed.append(what)
            if data is not None:
                self._leave_half(failure.how, name, bytes(data))
            if failure.how is How.KILLED:
                os.kill(os.getpid(), signal.SIGKILL)
            if failure.how is How.LYING:
                return True
            number = len(self.operations)
            raise StorageError(f"operation {number} fails ({what})", subject=self.location)

    def _leave_half(self, how: How, name: str, data: bytes) -> None:
        half = data[: len(data) // 2]
        if how in (How.SHORT, How.LYING):
            self._inner.save(name, half)
        elif how in (How.TORN, How.KILLED) and isinstance(self._inner, LocalStorage):
            path = Path(self._inner.location) / f"{name}-tmp-0123456789abcdef"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(half)


def copied(source: Storage, target: Storage | None = None) -> Storage:
    """All files of a store in another one, in memory unless one is given."""
    target = target or MemoryStorage()
    target.create()
    target.save("config", source.load("config"))
    for folder in ("keys", "data", "index", "snapshots", "locks"):
        for file in source.list(folder):
            target.save(file.name, source.load(file.name))
    return target
