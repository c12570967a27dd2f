"""Keeping to a number of bytes a second, in either direction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from strongroom.repository.storage.immutability import Immutability
from strongroom.repository.storage.protocol import Buffer, Room, Storage, StoredFile


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes a second to and from the store; None where there is no limit."""

    upload: int | None = None
    download: int | None = None


UNLIMITED: Final = Limits()


class Bucket:
    """Lets `rate` bytes a second through, all threads together; what has gone is paid for after.

    Whoever has moved bytes waits until the rate would have allowed them, so that a file of any
    size passes whole, and the mean over a few files keeps to the rate.
    """

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._free_at = clock()
        self._guard = threading.Lock()

    def spend(self, size_bytes: int) -> None:
        with self._guard:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size_bytes / self._rate
            pause = self._free_at - now
        self._sleep(pause)


class LimitedStorage:
    """A store with limits; names and listings count for nothing."""

    def __init__(self, inner: Storage, limits: Limits) -> None:
        self._inner = inner
        self._upload = Bucket(limits.upload) if limits.upload else None
        self._download = Bucket(limits.download) if limits.download else None

    @property
    def location(self) -> str:
        return self._inner.location

    @property
    def connections(self) -> int:
        return self._inner.connections

    def create(self) -> None:
        self._inner.create()

    def save(self, name: str, data: Buffer) -> None:
        if self._upload is not None:
            self._upload.spend(len(data))
        self._inner.save(name, data)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        content = self._inner.load(name, offset, length)
        if self._download is not None:
            self._download.spend(len(content))
        return content

    def size(self, name: str) -> int:
        return self._inner.size(name)

    def list(self, folder: str) -> Iterator[StoredFile]:
        return self._inner.list(folder)

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def immutability(self) -> Immutability | None:
        return self._inner.immutability()

    def room(self) -> Room | None:
        return self._inner.room()

    def close(self) -> None:
        self._inner.close()
