"""What a restore would do to what is there: created, changed, taken away, left as it is.

For looking before anything is done; a proof compares, this only says what would be compared. Says
in `compared` how closely it has looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Differences", "Group", "Tally"]

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Group:
    """Things that fare alike: how many, their bytes, and the first of them by name."""

    count: int = 0
    size_bytes: int = 0
    first: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {"count": self.count, "bytes": self.size_bytes, "first": list(self.first)}


@dataclass(frozen=True, slots=True)
class Differences:
    """What a whole restore would do to the target. `tables` are a database's: for each the rows
    captured and about how many are there, None where there is no such table."""

    compared: str
    created: Group = Group()
    changed: Group = Group()
    deleted: Group = Group()
    same: int = 0
    tables: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to compare, neither in the snapshot nor in the target."""
        return not (self.created.count + self.changed.count + self.deleted.count + self.same)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        tables = [
            {"name": name, "rows": rows, "rows_there": there}
            for name, (rows, there) in self.tables.items()
        ]
        return {
            "compared": self.compared,
            "created": self.created.as_json(),
            "changed": self.changed.as_json(),
            "deleted": self.deleted.as_json(),
            "same": self.same,
            **({"tables": tables} if tables else {}),
        }


class Tally:
    """Counts into a group."""

    def __init__(self) -> None:
        self._count = self._size_bytes = 0
        self._first: list[str] = []

    def add(self, name: str, size_bytes: int = 0) -> None:
        self._count += 1
        self._size_bytes += size_bytes
        if len(self._first) < _MOST_NAMED:
            self._first.append(name)

    def group(self) -> Group:
        return Group(self._count, self._size_bytes, tuple(self._first))
