"""What a repository missed while it was away, as the ledger tells.

A repository that failed for a whole run is brought up to date by the next one in which it opens:
with every capture since the first that it ever received, as far as another one still has it, and
with what was imported, unless that was for one repository only. A
repository that never received any is new: what it is to hold of the past is for `strongroom copy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from strongroom.evidence import Entry

__all__ = ["KINDS", "Backlog", "Holders", "backlog"]

Holders: TypeAlias = dict[str, str]
"""The id of one capture's snapshot in each repository that holds it."""

KINDS: Final = frozenset({"backup", "import", "copy", "prune"})
"""The kinds of records that tell of it."""

_Capture: TypeAlias = tuple[str, str]  # source and recovery point


class Backlog:
    """Takes the records of one application in their order, and says what a repository lacks."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._lacking: dict[_Capture, Holders] = {}
        self._captured: dict[str, _Capture] = {}
        self._is_known = False

    def take(self, entry: Entry) -> None:
        """What this record tells of it."""
        if entry.kind == "backup":
            self._backup(_stored(entry))
        elif entry.kind == "import":
            self._import(_stored(entry), only=entry.fields.get("only"))
        elif entry.kind == "copy" and entry.fields.get("to") == self._repository:
            self._is_known = True
            for one in entry.fields.get("snapshots", ()):
                copied = self._captured.get(str(one.get("from_id")), ("", ""))
                self._lacking.pop(copied, None)
        elif entry.kind == "prune":
            # What was dropped by retention where it was is not missed elsewhere.
            dropped = set(map(str, entry.fields.get("drop", ())))
            for ids in self._lacking.values():
                if ids.get(name := str(entry.fields.get("repository"))) in dropped:
                    del ids[name]

    def _backup(self, stored: dict[_Capture, Holders]) -> None:
        self._captured |= {one: capture for capture, ids in stored.items() for one in ids.values()}
        self._is_known |= any(self._repository in ids for ids in stored.values())
        if self._is_known:
            self._lacking |= {
                one: ids for one, ids in stored.items() if self._repository not in ids
            }

    def _import(self, stored: dict[_Capture, Holders], *, only: object) -> None:
        self._captured |= {one: capture for capture, ids in stored.items() for one in ids.values()}
        if self._is_known and not only:
            self._lacking |= {
                one: ids for one, ids in stored.items() if self._repository not in ids
            }

    @property
    def lacking(self) -> list[Holders]:
        """The captures that it lacks and others have, oldest first."""
        return [ids for ids in self._lacking.values() if ids]


def backlog(entries: Iterable[Entry], application: str, repository: str) -> list[Holders]:
    """The captures that a repository lacks, by the records of captures and copies, oldest first."""
    found = Backlog(repository)
    for entry in entries:
        if entry.fields.get("application") == application:
            found.take(entry)
    return found.lacking


def _stored(entry: Entry) -> dict[_Capture, Holders]:
    stored: dict[_Capture, Holders] = {}
    for one in entry.fields.get("snapshots", ()):
        capture = (str(one["source"]), str(entry.fields.get("point")))
        stored.setdefault(capture, {})[str(one["repository"])] = str(one["id"])
    return stored
