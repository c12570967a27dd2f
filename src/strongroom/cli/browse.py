"""`ls`, `diff` and `dump`: what lies in snapshots, and what has changed."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import NOTED_REASON, STORE_AS_OF, Command
from strongroom.cli.run import Run, write_out
from strongroom.cli.text import count, plain, size, table
from strongroom.errors import ConfigError, TargetError

if TYPE_CHECKING:
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
    cls=Command, examples=("strongroom diff 1a2b3c4d 5e6f7a8b", "strongroom diff 1a2b latest:code")
)
@click.argument("before")
@click.argument("after")
@STORE_AS_OF
@click.pass_obj
def diff(run: Run, before: str, after: str) -> int:
    """Compare two snapshots.

    Each line has a sign and a path: + added, - removed, M changed content, U changed mode, owner,
    time or attributes only. BEFORE and AFTER are beginnings of ids, or `latest:SOURCE`.
    """
    from strongroom.service.comparison import diff as compare
    from strongroom.service.listing import text

    report = compare(run.application(), before, after)
    lines = [f"{_SIGNS[one.what]} {plain(text(one.path))}" for one in report.differences]
    counts = ", ".join(f"{len(report.paths(what)):,} {what}" for what in _SIGNS)
    run.result(report.as_json(), [*lines, counts])
    return 0


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
