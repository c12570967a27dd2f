"""`check`: are the repositories themselves whole?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli.command import STORE_AS_OF, Command
from strongroom.cli.run import Run, error_lines
from strongroom.cli.text import coloured, count, finding_lines, hint_lines, size, span

if TYPE_CHECKING:
    from strongroom.plan.rereading import Amount
    from strongroom.service.inspection import Checked

_READ = "--read-data"


class _Check(Command):
    """`--read-data` alone means all of it; an amount follows after `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        given = [f"{_READ}=100%" if one == _READ else one for one in args[:end]]
        return super().parse_args(ctx, [*given, *args[end:]])


class _Subset(click.ParamType["Amount"]):
    name = "subset"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> Amount:
        from strongroom.plan.rereading import parse_amount

        try:
            return parse_amount(str(given))
        except ValueError as error:
            self.fail(str(error), parameter, context)


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> timedelta:
        from strongroom.config.value import parse_duration

        try:
            return parse_duration(str(given))
        except ValueError as error:
            self.fail(str(error), parameter, context)


@click.command(
    cls=_Check,
    follows="check",
    examples=("strongroom check", "strongroom check offsite --read-data=10% --max-age 30d"),
)
@click.argument("repository", required=False)
@click.option(
    _READ,
    "amount",
    type=_Subset(),
    metavar="[=SUBSET]",
    help="Read and verify stored bytes, too: all, or =10%, =5GiB, longest unread first.",
)
@click.option(
    "--max-age",
    type=_Duration(),
    metavar="DURATION",
    help="Read only what was not read for so long, such as 30d.",
)
@click.option(
    "--max-duration",
    type=_Duration(),
    metavar="DURATION",
    help="Begin to read nothing more after so long, such as 20m.",
)
@STORE_AS_OF
@click.pass_obj
def check(
    run: Run,
    repository: str | None,
    amount: Amount | None,
    max_age: timedelta | None,
    max_duration: timedelta | None,
) -> int:
    """Check the integrity of one repository, or of all.

    Without --read-data: indexes, snapshots, directories, and that every pack is there in its
    full size. Of every damage it tells which snapshots and paths it touches. What was read is
    remembered, so that a part each day comes to all of it. A repository that is away does not
    keep the others from being checked; the exit status is its error's. It is not a proof that an
    application comes back; `strongroom drill` is.
    """
    from strongroom.plan.rereading import EVERYTHING
    from strongroom.service.inspection import Reading
    from strongroom.service.inspection import check as inspect

    reading = None
    if amount is not None or max_age is not None or max_duration is not None:
        reading = Reading(replace(amount or EVERYTHING, older_than=max_age), max_duration)
    report = inspect(run.application(), repository, reading=reading)
    lines: list[str] = []
    for one in report.repositories:
        lines += finding_lines(one.findings, all_of_them=run.verbose)
        lines += hint_lines(one.findings)
        lines.append(_line(one, with_data=reading is not None))
    lines += [f"  {coloured(one.severity.value)}  {one.message}" for one in report.notes]
    for _, error in report.errors:
        lines += error_lines(error)
    run.result(report.as_json(), lines)
    return report.exit_status


def _line(one: Checked, *, with_data: bool) -> str:
    word = click.style("sound", fg="green") if one.is_sound else click.style("DAMAGED", fg="red")
    read = f", {size(one.bytes_read)} read and verified" if with_data else ""
    if one.never_read_bytes:
        read += f", {size(one.never_read_bytes)} never read since captured"
    return f"{one.repository}: {word}, {count(one.packs, 'pack')}{read}, {span(one.seconds)}"
