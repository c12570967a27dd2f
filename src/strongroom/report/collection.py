"""Evidence from the ledger's records, in one reading.

What the ledger can't tell is given: what is configured, whether the chain holds, what was due.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from strongroom.report.fleet import Fleet, seen_in
from strongroom.report.handed_over import as_observed, put_in_order
from strongroom.report.history import Frozen, HistoryBuilder, Record, Timetable
from strongroom.report.observation import (
    PROOF_ACTIONS,
    Capture,
    Chain,
    Evidence,
    Observation,
    Scope,
    captures,
    observation,
)

__all__ = ["Collection", "evidence_of"]


class Collection:
    """Takes records of one application in their order, and keeps what they tell."""

    def __init__(self) -> None:
        self._observations: list[Observation] = []
        self._captures: list[Capture] = []
        self._history = HistoryBuilder()
        self._frozen = Frozen()
        # What was worked out holds for the next evidence, too, as far as nothing was added.
        self._worked_out: dict[str, Any] = {}  # Any: as Evidence has it
        self._fleet: Fleet | None = None
        self._alone_since: datetime | None = None

    def add(self, one: Record) -> None:
        """Whatever this record tells."""
        self._of_fleet(one)
        one = as_observed(one)
        if one.kind in PROOF_ACTIONS:
            seen = observation(one.seq, one.at, one.kind, one.fields)
            if seen is not None:
                put_in_order(self._observations, seen, one)
        self._captures.extend(captures(one.seq, one.at, one.kind, one.fields))
        self._history.add(one)

    def _of_fleet(self, one: Record) -> None:
        if one.kind == "fleet":
            self._fleet = seen_in(self._fleet, one.seq, one.at, one.fields)
        elif one.kind == "state-database":
            reached = one.fields.get("reached") is True
            self._alone_since = None if reached else self._alone_since or one.at
        elif one.kind == "service" and not one.fields.get("agent", True):
            self._alone_since = None  # it is in no fleet any more

    def evidence(
        self,
        scope: Scope,
        chain: Chain,
        *,
        since: datetime | None = None,
        drill: int | None = None,
        timetable: Timetable | None = None,
    ) -> Evidence:
        """What they amount to, with what the ledger can't tell."""
        return Evidence(
            scope,
            chain,
            self._frozen("observations", self._observations),
            self._frozen("captures", self._captures),
            since,
            drill,
            self._history.history(),
            timetable,
            self._fleet,
            self._alone_since,
            self._worked_out,
        )


def evidence_of(
    scope: Scope, chain: Chain, records: Iterable[Record], timetable: Timetable | None = None
) -> Evidence:
    """What these records of one application amount to."""
    collection = Collection()
    for one in records:
        collection.add(one)
    return collection.evidence(scope, chain, timetable=timetable)
