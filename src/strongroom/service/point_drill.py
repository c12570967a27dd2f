"""The drill of a whole recovery point: all its sources, and what belongs to none of them alone.

Which point: the one that is asked for; else the newest that was meant to hold every source (one
that holds a single source, as a deployment's hook makes it, is not a whole); with `planned`, the
one whose turn it is. From which repository: the one that was drilled from longest ago, see
`plan.rotation`; a source that this repository can't give comes from another one. Where no point
holds all that there are snapshots of, each source's newest snapshot is drilled by itself.

Invariant: a source that is missing in the point is told and never makes the verdict better; its
newest snapshot from elsewhere is drilled all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.errors import StorageError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity, Stage, Verdict, finding
from strongroom.plan.rotation import Drilled, next_drill, next_repository
from strongroom.report.handed_over import observed_at
from strongroom.repository import Snapshot
from strongroom.service.application import LOG, Application, trace_errors
from strongroom.service.drill import DrillReport, DrillRun, drill_sources, worst
from strongroom.service.ledger_copy import take_up
from strongroom.service.point_choice import Point, find_points, meant_whole, record_holders
from strongroom.service.point_record import (
    PointRecord,
    compare_record,
    read_record,
    recorded_points,
)
from strongroom.service.proof import ProofReport, evidence_json
from strongroom.service.references import ReferenceDrill
from strongroom.service.rendering import stages_json, time_json
from strongroom.service.sampling import Sampling
from strongroom.service.selection import (
    LATEST,
    Candidate,
    Survey,
    repaired,
    survey,
)


@dataclass(frozen=True, slots=True)
class PointDrill:
    """What the drill of a recovery point says besides those of its sources.

    `repository` is None when no single one gives all of it; `verdict` is the point's own.
    """

    id: str
    repository: str | None
    captured_at: datetime
    because: tuple[str, ...]
    record: PointRecord | None
    findings: tuple[Finding, ...]
    references_checked: int
    stages: tuple[Stage, ...]
    evidence: Entry | None = None

    @property
    def verdict(self) -> Verdict:
        return _own_verdict(self.findings)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "id": self.id,
            "repository": self.repository,
            "captured_at": time_json(self.captured_at),
            "because": list(self.because),
            "certainty": self.record.certainty if self.record else None,
            "references_checked": self.references_checked,
        }


def drill_point(
    application: Application,
    wanted: str | None = None,
    *,
    repository: str | None = None,
    planned: bool = False,
    sampling: Sampling | None = None,
) -> DrillReport:
    """Drill all sources of one recovery point; `wanted` is the beginning of its id.

    StorageError `snapshot-missing` when no point, or more than one, has such an id; the first
    error when there is nothing to drill at all.
    """
    taken_up: list[Finding] = []
    try:
        with contextlib.suppress(StrongroomError):  # the survey says why none opens
            taken_up = take_up(application)
        surveyed = survey(application, [repository] if repository else [])
    except StrongroomError:
        if wanted is not None:
            raise
        # Each source's drill is recorded, with the reason why there was none.
        return drill_sources(application, repository=repository, sampling=sampling)
    points = find_points(application, surveyed)
    whole = meant_whole(application, points, surveyed)
    if wanted is not None:
        chosen = _named(points.values(), wanted)
        turn = _turn(application, [chosen], chosen, planned=False)
    elif whole:
        chosen = max(whole, key=lambda one: (one.captured_at, one.id))
        turn = _turn(application, whole, chosen, planned=planned)
        chosen = points[turn.point.id]
    else:
        return drill_sources(application, repository=repository, sampling=sampling)
    run = _PointRun(application, surveyed, chosen, turn, taken_up, whole)
    if wanted is None:
        run.notice()
    return run.carry_out(DrillRun(application, repository, sampling))


# Which point, and from where


@dataclass(frozen=True, slots=True)
class _Turn:
    point: Point
    repository: str | None
    because: tuple[str, ...]


def _named(points: Iterable[Point], wanted: str) -> Point:
    matches = [one for one in points if wanted and one.id.startswith(wanted.lower())]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StorageError("no recovery point has this id", subject=wanted, code="snapshot-missing")
    listed = ", ".join(sorted(one.id for one in matches[:5]))
    raise StorageError(
        f"several recovery points have ids that begin so ({listed})",
        subject=wanted,
        code="snapshot-missing",
        hint="Give more of the id.",
    )


def _turn(
    application: Application, points: Sequence[Point], newest: Point, *, planned: bool
) -> _Turn:
    """The point and repository whose turn it is; without `planned` of that one point."""
    drilled = list(_drilled(application, points))
    by_id = {one.id: one for one in points}
    turn = (next_drill if planned else next_repository)(
        [one.drillable() for one in (points if planned else [newest])],
        drilled,
        application.clock(),
        sources=sorted(newest.sources),
        proof_age=application.settings.objectives.proof_age,
    )
    if turn is None:
        return _Turn(newest, None, ("no repository holds all of the newest point",))
    return _Turn(by_id[turn.point], turn.repository, turn.because)


def _drilled(application: Application, points: Iterable[Point]) -> Iterator[Drilled]:
    """The drills that the ledger knows; none when it can't be read."""
    by_snapshot = {
        one.snapshot.id: point.id
        for point in points
        for copies in point.copies.values()
        for one in copies
    }
    try:
        for entry in application.ledger.entries("drill"):
            fields = entry.fields
            mine = fields.get("application") == application.name and "store_as_of" not in fields
            if mine and fields.get("repository"):
                yield Drilled(
                    str(fields.get("source")),
                    str(fields["repository"]),
                    observed_at(entry),
                    by_snapshot.get(str(fields.get("snapshot"))),
                    older=bool(fields.get("older")),
                )
    except StrongroomError as error:
        application.say(f"whose turn it is is not known: {error}")


