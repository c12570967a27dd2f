"""The report of one restore, proof or drill, and its line in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from strongroom.errors import EXIT_FAILED, EXIT_FINE, EXIT_UNKNOWN
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity, Verdict, judge
from strongroom.recovery import Outcome
from strongroom.service.application import Application
from strongroom.service.record import circumstances, identity, noted
from strongroom.service.rendering import digests_json, stages_json, time_json
from strongroom.service.selection import Candidate

__all__ = ["EXITS", "ProofReport", "evidence_json", "identity", "report", "with_findings"]

EXITS: Final = {
    Verdict.PROVEN: EXIT_FINE,
    Verdict.STALE: EXIT_UNKNOWN,
    Verdict.UNKNOWN: EXIT_UNKNOWN,
    Verdict.FAILED: EXIT_FAILED,
}


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What came of one restore, proof or drill of one source.

    Repository, snapshot and its time are None when none was found to drill. `target` is where the
    content is, None for a sandbox that is gone; `kept` where replaced content went.
    """

    action: str
    source: str
    repository: str | None
    snapshot: str | None
    captured_at: datetime | None
    outcome: Outcome
    target: str | None = None
    kept: str | None = None
    evidence: Entry | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.outcome.findings, *self.notes)

    @property
    def exit_status(self) -> int:
        verdict = self.outcome.verdict
        if verdict is not None:
            return EXITS[verdict]
        failed = any(one.severity is Severity.FAILURE for one in self.findings)
        return EXIT_FAILED if failed else EXIT_FINE

    def _of_restore(self) -> dict[str, int]:
        """What only a restore has: how much was not fetched, and how many files a part had."""
        if self.action != "restore":
            return {}
        files = {"files": self.outcome.files} if self.outcome.files is not None else {}
        return {"reused_bytes": self.outcome.reused_bytes, **files}

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        verdict = self.outcome.verdict
        return {
            "verdict": verdict.value if verdict else None,
            "source": self.source,
            "repository": self.repository,
            "snapshot": self.snapshot,
            "captured_at": time_json(self.captured_at) if self.captured_at else None,
            "target": self.target,
            "kept": self.kept,
            "checked": self.outcome.checked,
            "bytes": self.outcome.size_bytes,
            **self._of_restore(),
            "seconds": round(self.outcome.seconds, 3),
            **digests_json(self.outcome.digests),
            "findings": [one.as_json() for one in self.findings],
            "stages": stages_json(self.outcome.stages),
            "evidence": evidence_json(self.evidence),
        }


def evidence_json(entry: Entry | None) -> dict[str, Any] | None:  # Any: JSON values
    """Which line of the ledger says so."""
    return {"seq": entry.seq, "hash": entry.hash} if entry else None


def with_findings(outcome: Outcome, findings: Sequence[Finding]) -> Outcome:
    """The outcome with what was noticed in choosing the snapshot: a failure there means that it
    is not the one that was asked for, whatever the comparison says, and what is not known there
    leaves the verdict open (invariant I5)."""
    together = (*outcome.findings, *findings)
    if outcome.verdict is None:
        return replace(outcome, findings=together)
    verdict = judge(together, checked=outcome.checked)
    return replace(outcome, verdict=verdict, findings=together)


def report(
    application: Application,
    action: str,
    source: str,
    candidate: Candidate | None,
    outcome: Outcome,
    *,
    target: str | None = None,
    kept: str | None = None,
    extra: Mapping[str, Any] | None = None,  # Any: JSON values
) -> ProofReport:
    """Record what came out, and report it; a ledger that fails is a finding of the report."""
    if candidate is not None:
        outcome = with_findings(outcome, candidate.repository.salvage_findings)
    reused = {"reused_bytes": outcome.reused_bytes} if outcome.reused_bytes else {}
    fields = {
        **identity(source, candidate),
        "target": target,
        "kept": kept,
        **(extra or {}),
        "verdict": outcome.verdict.value if outcome.verdict else None,
        "checked": outcome.checked,
        "bytes": outcome.size_bytes,
        **reused,
        **digests_json(outcome.digests),
        **noted(outcome.findings),
        "stages": stages_json(outcome.stages),
        **circumstances(application, outcome.versions),
    }
    recorded = application.record(action, fields)
    return ProofReport(
        action,
        source,
        candidate.repository.name if candidate else None,
        candidate.snapshot.id if candidate else None,
        candidate.snapshot.time if candidate else None,
        outcome,
        target,
        kept,
        recorded if isinstance(recorded, Entry) else None,
        (recorded,) if isinstance(recorded, Finding) else (),
    )
