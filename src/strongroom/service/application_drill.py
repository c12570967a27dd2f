"""The drill of the whole application: which recovery point, its record, and how long it takes.

The newest point that holds every source is drilled; that a newer one does not is told, and is no
full proof when that one was meant to. The sum of
the stages is the time that recovery takes: it is compared with the objective, and kept, so that
its trend can be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from strongroom.errors import ConfigError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict, finding, judge
from strongroom.recovery import Outcome, drill_application
from strongroom.repository import SnapshotView
from strongroom.service.application import CAPTURE_ORDER, Application
from strongroom.service.ledger_copy import take_up
from strongroom.service.leftover import sandbox
from strongroom.service.point_choice import find_points, meant_whole
from strongroom.service.proof import EXITS, evidence_json, identity, with_findings
from strongroom.service.rendering import stages_json, time_json
from strongroom.service.selection import Candidate, Survey, survey

RECORD: Final = "application-drill"
_TREND_LENGTH: Final = 10


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one earlier drill took."""

    at: datetime
    seconds: float
    verdict: str

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {"at": time_json(self.at), "seconds": self.seconds, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class ApplicationDrillReport:
    """What came of one drill. `point` is None when there is no whole recovery point; `trend` has
    earlier drills, oldest first; `objective_seconds` is how long recovery may take."""

    point: str | None
    snapshots: tuple[Candidate, ...]
    outcome: Outcome
    objective_seconds: float
    trend: tuple[Timing, ...]
    evidence: Entry | None
    notes: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return self.outcome.verdict or Verdict.UNKNOWN

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.outcome.findings, *self.notes)

    @property
    def exit_status(self) -> int:
        return EXITS[self.verdict]

    @property
    def captured_at(self) -> datetime | None:
        """The oldest of the point's snapshots: what came after it would be lost."""
        return min((one.snapshot.time for one in self.snapshots), default=None)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "verdict": self.verdict.value,
            "point": self.point,
            "captured_at": time_json(self.captured_at) if self.captured_at else None,
            "snapshots": [identity(str(one.snapshot.source), one) for one in self.snapshots],
            "checked": self.outcome.checked,
            "bytes": self.outcome.size_bytes,
            "findings": [one.as_json() for one in self.findings],
            "stages": stages_json(self.outcome.stages),
            "rto": {
                "objective_seconds": self.objective_seconds,
                "seconds": round(self.outcome.seconds, 3),
                "trend": [one.as_json() for one in self.trend],
            },
            "evidence": [evidence_json(self.evidence)],
        }


def drill_whole_application(
    application: Application, *, repository: str | None = None
) -> ApplicationDrillReport:
    """Recover the newest whole point into a sandbox, start the application there and use it.

    ConfigError `usage` when the configuration doesn't say how; the first error when no repository
    can be listed.
    """
    check = application.settings.application_check
    if check is None:
        raise ConfigError(
            "the configuration does not say how the application starts",
            subject="application_check",
            code="usage",
            hint="Write `application_check`; `strongroom config explain application_check` helps.",
        )
    noticed: list[Finding] = list(take_up(application))
    surveyed = survey(application, [repository] if repository else [])
    noticed.extend(surveyed.about())
    point, chosen, passed_over = _newest_whole(application, surveyed)
    noticed.extend(passed_over)
    trend = _trend(application)
    if point is None:
        found = finding("application-unchecked", "application", "no recovery point is whole")
        outcome = Outcome(judge([found], checked=0), 0, (found,), ())
    else:
        outcome = _drill(application, chosen)
    return _report(application, point, chosen, with_findings(outcome, noticed), trend)


