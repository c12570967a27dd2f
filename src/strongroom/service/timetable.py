"""What is to run by itself, and at which times it was due: what evidence is held against.

Whoever runs it: the service, timers or a crontab. So what is due is a matter of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from strongroom.config.settings import Settings
from strongroom.config.value import NEVER
from strongroom.plan.calendar import Calendar
from strongroom.report.history import Due

__all__ = ["timetable_of"]

# The newest time may not be over yet, so that the one before it counts.
_TIMES: Final = 3


def timetable_of(settings: Settings, now: datetime) -> tuple[Due, ...]:
    """Everything that has a time, with the times at which it was due last, and is next."""
    return tuple(
        Due(action, subject, tuple(_before(calendar, now)), calendar.after(now), own is not None)
        for action, subject, general, own in _timed(settings)
        for fields in [general if own is None else own]
        if fields != NEVER
        for calendar in [Calendar(fields, settings.schedule.time_zone)]
    )


def _before(calendar: Calendar, now: datetime) -> Iterator[datetime]:
    """The newest times first."""
    found = calendar.newest(now)
    for _ in range(_TIMES):
        if found is None:
            return
        yield found
        found = calendar.newest(found - timedelta(seconds=1))


def _timed(settings: Settings) -> Iterator[tuple[str, str, str, str | None]]:
    """What is done to what, the times of all that do it, and its own, if it has any."""
    schedule = settings.schedule
    for name, source in settings.sources.items():
        yield "capture", name, schedule.capture, source.capture
    for name, repository in settings.repositories.items():
        yield "check", name, schedule.check, repository.check
    yield "prune", "", schedule.prune, None
    yield "drill", "", schedule.drill, None
    if settings.application_check is not None:
        yield "application-drill", "", schedule.application_drill, None
    if settings.kit is not None and settings.kit.is_drilled_by_itself:
        yield "kit-drill", "", schedule.kit_drill, None
    yield "verify-daily", "", schedule.verify_daily, None
    yield "verify-weekly", "", schedule.verify_weekly, None
    yield "verify-monthly", "", schedule.verify_monthly, None
