"""A root directory for one server: its own files to write, programs of the host to read, no more.

Whoever may do everything in a database server may read and write files and start programs with the
rights of its process. In a cell there is nothing to read: of the host only `/usr` and what belongs
to it, no configuration, no home, no other server's socket, no process. Only the server's own
directories can be written, and nothing in them can be run or loaded as a library; there is no
shell. What it does not do: hinder signals to other processes of the same user.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from strongroom.confinement import kernel

SPACES: Final = kernel.NEW_MOUNTS | kernel.NEW_IPC | kernel.NEW_NETWORK
# What programs of a distribution need, of which no secret is one.
_SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache",
    "/etc/alternatives", "/etc/localtime", "/var/cache/postgresql", "/nix/store",
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip
_SHELLS: Final = ("/bin/sh", "/bin/bash", "/bin/dash")


def enter(root: Path, *, shown: Sequence[Path], writable: Sequence[Path]) -> None:
    """Make `root`, an empty folder, this process's root with only the system's programs, `shown`
    and `writable` in it, each under its own name. OSError when the kernel refuses.

    The process must have new mounts of its own (`kernel.separate` of `SPACES`), and has to give up
    its privileges afterwards: who has them can leave.
    """
    mask = os.umask(0o022)  # the server, another user, has to pass through these folders
    kernel.begin_mounts()
    kernel.mount_empty(root, size="16m")
    for name in _SYSTEM:
        _show(root, Path(name))
    for place in writable:
        _bind(root, place, recursive=False)
    for place in shown:
        _bind(root, place, recursive=True)
    for shell in {Path(one).resolve() for one in _SHELLS}:
        if (inside := _inside(root, shell)).is_file():
            kernel.bind(Path(os.devnull), inside)
    kernel.set_attributes(root, kernel.READ_ONLY | kernel.NO_SET_ID, recursive=True)
    for place in writable:
        inside = _inside(root, place)
        kernel.set_attributes(inside, kernel.NO_EXECUTION, clearing=kernel.READ_ONLY)
    shared = root / "dev/shm"
    kernel.mount_empty(shared, size="50%", mode="1777")
    os.umask(mask)
    os.chroot(root)
    os.chdir("/")


def _show(root: Path, place: Path) -> None:
    if place.is_symlink():
        inside = _inside(root, place)
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.symlink_to(place.readlink())
    elif place.exists():
        _bind(root, place, recursive=True)
    if place == Path("/dev/null"):
        (root / "dev/shm").mkdir(mode=0o755)


def _bind(root: Path, place: Path, *, recursive: bool) -> None:
    inside = _inside(root, place)
    if place.is_dir():
        inside.mkdir(mode=0o755, parents=True, exist_ok=True)
    else:
        inside.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            inside.touch(exist_ok=False)
    kernel.bind(place, inside, recursive=recursive)


def _inside(root: Path, place: Path) -> Path:
    return root / place.relative_to("/")
