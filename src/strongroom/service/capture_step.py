"""A capture in steps that different processes carry out: what one found is handed to the next as
JSON, so that a run that is killed between two steps goes on with the second.

A source that is captured once more, because its process was killed before anybody knew what came
of it, leaves a snapshot that no record names; it does no harm, and retention counts it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from strongroom.service.application import Application
from strongroom.service.backup import BackupReport, report_of
from strongroom.service.capture_part import parse_findings, parse_part
from strongroom.service.capture_run import CaptureRun
from strongroom.service.rendering import time_json


def begin(application: Application, names: Sequence[str]) -> dict[str, Any]:  # Any: JSON values
    """The point that is to be captured, and its sources in their order."""
    run = CaptureRun.open(application, names)
    with run.locked():
        run.begin()
    return {
        "point": run.point,
        "begun_at": time_json(run.begun_at),
        "sources": [source.name for source in run.sources],
        "findings": [one.as_json() for one in run.findings],
    }


def capture(
    application: Application,
    begun: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
    source: str,
) -> dict[str, Any]:
    """What came of one source, after those whose `parts` are given. `Any`: JSON values."""
    run = _resumed(application, begun, parts)
    known = len(run.findings)
    with run.locked():
        part = run.capture(application.source(source))
    # What the locks told, and what opening the repositories did, is no part of the source.
    about = [one for one in run.findings[known:] if one not in part.findings]
    return {**part.as_json(), "about": [one.as_json() for one in about]}


def conclude(
    application: Application, begun: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]
) -> BackupReport:
    """The whole run, recorded once even when this is done again. `Any`: JSON values.

    Raises the first error when nothing at all was captured.
    """
    run = _resumed(application, begun, parts)
    with run.locked():
        if not run.resume_conclusion():
            run.complete()
            run.conclude()
    run.findings = list(dict.fromkeys(run.findings))
    return report_of(run)


def _resumed(
    application: Application, begun: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]
) -> CaptureRun:
    run = CaptureRun.open(
        application,
        begun["sources"],
        point=begun["point"],
        begun_at=datetime.fromisoformat(begun["begun_at"]),
    )
    run.findings.extend(parse_findings(begun["findings"]))
    for part in parts:
        run.findings.extend(parse_findings(part.get("about", ())))
        run.take(parse_part(part))
    return run
