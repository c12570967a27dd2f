"""Which recovery points there are, what each was meant to hold, and which of them are wholes.

A point that holds a single source, as a deployment's hook makes it, was never meant to be one; one
that was and lacks a source is not passed over in silence by whoever drills.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from strongroom.errors import StrongroomError
from strongroom.plan.rotation import Drillable
from strongroom.service.application import Application
from strongroom.service.point_record import PointRecord, is_holder, read_record
from strongroom.service.selection import Candidate, Survey, is_from_future

__all__ = ["Point", "find_points", "meant_whole", "record_holders"]

# Without a ledger, the records of so many of the newest points are asked what they should hold.
_MOST_READ: Final = 10


@dataclass(slots=True)
class Point:
    """A recovery point as the repositories hold it: the copies of each source's snapshot, those of
    the repository that the configuration names first before the others."""

    id: str
    copies: dict[str, list[Candidate]] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()

    @property
    def captured_at(self) -> datetime:
        return min(one.snapshot.time for copies in self.copies.values() for one in copies)

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(self.copies)

    @property
    def holders(self) -> tuple[str, ...]:
        """The repositories that hold all of it, whole."""
        each = [
            [one.repository.name for one in copies if not one.snapshot.is_repaired]
            for copies in self.copies.values()
        ]
        return tuple(name for name in dict.fromkeys(each[0]) if all(name in one for one in each))

    def drillable(self) -> Drillable:
        return Drillable(self.id, self.captured_at, self.holders)


def find_points(application: Application, surveyed: Survey) -> dict[str, Point]:
    """All recovery points of this application, with what each was meant to hold."""
    found: dict[str, Point] = {}
    now = surveyed.made_at
    for one in surveyed.candidates:
        snapshot = one.snapshot
        mine = snapshot.source in application.settings.sources and snapshot.application is not None
        if mine and snapshot.point and snapshot.source and not is_from_future(snapshot, now):
            point = found.setdefault(snapshot.point, Point(snapshot.point))
            point.copies.setdefault(snapshot.source, []).append(one)
    order = list(application.settings.repositories)
    for point in found.values():
        for copies in point.copies.values():
            copies.sort(
                key=lambda one: (one.snapshot.is_repaired, order.index(one.repository.name))
            )
    meant = _meant(application)
    for point in found.values():
        point.wanted = meant.get(point.id, frozenset())
    _ask_records(application, surveyed, [one for one in found.values() if one.id not in meant])
    return found


def _meant(application: Application) -> dict[str, frozenset[str]]:
    """Which sources each run wanted to capture, by its point, as the ledger tells."""
    found: dict[str, frozenset[str]] = {}
    try:
        for entry in application.ledger.entries():
            if entry.fields.get("application") != application.name:
                continue
            if entry.kind == "import":
                # It stands for a single source, whatever else is of that day.
                names = frozenset({str(entry.fields.get("source"))})
                found[str(entry.fields.get("point"))] = names
            elif entry.kind == "backup":
                names = frozenset(map(str, entry.fields.get("wanted", ())))
                found[str(entry.fields.get("point"))] = names
    except StrongroomError as error:
        application.say(f"what was to be captured is not known: {error}")
    return found


def _ask_records(application: Application, surveyed: Survey, points: list[Point]) -> None:
    """What the newest of these points were meant to hold, as their records in a repository say."""
    points.sort(key=lambda one: one.captured_at, reverse=True)
    for point in points[:_MOST_READ]:
        for holder in record_holders(application, surveyed, point.id):
            with contextlib.suppress(StrongroomError), holder.repository.reading():
                record = read_record(holder.repository, holder.snapshot)
                if isinstance(record, PointRecord):
                    point.wanted = frozenset(record.wanted)
                    break


def record_holders(application: Application, surveyed: Survey, point: str) -> list[Candidate]:
    """The snapshots in which the point's record may lie, the newest first."""
    found = [
        one
        for one in surveyed.candidates
        if one.snapshot.point == point and is_holder(one.snapshot, application.name)
    ]
    return sorted(found, key=lambda one: one.snapshot.time, reverse=True)


def meant_whole(
    application: Application, points: Mapping[str, Point], surveyed: Survey
) -> list[Point]:
    """The points that were meant to hold as many of today's sources as any was; none when there
    are snapshots of sources that no such point was meant to hold."""
    configured = frozenset(application.settings.sources)
    reach = {one.id: len(configured & (one.wanted | one.sources)) for one in points.values()}
    best = max(reach.values(), default=0)
    captured = {one.snapshot.source for one in surveyed.candidates} & configured
    if best < len(captured):
        return []
    return [one for one in points.values() if reach[one.id] == best]
