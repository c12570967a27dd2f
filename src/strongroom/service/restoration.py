"""Restore, prove and drill: the questions of the worst day, each recorded in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.errors import EXIT_FAILED, EXIT_FINE, EXIT_UNKNOWN, IntegrityError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict
from strongroom.recovery import Outcome, drill, prove, restore
from strongroom.service.application import LOG, Application
from strongroom.service.leftover import sandbox
from strongroom.service.rendering import error_json, stages_json, time_json
from strongroom.service.selection import LATEST, Candidate, find, reading
from strongroom.sources import Source

_EXITS = {
    Verdict.PROVEN: EXIT_FINE,
    Verdict.STALE: EXIT_UNKNOWN,
    Verdict.UNKNOWN: EXIT_UNKNOWN,
    Verdict.FAILED: EXIT_FAILED,
}
# The worst of several verdicts comes last.
_ORDER = (Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What came of one restore, proof or drill of one source."""

    action: str
    source: str
    kind: str
    repository: str
    snapshot: str
    captured_at: datetime
    target: str | None
    outcome: Outcome
    evidence: Entry | None
    notes: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.outcome.findings, *self.notes)

    @property
    def exit_status(self) -> int:
        verdict = self.outcome.verdict
        return EXIT_FINE if verdict is None else _EXITS[verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        verdict = self.outcome.verdict
        return {
            "verdict": verdict.value if verdict else None,
            "source": self.source,
            "repository": self.repository,
            "snapshot": self.snapshot,
            "captured_at": time_json(self.captured_at),
            "target": self.target,
            "checked": self.outcome.checked,
            "bytes": self.outcome.size_bytes,
            "seconds": round(self.outcome.seconds, 3),
            "findings": [one.as_json() for one in self.findings],
            "stages": stages_json(self.outcome.stages),
            "evidence": evidence_json(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class DrillReport:
    """The drills of several sources; the whole is as good as the worst of them."""

    drills: tuple[ProofReport, ...]

    @property
    def verdict(self) -> Verdict:
        verdicts = [one.outcome.verdict or Verdict.UNKNOWN for one in self.drills]
        return max(verdicts, key=_ORDER.index, default=Verdict.UNKNOWN)

    @property
    def exit_status(self) -> int:
        return _EXITS[self.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "verdict": self.verdict.value,
            "findings": [found.as_json() for one in self.drills for found in one.findings],
            "stages": [
                {"name": f"{one.source}: {stage['name']}", "seconds": stage["seconds"]}
                for one in self.drills
                for stage in stages_json(one.outcome.stages)
            ],
            "evidence": [evidence_json(one.evidence) for one in self.drills],
            "drills": [one.as_json() for one in self.drills],
        }


def evidence_json(entry: Entry | None) -> dict[str, Any] | None:  # Any: JSON values
    """Which line of the ledger says so."""
    return {"seq": entry.seq, "hash": entry.hash} if entry else None


def restore_source(
    application: Application,
    name: str,
    target: str,
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    at: datetime | None = None,
    include: Sequence[str] = (),
    reason: str = "",
) -> ProofReport:
    """Bring a source back into an empty target and prove it; a failure is recorded, too."""
    source = application.source(name)
    candidate = find(application, snapshot, source=name, repository=repository, at=at)
    extra = {"target": _shown(target), "include": list(include), "reason": reason}
    application.progress.begin(f"restore {name}", candidate.snapshot.size_bytes)
    try:
        with reading(candidate) as view:
            outcome = restore(source, view, target, include=include)
    except StrongroomError as error:
        fields = _fields(source, candidate) | extra | {"error": error_json(error)}
        if isinstance(error, IntegrityError):  # the snapshot's fault, so it counts against it
            application.record("restore", fields | {"verdict": Verdict.FAILED.value})
        else:
            application.record("restore-failed", fields)
        raise
    finally:
        application.progress.end()
    return _report(application, "restore", source, candidate, outcome, extra)


def prove_source(
    application: Application,
    name: str,
    target: str,
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    at: datetime | None = None,
) -> ProofReport:
    """Whether an existing target is identical to a snapshot."""
    source = application.source(name)
    candidate = find(application, snapshot, source=name, repository=repository, at=at)
    application.progress.begin(f"prove {name}", candidate.snapshot.size_bytes)
    try:
        with reading(candidate) as view:
            outcome = prove(source, view, target)
    finally:
        application.progress.end()
    extra = {"target": _shown(target)}
    return _report(application, "prove", source, candidate, outcome, extra)


def drill_sources(
    application: Application,
    names: Sequence[str] = (),
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
) -> DrillReport:
    """Restore each source into a sandbox and prove it; every attempt is recorded."""
    reports = []
    for source in application.sources(names):
        candidate = find(application, snapshot, source=source.name, repository=repository)
        LOG.debug("drill of %s: snapshot %s", source.name, candidate.snapshot.short_id)
        application.progress.begin(f"drill {source.name}", candidate.snapshot.size_bytes)
        try:
            with sandbox(application) as folder, reading(candidate) as view:
                outcome = drill(source, view, folder)
        finally:
            application.progress.end()
        reports.append(_report(application, "drill", source, candidate, outcome, {}))
    return DrillReport(tuple(reports))


def _report(
    application: Application,
    action: str,
    source: Source,
    candidate: Candidate,
    outcome: Outcome,
    extra: dict[str, Any],  # Any: JSON values
) -> ProofReport:
    fields = _fields(source, candidate) | extra
    fields |= {
        "verdict": outcome.verdict.value if outcome.verdict else None,
        "checked": outcome.checked,
        "findings": [one.as_json() for one in outcome.findings],
        "stages": stages_json(outcome.stages),
    }
    recorded = application.record(action, fields)
    snapshot = candidate.snapshot
    return ProofReport(
        action,
        source.name,
        source.kind,
        candidate.repository.name,
        snapshot.id,
        snapshot.time,
        extra.get("target"),
        outcome,
        recorded if isinstance(recorded, Entry) else None,
        (recorded,) if isinstance(recorded, Finding) else (),
    )


def _fields(source: Source, candidate: Candidate) -> dict[str, Any]:  # Any: JSON values
    return {
        "source": source.name,
        "repository": candidate.repository.name,
        "snapshot": candidate.snapshot.id,
        "tree": candidate.snapshot.tree,
    }


def _shown(target: str) -> str:
    """The target for records; a URL that holds a password, against all advice, loses it."""
    scheme, separator, rest = target.partition("://")
    if not separator or "@" not in rest:
        return target
    login, _, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}@{host}"
