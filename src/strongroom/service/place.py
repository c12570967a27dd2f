"""Where a repository lies: on production's own host, or on another one.

Known from the configuration and the kernel's list of mounts alone: no name is resolved and nothing
is connected. So an alias in ~/.ssh/config or /etc/hosts is taken at its word. What is not known is
not taken for another host.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from strongroom.config.settings import PostgresSource, Settings
from strongroom.config.value import location_scheme
from strongroom.report.observation import Store

__all__ = ["Mount", "host_of", "is_this_host", "mounts", "store_of"]

# File systems whose bytes lie with a server.
_NETWORK: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.cephfs", "fuse.davfs2",
        "fuse.glusterfs", "fuse.mfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs",
        "lustre", "nfs", "nfs4", "smb3", "smbfs",
    }
)  # fmt: skip
_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_NO_SPACE: Final = {
    "s3": "an object store has no fixed size",
    "rest": "a REST server does not tell how much room it has",
}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, of which type, and what of (such as `nas:/backup`)."""

    point: str
    kind: str
    source: str

    @property
    def host(self) -> str | None:
        """The server that its bytes lie with; None for one of this host's own."""
        if self.kind not in _NETWORK:
            return None
        found = re.match(r"(?://)?(?:[^@/]*@)?(\[[^\]]*\]|[^:/,\\]+)", self.source)
        return found.group(1).strip("[]") if found else ""


def mounts(text: str | None = None) -> list[Mount]:
    """The mounts of this process, as the kernel lists them (proc_pid_mountinfo(5)), innermost
    last."""
    if text is None:
        try:
            text = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:  # another system
            return []
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if separator and len(fields) > 4 and len(kinds) > 1:
            found.append(Mount(_unescaped(fields[4]), kinds[0], _unescaped(kinds[1])))
    return found


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), text)


def host_of(location: str) -> str:
    """The host that a location of s3:, rest: or sftp: names; empty when it names none."""
    scheme = location_scheme(location)
    rest = location.removeprefix(f"{scheme}:")
    if scheme == "sftp" and not rest.startswith("//"):
        return rest.partition(":")[0].rpartition("@")[2]
    url = rest.removeprefix("//") if scheme == "s3" else rest
    if "://" not in url:
        url = f"//{url.removeprefix('//')}"
    return urlsplit(url).hostname or ""


def is_this_host(host: str) -> bool:
    """Whether a name or address is this host's own, as far as that shows without asking anybody.

    Where one of two names has no domain, it is that of the other: few hosts know theirs.
    """
    name, own = host.strip("[]").lower().rstrip("."), socket.gethostname().lower()
    if name in ("", "localhost", own) or name.endswith(".localhost"):
        return True
    if name == own.partition(".")[0] or name.partition(".")[0] == own:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.bind((name, 0))  # which only one's own addresses allow
        except OSError:
            return False
    return True


def store_of(settings: Settings, name: str, known: list[Mount] | None = None) -> Store:
    """What is known of a repository's store without asking it."""
    location = settings.repositories[name].location
    scheme = location_scheme(location)
    off_site, because = _off_site(settings, location, mounts() if known is None else known)
    policies = [settings.policy(source, name) for source in settings.sources]
    return Store(
        name,
        off_site,
        because,
        tells_space=scheme not in _NO_SPACE,
        no_space=_NO_SPACE.get(scheme, ""),
        policy=settings.policy_digest(name),
        keeps_all=all(one.forever for one in policies),
    )


def _off_site(settings: Settings, location: str, known: list[Mount]) -> tuple[bool | None, str]:
    scheme = location_scheme(location)
    if scheme:
        host = host_of(location)
        if not is_this_host(host):
            return True, f"on {host}"
        return _on_this_host(settings, "this host itself")
    mount = _mount_of(Path(location.removeprefix("local:")).expanduser(), known)
    host_of_mount = mount.host if mount is not None else None
    if mount is not None and host_of_mount is not None and not is_this_host(host_of_mount):
        return True, f"on a mount of {host_of_mount} ({mount.kind})"
    return _on_this_host(settings, "a disk of this host")


def _on_this_host(settings: Settings, where: str) -> tuple[bool | None, str]:
    here = _production_is_here(settings)
    if here is None:
        return None, f"on {where}, and nobody knows where the database is"
    if here:
        return False, f"on {where}, as production is"
    return True, f"on {where}, and production is on another one"


def _production_is_here(settings: Settings) -> bool | None:
    """Whether something that is protected lies on this host; None when nobody knows."""
    hosts = []
    for one in settings.sources.values():
        if not isinstance(one, PostgresSource):
            return True
        hosts.append(_database_host(one.url))
    if any(host is not None and is_this_host(host) for host in hosts):
        return True
    return None if None in hosts else False


def _database_host(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The host of a database's URL, empty for a socket; None where it can't be seen without
    running or reading something."""
    if url.startswith("env:"):
        url = environment.get(url.removeprefix("env:"), "")
    if "://" not in url:
        return None
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", [""])[0]
    return "" if host.startswith("/") else host


def _mount_of(place: Path, known: list[Mount]) -> Mount | None:
    """The mount that a path lies on; the innermost, and of several at one point the last."""
    path = os.path.realpath(place)
    found = None
    for one in known:
        inside = one.point == "/" or path == one.point or path.startswith(f"{one.point}/")
        if inside and (found is None or len(one.point) >= len(found.point)):
            found = one
    return found
