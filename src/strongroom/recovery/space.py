"""Whether a sandbox has room for what is to be restored into it, asked before the first byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from strongroom.model import Finding, finding
from strongroom.repository import SnapshotView
from strongroom.sources import Source

# Indexes take about as much again as the rows from which they are made.
_TIMES: Final = {"postgres": 2}


def space_lacking(parts: Iterable[tuple[Source, SnapshotView]], folder: Path) -> Finding | None:
    """The finding that the folder's file system is too full for these; None when it isn't, or the
    snapshots don't tell their sizes."""
    needed = sum(
        _TIMES.get(source.kind, 1) * (view.snapshot.size_bytes or 0) for source, view in parts
    )
    told = room_lacking(needed, folder)
    return None if told is None else finding("sandbox-space", str(folder), told)


def room_lacking(needed_bytes: int, folder: Path) -> str | None:
    """That the folder's file system, or that of where it is to be made, has less room than this;
    None when it has enough."""
    absolute = folder.absolute()
    there = next(one for one in (absolute, *absolute.parents) if one.is_dir())
    free = shutil.disk_usage(there).free
    if free >= needed_bytes:
        return None
    return f"about {needed_bytes >> 20:,} MiB are needed, {free >> 20:,} MiB are free"
