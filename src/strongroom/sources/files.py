"""The files source (`kind: files`): a directory tree, such as an application's uploads."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ConfigError, IntegrityError, StorageError, TargetError
from strongroom.model import Finding, finding
from strongroom.repository import Folder, Node, SnapshotView, SnapshotWriter
from strongroom.sources.difference import Differences
from strongroom.sources.file_compare import LeftOut, compare_tree
from strongroom.sources.file_walk import Changes, TreeWalk
from strongroom.sources.protocol import CaptureContext, Captured, Proof, RestoreOutcome

MANIFEST_FORMAT = 1
# Findings after which something is missing in the snapshot that lasts; what vanished or changed
# while it was read is gone, or is read by the next capture.
_UNREAD: Final = frozenset({"file-unreadable", "folder-missing"})
_MOST_TOLD: Final = 20
_MANIFEST: Final = b".strongroom/manifest.json"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FilesSource:
    """A tree below `path`. `exclude` has gitignore syntax; `required` folders must exist; of what
    is mounted in it, `one_file_system` keeps the empty directories only. With `lies_in` a capture
    reads that directory, and records it as if it were at `path`."""

    kind = "files"

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        exclude: Sequence[str] = (),
        required: Sequence[str] = (),
        one_file_system: bool = False,
        workers: int = 2,
        lies_in: Path | None = None,
    ) -> None:
        self.name = name
        self._lies_in = lies_in
        self._path = Path(os.path.abspath(path))
        if not self._path.name:
            raise ConfigError(
                "the root of the file system cannot be one source",
                subject=name,
                hint="Name the directories that matter, one source each.",
            )
        self._exclude = tuple(exclude)
        self._required = tuple(required)
        self._one_file_system = one_file_system
        self._workers = workers
        self._owner: tuple[int, int] | None = None

    def own_by(self, uid: int, gid: int) -> None:
        """From here on all that is restored belongs to this user and group, and is proven so."""
        self._owner = (uid, gid)

    @property
    def paths(self) -> Sequence[str]:
        return (str(self._path),)

    @property
    def folder(self) -> Path:
        """The live folder."""
        return self._path

    def capture(self, writer: SnapshotWriter, context: CaptureContext) -> Captured:
        """Push the tree; the root holds it under its own path, as restic has it."""
        path = os.fsencode(self._path)
        changes = Changes(_since_ns(context.since)) if context.since is not None else None
        walk = TreeWalk(
            writer,
            excluded=_matcher(self._exclude),
            parent=context.parent,
            parent_path=path,
            progress=context.progress,
            one_file_system=self._one_file_system,
            changes=changes,
        )
        result = walk.run(path if self._lies_in is None else os.fsencode(self._lies_in))
        findings = [*result.findings, *self._missing_folders()]
        folder = Folder(result.root.mtime_ns)
        for above in reversed(self._path.parents):
            if above.name:
                folder.add_node(os.fsencode(above), _directory_node(above, result.root.mtime_ns))
        folder.add_node(path, result.root)
        manifest = self._manifest(result.files, result.size_bytes, findings)
        folder.add(_MANIFEST, writer.put_bytes(manifest))
        return Captured(
            folder.store(writer),
            result.size_bytes,
            result.files,
            tuple(findings),
            facts=_facts(context.since, changes),
        )

    def restore(
        self,
        view: SnapshotView,
        target: str,
        *,
        include: Sequence[str] = (),
        existing: Sequence[Path] = (),
    ) -> RestoreOutcome:
        """Bring the tree into an empty directory; patterns in gitignore syntax select files. What
        the trees in `existing` hold of it is read there and not fetched."""
        refuse_unless_empty(Path(target))
        is_new = not os.path.lexists(target)
        report = view.restore(
            self.root_of(view),
            Path(target),
            include=wanted_of(include) if include else None,
            existing=existing,
            owner=self._owner,
            workers=self._workers,
        )
        if include and not report.files:
            if is_new:
                with contextlib.suppress(OSError):
                    os.rmdir(target)
            raise nothing_matches(include, f"snapshot {view.snapshot.short_id}")
        return RestoreOutcome(
            tuple(report.findings),
            size_bytes=report.size_bytes,
            files=report.files,
            reused_bytes=report.reused_bytes,
        )

    def prove(self, view: SnapshotView, target: str) -> Proof:
        """Compare names, types, modes, owners, times, xattrs, links and bytes.

        In the live source, what that snapshot's capture left out is not too much.
        """
        root = self.root_of(view)
        is_live = any(_is_same(target, one) for one in (self._path, os.fsdecode(root)))
        manifest = _read_manifest(view)
        left_out = _left_out(view, manifest) if is_live else None
        proof = compare_tree(
            view,
            root,
            Path(target),
            left_out=left_out,
            owner=self._owner,
            workers=self._workers,
        )
        return replace(proof, findings=(*proof.findings, *_unread(self.name, manifest)))

    def differences(
        self,
        view: SnapshotView,
        target: str,
        *,
        include: Sequence[str] = (),
        with_contents: bool = False,
    ) -> Differences:
        """What a restore would do to the files that are in a directory. Changes nothing."""
        from strongroom.sources.file_difference import tree_differences

        return tree_differences(
            view,
            self.root_of(view),
            Path(target),
            include=wanted_of(include) if include else None,
            with_contents=with_contents,
        )

    @contextmanager
    def sandbox(self, view: SnapshotView, directory: Path) -> Iterator[str]:  # noqa: ARG002
        """An empty directory below `directory`, removed with all its content at the end."""
        with tempfile.TemporaryDirectory(prefix="files-", dir=directory) as made:
            yield str(Path(made) / "restored")

    def root_of(self, view: SnapshotView) -> bytes:
        """The captured path, which may be another one than is configured today; StorageError
        where there is no directory, as of a file that stock restic was told to back up."""
        paths = view.snapshot.paths
        path = os.fsencode(paths[0]) if paths else os.fsencode(self._path)
        if not view.exists(path):
            raise StorageError(
                f"nothing lies under the path that it records, {os.fsdecode(path)}",
                subject=f"snapshot {view.snapshot.short_id}",
                code="path-missing",
                hint="Was it given a relative path? Take it out with `strongroom export`.",
            )
        if view.node(path).subtree is None:
            raise StorageError(
                f"{os.fsdecode(path)} is no directory",
                subject=f"snapshot {view.snapshot.short_id}",
                code="path-missing",
                hint="Take a single file out with `strongroom dump`.",
            )
        return path

    def _missing_folders(self) -> list[Finding]:
        return [
            finding("folder-missing", folder, f"{self._path / folder} is not a directory")
            for folder in self._required
            if not (self._path / folder).is_dir()
        ]

    def _manifest(self, files: int, size_bytes: int, findings: Sequence[Finding]) -> bytes:
        # Without times: an unchanged tree gives an identical snapshot tree.
        fields: dict[str, Any] = {  # Any: JSON values
            "format": MANIFEST_FORMAT,
            "kind": self.kind,
            "source": self.name,
            "path": str(self._path),
            "exclude": list(self._exclude),
            "required": list(self._required),
            "one_file_system": self._one_file_system,
            "files": files,
            "size_bytes": size_bytes,
            "chunks": "fastcdc 512KiB/1MiB/8MiB",
        }
        if unread := [one.subject for one in findings if one.code in _UNREAD]:
            fields["unread"] = {"count": len(unread), "first": unread[:_MOST_TOLD]}
        return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def wanted_of(patterns: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a file's path, relative to the source, is one of those that patterns in gitignore
    syntax choose."""
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(patterns)
    return lambda path: spec.match_file(os.fsdecode(path))


