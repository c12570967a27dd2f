"""Cron fields by the clocks of a time zone: the moments that they name, forwards and backwards.

What the fields mean is cronsim's: Debian's cron, with L, LW and #. It is asked for times of day as
a clock shows them, without a zone; what these are in UTC is decided here, so that the set of
moments is the same wherever one begins to look and whichever way. When clocks are changed:

- Fields that name their hours and minutes (neither begins with `*`) happen once for each time on
  the clock: an hour that comes twice counts the first time, and a time that is skipped happens at
  the end of the gap. A day that a zone left out altogether has no run.
- All others follow the clock: they happen as often as it shows a time that fits.

Moments are aware UTC. Knows nothing of jobs; `jitter` is here since it spreads these moments.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from cronsim import CronSim

# What stands for a day of the month that has no number of its own, and for the `n` of `weekday#n`.
LAST: Final = CronSim.LAST
LAST_WEEKDAY: Final = CronSim.LAST_WEEKDAY

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
# Any one; enough times for each week of hourly ones, and for a change of clocks of daily ones.
_A_YEAR_BEGINS: Final = datetime(2024, 1, 1, tzinfo=UTC)
_FIVE_YEARS: Final = timedelta(days=5 * 366)
_TIMES_COMPARED: Final = 200

_Gap: TypeAlias = tuple[datetime | None, datetime | None]
# Two moments between which there is no other: what was worked out last, by fields and time zone.
_GAPS: Final[dict[tuple[str, str], list[_Gap]]] = {}
_GAPS_KNOWN: Final = 8
_CALENDARS_KNOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Fields:
    """What five cron fields name. Sunday is 0 or 7; a weekday with a number is the nth of its
    month, or the `LAST`. With `both`, a day has to fit as a day of the month and of the week;
    otherwise as either."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int | tuple[int, int]]
    both: bool


def parse_fields(text: str) -> Fields:
    """What valid fields name."""
    # Any moment does: none is asked for.
    parsed = CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    return Fields(
        frozenset(parsed.minutes),
        frozenset(parsed.hours),
        frozenset(parsed.days),
        frozenset(parsed.months),
        frozenset(parsed.weekdays),
        parsed.day_and,
    )


@dataclass(frozen=True, slots=True)
class Calendar:
    """Five valid cron fields and the name of a time zone."""

    fields: str
    time_zone: str

    def after(self, moment: datetime) -> datetime | None:
        """The first moment later than this one; None when there is none within 50 years."""
        return self._around(moment)[1]

    def newest(self, moment: datetime) -> datetime | None:
        """The last moment that is not later than this one; None when there is none in 50 years."""
        return self._around(moment)[0]

    def _around(self, moment: datetime) -> _Gap:
        """Both. Somebody who looks each minute mostly looks into the same gap."""
        known = _GAPS.setdefault((self.fields, self.time_zone), [])
        for gap in known:
            if gap[0] is not None and gap[1] is not None and gap[0] <= moment < gap[1]:
                return gap
        found = self._find_newest(moment), self._find_after(moment)
        known.append(found)
        del known[:-_GAPS_KNOWN]
        if len(_GAPS) > _CALENDARS_KNOWN:
            _GAPS.clear()
        return found

    def _find_after(self, moment: datetime) -> datetime | None:
        best: datetime | None = None
        for label in self._labels(_label(self._local(moment)) - self._repeated_soon(moment)):
            found = self._moments(label)
            later = [one for one in found if one > moment]
            best = min([*later, best] if best else later, default=None)
            if best is not None and found and found[0] > moment:
                return best  # what stands later on the clock is later still
        return None

    def _find_newest(self, moment: datetime) -> datetime | None:
        best: datetime | None = None
        for label in self._labels(
            _label(self._local(moment)) + self._repeated_now(moment), back=True
        ):
            found = self._moments(label)
            earlier = [one for one in found if one <= moment]
            best = max([*earlier, best] if best else earlier, default=None)
            if best is not None and found and found[-1] <= moment:
                return best
        return None

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """The moments later than `begin` and not later than `end`, in order."""
        found = self.after(begin)
        while found is not None and found <= end:
            yield found
            found = self.after(found)

    def shortest(self) -> timedelta | None:
        """The shortest time between two moments, of a few hundred that begin with a year; None when
        there are no two."""
        times = islice(self.between(_A_YEAR_BEGINS, _A_YEAR_BEGINS + _FIVE_YEARS), _TIMES_COMPARED)
        return min((later - earlier for earlier, later in pairwise(times)), default=None)

    # Clocks

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.time_zone))

    def _offset(self, moment: datetime) -> timedelta:
        return self._local(moment).utcoffset() or timedelta()

    def _repeated_soon(self, moment: datetime) -> timedelta:
        """How much of what the clock has shown comes again within a day."""
        return max(timedelta(), self._offset(moment) - self._offset(moment + _DAY))

    def _repeated_now(self, moment: datetime) -> timedelta:
        """While the clock shows something for the second time: how long that lasts in all."""
        local = self._local(moment)
        first = local.replace(fold=0).utcoffset() or timedelta()
        return first - self._offset(moment)

    def _labels(self, begin: datetime, *, back: bool = False) -> Iterator[datetime]:
        """What a clock shows when the fields fit, from `begin` on, itself included."""
        step = _SECOND if back else -_SECOND
        return iter(CronSim(self.fields, begin.replace(microsecond=0) + step, reverse=back))

    def _moments(self, label: datetime) -> tuple[datetime, ...]:
        """When the clock shows this, as far as a run belongs to it; in order."""
        zone = ZoneInfo(self.time_zone)
        first, second = (label.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return (first,)
        follows = any(field.startswith("*") for field in self.fields.split()[:2])
        if first < second:
            return (first, second) if follows else (first,)
        return () if follows else self._after_gap(label, second, first)

    def _after_gap(
        self, label: datetime, before: datetime, behind: datetime
    ) -> tuple[datetime, ...]:
        """The end of the gap in which a label lies, which is later than `before` and not later
        than `behind`; nothing when the label's whole day is in it."""
        old, new = self._offset(before), self._offset(behind)
        seconds = bisect_left(
            range(int((behind - before).total_seconds())),
            True,
            key=lambda one: self._offset(before + one * _SECOND) == new,
        )
        end = before + seconds * _SECOND
        midnight = datetime.combine(label.date(), time())
        naive = end.replace(tzinfo=None)
        if naive + old <= midnight and naive + new >= midnight + _DAY:
            return ()
        return (end,)


def _label(local: datetime) -> datetime:
    return local.replace(tzinfo=None, fold=0)


def jitter(application: str, job: str, occurrence: datetime, most: timedelta) -> timedelta:
    """How much later than its time a run begins: whole seconds, at least 0 and less than `most`,
    always the same for the same run."""
    text = "\0".join((application, job, occurrence.astimezone(UTC).isoformat()))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return timedelta(seconds=number * int(most.total_seconds()) >> 64)
