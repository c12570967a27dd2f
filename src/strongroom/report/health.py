"""How things stand as JSON: the status file for the application, the document for its monitors.

Both say the same. Invariant: no secret, path, location or host name gets in. Beside names of
sources and repositories they hold words of this program, times and numbers only; what a check
observed, which may quote paths and tables, stays in the report.

`fail` is said, with HTTP status 503, whenever the verdict is not PROVEN: an objective that is
missed is a promise that is broken. `warn` and `pass` are PROVEN, with and without a check that is
not well. Format of the document: draft-inadarei-api-health-check-06.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from strongroom.model import Verdict
from strongroom.report.check import Checklist
from strongroom.report.standing import Shown, SourceStanding, Standing, aged, shown

__all__ = [
    "HEALTH_MEDIA_TYPE",
    "SCHEMA_VERSION",
    "Status",
    "health_document",
    "http_status",
    "status_document",
    "status_of",
]

SCHEMA_VERSION: Final = 1
HEALTH_MEDIA_TYPE: Final = "application/health+json"


class Status(StrEnum):
    """What monitors understand."""

    PASS = "pass"  # noqa: S105 - the draft's word, no password
    WARN = "warn"
    FAIL = "fail"


# Of a check; of the whole see `status_of`.
_STATUSES: Final[Mapping[Verdict, Status]] = MappingProxyType(
    {
        Verdict.PROVEN: Status.PASS,
        Verdict.STALE: Status.WARN,
        Verdict.UNKNOWN: Status.FAIL,
        Verdict.FAILED: Status.FAIL,
    }
)
_MEANINGS: Final[Mapping[Verdict, str]] = MappingProxyType(
    {
        Verdict.PROVEN: "Backups come back, as was promised.",
        Verdict.STALE: "Backups came back; something that was promised is not kept now.",
        Verdict.UNKNOWN: "Whether backups come back is not known.",
        Verdict.FAILED: "Backups are missing, or do not come back.",
    }
)
_UNJUDGED: Final = "Nothing has been judged yet."
_OUT_OF_DATE: Final = "What was judged is out of date: Strongroom may not be running."


def status_of(standing: Standing) -> Status:
    """The status of the whole, as the verdict has it."""
    if standing.verdict is not Verdict.PROVEN:
        return Status.FAIL
    well = all(one.verdict is Verdict.PROVEN for one in standing.checks)
    return Status.PASS if well else Status.WARN


def http_status(status: Status) -> int:
    """503 for `fail`, 200 for the others."""
    return 503 if status is Status.FAIL else 200


def status_document(standing: Standing, now: datetime) -> dict[str, Any]:  # Any: JSON values
    """The status file, written at `now`. Who reads it after `valid_until` reads `fail`; ages are
    those at `generated_at`, spans are in seconds, what nobody knows is null."""
    standing = aged(standing, now)
    captured = standing.captured_at
    attempt = standing.attempt
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": _time(now),
        "valid_until": _time(standing.valid_until),
        "status": status_of(standing).value,
        "verdict": standing.verdict.value,
        "application": standing.application,
        "environment": standing.environment,
        "last_success_at": _time(captured),
        "last_success_age_s": _seconds((now - captured).total_seconds()) if captured else None,
        "last_attempt_at": _time(attempt.at) if attempt else None,
        "last_attempt_result": attempt.result.value if attempt else None,
        "last_verified_restore_at": _time(standing.proven_at),
        "rpo_target_s": _seconds(standing.promise.rpo.total_seconds()),
        "rto_target_s": _seconds(standing.promise.rto.total_seconds()),
        "proof_age_target_s": _seconds(standing.promise.proof_age.total_seconds()),
        "copies_target": standing.promise.copies,
        "recovery_s": _seconds(standing.recovery_seconds),
        "objectives": {name: state.value for name, state in standing.objectives},
        "sources": {one.name: _source_json(one) for one in standing.sources},
        "checks": {one.key: _check_json(one) for one in shown(standing)},
    }


def _source_json(one: SourceStanding) -> dict[str, Any]:  # Any: JSON values
    return {
        "verdict": one.verdict.value,
        "last_capture_at": _time(one.captured_at),
        "last_verified_restore_at": _time(one.proven_at),
    }


def _check_json(one: Shown) -> dict[str, Any]:  # Any: JSON values
    return {
        "title": one.kind.title,
        "subject": one.subject or None,
        "status": _STATUSES[one.verdict].value,
        "verdict": one.verdict.value,
        "since": _time(one.since),
        "value": one.value,
        "limit": one.limit,
        "unit": one.kind.unit or None,
        "lists": [each.value for each in Checklist if each in one.kind.lists],
    }


def health_document(
    standing: Standing | None, now: datetime
) -> tuple[int, dict[str, Any]]:  # Any: JSON values
    """The HTTP status and the document as of `now`; None is what nobody has judged yet."""
    if standing is None:
        verdict, output = Verdict.UNKNOWN.value, _UNJUDGED
        return 503, {"status": Status.FAIL.value, "verdict": verdict, "output": output}
    known = aged(standing, now)
    status = status_of(known)
    document: dict[str, Any] = {
        "status": status.value,
        "serviceId": standing.application,
        "description": f"Backups of {standing.application}",
        "verdict": known.verdict.value,
        "notes": [_MEANINGS[known.verdict]],
        "time": _time(standing.judged_at),
        "validUntil": _time(standing.valid_until),
        "checks": {_draft_key(one): [_draft_check(one, standing)] for one in shown(known)},
    }
    if known is not standing:
        document["output"] = _OUT_OF_DATE
    return http_status(status), document


def _draft_key(one: Shown) -> str:
    """`component:measurement`, as the draft has it."""
    return f"{one.subject}:{one.name}" if one.subject else one.name


def _draft_check(one: Shown, standing: Standing) -> dict[str, Any]:  # Any: JSON values
    sources = {each.name for each in standing.sources}
    fields: dict[str, Any] = {
        "componentId": one.subject or None,
        "componentType": "datastore" if one.subject in sources else "component",
        "status": _STATUSES[one.verdict].value,
        "verdict": one.verdict.value,
        "title": one.kind.title,
        "observedValue": one.value,
        "observedUnit": one.kind.unit if one.value is not None else None,
        "limit": one.limit,
        "since": _time(one.since),
        "time": _time(standing.judged_at),
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, in whole seconds: what every reader of such times can read."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _seconds(seconds: float | None) -> int | None:
    return round(seconds) if seconds is not None else None
