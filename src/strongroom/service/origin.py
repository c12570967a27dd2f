"""From where this process was started: terminal, network address, service unit, parent.

For records that are asked about long after. It is what the kernel and the environment say, so that
root can forge it, and says nothing where the system hides other processes.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_MOST_ANCESTORS: Final = 32
# They start what somebody else asked for.
_GO_BETWEENS: Final = frozenset(
    {"sudo", "su", "doas", "runuser", "env", "nice", "ionice", "timeout"}
)
_UNIX98_MAJORS: Final = range(136, 144)
_UNSET_USER: Final = 2**32 - 1


def origin() -> str:
    """A few words, such as `terminal pts/3, ssh from 203.0.113.5, login amina, started by bash`."""
    ancestors = list(_ancestors())
    terminal = _terminal(_stat(os.getpid()))
    parts = [f"terminal {terminal}" if terminal else "no terminal"]
    if address := _address(ancestors):
        parts.append(f"ssh from {address}")
    if login := _login():
        parts.append(f"login {login}")
    if unit := unit_of(_read(_PROC / "self" / "cgroup")):
        parts.append(f"unit {unit}")
    if parent := next((name for _, name in ancestors if name not in _GO_BETWEENS), ""):
        parts.append(f"started by {parent}")
    return ", ".join(parts)


def unit_of(groups: str) -> str:
    """The innermost systemd unit that a process's control groups name; empty without one."""
    for line in groups.splitlines():
        for name in reversed(line.rpartition(":")[2].split("/")):
            if name.endswith((".service", ".scope")):
                return _printable(name)
    return ""


def address_in(environment: bytes) -> str:
    """The address that SSH says the connection comes from; empty without one."""
    for variable in environment.split(b"\0"):
        name, _, given = variable.partition(b"=")
        words = given.decode("ascii", "replace").split()
        if name in (b"SSH_CONNECTION", b"SSH_CLIENT") and words:
            try:
                return str(ipaddress.ip_address(words[0]))
            except ValueError:
                continue
    return ""


def _address(ancestors: list[tuple[int, str]]) -> str:
    """Ours, or that of the nearest ancestor which may be looked at: sudo drops the variable."""
    own = b"\0".join(
        f"{name}={os.environ[name]}".encode("utf-8", "surrogateescape")
        for name in ("SSH_CONNECTION", "SSH_CLIENT")
        if name in os.environ
    )
    if found := address_in(own):
        return found
    for process, _ in ancestors:
        try:
            environment = (_PROC / str(process) / "environ").read_bytes()
        except OSError:  # another user's
            continue
        if found := address_in(environment):
            return found
    return ""


def _login() -> str:
    """Who logged in, where that is another one than who runs this: su and sudo don't change it."""
    try:
        user = int(_read(_PROC / "self" / "loginuid"))
    except ValueError:
        return ""
    if user in (_UNSET_USER, os.getuid()):
        return ""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _ancestors() -> Iterator[tuple[int, str]]:
    """The processes above this one with their names, the nearest first."""
    process = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        name, fields = _stat(process)
        if process <= 0 or not fields:
            return
        yield process, _printable(name)
        process = int(fields[1])


def _stat(process: int) -> tuple[str, list[str]]:
    """A process's name, and what the kernel tells after it: state, parent, group, session,
    terminal and so on. Nothing when it may not be looked at."""
    text = _read(_PROC / str(process) / "stat")
    before, _, after = text.rpartition(")")
    return before.partition("(")[2], after.split()


def _terminal(told: tuple[str, list[str]]) -> str:
    """The controlling terminal, which stays whatever is redirected."""
    fields = told[1]
    device = int(fields[4]) if len(fields) > 4 else 0
    if not device:
        return ""
    major, minor = os.major(device), os.minor(device)
    if major in _UNIX98_MAJORS:
        return f"pts/{(major - _UNIX98_MAJORS.start) * 256 + minor}"
    return f"tty{minor}" if major == 4 else f"{major}:{minor}"


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _printable(text: str) -> str:
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text)[:64]
