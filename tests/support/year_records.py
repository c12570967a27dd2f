"""The fields of the ledger's records, as commands write them, for time that is only simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from strongroom.model import Digests, Finding, Stage, Verdict
from strongroom.repository import Snapshot
from strongroom.service.rendering import digests_json, stages_json, time_json

Fields: TypeAlias = dict[str, Any]  # Any: JSON values
Error: TypeAlias = Mapping[str, str] | None
DIGEST = "ab" * 32
VERSIONS = {"strongroom": "0.1.0", "python": "3.11.9", "host": "backup"}


def seconds(span: timedelta) -> float:
    """As a clock that only goes forward has it, which is not the host's."""
    return max(0.0, round(span.total_seconds(), 3))


def space(repository: str, total_bytes: int, free_bytes: int) -> Fields:
    return {"repository": repository, "total_bytes": total_bytes, "free_bytes": free_bytes}


def finding_fields(one: Finding, source: str | None = None) -> Fields:
    return {**one.as_json(), "source": source}


def backup(
    point: str,
    wanted: Sequence[str],
    stored: Sequence[tuple[str, Snapshot]],
    *,
    begun_at: datetime,
    ended_at: datetime,
    findings: Sequence[Fields] = (),
    errors: Sequence[Fields] = (),
    spaces: Sequence[Fields] = (),
    added_bytes: int = 0,
) -> Fields:
    """A capture that stored these snapshots, each with its repository."""
    sources: dict[str, Fields] = {}
    for repository, one in stored:
        fields = sources.setdefault(
            str(one.source),
            {
                "source": one.source,
                "kind": one.kind,
                "tree": one.tree,
                "begun_at": time_json(one.time),
                "ended_at": time_json(ended_at),
                "snapshots": {},
            },
        )
        fields["snapshots"][repository] = one.id
    record = {
        "format": 1,
        "point": point,
        "application": "tms",
        "begun_at": time_json(begun_at),
        "ended_at": time_json(ended_at),
        "wanted": list(wanted),
        "sources": list(sources.values()),
        "missing": [
            {"source": name, "because": "store-failed"} for name in wanted if name not in sources
        ],
        "certainty": "certain",
        "because": ["no file changed after the database's moment"],
    }
    return {
        "point": point,
        "wanted": list(wanted),
        "record": record if stored else None,
        "snapshots": [
            {
                "source": one.source,
                "repository": repository,
                "id": one.id,
                "tree": one.tree,
                "bytes": one.size_bytes,
                "added_bytes": added_bytes,
            }
            for repository, one in stored
        ],
        "findings": list(findings),
        "errors": list(errors),
        "spaces": list(spaces),
        "seconds": seconds(ended_at - begun_at),
    }


def copy(
    giver: str,
    taker: str,
    copied: Iterable[tuple[Snapshot, str]],
    *,
    took: timedelta,
    added_bytes: int = 0,
) -> Fields:
    """Snapshots that were brought along, each with its id in the taker."""
    return {
        "from": giver,
        "to": taker,
        "snapshots": [
            {"source": one.source, "id": made, "from_id": one.id, "tree": one.tree}
            for one, made in copied
        ],
        "already_there": 0,
        "added_bytes": added_bytes,
        "seconds": seconds(took),
        "findings": [],
    }


def check(
    repository: str,
    findings: Sequence[Finding],
    *,
    packs: int,
    read: int,
    never_read_bytes: int,
    oldest_read_at: datetime | None,
    took: timedelta,
) -> Fields:
    """A check that read some of what is stored."""
    return {
        "read_data": True,
        "repository": repository,
        "sound": not findings,
        "findings": [one.as_json() for one in findings],
        "packs": packs,
        "bytes_read": 1000 * read,
        "packs_read": read,
        "never_read_bytes": never_read_bytes,
        "oldest_read_at": time_json(oldest_read_at) if oldest_read_at is not None else None,
        "seconds": seconds(took),
        "read": "",
    }


def prune(repository: str, because: Mapping[str, Sequence[str]]) -> Fields:
    """What is about to go, and why."""
    return {
        "repository": repository,
        "drop": list(because),
        "because": {one: list(why) for one, why in because.items()},
    }


