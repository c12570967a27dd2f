"""What to keep and what to drop: snapshots, a policy and the proofs, to a decision with reasons.

The words that restic has (last, hourly ... yearly, within, tags) mean what they mean there: newest
first, ISO weeks, the oldest snapshot fills a bucket that has room. What restic hasn't: a source's
newest snapshot and its newest proven one always stay (invariant I3), and so do pinned ones;
snapshots whose time cannot be right stay and count for nothing; nothing goes while the newest
capture failed or is unusually small; nothing is ever decided by a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from statistics import median
from typing import Final

# How far the clocks of two hosts may differ.
_TOLERANCE: Final = timedelta(minutes=1)
_USUAL_OF: Final = 5
_UNUSUAL_SHARE: Final = 0.5
_NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy. Counts as `restic forget --keep-LAST` has them, spans as `--keep-within-...`; a
    snapshot with all tags of one of `tags` stays. None and empty mean: no such rule."""

    forever: bool = False
    last: int | None = None
    hourly_count: int | None = None
    daily_count: int | None = None
    weekly_count: int | None = None
    monthly_count: int | None = None
    yearly_count: int | None = None
    within: timedelta | None = None
    hourly: timedelta | None = None
    daily: timedelta | None = None
    weekly: timedelta | None = None
    monthly: timedelta | None = None
    yearly: timedelta | None = None
    tags: tuple[frozenset[str], ...] = ()

    @property
    def keeps_nothing(self) -> bool:
        """Whether no rule is given: then nothing may be dropped, for it cannot be meant."""
        return self == Rules()


