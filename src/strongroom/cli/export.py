"""`export` and `hook`: snapshots for other tools, and captures by Git."""

from __future__ import annotations

from pathlib import Path

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import NOTED_REASON, STORE_AS_OF, Command, Group
from strongroom.cli.run import Run
from strongroom.cli.text import finding_lines, hint_lines, size


@click.command(
    cls=Command,
    examples=(
        "strongroom export latest:database --format sql --output tms.sql",
        "strongroom export latest:code --format tar.gz --tag v1.2 --output tms-1.2.tar.gz",
    ),
)
@click.argument("snapshot")
@click.option(
    "-f",
    "--format",
    "file_format",
    required=True,
    type=click.Choice(["sql", "custom", "tar", "tar.gz", "zip", "git"]),
    help="sql and custom for databases; git (a bundle, or a bare repository when FILE ends in "
    ".git) and zip for code; tar and tar.gz for all.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write; it must not exist.",
)
@click.option("--tag", metavar="NAME", help="Of code: the release to archive.")
@NOTED_REASON
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def export(
    run: Run,
    snapshot: str,
    file_format: str,
    output: Path,
    tag: str | None,
    repository: str | None,
) -> int:
    """Write a snapshot as a file for other tools.

    SNAPSHOT is the beginning of an id, or `latest:SOURCE`. The file appears whole or not at all. A
    custom dump is made by way of a sandbox: what that could not hold is told, with status 3.
    """
    from strongroom.service.export import export as write

    report = write(run.application(), snapshot, file_format, output, tag=tag, repository=repository)
    release = f" of {report.tag}" if report.tag else ""
    digest = f", SHA-256 {report.sha256}" if report.sha256 else ""
    line = f"Wrote {report.output}{release}: {size(report.size_bytes)}{digest}"
    told = finding_lines(report.findings, all_of_them=run.verbose)
    run.result(report.as_json(), [line, *told, *hint_lines(report.findings)])
    return report.exit_status


@click.group(
    cls=Group, name="hook", examples=("strongroom hook install", "strongroom hook remove code")
)
def hook() -> None:
    """Capture the code whenever Git deploys it."""


@hook.command(examples=("strongroom hook install", "strongroom hook install code"))
@click.argument("source", required=False)
@click.pass_obj
def install(run: Run, source: str | None) -> int:
    """Put hooks in place that back the code up after each push, pull, switch or commit.

    The capture runs in the background and can neither fail nor delay Git. A hook that is there
    keeps working: it is called first.
    """
    from strongroom.service.hook import install as put

    report = put(run.application(), run.config, source)
    lines = []
    for name, one in report.installed:
        kept = f" (after {one.kept.name})" if one.kept else ""
        lines.append(f"{name}: {one.path}{kept}; its output goes to {one.log}")
    run.result(report.as_json(), lines)
    return 0


@hook.command(examples=("strongroom hook remove", "strongroom hook remove code"))
@click.argument("source", required=False)
@click.pass_obj
def remove(run: Run, source: str | None) -> int:
    """Take those hooks away; what was there before is back."""
    from strongroom.service.hook import remove as take

    report = take(run.application(), source)
    lines = [f"{name}: removed {path}" for name, path in report.removed]
    run.result(report.as_json(), lines or ["There was no hook of ours."])
    return 0
