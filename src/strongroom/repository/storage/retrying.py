"""Trying again what may pass: with pauses that grow, at random lengths, until patience ends.

Only `store-unreachable` is tried again: what is missing, refused or full stays so. All operations
may be repeated: names are decided by content, and removing what is gone is no error.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

from strongroom.errors import StorageError
from strongroom.repository.storage.immutability import (
    Immutability,
    Keeping,
    ObjectLock,
    Reach,
    RunningLock,
)
from strongroom.repository.storage.protocol import Buffer, Room, Storage, StoredFile

T = TypeVar("T")

_PASSING: Final = "store-unreachable"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying: seconds in all, and the first and the longest pause."""

    total_seconds: float = 120.0
    first_seconds: float = 0.25
    longest_seconds: float = 15.0

    def pauses(self, draw: random.Random) -> Iterator[float]:
        """Pauses in seconds that sum up to the whole patience at most."""
        spent, longest = 0.0, self.first_seconds
        while spent < self.total_seconds:
            # From a quarter on: many clients must not come back together.
            pause = min(draw.uniform(longest / 4, longest), self.total_seconds - spent)
            yield pause
            spent += pause
            longest = min(longest * 2, self.longest_seconds)


DEFAULT_PATIENCE: Final = Patience()


class RetryingStorage:
    """A store whose passing failures are waited out. `sleep` waits, or raises to give up."""

    def __init__(
        self,
        inner: Storage,
        patience: Patience = DEFAULT_PATIENCE,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner = inner
        self._patience = patience
        self._sleep = sleep
        self._draw = random.Random()  # noqa: S311 - spreads clients, hides nothing

    @property
    def location(self) -> str:
        return self._inner.location

    @property
    def connections(self) -> int:
        return self._inner.connections

    def create(self) -> None:
        self._try(self._inner.create)

    def save(self, name: str, data: Buffer) -> None:
        self._try(lambda: self._inner.save(name, data))

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._try(lambda: self._inner.load(name, offset, length))

    def size(self, name: str) -> int:
        return self._try(lambda: self._inner.size(name))

    def list(self, folder: str) -> Iterator[StoredFile]:
        # Whole, so that a listing that breaks off can begin anew.
        return iter(self._try(lambda: [*self._inner.list(folder)]))

    def delete(self, name: str) -> None:
        self._try(lambda: self._inner.delete(name))

    def immutability(self) -> Immutability | None:
        inner = self._inner.immutability()
        return None if inner is None else _RetryingImmutability(inner, self._try)

    def room(self) -> Room | None:
        return self._inner.room()  # nobody waits to hear it

    def close(self) -> None:
        self._inner.close()

    def _try(self, operation: Callable[[], T]) -> T:
        pauses = self._patience.pauses(self._draw)
        while True:
            try:
                return operation()
            except StorageError as error:
                if error.code != _PASSING:
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise
            self._sleep(pause)


class _Attempts(Protocol):
    """Carries an operation out, again and again while what fails may pass."""

    def __call__(self, operation: Callable[[], T]) -> T: ...


class _RetryingImmutability:
    """The same for what a store is asked about keeping its files; all of it may be repeated."""

    def __init__(self, inner: Immutability, attempts: _Attempts) -> None:
        self._inner, self._try = inner, attempts

    def keeping(self) -> Keeping:
        return self._try(self._inner.keeping)

    def reach(self, own_lock: str | None = None) -> Reach:
        return self._try(lambda: self._inner.reach(own_lock))

    def lock_of(self, name: str) -> RunningLock | None:
        return self._try(lambda: self._inner.lock_of(name))

    def renew(self, name: str, lock: ObjectLock, *, least: datetime, until: datetime) -> bool:
        return self._try(lambda: self._inner.renew(name, lock, least=least, until=until))
