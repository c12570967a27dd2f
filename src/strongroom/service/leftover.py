"""What drills left behind because their process was killed: found, and removed on request.

A sandbox folder carries its process's id in its name; only those of processes that are gone are
leftovers.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from strongroom.errors import ConfigError
from strongroom.service.application import Application, make_private

_PREFIX = "drill-"


@contextlib.contextmanager
def sandbox(application: Application) -> Iterator[Path]:
    """A folder for one drill, gone in the end; its name says whose it is."""
    parent = make_private(application.sandbox_folder())
    folder = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_leftovers(application: Application) -> list[Path]:
    """Sandboxes whose process is gone."""
    try:
        parent = application.state / "sandbox"
    except ConfigError:
        return []
    if not parent.is_dir():
        return []
    return [one for one in sorted(parent.iterdir()) if _is_orphaned(one)]


def remove_leftovers(application: Application) -> list[Path]:
    """Remove them, clusters of ours included; returns what was removed."""
    from strongroom.postgres import cluster

    removed = cluster.remove_leftovers()
    for one in find_leftovers(application):
        cluster.remove_leftovers(one)  # stops a server that still runs in there
        shutil.rmtree(one, ignore_errors=True)
        removed.append(one)
    return removed


def _is_orphaned(folder: Path) -> bool:
    owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
    if not folder.name.startswith(_PREFIX) or not owner.isdigit():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
