"""What a pipe is told of how far a run is."""

from __future__ import annotations

import pytest

from strongroom.cli.progress import pace_of

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("done", "total", "seconds", "told"),
    [
        (MEBIBYTE, 4 * MEBIBYTE, 0.5, ""),
        (0, 4 * MEBIBYTE, 10, ""),
        (MEBIBYTE, 4 * MEBIBYTE, 2, ", 512.0 KiB/s, about 6.0 s left"),
        (MEBIBYTE, None, 2, ", 512.0 KiB/s"),
        (5 * MEBIBYTE, 4 * MEBIBYTE, 2, ", 2.5 MiB/s"),
        (MEBIBYTE, 1024 * MEBIBYTE, 10, ", 102.4 KiB/s, about 2 h 50 min left"),
    ],
)
def test_rate_and_time_left(done: int, total: int | None, seconds: float, told: str) -> None:
    assert pace_of(done, total, seconds) == told


def test_at_the_end_nothing_is_left() -> None:
    assert pace_of(MEBIBYTE, 4 * MEBIBYTE, 2, is_over=True) == ", 512.0 KiB/s"
