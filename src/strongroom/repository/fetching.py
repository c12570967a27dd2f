"""Loading much that is small from a store that is far away, where each load costs a journey.

Many files are loaded at the same time, as many as the store bears; trees are read in blocks of
their pack, since those of one snapshot lie close together. A store on this host gains nothing by
either, and is read as it comes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, TypeAlias

from strongroom.errors import IntegrityError
from strongroom.repository.index import Location
from strongroom.repository.storage.protocol import StoredFile

_BLOCK_BYTES: Final = 512 << 10
_BLOCKS: Final = 16
Load: TypeAlias = Callable[[StoredFile], bytes]


def fetch_each(
    files: Iterable[StoredFile], load: Load, *, at_once: int
) -> Iterator[tuple[StoredFile, Callable[[], bytes]]]:
    """Each file in turn with what gives its bytes, or raises what loading it raised.

    Those that follow are loaded meanwhile, `at_once` of them at most.
    """
    if at_once <= 1:
        for file in files:
            yield file, partial(load, file)
        return
    waiting: deque[tuple[StoredFile, Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="fetch")
    try:
        for file in files:
            waiting.append((file, pool.submit(load, file)))
            if len(waiting) >= at_once:
                first, future = waiting.popleft()
                yield first, future.result
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class PackBlocks:
    """Parts of packs, read in blocks of which the last few are kept. Safe to use from several
    threads. `load_pack(pack, begin, end)` reads; `end_of(pack)` is where its last blob ends, None
    where that is not known."""

    def __init__(
        self,
        load_pack: Callable[[str, int, int], bytes],
        end_of: Callable[[str], int | None],
    ) -> None:
        self._load_pack, self._end_of = load_pack, end_of
        self._guard = threading.Lock()
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._ends: dict[str, int | None] = {}

    def read(self, location: Location) -> bytes | None:
        """The sealed bytes of a blob; None where it has to be read by itself: it is large, or what
        lies beside it cannot be read. Whether they are right is for the caller to see."""
        begin = location.entry.offset
        end = begin + location.entry.length
        if end - begin > _BLOCK_BYTES:
            return None
        first, last = begin // _BLOCK_BYTES, (end - 1) // _BLOCK_BYTES
        try:
            parts = [self._block(location.pack, number) for number in range(first, last + 1)]
        except IntegrityError:
            return None
        start = begin - first * _BLOCK_BYTES
        found = b"".join(parts)[start : start + end - begin]
        return found if len(found) == end - begin else None

    def _block(self, pack: str, number: int) -> bytes:
        with self._guard:
            if (pack, number) in self._blocks:
                self._blocks.move_to_end((pack, number))
                return self._blocks[pack, number]
            if pack not in self._ends:
                self._ends[pack] = self._end_of(pack)
            limit = self._ends[pack]
        begin = number * _BLOCK_BYTES
        end = min(begin + _BLOCK_BYTES, limit or 0)
        block = self._load_pack(pack, begin, end) if begin < end else b""
        with self._guard:
            self._blocks[pack, number] = block
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return block
