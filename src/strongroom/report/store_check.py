"""What is known of the stores: how many copies there are and where, their room, their integrity,
and whether they keep what the policy says.

A copy counts where a record says that it was stored. A repository that did not answer when it was
asked last, after the copy was stored, doesn't count: nobody could restore from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from strongroom.model import Verdict
from strongroom.report.capture_check import captures_of
from strongroom.report.check import Check
from strongroom.report.history import Inspection, Prune, Space
from strongroom.report.observation import Capture, Evidence, Promise, Store
from strongroom.report.statistic import MOST_POINTS, median, slope
from strongroom.report.weighing import MONTH
from strongroom.report.wording import age, count, plain, size

__all__ = [
    "Holdings",
    "check_copies",
    "check_integrity",
    "check_off_site",
    "check_retention",
    "check_space",
    "holdings_of",
]

_DAY: Final = timedelta(days=1)
# From how many measures on, over how many days, a forecast is made; and what is soon.
_LEAST_MEASURES: Final = 5
_LEAST_SPAN: Final = timedelta(days=3)
_SOON: Final = timedelta(days=14)
_FAR: Final = timedelta(days=366)
_LAST_RUNS: Final = 5


def holdings_of(evidence: Evidence) -> Holdings:
    """Where the captures are that are known of."""
    history = evidence.history
    of = (
        evidence.captures,
        evidence.observations,
        history.inspections,
        history.prunes,
        history.reaches,
        evidence.scope.repositories,
    )
    return evidence.once("holdings", of, lambda: Holdings(evidence))


class Holdings:
    """In which of the configured repositories captures are, as far as is recorded."""

    def __init__(self, evidence: Evidence) -> None:
        self._configured = evidence.scope.repositories
        self._held: dict[tuple[str, str], list[Capture]] = {}
        for one in evidence.captures:
            self._held.setdefault((one.source, one.tree), []).append(one)
        answered = _answered(evidence)
        self.away: dict[str, str] = {}
        for reach in evidence.history.reaches:
            # What was asked just now has no record yet.
            since = reach.seq and answered.get(reach.repository, 0) > reach.seq
            if reach.reached or since:
                self.away.pop(reach.repository, None)
            else:
                self.away[reach.repository] = reach.error

    def of(self, capture: Capture) -> tuple[str, ...]:
        """The repositories that hold it and answered when they were asked last."""
        return tuple(one for one in self.recorded(capture) if one not in self.away)

    def recorded(self, capture: Capture) -> tuple[str, ...]:
        """The repositories that hold it as far as is recorded, whether or not they answer."""
        found = {
            one.repository
            for one in self._held.get((capture.source, capture.tree), ())
            if one.is_copy or one.point == capture.point
        }
        return tuple(one for one in self._configured if one in found)


def _answered(evidence: Evidence) -> dict[str, int]:
    """In which record each repository last did what it was asked for. Their order is known, however
    clocks were set meanwhile; but for what was handed over, which is older than its record."""
    history = evidence.history
    found: dict[str, int] = {}
    for newest in (
        {one.repository: one.seq for one in evidence.captures},
        {
            one.repository: one.seq
            for one in evidence.observations
            if one.checked > 0 and not one.handed_over
        },
        {one.repository: one.seq for one in history.inspections},
        {one.repository: one.seq for one in history.prunes if one.ended},
    ):
        for name, seq in newest.items():
            found[name] = max(found.get(name, seq), seq)
    return found


def check_copies(evidence: Evidence, promise: Promise, holdings: Holdings) -> Iterator[Check]:
    """In how many repositories the newest capture of every source is."""
    if not evidence.scope.sources:
        return
    stored = {one.name: captures_of(evidence, one.name) for one in evidence.scope.sources}
    limit = float(promise.copies)
    if missing := [name for name, captures in stored.items() if not captures]:
        told = f"nothing was captured yet of {', '.join(missing)}"
        yield Check("copies", "", Verdict.UNKNOWN, told, limit=limit)
        return
    places = {name: holdings.of(captures[-1]) for name, captures in stored.items()}
    fewest = min(map(len, places.values()))
    records = tuple(sorted({captures[-1].seq for captures in stored.values()}))
    if fewest >= promise.copies:
        told = f"the newest captures are in {count(fewest, 'repository', 'repositories')}"
        yield Check("copies", "", Verdict.PROVEN, told, value=fewest, limit=limit, records=records)
        return
    few = [name for name, found in places.items() if len(found) < promise.copies]
    since = min(_few_since(stored[name], holdings, promise.copies) for name in few)
    yield Check(
        "copies",
        "",
        Verdict.STALE,
        "; ".join(_few(evidence, holdings, name, stored[name], places[name]) for name in few),
        since,
        float(fewest),
        limit,
        records=records,
    )


def _few(
    evidence: Evidence,
    holdings: Holdings,
    name: str,
    captures: Sequence[Capture],
    places: Sequence[str],
) -> str:
    configured = evidence.scope.repositories
    lacking = [_lacks(one, captures, holdings) for one in configured if one not in places]
    where = ", ".join(places) or "no repository"
    told = f"the newest capture of {name} is in {where}"
    if not lacking:
        return f"{told}, and {count(len(configured), 'repository', 'repositories')} configured"
    return f"{told}; {', '.join(lacking)}"


def _lacks(repository: str, captures: Sequence[Capture], holdings: Holdings) -> str:
    if repository in holdings.away:
        return _unreached(repository, holdings)
    behind = list(takewhile(lambda one: repository not in holdings.of(one), reversed(captures)))
    if len(behind) == len(captures):
        return f"{repository} has none yet"
    return f"{repository} is {count(len(behind), 'capture')} behind"


def _unreached(repository: str, holdings: Holdings) -> str:
    why = holdings.away[repository]
    return f"{repository} cannot be reached{f' ({plain(why)})' if why else ''}"


def _few_since(captures: Sequence[Capture], holdings: Holdings, wanted: int) -> datetime:
    *_, first = takewhile(lambda one: len(holdings.of(one)) < wanted, reversed(captures))
    return first.ended_at or first.begun_at


def check_off_site(evidence: Evidence, holdings: Holdings) -> Iterator[Check]:
    """Whether a copy of every source's newest capture is on another host than production's."""
    scope = evidence.scope
    if scope.environment == "development" or not scope.sources:
        return
    elsewhere = [one for one in scope.stores if one.off_site]
    unknown = [one for one in scope.stores if one.off_site is None]
    if not elsewhere:
        told = "; ".join(f"{one.name}: {one.because}" for one in scope.stores)
        told = told or "it is not known where the repositories are"
        verdict = Verdict.UNKNOWN if unknown or not scope.stores else Verdict.FAILED
        yield Check("off-site", "", verdict, told, value=0.0, limit=1.0)
        return
    names = {one.name for one in elsewhere}
    stored = {one.name: captures_of(evidence, one.name) for one in scope.sources}
    if missing := [name for name, captures in stored.items() if not captures]:
        told = f"nothing was captured yet of {', '.join(missing)}"
        yield Check("off-site", "", Verdict.UNKNOWN, told, limit=1.0)
        return
    held = {name: names & {*holdings.of(captures[-1])} for name, captures in stored.items()}
    fewest = min(map(len, held.values()))
    records = tuple(sorted({captures[-1].seq for captures in stored.values()}))
    where = "; ".join(f"{one.name}: {one.because}" for one in elsewhere)
    if fewest:
        yield Check("off-site", "", Verdict.PROVEN, where, value=fewest, limit=1.0, records=records)
        return
    lacking = [name for name, found in held.items() if not found]
    ever = all(any(names & {*holdings.recorded(one)} for one in stored[name]) for name in lacking)
    told = "; ".join(_not_elsewhere(lacking, names, stored, holdings))
    verdict = Verdict.STALE if ever else Verdict.UNKNOWN
    yield Check("off-site", "", verdict, told, value=0.0, limit=1.0, records=records)


def _not_elsewhere(
    lacking: Sequence[str],
    names: AbstractSet[str],
    stored: Mapping[str, Sequence[Capture]],
    holdings: Holdings,
) -> Iterator[str]:
    """Which sources' newest captures are in none of these repositories; and which don't answer."""
    never = [name for name in lacking if not names & {*holdings.recorded(stored[name][-1])}]
    if never:
        yield f"the newest capture of {', '.join(never)} is not in {' or '.join(sorted(names))}"
    yield from (_unreached(one, holdings) for one in sorted(names & holdings.away.keys()))


# Room


def check_space(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    """How much room each store has that can be asked, and when it will be full."""
    for store in evidence.scope.stores:
        if store.tells_space:
            found = [one for one in evidence.history.spaces if one.repository == store.name]
            yield _space(evidence, promise, store, found, now)


def _space(
    evidence: Evidence, promise: Promise, store: Store, found: Sequence[Space], now: datetime
) -> Check:
    if not found:
        told = "nobody has looked yet how much room it has"
        return Check("space", store.name, Verdict.UNKNOWN, told)
    newest = found[-1]
    wanted = _wanted(promise, newest)
    share = (
        f"{newest.free_bytes * 100 // newest.total_bytes} %" if newest.total_bytes else "nothing"
    )
    told = f"{size(newest.free_bytes)} of {size(newest.total_bytes)} free ({share})"
    full_at = evidence.once(
        f"full {store.name}", (evidence.history.spaces,), lambda: _full_at(found)
    )
    captures = evidence.captures
    usual = evidence.once("added", (captures,), lambda: _added(captures)).get(store.name, 0)
    full_soon = full_at is not None and full_at - now < _SOON
    if full_at is not None and full_at - now < _FAR:
        told += f"; at this rate full on {max(full_at, now):%Y-%m-%d}"
    value, limit = float(newest.free_bytes), float(wanted)
    records = (newest.seq,) if newest.seq else ()  # what was asked just now has no record yet
    passed, old = now - newest.at, max(2 * promise.rpo, 8 * _DAY)
    if newest.free_bytes <= usual:
        told = f"{told}; a capture adds {size(usual)}" if usual else told
        full = takewhile(lambda one: one.free_bytes <= usual, reversed(found))
        since = min(one.at for one in full)
        return Check("space", store.name, Verdict.FAILED, told, since, value, limit, None, records)
    if newest.free_bytes < wanted:
        told += f"; {size(wanted)} must be free"
        few = takewhile(lambda one: one.free_bytes < _wanted(promise, one), reversed(found))
        since = min(one.at for one in few)
        return Check("space", store.name, Verdict.STALE, told, since, value, limit, None, records)
    if full_soon:
        return Check(
            "space", store.name, Verdict.STALE, told, newest.at, value, limit, None, records
        )
    if passed > old:
        told += f", as it was {age(passed)} ago"
        since = newest.at + old
        return Check("space", store.name, Verdict.STALE, told, since, value, limit, None, records)
    ends = [newest.at + old, *([full_at - _SOON] if full_at is not None else [])]
    return Check(
        "space", store.name, Verdict.PROVEN, told,
        value=value, limit=limit, until=min(ends), records=records,
    )  # fmt: skip


def _wanted(promise: Promise, one: Space) -> int:
    if promise.space_bytes is not None:
        return promise.space_bytes
    return round(promise.space_share * one.total_bytes)


def _added(captures: Sequence[Capture]) -> dict[str, int]:
    """What a run adds to each repository, by the last ones."""
    runs: dict[str, dict[int, int]] = {}
    for one in captures:
        if not one.is_copy:
            own = runs.setdefault(one.repository, {})
            own[one.seq] = own.get(one.seq, 0) + (one.added_bytes or 0)
    return {name: round(median([*own.values()][-_LAST_RUNS:])) for name, own in runs.items()}


def _full_at(found: Sequence[Space]) -> datetime | None:
    """When there will be nothing left at the rate of the past; None when nothing grows, or too
    little is known."""
    newest = found[-1]
    if len(found) < _LEAST_MEASURES or newest.at - found[0].at < _LEAST_SPAN:
        return None
    days = [
        ((one.at - newest.at) / _DAY, float(one.total_bytes - one.free_bytes))
        for one in found[-MOST_POINTS:]
    ]
    growth = slope(days)
    if growth is None or growth <= 0:
        return None
    left = newest.free_bytes / growth
    return newest.at + timedelta(days=left) if left < 36_500 else None


# Integrity


def check_integrity(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    """Whether each repository was checked and is whole, and how much of it was read."""
    limit = promise.proof_age + _DAY
    for name in evidence.scope.repositories:
        found = [one for one in evidence.history.inspections if one.repository == name]
        yield _integrity(evidence, name, found, limit, now)


def _integrity(
    evidence: Evidence, name: str, found: Sequence[Inspection], limit: timedelta, now: datetime
) -> Check:
    seconds = limit.total_seconds()
    if not found:
        told = "nobody has checked it yet"
        return Check("integrity", name, Verdict.UNKNOWN, told, limit=seconds)
    if (damaged := _damaged(evidence, name, found)) is not None:
        told = "damage was found"
        if damaged.found is not None:
            told = f"{damaged.found.code} {damaged.found.subject}: {damaged.found.message}"
        return Check(
            "integrity", name, Verdict.FAILED, told, damaged.at, limit=seconds,
            records=(damaged.seq,),
        )  # fmt: skip
    newest = found[-1]
    read = next((one for one in reversed(found) if one.read_data), None)
    passed = max(now - newest.at, timedelta())
    told = f"checked {age(passed)} ago and whole"
    if read is None:
        told += "; what is stored was never read"
        return Check(
            "integrity", name, Verdict.UNKNOWN, told,
            value=passed.total_seconds(), limit=seconds, records=(newest.seq,),
        )  # fmt: skip
    records = tuple(sorted({newest.seq, read.seq}))
    if read.oldest_read_at is not None:
        told += f"; all of it was read, the first {age(now - read.oldest_read_at)} ago"
    elif read.never_read_bytes:
        told += f"; {size(read.never_read_bytes)} were never read"
    oldest = max(now - read.at, passed)
    since = min(newest.at, read.at) + limit
    if oldest > limit:
        if now - read.at > limit:
            told += f"; nothing was read for {age(now - read.at)}"
        return Check(
            "integrity", name, Verdict.STALE, told, since, oldest.total_seconds(), seconds,
            records=records,
        )  # fmt: skip
    return Check(
        "integrity", name, Verdict.PROVEN, told,
        value=oldest.total_seconds(), limit=seconds, until=since, records=records,
    )  # fmt: skip


def _damaged(evidence: Evidence, name: str, found: Sequence[Inspection]) -> Inspection | None:
    """The check that found damage which no later one shows to be over. A check that reads nothing
    doesn't see what is wrong with stored bytes, nor one that reads others."""
    standing: Inspection | None = None
    since: datetime | None = None
    for one in found:
        if not one.is_sound:
            if standing is None or one.content or not standing.content:
                standing, since = one, one.at
        elif standing is not None and since is not None:
            repaired = any(
                where == name and standing.seq < seq < one.seq
                for seq, where in evidence.history.repairs
            )
            # What was read by the check that found it was not read again; and a clock that was set
            # back since does not make it come later than what followed.
            since = min(since, one.at)
            again = one.oldest_read_at is not None and one.oldest_read_at > since
            if not standing.content or again or (repaired and one.read_data):
                standing = None
    return standing


