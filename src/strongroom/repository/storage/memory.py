"""A store in memory, for tests of the engine; it keeps the contract, and forgets all at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from strongroom.errors import StorageError
from strongroom.repository.storage.protocol import Buffer, StoredFile


class MemoryStorage:
    """Files in a dictionary; safe to use from several threads."""

    connections = 1

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        return "memory:"

    def create(self) -> None:
        return None

    def save(self, name: str, data: Buffer) -> None:
        with self._lock:
            self._files[name] = (bytes(data), datetime.now(UTC))

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        content = self._content(name)
        wanted = content[offset:] if length is None else content[offset : offset + length]
        if length is not None and len(wanted) != length:
            raise StorageError("the file is shorter than it should be", subject=name)
        return wanted

    def size(self, name: str) -> int:
        return len(self._content(name))

    def list(self, folder: str) -> Iterator[StoredFile]:
        with self._lock:
            found = [
                StoredFile(name, len(content), moment)
                for name, (content, moment) in self._files.items()
                if name.startswith(folder + "/")
            ]
        return iter(found)

    def delete(self, name: str) -> None:
        with self._lock:
            self._files.pop(name, None)

    def immutability(self) -> None:
        return None

    def room(self) -> None:
        return None

    def close(self) -> None:
        return None

    def _content(self, name: str) -> bytes:
        with self._lock:
            try:
                return self._files[name][0]
            except KeyError:
                raise StorageError("no such file", subject=name, code="store-missing") from None
