"""`prune`: what to keep, with reasons, and the space that the rest frees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import count, size

if TYPE_CHECKING:
    from strongroom.service.pruning import Pruned


@click.command(cls=Command, examples=("strongroom prune --dry-run", "strongroom prune local --yes"))
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY]...")
@click.option("--dry-run", is_flag=True, help="Say what would go, and why; remove nothing.")
@click.option("--yes", is_flag=True, help="Go on even when more than half of all would be dropped.")
@click.pass_obj
def prune(run: Run, repositories: tuple[str, ...], dry_run: bool, yes: bool) -> int:
    """Drop what the retention policies don't keep, then free the space.

    A source's newest snapshot and its newest proven one always stay. Nothing goes while the newest
    capture failed or is unusually small.
    """
    from strongroom.service.pruning import prune as prune_all

    result = prune_all(run.application(), repositories, dry_run=dry_run, consent=yes)
    lines: list[str] = []
    for one in result.repositories:
        lines += _lines(one, verbose=run.verbose or dry_run)
    run.result(result.as_json(), lines)
    return result.exit_status


def _lines(one: Pruned, *, verbose: bool) -> Iterator[str]:
    kept = [decision for decision in one.decisions if decision.keep]
    dropped = [decision for decision in one.decisions if not decision.keep]
    if verbose:
        for decision in one.decisions:
            word = "keep" if decision.keep else "drop"
            yield f"  {word}  {decision.id[:8]}  {'; '.join(decision.because)}"
    verb = "dropped" if one.done is not None else "would be dropped"
    freed = one.as_json()["freed_bytes"]
    yield (
        f"{one.repository}: {count(len(kept), 'snapshot')} kept, {len(dropped)} {verb}, "
        f"{size(max(freed, 0))} freed"
    )
    if one.done is not None and one.done.spared:
        yield f"  {count(len(one.done.spared), 'pack')} stayed: captures meanwhile rely on them"
    if one.done is not None and one.done.locked:
        yield f"  {count(len(one.done.locked), 'pack')} could not be removed: the store refused"
    if one.plan.young:
        yield f"  {count(len(one.plan.young), 'pack')} stayed: too young to go"
