"""What a recovery takes and how long it will be: which recovery point, and what each stage took in
drills. Pure.

Invariant: a newer point is never passed over in silence, and no point that failed its proof is
taken while there is another one, unless somebody names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = [
    "Chosen",
    "Known",
    "PointOption",
    "Timed",
    "choose_point",
    "estimate",
    "expected_seconds",
    "is_proven",
]


@dataclass(frozen=True, slots=True)
class Known:
    """What proofs have said about one copy of a snapshot, the newest word: identical, or not.
    Not `here`: nobody has looked at this copy, and a copy in another repository was identical."""

    proven: bool
    at: datetime
    here: bool = True


@dataclass(frozen=True, slots=True)
class PointOption:
    """A recovery point that could be taken. `proofs` has, for each source, what is known of each
    copy of its snapshot; nothing where nobody has looked."""

    id: str
    captured_at: datetime
    proofs: Mapping[str, Sequence[Known]]

    @property
    def proven_at(self) -> datetime | None:
        """Since when all of it is known to be identical; None when it isn't."""
        newest = [
            max((one.at for one in known if one.proven), default=None)
            for known in self.proofs.values()
        ]
        times = [one for one in newest if one is not None]
        return min(times) if times and len(times) == len(newest) else None

    @property
    def is_proven_here(self) -> bool:
        """Whether that is known of copies which can be taken, and not of others alone."""
        return bool(self.proofs) and all(
            any(one.proven and one.here for one in known) for known in self.proofs.values()
        )

    @property
    def has_failed(self) -> bool:
        """Whether there is a source of which every copy that was looked at was another one."""
        return any(known and not any(one.proven for one in known) for known in self.proofs.values())


@dataclass(frozen=True, slots=True)
class Chosen:
    """The point to take, why, and the newer ones that were passed over, the newest first."""

    point: PointOption
    because: str
    passed_over: tuple[PointOption, ...] = ()

    @property
    def costs(self) -> timedelta:
        """How much more work is lost than with the newest point."""
        if not self.passed_over:
            return timedelta(0)
        return self.passed_over[0].captured_at - self.point.captured_at


def is_proven(point: PointOption) -> bool:
    """Whether all of it is known to be identical, in some repository."""
    return point.proven_at is not None


def choose_point(options: Iterable[PointOption]) -> Chosen | None:
    """The newest proven point; without one, the newest that has not failed; without that, the
    newest. None when there is no point at all."""
    newest_first = sorted(options, key=lambda one: (one.captured_at, one.id), reverse=True)
    if not newest_first:
        return None
    for fits, because in (
        (is_proven, "the newest that is proven"),
        (lambda one: not one.has_failed, "the newest; none was proven yet"),
        (lambda _: True, "the newest; none is known to be whole"),
    ):
        for place, one in enumerate(newest_first):
            if fits(one):
                if is_proven(one) and not one.is_proven_here:
                    because += ", though as a copy in another repository"
                return Chosen(one, because, tuple(newest_first[:place]))
    raise AssertionError("the last rule takes any")


# How long it will take


@dataclass(frozen=True, slots=True)
class Timed:
    """How long something took, of how many bytes if that matters."""

    seconds: float
    size_bytes: int | None = None


def estimate(earlier: Sequence[Timed], size_bytes: int | None) -> float | None:
    """Seconds that it will take, as the newest time tells (they come oldest first), scaled to the
    size where both are known; None when it was never done."""
    if not earlier:
        return None
    last = earlier[-1]
    if not last.size_bytes or not size_bytes:
        return last.seconds
    return last.seconds * size_bytes / last.size_bytes


def expected_seconds(
    together: Sequence[float | None], after: Sequence[float | None]
) -> tuple[float, bool]:
    """Seconds in all, of stages that are done at the same time and of those that follow each other,
    and whether each of them is known."""
    known = [one for one in together if one is not None]
    following = [one for one in after if one is not None]
    is_whole = len(known) == len(together) and len(following) == len(after)
    return max(known, default=0.0) + sum(following), is_whole
