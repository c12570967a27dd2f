"""Evidence as values, for tests of reports: two sources, two repositories."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from strongroom.findings import Severity
from strongroom.model import Digests, Stage, Verdict
from strongroom.report.observation import (
    Capture,
    Chain,
    Evidence,
    Noticed,
    Observation,
    Promise,
    Scope,
    SourceScope,
)

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PROMISE = Promise(timedelta(hours=24), timedelta(hours=4), timedelta(days=7), 2)
SCOPE = Scope(
    "tms",
    (SourceScope("database", "postgres"), SourceScope("uploads", "files")),
    ("local", "offsite"),
    "production",
    "UTC",
)
WHOLE = Chain(9, 9, "ab" * 32, (), ("local", "offsite"))
# Markup, an escape sequence, a right-to-left override, a null, and something that ends a cell.
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202egnp.exe\x00</td><b>&amp;"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def noticed(code: str, severity: Severity, subject: str = "public.invoices") -> Noticed:
    return Noticed(code, severity, subject, "one row was captured, none is observed")


def tree_of(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


# Any below: the fields as the values have them
def proof(seq: int, source: str = "database", **more: Any) -> Observation:
    """A drill that was PROVEN an hour ago from `local`, but for what is given."""
    fields: dict[str, Any] = {
        "at": ago(hours=1),
        "action": "drill",
        "verdict": Verdict.PROVEN,
        "run": f"run {seq}",
        "by": "amina@backup",
        "kind": "postgres" if source == "database" else "files",
        "repository": "local",
        "location": "/backup/tms",
        "snapshot": "5" * 64,
        "tree": tree_of(source),
        "point": "point 1",
        "captured_at": ago(hours=3) + timedelta(seconds=5),
        "checked": 120,
        "size_bytes": 5 << 20,
        "stages": (Stage("sandbox", 0.8), Stage("restore", 2.5), Stage("compare files", 1.25)),
        "digests": Digests("e" * 64, "e" * 64, "rows of 17 tables, large objects"),
        "versions": {"strongroom": "0.1.0", "python": "3.11.9", "host": "backup"},
        "config_digest": "c" * 64,
    }
    return Observation(seq, source=source, **(fields | more))


def captures_of(*sources: str, **more: Any) -> list[Capture]:
    """One run three hours ago that stored these sources in both repositories."""
    fields: dict[str, Any] = {"begun_at": ago(hours=3), "point": "point 1"} | more
    return [
        Capture(1, source=source, repository=repository, tree=tree_of(source), **fields)
        for source in sources
        for repository in SCOPE.repositories
    ]


def evidence(*observations: Observation, **more: Any) -> Evidence:
    """Both sources captured as they should be, and these observations."""
    stored = tuple(captures_of("database", "uploads"))
    fields: dict[str, Any] = {"scope": SCOPE, "chain": WHOLE, "captures": stored}
    return Evidence(observations=observations, **(fields | more))
