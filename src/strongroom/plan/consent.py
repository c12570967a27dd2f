"""Whether somebody has to say yes before retention drops what it decided to drop.

A policy that was changed by mistake, and a clock that is years ahead, would cost most of what there
is; what a policy drops day by day is as it was meant, however much that is. What tells them apart
is the precedent: what was captured while this very policy held, and what the last prune by it left.
Nothing is decided here about what stays; see docs/decisions/0012-schedule.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.plan.retention import Decision


@dataclass(frozen=True, slots=True)
class Precedent:
    """What is known of a policy in a repository.

    `left` is how many snapshots the last completed prune left, when that was by this very policy;
    else None. `captured` are the snapshots that were captured while this policy held for them.
    """

    left: int | None = None
    captured: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Doubt:
    """That somebody has to say yes, and why: `dropped` of `all` snapshots would go."""

    dropped: int
    all: int
    because: str


def doubt(decisions: Sequence[Decision], precedent: Precedent, *, share: float) -> Doubt | None:
    """Why these decisions about all snapshots of an application in a repository need consent; None
    when they don't.

    Before a policy has its first prune, more than this share of what was there before it must not
    go. Later no prune may drop more than this share of all, and leave less than this share of what
    the last one left.
    """
    dropped = sum(not one.keep for one in decisions)
    stay = len(decisions) - dropped
    if precedent.left is None:
        former = [one for one in decisions if one.id not in precedent.captured]
        gone = sum(not one.keep for one in former)
        if gone <= share * len(former):
            return None
        because = f"{gone} of the {len(former)} that were not captured under this policy"
        return Doubt(dropped, len(decisions), because)
    if dropped <= share * len(decisions) or stay >= share * precedent.left:
        return None
    because = f"{stay} would stay, and the last prune by this policy left {precedent.left}"
    return Doubt(dropped, len(decisions), because)
