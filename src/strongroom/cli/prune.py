"""`prune`: what to keep, with reasons, and the space that the rest frees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run, error_lines
from strongroom.cli.text import clock, count, finding_lines, size

if TYPE_CHECKING:
    from strongroom.service.pruning import Pruned


@click.command(
    cls=Command,
    follows="prune",
    examples=("strongroom prune --dry-run", "strongroom prune local --yes"),
)
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY]...")
@click.option("--dry-run", is_flag=True, help="Say what would go, and why; remove nothing.")
@click.option("--yes", is_flag=True, help="Go on even when a new policy drops most.")
@click.pass_obj
def prune(run: Run, repositories: tuple[str, ...], dry_run: bool, yes: bool) -> int:
    """Drop what the retention policies don't keep, then free the space.

    A source's newest snapshot and its newest proven one always stay. Nothing goes while the newest
    capture failed or is unusually small. Where objects are locked, the locks of all that stays are
    renewed.

    What a policy drops day by day needs no --yes. More than half at once does: of what was captured
    before the policy was the present one, until a first prune by it has ended; later, when less
    than half of what the last one left would stay.
    """
    from strongroom.service.pruning import prune as prune_all

    application = run.application()
    result = prune_all(application, repositories, dry_run=dry_run, consent=yes)
    zone = application.settings.schedule.time_zone
    lines: list[str] = []
    for one in result.repositories:
        lines += _lines(one, zone, verbose=run.verbose or dry_run)
    for _, error in result.errors:
        lines += error_lines(error)
    run.result(result.as_json(), lines)
    return result.exit_status


def _lines(one: Pruned, zone: str, *, verbose: bool) -> Iterator[str]:
    kept = [decision for decision in one.captures if decision.keep]
    dropped = [decision for decision in one.captures if not decision.keep]
    if verbose:
        for decision in one.decisions:
            word = "keep" if decision.keep else "drop"
            yield f"  {word}  {decision.id[:8]}  {'; '.join(decision.because)}"
    verb = "would be dropped" if one.done is None else "dropped"
    done = None if one.done is None else {*one.done.dropped}
    gone = sum(done is None or decision.id in done for decision in dropped)
    yield (
        f"{one.repository}: {count(len(kept), 'snapshot')} kept, {gone} {verb}, "
        f"{size(max(one.freed_bytes, 0))} freed"
    )
    yield from _left_lines(one, zone)
    if one.plan.young:
        yield f"  {count(len(one.plan.young), 'pack')} stayed: too young to go"
    if one.renewal is not None:
        until = one.renewal.locked_until
        ends = f"; all that stays is locked until {clock(until, zone)} {zone}" if until else ""
        yield f"  {count(one.renewal.renewed, 'lock')} of {one.renewal.asked} renewed{ends}"
    yield from finding_lines(one.notes, all_of_them=True)


def _left_lines(one: Pruned, zone: str) -> Iterator[str]:
    """What goes and yet takes space, and what does not go."""
    if one.hidden_bytes:
        yield (
            f"  {size(one.hidden_bytes)} hidden, not freed: the store keeps versions until its own "
            "rules end them"
        )
    if one.unknown_bytes:
        yield (
            f"  {size(one.unknown_bytes)} removed: whether the store keeps versions of it "
            "may not be asked"
        )
    if one.done is None:
        return
    if one.done.locked_until is not None:
        yield f"  locked, the last of it until {clock(one.done.locked_until, zone)} {zone}"
    if one.done.spared:
        yield f"  {count(len(one.done.spared), 'pack')} stayed: snapshots that are there need them"
    if one.done.locked:
        yield f"  {count(len(one.done.locked), 'file')} could not be removed: the store refused"
