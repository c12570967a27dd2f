"""Declared untracked files: configuration that belongs to the application but not to Git.

A file that matches a pattern is captured when Git does not have it as it is: untracked, ignored,
or tracked and changed by hand. Files that HEAD holds byte for byte are in the bundle already.
What looks like a secret is refused before anything is stored, unless it is listed by name.

Directories are opened one by one without following links, so that one swapped for a link leads
nowhere. Capture only reads (invariant I7). Files are read twice: once to look for secrets, once
to be stored; both must have seen the same bytes.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pathspec import GitIgnoreSpec

from strongroom.errors import SourceError
from strongroom.model import Finding, finding
from strongroom.repository import FILES, Folder, Node, SnapshotWriter
from strongroom.sources.code_git import Git
from strongroom.sources.code_secrets import content_kinds, name_kind

_READ_BYTES: Final = 1 << 20
_LONGEST_LINE: Final = 64 << 10
_ATTEMPTS: Final = 2
_UNOPENED: Final = re.compile(rb"could not open directory '(.*)': (.*)")
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """What the checked-out commit holds at a path: git's mode and the object's id."""

    mode: str
    object: str


def head_entries(git: Git, commit: str | None) -> dict[bytes, HeadEntry]:
    """Everything in a commit's tree by path; nothing before the first commit."""
    if commit is None:
        return {}
    entries = {}
    for line in git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
        fields, tab, path = line.partition(b"\t")
        if tab:
            mode, _, object_id = fields.decode("ascii").split(" ")
            entries[path] = HeadEntry(mode, object_id)
    return entries


