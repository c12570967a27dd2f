"""`restore`, `prove` and `drill`: bring it back, and show that it is what it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import REASON, STORE_AS_OF, Command
from strongroom.cli.reason import asked_reason, tell_of_none
from strongroom.cli.restore_preview import preview_lines
from strongroom.cli.run import Run
from strongroom.cli.text import clock, coloured, count, finding_lines, size, span
from strongroom.errors import EXIT_FINE
from strongroom.model import Verdict

if TYPE_CHECKING:
    from strongroom.service.application import Application
    from strongroom.service.drill import DrillReport
    from strongroom.service.proof import ProofReport


class _Wanted(TypedDict):
    """Which snapshot is meant, what of it, and what may give way to it."""

    snapshot: str
    repository: str | None
    at: datetime | None
    include: tuple[str, ...]
    tables: tuple[str, ...]
    roles: tuple[str, ...]
    owner: str | None
    replace: str | None
    roomy: bool


SNAPSHOT = click.option(
    "-s",
    "--snapshot",
    default="latest",
    metavar="ID",
    show_default=True,
    help="Which snapshot: the beginning of its id.",
)
AT = click.option(
    "--at", metavar="TIME", help="The newest snapshot at this time, such as '2026-11-22 14:00'."
)


@click.command(
    cls=Command,
    examples=(
        "strongroom restore uploads --to /srv/tms/uploads.restored",
        "strongroom restore database --to env:RESTORE_URL --at '2026-11-22 14:00'",
    ),
)
@click.argument("source", required=False)
@click.option(
    "--to",
    "target",
    metavar="TARGET",
    help="An empty or new directory; for a database the URL of an empty one without password, "
    "or a reference such as env:NAME.",
)
@SNAPSHOT
@AT
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Only files that match, as in a .gitignore; may be repeated.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Only this table of a database (`schema.table`, or `schema.*`), beside the live ones: "
    "into a schema of its own in a database that is there; may be repeated.",
)
@click.option(
    "--schema",
    "schemas",
    multiple=True,
    metavar="NAME",
    help="Only the tables of this schema of a database, beside the live ones like --table; into an "
    "empty database all of the schema, under its own name; may be repeated.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="OLD=NEW",
    help="What belonged to the database role OLD, or was granted to it, goes to NEW; may be "
    "repeated.",
)
@click.option("--owner", metavar="USER:GROUP", help="All files belong to this user and group.")
@click.option(
    "--replace",
    metavar="NAME",
    help="Put it in the place of the target, whose own name is typed out here: restored beside, "
    "proven, then exchanged; what was there is kept under another name.",
)
@click.option(
    "--rollback",
    metavar="TARGET",
    help="Undo the newest --replace of this target: what was kept takes its place again, and what "
    "gives way is kept.",
)
@click.option(
    "--preview",
    is_flag=True,
    help="Say what would be created, changed and taken away, and how old it is; write nothing.",
)
@click.option(
    "--contents",
    is_flag=True,
    help="With --preview, read the files that are there, too, instead of their sizes and times.",
)
@click.option(
    "--ignore-space",
    "roomy",
    is_flag=True,
    help="Begin although there seems to be too little room, as where the file system compresses.",
)
@click.option(
    "--no-proof",
    is_flag=True,
    help="Leave the comparison at the end for `prove`: every stored byte is verified all the same.",
)
@REASON
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def restore(
    run: Run,
    source: str | None,
    target: str | None,
    snapshot: str,
    at: str | None,
    include: tuple[str, ...],
    tables: tuple[str, ...],
    schemas: tuple[str, ...],
    roles: tuple[str, ...],
    owner: str | None,
    replace: str | None,
    rollback: str | None,
    preview: bool,
    contents: bool,
    roomy: bool,
    no_proof: bool,
    reason: str,
    repository: str | None,
) -> int:
    """Bring one source back, then prove that it is identical.

    A target that holds something is refused: nothing is ever overwritten.
    """
    from strongroom.service.preview import preview_restore
    from strongroom.service.restoration import restore_source
    from strongroom.service.selection import parse_moment

    if contents and not preview:
        raise click.UsageError("--contents belongs to --preview: a restore compares all anyway")
    if rollback is not None and (preview or replace is not None):
        raise click.UsageError("--rollback goes with --reason alone")
    if not preview:
        reason = asked_reason(run, reason)
    application = run.application()
    if rollback is not None:
        return _roll_back(run, application, rollback, reason, alone=not (source or target))
    tables = (*tables, *(f"{name}.*" for name in schemas))
    if source is None or target is None:
        missing = "SOURCE" if source is None else "--to TARGET"
        raise click.UsageError(f"{missing} is missing: what is to be restored, and where to?")
    zone = application.settings.schedule.time_zone
    wanted: _Wanted = {
        "snapshot": snapshot,
        "repository": repository,
        "at": parse_moment(at, zone) if at else None,
        "include": include,
        "tables": tables,
        "roles": roles,
        "owner": owner,
        "replace": replace,
        "roomy": roomy,
    }
    if preview:
        planned = preview_restore(application, source, target, with_contents=contents, **wanted)
        run.result(planned.as_json(), preview_lines(application, planned, verbose=run.verbose))
        return planned.exit_status
    report = restore_source(
        application, source, target, proven=not no_proof, reason=reason, **wanted
    )
    run.result(report.as_json(), _report_lines(application, report, verbose=run.verbose))
    tell_of_none(run, reason)
    return report.exit_status


@click.command(
    cls=Command,
    examples=(
        "strongroom prove uploads --target /srv/tms/uploads",
        "strongroom prove database --target env:STAGING_URL --snapshot 1a2b3c4d",
    ),
)
@click.argument("source")
@click.option(
    "--target", required=True, metavar="TARGET", help="The directory or database to look at."
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="OLD=NEW",
    help="The role OLD is called NEW there, as in `restore --role`; may be repeated.",
)
@click.option(
    "--owner", metavar="USER:GROUP", help="All files are to belong to this user and group."
)
@SNAPSHOT
@AT
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def prove(
    run: Run,
    source: str,
    target: str,
    roles: tuple[str, ...],
    owner: str | None,
    snapshot: str,
    at: str | None,
    repository: str | None,
) -> int:
    """Is this existing target identical to a snapshot?

    Reads both, changes neither. Exit status 0 only when they are the same.
    """
    from strongroom.service.restoration import prove_source
    from strongroom.service.selection import parse_moment

    application = run.application()
    zone = application.settings.schedule.time_zone
    report = prove_source(
        application,
        source,
        target,
        snapshot=snapshot,
        repository=repository,
        at=parse_moment(at, zone) if at else None,
        roles=roles,
        owner=owner,
    )
    run.result(report.as_json(), _report_lines(application, report, verbose=run.verbose))
    return report.exit_status


_SAMPLE = "--sample"
_AUTOMATIC = "automatic"


class _Drill(Command):
    """`--sample` alone means what covers all within `proof_age`; a share follows after `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        given = [f"{_SAMPLE}={_AUTOMATIC}" if one == _SAMPLE else one for one in args[:end]]
        return super().parse_args(ctx, [*given, *args[end:]])


class _Share(click.ParamType["str | float"]):
    name = "share"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> str | float:
        from strongroom.plan.sampling import parse_share

        if given == _AUTOMATIC or isinstance(given, float):
            return _AUTOMATIC if given == _AUTOMATIC else float(given)
        try:
            return parse_share(given)
        except ValueError as error:
            self.fail(str(error), parameter, context)


@click.command(
    cls=_Drill,
    follows="drill",
    examples=("strongroom drill --next", "strongroom drill --application"),
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@SNAPSHOT
@click.option("--point", metavar="ID", help="Which recovery point: the beginning of its id.")
@click.option(
    "--next",
    "planned",
    is_flag=True,
    help="The point and the repository whose turn it is, older points now and then.",
)
@click.option(
    _SAMPLE,
    "share",
    type=_Share(),
    metavar="[=SHARE]",
    help="Of databases restore a part of the rows only, such as =10%, longest unproven first; "
    "without a share, as much as a drill each day takes to prove all within `proof_age`.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Run PostgreSQL's own check (amcheck) of every index and table of the sandbox, too.",
)
@REPOSITORY
@click.option(
    "--application",
    "whole",
    is_flag=True,
    help="All sources of the newest whole recovery point into one sandbox; then the application is "
    "started there, used and ended, as `application_check` says.",
)
@STORE_AS_OF
@click.pass_obj
def drill(
    run: Run,
    sources: tuple[str, ...],
    snapshot: str,
    point: str | None,
    planned: bool,
    share: str | float | None,
    deep: bool,
    repository: str | None,
    whole: bool,
) -> int:
    """Restore into a sandbox, prove, and throw the sandbox away.

    Without names, all sources of the newest whole recovery point, with the files that its database
    refers to. Exit status 0 only when all is PROVEN; 41 when something FAILED, 42 when something
    is not known: nothing more can come of --sample.
    """
    if whole:
        from strongroom.cli.application_drill import drill_the_application

        if sources or snapshot != "latest" or point or planned or share is not None or deep:
            message = "--application goes with --repository and --store-as-of only: it takes the "
            raise click.UsageError(message + "newest whole point")
        return drill_the_application(run, repository)
    from strongroom.service.drill import drill_sources
    from strongroom.service.point_drill import drill_point
    from strongroom.service.sampling import Sampling

    is_single = bool(sources) or snapshot != "latest"
    if (point is not None) + planned + is_single > 1:
        raise click.UsageError("name sources or a snapshot, or --point, or --next: one of these")
    application = run.application()
    application.deep = deep
    sampling = None
    if share is not None:
        sampling = Sampling(application, share if isinstance(share, float) else None)
    if is_single:
        report = drill_sources(
            application, sources, snapshot=snapshot, repository=repository, sampling=sampling
        )
    else:
        report = drill_point(
            application, point, repository=repository, planned=planned, sampling=sampling
        )
    run.result(report.as_json(), _drill_lines(application, report, verbose=run.verbose))
    return report.exit_status


def _drill_lines(application: Application, report: DrillReport, *, verbose: bool) -> Iterator[str]:
    for one in report.drills:
        yield from _report_lines(application, one, verbose=verbose)
    point = report.point
    if point is None:
        if len(report.drills) > 1:
            yield f"{coloured(report.verdict.value)}  all in all"
        return
    if verbose:
        yield from (f"  because {reason}" for reason in point.because)
    yield from finding_lines(point.findings, all_of_them=verbose)
    if len(report.drills) > 1 or point.findings:
        place = f" from {point.repository}" if point.repository else ""
        asked = ""
        if point.references_checked:
            asked = f"; {count(point.references_checked, 'reference')} to files looked up"
        yield (
            f"{coloured(report.verdict.value)}  all in all: recovery point {point.id}{place}{asked}"
        )


def _roll_back(run: Run, application: Application, target: str, reason: str, *, alone: bool) -> int:
    from strongroom.service.restoration import rollback

    if not alone:
        raise click.UsageError("--rollback takes neither SOURCE nor --to: it names its target")
    done = rollback(application, target, reason=reason)
    lines = [
        f"Rolled back {done.target}: it is again what was kept as {done.taken}",
        f"What gave way is kept as {done.kept}; remove it when you are sure.",
        *finding_lines(done.findings, all_of_them=True),
    ]
    run.result(done.as_json(), lines)
    tell_of_none(run, reason)
    return EXIT_FINE


_MEANING = {
    Verdict.PROVEN: "identical to",
    Verdict.FAILED: "not identical to",
    Verdict.STALE: "once identical to",
    Verdict.UNKNOWN: "not known to be identical to",
}


def _report_lines(application: Application, report: ProofReport, *, verbose: bool) -> Iterator[str]:
    outcome = report.outcome
    which = _which(application, report)
    if report.action == "restore":
        to = f" to {report.target}" if report.target else ""
        yield f"Restored {report.source}{to} from {which}: {_amount(report)}"
        if report.kept:
            yield f"What was there is kept as {report.kept}; remove it when you are sure."
    if verbose:
        for stage in outcome.stages:
            yield f"  {stage.name:<24} {span(stage.seconds):>10}"
    yield from finding_lines(report.findings, all_of_them=verbose)
    if outcome.verdict is None and any(one.code == "table-restored" for one in report.findings):
        return
    if outcome.verdict is None:
        yield "Every byte was verified on the way. A verdict takes a proof of the whole."
        return
    made = count(outcome.checked, "comparison")
    yield (
        f"{coloured(outcome.verdict.value)}  {report.source}: {_MEANING[outcome.verdict]} {which}; "
        f"{made} in {span(outcome.seconds)}"
    )


def _amount(report: ProofReport) -> str:
    outcome = report.outcome
    files = f"{count(outcome.files, 'file')}, " if outcome.files is not None else ""
    reused = outcome.reused_bytes
    there = f", of which {size(reused)} were there already" if reused else ""
    return f"{files}{size(outcome.size_bytes)}{there}"


def _which(application: Application, report: ProofReport) -> str:
    if report.snapshot is None or report.captured_at is None:
        return "any snapshot"
    zone = application.settings.schedule.time_zone
    when = f"{clock(report.captured_at, zone)} {zone}"
    return f"snapshot {report.snapshot[:8]} ({report.repository}, {when})"
