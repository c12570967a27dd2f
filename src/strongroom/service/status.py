"""How things stand now, from this host's ledger alone: fast enough to be asked each minute.

No repository is opened and no network asked; whether the ledger is the one that its copies hold is
for `report` and `verify monthly`. All faces render the one `Report` that is judged here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.report.history import Beat
from strongroom.report.judgement import Report, judge_evidence
from strongroom.report.observation import Evidence, Promise
from strongroom.report.store_check import holdings_of
from strongroom.report.summary import check_json, exempt_json, objective_json
from strongroom.service.application import Application
from strongroom.service.gathering import EXITS, gather_here, promise_of
from strongroom.service.health import publish_status, standing_here
from strongroom.service.rendering import time_json

__all__ = ["StatusReport", "status", "status_of", "write_status"]

# So long an answer counts when no check gets worse by itself before.
_HOLDS_FOR: Final = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The report, what it was judged by, and until when it holds. `copies` says in which
    repositories each source's newest capture is."""

    report: Report
    evidence: Evidence
    promise: Promise
    valid_until: datetime
    copies: Mapping[str, tuple[str, ...]]

    @property
    def exit_status(self) -> int:
        return EXITS[self.report.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        report = self.report
        return {
            "verdict": report.verdict.value,
            "because": report.because,
            "application": report.application,
            "environment": report.environment,
            "made_at": time_json(report.made_at),
            "valid_until": time_json(self.valid_until),
            "objectives": [objective_json(one) for one in report.objectives],
            "sources": [
                {
                    "source": one.name,
                    "kind": one.kind,
                    "verdict": one.verdict.value,
                    "because": one.because,
                    "captured_at": _time(one.capture.begun_at if one.capture else None),
                    "proven_at": _time(
                        one.proof.observation.at if one.proof and one.is_proven else None
                    ),
                    "copies": list(self.copies.get(one.name, ())),
                }
                for one in report.sources
            ],
            "checks": [check_json(one) for one in report.checks],
            "not_asked": [exempt_json(one) for one in report.exempt],
        }


def _time(moment: datetime | None) -> str | None:
    return time_json(moment) if moment is not None else None


def status(application: Application, now: datetime, *, beats: Sequence[Beat] = ()) -> StatusReport:
    """Judge what is known here, at `now`; `beats` are signs of life of what runs by itself."""
    evidence = gather_here(application, now=now, beats=beats)
    return status_of(evidence, promise_of(application.settings), now)


def status_of(evidence: Evidence, promise: Promise, now: datetime) -> StatusReport:
    """What this evidence amounts to at `now`."""
    report = judge_evidence(evidence, promise, now)
    holdings = holdings_of(evidence)
    copies = {
        one.name: holdings.of(one.capture) for one in report.sources if one.capture is not None
    }
    return StatusReport(report, evidence, promise, report.valid_until(_HOLDS_FOR), copies)


def write_status(found: StatusReport, output: Path) -> None:
    """Replace the status file of the application; TargetError when it can't be written."""
    now = found.report.made_at
    publish_status(standing_here(found, now, at_most=_HOLDS_FOR), output, now)
