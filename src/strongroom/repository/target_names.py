"""Which names a target's file system can hold, found out before anything is written under them.

Most hold every name that a snapshot has, and cost nothing here. Others take two names that differ
in case for one, so that the second file would be written over the first, or refuse some signs or
lengths: there each name is tried, and what cannot be made is told by its name and left out. Does
not write content.
"""

from __future__ import annotations

import contextlib
import errno
import os
import unicodedata
from typing import Final

from strongroom.model import Finding, finding
from strongroom.repository.tree import Node

__all__ = ["TargetNames"]

# Names that hold what some file system refuses: signs, a dot at the end, bytes that are no UTF-8,
# the greatest length.
_ODD_NAMES: Final = (b':?*"<>|\\', b"dot.", b"\xff\xfe", b"x" * 255)
_OF_NAMES: Final = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ})
_MOST_TOLD: Final = 1000


class TargetNames:
    """The names of one restore. For one thread. Every name can be had until something else is
    learnt, or known beforehand."""

    def __init__(
        self, target: bytes, *, folds_case: bool = False, refuses_some: bool = False
    ) -> None:
        self.findings: list[Finding] = []
        self._target = target
        self._folds_case, self._refuses_some = folds_case, refuses_some
        self._seen: dict[str, bytes] = {}
        self._lost: set[bytes] = set()

    def learn(self, probe: bytes) -> None:
        """Find out what the file system of `probe`, a path that nothing has, is like."""
        os.mkdir(probe, 0o700)
        try:
            with open(probe + b"/case", "xb"):
                pass
            self._folds_case = os.path.lexists(probe + b"/CASE")
            os.unlink(probe + b"/case")
            self._refuses_some = not all(_takes(probe + b"/" + name) for name in _ODD_NAMES)
        finally:
            os.rmdir(probe)

    def can_be(self, relative: bytes, node: Node) -> bool:
        """Whether the entry can have its name here; a finding tells when it can't."""
        if not self._folds_case and not self._refuses_some:
            return True
        if relative.rpartition(b"/")[0] in self._lost:
            return self._is_lost(relative, node, "the directory that holds it could not be made")
        if self._folds_case:
            folded = _folded(relative)
            first = self._seen.setdefault(folded, relative)
            if first != relative:
                other = first.decode("utf-8", "backslashreplace")
                return self._is_lost(
                    relative, node, f"here its name is the same as that of {other}"
                )
        if self._refuses_some:
            reason = _refusal(self._target + b"/" + relative)
            if reason:
                return self._is_lost(relative, node, f"the file system refuses its name: {reason}")
        return True

    def _is_lost(self, relative: bytes, node: Node, why: str) -> bool:
        if node.subtree is not None:
            self._lost.add(relative)
        if len(self.findings) < _MOST_TOLD:
            subject = relative.decode("utf-8", "backslashreplace")
            self.findings.append(finding("file-unmade", subject, why))
        return False


def _takes(path: bytes) -> bool:
    return not _refusal(path)


def _refusal(path: bytes) -> str:
    """Why a file cannot have this name; "" when it can, or its directory is not there yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return ""
    except FileNotFoundError:
        if os.path.isdir(os.path.dirname(path)):
            return os.strerror(errno.ENOENT)
        return _refusal_in_parent(path)
    except OSError as error:
        if error.errno in _OF_NAMES:
            return os.strerror(error.errno)
        raise
    os.close(descriptor)
    os.unlink(path)
    return ""


def _refusal_in_parent(path: bytes) -> str:
    """The same of a name whose directory is made later: tried in the next one above that is."""
    folder, _, name = path.rpartition(b"/")
    while not os.path.isdir(folder):
        folder = folder.rpartition(b"/")[0]
    with contextlib.suppress(FileExistsError):
        return _refusal(folder + b"/" + name)
    return ""


def _folded(relative: bytes) -> str:
    text = relative.decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", text).casefold()
