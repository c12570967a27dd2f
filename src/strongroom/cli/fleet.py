"""`fleet`: who is there, of the services that share a state database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import clock, plain, table
from strongroom.errors import EXIT_FINE

if TYPE_CHECKING:
    from strongroom.report.fleet import Look

_HEADS = ("NAME", "ROLE", "APPLICATION", "SAYS", "LAST HEARD OF")


@click.command(cls=Command, examples=("strongroom fleet", "strongroom fleet --forget crm-2"))
@click.option(
    "--forget",
    metavar="NAME",
    help="Strike somebody off who will not come back, so that nobody is told any more that it is "
    "lost.",
)
@click.pass_obj
def fleet(run: Run, forget: str | None) -> int:
    """List the services that share this configuration's state database, as they last said.

    Exit status 0 whoever is lost: the controller's `status` and health judge that.
    """
    from strongroom.service.members import forget_member, members

    application = run.application()
    if forget is not None:
        forget_member(application, forget)
    looks = members(application)
    zone = application.settings.schedule.time_zone
    lines = (
        table(_HEADS, [_row(one, zone) for one in looks]) if looks else ["Nobody was there yet."]
    )
    if forget is not None:
        lines = [f"{plain(forget)} is forgotten.", *lines]
    document = {"members": [_json(one) for one in looks], "forgotten": forget}
    run.result(document, lines)
    return EXIT_FINE


def _row(one: Look, zone: str) -> list[str]:
    heard = "it is there" if one.is_there or one.seen_at is None else clock(one.seen_at, zone)
    says = one.verdict.value if one.verdict is not None else "-"
    return [plain(one.name), plain(one.role), plain(one.application) or "-", says, heard]


def _json(one: Look) -> dict[str, object]:
    from strongroom.report.fleet import look_json

    return look_json(one)
