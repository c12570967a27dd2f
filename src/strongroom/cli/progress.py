"""How far a run is: bars with rate and time left on a terminal, plain lines in a pipe.

Reports come from many threads, often; both kinds count under a lock and draw on a clock of their
own, so that reporting costs a sum.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from strongroom.cli.run import write_err
from strongroom.cli.text import size, span
from strongroom.model import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_LINE_SECONDS: Final = 10.0
_DRAW_SECONDS: Final = 0.1
# Before that a rate means nothing.
_LEAST_SECONDS: Final = 1.0


def choose_progress(*, quiet: bool) -> Progress:
    """What fits standard error."""
    if quiet or sys.stderr is None:
        return Silent()
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()


class PlainProgress:
    """One line when a stage ends, and one every ten seconds meanwhile, with rate and time left."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._stage = ""

    def begin(self, stage: str, total_bytes: int | None) -> None:
        with self._guard:
            self._stage, self._total = stage, total_bytes
            self._bytes = self._items = 0
            self._begun = self._told = time.monotonic()

    def advance(self, bytes_done: int, items_done: int = 0) -> None:
        with self._guard:
            self._bytes += bytes_done
            self._items += items_done
            now = time.monotonic()
            if not self._stage or now - self._told < _LINE_SECONDS:
                return
            self._told = now
            line = self._line(now)
        write_err(line)

    def end(self) -> None:
        with self._guard:
            if not self._stage:
                return
            line = self._line(time.monotonic(), is_over=True) + ", done"
            self._stage = ""
        write_err(line)

    def _line(self, now: float, *, is_over: bool = False) -> str:
        seconds = now - self._begun
        if not self._bytes and not self._items:
            return f"{self._stage}: {span(seconds)}"
        of = f" of about {size(self._total)}" if self._total else ""
        items = f", {self._items:,} items" if self._items else ""
        pace = pace_of(self._bytes, self._total, seconds, is_over=is_over)
        return f"{self._stage}: {size(self._bytes)}{of}{items} in {span(seconds)}{pace}"


def pace_of(done: int, total: int | None, seconds: float, *, is_over: bool = False) -> str:
    """How quickly it goes, and how long it will take where that can be told; empty at first."""
    if seconds < _LEAST_SECONDS or not done:
        return ""
    rate = done / seconds
    told = f", {size(round(rate))}/s"
    if is_over or not total or done >= total:
        return told
    return f"{told}, about {span((total - done) / rate)} left"


class TerminalProgress:
    """A bar per stage with amount, rate and time left; gone when its stage ends."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._bars: Bars | None = None

    def begin(self, stage: str, total_bytes: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import (
            Progress as Bars,
        )

        self.end()
        bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[items]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with self._guard:
            self._task = bars.add_task(stage, total=total_bytes or None, items="")
            self._bytes = self._items = 0
            self._drawn = 0.0
            self._bars = bars
        bars.start()

    def advance(self, bytes_done: int, items_done: int = 0) -> None:
        with self._guard:
            self._bytes += bytes_done
            self._items += items_done
            now = time.monotonic()
            if self._bars is None or now - self._drawn < _DRAW_SECONDS:
                return
            self._drawn = now
            self._draw()

    def end(self) -> None:
        with self._guard:
            bars, self._bars = self._bars, None
        if bars is not None:
            bars.stop()

    def _draw(self) -> None:
        if self._bars is not None:
            items = f"{self._items:,} items" if self._items else ""
            self._bars.update(self._task, completed=self._bytes, items=items)
