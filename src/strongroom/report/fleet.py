"""How a fleet stands: each agent's own verdict, as long as the agent is heard of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.wording import age

__all__ = ["AGENT", "DRILLS", "Member", "fleet_checks", "lost"]

# The roles of a fleet's processes.
AGENT: Final = "agent"
DRILLS: Final = "drills"


@dataclass(frozen=True, slots=True)
class Member:
    """A process as it last said how it stands, and how long ago; `document` is its status."""

    name: str
    role: str
    application: str
    document: Mapping[str, Any]  # Any: JSON values
    seen_at: datetime
    ago: timedelta


def lost(members: Iterable[Member], heartbeat: timedelta) -> frozenset[str]:
    """The names of those that were not heard of for longer than `heartbeat`."""
    return frozenset(one.name for one in members if one.ago > heartbeat)


def fleet_checks(
    members: Iterable[Member], heartbeat: timedelta, now: datetime
) -> tuple[Check, ...]:
    """A check for each agent, and one for all drill workers together."""
    known = tuple(members)
    return (*_agents(known, heartbeat, now), *_workers(known, heartbeat))


def _agents(members: Iterable[Member], heartbeat: timedelta, now: datetime) -> Iterator[Check]:
    for one in members:
        if one.role != AGENT:
            continue
        value, limit = one.ago.total_seconds(), heartbeat.total_seconds()
        if one.ago > heartbeat:
            told = f"{one.application} was last heard of {age(one.ago)} ago"
            # What had failed still has, whoever can't say so any more.
            verdict = Verdict.FAILED if _verdict(one) is Verdict.FAILED else Verdict.STALE
            yield Check("agent", one.name, verdict, told, one.seen_at, value, limit)
            continue
        verdict, told = _verdict(one), f"{one.application} says {_verdict(one)}"
        until = _moment(one.document.get("valid_until"))
        if until is None or until < now:
            verdict = max(verdict, Verdict.UNKNOWN, key=list(Verdict).index)
            told = f"what {one.application} says is out of date"
        yield Check("agent", one.name, verdict, told, None, value, limit)


def _workers(members: Iterable[Member], heartbeat: timedelta) -> Iterator[Check]:
    workers = [one for one in members if one.role == DRILLS]
    if not workers:
        return
    here = [one for one in workers if one.ago <= heartbeat]
    away = sorted(one.name for one in workers if one.ago > heartbeat)
    told = f"{len(here)} of {len(workers)} drill workers are there"
    if away:
        told += f"; {', '.join(away)} is away" if len(away) == 1 else f"; away: {', '.join(away)}"
    verdict = Verdict.PROVEN if here else Verdict.STALE
    yield Check("workers", "", verdict, told, None, float(len(here)), 1.0)


def _verdict(one: Member) -> Verdict:
    given = one.document.get("verdict")
    return Verdict(given) if given in list(Verdict) else Verdict.UNKNOWN


def _moment(value: Any) -> datetime | None:  # Any: JSON values
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