# The drill itself


class _PointRun:
    """The drill of one point from one repository, as far as that has all of it."""

    def __init__(
        self,
        application: Application,
        surveyed: Survey,
        point: Point,
        turn: _Turn,
        noticed: Sequence[Finding],
        whole: Sequence[Point],
    ) -> None:
        self._application, self._surveyed, self._point = application, surveyed, point
        self._turn, self._noticed = turn, noticed
        newer = [one for one in whole if one.captured_at > point.captured_at]
        self._is_newest = not newer and point in whole
        # Of what its repository holds: whoever plans the next drill wants to know.
        self._is_older = any(turn.repository in one.holders for one in newer)
        self._findings: list[Finding] = []
        self._references = ReferenceDrill(
            application.settings.references,
            {name: self._copies(name)[0] for name in point.copies},
        )

    def _copies(self, source: str) -> list[Candidate]:
        """The copies of a source's snapshot, the chosen repository's first. What was repaired is
        another one than what is whole."""
        copies = self._point.copies[source]
        same = [one for one in copies if one.snapshot.tree == copies[0].snapshot.tree]
        return sorted(same, key=lambda one: one.repository.name != self._turn.repository)

    def notice(self) -> None:
        """What is wrong with newer snapshots is told when it is an older point's turn, too, and is
        no fault of this one's sources."""
        if not self._is_newest:
            known = {*self._surveyed.unreachable}
            self._findings += [one for one in self._surveyed.about() if one not in known]

    def carry_out(self, run: DrillRun) -> DrillReport:
        application = self._application
        record = self._read_record()
        sources = application.sources()
        for source in sources:
            noticed = [*self._noticed]
            if source.name in self._point.copies:
                self._drill_present(run, source.name, noticed)
            else:
                self._miss(source.name, record)
                run.drill_chosen(source, LATEST, noticed, is_named=len(sources) == 1)
        all_failed = len(run.errors) == len(sources)
        failed = any(one.outcome.verdict is Verdict.FAILED for one in run.reports)
        raised = run.errors[0][1] if run.errors and all_failed and not failed else None
        trace_errors("drill of", run.errors, besides=raised)
        if raised is not None:
            raise raised
        self._references.conclude(
            dict.fromkeys(run.samples, "its rows were restored in part only: see --sample")
        )
        return DrillReport(tuple(run.reports), self._conclude(run, record), run.samples)

    def _drill_present(self, run: DrillRun, name: str, noticed: list[Finding]) -> None:
        surveyed, copies = self._surveyed, self._copies(name)
        noticed += surveyed.about([name]) if self._is_newest else surveyed.unreachable
        if copies[0].snapshot.is_repaired:
            noticed.append(repaired(copies[0].repository.name, copies[0].snapshot))
        run.drill_copies(
            self._application.source(name),
            copies,
            noticed,
            ask=self._references.ask,
            older=self._is_older,
        )

    def _miss(self, name: str, record: PointRecord | None) -> None:
        why = record.missing.get(name) if record is not None else None
        if why is None and name in self._point.wanted:
            why = "it was to be captured"
        message = f"the point has no snapshot of {name}" + (f": {why}" if why else "")
        self._findings.append(finding("point-incomplete", f"{self._point.id}: {name}", message))

    def _read_record(self) -> PointRecord | None:
        """The point's record, from the repository that is drilled where that has it."""
        application, point = self._application, self._point
        known = self._known_record()
        holders = record_holders(application, self._surveyed, point.id)
        if self._turn.repository is not None:
            holders = [one for one in holders if one.repository.name == self._turn.repository]
        read: PointRecord | Finding | None = None
        for holder in holders[:1]:
            try:
                with holder.repository.reading():
                    read = read_record(holder.repository, holder.snapshot)
            except StrongroomError as error:
                read = finding("point-unreadable", holder.repository.name, str(error))
        if isinstance(read, Finding):
            self._findings.append(read)
            return known
        if read is None:
            if known is not None:
                where = self._turn.repository or "any repository"
                message = f"the ledger knows the point's record, and {where} has none"
                self._findings.append(finding("point-unrecorded", point.id, message))
            return known
        if known is not None and known.as_json() != read.as_json():
            message = "its record is another one than the ledger has"
            self._findings.append(finding("point-differs", point.id, message))
        for name in sorted({one.repository.name for one in self._all_copies()}):
            self._findings += compare_record(read, name, self._snapshots_in(name))
        return read

    def _known_record(self) -> PointRecord | None:
        application = self._application
        try:
            entries = application.ledger.entries("backup")
            return recorded_points(entries, application.name).get(self._point.id)
        except StrongroomError:
            LOG.debug("the ledger's record of the point is not known", exc_info=True)
            return None

    def _all_copies(self) -> Iterator[Candidate]:
        for copies in self._point.copies.values():
            yield from copies

    def _snapshots_in(self, repository: str) -> list[Snapshot]:
        return [one.snapshot for one in self._all_copies() if one.repository.name == repository]

    def _conclude(self, run: DrillRun, record: PointRecord | None) -> PointDrill:
        """The point's own part, recorded when there is more to it than one source's drill."""
        point, references = self._point, self._references
        findings = [*self._findings, *references.findings]
        evidence: Entry | None = None
        if len(run.reports) > 1 or findings or references.stages:
            verdicts = [one.outcome.verdict or Verdict.UNKNOWN for one in run.reports]
            fields = {
                "point": point.id,
                "repository": self._turn.repository,
                "because": list(self._turn.because),
                "verdict": worst([*verdicts, _own_verdict(findings)]).value,
                "drills": [_evidence(one) for one in run.reports],
                "checked": references.checked,
                "findings": [one.as_json() for one in findings],
                "stages": stages_json(references.stages),
            }
            recorded = self._application.record("point-drill", fields)
            if isinstance(recorded, Finding):
                findings.append(recorded)
            else:
                evidence = recorded
        return PointDrill(
            point.id,
            self._turn.repository,
            point.captured_at,
            self._turn.because,
            record,
            tuple(findings),
            references.checked,
            tuple(references.stages),
            evidence,
        )


def _own_verdict(findings: Iterable[Finding]) -> Verdict:
    """What they make of a point whose sources are all proven."""
    severities = {one.severity for one in findings}
    if Severity.FAILURE in severities:
        return Verdict.FAILED
    return Verdict.UNKNOWN if Severity.UNKNOWN in severities else Verdict.PROVEN


def _evidence(one: ProofReport) -> dict[str, Any]:  # Any: JSON values
    return {"source": one.source, "evidence": evidence_json(one.evidence)}
