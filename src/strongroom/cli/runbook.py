"""`runbook`: the application's own recovery document."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import STORE_AS_OF, Command
from strongroom.cli.run import Run, write_out
from strongroom.cli.text import finding_lines, size


@click.command(
    cls=Command,
    examples=(
        "strongroom runbook --output runbook.pdf",
        "strongroom runbook --point latest > runbook.md",
    ),
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write, as .md, .html or .pdf; it must not exist. Without it, Markdown is "
    "printed.",
)
@click.option(
    "--point",
    metavar="ID",
    help="The one that lies beside this recovery point, by the beginning of its id, or `latest`, "
    "in the place of a new one.",
)
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def runbook(run: Run, output: Path | None, point: str | None, repository: str | None) -> int:
    """Write the recovery document of this application.

    From configuration and evidence: whom to call, what is where, which recovery points are proven,
    how long a recovery takes, and commands to copy for three routes: this program; stock restic
    and psql; the provider's own restore. No secret is in it. Every backup puts one beside its
    recovery point.
    """
    from strongroom.service.runbook import stored_runbook, write_runbook

    application = run.application()
    if point is not None:
        made = stored_runbook(application, output, point=point, repository=repository)
    elif repository is not None or application.store_as_of is not None:
        raise click.UsageError("--repository and --store-as-of belong to --point.")
    else:
        made = write_runbook(application, output, now=datetime.now(UTC))
    if run.json:
        run.result(made.as_json(), [])
        return made.exit_status
    for line in finding_lines(made.findings):
        run.say(line.strip())
    if output is not None:
        run.result({}, [f"Wrote {output} ({size(made.size_bytes)})."])
    else:
        # As it is: what looks like a secret has been taken out, and commands must stay commands.
        write_out(made.markdown)
    return made.exit_status
