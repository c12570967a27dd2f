"""Records that another host made and handed over: drills that a worker of a fleet carried out.

They stand in the ledger where they arrived, which may be long after. What counts is when it was
observed, so that a proof is no newer than it is and hides nothing that was found since (I5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from strongroom.report.field import moment

__all__ = ["Record", "as_observed", "observed_at", "put_in_order"]


class Record(Protocol):
    """A record of the ledger."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def kind(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...  # Any: JSON values


class _Timed(Protocol):
    @property
    def at(self) -> datetime: ...


_T = TypeVar("_T", bound=_Timed)


@dataclass(frozen=True, slots=True)
class _Observed:
    seq: int
    at: datetime
    kind: str
    fields: Mapping[str, Any]  # Any: JSON values


def observed_at(record: Record) -> datetime:
    """When what a record tells was observed: never later than the record itself."""
    told = moment(record.fields.get("observed_at"))
    return record.at if told is None else min(told, record.at)


def as_observed(record: Record) -> Record:
    """The record with the time at which it was observed."""
    at = observed_at(record)
    if at == record.at:
        return record
    return _Observed(record.seq, at, record.kind, record.fields)


def put_in_order(known: list[_T], one: _T, record: Record) -> None:
    """Add what a record tells to what is known, oldest first: to its end, and before what is newer
    where it was handed over."""
    place = len(known)
    if "observed_at" in record.fields:
        while place and known[place - 1].at > one.at:
            place -= 1
    known.insert(place, one)
