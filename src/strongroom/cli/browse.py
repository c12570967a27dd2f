"""`ls`, `diff` and `dump`: what lies in snapshots, and what has changed."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import NOTED_REASON, STORE_AS_OF, Command
from strongroom.cli.run import Run, write_out
from strongroom.cli.text import count, plain, size, table
from strongroom.errors import ConfigError, TargetError

if TYPE_CHECKING:
    from strongroom.postgres.table_difference import TableDifference
    from strongroom.service.listing import Line

REPOSITORY = click.option(
    "-r", "--repository", metavar="NAME", help="Look in this repository only."
)


@click.command(
    cls=Command, examples=("strongroom ls 1a2b3c4d", "strongroom ls latest:uploads /srv/tms -R")
)
@click.argument("snapshot")
@click.argument("path", default="/")
@click.option("-R", "--recursive", is_flag=True, help="Everything below, not only one level.")
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def ls(run: Run, snapshot: str, path: str, recursive: bool, repository: str | None) -> int:
    """List what lies in a snapshot.

    SNAPSHOT is the beginning of an id, or `latest:SOURCE`.
    """
    from strongroom.service.listing import ls as listing

    found = list(
        listing(run.application(), snapshot, path, recursive=recursive, repository=repository)
    )
    rows = [_row(one) for one in found]
    heads = ("MODE", "OWNER", "SIZE", "MODIFIED (UTC)", "PATH")
    lines = [*table(heads, rows, right="SIZE"), count(len(rows), "entry", "entries")]
    run.result({"entries": [one.as_json() for one in found]}, lines)
    return 0


def _row(line: Line) -> tuple[str, ...]:
    from strongroom.service.listing import modified, text

    node = line.node
    arrow = f" -> {text(node.linktarget)}" if node.linktarget is not None else ""
    return (
        stat.filemode(node.mode),
        plain(f"{node.user or node.uid}:{node.group or node.gid}"),
        size(node.size) if node.type == "file" else "-",
        f"{modified(node):%Y-%m-%d %H:%M}",
        plain(text(line.path)) + plain(arrow),
    )


_SIGNS = {"added": "+", "removed": "-", "changed": "M", "metadata": "U"}


@click.command(
    cls=Command,
    examples=(
        "strongroom diff 1a2b3c4d 5e6f7a8b",
        "strongroom diff 1a2b latest:database --table public.invoices --rows",
    ),
)
@click.argument("before")
@click.argument("after")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Of databases: this table's rows only (`schema.table`); may be repeated.",
)
@click.option("--rows", is_flag=True, help="List the rows, up to 1,000 of each kind and table.")
@click.option(
    "--files-only", is_flag=True, help="Of databases: compare what is stored, start no sandbox."
)
@STORE_AS_OF
@click.pass_obj
def diff(
    run: Run, before: str, after: str, tables: tuple[str, ...], rows: bool, files_only: bool
) -> int:
    """Compare two snapshots.

    Each line has a sign and a path: + added, - removed, M changed content, U changed mode, owner,
    time or attributes only. Of two databases, the rows of each table that were added, removed and
    changed, which takes a sandbox. BEFORE and AFTER are beginnings of ids, or `latest:SOURCE`.
    """
    from strongroom.service.comparison import diff as compare
    from strongroom.service.listing import text

    if files_only and (tables or rows):
        raise click.UsageError("--files-only compares no rows")
    report = compare(
        run.application(), before, after, tables=tables, rows=rows, files_only=files_only
    )
    lines = [f"{_SIGNS[one.what]} {plain(text(one.path))}" for one in report.differences]
    counts = ", ".join(f"{len(report.paths(what)):,} {what}" for what in _SIGNS)
    tables_lines = [] if report.tables is None else list(_table_lines(report.tables))
    run.result(report.as_json(), [*lines, counts, *tables_lines])
    return report.exit_status


def _table_lines(tables: Iterable[TableDifference]) -> Iterator[str]:
    found = list(tables)
    if not found:
        yield "All tables have the same rows."
        return
    heads = ("TABLE", "ADDED", "REMOVED", "CHANGED", "COLUMNS")
    yield from table(
        heads,
        [
            (
                plain(one.table),
                *(
                    "-" if number is None else f"{number:,}"
                    for number in (one.added, one.removed, one.changed)
                ),
                plain(" ".join(one.columns) or one.because),
            )
            for one in found
        ],
        right="ADDED REMOVED CHANGED",
    )
    for one in found:
        for row in one.rows:
            key = ", ".join(f"{name} = {value}" for name, value in row.key.items())
            yield f"{_SIGNS[row.what]} {plain(one.table)}  {plain(key)}"
            for name, (old, new) in row.columns.items():
                yield f"    {plain(name)}: {_value(old)} -> {_value(new)}"


def _value(value: str | None) -> str:
    return "NULL" if value is None else repr(value)


@click.command(
    cls=Command,
    examples=(
        "strongroom dump latest:uploads /srv/tms/uploads/lpos/LPO-17.pdf > LPO-17.pdf",
        "strongroom dump 1a2b3c4d /database/manifest.json --output manifest.json",
    ),
)
@click.argument("snapshot")
@click.argument("path")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write here, which must not exist, instead of to standard output.",
)
@NOTED_REASON
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def dump(run: Run, snapshot: str, path: str, output: Path | None, repository: str | None) -> int:
    """Print one file of a snapshot.

    SNAPSHOT is the beginning of an id, or `latest:SOURCE`.
    """
    from strongroom.service.listing import dump as content

    if output is None and run.json:
        raise ConfigError(
            "with --json standard output is for the answer",
            code="usage",
            hint="Give --output FILE.",
        )
    # Closed at once, whatever happens, so that the ledger has what was given.
    with contextlib.closing(
        content(run.application(), snapshot, path, repository=repository)
    ) as blocks:
        if output is None:
            for block in blocks:
                if not write_out(block):
                    break
            return 0
        size_bytes = _write_new(output, blocks)
    document = {"path": path, "output": str(output), "bytes": size_bytes}
    run.result(document, [f"Wrote {output} ({size(size_bytes)})."])
    return 0


def _write_new(output: Path, blocks: Iterable[bytes]) -> int:
    """Write a file that does not exist yet; it is gone again when that fails. Returns its size."""
    size_bytes = 0
    try:
        file = output.open("xb")
    except FileExistsError:
        raise TargetError("this file exists", subject=str(output)) from None
    except OSError as error:
        raise _unwritable(output, error) from error
    try:
        with file:
            for block in blocks:
                size_bytes += file.write(block)
    except BaseException as error:
        output.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(output, error) from error
        raise
    return size_bytes


def _unwritable(output: Path, error: OSError) -> TargetError:
    return TargetError(f"cannot be written: {error.strerror}", subject=str(output))
