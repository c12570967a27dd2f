"""Release archives: a tag of a snapshot as a tar or zip file, or the whole history as Git's own.

An archive holds what the commit holds, as `git archive` makes it (`export-ignore` and
`export-subst` apply), never declared files. The same tag gives the same bytes on every host.
"""

from __future__ import annotations

import gzip
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from strongroom.errors import StorageError, TargetError
from strongroom.repository import SnapshotView
from strongroom.sources.code_restore import scratch_repository
from strongroom.sources.code_snapshot import CodeSnapshot
from strongroom.sources.code_state import CodeState, Ref
from strongroom.sources.placing import open_private, put_in_place

FORMATS: Final = ("tar", "tar.gz", "zip", "git")


@dataclass(frozen=True, slots=True)
class Exported:
    """A written archive; `name` is the tag, branch or commit, None for the whole history."""

    path: Path
    size_bytes: int
    name: str | None
    commit: str | None


def export_release(
    view: SnapshotView, output: Path, archive_format: str, *, tag: str | None = None
) -> Exported:
    """Write an archive of a tag (without one: of what was checked out) to `output`.

    `git` writes the bundle, which `git clone` reads, or with an `output` that ends in `.git` a
    bare repository. StorageError `path-missing` when the snapshot has no such tag, TargetError
    when the output exists.
    """
    snapshot = CodeSnapshot(view, "")
    if os.path.lexists(output):
        raise TargetError("it exists already", subject=str(output), code="target-not-empty")
    if archive_format == "git":
        return _export_git(snapshot, output)
    if archive_format not in FORMATS:
        raise TargetError(f"code has no format `{archive_format}`", subject=str(output),
                          hint=f"Choose one of {', '.join(FORMATS)}.")  # fmt: skip
    name, commit = _chosen(snapshot, tag)
    with tempfile.TemporaryDirectory(prefix="strongroom-export-") as scratch:
        git = scratch_repository(snapshot, Path(scratch))
        kind = "tar" if archive_format == "tar.gz" else archive_format
        prefix = f"{snapshot.manifest['source']}-{name.replace('/', '-')}/"
        blocks = git.stream("archive", f"--format={kind}", f"--prefix={prefix}", commit)
        size = _write(output, blocks, compressed=archive_format == "tar.gz")
    return Exported(output, size, name, commit)


def _export_git(snapshot: CodeSnapshot, output: Path) -> Exported:
    blocks = snapshot.bundle_blocks()
    if blocks is None:
        raise StorageError(
            "nothing was ever committed", subject=snapshot.subject, code="path-missing"
        )
    if output.suffix == ".git":
        with tempfile.TemporaryDirectory(prefix=".strongroom-", dir=output.parent) as scratch:
            git = scratch_repository(snapshot, Path(scratch))
            git.directory.chmod(0o700)
            git.directory.rename(output)
        size = sum(one.stat().st_size for one in output.rglob("*") if one.is_file())
    else:
        size = _write(output, blocks, compressed=False)
    return Exported(output, size, None, snapshot.state().head_object)


def _chosen(snapshot: CodeSnapshot, tag: str | None) -> tuple[str, str]:
    """The name for the archive's folder, and the id of the tag or commit."""
    state = snapshot.state()
    if tag is not None:
        ref = _find(state, tag)
        if ref is None:
            tags = [one.name[10:] for one in state.refs if one.name.startswith("refs/tags/")]
            raise StorageError(
                f"the snapshot has no tag `{tag}`",
                subject=snapshot.subject,
                code="path-missing",
                hint=f"Tags it has: {', '.join(tags[-10:]) or 'none'}.",
            )
        return tag, ref.object
    if state.head_object is None:
        raise StorageError("nothing was checked out", subject=snapshot.subject, code="path-missing")
    # A tag keeps its name when it is what was checked out; else the commit names the archive.
    tags_at_head = state.tags_at_head()
    return (tags_at_head[-1] if tags_at_head else state.head_object[:12]), state.head_object


def _find(state: CodeState, wanted: str) -> Ref | None:
    names = (f"refs/tags/{wanted}", f"refs/heads/{wanted}", wanted)
    refs = {ref.name: ref for ref in state.refs}
    return next((refs[name] for name in names if name in refs), None)


def _write(output: Path, blocks: Iterable[bytes], *, compressed: bool) -> int:
    """Write under a temporary name, flush, rename; returns the size in bytes."""
    partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "xb", opener=open_private) as file:
            try:
                _copy(blocks, file, compressed=compressed)
                file.flush()
                os.fsync(file.fileno())
                put_in_place(partial, output)
            except BaseException:
                partial.unlink()
                raise
    except FileExistsError:
        told = "it exists already"
        raise TargetError(told, subject=str(output), code="target-not-empty") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise TargetError(reason, subject=str(output)) from error
    return output.stat().st_size


def _copy(blocks: Iterable[bytes], file: IO[bytes], *, compressed: bool) -> None:
    if not compressed:
        file.writelines(blocks)
        return
    # No name and no time in the header, so that the same tag gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        for block in blocks:
            packed.write(block)
