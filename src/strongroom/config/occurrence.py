"""The times that five cron fields name by the clocks of a time zone, in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

__all__ = ["times_after", "times_before"]


def times_before(fields: str, time_zone: str, moment: datetime, number: int) -> list[datetime]:
    """The last so many times before a moment, newest first."""
    return list(islice(_times(fields, time_zone, moment, back=True), number))


def times_after(fields: str, time_zone: str, moment: datetime, number: int) -> list[datetime]:
    """The first so many times after a moment, in order."""
    return list(islice(_times(fields, time_zone, moment, back=False), number))


def _times(fields: str, time_zone: str, moment: datetime, *, back: bool) -> Iterator[datetime]:
    from cronsim import CronSim

    for one in CronSim(fields, moment.astimezone(ZoneInfo(time_zone)), reverse=back):
        yield one.astimezone(UTC)
