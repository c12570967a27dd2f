"""What came of one source in a run that captures, as a value that can be written down as JSON and
read back in another process. No secret is in it (invariant I6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model import Finding, SnapshotRef, finding
from strongroom.service.point_record import PointSource, parse_source
from strongroom.service.rendering import time_json


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one source: its snapshots and its part of the point, or an error. Of the
    findings some are its `own`, others about where it was stored."""

    source: str
    snapshots: tuple[SnapshotRef, ...]
    described: PointSource | None
    findings: tuple[Finding, ...]
    own: tuple[Finding, ...]
    error: StrongroomError | None
    seconds: float

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "source": self.source,
            "snapshots": [snapshot_json(one) for one in self.snapshots],
            "described": self.described.as_json() if self.described else None,
            "findings": [one.as_json() for one in self.findings],
            "own": [one.as_json() for one in self.own],
            "error": {
                "code": self.error.code,
                "subject": self.error.subject,
                "message": self.error.message,
                "hint": self.error.hint,
            }
            if self.error
            else None,
            "seconds": self.seconds,
        }


def parse_part(fields: Mapping[str, Any]) -> Part:  # Any: JSON values
    """The part that `Part.as_json` wrote down."""
    error, described = fields["error"], fields["described"]
    return Part(
        fields["source"],
        tuple(
            SnapshotRef(**{**one, "captured_at": datetime.fromisoformat(one["captured_at"])})
            for one in fields["snapshots"]
        ),
        parse_source(described) if described else None,
        parse_findings(fields["findings"]),
        parse_findings(fields["own"]),
        StrongroomError(
            error["message"], subject=error["subject"], code=error["code"], hint=error["hint"]
        )
        if error
        else None,
        float(fields["seconds"]),
    )


def parse_findings(given: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Findings as their `as_json` wrote them down. `Any`: JSON values."""
    return tuple(finding(one["code"], one["subject"], one["message"]) for one in given)


def snapshot_json(one: SnapshotRef) -> dict[str, Any]:  # Any: JSON values
    """A snapshot as reports have it; `seconds` to the microsecond."""
    return {
        "source": one.source,
        "repository": one.repository,
        "id": one.id,
        "tree": one.tree,
        "captured_at": time_json(one.captured_at),
        "bytes": one.bytes,
        "added_bytes": one.added_bytes,
        "seconds": round(one.seconds, 6),
    }
