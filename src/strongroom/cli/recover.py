"""`recover`: the worst day's one command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import REASON, STORE_AS_OF, Command
from strongroom.cli.kit import opener_of, opening
from strongroom.cli.run import Run
from strongroom.cli.text import (
    clock,
    coloured,
    count,
    finding_lines,
    hint_lines,
    size,
    span,
    wrapped,
)
from strongroom.errors import ConfigError
from strongroom.model import Verdict

if TYPE_CHECKING:
    from strongroom.service.application import Application
    from strongroom.service.recovery_report import RecoveryPlan, RecoveryReport

_MEANING = {
    Verdict.PROVEN: "it is back, identical, and works",
    Verdict.STALE: "it was back once",
    Verdict.FAILED: "it is not back as it was",
    Verdict.UNKNOWN: "not all of it is known to be back",
}


@click.command(
    cls=Command,
    examples=(
        "strongroom recover --to /srv/tms --database env:NEW_DATABASE_URL --reason 'host lost'",
        "strongroom recover --to /srv/tms --database env:NEW_DATABASE_URL --dry-run",
    ),
)
@click.option(
    "--to",
    "target",
    metavar="DIRECTORY",
    required=True,
    help="Where uploads and code go: an empty or new directory, or the one of a recovery that was "
    "stopped, which goes on.",
)
@click.option(
    "--database",
    metavar="URL",
    help="Where the database goes: the URL of an empty or new one without password, or a reference "
    "such as env:NAME.",
)
@click.option(
    "--point",
    metavar="ID",
    help="This recovery point, by the beginning of its id; without it the newest that is proven.",
)
@click.option(
    "--kit",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A recovery kit, or the texts of its printed codes: nothing else is needed then.",
)
@opening
@click.option(
    "--dry-run", is_flag=True, help="Say what would be done and how long it took in drills."
)
@click.option(
    "--start-anyway",
    is_flag=True,
    help="Put in its place and start also what is not identical to what was captured, when time "
    "matters more. The verdict stays FAILED.",
)
@click.option(
    "--ignore-space",
    "roomy",
    is_flag=True,
    help="Begin although there seems to be too little room, as where the file system compresses.",
)
@REASON
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def recover(
    run: Run,
    target: str,
    database: str | None,
    point: str | None,
    kit: Path | None,
    passphrase: str | None,
    identity: Path | None,
    dry_run: bool,
    start_anyway: bool,
    roomy: bool,
    reason: str,
    repository: str | None,
) -> int:
    """Bring the whole application back on an empty machine, start it, and ask it.

    From any one repository that survived: restores and proves database, uploads and code of one
    recovery point, then does what `recovery` in the configuration says. Killed and started again it
    goes on.
    """
    application = _application(run, kit, passphrase, identity)
    zone = application.settings.schedule.time_zone
    if dry_run:
        from strongroom.service.recovery_planning import plan_recovery

        plan = plan_recovery(
            application, target, database=database, point=point, repository=repository, roomy=roomy
        )
        run.result(plan.as_json(), _plan_lines(plan, zone, verbose=run.verbose))
        return plan.exit_status
    from strongroom.service.recovering import recover as recover_application

    report = recover_application(
        application,
        target,
        database=database,
        point=point,
        repository=repository,
        reason=reason,
        anyway=start_anyway,
        roomy=roomy,
    )
    run.result(report.as_json(), _lines(report, zone, verbose=run.verbose))
    return report.exit_status


def _application(
    run: Run, kit: Path | None, passphrase: str | None, identity: Path | None
) -> Application:
    """The one that is configured here, or the one of a kit."""
    if kit is not None:
        return run.application_of_kit(kit, opener_of(kit, passphrase, identity))
    if passphrase is not None or identity is not None:
        raise ConfigError(
            "it opens a kit, and none is named", subject="--kit", code="usage",
            hint="Name the kit's file: --kit FILE.",
        )  # fmt: skip
    return run.application()


def _plan_lines(plan: RecoveryPlan, zone: str, *, verbose: bool) -> Iterator[str]:
    goes_on = "Would go on with" if plan.resumes else "Would recover"
    yield (
        f"{goes_on} point {plan.point} ({clock(plan.captured_at, zone)} {zone}), {plan.because}, "
        f"into {plan.directory}"
    )
    for stage in plan.stages:
        seconds = "not known" if stage.seconds is None else span(stage.seconds)
        yield f"  {stage.name:<32} {seconds:>10}  {stage.what}".rstrip()
    yield from finding_lines(plan.findings, all_of_them=verbose)
    least = "" if plan.is_whole else "at least "
    yield (
        f"It would take {least}{span(plan.expected_seconds)}, it may take "
        f"{span(plan.promise.rto_seconds)}"
    )
    yield _lost(plan.rpo_seconds, plan.promise.rpo_seconds)
    yield from _by_hand(plan.by_hand)


def _lines(report: RecoveryReport, zone: str, *, verbose: bool) -> Iterator[str]:
    for one in report.sources:
        yield (
            f"{coloured(one.verdict.value)}  {one.source}: {size(one.size_bytes)} from "
            f"{one.repository} into {one.target}, {count(one.checked, 'comparison')}, "
            f"{span(one.seconds)}"
        )
        if verbose:
            for stage in one.stages:
                yield f"    {stage.name:<30} {span(stage.seconds):>10}"
    for stage in report.stages:
        yield f"  {stage.name:<32} {span(stage.seconds):>10}"
    yield from finding_lines(report.findings, all_of_them=verbose)
    yield from hint_lines(report.findings)
    if report.rto_seconds is not None:
        runs = f" in {report.runs} runs" if report.runs > 1 else ""
        yield (
            f"Recovery took {span(report.rto_seconds)}{runs}, it may take "
            f"{span(report.promise.rto_seconds)}"
        )
    yield _lost(report.rpo_seconds, report.promise.rpo_seconds)
    yield from _by_hand(report.by_hand)
    where = f" at {report.url}" if report.url and report.rto_seconds is not None else ""
    yield (
        f"{coloured(report.verdict.value)}  application{where}: {_MEANING[report.verdict]}, point "
        f"{report.point} ({clock(report.captured_at, zone)} {zone}), {report.because}; "
        f"{count(report.checked, 'comparison')}"
    )


def _lost(seconds: float, promised: float) -> str:
    return f"Work of {span(seconds)} is lost at most, {span(promised)} may be"


def _by_hand(lines: tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield "What a person must still do:"
    for one in lines:
        first, *others = wrapped(one, "    ")
        yield f"  - {first.strip()}"
        yield from others
