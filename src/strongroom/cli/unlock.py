"""`unlock`: locks that nobody can rely on any more are removed."""

from __future__ import annotations

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import count
from strongroom.errors import EXIT_FINE


@click.command(cls=Command, examples=("strongroom unlock", "strongroom unlock offsite --all"))
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY]...")
@click.option("--all", "everything", is_flag=True, help="Also locks that are in use: be sure.")
@click.pass_obj
def unlock(run: Run, repositories: tuple[str, ...], everything: bool) -> int:
    """Remove locks of processes that are dead, or that did not renew them for half an hour."""
    application = run.application()
    names = repositories or tuple(application.settings.repositories)
    removed = {name: application.repository(name).unlock(everything=everything) for name in names}
    lines = []
    for name, records in removed.items():
        lines.append(f"{name}: {count(len(records), 'lock')} removed")
        lines += [
            f"  {one.username}@{one.hostname} (process {one.pid}) of {one.taken_at:%Y-%m-%d %H:%M}"
            for one in records
        ]
    if any(removed.values()):
        told = {name: [one.name for one in records] for name, records in removed.items()}
        application.record("unlock", {"removed": told, "all": everything})
    document = {
        "removed": [
            {
                "repository": name,
                "host": one.hostname,
                "user": one.username,
                "process": one.pid,
                "exclusive": one.exclusive,
                "taken_at": one.taken_at.isoformat(),
            }
            for name, records in removed.items()
            for one in records
        ]
    }
    run.result(document, lines)
    return EXIT_FINE
