"""What else is to be in order: alerts that arrive, nothing odd in the records, and a review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.capture_check import captures_of, unusual
from strongroom.report.check import Check
from strongroom.report.history import CHANGED, Delivery
from strongroom.report.noticed import Noticed
from strongroom.report.observation import Capture, Evidence, Promise
from strongroom.report.wording import age, count

__all__ = ["PERIOD", "check_anomalies", "check_delivery", "check_review"]

# Over how long anomalies are listed.
PERIOD: Final = timedelta(days=31)
# No more captures than these are asked what size is usual.
_MOST_EARLIER: Final = 20
_FEW: Final = 3


def check_delivery(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    """Whether alerts arrive, by the newest attempt of each route; an alert that was never tried,
    or not since the procedures were to be reviewed, may lead nowhere."""
    if not evidence.scope.told:
        return
    routes: dict[str, list[Delivery]] = {}
    for one in evidence.history.deliveries:
        if one.to in evidence.scope.told:
            routes.setdefault(one.to, []).append(one)
    if not routes:
        yield Check("delivery", "", Verdict.UNKNOWN, "no alert was ever sent")
        return
    newest = {name: tried[-1] for name, tried in routes.items()}
    records = tuple(sorted(one.seq for one in newest.values()))
    failed = [name for name, one in newest.items() if not one.delivered]
    reached = [name for name, one in newest.items() if one.delivered]
    if failed:
        since = min(_failing_since(routes[name]) for name in failed)
        told = "; ".join(f"{name}: {newest[name].error or 'not delivered'}" for name in failed)
        if reached:
            told += f"; {', '.join(reached)} got theirs"
        verdict = Verdict.STALE if reached else Verdict.FAILED
        yield Check("delivery", "", verdict, told, since, records=records)
        return
    last = min(one.at for one in newest.values())
    passed, ends = max(now - last, timedelta()), last + promise.review_every
    told = f"arrived {age(passed)} ago ({', '.join(reached)})"
    told = f"the newest {told}" if len(reached) == 1 else f"the newest of each {told} or since"
    if untried := [name for name in evidence.scope.told if name not in routes]:
        told = f"nothing was ever sent to {', '.join(untried)}; {told}"
        yield Check("delivery", "", Verdict.UNKNOWN, told, records=records)
        return
    if passed > promise.review_every:
        told += f"; {age(promise.review_every)} is long"
        yield Check("delivery", "", Verdict.STALE, told, ends, records=records)
        return
    yield Check("delivery", "", Verdict.PROVEN, told, until=ends, records=records)


def _failing_since(tried: Sequence[Delivery]) -> datetime:
    since = tried[-1].at
    for one in reversed(tried):
        if one.delivered:
            break
        since = one.at
    return since


def check_review(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    """Whether people have looked at the procedures lately."""
    limit = promise.review_every.total_seconds()
    if promise.review_last is None:
        told = "nobody says when the procedures were reviewed last"
        yield Check("review", "", Verdict.UNKNOWN, told, limit=limit)
        return
    zone = ZoneInfo(evidence.scope.time_zone)
    begin = datetime.combine(promise.review_last, time(), zone).astimezone(UTC)
    passed, ends = now - begin, begin + promise.review_every
    told = f"reviewed on {promise.review_last:%Y-%m-%d}, due on {ends.astimezone(zone):%Y-%m-%d}"
    if passed < timedelta():
        told = f"the last review is dated {promise.review_last:%Y-%m-%d}, which is yet to come"
        yield Check("review", "", Verdict.UNKNOWN, told, limit=limit)
    elif passed > promise.review_every:
        yield Check("review", "", Verdict.STALE, told, ends, passed.total_seconds(), limit)
    else:
        seconds = passed.total_seconds()
        yield Check("review", "", Verdict.PROVEN, told, value=seconds, limit=limit, until=ends)


# Anomalies


def check_anomalies(evidence: Evidence, now: datetime) -> Iterator[Check]:
    """What was odd in the last 31 days. The newest captures decide: what is new in them may not be
    meant. What people did by hand is listed beside it, for whoever reads it through."""
    if not evidence.captures:
        yield Check("anomalies", "", Verdict.UNKNOWN, "nothing was captured yet")
        return
    since = now - PERIOD
    fresh: list[str] = []
    listed: Counter[str] = Counter()
    seqs: set[int] = set()
    first: datetime | None = None
    for source in evidence.scope.sources:
        stored = captures_of(evidence, source.name)
        for place, one in enumerate(stored):
            if (one.ended_at or one.begun_at) < since:
                continue
            odd = [*_odd_size(stored, place), *_new_warnings(stored, place)]
            listed.update(kind for kind, _ in odd)
            if odd and one is stored[-1]:
                fresh += [f"{source.name}: {told}" for _, told in odd]
                seqs.add(one.seq)
                at = one.ended_at or one.begun_at
                first = at if first is None else min(first, at)
    for act in evidence.history.acts:
        if act.at >= since:
            listed[act.what] += 1
    listed.update(_changes(evidence, since))
    told = f"in the last {PERIOD.days} days: {_listed(listed)}"
    if not fresh:
        yield Check("anomalies", "", Verdict.PROVEN, told, value=float(listed.total()))
        return
    shown = "; ".join(fresh[:_FEW]) + (f"; and {len(fresh) - _FEW} more" if fresh[_FEW:] else "")
    yield Check(
        "anomalies", "", Verdict.UNKNOWN, f"{shown}; {told}", first, float(listed.total()),
        records=tuple(sorted(seqs)),
    )  # fmt: skip


def _listed(listed: Counter[str]) -> str:
    if not listed:
        return "nothing unusual"
    return ", ".join(f"{what} ({count(number, 'time')})" for what, number in sorted(listed.items()))


def _odd_size(stored: Sequence[Capture], place: int) -> Iterator[tuple[str, str]]:
    before = stored[max(0, place - _MOST_EARLIER) : place]
    earlier = [one.size_bytes for one in before if one.size_bytes is not None]
    size_bytes = stored[place].size_bytes
    if size_bytes is not None and unusual(earlier, size_bytes) is not None:
        yield "an unusual size", "its size is unusual"


def _new_warnings(stored: Sequence[Capture], place: int) -> Iterator[tuple[str, str]]:
    """Warnings of a capture that none of the month before had; none of the first one's."""
    one = stored[place]
    if not one.findings:
        return
    begin = one.begun_at - PERIOD
    before = list(takewhile(lambda each: each.begun_at >= begin, reversed(stored[:place])))
    if not before:
        return
    known = {_key(found) for each in before for found in each.findings}
    for found in one.findings:
        if found.severity is Severity.WARNING and _key(found) not in known:
            yield "a new warning", f"{found.code} {found.subject}: {found.message}"


def _key(found: Noticed) -> tuple[str, str]:
    return found.code, found.subject


def _changes(evidence: Evidence, since: datetime) -> Counter[str]:
    """How often the settings were others than in the proof before, where no record tells it."""
    found: Counter[str] = Counter()
    if any(one.what == CHANGED for one in evidence.history.acts):
        return found
    known = [one for one in evidence.observations if one.config_digest]
    for before, after in pairwise(known):
        if after.at >= since and before.config_digest != after.config_digest:
            found[CHANGED] += 1
    return found