def pruned(
    repository: str,
    dropped: Sequence[str],
    *,
    kept: int,
    policy: str,
    ended: bool = True,
    locked: Sequence[str] = (),
    locked_until: datetime | None = None,
) -> Fields:
    """What came of it."""
    return {
        "repository": repository,
        "ended": ended,
        "policy": policy,
        "kept": kept,
        "dropped": list(dropped),
        "packs_deleted": 0,
        "freed_bytes": 0,
        "hidden_bytes": 0,
        "unknown_bytes": 0,
        "locked": list(locked),
        "locked_until": time_json(locked_until) if locked_until is not None else None,
    }


def drill(
    source: str,
    repository: str | None,
    snapshot: Snapshot | None,
    verdict: Verdict,
    findings: Sequence[Finding] = (),
    *,
    checked: int = 0,
    took: timedelta = timedelta(),
    older: bool = False,
) -> Fields:
    """A drill of one source; without a snapshot one that could not begin."""
    digests = Digests(DIGEST, DIGEST, "names, metadata, links and bytes") if checked else None
    return {
        "source": source,
        "source_kind": snapshot.kind if snapshot else None,
        "repository": repository,
        "location": f"/backup/{repository}" if repository else None,
        "snapshot": snapshot.id if snapshot else None,
        "tree": snapshot.tree if snapshot else None,
        "point": snapshot.point if snapshot else None,
        "captured_at": time_json(snapshot.time) if snapshot else None,
        "target": None,
        "kept": None,
        **({"older": True} if older else {}),
        "verdict": verdict.value,
        "checked": checked,
        "bytes": snapshot.size_bytes if snapshot else 0,
        **digests_json(digests),
        "findings": [one.as_json() for one in findings],
        "findings_left_out": {},
        "stages": stages_json([Stage("restore", took.total_seconds())]),
        "versions": VERSIONS,
        "config_digest": DIGEST,
    }


def verify(
    checklist: str,
    verdict: Verdict,
    lines: Sequence[Fields],
    *,
    begun_at: datetime,
    took: timedelta,
    spaces: Sequence[Fields],
    reached: Mapping[str, str],
) -> Fields:
    """A checklist that was gone through. `reached` has each repository with its error, empty for
    none."""
    return {
        "list": checklist,
        "verdict": verdict.value,
        "begun_at": time_json(begun_at),
        "seconds": seconds(took),
        "lines": list(lines),
        "spaces": list(spaces),
        "reached": [
            {"repository": name, "reached": not error, "error": error or None}
            for name, error in reached.items()
        ],
    }


def command(
    words: Sequence[str], *, begun_at: datetime, took: timedelta, exit_status: int, error: Error
) -> Fields:
    """Who ran it: the service, each run as a process of its own."""
    return {
        "command": words[0],
        "arguments": list(words[1:]),
        "from": "no terminal, started by strongroom",
        "begun_at": time_json(begun_at),
        "reason": None,
        "seconds": seconds(took),
        "exit_status": exit_status,
        "error": dict(error) if error else None,
        "config_digest": DIGEST,
    }


def configuration(file: str, before: str | None, after: str) -> Fields:
    """Other settings than before, seen by a command."""
    return {
        "file": file,
        "config_digest": after,
        "digest_before": before,
        "from": "no terminal, started by strongroom",
        "changes": [],
        "changes_left_out": 0,
        "settings": {},
    }


def repaired(repository: str) -> Fields:
    """A repair that healed what another repository had."""
    return {
        "repository": repository,
        "drop_lost": False,
        "unreadable_indexes": 0,
        "packs_gone": [],
        "packs_damaged": [],
        "packs_listed_anew": 0,
        "moved_blobs": 0,
        "healed_blobs": 1,
        "givers": [],
        "dropped": [],
        "packs_deleted": 0,
        "locked": [],
        "lost_blobs": 0,
    }


def acknowledge(gone: Iterable[tuple[str, str, str]]) -> Fields:
    """Snapshots that are gone, as repository, id and source, and need not be missed any more."""
    return {
        "snapshots": [
            {"repository": repository, "id": one, "source": source}
            for repository, one, source in gone
        ],
        "reason": "the store lost them",
    }
