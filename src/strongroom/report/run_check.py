"""What runs amount to: which failed and were not made good, and whether what was due did run.

A failed run counts until one of the same kind, about the same source or repository, succeeds. What
exit statuses 40 to 42 say is an answer and no failure; what is interrupted is neither. Of commands
that somebody types, those count that the schedule knows, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from strongroom.model import Verdict
from strongroom.report.check import Check, worst
from strongroom.report.fleet import is_alone
from strongroom.report.history import Beat, Due, Ending, History, Run, Timetable
from strongroom.report.observation import Evidence, Promise
from strongroom.report.weighing import TOLERANCE
from strongroom.report.wording import age, clock, count

__all__ = ["check_errors", "check_schedule"]

_FEW: Final = 3
_LAST_RUNS: Final = 5
# How long after its time a run must have begun and ended, at least; see `_patience`.
_LEAST_PATIENCE: Final = timedelta(minutes=15)


@dataclass(slots=True)
class _Failing:
    """A run that failed and was not made good: the first and the newest of them, and how many."""

    first: Run
    newest: Run
    number: int = 1


def check_errors(evidence: Evidence) -> Iterator[Check]:
    """Whether runs failed that were not made good."""
    runs = evidence.history.runs
    if not runs:
        yield Check("errors", "", Verdict.UNKNOWN, "nothing has run yet")
        return
    known = {*evidence.scope.repositories, *(one.name for one in evidence.scope.sources), ""}
    all_failing = evidence.once("failing", (runs,), lambda: _failing(runs))
    failing = [one for one in all_failing if one.newest.subject in known]
    if not failing:
        newest = runs[-1]
        told = f"no run failed that was not made good; {count(len(runs), 'run')} recorded"
        yield Check("errors", "", Verdict.PROVEN, told, value=0.0, records=(newest.seq,))
        return
    zone = evidence.scope.time_zone
    shown = "; ".join(_told(one, zone) for one in failing[:_FEW])
    more = f"; and {len(failing) - _FEW} more" if len(failing) > _FEW else ""
    yield Check(
        "errors",
        "",
        Verdict.FAILED,
        shown + more,
        min(one.first.at for one in failing),
        float(len(failing)),
        records=tuple(sorted({one.newest.seq for one in failing})),
    )


def _failing(runs: Sequence[Run]) -> list[_Failing]:
    found: dict[tuple[str, str], _Failing] = {}
    for one in runs:
        key = (one.action, one.subject)
        if one.ending is Ending.DONE:
            if not found:
                continue
            # What failed as a whole did run by now; and what ran as a whole did all its parts.
            found.pop((one.action, ""), None)
            found.pop(key, None)
            if not one.subject:
                found = {each: failing for each, failing in found.items() if each[0] != one.action}
        elif one.ending is Ending.FAILED:
            parts = [
                failing
                for (action, subject), failing in found.items()
                if action == one.action and subject and failing.newest.at >= one.begun_at
            ]
            if not one.subject and parts:
                continue  # the same run; its parts say more
            if key in found:
                found[key].newest = one
                found[key].number += 1
            else:
                found[key] = _Failing(one, one)
    return list(found.values())


def _told(failing: _Failing, zone: str) -> str:
    one = failing.newest
    about = f" of {one.subject}" if one.subject else ""
    times = f", {failing.number} times in a row" if failing.number > 1 else ""
    error = f": {one.error}" if one.error else ""
    return f"{one.action}{about} failed at {clock(one.at, zone)}{times}{error}"


# The schedule


def check_schedule(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    """Whether what was due did run, and whether what runs by itself gave signs of life."""
    timetable = evidence.timetable
    if timetable is None:
        yield Check("schedule", "", Verdict.UNKNOWN, "nobody says what was due")
        return
    if not timetable.dues and not timetable.beats and not timetable.obstacle:
        return
    all_runs = evidence.history.runs
    runs = evidence.once("runs", (all_runs,), lambda: _by_action(all_runs))
    states = [
        _obstacle(timetable),
        *(_due(one, runs, evidence.history, promise, now, evidence.scope.time_zone)
          for one in timetable.dues),
        *(_beat(one, now) for one in timetable.beats),
        _alone(evidence, now),
    ]  # fmt: skip
    known = [one for one in states if one is not None]
    beat = max((one.at for one in timetable.beats), default=None)
    value = max((now - beat).total_seconds(), 0.0) if beat is not None else None
    if not known:
        told = "nothing was due since the records begin, or since it got other times"
        yield Check("schedule", "", Verdict.UNKNOWN, told, value=value, until=_until(timetable))
        return
    verdict = worst(one.verdict for one in known)
    bad = [one for one in known if one.verdict is not Verdict.PROVEN]
    ran = "what was due did run" if len(known) == 1 else f"all {len(known)} that were due did run"
    shown = "; ".join(one.told for one in bad[:_FEW]) if bad else ran
    more = f"; and {len(bad) - _FEW} more" if len(bad) > _FEW else ""
    since = [one.since for one in bad if one.since is not None]
    yield Check(
        "schedule",
        "",
        verdict,
        shown + more,
        min(since, default=None),
        value,
        until=_until(timetable) if not bad else None,
        records=tuple(sorted({one.seq for one in known if one.seq})),
    )


@dataclass(frozen=True, slots=True)
class _State:
    verdict: Verdict
    told: str
    since: datetime | None = None
    seq: int = 0


def _by_action(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for one in runs:
        found.setdefault(one.action, []).append(one)
    return found


def _due(
    due: Due,
    by_action: Mapping[str, Sequence[Run]],
    history: History,
    promise: Promise,
    now: datetime,
    zone: str,
) -> _State | None:
    """How what was due stands; None when nothing was due since the records begin."""
    runs = _newest(by_action.get(due.action, ()), due)
    passed = [
        (one, patience)
        for one, following in zip(due.times, (due.next_at, *due.times), strict=False)
        if one + (patience := _patience(runs, promise, one, following)) <= now
    ]
    if not passed or history.begun_at is None or passed[0][0] < history.begun_at:
        return None
    name = f"{due.action} of {due.subject}" if due.subject else due.action
    expected, patience = passed[0]
    newest = runs[-1] if runs else None
    if newest is None:
        told = f"{name} was due at {clock(expected, zone)} and has never run"
        return _State(Verdict.UNKNOWN, told, expected + patience)
    # One that was under way at that time is it, too: no two run at once.
    if newest.at >= expected - TOLERANCE:
        return _State(Verdict.PROVEN, f"{name} ran", seq=newest.seq)
    if expected < _retimed_at(history, due, now):
        return None  # it had another time then
    told = f"{name} was due at {clock(expected, zone)} and did not run"
    return _State(Verdict.STALE, told, expected + patience, newest.seq)


def _retimed_at(history: History, due: Due, now: datetime) -> datetime:
    """When this got other times, last; the beginning of the records without that. Other settings
    are no reason why it did not run, and neither is what a clock that was wrong dates later."""
    assert history.begun_at is not None
    changes = [
        one.at for one in history.retimings if one.at <= now and any(map(due.is_timed_by, one.jobs))
    ]
    return max(changes, default=history.begun_at)


def _newest(runs: Sequence[Run], due: Due) -> list[Run]:
    """The newest of what was due, oldest first."""
    mine = (one for one in reversed(runs) if not due.subject or one.subject in ("", due.subject))
    return list(islice(mine, _LAST_RUNS))[::-1]


def _patience(
    runs: Sequence[Run], promise: Promise, at: datetime, following: datetime | None
) -> timedelta:
    """How long after this time a run may be recorded: what it waits for on purpose, which is never
    until the time that follows, and twice as long as one took lately."""
    longest = max((one.took for one in runs[-_LAST_RUNS:]), default=timedelta())
    jitter = promise.jitter if following is None else min(promise.jitter, following - at)
    return jitter + max(2 * longest, _LEAST_PATIENCE)


def _beat(beat: Beat, now: datetime) -> _State:
    if now <= beat.silent_from:
        return _State(Verdict.PROVEN, f"{beat.name} runs")
    told = f"{beat.name} gave no sign of life for {age(now - beat.at)}"
    return _State(Verdict.STALE, told, beat.silent_from)


def _obstacle(timetable: Timetable) -> _State | None:
    """Of what keeps all from being started; None when nothing does. Since when is not known: a
    host that can't write anything down can't write that down either."""
    if not timetable.obstacle:
        return None
    told = f"what is due cannot be started or recorded: {timetable.obstacle}"
    return _State(Verdict.STALE, told)


def _alone(evidence: Evidence, now: datetime) -> _State | None:
    """Of a host of a fleet that is cut off from what orders its runs; None of any other."""
    since = evidence.alone_since
    if since is None or not is_alone(since, now):
        return None
    told = (
        f"the state database is out of reach for {age(now - since)}: only captures and copies "
        "run by themselves meanwhile"
    )
    return _State(Verdict.STALE, told, since)


def _until(timetable: Timetable) -> datetime | None:
    """When something must have run next, at the earliest."""
    ends = [one.next_at + _LEAST_PATIENCE for one in timetable.dues if one.next_at is not None]
    ends += [one.silent_from for one in timetable.beats]
    return min(ends, default=None)