@dataclass(slots=True)
class Untracked:
    """What was captured: entries for the manifest, paths, total size, and what was noticed."""

    entries: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON
    size_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def paths(self) -> frozenset[bytes]:
        return frozenset(os.fsencode(entry["path"]) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as one reading saw it."""

    status: os.stat_result
    sha256: str
    as_blob: str
    kinds: tuple[str, ...] = ()


def capture_untracked(
    git: Git,
    work_tree: Path,
    head: dict[bytes, HeadEntry],
    writer: SnapshotWriter,
    folder: Folder,
    base: bytes,
    *,
    patterns: Sequence[str],
    allow_secrets: Sequence[str],
) -> Untracked:
    """Put the declared files below `base` of the folder, `base` itself being the work tree.

    SourceError `secret-in-code` names every file that looks like a secret, and stores nothing.
    """
    descriptor = os.open(work_tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        run = _Capture(git, descriptor, head, writer, folder, base)
        top = _node(b"", os.fstat(descriptor))
        run.everything(patterns, frozenset(allow_secrets))
        if not run.result.entries:
            top.subtree = writer.put_folder([])
        folder.add_node(base, top)
        return run.result
    finally:
        os.close(descriptor)


class _Capture:
    def __init__(
        self,
        git: Git,
        root: int,
        head: dict[bytes, HeadEntry],
        writer: SnapshotWriter,
        folder: Folder,
        base: bytes,
    ) -> None:
        self.result = Untracked()
        self._git = git
        self._root = root
        self._head = head
        self._writer = writer
        self._folder = folder
        self._base = base
        self._algorithm = git.text("rev-parse", "--show-object-format")
        self._directories: set[bytes] = set()

    def everything(self, patterns: Sequence[str], allow: frozenset[str]) -> None:
        if not patterns:
            return
        seen = self._examine_all(self._matching(patterns), allow)
        kept = frozenset(seen)
        for path, before in sorted(seen.items()):
            self._store(path, before, allow, kept)

    # Which files

    def _matching(self, patterns: Sequence[str]) -> list[bytes]:
        listed = self._listed_others()
        tracked = self._git.run("ls-files", "-z", "--cached").split(b"\0")
        wanted = GitIgnoreSpec.from_lines(patterns)
        chosen = []
        for path in sorted({*listed, *tracked, *self._head} - {b""}):
            if not wanted.match_file(os.fsdecode(path)):
                continue
            if path.endswith(b"/"):
                self._note("coverage-gap", path, "a repository of its own is not captured with it")
            else:
                chosen.append(path)
        self._note_unmatched(patterns, [os.fsdecode(path) for path in chosen])
        return chosen

    def _listed_others(self) -> list[bytes]:
        """Everything that is not tracked; a directory that git cannot open is only a warning to
        it, so what lies in there would be missing silently."""
        outcome = self._git.try_run("ls-files", "-z", "--others")
        if outcome.status:
            raise SourceError(f"git ls-files: {outcome.complaint}", subject=self._git.subject)
        for path, reason in _UNOPENED.findall(outcome.errors):
            self._note("file-unreadable", path, os.fsdecode(reason))
        return outcome.output.split(b"\0")

    def _note_unmatched(self, patterns: Sequence[str], chosen: list[str]) -> None:
        for pattern in patterns:
            if pattern.startswith(("!", "#")) or not pattern.strip():
                continue
            if not any(GitIgnoreSpec.from_lines([pattern]).match_files(chosen)):
                message = "the declared pattern matches no file"
                self.result.findings.append(finding("code-untracked-missing", pattern, message))

    # First reading

    def _examine_all(self, paths: list[bytes], allow: frozenset[str]) -> dict[bytes, _Seen]:
        seen: dict[bytes, _Seen] = {}
        secrets: dict[str, tuple[str, ...]] = {}
        for path in paths:
            one = self._examine(path, allow)
            if one is None or self._as_committed(path, one):
                continue
            seen[path] = one
            if one.kinds:
                secrets[_shown(path)] = one.kinds
        if secrets:
            self._refuse(secrets)
        return seen

    def _examine(self, path: bytes, allow: frozenset[str]) -> _Seen | None:
        """The file as it is now; None, with a finding, when there is nothing to capture."""
        try:
            with open_parent(self._root, path) as (parent, name):
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    target = os.readlink(name, dir_fd=parent)
                    return _Seen(status, _sha256(target), self._blob_id(target))
                if not stat.S_ISREG(status.st_mode):
                    self._note("file-skipped", path, "it is neither a file nor a link")
                    return None
                descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
        except OSError as error:
            self._unreadable(path, error)
            return None
        with os.fdopen(descriptor, "rb") as file:
            try:
                return self._read(path, file.fileno(), allow)
            except OSError as error:
                self._unreadable(path, error)
                return None

    def _read(self, path: bytes, descriptor: int, allow: frozenset[str]) -> _Seen:
        status = os.fstat(descriptor)
        content_hash = hashlib.sha256()
        blob_hash = hashlib.new(self._algorithm, b"blob %d\0" % status.st_size)
        while block := os.read(descriptor, _READ_BYTES):
            content_hash.update(block)
            blob_hash.update(block)
        text = os.fsdecode(path)
        kinds: list[str] = []
        as_committed = self._head.get(path) == self._head_entry(status, blob_hash.hexdigest())
        if text not in allow and not as_committed:
            kinds = [kind] if (kind := name_kind(text)) else []
            os.lseek(descriptor, 0, os.SEEK_SET)
            kinds += content_kinds(text, _lines(descriptor))
        return _Seen(status, content_hash.hexdigest(), blob_hash.hexdigest(), tuple(kinds))

    def _as_committed(self, path: bytes, seen: _Seen) -> bool:
        return self._head.get(path) == self._head_entry(seen.status, seen.as_blob)

    def _head_entry(self, status: os.stat_result, object_id: str) -> HeadEntry:
        if stat.S_ISLNK(status.st_mode):
            return HeadEntry("120000", object_id)
        return HeadEntry("100755" if status.st_mode & stat.S_IXUSR else "100644", object_id)

    def _blob_id(self, content: bytes) -> str:
        return hashlib.new(self._algorithm, b"blob %d\0" % len(content) + content).hexdigest()

    def _refuse(self, secrets: dict[str, tuple[str, ...]]) -> None:
        listed = "; ".join(f"{path}: {', '.join(kinds)}" for path, kinds in secrets.items())
        names = ", ".join(f'"{path}"' for path in secrets)
        raise SourceError(
            f"declared files look like secrets: {listed}",
            subject=self._git.subject,
            code="secret-in-code",
            hint=f"Remove them from `untracked`, or set `allow_secrets: [{names}]`.",
        )

    # Second reading

    def _store(
        self, path: bytes, before: _Seen, allow: frozenset[str], kept: frozenset[bytes]
    ) -> None:
        for _ in range(_ATTEMPTS):
            try:
                stored_sha256 = self._put(path, before)
            except OSError as error:
                self._unreadable(path, error)
                return
            if stored_sha256 == before.sha256:
                break
            again = self._examine(path, allow)
            if again is None:
                return
            if again.kinds:
                self._refuse({_shown(path): again.kinds})
            before = again
        else:
            self._note("file-changed", path, "it kept changing while it was read")
        self._put_directories(path)
        status = before.status
        if stat.S_ISLNK(status.st_mode):
            self._note_outward_link(path, kept)
        self.result.size_bytes += status.st_size
        self.result.entries.append(
            {
                "path": os.fsdecode(path),
                "type": "symlink" if stat.S_ISLNK(status.st_mode) else "file",
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                "size_bytes": status.st_size,
                "sha256": stored_sha256,
            }
        )

    def _put(self, path: bytes, seen: _Seen) -> str:
        """Store what stands there now; returns its SHA-256 in hex."""
        with open_parent(self._root, path) as (parent, name):
            if stat.S_ISLNK(seen.status.st_mode):
                node = _node(name, seen.status)
                node.linktarget = os.readlink(name, dir_fd=parent)
                self._folder.add_node(self._base + b"/" + path, node)
                return _sha256(node.linktarget)
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
        content_hash = hashlib.sha256()

        def blocks() -> Iterator[bytes]:
            while block := os.read(descriptor, _READ_BYTES):
                content_hash.update(block)
                yield block

        try:
            node = _node(name, os.fstat(descriptor))
            content = self._writer.put_stream(blocks(), FILES)
        finally:
            os.close(descriptor)
        node.content, node.size = content.blobs, content.size
        self._folder.add_node(self._base + b"/" + path, node)
        return content_hash.hexdigest()

    def _put_directories(self, path: bytes) -> None:
        above = path.rpartition(b"/")[0]
        while above and above not in self._directories:
            self._directories.add(above)
            with open_parent(self._root, above) as (parent, name):
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            self._folder.add_node(self._base + b"/" + above, _node(name, status))
            above = above.rpartition(b"/")[0]

    # What was noticed

    def _note_outward_link(self, path: bytes, kept: frozenset[bytes]) -> None:
        with open_parent(self._root, path) as (parent, name):
            target = os.readlink(name, dir_fd=parent)
        above, slash, _ = path.rpartition(b"/")
        resolved = os.path.normpath(target if target[:1] == b"/" else above + slash + target)
        if resolved not in kept and resolved not in self._head:
            self._note(
                "coverage-gap",
                path,
                f"the link is captured, what it leads to is not: {_shown(target)}",
            )

    def _unreadable(self, path: bytes, error: OSError) -> None:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            if path not in self._head:  # else it is an uncommitted deletion, reported as such
                self._note("file-vanished", path, "it was listed, then gone")
            return
        self._note("file-unreadable", path, os.strerror(error.errno or 0))

    def _note(self, code: str, path: bytes, message: str) -> None:
        self.result.findings.append(finding(code, _shown(path), message))


@contextmanager
def open_parent(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """The descriptor of a path's directory, reached without following any link, and its name."""
    *directories, name = path.split(b"/")
    descriptor = os.dup(root)
    try:
        for directory in directories:
            inner = os.open(directory, _DIRECTORY_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, name
    finally:
        os.close(descriptor)


def _lines(descriptor: int) -> Iterator[bytes]:
    with open(descriptor, "rb", closefd=False) as file:
        while line := file.readline(_LONGEST_LINE):
            yield line


def _node(name: bytes, status: os.stat_result) -> Node:
    """A node without inode and link count: hard links are not part of a checkout."""
    mode = status.st_mode
    node_type = "symlink" if stat.S_ISLNK(mode) else "dir" if stat.S_ISDIR(mode) else "file"
    node = Node(
        name,
        node_type,
        mode,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
        links=0 if node_type == "dir" else 1,
    )
    try:
        node.user = pwd.getpwuid(status.st_uid).pw_name
        node.group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return node
    return node


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
