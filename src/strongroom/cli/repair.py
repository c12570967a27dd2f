"""`repair`: damaged repositories made whole, and what can't be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import count, finding_lines, size

if TYPE_CHECKING:
    from strongroom.service.repairing import Repaired

_MOST_LINES: Final = 20


@click.command(
    cls=Command,
    examples=("strongroom repair --dry-run", "strongroom repair local --from offsite --drop-lost"),
)
@click.argument("repository", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option(
    "--from",
    "givers",
    multiple=True,
    metavar="REPOSITORY",
    help="Take what is lost from this one; without it, from every other that opens.",
)
@click.option("--drop-lost", is_flag=True, help="Drop from snapshots what nobody has any more.")
@click.option(
    "--read-data/--no-read-data",
    default=True,
    help="Read every pack, which is the default, or trust those of the right size.",
)
@click.pass_obj
def repair(
    run: Run,
    repository: str | None,
    dry_run: bool,
    givers: tuple[str, ...],
    drop_lost: bool,
    read_data: bool,
) -> int:
    """Make one repository, or each, whole again.

    A lost index is built anew from the packs, and what is whole in damaged packs moves into new
    ones. Blobs that are lost come from other repositories by their ids, so that snapshots and
    their proofs stay what they were. Nothing goes that is not safe elsewhere, unless you say
    --drop-lost: then snapshots lose the paths that nobody has, and are tagged `repaired`.

    Status 3 means that something is lost: copy or capture it again, or drop it.
    """
    from strongroom.service.repairing import repair as repair_all

    result = repair_all(
        run.application(),
        repository,
        dry_run=dry_run,
        givers=givers,
        drop_lost=drop_lost,
        read_data=read_data,
    )
    lines: list[str] = []
    for one in result.repositories:
        lines += finding_lines((*one.plan.findings, *one.notes), all_of_them=run.verbose)
        lines += _bounded(list(_plan_lines(one)), everything=run.verbose)
        lines += _bounded(list(_lost_lines(one)), everything=run.verbose)
        lines.append(_outcome(one))
    run.result(result.as_json(), lines)
    return result.exit_status


def _bounded(lines: list[str], *, everything: bool) -> list[str]:
    if everything or len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"  … and {len(lines) - _MOST_LINES} more; --verbose shows all"]


def _plan_lines(one: Repaired) -> Iterator[str]:
    plan = one.plan
    for name in plan.unreadable_indexes:
        yield f"  index     {name[6:18]}  cannot be read, replaced"
    for pack in plan.gone:
        yield f"  pack      {pack[:12]}  gone, taken out of the index"
    for found in plan.damaged:
        whole = f"{count(found.whole, 'blob')} whole, {found.broken} broken"
        yield f"  pack      {found.id[:12]}  damaged ({found.fault}): {whole}"
    for pack, entries in plan.listed_anew:
        yield f"  pack      {pack[:12]}  listed anew with {count(len(entries), 'blob')}"
    for pack in plan.repeated:
        yield f"  pack      {pack[:12]}  listed in several index files, now in one"
    for fetched in plan.fetched:
        yield f"  blobs     {len(fetched.locations):,} of what is lost here are in {fetched.giver}"
    for back in plan.returning:
        where = f"comes from {back.giver}" if back.giver else "is here already"
        yield f"  snapshot  {back.id[:8]}  cannot be read; its copy {where}"


def _lost_lines(one: Repaired) -> Iterator[str]:
    plan = one.plan
    for name in plan.unreadable_snapshots:
        yield f"  lost      {name[:8]}:/  the snapshot's file cannot be read, and has no copy"
    for path in plan.lost.paths:
        yield f"  lost      {path}"
    if plan.lost.count > len(plan.lost.paths):
        yield f"  lost      … {plan.lost.count:,} paths in all"
    if plan.malformed.count:
        yield f"  malformed directories, which stay as they are: {plan.malformed}"


def _outcome(one: Repaired) -> str:
    plan, done = one.plan, one.done
    lost = len(plan.unreadable_snapshots) + len(plan.lost.snapshots)
    if plan.is_empty(drop_lost=one.drop_lost) and not lost:
        return f"{one.repository}: nothing to repair in {count(plan.packs, 'pack')}"
    healed = plan.fetched_blobs if done is None else done.fetched_blobs
    moved = len(plan.moved) if done is None else done.moved_blobs
    parts = [f"{count(healed, 'blob')} healed", f"{moved:,} moved"]
    if done is not None:
        parts += [f"{size(done.added_bytes)} added", f"{count(len(done.deleted), 'pack')} removed"]
        if done.locked:
            parts.append(f"{count(len(done.locked), 'pack')} not removed: the store refused")
    if lost and one.drop_lost:
        parts.append(f"what {count(lost, 'snapshot')} lost was dropped")
    elif lost:
        parts.append(f"{count(lost, 'snapshot')} lost something: --drop-lost drops it")
    would = "would be: " if done is None else ""
    return f"{one.repository}: {would}{', '.join(parts)}"
