"""Attempts to tell somebody that fail again as they did before: what the ledger has of them.

A route that is dead for a year is tried each half an hour, for each check that is not well. The
ledger has the first attempt of each, which is what planning goes by after a start; that the same
goes on is recorded once a day for each route, and when the error is another one. All others are
remembered in this process only, in the place where their records would stand, so that the same is
planned as if they were records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from strongroom.plan.alerting import Change, Delivery, Record

__all__ = ["Retries", "is_repeated", "is_to_be_recorded"]

_DAY: Final = timedelta(days=1)
# An error that changes to and fro is recorded so often at most.
_OTHER_ERROR: Final = timedelta(hours=1)
# Of a check and a route: by then it is tried as seldom as it ever is, and more say nothing more.
_MOST: Final = 20


@dataclass(slots=True)
class Retries:
    """The attempts of one ledger's routes that have no record, each with how many records stood
    before it, and how many there were of each route since its newest record."""

    _attempts: list[tuple[int, Delivery]] = field(default_factory=list)
    _tries: dict[str, int] = field(default_factory=dict)

    def among(self, records: Sequence[Record]) -> list[Record]:
        """These records, which are all, with the attempts in their places. What would be after the
        end is of a ledger that was another one, and is forgotten."""
        self._attempts = [one for one in self._attempts if one[0] <= len(records)]
        found: list[Record] = []
        taken = 0
        for place, attempt in self._attempts:
            found += records[taken:place]
            taken = max(taken, place)
            found.append(attempt)
        found += records[taken:]
        return found

    def note(self, place: int, attempts: Iterable[Delivery]) -> None:
        """These have no record; so many records stand before them."""
        for one in attempts:
            alike = [
                number
                for number, (_, other) in enumerate(self._attempts)
                if (other.to, other.key) == (one.to, one.key)
            ]
            if len(alike) >= _MOST:
                del self._attempts[alike[0]]
            self._attempts.append((place, one))

    def tried(self, route: str) -> int:
        """Another message to this route failed: the how many-th since the newest record."""
        self._tries[route] = self._tries.get(route, 0) + 1
        return self._tries[route]

    def recorded(self, route: str) -> None:
        """There is a newer record of this route."""
        self._tries.pop(route, None)

    def arrived(self, route: str, keys: Iterable[str]) -> None:
        """What failed before this message arrived matters no more."""
        known = frozenset(keys)
        self._attempts = [
            one for one in self._attempts if one[1].to != route or one[1].key not in known
        ]


def is_repeated(attempt: Delivery, told: Sequence[Record]) -> bool:
    """Whether the same of this check did not arrive before, and nothing has happened to it since:
    it did not change, and the route was not told of it."""
    for one in reversed(told):
        if one.key != attempt.key:
            continue
        if isinstance(one, Change):
            return False
        if one.to != attempt.to:
            continue
        if one.delivered:
            return False
        if (one.event, one.verdict, one.instead_of) == (
            attempt.event,
            attempt.verdict,
            attempt.instead_of,
        ):
            return True
    return False


def is_to_be_recorded(newest: Delivery | None, error: str, now: datetime) -> bool:
    """Whether a repeated attempt is to have a record, after the newest one of its route."""
    if newest is None or newest.delivered:
        return True
    passed = now - newest.at
    if passed < timedelta() or passed >= _DAY:
        return True
    return newest.error != error and passed >= _OTHER_ERROR
