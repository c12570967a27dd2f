"""Linux's ways to take something from a process: networks, files, privileges, endless use.

Each call acts on the calling process (threads of it must not exist) and cannot be undone by what it
starts afterwards. They need root, or a kernel that lets users make user namespaces; what is refused
raises OSError that says which call it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NEW_MOUNTS: Final = 0x00020000
NEW_IPC: Final = 0x08000000
NEW_PROCESSES: Final = 0x20000000
NEW_NETWORK: Final = 0x40000000
_NEW_USER: Final = 0x10000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
_MOUNT_SETATTR: Final = 442  # the same on every architecture that Python runs on today
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = -100, 0x8000, 1
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_IOPRIO_IDLE: Final = 3 << 13
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_LISTENING: Final = "00010000"
_NICE: Final = 10
# Where servers of the host keep their sockets, and everybody's temporary files.
_HIDDEN: Final = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108 - nothing is made there

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each that one process may use; `processes` counts those of its user on top of
    what run already."""

    memory_bytes: int = 4 << 30
    file_bytes: int = 1 << 30
    cpu_seconds: int = 600
    processes: int = 256


def _call(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


# Privileges, priority, limits


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Be sent this signal when whoever started this process is gone. Call it after a change of
    user, which forgets it."""
    _call("prctl", _libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0))


def adopt_orphans() -> None:
    """Become the parent of all below whose own parent ends, however they detach themselves."""
    _call("prctl", _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def renounce_privileges() -> None:
    """No program that is started from here on gains any: neither by set-user-id nor otherwise."""
    _call("prctl", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def lower_priority() -> None:
    """Let everybody else have processor and disk first, as far as the kernel takes it."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        _libc.syscall(number, 1, 0, _IOPRIO_IDLE)


def apply_limits(limits: Limits, running: int) -> None:
    """Bound this process and all that it starts; a bound that is lower already stays. `running`
    is how many processes its user has already."""
    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NPROC: running + limits.processes,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def processes_of(user: int) -> int:
    """How many processes and threads of a user are to be seen."""
    count = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    threads = f"{entry.path}/task"
                    count += (
                        sum(1 for _ in os.scandir(threads)) if entry.stat().st_uid == user else 0
                    )
    return count


# Networks


def separate(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones. Who isn't root gets a user namespace as
    well, in which only this very user exists."""
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        flags |= _NEW_USER
    _call("unshare", _libc.unshare(flags))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def raise_loopback() -> None:
    """Switch on 127.0.0.1, which a new network has and keeps switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("H", answer, 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


# Files


@dataclass(frozen=True, slots=True)
class View:
    """What is to be seen of the host's files: all, to be read only, but nothing of `hidden`.

    `shown` is seen even below what is hidden; only below `writable` can anything be written.
    `sockets` are files that lead to servers of the host, and lead nowhere afterwards. `replaced`
    has other files in the place of some.
    """

    shown: Sequence[Path]
    writable: Sequence[Path]
    hidden: Sequence[Path] = tuple(map(Path, _HIDDEN))
    sockets: Sequence[Path] = ()
    replaced: Mapping[Path, Path] = field(default_factory=dict)


def listening_sockets() -> list[Path]:
    """The files by which servers of this host can be reached, network or not."""
    found = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()
        for line in lines[1:]:
            words = line.split(None, 7)
            if len(words) == 8 and words[3] == _LISTENING and words[7].startswith("/"):
                found.append(Path(words[7]))
    return found


def narrow(view: View) -> None:
    """Let this process and all that it starts see the host's files as `view` says.

    It must have new mounts of its own (`separate`).
    """
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    kept = {place: os.open(place, os.O_PATH) for place in (*view.shown, *view.writable)}
    temporary = _hide(view.hidden)
    for place, descriptor in kept.items():
        place.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}", str(place), flags=_MS_BIND | _MS_REC)
        os.close(descriptor)
    for place, other in view.replaced.items():
        if place.is_file():
            _mount(str(other), str(place.resolve()), flags=_MS_BIND)
    _disconnect(view)
    _set_read_only("/", recursive=True)
    for writable in (*temporary, *map(str, view.writable)):
        _set_read_only(writable, recursive=False, wanted=False)
    _own_processes()


# Pieces of a root of one's own, see `cell`

READ_ONLY, NO_SET_ID, NO_EXECUTION = 1, 2, 8  # attributes of a mount


def begin_mounts() -> None:
    """What is mounted from here on is seen by nobody else."""
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)


def mount_empty(place: Path, *, size: str, mode: str = "755") -> None:
    """Put an empty, fleeting folder over this one."""
    flags = _MS_NOSUID | _MS_NODEV
    _mount("tmpfs", str(place), kind="tmpfs", flags=flags, data=f"size={size},mode={mode}")


def bind(what: Path, place: Path, *, recursive: bool = False) -> None:
    """Show a folder or file at another place, too."""
    _mount(str(what), str(place), flags=_MS_BIND | (_MS_REC if recursive else 0))


def set_attributes(
    place: Path, attributes: int, *, clearing: int = 0, recursive: bool = False
) -> None:
    """Set these attributes of the mount at a place, and take others from it."""
    _set_attributes(str(place), attributes, clearing, recursive=recursive)


def _hide(places: Iterable[Path]) -> list[str]:
    """Put an empty, small, fleeting folder in the place of each; returns those to be written to."""
    real = dict.fromkeys(one.resolve() for one in places if one.is_dir())
    temporary = []
    for place in real:
        open_to_all = bool(place.stat().st_mode & stat.S_ISVTX)
        mode = "1777" if open_to_all else "755"
        _mount("tmpfs", str(place), kind="tmpfs", flags=_MS_NOSUID | _MS_NODEV,
               data=f"size=64m,mode={mode}")  # fmt: skip
        if open_to_all:
            temporary.append(str(place))
    return temporary


def _disconnect(view: View) -> None:
    """Sockets of the host that are still to be seen: whoever asks there is told that it is none."""
    for one in view.sockets:
        inside = any(one.is_relative_to(place) for place in (*view.shown, *view.writable))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            if not inside and stat.S_ISSOCK(one.lstat().st_mode):
                _mount(os.devnull, str(one), flags=_MS_BIND)


def _own_processes() -> None:
    """Show only the processes of this namespace, or none: those of the host have secrets."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    try:
        _mount("proc", "/proc", kind="proc", flags=flags)
    except OSError:
        # Within a container whose own /proc is covered in part, the kernel refuses a whole one.
        _mount("tmpfs", "/proc", kind="tmpfs", flags=flags, data="size=64k,mode=755")


def _mount(what: str, place: str, *, kind: str = "none", flags: int = 0, data: str = "") -> None:
    given = [os.fsencode(text) for text in (what, place, kind)]
    _call(f"mount {place}", _libc.mount(*given, ctypes.c_ulong(flags), data.encode()))


def _set_read_only(place: str, *, recursive: bool, wanted: bool = True) -> None:
    setting, clearing = (_ATTR_RDONLY, 0) if wanted else (0, _ATTR_RDONLY)
    _set_attributes(place, setting, clearing, recursive=recursive)


def _set_attributes(place: str, setting: int, clearing: int, *, recursive: bool) -> None:
    attributes = struct.pack("QQQQ", setting, clearing, 0, 0)
    how = _AT_RECURSIVE if recursive else 0
    result = _libc.syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(place), how, attributes,
        ctypes.c_size_t(len(attributes)),
    )  # fmt: skip
    if result < 0 and ctypes.get_errno() == errno.ENOSYS:
        raise OSError(errno.ENOSYS, "mount_setattr: it takes Linux 5.12 or newer")
    _call(f"mount_setattr {place}", result)