def nothing_matches(patterns: Sequence[str], subject: str) -> StorageError:
    """The error that a part was wanted which isn't there."""
    return StorageError(
        f"no file matches {', '.join(patterns)}",
        subject=subject,
        code="path-missing",
        hint="List what it holds with `strongroom ls`; patterns are those of a .gitignore, from "
        "the source's folder on: 'certificates/2026/*', '**/*.pdf'.",
    )


def _matcher(patterns: Sequence[str]) -> Callable[[bytes, bool], bool] | None:
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec

    # `x/**` means what lies in x, not x itself, which the library would match as well.
    lines = [line + "/*" if line.endswith("/**") else line for line in patterns]
    spec = GitIgnoreSpec.from_lines(lines)

    def excluded(path: bytes, is_directory: bool) -> bool:
        return spec.match_file(os.fsdecode(path) + ("/" if is_directory else ""))

    return excluded


def _read_manifest(view: SnapshotView) -> dict[str, Any] | None:  # Any: JSON values
    """What the capture wrote down beside the tree; None of stock restic's, which has none."""
    if not view.exists(_MANIFEST):
        return None
    try:
        fields = json.loads(view.read(_MANIFEST))
        if isinstance(fields, dict):
            return fields
    except ValueError:
        pass
    raise _damaged(view)


