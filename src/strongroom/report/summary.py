"""The report as one JSON document, for scripts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from strongroom.report.check import Check, Exempt
from strongroom.report.judgement import Judged, Objective, Report, SourceLine


def report_json(report: Report) -> dict[str, Any]:  # Any: JSON values
    """All of the report; unlike a page it leaves nothing out."""
    return {
        "verdict": report.verdict.value,
        "because": report.because,
        "application": report.application,
        "environment": report.environment,
        "made_at": _time(report.made_at),
        "since": _time(report.since),
        "drill": report.drill,
        "sources": [_source_json(one) for one in report.sources],
        "whole": _source_json(report.whole) if report.whole is not None else None,
        "proofs": [_proof_json(one) for one in report.proofs],
        "not_proven": [{"subject": one.subject, "why": one.why} for one in report.gaps],
        "findings": [
            {
                "source": source,
                "code": one.code,
                "severity": one.severity.value,
                "subject": one.subject,
                "message": one.message,
                "meaning": one.meaning,
                "remedy": one.remedy,
            }
            for source, one in report.findings
        ],
        "findings_left_out": report.findings_left_out,
        "objectives": [objective_json(one) for one in report.objectives],
        "checks": [check_json(one) for one in report.checks],
        "not_asked": [exempt_json(one) for one in report.exempt],
        "ledger": {
            "holds": report.chain.holds,
            "records": report.chain.records,
            "head": report.chain.head_hash or None,
            "faults": list(report.chain.faults),
            "compared": list(report.chain.compared),
            "uncompared": list(report.chain.uncompared),
        },
        "versions": dict(report.versions),
        "config_digests": list(report.config_digests),
    }


def check_json(one: Check) -> dict[str, Any]:  # Any: JSON values
    """A check with what its kind means; `evidence` are numbers of records."""
    return {
        "name": one.name,
        "subject": one.subject or None,
        "title": one.kind.title,
        "verdict": one.verdict.value,
        "observed": one.observed,
        "since": _time(one.since),
        "value": one.value,
        "limit": one.limit,
        "unit": one.kind.unit or None,
        "meaning": None if one.is_well else one.kind.meaning,
        "remedy": None if one.is_well else one.kind.remedy,
        "evidence": list(one.records),
    }


def exempt_json(one: Exempt) -> dict[str, Any]:  # Any: JSON values
    """A check that is not made."""
    return {"name": one.name, "subject": one.subject or None, "because": one.because}


def objective_json(one: Objective) -> dict[str, Any]:  # Any: JSON values
    """What was promised and observed, in words."""
    return {
        "name": one.name,
        "promised": one.promised,
        "observed": one.observed,
        "state": one.state.value,
    }


def _source_json(line: SourceLine) -> dict[str, Any]:  # Any: JSON values
    return {
        "source": line.name,
        "kind": line.kind,
        "verdict": line.verdict.value,
        "because": line.because,
        "evidence": line.proof.observation.seq if line.proof is not None else None,
    }


def _proof_json(judged: Judged) -> dict[str, Any]:  # Any: JSON values
    one = judged.observation
    return {
        "evidence": one.seq,
        "verdict": judged.verdict.value,
        "because": judged.because,
        "action": one.action,
        "at": _time(one.at),
        "by": one.by or None,
        "source": one.source,
        "repository": one.repository or None,
        "location": one.location or None,
        "snapshot": one.snapshot or None,
        "tree": one.tree or None,
        "recovery_point": one.point or None,
        "captured_at": _time(one.captured_at),
        "checked": one.checked,
        "bytes": one.size_bytes,
        "seconds": round(one.seconds, 3),
        "stages": [
            {"name": stage.name, "seconds": round(stage.seconds, 3)} for stage in one.stages
        ],
        "expected_digest": one.digests.expected if one.digests else None,
        "observed_digest": one.digests.observed if one.digests else None,
        "digest_of": one.digests.of if one.digests else None,
    }


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
