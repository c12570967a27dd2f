"""Drills of one source or all: each into a sandbox of its own, each recorded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from strongroom.errors import BusyError, IntegrityError, StorageError, StrongroomError
from strongroom.model import Finding, Stage, Verdict, finding, judge
from strongroom.recovery import Outcome, drill
from strongroom.service.application import LOG, Application, trace_errors
from strongroom.service.ledger_copy import take_up
from strongroom.service.leftover import sandbox
from strongroom.service.proof import EXITS, ProofReport, evidence_json, report, with_findings
from strongroom.service.rendering import stages_json
from strongroom.service.selection import LATEST, Candidate, Choice, choose, reading, survey
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
    errors: list[tuple[str, StrongroomError]] = []
    sources = application.sources(names)
    # Whose a snapshot is that names no source is said by naming one.
    is_named = bool(names) or len(sources) == 1
    taken_up: list[Finding] = []
    with contextlib.suppress(StrongroomError):  # no repository opens: each drill says so itself
        taken_up = take_up(application)
    for source in sources:
        noticed = [*taken_up]
        try:
            reports.append(_drill(application, source, snapshot, repository, noticed, is_named))
        except StrongroomError as error:
            errors.append((source.name, error))
            reports.append(_not_begun(application, source, error, noticed))
    verdicts = {one.outcome.verdict for one in reports}
    all_failed = len(errors) == len(sources) and Verdict.FAILED not in verdicts
    raised = errors[0][1] if errors and all_failed else None
    trace_errors("drill of", errors, besides=raised)
    if raised is not None:
        raise raised
    return DrillReport(tuple(reports))


def _drill(
    application: Application,
    source: Source,
    wanted: str,
    repository: str | None,
    noticed: list[Finding],
    is_named: bool,
) -> ProofReport:
    """The drill of one source; `noticed` receives what belongs to its answer in any case."""
    surveyed = survey(application, [repository] if repository else [])
    noticed.extend(surveyed.about([source.name]) if wanted == LATEST else surveyed.unreachable)
    takes_foreign = is_named and source.kind == "files"
    choice = choose(surveyed, wanted, source=source.name, takes_foreign=takes_foreign)
    noticed[:] = choice.findings
    copies = [choice.candidate]
    if wanted == LATEST and repository is None:
        copies = _by_turn(application, choice)
    for candidate in copies[:-1]:
        try:
            return _drill_copy(application, source, candidate, noticed)
        except (BusyError, StorageError) as error:
            LOG.debug("copy in %s not read", candidate.repository.name, exc_info=True)
            name = candidate.repository.name
            noticed.append(finding("repository-unreachable", name, str(error)))
    return _drill_copy(application, source, copies[-1], noticed)


def _drill_copy(
    application: Application, source: Source, candidate: Candidate, noticed: Sequence[Finding]
) -> ProofReport:
    """The drill of one copy; raises BusyError or StorageError when its store can't be read."""
    LOG.debug("drill of %s: snapshot %s", source.name, candidate.snapshot.short_id)
    size_bytes, progress = candidate.snapshot.size_bytes, application.progress
    # Everything is read twice: to be restored, and to be compared.
    progress.begin(f"drill {source.name}", 2 * size_bytes if size_bytes else None)
    try:
        with sandbox(application) as folder, reading(candidate, progress=progress) as view:
            with contextlib.suppress(IntegrityError):  # that is for the drill to find
                view.root()
            outcome = drill(source, view, folder)
    finally:
        progress.end()
    return report(application, "drill", source.name, candidate, with_findings(outcome, noticed))


def _by_turn(application: Application, choice: Choice) -> list[Candidate]:
    """All copies of the capture, the one in the repository whose turn it is first: drills rotate,
    so that every copy is proven from time to time. Without a ledger there are no turns."""
    turns = {one.repository.name: 0 for one in choice.copies}
    try:
        for entry in application.ledger.entries("drill"):
            name = str(entry.fields.get("repository"))
            if entry.fields.get("source") == choice.candidate.snapshot.source and name in turns:
                turns[name] = entry.seq
    except StrongroomError as error:
        application.say(f"whose turn it is is not known: {error}")
    return sorted(choice.copies, key=lambda one: turns[one.repository.name])


def _not_begun(
    application: Application, source: Source, error: StrongroomError, noticed: Sequence[Finding]
) -> ProofReport:
    begun = time.monotonic()
    found = (finding("drill-stopped", source.name, f"{error} ({error.code})"), *noticed)
    stages = (Stage("until it stopped", time.monotonic() - begun),)
    outcome = Outcome(judge(found, checked=0), 0, found, stages)
    return report(application, "drill", source.name, None, outcome)
