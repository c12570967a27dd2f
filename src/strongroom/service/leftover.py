"""Where drills work, and what they left behind because their process was killed.

A sandbox folder carries its process's id in its name; only those of processes that are gone are
leftovers, and they are removed on request.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strongroom.errors import ConfigError
from strongroom.recovery.application_ground import MARK
from strongroom.service.application import Application

_PREFIX: Final = "strongroom-drill-"
_OUTSIDE: Final = Path("/var/tmp")  # noqa: S108 - sticky, and each folder in it is made anew


@contextlib.contextmanager
def sandbox(application: Application) -> Iterator[Path]:
    """A folder for one drill, gone in the end; its name says whose it is."""
    folder = _parent(application) / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parent(application: Application) -> Path:
    """The state folder's, unless we are root and another user, as whom a sandbox's server has to
    run, cannot get there."""
    inside = application.sandbox_folder()
    reachable = all(one.stat().st_mode & stat.S_IXOTH for one in inside.resolve().parents)
    return inside if reachable or os.geteuid() != 0 else _OUTSIDE


def find_leftovers(application: Application) -> list[Path]:
    """Sandboxes whose process is gone."""
    places = [_OUTSIDE]
    with contextlib.suppress(ConfigError):  # the state is elsewhere; its own check tells
        places.append(application.state / "sandbox")
    found = [one for place in places if place.is_dir() for one in sorted(place.iterdir())]
    return [one for one in found if _is_orphaned(one)]


def remove_leftovers(application: Application) -> list[Path]:
    """Remove them, clusters of ours included; returns what was removed."""
    from strongroom.postgres import cluster

    removed = cluster.remove_leftovers()
    for one in find_leftovers(application):
        cluster.remove_leftovers(one)  # stops a server that still runs in there
        _end_programs(one)
        shutil.rmtree(one, ignore_errors=True)
        removed.append(one)
    return removed


def _end_programs(folder: Path) -> None:
    """Kill what an application that was drilled in there has left running, on a host that could
    not shut it in; its environment names the folder."""
    mark = f"{MARK}={folder}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, ValueError):
            if mark in place.read_bytes().split(b"\0"):
                os.kill(int(place.parent.name), signal.SIGKILL)


def _is_orphaned(folder: Path) -> bool:
    owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
    if not folder.name.startswith(_PREFIX) or not owner.isdigit():
        return False
    if folder.lstat().st_uid != os.geteuid():  # in a place where others can write, too
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
