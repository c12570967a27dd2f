"""Bringing code back: the repository with every ref, its work tree, and the declared files.

Nothing that a snapshot holds is run: no template, hook, filter or setting comes out of it. The
declared files are restored first, into the empty target, by the engine's own safe restore; git
then adds the tracked files around them and refuses to go through a link. When something fails,
what was begun is removed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from strongroom.errors import SourceError, TargetError
from strongroom.repository import Node
from strongroom.repository.file_writing import flush_file_system
from strongroom.repository.restore import RestoreReport
from strongroom.sources.code_bundle import unpack_bundle
from strongroom.sources.code_git import Git
from strongroom.sources.code_snapshot import CodeSnapshot
from strongroom.sources.files import nothing_matches, refuse_unless_empty
from strongroom.sources.protocol import RestoreOutcome

_NO_SPACE_BYTES: Final = 1 << 20
_UNWRITTEN: Final = "unable to write file"


def restore_checkout(snapshot: CodeSnapshot, target: Path) -> RestoreOutcome:
    """The whole repository in `target`, as captured: bare or with its work tree.

    TargetError when the target is not empty; IntegrityError when the snapshot is damaged.
    """
    state = snapshot.state()
    declared = snapshot.untracked()
    with _only_whole(target):
        report = RestoreReport()
        if snapshot.has_untracked():
            report = snapshot.view.restore(snapshot.untracked_path, target)
            _open_directories(target, declared)
        blocks = snapshot.bundle_blocks()
        git = unpack_bundle(target, blocks, state, bare=state.bare, subject=snapshot.subject)
        if not state.bare and state.head_object is not None:
            paths = {path for path, node in declared if node.type != "dir"}
            git.run("read-tree", state.head_object)
            _check_out(git, _tracked(git), paths)
            git.try_run("update-index", "-q", "--refresh")  # status 1: a declared file differs
        _give_back(target, snapshot.manifest.get("owner"), declared)
        _close_directories(snapshot, target, declared)
        flush_file_system(os.fsencode(target))
    bundle = snapshot.bundle_content()
    size_bytes = report.size_bytes + (bundle.size if bundle else 0)
    return RestoreOutcome(tuple(report.findings), size_bytes=size_bytes)


def restore_files(snapshot: CodeSnapshot, target: Path, include: Sequence[str]) -> RestoreOutcome:
    """Only the tracked and declared files that match, without a repository around them.

    StorageError `path-missing` when no file matches.
    """
    state = snapshot.state()
    wanted = GitIgnoreSpec.from_lines(include)
    declared = [path for path, node in snapshot.untracked() if node.type != "dir"]
    chosen = {path for path in declared if wanted.match_file(os.fsdecode(path))}
    with _only_whole(target), tempfile.TemporaryDirectory(prefix="strongroom-code-") as scratch:
        target.mkdir(parents=True, exist_ok=True)
        report = RestoreReport()
        if chosen:
            report = snapshot.view.restore(
                snapshot.untracked_path, target, include=lambda path: path in chosen
            )
        paths: list[bytes] = []
        if state.head_object is not None:
            git = scratch_repository(snapshot, Path(scratch)).extended(
                variables={
                    "GIT_DIR": str(Path(scratch) / "repository.git"),
                    "GIT_WORK_TREE": str(target.resolve()),
                },
                settings={"core.bare": "false"},
            )
            git.run("read-tree", state.head_object)
            paths = [path for path in _tracked(git) if wanted.match_file(os.fsdecode(path))]
            _check_out(git, paths, set(declared))
        if not chosen and not paths:
            raise nothing_matches(include, snapshot.subject)
        flush_file_system(os.fsencode(target))
    files = report.files + len(set(paths) - set(declared))
    return RestoreOutcome(tuple(report.findings), size_bytes=report.size_bytes, files=files)


def scratch_repository(snapshot: CodeSnapshot, directory: Path) -> Git:
    """A bare repository of the snapshot at `directory/repository.git`."""
    return unpack_bundle(
        directory / "repository.git",
        snapshot.bundle_blocks(),
        snapshot.state(),
        bare=True,
        subject=snapshot.subject,
    )


@contextmanager
def _only_whole(target: Path) -> Iterator[None]:
    """Whatever happens inside, the target holds everything or nothing at the end."""
    refuse_unless_empty(target)
    existed = target.exists()
    try:
        yield
    except BaseException as error:
        full = _note_on_space(target)
        if existed:
            for inner in target.iterdir():
                if inner.is_dir() and not inner.is_symlink():
                    shutil.rmtree(inner)
                else:
                    inner.unlink()
        elif target.exists():
            shutil.rmtree(target)
        if isinstance(error, OSError):
            reason = os.strerror(error.errno or 0)
            raise TargetError(reason, subject=str(error.filename or target)) from error
        if isinstance(error, SourceError) and error.code == "source-failed":
            # Everything that is read was verified, so git could not write.
            if not full and _UNWRITTEN in error.message:
                full = "; probably no space is left there"  # what others took may be free again
            raise TargetError(error.message + full, subject=str(target)) from error
        raise


def _note_on_space(target: Path) -> str:
    """What git keeps to itself when it could not write a file."""
    try:
        space = os.statvfs(target)
    except OSError:
        return ""
    left = space.f_bavail * space.f_frsize
    return "; no space is left there" if left < _NO_SPACE_BYTES else ""


def _tracked(git: Git) -> list[bytes]:
    return [path for path in git.run("ls-files", "-z", "--cached").split(b"\0") if path]


def _check_out(git: Git, paths: Sequence[bytes], declared: set[bytes]) -> None:
    """Tracked files, except where a declared file stands: that one was changed by hand."""
    given = b"".join(path + b"\0" for path in paths if path not in declared)
    git.run("checkout-index", "-z", "--stdin", given=given)


# Directories: their modes and times are the captured ones only when nothing is added any more.


def _open_directories(target: Path, declared: Sequence[tuple[bytes, Node]]) -> None:
    _change_mode(target, stat.S_IMODE(target.stat().st_mode) | stat.S_IRWXU)
    for path, node in declared:
        if node.type == "dir":
            _change_mode(target / os.fsdecode(path), stat.S_IMODE(node.mode) | stat.S_IRWXU)


def _close_directories(
    snapshot: CodeSnapshot, target: Path, declared: Sequence[tuple[bytes, Node]]
) -> None:
    if not snapshot.has_untracked():
        return
    top = snapshot.view.node(snapshot.untracked_path)
    for path, node in [*reversed(declared), (b"", top)]:
        if node.type == "dir":
            directory = target / os.fsdecode(path)
            _change_mode(directory, stat.S_IMODE(node.mode))
            os.utime(directory, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)


def _change_mode(directory: Path, mode: int) -> None:
    if stat.S_IMODE(directory.lstat().st_mode) != mode:
        directory.chmod(mode)


def _give_back(target: Path, owner: object, declared: Sequence[tuple[bytes, Node]]) -> None:
    """As root, hand the checkout to whom it belonged; declared files have their own owners."""
    match owner:
        case [int(uid), int(gid)] if os.geteuid() == 0 and (uid, gid) != (0, 0):
            kept = {target / os.fsdecode(path) for path, _ in declared}
            os.chown(target, uid, gid)
            for directory, directories, files in os.walk(target):
                for name in (*directories, *files):
                    if (path := Path(directory) / name) not in kept:
                        os.chown(path, uid, gid, follow_symlinks=False)
