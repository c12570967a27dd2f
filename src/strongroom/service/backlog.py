"""What a repository missed while it was away, as the ledger tells.

A repository that failed for a whole run is brought up to date by the next one in which it opens:
with every capture since the first that it ever received, as far as another one still has it. A
repository that never received any is new: what it is to hold of the past is for `strongroom copy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from strongroom.evidence import Entry

Holders: TypeAlias = dict[str, str]
"""The id of one capture's snapshot in each repository that holds it."""

_Capture: TypeAlias = tuple[str, str]  # source and recovery point


def backlog(entries: Iterable[Entry], application: str, repository: str) -> list[Holders]:
    """The captures that a repository lacks, by the records of captures and copies, oldest first."""
    lacking: dict[_Capture, Holders] = {}
    captured: dict[str, _Capture] = {}
    is_known = False
    for entry in entries:
        if entry.fields.get("application") != application:
            continue
        if entry.kind == "backup":
            stored = _stored(entry)
            captured |= {one: capture for capture, ids in stored.items() for one in ids.values()}
            is_known = is_known or any(repository in ids for ids in stored.values())
            if is_known:
                lacking |= {one: ids for one, ids in stored.items() if repository not in ids}
        elif entry.kind == "copy" and entry.fields.get("to") == repository:
            is_known = True
            for one in entry.fields.get("snapshots", ()):
                lacking.pop(captured.get(str(one.get("from_id")), ("", "")), None)
        elif entry.kind == "prune":
            # What was dropped by retention where it was is not missed elsewhere.
            dropped = set(map(str, entry.fields.get("drop", ())))
            for ids in lacking.values():
                if ids.get(name := str(entry.fields.get("repository"))) in dropped:
                    del ids[name]
    return [ids for ids in lacking.values() if ids]


def _stored(entry: Entry) -> dict[_Capture, Holders]:
    stored: dict[_Capture, Holders] = {}
    for one in entry.fields.get("snapshots", ()):
        capture = (str(one["source"]), str(entry.fields.get("point")))
        stored.setdefault(capture, {})[str(one["repository"])] = str(one["id"])
    return stored