def _damaged(view: SnapshotView) -> IntegrityError:
    return IntegrityError(
        "the manifest is not one",
        subject=f"snapshot {view.snapshot.short_id}",
        code="snapshot-damaged",
    )


def _left_out(view: SnapshotView, manifest: dict[str, Any] | None) -> LeftOut:
    """What the capture of this snapshot passed over, as its own manifest says, whatever is
    configured today; stock restic's passes over sockets."""
    if manifest is None:
        return LeftOut()
    try:
        patterns = [str(one) for one in manifest["exclude"]]
        return LeftOut(_matcher(patterns), mounts=manifest["one_file_system"] is True)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(view) from error


def _unread(source: str, manifest: dict[str, Any] | None) -> Iterator[Finding]:
    """What was not there to be captured cannot be proven: the verdict is not a full one."""
    told = (manifest or {}).get("unread")
    if isinstance(told, dict):
        first = ", ".join(map(str, told.get("first", ())))
        message = f"{told.get('count')} files or folders were not there to be read: {first}"
        yield finding("capture-incomplete", source, message)


def _since_ns(moment: datetime) -> int:
    """Nanoseconds from the epoch to a moment."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _facts(since: datetime | None, changes: Changes | None) -> dict[str, Any]:  # Any: JSON values
    if since is None or changes is None:
        return {}
    told = {"count": changes.count, "first": changes.first}
    return {"changed_since": {"moment_at": since.isoformat().replace("+00:00", "Z"), **told}}


def _is_same(target: str, path: str | Path) -> bool:
    try:
        return os.path.samefile(target, path)
    except OSError:
        return False


def refuse_unless_empty(target: Path) -> None:
    """TargetError unless the directory is empty or does not exist yet (invariant I7)."""
    try:
        with os.scandir(target) as entries:
            if any(True for _ in entries):
                raise TargetError(
                    "the directory is not empty", subject=str(target), code="target-not-empty"
                )
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise TargetError("this is not a directory", subject=str(target)) from None
    except OSError as error:
        raise TargetError(os.strerror(error.errno or 0), subject=str(target)) from error


def refuse_unwritable(target: Path) -> None:
    """TargetError when this user could not make the directory, or write into it."""
    absolute = target.absolute()
    there = next(one for one in (absolute, *absolute.parents) if one.exists())
    if not there.is_dir():
        raise TargetError("this is not a directory", subject=str(there))
    as_whom = os.access in os.supports_effective_ids
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=as_whom):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        raise TargetError(
            "Read-only file system" if read_only else "this user may not write there",
            subject=str(there),
            hint="Choose a target on a file system that is not read-only."
            if read_only
            else "Choose a target where this user may write, or restore as root.",
        )


def _directory_node(path: Path, time_ns: int) -> Node:
    """A directory on the way to the source, with the source's time: its own changes with whatever
    else lies in it, and an unchanged source gives an unchanged tree."""
    mode, uid, gid = stat.S_IFDIR | 0o755, 0, 0
    with contextlib.suppress(FileNotFoundError):  # what is recorded need not be on this host
        status = os.lstat(path)
        uid, gid = status.st_uid, status.st_gid
        if stat.S_ISDIR(status.st_mode):
            mode = status.st_mode
    return Node(
        os.fsencode(path.name),
        "dir",
        mode,
        mtime_ns=time_ns,
        ctime_ns=time_ns,
        uid=uid,
        gid=gid,
    )
