"""Backup: all sources, one after another, into all repositories, as one recovery point.

Each source is read once, whatever the number of repositories. A source or a repository that fails
does not stop the others; what is missing is said, and the exit status is not 0. The point's record,
which says what belongs together and how certainly, is written last: see `point_record`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, StrongroomError
from strongroom.findings import INCOMPLETE
from strongroom.model import Finding, RecoveryPoint, Severity, Stage
from strongroom.service.application import Application, trace_errors
from strongroom.service.capture_part import snapshot_json
from strongroom.service.capture_run import CaptureRun
from strongroom.service.rendering import error_json, stages_json, time_json


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A recovery point, the sources that could not be captured, and how long it took."""

    point: RecoveryPoint
    wanted: tuple[str, ...]
    errors: tuple[tuple[str, StrongroomError], ...]
    stages: tuple[Stage, ...]
    seconds: float
    minimum_copies: int = 1

    @property
    def captured(self) -> tuple[str, ...]:
        have = {one.source for one in self.point.snapshots}
        return tuple(name for name in self.wanted if name in have)

    @property
    def copies(self) -> dict[str, tuple[str, ...]]:
        """In which repositories each captured source is now."""
        return {
            name: tuple(one.repository for one in self.point.snapshots if one.source == name)
            for name in self.captured
        }

    @property
    def exit_status(self) -> int:
        lacking = any(len(names) < self.minimum_copies for names in self.copies.values())
        if self.errors or lacking or any(map(_is_incomplete, self.point.findings)):
            return EXIT_PARTIAL
        return EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "recovery_point": self.point.id,
            "application": self.point.application,
            "begun_at": time_json(self.point.begun_at),
            "seconds": round(self.seconds, 3),
            "snapshots": [
                {**snapshot_json(one), "seconds": round(one.seconds, 3)}
                for one in self.point.snapshots
            ],
            "copies": {name: list(names) for name, names in self.copies.items()},
            "minimum_copies": self.minimum_copies,
            "findings": [one.as_json() for one in self.point.findings],
            "errors": [{"source": name, **error_json(error)} for name, error in self.errors],
            "stages": stages_json(self.stages),
        }


def _is_incomplete(one: Finding) -> bool:
    # How many copies there must be is another question.
    if one.code in ("repository-failed", "repository-behind"):
        return False
    return one.severity in (Severity.FAILURE, Severity.UNKNOWN) or one.code in INCOMPLETE


def backup(application: Application, names: Sequence[str] = ()) -> BackupReport:
    """Capture the named sources, or all, as one recovery point.

    Raises the first error when nothing at all was captured.
    """
    run = CaptureRun.open(application, names)
    with run.locked():
        run.begin()
        try:
            for source in run.sources:
                run.capture(source)
            run.complete()
        finally:
            run.conclude()
    return report_of(run)


def report_of(run: CaptureRun) -> BackupReport:
    """What a run came to; raises its first error when nothing at all was captured."""
    raised = run.errors[0][1] if run.errors and not run.snapshots else None
    trace_errors("source", run.errors, besides=raised)
    if raised is not None:
        raise raised
    application = run.application
    point = RecoveryPoint(
        run.point, application.name, run.begun_at, tuple(run.snapshots), tuple(run.findings)
    )
    return BackupReport(
        point,
        tuple(source.name for source in run.sources),
        tuple(run.errors),
        tuple(run.stages),
        run.seconds,
        application.settings.copies_wanted,
    )
