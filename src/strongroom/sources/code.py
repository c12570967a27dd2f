"""The code source (`kind: git`): an application's repository with its declared configuration.

In a snapshot, `/NAME/repository.bundle` holds all refs and objects, `/NAME/refs.json` all refs,
HEAD, stash and remotes, `/NAME/untracked/` the declared files, and `/.strongroom/manifest.json`
says what was checked out and what was not committed. It decides nothing about Git itself: see
`code_git` for how git is run.

Invariants: capture only reads (I7); no credential of a remote URL and no undeclared secret gets
into a snapshot (I6); an unchanged repository gives an identical tree.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Finding, Progress, Stage
from strongroom.repository import ROWS, Content, Folder, SnapshotView, SnapshotWriter
from strongroom.sources import code_findings as look
from strongroom.sources.code_bundle import bundle_blocks
from strongroom.sources.code_snapshot import BUNDLE, MANIFEST, MANIFEST_FORMAT, CodeSnapshot
from strongroom.sources.code_state import Checkout, CodeState, open_checkout
from strongroom.sources.code_untracked import (
    HeadEntry,
    Untracked,
    capture_untracked,
    head_entries,
)
from strongroom.sources.difference import Differences, Group
from strongroom.sources.protocol import CaptureContext, Captured, Proof, RestoreOutcome

# Long hashes in `git describe`: short ones grow with the number of objects at hand.
_ABBREVIATED: Final = 12
_COMPARED: Final = "the commit that is checked out"


class CodeSource:
    """A Git checkout or bare repository at `path`. `untracked` has gitignore syntax;
    `allow_secrets` names files, relative to `path`, that may be captured anyway. `elsewhere` has
    the paths of other sources: what is captured there is no gap here."""

    kind = "git"

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        untracked: Sequence[str] = (),
        allow_secrets: Sequence[str] = (),
        elsewhere: Sequence[Path] = (),
    ) -> None:
        self.name = name
        self._path = path.absolute()
        self._untracked = tuple(untracked)
        self._allow_secrets = tuple(allow_secrets)
        self._elsewhere = tuple(elsewhere)

    @property
    def paths(self) -> Sequence[str]:
        return (str(self._path),)

    def capture(self, writer: SnapshotWriter, context: CaptureContext) -> Captured:
        """Push bundle, refs, declared files and manifest. SourceError when the repository cannot
        be read whole, or when a declared file looks like a secret."""
        begun = time.monotonic()
        checkout = open_checkout(self._path, f"{self.name} ({self._path})")
        state, git = checkout.state, checkout.git
        head = head_entries(git, state.head_object)
        folder = Folder(checkout.newest_at_ns)
        declared = self._capture_declared(checkout, head, writer, folder)
        parent = _parent_state(context.parent)
        bundle = self._put_bundle(checkout, parent, writer, context)
        if bundle is not None:
            folder.add(self._at(BUNDLE), bundle)
        folder.add(self._at(b"refs.json"), writer.put_bytes(state.encode()))
        if state.shallow:
            boundary = "".join(f"{one}\n" for one in state.shallow).encode()
            folder.add(self._at(b"shallow"), writer.put_bytes(boundary))
        findings, manifest = self._look(checkout, head, declared, parent, context)
        folder.add(MANIFEST, writer.put_bytes(manifest))
        return Captured(
            folder.store(writer),
            (bundle.size if bundle else 0) + declared.size_bytes,
            len(declared.entries) + (2 if bundle else 1),
            tuple(findings),
            (Stage("capture code", time.monotonic() - begun),),
            {
                "commit": state.head_object,
                "head": state.head,
                "tags": list(state.tags_at_head()),
            },
        )

    def restore(
        self, view: SnapshotView, target: str, *, include: Sequence[str] = ()
    ) -> RestoreOutcome:
        """Bring the repository with its work tree into an empty directory; with patterns in
        gitignore syntax, only the files that match, without the repository."""
        from strongroom.sources.code_restore import restore_checkout, restore_files

        begun = time.monotonic()
        snapshot = CodeSnapshot(view, self.name)
        if include:
            outcome = restore_files(snapshot, Path(target), include)
        else:
            outcome = restore_checkout(snapshot, Path(target))
        stage = Stage("restore code", time.monotonic() - begun)
        return replace(outcome, stages=(stage,))

    def prove(self, view: SnapshotView, target: str) -> Proof:
        """Compare refs, HEAD, tracked and declared files, and check every object."""
        from strongroom.sources.code_prove import prove_checkout

        return prove_checkout(CodeSnapshot(view, self.name), Path(target))

    def differences(self, view: SnapshotView, target: str) -> Differences:
        """What a restore would do to the commit that is checked out. Changes nothing."""
        from strongroom.sources.code_git import Git

        wanted = CodeSnapshot(view, self.name).state().head_object or "no commit"
        if not Path(target).is_dir():
            return Differences(_COMPARED, created=Group(1, 0, (wanted,)))
        found = Git(Path(target), subject=target).try_run("rev-parse", "--verify", "-q", "HEAD")
        there = os.fsdecode(found.output).strip() if not found.status else "no commit"
        if there == wanted:
            return Differences(_COMPARED, same=1)
        return Differences(_COMPARED, changed=Group(1, 0, (f"{there} becomes {wanted}",)))

    @contextmanager
    def sandbox(self, view: SnapshotView, directory: Path) -> Iterator[str]:  # noqa: ARG002
        """An empty directory below `directory`, removed with all its content at the end."""
        with tempfile.TemporaryDirectory(prefix="code-", dir=directory) as made:
            yield str(Path(made) / "restored")

    # Parts of a capture

    def _at(self, path: bytes) -> bytes:
        return os.fsencode(self.name) + b"/" + path

    def _capture_declared(
        self,
        checkout: Checkout,
        head: dict[bytes, HeadEntry],
        writer: SnapshotWriter,
        folder: Folder,
    ) -> Untracked:
        if checkout.work_tree is None:
            return Untracked()
        return capture_untracked(
            checkout.git,
            checkout.work_tree,
            head,
            writer,
            folder,
            self._at(b"untracked"),
            patterns=self._untracked,
            allow_secrets=self._allow_secrets,
        )

    def _put_bundle(
        self,
        checkout: Checkout,
        parent: tuple[CodeSnapshot, CodeState] | None,
        writer: SnapshotWriter,
        context: CaptureContext,
    ) -> Content | None:
        """The stored bundle: the former one when no ref has moved, None without any object."""
        state = checkout.state
        if not state.objects():
            return None
        if parent is not None and parent[1].bundled() == state.bundled():
            former = parent[0].bundle_content()
            if former is not None and writer.holds(former.blobs):
                return former
        progress = context.progress
        progress.begin(self.name, None)
        blocks = _counted(bundle_blocks(checkout.git, state), progress)
        # The finer profile: one more commit changes a pack in many small places.
        content = writer.put_stream(blocks, ROWS)
        progress.end()
        return content

    def _look(
        self,
        checkout: Checkout,
        head: dict[bytes, HeadEntry],
        declared: Untracked,
        parent: tuple[CodeSnapshot, CodeState] | None,
        context: CaptureContext,
    ) -> tuple[list[Finding], bytes]:
        git, state = checkout.git, checkout.state
        findings = look.repository_findings(checkout)
        findings += look.history_findings(git, parent[1] if parent else None, state)
        findings += look.secret_findings(git, head, self._allow_secrets)
        changes, gaps = look.Changes(), list[Finding]()
        if checkout.work_tree is not None:
            changes = look.read_changes(git, declared.paths)
            findings += look.uncommitted_findings(
                changes, checkout.work_tree, self.name, context.now
            )
            gaps += look.nested_findings(changes, declared.findings)
        submodules = look.read_submodules(git, head)
        gaps += look.submodule_findings(submodules) + declared.findings
        findings += look.without_sources(gaps, checkout.work_tree, self._elsewhere)
        large_files = look.read_large_files(git, head)
        findings += look.large_file_findings(large_files, self.name)
        fields = {
            "format": MANIFEST_FORMAT,
            "kind": self.kind,
            "source": self.name,
            "path": str(self._path),
            "owner": _owner(checkout),
            "head": state.head,
            "commit": state.head_object,
            "tags": list(state.tags_at_head()),
            "describe": _describe(checkout),
            "refs": len(state.refs),
            "changed": [os.fsdecode(path) for path in changes.changed],
            "patterns": list(self._untracked),
            "untracked": declared.entries,
            "submodules": [[one.path, one.url, one.commit] for one in submodules],
            "large_files": large_files,
            "chunks": "fastcdc 16KiB/64KiB/256KiB",
        }
        return findings, _encode(fields)


def _encode(fields: dict[str, Any]) -> bytes:  # Any: JSON
    # Without times: an unchanged repository gives an identical snapshot tree.
    return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def _counted(blocks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for block in blocks:
        yield block
        progress.advance(len(block))


def _owner(checkout: Checkout) -> list[int]:
    status = checkout.git.directory.stat()
    return [status.st_uid, status.st_gid]


def _describe(checkout: Checkout) -> str | None:
    """What `git describe` calls the checked-out commit, a tag where there is one."""
    if checkout.state.head_object is None:
        return None
    outcome = checkout.git.try_run(
        "describe", "--tags", "--always", f"--abbrev={_ABBREVIATED}", checkout.state.head_object
    )
    return None if outcome.status else os.fsdecode(outcome.output).strip()


def _parent_state(view: SnapshotView | None) -> tuple[CodeSnapshot, CodeState] | None:
    """The last capture; None when there is none that can be read: it is only compared with."""
    if view is None:
        return None
    try:
        snapshot = CodeSnapshot(view, "")
        return snapshot, snapshot.state()
    except (StorageError, IntegrityError):
        return None
