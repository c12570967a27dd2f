"""The service holds what its ledger tells, and nothing else: a month of ticks leaves no more in
memory than a service that begins with the same ledger, and nothing when it is gone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from strongroom.report.standing import Standing
from strongroom.service.health import Board
from tests.support.month_ground import Month, held_bytes

BEGIN: Final = datetime(2027, 3, 1, 12, tzinfo=UTC)
STEP: Final = timedelta(hours=1)
MONTH: Final = timedelta(days=30)
# What a tick may leave behind: less than an object would take.
PER_TICK: Final = 48


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


class Hoard(Board):
    """Shows what was posted last, and keeps all that was."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Standing] = []

    def post(self, standing: Standing) -> None:
        super().post(standing)
        self.kept.append(standing)


def left_over(path: Path, board: type[Board], span: timedelta) -> tuple[float, float]:
    """The bytes each tick left behind: in a service that is still there, beyond what one has that
    begins with the same ledger; and after it is gone."""
    warm = Month(path, BEGIN)
    warm.advance(timedelta(days=8), STEP)
    begin = warm.now
    del warm
    before = held_bytes()
    service = Month(path, begin, board())
    service.advance(span, STEP)
    old, now, ticks = held_bytes(), service.now, service.ticks
    assert service.board.current() is not None, "nothing was judged"
    del service
    after = held_bytes()
    fresh = Month(path, now)
    fresh.tick()
    new = held_bytes()
    return (old - new) / ticks, (after - before) / ticks


def test_a_month_leaves_nothing_in_memory_but_what_the_ledger_tells(tmp_path: Path) -> None:
    beyond, left = left_over(tmp_path, Board, MONTH)
    assert beyond < PER_TICK
    assert left < PER_TICK


def test_a_service_that_keeps_what_it_showed_is_noticed(tmp_path: Path) -> None:
    beyond, _ = left_over(tmp_path, Hoard, timedelta(days=2))
    assert beyond > 10 * PER_TICK
