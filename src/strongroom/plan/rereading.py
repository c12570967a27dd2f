"""Which packs to read again, so that every stored byte is read within a period at a bounded cost.

The packs that were read longest ago come first, those that never were before all others. A run
takes a share of all bytes, a number of bytes, only what was not read for a while, or all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from strongroom.config.value import parse_share_or_size

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of a repository to read: at most `share` (0 to 1) of its bytes and `most_bytes`, and
    only packs that were not read for `older_than`. None means: no such bound."""

    share: float | None = None
    most_bytes: int | None = None
    older_than: timedelta | None = None


EVERYTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Rereading:
    """The packs to read, in this order, and those that were due and do not fit in."""

    packs: tuple[str, ...]
    left: tuple[str, ...]


def parse_amount(text: str) -> Amount:
    """`10%`, or a size such as `5GiB`; ValueError that says so."""
    amount = parse_share_or_size(text)
    return Amount(share=amount) if isinstance(amount, float) else Amount(most_bytes=amount)


def choose_packs(
    sizes: Mapping[str, int],
    read_at: Mapping[str, datetime],
    amount: Amount,
    now: datetime,
) -> Rereading:
    """What to read now, of packs by name with their sizes in bytes and when each was last read.

    At least one pack is read whenever one is due, so that small bounds still come to an end; the
    last one may exceed the bound by less than its own size.
    """
    last = {pack: read_at.get(pack, _NEVER) for pack in sizes}
    due = sorted(sizes, key=lambda pack: (last[pack], pack))
    if amount.older_than is not None:
        limit = now - amount.older_than
        due = [pack for pack in due if last[pack] <= limit]
    bounds = [amount.most_bytes] if amount.most_bytes is not None else []
    if amount.share is not None:
        bounds.append(max(1, int(amount.share * sum(sizes.values()))))
    if not bounds:
        return Rereading(tuple(due), ())
    taken, place = 0, 0
    while place < len(due) and taken < min(bounds):
        taken += sizes[due[place]]
        place += 1
    return Rereading(tuple(due[:place]), tuple(due[place:]))