@dataclass(frozen=True, slots=True)
class Kept:
    """One snapshot of one source in one repository, as far as retention cares.

    `recorded` is its place in the order in which snapshots were written, None when not known.
    `lacking` is one of which something was lost: it never stays in place of a whole one.
    Of an `unremembered` one nobody knows whether it was pinned or proven.
    """

    id: str
    time: datetime
    tags: frozenset[str] = frozenset()
    proven: bool = False
    pinned: bool = False
    recorded: int | None = None
    lacking: bool = False
    unremembered: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a snapshot stays, and because of what: never empty. `suspended`: no rule keeps it,
    and it stays only because nothing may go now."""

    id: str
    keep: bool
    because: tuple[str, ...]
    suspended: bool = False


@dataclass(slots=True)
class _Bucket:
    """A rule that keeps the newest of each period: for a number of periods, or for a span."""

    reason: str
    period: Callable[[datetime], object]
    count: int | None = None
    after: datetime | None = None
    last: object = _NEVER

    def takes(self, time: datetime, *, is_oldest: bool) -> str | None:
        """The reason why a snapshot of this time stays, given newer ones before; None if none."""
        if self.count == 0 or (self.after is not None and time <= self.after):
            return None
        period = self.period(time)
        if period == self.last and not is_oldest:
            return None
        again = period == self.last
        self.last = period
        if self.count is not None:
            self.count -= 1
        return f"oldest {self.reason}" if again else self.reason


@dataclass(slots=True)
class _Serial:
    """Every snapshot is a period of its own: what `last` counts."""

    number: int = field(default=0)

    def __call__(self, _: datetime) -> int:
        self.number += 1
        return self.number


def decide(
    snapshots: Sequence[Kept],
    rules: Rules,
    now: datetime,
    *,
    zone: tzinfo = UTC,
    suspended: str | None = None,
) -> list[Decision]:
    """A decision for each snapshot of one source in one repository, newest first.

    `zone` says where a day begins. `suspended` is why nothing may go now, if anything.
    """
    untrusted = _untrusted(snapshots, now)
    trusted = sorted(
        (one for one in snapshots if one.id not in untrusted), key=_order, reverse=True
    )
    reasons: dict[str, list[str]] = {one.id: [] for one in snapshots}
    if rules.forever or rules.keeps_nothing:
        for one in snapshots:
            reasons[one.id].append("forever" if rules.forever else "no rule is given")
    whole = [one for one in trusted if not one.lacking]
    _judge(whole, rules, zone, reasons)
    if len(whole) < len(trusted):
        among_all: dict[str, list[str]] = {one.id: [] for one in trusted}
        _judge(trusted, rules, zone, among_all)
        for one in trusted:
            if one.lacking:
                reasons[one.id] += among_all[one.id]
    for one in snapshots:
        reasons[one.id] += _besides(one, untrusted)
    decisions = []
    for one in sorted(snapshots, key=_order, reverse=True):
        because = reasons[one.id]
        if because:
            decisions.append(Decision(one.id, True, tuple(because)))
        elif suspended:
            decisions.append(Decision(one.id, True, (suspended,), suspended=True))
        else:
            decisions.append(Decision(one.id, False, ("no rule keeps it",)))
    return decisions


def _besides(one: Kept, untrusted: Mapping[str, str]) -> Iterator[str]:
    """Why it stays whatever the rules say."""
    if one.id in untrusted:
        yield untrusted[one.id]
    if one.pinned:
        yield "pinned"
    if one.unremembered:
        yield "older than the ledger, so it may have been pinned"


def _order(one: Kept) -> tuple[datetime, bool, int]:
    # Equal times keep the order in which they were written; a whole one counts as newer.
    return one.time, not one.lacking, one.recorded if one.recorded is not None else _NEVER


def _untrusted(snapshots: Sequence[Kept], now: datetime) -> dict[str, str]:
    """Snapshots whose time cannot be right, and why: they stay, and displace no other."""
    found = {one.id: "its time is yet to come" for one in snapshots if one.time > now + _TOLERANCE}
    newest: datetime | None = None
    recorded = [one for one in snapshots if one.recorded is not None and one.id not in found]
    for one in sorted(recorded, key=lambda one: one.recorded or 0):
        if newest is not None and one.time < newest - _TOLERANCE:
            found[one.id] = "it is dated before one that was written earlier"
        else:
            newest = one.time if newest is None else max(newest, one.time)
    return found


def _judge(
    newest_first: Sequence[Kept], rules: Rules, zone: tzinfo, reasons: dict[str, list[str]]
) -> None:
    if newest_first:
        _apply(newest_first, rules, zone, reasons)
    _guard(newest_first, reasons)


def _apply(
    newest_first: Sequence[Kept], rules: Rules, zone: tzinfo, reasons: dict[str, list[str]]
) -> None:
    latest = newest_first[0].time
    buckets = _buckets(rules, latest, zone)
    for place, one in enumerate(newest_first):
        is_oldest = place == len(newest_first) - 1
        because = reasons[one.id]
        for wanted in rules.tags:
            if wanted <= one.tags:
                because.append(f"has tags {', '.join(sorted(wanted))}")
        if rules.within is not None and one.time > latest - rules.within:
            because.append(f"within {_span(rules.within)}")
        for bucket in buckets:
            reason = bucket.takes(one.time, is_oldest=is_oldest)
            if reason is not None:
                because.append(reason)


def _buckets(rules: Rules, latest: datetime, zone: tzinfo) -> list[_Bucket]:
    periods = _periods(zone)
    made = []
    if rules.last is not None:
        made.append(_Bucket("last snapshot", _Serial(), rules.last))
    counts = {
        "hourly": rules.hourly_count,
        "daily": rules.daily_count,
        "weekly": rules.weekly_count,
        "monthly": rules.monthly_count,
        "yearly": rules.yearly_count,
    }
    for word, count in counts.items():
        if count is not None:
            made.append(_Bucket(f"{word} snapshot", periods[word], count))
    spans = {
        "hourly": rules.hourly,
        "daily": rules.daily,
        "weekly": rules.weekly,
        "monthly": rules.monthly,
        "yearly": rules.yearly,
    }
    for word, span in spans.items():
        if span is not None:
            reason = f"{word} within {_span(span)}"
            made.append(_Bucket(reason, periods[word], after=latest - span))
    return made


def _periods(zone: tzinfo) -> dict[str, Callable[[datetime], object]]:
    def local(time: datetime) -> datetime:
        return time.astimezone(zone)

    return {
        "hourly": lambda time: (local(time).date(), local(time).hour),
        "daily": lambda time: local(time).date(),
        "weekly": lambda time: local(time).isocalendar()[:2],
        "monthly": lambda time: (local(time).year, local(time).month),
        "yearly": lambda time: local(time).year,
    }


def _guard(newest_first: Sequence[Kept], reasons: dict[str, list[str]]) -> None:
    """Invariant I3."""
    if newest_first:
        reasons[newest_first[0].id].append("newest of its source")
    proven = next((one for one in newest_first if one.proven), None)
    if proven is not None:
        reasons[proven.id].append("newest proven of its source")


def shrunk(sizes_bytes: Sequence[int | None]) -> str | None:
    """Why nothing may go: the newest of these captures' sizes, oldest first, is unusually small;
    None if it isn't."""
    usual = unusually_small(sizes_bytes)
    if usual is None:
        return None
    newest = sizes_bytes[-1]
    return f"the newest capture has {newest} bytes, usual are {usual}: nothing is dropped"


def unusually_small(sizes_bytes: Sequence[int | None]) -> int | None:
    """What is usual, when the newest of these captures' sizes, oldest first, is less than half of
    it; else None.

    A source that is suddenly half of what it was may have lost what the older snapshots hold.
    """
    known = [size for size in sizes_bytes if size is not None]
    if len(known) < 2 or sizes_bytes[-1] is None:
        return None
    usual = median(known[-1 - _USUAL_OF : -1])
    return round(usual) if known[-1] < usual * _UNUSUAL_SHARE else None


def _span(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"
