"""Which parts of a large database a drill restores, so that all of them are proven in turn.

What was proven longest ago comes first, what never was before all else, and of these the largest:
a part that is too big for the share goes alone. The part that completes the share may exceed it,
so that as many drills as shares make a whole cover everything, for as long as sizes stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """The parts that are restored and compared now, and those that are not, each by name."""

    taken: tuple[str, ...]
    left: tuple[str, ...]


def default_share(proof_age: timedelta) -> float:
    """The share of a database with which a drill each day covers all of it within `proof_age`."""
    return 1 / max(1, proof_age // _DAY)


def parse_share(text: str) -> float:
    """`10%` as 0.1; ValueError that says so."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not text.endswith("%") or not 0 < share <= 1:
        raise ValueError("a share is above 0% and at most 100%, such as 10%")
    return share


def choose_sample(
    sizes: Mapping[str, int], proven_at: Mapping[str, datetime], share: float
) -> Sample:
    """What to take, of parts by name with their sizes in bytes and when each was last proven.

    At least one part is taken whenever there is one.
    """
    bound = max(1.0, share * sum(sizes.values()))
    due = sorted(sizes, key=lambda one: (proven_at.get(one, _NEVER), -sizes[one], one))
    taken: list[str] = []
    amount = 0
    for name in due:
        is_giant = sizes[name] > bound
        if (amount >= bound and sizes[name]) or (is_giant and taken):
            break  # what is empty costs nothing
        taken.append(name)
        amount += sizes[name]
    return Sample(tuple(taken), tuple(name for name in due if name not in set(taken)))
