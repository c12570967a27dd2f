"""`schedule`: what runs by itself and when, here or by another scheduler."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import count, table
from strongroom.report.wording import age

if TYPE_CHECKING:
    from strongroom.service.other_schedulers import Units
    from strongroom.service.scheduling import NextRuns

_DEFAULT_COUNT = 10


@click.command(
    cls=Command,
    examples=("strongroom schedule -n 20", "strongroom schedule --systemd --output units"),
)
@click.option(
    "-n",
    "--count",
    "number",
    type=click.IntRange(min=1, max=1000),
    metavar="COUNT",
    help="How many runs; without it, 10.",
)
@click.option(
    "--systemd",
    is_flag=True,
    help="Write a timer and a service for each job instead, for systemd.",
)
@click.option("--cron", is_flag=True, help="Write lines of a crontab instead.")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Put the units into this folder; without it they are printed.",
)
@click.pass_obj
def schedule(run: Run, number: int | None, systemd: bool, cron: bool, output: Path | None) -> int:
    """Show the next runs of what runs by itself, and why.

    `strongroom serve` runs it. Who has a scheduler already lets that one do it: --systemd and
    --cron write what it needs.
    """
    if systemd and cron:
        raise click.UsageError("--systemd or --cron: one of these")
    if (systemd or cron) and number is not None:
        raise click.UsageError("--count is of the runs that are shown: it goes alone")
    if output is not None and not systemd:
        raise click.UsageError("--output goes with --systemd")
    if systemd or cron:
        return _write(run, output, systemd=systemd)
    from strongroom.service.scheduling import next_runs

    now = datetime.now(UTC)
    found = next_runs(run.application(), number or _DEFAULT_COUNT, now)
    run.result(found.as_json(), run_lines(found, now))
    return 0


def _write(run: Run, output: Path | None, *, systemd: bool) -> int:
    from strongroom.config import find_config, load_settings
    from strongroom.service.other_schedulers import crontab, systemd_units

    config = find_config(run.config)
    settings = load_settings(config)
    if not systemd:
        lines = crontab(settings, config)
        run.result(lines.as_json(), lines.lines)
        return 0
    # What an ordinary user has is out of root's sight, and its own ledger would be another one.
    units = systemd_units(settings, config, output, is_system=os.geteuid() == 0)
    run.result(units.as_json(), unit_lines(units))
    if output is None:
        for one in units.notes:
            run.say(one)
    return 0


def run_lines(found: NextRuns, now: datetime) -> Iterator[str]:
    """The runs as a table, then what else is to be known."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(found.time_zone)
    rows = [
        (
            f"{one.at.astimezone(zone):%a %Y-%m-%d %H:%M}",
            "now" if one.at <= now else age(one.at - now),
            one.job.name,
            one.because + (f"; waits: {one.waits}" if one.waits else ""),
        )
        for one in found.runs
    ]
    if rows:
        yield from table((f"WHEN ({found.time_zone})", "IN", "JOB", "WHY"), rows, right="IN")
    else:
        yield "Nothing runs by itself."
    yield from found.notes


def unit_lines(units: Units) -> Iterator[str]:
    """The units themselves, or which were written and what is left to do."""
    if units.output is None:
        for number, one in enumerate(units.files):
            if number:
                yield ""
            yield f"# {one.name}"
            yield from one.content.splitlines()
        return
    yield f"Wrote {count(len(units.files), 'unit')} into {units.output}"
    for name in units.stale:
        yield f"{name} is of no job any more: disable it, then remove it"
    yield from units.notes
