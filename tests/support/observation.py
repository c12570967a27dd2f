"""What the kernel says: which files were opened, who may read what, and how full a disk is.

The tests that use these need root, as restoring owners does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_IN_OPEN = 0x20
_IN_ISDIR = 0x40000000
_EVENT = struct.Struct("iIII")
NOBODY = 65534


@contextlib.contextmanager
def opened_files(root: Path) -> Iterator[list[str]]:
    """Collects, when the context ends, the names of the files below `root` that anybody opened."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    folders = {}
    opened: list[str] = []
    try:
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            watch = library.inotify_add_watch(descriptor, os.fsencode(folder), _IN_OPEN)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            folders[watch] = folder.relative_to(root)
        yield opened
        with contextlib.suppress(BlockingIOError):
            while events := os.read(descriptor, 1 << 16):
                while events:
                    watch, mask, _, length = _EVENT.unpack_from(events)
                    name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                    if not mask & _IN_ISDIR:
                        opened.append(str(folders[watch] / os.fsdecode(name)))
                    events = events[_EVENT.size + length :]
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """This process, threads included, without root's powers; what it needs must be imported."""
    assert os.geteuid() == 0, "run the tests as root: they restore owners and make devices"
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that nobody owns, reachable without root's powers."""
    with tempfile.TemporaryDirectory(prefix="strongroom-open-") as made:
        os.chown(made, NOBODY, NOBODY)
        yield Path(made)


@contextlib.contextmanager
def small_disk(size_bytes: int, *, options: str = "") -> Iterator[Path]:
    """A file system of its own with so much space, unmounted at the end."""
    with tempfile.TemporaryDirectory(prefix="strongroom-disk-") as made:
        settings = f"size={size_bytes},mode=700{options and ',' + options}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", settings, "tmpfs", made], check=True)
        try:
            yield Path(made)
        finally:
            subprocess.run(["umount", made], check=True)
