"""Is a directory on disk identical to a snapshot's tree? The proof for files (invariant I1).

Identity is names, types, modes, owners, modification times, sizes, extended attributes, link
structure and bytes; never inode, device, change or access time. Content is read, cut at the
recorded blob lengths and hashed: no chunker and no second copy is needed, and a difference is
told with its place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.errors import TargetError
from strongroom.model import Digests, Finding, SetDigest, Stage, finding
from strongroom.repository import BlobType, Node, SnapshotView
from strongroom.repository.tree import NODE_TYPES
from strongroom.sources.protocol import Proof

_BATCH_BYTES: Final = 4 << 20
_BATCH_FILES: Final = 64
_MOST_FINDINGS: Final = 1000
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a capture passes over, so that the live source may hold it: what `excluded` says of a
    relative path and whether it is a directory, what is mounted in the tree, and sockets."""

    excluded: Callable[[bytes, bool], bool] | None = None
    mounts: bool = False


def compare_tree(
    view: SnapshotView,
    path: bytes,
    target: Path,
    *,
    include: frozenset[bytes] | None = None,
    left_out: LeftOut | None = None,
    owner: tuple[int, int] | None = None,
    workers: int = 2,
) -> Proof:
    """Compare the directory `path` of a snapshot with `target`; `checked` counts entries.

    With `include`, only these relative paths are expected (a partial restore). `left_out` is for
    the live source only: in a copy, whatever is not in the snapshot is too much. `owner` is whose
    all is to be, instead of the recorded ones. A target that is
    a link to a directory is that directory, as it is for a capture.
    """
    begun = time.monotonic()
    comparison = _Comparison(view, os.fsencode(os.path.realpath(target)), left_out, workers)
    comparison.new_owner = owner
    if not os.path.isdir(target):
        raise TargetError("there is no such directory", subject=str(target))
    comparison.run(path, include)
    stage = Stage("compare files", time.monotonic() - begun)
    findings = sorted(comparison.findings, key=lambda one: (one.subject, one.code))
    digests = comparison.digests() if include is None else None
    return Proof(comparison.checked, tuple(findings), (stage,), digests)