# Retention


def check_retention(evidence: Evidence, now: datetime) -> Iterator[Check]:
    """Whether what each repository keeps is what the policy says: as its newest prune left it."""
    for store in evidence.scope.stores:
        if not store.keeps_all:
            found = [one for one in evidence.history.prunes if one.repository == store.name]
            yield _retention(store, found, now)


def _retention(store: Store, found: Sequence[Prune], now: datetime) -> Check:
    name, limit = store.name, MONTH
    if not found:
        return Check("retention", name, Verdict.UNKNOWN, "nobody has pruned it yet")
    newest = found[-1]
    passed = max(now - newest.at, timedelta())
    records, value = (newest.seq,), passed.total_seconds()
    if not newest.ended:
        told = f"a prune {age(passed)} ago did not come to its end"
        return Check("retention", name, Verdict.UNKNOWN, told, newest.at, records=records)
    kept = f", {count(newest.kept, 'snapshot')} kept" if newest.kept is not None else ""
    told = f"pruned {age(passed)} ago: {newest.dropped} dropped{kept}"
    if not newest.policy:
        told += "; it is not recorded by which policy"
        return Check("retention", name, Verdict.UNKNOWN, told, newest.at, value, records=records)
    if newest.policy != store.policy:
        told += "; the policy was changed since"
        return Check("retention", name, Verdict.STALE, told, newest.at, value, records=records)
    if newest.refused:
        told += f"; the store refused to remove {count(newest.refused, 'file')}"
        return Check("retention", name, Verdict.STALE, told, newest.at, value, records=records)
    ends = newest.at + limit
    if passed > limit:
        return Check("retention", name, Verdict.STALE, told, ends, value, limit.total_seconds(),
                     records=records)  # fmt: skip
    return Check("retention", name, Verdict.PROVEN, told, value=value,
                 limit=limit.total_seconds(), until=ends, records=records)  # fmt: skip
