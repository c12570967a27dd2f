"""Drills of single sources: each into a sandbox of its own, each recorded.

A drill of a whole recovery point (`point_drill`) is made of these.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import BusyError, IntegrityError, StorageError, StrongroomError
from strongroom.model import Finding, Stage, Verdict, finding, judge
from strongroom.recovery import Outcome, drill
from strongroom.service.application import LOG, Application, trace_errors
from strongroom.service.ledger_copy import take_up
from strongroom.service.leftover import sandbox
from strongroom.service.proof import EXITS, ProofReport, evidence_json, report, with_findings
from strongroom.service.rendering import stages_json
from strongroom.service.sampling import Sampling, SourceSample
from strongroom.service.selection import (
    LATEST,
    Candidate,
    Choice,
    choose,
    reading,
    survey,
)
from strongroom.sources import Source

if TYPE_CHECKING:
    from strongroom.service.point_drill import PointDrill

# The worst of several verdicts comes last.
_ORDER: Final = (Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED)
# Given a source's name and its restored target while that is there.
Ask = Callable[[str, str], None]


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of them; of none, nothing is known."""
    return max(verdicts, key=_ORDER.index, default=Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class DrillReport:
    """The drills of several sources; the whole is as good as the worst of them.

    `point` tells what belongs to the recovery point as a whole, None when single sources were
    drilled; `samples` which parts of a source were, by its name.
    """

    drills: tuple[ProofReport, ...]
    point: PointDrill | None = None
    samples: Mapping[str, SourceSample] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        verdicts = [one.outcome.verdict or Verdict.UNKNOWN for one in self.drills]
        return worst([*verdicts, self.point.verdict] if self.point is not None else verdicts)

    @property
    def exit_status(self) -> int:
        return EXITS[self.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        point = self.point
        findings = [found.as_json() for one in self.drills for found in one.findings]
        stages = [
            {"name": f"{one.source}: {stage['name']}", "seconds": stage["seconds"]}
            for one in self.drills
            for stage in stages_json(one.outcome.stages)
        ]
        evidence = [evidence_json(one.evidence) for one in self.drills]
        if point is not None:
            findings += [found.as_json() for found in point.findings]
            stages += stages_json(point.stages)
            evidence += [evidence_json(point.evidence)] if point.evidence is not None else []
        return {
            "verdict": self.verdict.value,
            "findings": findings,
            "stages": stages,
            "evidence": evidence,
            "drills": [{**one.as_json(), **self._sample_json(one.source)} for one in self.drills],
            "point": point.as_json() if point is not None else None,
        }

    def _sample_json(self, source: str) -> dict[str, Any]:  # Any: JSON values
        sample = self.samples.get(source)
        return {"sample": sample.as_json()} if sample is not None else {}


def drill_sources(
    application: Application,
    names: Sequence[str] = (),
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    sampling: Sampling | None = None,
) -> DrillReport:
    """Restore each source into a sandbox and prove it; of databases, with `sampling`, in parts.

    A source without a snapshot is UNKNOWN and does not stop the others; when there is none to
    drill at all, the first error is raised.
    """
    run = DrillRun(application, repository, sampling)
    sources = application.sources(names)
    # Whose a snapshot is that names no source is said by naming one.
    is_named = bool(names) or len(sources) == 1
    taken_up: list[Finding] = []
    with contextlib.suppress(StrongroomError):  # no repository opens: each drill says so itself
        taken_up = take_up(application)
    for source in sources:
        run.drill_chosen(source, snapshot, [*taken_up], is_named=is_named)
    verdicts = {one.outcome.verdict for one in run.reports}
    all_failed = len(run.errors) == len(sources) and Verdict.FAILED not in verdicts
    raised = run.errors[0][1] if run.errors and all_failed else None
    trace_errors("drill of", run.errors, besides=raised)
    if raised is not None:
        raise raised
    return DrillReport(tuple(run.reports), samples=run.samples)


class DrillRun:
    """The drills of a run, one after another, and what has come of them so far."""

    def __init__(
        self, application: Application, repository: str | None, sampling: Sampling | None
    ) -> None:
        self.application = application
        self.reports: list[ProofReport] = []
        self.errors: list[tuple[str, StrongroomError]] = []
        self.samples: dict[str, SourceSample] = {}
        self._repository = repository
        self._sampling = sampling

    def drill_chosen(
        self,
        source: Source,
        wanted: str,
        noticed: list[Finding],
        *,
        is_named: bool,
        ask: Ask | None = None,
    ) -> None:
        """Drill the snapshot that is wanted of a source; its error is kept, not raised."""
        self._keeping_errors(
            source, noticed, lambda: self._drill(source, wanted, noticed, is_named, ask)
        )

    def drill_copies(
        self,
        source: Source,
        copies: Sequence[Candidate],
        noticed: list[Finding],
        *,
        ask: Ask | None = None,
        older: bool = False,
    ) -> None:
        """Drill the first of these copies of one capture whose store can be read; its error is
        kept, not raised. `older` is for the record: they are not of the newest point."""
        self._keeping_errors(
            source, noticed, lambda: self._drill_first(source, copies, noticed, ask, older)
        )

    def _keeping_errors(
        self, source: Source, noticed: list[Finding], carry_out: Callable[[], ProofReport]
    ) -> None:
        try:
            self.reports.append(carry_out())
        except StrongroomError as error:
            self.errors.append((source.name, error))
            self.reports.append(_not_begun(self.application, source, error, noticed))

    def _drill(
        self,
        source: Source,
        wanted: str,
        noticed: list[Finding],
        is_named: bool,
        ask: Ask | None,
    ) -> ProofReport:
        """The drill of one source; `noticed` receives what belongs to its answer in any case."""
        surveyed = survey(self.application, [self._repository] if self._repository else [])
        noticed.extend(surveyed.about([source.name]) if wanted == LATEST else surveyed.unreachable)
        takes_foreign = is_named and source.kind == "files"
        choice = choose(surveyed, wanted, source=source.name, takes_foreign=takes_foreign)
        noticed[:] = choice.findings
        copies = [choice.candidate]
        if wanted == LATEST and self._repository is None:
            copies = _by_turn(self.application, choice)
        return self._drill_first(source, copies, noticed, ask)

    def _drill_first(
        self,
        source: Source,
        copies: Sequence[Candidate],
        noticed: list[Finding],
        ask: Ask | None,
        older: bool = False,
    ) -> ProofReport:
        for candidate in copies[:-1]:
            try:
                return self._drill_copy(source, candidate, noticed, ask, older)
            except (BusyError, StorageError) as error:
                LOG.debug("copy in %s not read", candidate.repository.name, exc_info=True)
                name = candidate.repository.name
                noticed.append(finding("repository-unreachable", name, str(error)))
        return self._drill_copy(source, copies[-1], noticed, ask, older)

    def _drill_copy(
        self,
        source: Source,
        candidate: Candidate,
        noticed: Sequence[Finding],
        ask: Ask | None,
        older: bool,
    ) -> ProofReport:
        """The drill of one copy; raises BusyError or StorageError when its store can't be read."""
        LOG.debug("drill of %s: snapshot %s", source.name, candidate.snapshot.short_id)
        application, progress = self.application, self.application.progress
        size_bytes = candidate.snapshot.size_bytes
        # Everything is read twice: to be restored, and to be compared.
        progress.begin(f"drill {source.name}", 2 * size_bytes if size_bytes else None)
        sample: SourceSample | None = None

        def ask_source(target: str) -> None:
            if ask is not None and sample is None:
                ask(source.name, target)

        try:
            with sandbox(application) as folder, reading(candidate, progress=progress) as view:
                with contextlib.suppress(IntegrityError):  # that is for the drill to find
                    view.root()
                    sample = self._sampling.take(source, view) if self._sampling else None
                outcome = drill(source, view, folder, ask=ask_source)
        finally:
            progress.end()
        outcome = with_findings(outcome, noticed)
        extra: dict[str, Any] = {"older": True} if older else {}  # Any: JSON values
        if sample is not None:
            self.samples[source.name] = sample = sample.after(outcome.findings)
            extra["sample"] = sample.as_record()
        return report(application, "drill", source.name, candidate, outcome, extra=extra)


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
