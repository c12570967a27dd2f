"""Recovery points as a list: what belongs together, how certainly, and where it is.

What a point's record says comes from the ledger, and on a host that has none from a repository;
a point without a record is told by the tags of its snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model import Finding
from strongroom.service.application import Application
from strongroom.service.point_record import (
    PointRecord,
    is_holder,
    read_record,
    recorded_points,
)
from strongroom.service.rendering import time_json
from strongroom.service.selection import Candidate, survey


@dataclass(frozen=True, slots=True)
class ListedPoint:
    """A recovery point: the repositories that hold each source's snapshot, by its name, and its
    record, None when it has none."""

    id: str
    captured_at: datetime
    sources: dict[str, tuple[str, ...]]
    record: PointRecord | None

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        record = self.record
        return {
            "id": self.id,
            "captured_at": time_json(self.captured_at),
            "sources": {name: list(where) for name, where in self.sources.items()},
            "certainty": record.certainty if record else None,
            "because": list(record.because) if record else [],
            "missing": sorted(record.missing) if record else [],
            "commits": record.commits if record else {},
            "migrations": record.migrations if record else {},
        }


def points(
    application: Application, repositories: Sequence[str] = ()
) -> tuple[list[ListedPoint], list[Finding]]:
    """All recovery points in the repositories that open, the oldest first, and a finding for each
    record that can't be used."""
    surveyed = survey(application, repositories)
    by_point: dict[str, list[Candidate]] = {}
    holders: dict[str, list[Candidate]] = {}
    for one in surveyed.candidates:
        if one.snapshot.point is None or one.snapshot.application != application.name:
            continue
        if is_holder(one.snapshot, application.name):
            holders.setdefault(one.snapshot.point, []).append(one)
        elif one.snapshot.source is not None:
            by_point.setdefault(one.snapshot.point, []).append(one)
    known = _known(application)
    findings: list[Finding] = []
    listed = []
    for point, candidates in by_point.items():
        record = known.get(point)
        if record is None:
            record = _read(holders.get(point, ()), findings)
        sources: dict[str, tuple[str, ...]] = {}
        for one in candidates:
            name = str(one.snapshot.source)
            sources[name] = (*sources.get(name, ()), one.repository.name)
        captured_at = min(one.snapshot.time for one in candidates)
        listed.append(ListedPoint(point, captured_at, sources, record))
    return sorted(listed, key=lambda one: (one.captured_at, one.id)), findings


def _known(application: Application) -> dict[str, PointRecord]:
    try:
        return recorded_points(application.ledger.entries(), application.name)
    except StrongroomError as error:
        application.say(f"the ledger cannot be asked: {error}")
        return {}


def _read(holders: Sequence[Candidate], findings: list[Finding]) -> PointRecord | None:
    """The record, from the first of these snapshots that gives it."""
    for found in _attempts(holders):
        if isinstance(found, PointRecord):
            return found
        findings.append(found)
    return None


def _attempts(holders: Sequence[Candidate]) -> Iterator[PointRecord | Finding]:
    for one in holders:
        found = read_record(one.repository, one.snapshot)
        if found is not None:
            yield found
