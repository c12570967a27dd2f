"""Renewing Object Locks: what snapshots need is locked on, however long ago it was stored.

Each object is locked when it is stored, but deduplication lets new snapshots rely on old packs,
whose locks would run out under them. So every object that stays is asked for its lock (one HEAD)
and, when that ends within half of the period, locked anew for all of it (one PUT more); nothing is
remembered. What nobody needs is left to run out.

Invariant: `config` comes last, and only when all others are done; its lock is the shortest, so
that it tells until when everything is locked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from strongroom.errors import StorageError
from strongroom.model import Progress, Silent
from strongroom.repository.repository import Repository
from strongroom.repository.storage import Immutability, ObjectLock

_CONFIG: Final = "config"
_FOLDERS: Final = ("data", "index", "snapshots", "keys")
_WAITING: Final = 64


@dataclass(slots=True)
class RenewalReport:
    """How many objects were asked and how many were locked anew; until when everything is locked,
    None while that is not reached; complete also when it was broken off."""

    asked: int = 0
    renewed: int = 0
    locked_until: datetime | None = None


def renew_locks(
    repository: Repository,
    immutability: Immutability,
    lock: ObjectLock,
    *,
    unneeded: Collection[str],
    report: RenewalReport,
    now: datetime,
    progress: Progress | None = None,
) -> None:
    """Lock all that is there but the packs in `unneeded`, by id, for half of the period at least.

    StorageError `store-refused` when that is not permitted: then what was locked stays so.
    """
    run = _Renewal(immutability, lock, report, now, progress or Silent())
    with ThreadPoolExecutor(2 * repository.storage.connections, thread_name_prefix="renew") as pool:
        waiting: deque[Future[None]] = deque()
        try:
            for name in _names(repository, unneeded):
                waiting.append(pool.submit(run.renew, name))
                if len(waiting) > _WAITING:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    run.finish()


def _names(repository: Repository, unneeded: Collection[str]) -> Iterator[str]:
    for folder in _FOLDERS:
        for file in repository.storage.list(folder):
            if folder != "data" or file.name.rpartition("/")[2] not in unneeded:
                yield file.name


class _Renewal:
    def __init__(
        self,
        immutability: Immutability,
        lock: ObjectLock,
        report: RenewalReport,
        now: datetime,
        progress: Progress,
    ) -> None:
        self._immutability, self._lock = immutability, lock
        self._report, self._progress = report, progress
        self._least, self._until = now + lock.period / 2, now + lock.period
        self._guard = threading.Lock()

    def renew(self, name: str) -> None:
        try:
            renewed = self._immutability.renew(
                name, self._lock, least=self._least, until=self._until
            )
        except StorageError as error:
            if error.code != "store-missing":
                raise
            return  # removed meanwhile
        with self._guard:
            self._report.asked += 1
            self._report.renewed += renewed
            self._progress.advance(0, 1)

    def finish(self) -> None:
        """Lock `config` for as long as everything is locked, now that it is."""
        renewed = self._immutability.renew(
            _CONFIG, self._lock, least=self._least, until=self._least
        )
        self._report.asked += 1
        self._report.renewed += renewed
        known = self._immutability.lock_of(_CONFIG)
        self._report.locked_until = known.until if known is not None else None
