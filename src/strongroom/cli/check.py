"""`check`: are the repositories themselves whole?"""

from __future__ import annotations

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import coloured, count, finding_lines, size, span


@click.command(cls=Command, examples=("strongroom check", "strongroom check offsite --read-data"))
@click.argument("repository", required=False)
@click.option("--read-data", is_flag=True, help="Read and verify every stored byte, too.")
@click.pass_obj
def check(run: Run, repository: str | None, read_data: bool) -> int:
    """Check the integrity of one repository, or of all.

    Without --read-data: indexes, snapshots, directories, and that every pack is there in its
    full size. It is not a proof that an application comes back; `strongroom drill` is.
    """
    from strongroom.service.inspection import check as inspect

    report = inspect(run.application(), repository, read_data=read_data)
    lines: list[str] = []
    for one in report.repositories:
        lines += finding_lines(one.findings, all_of_them=run.verbose)
        word = (
            click.style("sound", fg="green") if one.is_sound else click.style("DAMAGED", fg="red")
        )
        read = f", {size(one.bytes_read)} read and verified" if read_data else ""
        packs = count(one.packs, "pack")
        lines.append(f"{one.repository}: {word}, {packs}{read}, {span(one.seconds)}")
    lines += [f"  {coloured(one.severity.value)}  {one.message}" for one in report.notes]
    run.result(report.as_json(), lines)
    return report.exit_status