def _newest_whole(
    application: Application, surveyed: Survey
) -> tuple[str | None, tuple[Candidate, ...], list[Finding]]:
    """The newest recovery point with a snapshot of every source, the snapshots to take, and that a
    newer point was passed over: one that was meant to hold every source leaves the verdict open."""
    points = find_points(application, surveyed)
    meant = {one.id for one in meant_whole(application, points, surveyed)}
    passed_over: list[Finding] = []
    newest_first = sorted(points.values(), key=lambda one: (one.captured_at, one.id), reverse=True)
    for point in newest_first:
        held = [one for copies in point.copies.values() for one in copies]
        whole = [one for one in held if not one.snapshot.is_repaired]
        there = {one.snapshot.source for one in whole}
        lacking = [name for name in application.settings.sources if name not in there]
        if not lacking:
            return point.id, _copies(whole, list(application.settings.sources)), passed_over
        code = "point-incomplete" if point.id in meant else "application-older-point"
        if code not in {one.code for one in passed_over}:  # the newest of each kind will do
            told = f"it lacks {', '.join(lacking)}"
            passed_over.append(finding(code, f"point {point.id}", told))
    return None, (), passed_over


def _copies(whole: Sequence[Candidate], sources: Sequence[str]) -> tuple[Candidate, ...]:
    """One copy for each source, from the repository that has most of them where it can be."""
    names = [one.repository.name for one in whole]
    ordered = sorted(whole, key=lambda one: -names.count(one.repository.name))
    return tuple(
        next(one for one in ordered if one.snapshot.source == source) for source in sources
    )


def _drill(application: Application, chosen: Sequence[Candidate]) -> Outcome:
    check = application.settings.application_check
    assert check is not None
    progress = application.progress
    size_bytes = sum(one.snapshot.size_bytes or 0 for one in chosen)
    # Everything is read twice: to be restored, and to be compared.
    progress.begin("drill application", 2 * size_bytes or None)
    by_source = {str(one.snapshot.source): one for one in chosen}
    sources = application.sources(list(by_source))
    sources.sort(key=lambda one: CAPTURE_ORDER.index(one.kind))
    repositories = {one.repository.name: one.repository for one in chosen}
    try:
        with contextlib.ExitStack() as stack:
            for repository in repositories.values():
                stack.enter_context(repository.reading())
            folder = stack.enter_context(sandbox(application))
            parts = [
                (one, SnapshotView(found.repository, found.snapshot, progress))
                for one in sources
                for found in [by_source[one.name]]
            ]
            outcome = drill_application(check, parts, folder)
    finally:
        progress.end()
    salvaged = [one for found in repositories.values() for one in found.salvage_findings]
    return with_findings(outcome, salvaged)


def _trend(application: Application) -> tuple[Timing, ...]:
    """The last drills that were carried out, as the ledger has them; none when it can't be read."""
    timings: list[Timing] = []
    with contextlib.suppress(StrongroomError):
        timings = [
            Timing(
                entry.at, float(entry.fields.get("seconds", 0)), str(entry.fields.get("verdict"))
            )
            for entry in application.ledger.entries(RECORD)
            if entry.fields.get("application") == application.name and entry.fields.get("stages")
        ]
    return tuple(timings[-_TREND_LENGTH:])


def _report(
    application: Application,
    point: str | None,
    chosen: tuple[Candidate, ...],
    outcome: Outcome,
    trend: tuple[Timing, ...],
) -> ApplicationDrillReport:
    """Compare with the objective, record what came out, and report it."""
    objective = application.settings.objectives.rto.total_seconds()
    if outcome.seconds > objective:
        told = f"it took {outcome.seconds:.0f} s, recovery may take {objective:.0f} s"
        found = finding("rto-exceeded", "application", told)
        outcome = replace(outcome, findings=(*outcome.findings, found))
    fields = {
        "point": point,
        "snapshots": [identity(str(one.snapshot.source), one) for one in chosen],
        "verdict": outcome.verdict.value if outcome.verdict else None,
        "checked": outcome.checked,
        "seconds": round(outcome.seconds, 3),
        "objective_seconds": objective,
        "findings": [one.as_json() for one in outcome.findings],
        "stages": stages_json(outcome.stages),
    }
    recorded = application.record(RECORD, fields)
    return ApplicationDrillReport(
        point,
        chosen,
        outcome,
        objective,
        trend,
        recorded if isinstance(recorded, Entry) else None,
        (recorded,) if isinstance(recorded, Finding) else (),
    )
