"""What the ledger knows of a retention policy: what was captured while it held, and what its last
prune left. See `strongroom.plan.consent`, which says what follows from it.

`backup` records hold a digest of the policy of each source in each repository; what was copied or
repaired has those of what it was made of. Of `pruned` records those count that came to their end
while nothing was held back, for else nobody has seen yet what the policy drops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from strongroom.config import Settings
from strongroom.evidence import Entry
from strongroom.plan.consent import Precedent

__all__ = ["policies_json", "precedent"]


def policies_json(settings: Settings, sources: Iterable[str]) -> dict[str, dict[str, str]]:
    """For a record: a digest of what is to be kept of each of these sources, by repository."""
    names = list(sources)
    return {
        repository: {
            name: settings.source_policy_digest(name, repository)
            for name in names
            if name in settings.sources
        }
        for repository in settings.repositories
    }


def precedent(settings: Settings, entries: Iterable[Entry], repository: str) -> Precedent:
    """What these records, in their order, know of the policies in `repository` as they are now."""
    # Of snapshots in all repositories: whether they were captured while the present policy held.
    held: dict[str, bool] = {}
    left: int | None = None
    policy = settings.policy_digest(repository)
    present = policies_json(settings, settings.sources).get(repository, {})
    for entry in entries:
        fields = entry.fields
        if fields.get("application") != settings.application:
            continue
        if entry.kind == "backup":
            told = _mapping(_mapping(fields.get("policies")).get(repository))
            for one in fields.get("snapshots", ()):
                source = str(one.get("source"))
                held[str(one["id"])] = source in present and told.get(source) == present[source]
        elif entry.kind in ("copy", "repair"):
            for one in fields.get("snapshots", ()):
                held[str(one["id"])] = held.get(str(one.get("from_id")), False)
        elif entry.kind == "pruned" and _counts(fields, repository):
            left = fields["left"] if fields.get("policy") == policy else None
    return Precedent(left, frozenset(one for one, is_so in held.items() if is_so))


def _counts(fields: Mapping[str, Any], repository: str) -> bool:  # Any: JSON values
    return (
        fields.get("repository") == repository
        and fields.get("ended") is True
        and fields.get("suspended") is False
        and isinstance(fields.get("left"), int)
    )


def _mapping(value: Any) -> Mapping[str, Any]:  # Any: JSON values
    return value if isinstance(value, Mapping) else {}
