"""How the preview of a restore looks to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.cli.text import age, clock, count, finding_lines, plain, size

if TYPE_CHECKING:
    from strongroom.service.application import Application
    from strongroom.service.preview import Preview
    from strongroom.sources.difference import Differences, Group

_MOST_SHOWN: Final = 5


def preview_lines(application: Application, planned: Preview, *, verbose: bool) -> Iterator[str]:
    """Which snapshot and how old, what would be created, changed and taken away, and what stands
    in the way. More names are shown with `verbose`."""
    zone = application.settings.schedule.time_zone
    free = f", {size(planned.free_bytes)} free there" if planned.free_bytes is not None else ""
    yield (
        f"Would restore {planned.source} from snapshot {planned.snapshot[:8]} "
        f"({planned.repository}, {clock(planned.captured_at, zone)} {zone}, "
        f"{age(planned.age)} old)"
    )
    yield f"  {size(planned.size_bytes)} to {planned.target}{free}"
    if planned.changes is not None:
        yield from _change_lines(planned.changes, replaces=planned.replaces, verbose=verbose)
    yield from finding_lines(planned.findings, all_of_them=True)
    if planned.obstacle is None:
        yield "Nothing stands in the way. Nothing was written."
    else:
        yield f"It would be refused: {planned.obstacle}"
        yield f"  {planned.obstacle.hint}"


def _change_lines(changes: Differences, *, replaces: bool, verbose: bool) -> Iterator[str]:
    yield from _group("create", changes.created, verbose=verbose)
    yield from _group("change", changes.changed, verbose=verbose)
    taken = "take away, and keep beside," if replaces else "not have"
    yield from _group(taken, changes.deleted, verbose=verbose)
    if changes.same and changes.tables:
        yield (
            f"  of {count(changes.same, 'table')} the name and the estimated number of rows are as "
            "captured; what the rows hold was not compared"
        )
    elif changes.same:
        yield f"  leave {count(changes.same, 'entry', 'entries')} as captured"
    yield f"  compared: {changes.compared}"
    if verbose:
        for name, (rows, there) in changes.tables.items():
            yield f"    {plain(name)}: {_rows(rows)} captured, {_rows(there)} there"


def _group(what: str, group: Group, *, verbose: bool) -> Iterator[str]:
    if not group.count:
        return
    shown = group.first if verbose else group.first[:_MOST_SHOWN]
    more = group.count - len(shown)
    yield f"  {what} {count(group.count, 'entry', 'entries')}, {size(group.size_bytes)}:"
    for name in shown:
        yield f"    {plain(name)}"
    if more:
        yield f"    … and {more:,} more"


def _rows(number: int | None) -> str:
    return "no table" if number is None else count(number, "row")
