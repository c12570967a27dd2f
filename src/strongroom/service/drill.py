"""Drills of one source or all: each into a sandbox of its own, each recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.model import Stage, Verdict, finding, judge
from strongroom.recovery import Outcome, drill
from strongroom.service.application import LOG, Application
from strongroom.service.leftover import sandbox
from strongroom.service.proof import EXITS, ProofReport, evidence_json, report
from strongroom.service.rendering import stages_json
from strongroom.service.selection import LATEST, Candidate, candidates, find, reading
from strongroom.sources import Source

# The worst of several verdicts comes last.
_ORDER: Final = (Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED)


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
        return EXITS[self.verdict]

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


def drill_sources(
    application: Application,
    names: Sequence[str] = (),
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
) -> DrillReport:
    """Restore each source into a sandbox and prove it.

    A source without a snapshot is UNKNOWN and does not stop the others; when there is none to
    drill at all, the first error is raised.
    """
    reports: list[ProofReport] = []
    errors: list[StrongroomError] = []
    sources = application.sources(names)
    for source in sources:
        try:
            reports.append(_drill(application, source, snapshot, repository))
        except StrongroomError as error:
            LOG.debug("drill of %s did not begin", source.name, exc_info=True)
            errors.append(error)
            reports.append(_not_begun(application, source, error))
    if len(errors) == len(sources):
        raise errors[0]
    return DrillReport(tuple(reports))


def _drill(
    application: Application, source: Source, wanted: str, repository: str | None
) -> ProofReport:
    candidate = find(application, wanted, source=source.name, repository=repository)
    if wanted == LATEST and repository is None:
        candidate = _least_proven_copy(application, candidate)
    LOG.debug("drill of %s: snapshot %s", source.name, candidate.snapshot.short_id)
    size_bytes, progress = candidate.snapshot.size_bytes, application.progress
    # Everything is read twice: to be restored, and to be compared.
    progress.begin(f"drill {source.name}", 2 * size_bytes if size_bytes else None)
    try:
        with sandbox(application) as folder, reading(candidate, progress=progress) as view:
            outcome = drill(source, view, folder)
    finally:
        progress.end()
    return report(application, "drill", source.name, candidate, outcome)


def _least_proven_copy(application: Application, chosen: Candidate) -> Candidate:
    """Of all copies of a capture, the one in the repository whose turn it is: drills rotate, so
    that every copy is proven from time to time."""
    listed, _ = candidates(application)
    copies = [
        one
        for one in listed
        if (one.snapshot.source, one.snapshot.point, one.snapshot.tree)
        == (chosen.snapshot.source, chosen.snapshot.point, chosen.snapshot.tree)
    ]
    turns = {one.repository.name: 0 for one in copies}
    for entry in application.ledger.entries("drill"):
        name = str(entry.fields.get("repository"))
        if entry.fields.get("source") == chosen.snapshot.source and name in turns:
            turns[name] = entry.seq
    return min(copies, key=lambda one: turns[one.repository.name], default=chosen)


def _not_begun(application: Application, source: Source, error: StrongroomError) -> ProofReport:
    begun = time.monotonic()
    found = finding("drill-stopped", source.name, f"{error} ({error.code})")
    stages = (Stage("until it stopped", time.monotonic() - begun),)
    outcome = Outcome(judge([found], checked=0), 0, (found,), stages)
    return report(application, "drill", source.name, None, outcome)
