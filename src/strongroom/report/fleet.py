"""How a fleet stands, for the controller that watches it: each agent's own verdict, as long as the
agent is heard of, and whether anybody is there to drill.

`look_at` says what is to be seen of one process; when that changed, a `fleet` record says so, and
from these records all is judged. Invariants (I5): who is not heard of is no better than it was, and
STALE at best; and what nobody watches now is UNKNOWN at best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from strongroom.model import Verdict
from strongroom.report.check import Check, worst
from strongroom.report.field import mapping, mappings, moment, real, text, texts
from strongroom.report.field import verdict as read_verdict
from strongroom.report.history import Beat
from strongroom.report.wording import age, count, plain

__all__ = [
    "AGENT",
    "DRILLS",
    "Fleet",
    "Look",
    "check_fleet",
    "is_alone",
    "look_at",
    "look_json",
    "seen_in",
]

# The roles of a fleet's processes.
AGENT: Final = "agent"
DRILLS: Final = "drills"
# Of a heartbeat: after so much silence somebody is lost, so that it is seen within the whole.
_SILENCE: Final = 0.75
# By how much what an agent says may be out of date: until it judges again, by its own clock.
_LATE: Final = timedelta(minutes=2)
# How long a database may be away, such as while it is started anew.
_MOMENT: Final = timedelta(minutes=3)
_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be seen of a process. `verdict` is an agent's own; of one that `is_there`,
    `seen_at` is None: it would be another one each time."""

    name: str
    role: str
    application: str
    is_there: bool
    verdict: Verdict | None = None
    seen_at: datetime | None = None
    heartbeat: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a controller saw last of each process; `since` is when that was recorded, and `seqs` in
    which records, by name."""

    looks: Mapping[str, Look]
    since: Mapping[str, datetime]
    seqs: Mapping[str, int]


def is_alone(since: datetime, now: datetime) -> bool:
    """Whether a host is alone that lost the state database then: a moment is none."""
    return now - since > _MOMENT


def look_at(
    name: str,
    role: str,
    application: str,
    document: Mapping[str, Any],  # Any: JSON values
    *,
    seen_at: datetime,
    ago: timedelta,
    heartbeat: timedelta,
) -> Look:
    """What is to be seen of a process that said this so long ago. What is out of date then is
    UNKNOWN where it was better."""
    is_there = ago <= _SILENCE * heartbeat
    own = None
    if role == AGENT:
        own = read_verdict(document.get("verdict")) or Verdict.UNKNOWN
        until = moment(document.get("valid_until"))
        if is_there and (until is None or until + _LATE < seen_at):
            own = worst([own, Verdict.UNKNOWN])
    return Look(name, role, application, is_there, own, None if is_there else seen_at, heartbeat)


def look_json(one: Look) -> dict[str, Any]:  # Any: JSON values
    """As a record has it."""
    return {
        "name": one.name,
        "role": one.role,
        "application": one.application,
        "is_there": one.is_there,
        "verdict": one.verdict.value if one.verdict is not None else None,
        "seen_at": one.seen_at.isoformat() if one.seen_at is not None else None,
        "heartbeat_seconds": one.heartbeat.total_seconds(),
    }


def seen_in(
    before: Fleet | None,
    seq: int,
    at: datetime,
    fields: Mapping[str, Any],  # Any: JSON values
) -> Fleet:
    """What is known after a `fleet` record, which tells of those that changed only."""
    looks = dict(before.looks) if before is not None else {}
    since = dict(before.since) if before is not None else {}
    seqs = dict(before.seqs) if before is not None else {}
    for each in mappings(fields.get("members")):
        one = _look(mapping(each))
        looks[one.name], since[one.name], seqs[one.name] = one, at, seq
    for name in texts(fields.get("forgotten")):
        looks.pop(name, None)
    return Fleet(looks, since, seqs)


def _look(each: Mapping[str, Any]) -> Look:  # Any: JSON values
    seconds = real(each.get("heartbeat_seconds"))
    return Look(
        text(each.get("name")),
        text(each.get("role")),
        text(each.get("application")),
        each.get("is_there") is True,
        read_verdict(each.get("verdict")),
        moment(each.get("seen_at")),
        timedelta(seconds=seconds if seconds is not None and 0 <= seconds < 3e7 else 0),
    )


def check_fleet(
    fleet: Fleet | None, beats: Sequence[Beat], alone_since: datetime | None, now: datetime
) -> Iterator[Check]:
    """A check for each agent, and one for all drill workers together; none without a controller.
    `beats` are the signs of life of whoever watches, and `alone_since` since when it is cut off."""
    if fleet is None:
        return
    is_watched = bool(beats) and all(now <= one.silent_from for one in beats)
    is_watched = is_watched and (alone_since is None or not is_alone(alone_since, now))
    for one in fleet.looks.values():
        if one.role == AGENT:
            yield _believed(_agent(one, fleet, now), is_watched=is_watched)
    workers = [one for one in fleet.looks.values() if one.role == DRILLS]
    if workers:
        yield _believed(_workers(workers, fleet), is_watched=is_watched)


def _agent(one: Look, fleet: Fleet, now: datetime) -> Check:
    own = one.verdict or Verdict.UNKNOWN
    since = fleet.since[one.name]
    records = (fleet.seqs[one.name],)
    if one.is_there:
        told = f"{plain(one.application)} says {own}"
        known = None if own is Verdict.PROVEN else since
        return Check("agent", one.name, own, told, known, records=records)
    # What was worse still is, whoever can't say so any more.
    verdict = worst([own, Verdict.STALE])
    seen_at = one.seen_at or since
    silent = max(now - seen_at, timedelta())
    told = f"{plain(one.application)} was last heard of {age(silent)} ago, and said {own}"
    seconds, limit = silent.total_seconds(), one.heartbeat.total_seconds()
    return Check("agent", one.name, verdict, told, seen_at, seconds, limit, records=records)


def _workers(workers: Sequence[Look], fleet: Fleet) -> Check:
    here = [one for one in workers if one.is_there]
    away = sorted(one.name for one in workers if not one.is_there)
    told = f"{len(here)} of {count(len(workers), 'drill worker')} there"
    if away:
        more = f" and {len(away) - _FEW} more" if len(away) > _FEW else ""
        told += f"; away: {', '.join(map(plain, away[:_FEW]))}{more}"
    verdict = Verdict.PROVEN if here else Verdict.STALE
    since = None if here else max(fleet.since[one] for one in away)
    records = tuple(sorted({fleet.seqs[one.name] for one in workers}))
    return Check("workers", "", verdict, told, since, float(len(here)), 1.0, records=records)


def _believed(one: Check, *, is_watched: bool) -> Check:
    if is_watched:
        return one
    told = f"{one.observed}; nobody watches now"
    return replace(one, verdict=worst([one.verdict, Verdict.UNKNOWN]), observed=told)
