"""Reading a regular file of a source: content that belongs to one moment, and its node.

A file that changes while it is read is read again; one that never rests is stored as it was read
and reported. Where the content goes is the caller's matter. Only reads (invariant I7).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from strongroom.errors import SourceError
from strongroom.repository.tree import Node

_READ_BYTES: Final = 4 << 20
_ATTEMPTS: Final = 2
_OWN_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Content:
    """Stored content: the ids of its blobs in order, and its length in bytes."""

    blobs: tuple[bytes, ...]
    size: int


class Problem(NamedTuple):
    """Why a file, or a part of it, is not in the snapshot: a finding's code and message."""

    code: str
    message: str


class FileRecord(NamedTuple):
    """What became of a file. `node` is its encoded node, None when the file is not captured."""

    node: bytes | None
    size_bytes: int
    problems: tuple[Problem, ...] = ()


def read_file(
    directory: int, name: bytes, store: Callable[[int, os.stat_result], Content]
) -> FileRecord:
    """Capture the file `name` in an open directory; `store` takes its open descriptor.

    What cannot be read is told in the record; other errors of `store` pass through.
    """
    try:
        descriptor = _open(name, directory)
    except OSError as error:
        return FileRecord(None, 0, (unreadable(error),))
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return FileRecord(None, 0, (Problem("file-changed", "it is no regular file any more"),))
        problems: list[Problem] = []
        for _ in range(_ATTEMPTS):
            content = store(descriptor, before)
            after = os.fstat(descriptor)
            steady = _same_version(before, after) and content.size == after.st_size
            if steady:
                break
            before = after
            os.lseek(descriptor, 0, os.SEEK_SET)
        if not steady:
            problems.append(Problem("file-changed", "it changed each time it was read"))
        node = node_of(name, "file", after)
        node.size, node.content = content.size, content.blobs
        node.xattrs = read_xattrs(descriptor, problems)
        return FileRecord(node.encode(), content.size, tuple(problems))
    except OSError as error:
        return FileRecord(None, 0, (unreadable(error),))
    finally:
        os.close(descriptor)


def blocks_of(descriptor: int) -> Iterator[bytes]:
    """What an open file holds from here on."""
    while block := os.read(descriptor, _READ_BYTES):
        yield block


def node_of(name: bytes, node_type: str, status: os.stat_result) -> Node:
    """An entry's node without content, link target or attributes."""
    linked = status.st_nlink > 1 and node_type != "dir"
    return Node(
        name,
        node_type,
        status.st_mode,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_uid,
        status.st_gid,
        _user(status.st_uid),
        _group(status.st_gid),
        status.st_ino,
        # Only hard links need it, and it changes whenever the host's disks are counted anew.
        status.st_dev if linked else 0,
        links=0 if node_type == "dir" else status.st_nlink,
    )


def read_xattrs(target: int | bytes, problems: list[Problem]) -> dict[bytes, bytes]:
    """Extended attributes of a descriptor, or of a path without following a link at its end."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
        return {os.fsencode(one): os.getxattr(target, one, follow_symlinks=follow) for one in names}
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            reason = os.strerror(error.errno or 0)
            problems.append(Problem("file-unreadable", f"its extended attributes: {reason}"))
        return {}


def unreadable(error: OSError) -> Problem:
    """What an error says of the entry that was about to be read.

    Raises SourceError when it is this process that cannot go on: a hole in the snapshot would not
    be the entry's fault.
    """
    if error.errno in _OWN_LIMITS:
        raise SourceError(
            f"this process has run out of something: {os.strerror(error.errno or 0)}",
            code="source-failed",
            hint="Raise the limit of open files (`ulimit -n`) or free memory, then run it again.",
        ) from error
    if error.errno in (errno.ENOENT, errno.ESTALE):
        return Problem("file-vanished", "it was listed, then gone")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Problem("file-changed", "it was replaced while it was captured")
    return Problem("file-unreadable", os.strerror(error.errno or 0))


def _open(name: bytes, directory: int) -> int:
    try:
        return os.open(name, _READ_FLAGS | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Only the owner may ask for O_NOATIME.
        return os.open(name, _READ_FLAGS, dir_fd=directory)


def _same_version(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
