"""What drills amount to: each source, everything together, how long it takes; and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.observation import WHOLE, Evidence, Observation, Promise
from strongroom.report.statistic import median
from strongroom.report.weighing import (
    SourceLine,
    proof_limit,
    proofs_of,
    weigh,
)
from strongroom.report.wording import age, count

__all__ = ["check_full_restore", "check_ledger", "check_proofs", "check_rto", "recovery_time"]

# By how much a recovery must differ from earlier ones before it is told.
_NOTABLE: Final = 0.2
_LEAST_EARLIER: Final = 3
_MOST_EARLIER: Final = 10


def check_proofs(lines: Sequence[SourceLine], promise: Promise, now: datetime) -> Iterator[Check]:
    """Whether each source was brought back lately."""
    for line in lines:
        limit = promise.proof_age
        if line.proof is None:
            yield Check("proof", line.name, line.verdict, line.because, limit=limit.total_seconds())
            continue
        yield _proof("proof", line.name, line, limit, now)


def _proof(name: str, subject: str, line: SourceLine, limit: timedelta, now: datetime) -> Check:
    assert line.proof is not None
    one = line.proof.observation
    ends = one.at + limit
    # Long ago it may be, and the failure of another copy is newer: that one is told in words.
    since = {Verdict.PROVEN: None, Verdict.STALE: ends}.get(line.verdict, one.at)
    where = f" from {one.repository}" if one.repository else ""
    told = line.because if line.verdict is not Verdict.PROVEN else f"{line.because}{where}"
    return Check(
        name,
        subject,
        line.verdict,
        told,
        since,
        max((now - one.at).total_seconds(), 0.0),
        limit.total_seconds(),
        ends if line.verdict is Verdict.PROVEN else None,
        (one.seq,),
    )


def check_full_restore(
    evidence: Evidence, whole: SourceLine | None, promise: Promise, now: datetime
) -> Iterator[Check]:
    """Whether everything was brought back together: with the application started, where it is
    configured how; else all sources of one recovery point."""
    limit = proof_limit(WHOLE, promise)
    if not evidence.scope.sources:
        return
    if whole is not None and whole.proof is not None:
        yield _proof("full-restore", "", whole, limit, now)
    elif evidence.scope.starts:
        told = "the application was not started yet on what comes back"
        yield Check("full-restore", "", Verdict.UNKNOWN, told, limit=limit.total_seconds())
    else:
        yield _together(evidence, promise, limit, now)


def _together(evidence: Evidence, promise: Promise, limit: timedelta, now: datetime) -> Check:
    """The newest recovery point of which every source was proven."""
    names = [one.name for one in evidence.scope.sources]
    points: dict[str, dict[str, Observation]] = {}
    for name in names:
        for one in proofs_of(evidence, name):
            verdict, _ = weigh(one, promise, evidence.chain, now)
            if one.point and verdict in (Verdict.PROVEN, Verdict.STALE):
                points.setdefault(one.point, {})[name] = one
    whole = [found for found in points.values() if len(found) == len(names)]
    seconds = limit.total_seconds()
    if not whole:
        told = "the sources of one recovery point were not all brought back yet"
        return Check("full-restore", "", Verdict.UNKNOWN, told, limit=seconds)
    best = max(whole, key=lambda found: min(one.at for one in found.values()))
    at = min(one.at for one in best.values())
    records = tuple(sorted(one.seq for one in best.values()))
    passed = max(now - at, timedelta())
    every = f"all {len(names)} sources of one recovery point were"
    told = (
        f"{every if len(names) > 1 else 'the one source was'} brought back {age(passed)} ago; "
        "the application was not started, since nothing says how"
    )
    value, ends = passed.total_seconds(), at + limit
    if passed > limit:
        return Check("full-restore", "", Verdict.STALE, told, ends, value, seconds, records=records)
    return Check(
        "full-restore", "", Verdict.PROVEN, told,
        value=value, limit=seconds, until=ends, records=records,
    )  # fmt: skip


# How long it takes


def recovery_time(
    lines: Sequence[SourceLine], whole: SourceLine | None
) -> tuple[timedelta | None, tuple[int, ...]]:
    """How long the newest drill of the whole application took, or else all sources in sum, and
    the records that say so; None where one of them is not proven."""
    parts = [whole] if whole is not None else list(lines)
    proofs = [one.proof.observation for one in parts if one.proof is not None and one.is_proven]
    if not parts or len(proofs) < len(parts):
        return None, ()
    seconds = sum(one.seconds for one in proofs)
    return timedelta(seconds=seconds), tuple(sorted(one.seq for one in proofs))


def check_rto(
    evidence: Evidence, lines: Sequence[SourceLine], whole: SourceLine | None, promise: Promise
) -> Iterator[Check]:
    """How long recovery takes, and whether it takes longer than it did."""
    if not lines:
        return
    limit = promise.rto.total_seconds()
    took, records = recovery_time(lines, whole)
    if took is None:
        told = "it was not measured: not everything was brought back"
        yield Check("rto", "", Verdict.UNKNOWN, told, limit=limit)
        return
    what = "with the application started" if whole is not None else "all sources in sum"
    told = f"{age(took)}, {what}{_trend(evidence, took, whole is not None)}"
    verdict = Verdict.PROVEN if took <= promise.rto else Verdict.STALE
    since = None
    if verdict is not Verdict.PROVEN:
        known = {one.seq: one.at for one in evidence.observations}
        since = min((known[one] for one in records if one in known), default=None)
    yield Check("rto", "", verdict, told, since, took.total_seconds(), limit, records=records)


def _trend(evidence: Evidence, took: timedelta, with_start: bool) -> str:
    earlier = _earlier(evidence, with_start)[-_MOST_EARLIER:]
    if len(earlier) < _LEAST_EARLIER:
        return ""
    usual = median(earlier)
    told = f"of the last {len(earlier)} drills before it, {age(timedelta(seconds=usual))}"
    if took.total_seconds() > usual * (1 + _NOTABLE):
        return f"; slower than the median {told}"
    if took.total_seconds() < usual * (1 - _NOTABLE):
        return f"; faster than the median {told}"
    return f"; as the median {told}"


def _earlier(evidence: Evidence, with_start: bool) -> list[float]:
    """How long earlier drills of the same took, oldest first, without the newest."""
    if with_start:
        found = [one for one in proofs_of(evidence, WHOLE) if one.checked > 0]
        return [one.seconds for one in found][:-1]
    names = {one.name for one in evidence.scope.sources}
    runs: dict[str, dict[str, float]] = {}
    for name in names:
        for one in proofs_of(evidence, name):
            if one.run and one.checked > 0:
                runs.setdefault(one.run, {})[name] = one.seconds
    first = {one.run: one.seq for one in reversed(evidence.observations)}
    whole = [run for run, parts in runs.items() if len(parts) == len(names)]
    whole.sort(key=lambda run: first[run])
    return [sum(runs[run].values()) for run in whole][:-1]


# The ledger


def check_ledger(evidence: Evidence) -> Iterator[Check]:
    """Whether the record of all runs is what was written."""
    chain = evidence.chain
    records = (chain.head_seq,) if chain.head_seq else ()
    if chain.faults:
        more = f"; and {len(chain.faults) - 1} more" if len(chain.faults) > 1 else ""
        told = f"{chain.faults[0]}{more}"
        yield Check("ledger", "", Verdict.FAILED, told, records=records)
        return
    if not chain.records:
        yield Check("ledger", "", Verdict.UNKNOWN, "nothing is recorded yet")
        return
    told = f"it holds from the first to the last of {count(chain.records, 'record')}"
    if chain.compared:
        told += f"; compared with the copies in {', '.join(chain.compared)}"
    yield Check("ledger", "", Verdict.PROVEN, told, value=float(chain.records), records=records)
