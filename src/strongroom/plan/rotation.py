"""Which recovery point to drill next, and from which repository: every answer with its reasons.

The repository that was proven from longest ago comes next, so that with as many drills as there
are repositories within `proof_age` each of them is proven from in time. Its newest point is
drilled, and after three of these an older one, the longest undrilled first: what is kept for
months must come back as well. Without any record of drills the newest point of the first
repository is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

# So many drills of a repository's newest point come before one of an older point.
_NEWEST_IN_A_ROW: Final = 3
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Drillable:
    """A recovery point, and the repositories that hold all of its snapshots."""

    id: str
    captured_at: datetime
    repositories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drilled:
    """One drill of one source, from the ledger; `point` is None when it is not known any more.

    `older`: it was of a point that was not the newest of its repository then.
    """

    source: str
    repository: str
    at: datetime
    point: str | None = None
    older: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What to drill next, and because of what: never empty."""

    point: str
    repository: str
    because: tuple[str, ...]


def next_drill(
    points: Sequence[Drillable],
    drilled: Sequence[Drilled],
    now: datetime,
    *,
    sources: Sequence[str],
    proof_age: timedelta,
) -> Turn | None:
    """The point and the repository whose turn it is; None when no repository holds a whole point.

    `drilled` is in the order of the ledger. A repository counts as drilled when all `sources` were
    drilled from it.
    """
    turn = next_repository(points, drilled, now, sources=sources, proof_age=proof_age)
    if turn is None:
        return None
    held = _held(points, turn.repository)
    in_a_row = _newest_in_a_row([one for one in drilled if one.repository == turn.repository])
    older = held[:-1]
    if in_a_row < _NEWEST_IN_A_ROW or not older:
        return turn
    last = {one.point: one.at for one in drilled}
    chosen = min(older, key=lambda one: (last.get(one.id, _NEVER), one.captured_at))
    when = f"last drilled {_ago(now, last[chosen.id])}" if chosen.id in last else "never drilled"
    reason = f"an older point's turn, after {in_a_row} drills of the newest: {when}"
    return Turn(chosen.id, turn.repository, (*turn.because, reason))


def next_repository(
    points: Sequence[Drillable],
    drilled: Sequence[Drilled],
    now: datetime,
    *,
    sources: Sequence[str],
    proof_age: timedelta,
) -> Turn | None:
    """The repository whose turn it is, with the newest point that it holds; None as above."""
    names = list(dict.fromkeys(name for one in points for name in one.repositories))
    if not names:
        return None
    last = _last_drills(drilled, sources)
    repository = min(names, key=lambda name: last.get(name, _NEVER))
    newest = _held(points, repository)[-1]
    at = last.get(repository)
    if at is None:
        reason = f"nothing was drilled from {repository} yet"
    elif now - at > proof_age:
        reason = f"last drilled from {repository} {_ago(now, at)}: longer ago than proof_age"
    elif len(names) == 1:
        reason = f"last drilled from {repository} {_ago(now, at)}"
    else:
        reason = f"last drilled from {repository} {_ago(now, at)}, the longest of all"
    return Turn(newest.id, repository, (reason,))


def _held(points: Sequence[Drillable], repository: str) -> list[Drillable]:
    """What a repository holds, the oldest first."""
    held = [one for one in points if repository in one.repositories]
    return sorted(held, key=lambda one: (one.captured_at, one.id))


def _last_drills(drilled: Sequence[Drilled], sources: Sequence[str]) -> Mapping[str, datetime]:
    """When all sources had last been drilled from each repository; without one that never was."""
    by_source: dict[str, dict[str, datetime]] = {}
    for one in drilled:
        by_source.setdefault(one.repository, {})[one.source] = one.at
    return {
        name: min(times[source] for source in sources)
        for name, times in by_source.items()
        if times.keys() >= set(sources) and sources
    }


def _newest_in_a_row(drilled: Sequence[Drilled]) -> int:
    """How many drills of the newest point came since an older one had its turn: as many as its
    most drilled source has."""
    counts: dict[str, int] = {}
    for one in reversed(drilled):
        if one.older:
            break
        counts[one.source] = counts.get(one.source, 0) + 1
    return max(counts.values(), default=0)


def _ago(now: datetime, at: datetime) -> str:
    hours = max(0, int((now - at).total_seconds() // 3600))
    return f"{hours // 24} d ago" if hours >= 48 else f"{hours} h ago"
