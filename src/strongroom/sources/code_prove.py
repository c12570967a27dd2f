"""Is an existing checkout identical to the snapshot? The proof for code (invariant I1).

Identity is refs with their object ids, HEAD, the stash, every tracked file of the checked-out
commit and every declared file. All objects are hashed by `git fsck`. Tracked files are read and
hashed again with an index of our own, because git's would trust their size and time. Untracked
files that were never declared are not part of the identity.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from strongroom.errors import SourceError, TargetError
from strongroom.model import Digests, Finding, SetDigest, Stage, finding
from strongroom.repository import Node
from strongroom.repository.tree import NODE_TYPES
from strongroom.sources.code_git import Git, check_version
from strongroom.sources.code_snapshot import CodeSnapshot
from strongroom.sources.code_state import Checkout, CodeState, Ref, open_checkout
from strongroom.sources.code_untracked import open_parent
from strongroom.sources.protocol import Proof

_MOST_FINDINGS: Final = 1000
# What fsck says of an object that is whole but not as today's git would write it.
_IRREGULAR: Final = re.compile(r"(?:error|warning) in \w+ [0-9a-f]+: (\w+):")
_HARMLESS: Final = re.compile(r"notice: |dangling |Checking |unreachable ")


def prove_checkout(snapshot: CodeSnapshot, target: Path) -> Proof:
    """Every difference is a finding; `checked` counts refs, HEAD, fsck and files compared."""
    check_version(snapshot.subject)
    if not target.is_dir():
        raise TargetError("there is no such directory", subject=str(target))
    return _Comparison(snapshot, target.resolve()).run()


class _Comparison:
    def __init__(self, snapshot: CodeSnapshot, target: Path) -> None:
        self._snapshot = snapshot
        self._target = target
        self._declared = snapshot.untracked()
        self._checked = 0
        self._findings: list[Finding] = []
        self._stages: list[Stage] = []

    def run(self) -> Proof:
        expected = self._snapshot.state()
        begun = time.monotonic()
        try:
            checkout = open_checkout(self._target, str(self._target))
        except SourceError as error:
            self._note("code-damaged", str(self._target), error.message)
            return Proof(1, tuple(self._findings))
        self._compare_refs(expected, checkout.state)
        begun = self._end_stage("compare refs", begun)
        self._check_objects(checkout.git)
        begun = self._end_stage("check objects", begun)
        if not expected.bare and checkout.work_tree is None:
            self._note("tree-missing", ".", "the repository is bare, it has no work tree")
        elif not expected.bare:
            self._compare_tracked(checkout, expected.head_object)
            self._compare_declared(checkout.git)
        self._end_stage("compare files", begun)
        findings = sorted(self._findings, key=lambda one: (one.subject, one.code))
        of = f"HEAD, {len(expected.refs)} refs, stash"
        digests = Digests(_identity(expected), _identity(checkout.state), of)
        return Proof(self._checked, tuple(findings), tuple(self._stages), digests)

    # Refs

    def _compare_refs(self, expected: CodeState, observed: CodeState) -> None:
        wanted = {ref.name: ref for ref in expected.refs}
        found = {ref.name: ref for ref in observed.refs}
        self._checked += len(wanted) + 1
        for name in sorted(wanted.keys() | found.keys()):
            if (one := _compare(wanted.get(name), found.get(name))) is not None:
                self._note("code-ref-differs", _shown(os.fsencode(name)), one)
        head = (expected.head, expected.head_object)
        if head != (observed.head, observed.head_object):
            was, now = _head(expected), _head(observed)
            self._note("code-ref-differs", "HEAD", f"expected {was}, found {now}")
        stashed = [entry.object for entry in expected.stash]
        if stashed != (there := [entry.object for entry in observed.stash]):
            message = f"expected {len(stashed)} stashed changes, found {len(there)} or others"
            self._note("code-ref-differs", "stash", message)
        if expected.shallow != observed.shallow:
            self._note("code-ref-differs", "shallow", "history is cut off at other commits")

    # Objects

    def _check_objects(self, git: Git) -> None:
        self._checked += 1
        outcome = git.try_run(
            "fsck", "--full", "--strict", "--no-dangling", "--no-progress", "--no-reflogs"
        )
        said = (outcome.output + outcome.errors).decode("utf-8", "backslashreplace").splitlines()
        irregular: dict[str, int] = {}
        damaged = []
        for line in said:
            if match := _IRREGULAR.search(line):
                irregular[match[1]] = irregular.get(match[1], 0) + 1
            elif not _HARMLESS.match(line):
                damaged.append(line)
        if damaged or (outcome.status and not irregular):
            reason = "; ".join(damaged[:3]) or f"git fsck ended with status {outcome.status}"
            self._note("code-damaged", str(self._target), reason)
        for kind, count in sorted(irregular.items()):
            self._note("code-irregular", kind, f"{count} objects")

    # Tracked files

    def _compare_tracked(self, checkout: Checkout, commit: str | None) -> None:
        if commit is None:
            return
        declared = {path for path, _ in self._declared}
        with tempfile.TemporaryDirectory(prefix="strongroom-index-") as scratch:
            git = checkout.git.extended(
                variables={"GIT_INDEX_FILE": str(Path(scratch) / "index")},
                settings={
                    "core.fileMode": "true",
                    "core.symlinks": "true",
                    "core.sparseCheckout": "false",
                    "index.threads": "1",
                },
            )
            try:
                git.run("read-tree", commit)
                git.try_run("update-index", "-q", "--refresh")  # status 1: something differs
                tracked = git.run("ls-files", "-z", "--cached").count(b"\0")
                differing = git.run("diff-files", "--raw", "-z", "--ignore-submodules=all")
            except SourceError as error:
                self._note("code-damaged", str(self._target), error.message)
                return
        self._checked += tracked
        fields = differing.split(b"\0")
        for entry, path in zip(fields[0::2], fields[1::2], strict=False):
            if path not in declared:
                self._note_tracked(path, entry.decode("ascii"))

    def _note_tracked(self, path: bytes, entry: str) -> None:
        """`:100644 100755 ID ID M` and the path, as git's raw difference has it."""
        before, now, *_, letter = entry.removeprefix(":").split(" ")
        if letter == "D":
            self._note("tree-missing", path, "the tracked file is not there")
        elif before != now:
            self._note("tree-metadata", path, f"type and mode {now}, not {before}")
        else:
            self._note("tree-content", path, "its bytes are not those of the captured commit")

    # Declared files

    def _compare_declared(self, git: Git) -> None:
        root = os.open(self._target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for path, node in self._declared:
                self._checked += 1
                try:
                    self._compare_one(root, path, node)
                except OSError as error:
                    missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
                    code = "tree-missing" if missing else "tree-content"
                    self._note(code, path, os.strerror(error.errno or 0))
        finally:
            os.close(root)
        self._note_extra(git)

    def _compare_one(self, root: int, path: bytes, node: Node) -> None:
        with open_parent(root, path) as (parent, name):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            observed_type = NODE_TYPES.get(stat.S_IFMT(status.st_mode), "other")
            if observed_type != node.type:
                message = f"expected a {node.type}, found {observed_type}"
                self._note("tree-metadata", path, message)
                return
            if node.type == "symlink":
                if (found := os.readlink(name, dir_fd=parent)) != node.linktarget:
                    message = f"link to {found!r}, not {node.linktarget!r}"
                    self._note("tree-metadata", path, message)
                return
            before, now = stat.S_IMODE(node.mode), stat.S_IMODE(status.st_mode)
            if before != now:
                self._note("tree-metadata", path, f"mode {now:04o}, not {before:04o}")
            if node.type == "file":
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(name, flags, dir_fd=parent), "rb") as file:
                    offset = 0
                    for piece in self._pieces(path):
                        if hashlib.sha256(file.read(piece[0])).digest() != piece[1]:
                            end = offset + piece[0] - 1
                            message = f"bytes {offset} to {end} differ"
                            self._note("tree-content", path, message)
                            return
                        offset += piece[0]
                    if file.read(1):
                        message = f"longer than the {offset} bytes captured"
                        self._note("tree-content", path, message)

    def _pieces(self, path: bytes) -> list[tuple[int, bytes]]:
        where = self._snapshot.untracked_path + b"/" + path
        return [(one.length_bytes, one.sha256) for one in self._snapshot.view.pieces(where)]

    def _note_extra(self, git: Git) -> None:
        patterns = self._snapshot.manifest["patterns"]
        if not patterns:
            return
        wanted = GitIgnoreSpec.from_lines(patterns)
        known = {path for path, _ in self._declared}
        for path in git.run("ls-files", "-z", "--others").split(b"\0"):
            extra = path and not path.endswith(b"/") and path not in known
            if extra and wanted.match_file(os.fsdecode(path)):
                self._note("tree-extra", path, "a declared file that is not in the snapshot")

    # Results

    def _end_stage(self, name: str, begun: float) -> float:
        now = time.monotonic()
        self._stages.append(Stage(name, now - begun))
        return now

    def _note(self, code: str, subject: str | bytes, message: str) -> None:
        shown = _shown(subject) if isinstance(subject, bytes) else subject
        if len(self._findings) < _MOST_FINDINGS:
            self._findings.append(finding(code, shown, message))


def _identity(state: CodeState) -> str:
    """One digest over what refs, HEAD and stash lead to; git's ids stand for all objects."""
    whole = SetDigest()
    whole.add(b"HEAD", os.fsencode(state.head or ""), (state.head_object or "").encode())
    for ref in state.refs:
        whole.add(b"ref", *map(os.fsencode, (ref.name, ref.object, ref.symbolic or "")))
    whole.add(b"stash", *(entry.object.encode() for entry in state.stash))
    whole.add(b"shallow", *(one.encode() for one in state.shallow))
    return whole.hexdigest()


def _compare(expected: Ref | None, observed: Ref | None) -> str | None:
    if expected is None:
        assert observed is not None
        return f"it is not in the snapshot (at {observed.object[:12]})"
    if observed is None:
        return f"it is missing (was at {expected.object[:12]})"
    if expected.object != observed.object:
        return f"expected {expected.object[:12]}, found {observed.object[:12]}"
    if expected.symbolic != observed.symbolic:
        return f"expected to stand for {expected.symbolic}, found {observed.symbolic}"
    return None


def _head(state: CodeState) -> str:
    place = state.head or "detached"
    return f"{place} at {state.head_object[:12]}" if state.head_object else f"{place}, no commit"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
