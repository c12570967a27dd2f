"""Who takes the connections at a URL: what was started, or somebody else of this host.

Reads /proc, as far as it may: what cannot be read is not held against anybody.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from strongroom.recovery.application_run import Served, marked
from strongroom.recovery.application_visit import port_of

__all__ = ["stranger_at"]

_LISTENING = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def stranger_at(url: str, served: Served, directory: Path) -> str:
    """Which process takes the connections there, when it belongs to none of what was started for
    this directory; empty when it does, or nobody can tell."""
    if not _is_here(urlsplit(url).hostname or ""):
        return ""
    sockets = {f"socket:[{inode}]" for inode in _listening(port_of(url))}
    owners = list(_owners(sockets)) if sockets else []
    own = {one.process for one in (served, *marked(directory))}
    if not owners or any(_is_of(process, own) for process in owners):
        return ""
    return f"{_name_of(owners[0])} (process {owners[0]})"


def _is_here(host: str) -> bool:
    """Whether an address of this name is one of this host."""
    with contextlib.suppress(OSError):
        for family, _, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind(address)
                return True
    return False


def _listening(port: int) -> Iterator[str]:
    """The inodes of the sockets that take connections at this port."""
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _owners(sockets: set[str]) -> Iterator[int]:
    """The processes that hold one of these sockets."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for one in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(one.readlink()) in sockets:
                        yield int(entry.name)
                        break


def _is_of(process: int, own: set[int]) -> bool:
    """Whether it is one of these, of the session of one, or descends from one."""
    while process > 1:
        if process in own:
            return True
        try:
            stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        fields = stat.rpartition(")")[2].split()
        if int(fields[3]) in own:
            return True
        process = int(fields[1])
    return False


def _name_of(process: int) -> str:
    try:
        return os.fsdecode(Path(f"/proc/{process}/comm").read_bytes()).strip()
    except OSError:
        return "somebody"
