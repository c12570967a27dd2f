"""The seam between a database's capture and whatever stores it: two protocols, no store.

A capture pushes named streams into a `CaptureSink`; a load and a proof read them back from
`CapturedFiles`. Paths are relative to the source's folder in the snapshot, with `/` between
names, as `layout` makes them. This module knows neither PostgreSQL nor repositories.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from strongroom.model import Piece

__all__ = ["Block", "CaptureSink", "CapturedFiles"]

Block = bytes | bytearray | memoryview
"""Consecutive bytes of a stream. Whoever hands one over never alters it afterwards."""


class CaptureSink(Protocol):
    """Takes streams. `put` is called from several threads and consumes `blocks` completely.

    When taking a block from `blocks` raises, `put` lets the error pass: the stream was cut short
    and must never become part of a snapshot. `rows` says that the stream is a table's rows, which
    change in small places from day to day.
    """

    def put(self, path: str, blocks: Iterable[Block], *, rows: bool) -> None: ...


class CapturedFiles(Protocol):
    """The folder of a database in a snapshot. Every byte given out has been verified.

    Methods are called from several threads. `pieces` says how the stream was cut when it was
    stored: lengths and digests of what `blocks` gives, in order.
    """

    def exists(self, path: str) -> bool: ...

    def blocks(self, path: str) -> Iterator[Block]: ...

    def pieces(self, path: str) -> Sequence[Piece]: ...

    def read(self, path: str) -> bytes: ...
