"""What `drill --application` answers: the verdict, the stopwatch, and the trend of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from strongroom.cli.run import Run
from strongroom.cli.text import clock, coloured, count, finding_lines, hint_lines, span
from strongroom.model import Verdict

if TYPE_CHECKING:
    from strongroom.service.application_drill import ApplicationDrillReport

_MEANING = {
    Verdict.PROVEN: "recovered and works",
    Verdict.STALE: "once recovered and worked",
    Verdict.FAILED: "recovered, and does not work",
    Verdict.UNKNOWN: "not known to work",
}


def drill_the_application(run: Run, repository: str | None) -> int:
    """Carry it out and say what came of it; returns the exit status."""
    from strongroom.service.application_drill import drill_whole_application

    application = run.application()
    report = drill_whole_application(application, repository=repository)
    zone = application.settings.schedule.time_zone
    run.result(report.as_json(), _lines(report, zone, verbose=run.verbose))
    return report.exit_status


def _lines(report: ApplicationDrillReport, zone: str, *, verbose: bool) -> Iterator[str]:
    outcome = report.outcome
    for stage in outcome.stages:
        if verbose or stage.seconds >= 0.1:
            yield f"  {stage.name:<32} {span(stage.seconds):>10}"
    yield from finding_lines(report.findings, all_of_them=verbose)
    yield from hint_lines(report.findings)
    if outcome.stages:
        yield f"Recovery took {span(outcome.seconds)}, it may take {span(report.objective_seconds)}"
    if report.trend:
        yield "Before:"
        for one in report.trend:
            yield f"  {clock(one.at, zone)}  {one.verdict:<8} {span(one.seconds):>10}"
    which = "no recovery point"
    if report.point is not None and report.captured_at is not None:
        which = f"recovery point {report.point} ({clock(report.captured_at, zone)} {zone})"
    made = count(outcome.checked, "comparison")
    yield (
        f"{coloured(report.verdict.value)}  application: {_MEANING[report.verdict]}, "
        f"{which}; {made}"
    )
