"""What is to run by itself, and at which times it was due: what evidence is held against.

Whoever runs it: the service, timers or a crontab. So what is due is a matter of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from strongroom.config.occurrence import times_after, times_before
from strongroom.config.settings import Settings
from strongroom.config.value import NEVER
from strongroom.report.history import Due

__all__ = ["timetable_of"]

# The newest time may not be over yet, so that the one before it counts.
_TIMES: Final = 3


def timetable_of(settings: Settings, now: datetime) -> tuple[Due, ...]:
    """Everything that has a time, with the times at which it was due last, and is next."""
    return tuple(
        Due(
            action,
            subject,
            tuple(times_before(fields, settings.schedule.time_zone, now, _TIMES)),
            next(iter(times_after(fields, settings.schedule.time_zone, now, 1)), None),
        )
        for action, subject, fields in _timed(settings)
        if fields != NEVER
    )


def _timed(settings: Settings) -> Iterator[tuple[str, str, str]]:
    schedule = settings.schedule
    for name, source in settings.sources.items():
        yield "capture", name, schedule.capture if source.capture is None else source.capture
    for name, repository in settings.repositories.items():
        yield "check", name, schedule.check if repository.check is None else repository.check
    yield "prune", "", schedule.prune
    yield "drill", "", schedule.drill
    if settings.application_check is not None:
        yield "application-drill", "", schedule.application_drill
    yield "verify-daily", "", schedule.verify_daily
    yield "verify-weekly", "", schedule.verify_weekly
    yield "verify-monthly", "", schedule.verify_monthly