class _Comparison:
    def __init__(
        self, view: SnapshotView, target: bytes, left_out: LeftOut | None, workers: int
    ) -> None:
        self.findings: list[Finding] = []
        self.checked = 0
        self.new_owner: tuple[int, int] | None = None
        self._view = view
        self._target = target
        self._left_out = left_out
        self._passed: list[bytes] = []
        self._workers = workers
        self._guard = threading.Lock()
        self._me = (os.geteuid(), os.getegid()) if os.geteuid() else (-1, -1)
        self._own = 0
        self._expected_links: dict[tuple[int, int], list[bytes]] = {}
        self._observed_links: dict[tuple[int, int], list[bytes]] = {}
        self._expected, self._observed = SetDigest(), SetDigest()
        self._captured_links: dict[tuple[int, int], list[bytes]] = {}

    def run(self, path: bytes, include: frozenset[bytes] | None) -> None:
        top = self._view.node(path)
        if top.name and include is None:
            self._expect(b".", top)
            self._compare_metadata(b".", top, os.lstat(self._target), self._target)
            self.checked += 1
        with ThreadPoolExecutor(self._workers, thread_name_prefix="compare") as pool:
            waiting: set[Future[None]] = set()
            for batch in self._batches(top, include):
                waiting.add(pool.submit(self._compare_batch, batch))
                if len(waiting) > 2 * self._workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            for future in waiting:
                future.result()
        self._compare_links()
        if self._passed:
            message = f"{len(self._passed)} entries that the capture leaves out, this one for one"
            self._note("tree-left-out", min(self._passed), message)
        if self._own:
            message = f"{self._own} entries belong to this user, and to others in the snapshot"
            self._note("tree-unchecked", b"owners", message)

    def _batches(
        self, top: Node, include: frozenset[bytes] | None
    ) -> Iterator[list[tuple[bytes, Node]]]:
        """Files whose content is to be compared; everything else is compared on the way."""
        batch: list[tuple[bytes, Node]] = []
        size = 0
        stack = [(b"", top, False)]
        device = os.stat(self._target).st_dev
        while stack:
            prefix, directory, is_mounted = stack.pop()
            assert directory.subtree is not None
            nodes = self._view.repository.read_tree(directory.subtree)
            observed = self._listed(prefix)
            for node in nodes:
                relative = prefix + node.name
                status = observed.pop(node.name, None)
                if include is not None and node.subtree is None and relative not in include:
                    continue
                self._expect(relative, node)
                if status is None:
                    self._take_missing(relative, node, is_partial=include is not None)
                    continue
                self.checked += 1
                if include is None or node.subtree is None:
                    same_type = self._compare_entry(relative, node, status)
                else:
                    same_type = stat.S_ISDIR(status.st_mode)
                if node.subtree is not None:
                    if same_type:
                        stack.append((relative + b"/", node, status.st_dev != device))
                    else:
                        self._expect_below(relative, node)
                elif same_type and node.type == "file":
                    batch.append((relative, node))
                    size += node.size
                    if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
                        yield batch
                        batch, size = [], 0
            for name, status in sorted(observed.items()):
                self._take_extra(prefix + name, status, is_mounted=is_mounted)
        if batch:
            yield batch

    def _take_missing(self, relative: bytes, node: Node, *, is_partial: bool) -> None:
        self._expect_below(relative, node)
        if not is_partial or node.subtree is None:
            self._note("tree-missing", relative, f"the {node.type} is not there")

    def _take_extra(self, relative: bytes, status: os.stat_result, *, is_mounted: bool) -> None:
        if self._left_out is not None:
            excluded = self._left_out.excluded
            if (
                stat.S_ISSOCK(status.st_mode)
                or (is_mounted and self._left_out.mounts)
                or (excluded is not None and excluded(relative, stat.S_ISDIR(status.st_mode)))
            ):
                self._passed.append(relative)
                return
        with self._guard:
            self._observed.add(b"extra", relative)
        self._note("tree-extra", relative, "it is not in the snapshot")

    def _listed(self, prefix: bytes) -> dict[bytes, os.stat_result]:
        try:
            with os.scandir(os.path.join(self._target, prefix)) as entries:
                return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        except OSError as error:
            self._note("tree-missing", prefix, os.strerror(error.errno or 0))
            return {}

    def _compare_entry(self, relative: bytes, node: Node, status: os.stat_result) -> bool:
        """Whether the entry has the right type; every other difference becomes a finding."""
        path = os.path.join(self._target, relative)
        observed_type = NODE_TYPES.get(stat.S_IFMT(status.st_mode), "other")
        if observed_type != node.type:
            with self._guard:
                self._observed.add(b"entry", relative, observed_type.encode())
            self._note("tree-metadata", relative, f"expected a {node.type}, found {observed_type}")
            return False
        self._compare_metadata(relative, node, status, path)
        if node.type == "symlink":
            found = os.readlink(path)
            if found != (node.linktarget or b""):
                self._note("tree-metadata", relative, f"link to {found!r}, not {node.linktarget!r}")
        elif node.type in ("dev", "chardev") and status.st_rdev != node.device:
            self._note("tree-metadata", relative, "another device")
        if node.type != "dir":
            if node.links > 1:
                self._expected_links.setdefault((node.device_id, node.inode), []).append(relative)
            if status.st_nlink > 1:
                self._observed_links.setdefault((status.st_dev, status.st_ino), []).append(relative)
        return True

    def _compare_metadata(
        self, relative: bytes, node: Node, status: os.stat_result, path: bytes
    ) -> None:
        differences = []
        if node.type != "symlink" and stat.S_IMODE(status.st_mode) != stat.S_IMODE(node.mode):
            differences.append(
                f"mode {stat.S_IMODE(status.st_mode):04o}, not {stat.S_IMODE(node.mode):04o}"
            )
        owner = (status.st_uid, status.st_gid)
        wanted = self.new_owner or (node.uid, node.gid)
        if owner == self._me != wanted:
            # Not root: nobody but ourselves can own what we restored, so nothing is known.
            self._own += 1
        elif owner != wanted:
            differences.append(f"owner {owner[0]}:{owner[1]}, not {wanted[0]}:{wanted[1]}")
        if status.st_mtime_ns != node.mtime_ns:
            differences.append(f"modified at {status.st_mtime_ns} ns, not {node.mtime_ns} ns")
        try:
            observed = _xattrs(path)
            self._see(relative, node.type, status, observed, path)
        except OSError as error:
            self._note("tree-unchecked", relative, f"attributes: {os.strerror(error.errno or 0)}")
            observed = node.xattrs
        if observed != node.xattrs:
            names = sorted(
                os.fsdecode(one)
                for one in observed.keys() | node.xattrs.keys()
                if observed.get(one) != node.xattrs.get(one)
            )
            differences.append(f"extended attributes differ: {', '.join(names)}")
        if differences:
            self._note("tree-metadata", relative, "; ".join(differences))

    def _compare_links(self) -> None:
        """Names that shared a file must share one, and no others."""
        expected = {frozenset(names) for names in self._expected_links.values() if len(names) > 1}
        observed = {frozenset(names) for names in self._observed_links.values() if len(names) > 1}
        for names in sorted(expected - observed, key=min):
            self._note("tree-metadata", min(names), "its hard links are split or joined otherwise")
        for names in sorted(observed - expected, key=min):
            if not any(names & one for one in expected):
                self._note("tree-metadata", min(names), "hard links that were separate files")

    # Content, in worker threads

    def _compare_batch(self, batch: list[tuple[bytes, Node]]) -> None:
        for relative, node in batch:
            path = os.path.join(self._target, relative)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    self._compare_content(relative, node, descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                code = "tree-missing" if error.errno == errno.ENOENT else "tree-unchecked"
                self._note(code, relative, os.strerror(error.errno or 0))

    def _compare_content(self, relative: bytes, node: Node, descriptor: int) -> None:
        locate = self._view.repository.locate
        offset, differs = 0, False
        seen = hashlib.sha256()
        for blob_id in node.content:
            length = locate(BlobType.DATA, blob_id).entry.size_bytes
            observed = hashlib.sha256(_read_exactly(descriptor, length)).digest()
            seen.update(observed)
            if observed != blob_id and not differs:
                differs = True
                self._note(
                    "tree-content", relative, f"bytes {offset} to {offset + length - 1} differ"
                )
            offset += length
        self._view.progress.advance(offset, 1)
        if more := _digest_of_rest(descriptor):
            seen.update(more)
            if not differs:
                self._note("tree-content", relative, f"longer than the {offset} bytes captured")
        with self._guard:
            self._observed.add(b"content", relative, seen.digest())

    # What identifies the whole

    def digests(self) -> Digests:
        """The names, metadata, links and bytes of all entries, as captured and as read."""
        for digest, links in (
            (self._expected, self._captured_links),
            (self._observed, self._observed_links),
        ):
            for names in links.values():
                if len(names) > 1:
                    digest.add(b"links", *sorted(names))
        of = "names, metadata, links and bytes"
        return Digests(self._expected.hexdigest(), self._observed.hexdigest(), of)

    def _expect(self, relative: bytes, node: Node) -> None:
        words = [
            node.type.encode(),
            b"" if node.type == "symlink" else b"%o" % stat.S_IMODE(node.mode),
            b"%d:%d" % (self.new_owner or (node.uid, node.gid)),
            b"%d" % node.mtime_ns,
            repr(sorted(node.xattrs.items())).encode(),
            (node.linktarget or b"") if node.type == "symlink" else b"",
            b"%d" % node.device if node.type in ("dev", "chardev") else b"",
        ]
        self._expected.add(b"entry", relative, *words)
        if node.type == "file":
            content = hashlib.sha256(b"".join(node.content)).digest()
            self._expected.add(b"content", relative, content)
        if node.type != "dir" and node.links > 1:
            self._captured_links.setdefault((node.device_id, node.inode), []).append(relative)

    def _expect_below(self, relative: bytes, node: Node) -> None:
        """What a directory holds that is not there: it belongs to the captured whole."""
        stack = [(relative + b"/", node)]
        while stack:
            prefix, directory = stack.pop()
            if directory.subtree is None:
                continue
            for child in self._view.repository.read_tree(directory.subtree):
                self._expect(prefix + child.name, child)
                stack.append((prefix + child.name + b"/", child))

    def _see(
        self,
        relative: bytes,
        kind: str,
        status: os.stat_result,
        xattrs: Mapping[bytes, bytes],
        path: bytes,
    ) -> None:
        words = [
            kind.encode(),
            b"" if kind == "symlink" else b"%o" % stat.S_IMODE(status.st_mode),
            b"%d:%d" % (status.st_uid, status.st_gid),
            b"%d" % status.st_mtime_ns,
            repr(sorted(xattrs.items())).encode(),
            os.readlink(path) if kind == "symlink" else b"",
            b"%d" % status.st_rdev if kind in ("dev", "chardev") else b"",
        ]
        with self._guard:
            self._observed.add(b"entry", relative, *words)

    def _note(self, code: str, relative: bytes, message: str) -> None:
        subject = relative.decode("utf-8", "backslashreplace")
        with self._guard:
            if len(self.findings) < _MOST_FINDINGS:
                self.findings.append(finding(code, subject, message))


def _digest_of_rest(descriptor: int) -> bytes:
    """The SHA-256 of what follows; empty at the end of the file."""
    digest, is_more = hashlib.sha256(), False
    while block := os.read(descriptor, _READ_BYTES):
        digest.update(block)
        is_more = True
    return digest.digest() if is_more else b""


def _read_exactly(descriptor: int, length: int) -> bytes:
    content = os.read(descriptor, length)
    while len(content) < length:
        more = os.read(descriptor, length - len(content))
        if not more:
            break
        content += more
    return content


def _xattrs(path: bytes) -> dict[bytes, bytes]:
    try:
        return {
            os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
