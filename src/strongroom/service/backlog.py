"""What a repository missed while it was away, as the ledger tells.

A repository that failed for a whole run is brought up to date by the next one in which it opens:
with every capture since the first that it ever received, as far as another one still has it. A
repository that never received any is new: what it is to hold of the past is for `strongroom copy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from strongroom.evidence import Entry


@dataclass(slots=True)
class Backlog:
    """Captures that a repository lacks: the ids of their snapshots by the repository that has
    them, oldest first."""

    by_giver: dict[str, list[str]] = field(default_factory=dict)


def backlog(entries: Iterable[Entry], application: str, repository: str) -> Backlog:
    """What a repository lacks, by the records of captures and copies, oldest first."""
    lacking: dict[tuple[str, str], dict[str, str]] = {}
    captured: dict[str, tuple[str, str]] = {}
    is_known = False
    for entry in entries:
        if entry.fields.get("application") != application:
            continue
        if entry.kind == "backup":
            point = str(entry.fields.get("point"))
            stored: dict[tuple[str, str], dict[str, str]] = {}
            for one in entry.fields.get("snapshots", ()):
                capture = (str(one["source"]), point)
                stored.setdefault(capture, {})[str(one["repository"])] = str(one["id"])
                captured[str(one["id"])] = capture
            here = any(repository in ids for ids in stored.values())
            is_known = is_known or here
            if is_known:
                lacking |= {one: ids for one, ids in stored.items() if repository not in ids}
        elif entry.kind == "copy" and entry.fields.get("to") == repository:
            for one in entry.fields.get("snapshots", ()):
                is_known = True
                lacking.pop(captured.get(str(one.get("from_id")), ("", "")), None)
        elif entry.kind == "prune":
            _forget(lacking, str(entry.fields.get("repository")), entry.fields.get("drop", ()))
    found = Backlog()
    for ids in lacking.values():
        giver = next(iter(ids))
        found.by_giver.setdefault(giver, []).append(ids[giver])
    return found


def _forget(
    lacking: dict[tuple[str, str], dict[str, str]], repository: str, dropped: Iterable[object]
) -> None:
    """What was dropped by retention where it was is not missed elsewhere."""
    gone = set(map(str, dropped))
    for capture, ids in list(lacking.items()):
        if ids.get(repository) in gone:
            del ids[repository]
            if not ids:
                del lacking[capture]
