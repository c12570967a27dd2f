"""Givers: other repositories, from which a blob that is lost here comes back by its id.

An id is the SHA-256 of the plaintext, whatever the key: what verifies there is what was lost here.
A giver whose store fails is set aside and told, and the others go on, unless it has given something
already: then the plan that relies on it fails with it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Finding, finding
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.view import BlobRun, gather_runs, read_run

_RUN_BYTES: Final = 4 << 20
_RUN_BLOBS: Final = 20_000


class Givers:
    """Repositories in the order in which they are asked."""

    def __init__(self, repositories: Sequence[Repository], *, workers: int = 2) -> None:
        self._repositories = list(repositories)
        self._workers = workers
        self._gave: set[str] = set()
        self.findings: list[Finding] = []

    def __iter__(self) -> Iterator[Repository]:
        return iter(tuple(self._repositories))

    def named(self, name: str) -> Repository:
        """The giver of this name, which has given something."""
        return {one.name: one for one in self._repositories}[name]

    def snapshots(self) -> Iterator[tuple[str, tuple[Snapshot, ...]]]:
        """The readable snapshots of each giver, by its name."""
        for giver in self:
            with self._setting_aside(giver):
                yield giver.name, giver.snapshots().snapshots

    def read(self, blob_type: BlobType, blob_id: bytes) -> tuple[str, Location, bytes] | None:
        """A giver's name, where the blob lies there, and its verified plaintext; None if nobody
        has it whole."""
        for giver in self:
            with self._setting_aside(giver), contextlib.suppress(IntegrityError):
                location = giver.locate(blob_type, blob_id)
                plain = giver.read_blob(blob_type, blob_id)
                self._gave.add(giver.name)
                return giver.name, location, plain
        return None

    def find(self, wanted: Iterable[tuple[BlobType, bytes]]) -> dict[str, list[Location]]:
        """Where givers have these blobs whole, by the giver's name; every one was read."""
        left = set(wanted)
        found: dict[str, list[Location]] = {}
        for giver in self:
            if not left:
                break
            with self._setting_aside(giver):
                there = [places[0] for one in left if (places := giver.places(*one))]
                for location, _ in verified_blobs(giver, there, workers=self._workers):
                    self._gave.add(giver.name)
                    found.setdefault(giver.name, []).append(location)
                    left.discard((location.entry.type, location.entry.id))
        return found

    @contextlib.contextmanager
    def _setting_aside(self, giver: Repository) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            if giver.name in self._gave:
                raise
            self._repositories.remove(giver)
            self.findings.append(finding("repository-unreachable", giver.name, str(error)))


def verified_blobs(
    repository: Repository, wanted: Sequence[Location], *, workers: int = 2
) -> Iterator[tuple[Location, bytes]]:
    """The plaintexts of those of these blobs of which any copy is whole, in no order.

    StorageError when the store fails.
    """
    runs = gather_runs(enumerate(wanted), run_bytes=_RUN_BYTES, most_blobs=_RUN_BLOBS)
    with ThreadPoolExecutor(workers, thread_name_prefix="fetch") as pool:
        waiting: deque[Future[list[tuple[int, bytes]]]] = deque()
        try:
            for run in runs:
                waiting.append(pool.submit(_read, repository, run))
                if len(waiting) > 2 * workers:
                    yield from ((wanted[key], plain) for key, plain in waiting.popleft().result())
            for future in waiting:
                yield from ((wanted[key], plain) for key, plain in future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _read(repository: Repository, run: BlobRun) -> list[tuple[int, bytes]]:
    with contextlib.suppress(IntegrityError):
        return read_run(repository, run)
    found = []
    for key, location in run.wanted:
        with contextlib.suppress(IntegrityError):
            plain = repository.read_blob(location.entry.type, location.entry.id)
            found.append((key, plain))
    return found
