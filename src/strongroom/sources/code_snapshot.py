"""A captured repository as a snapshot holds it: where its parts lie, read back and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Final

from strongroom.errors import IntegrityError
from strongroom.repository import Content, Node, SnapshotView
from strongroom.sources.code_state import CodeState, decode_state

MANIFEST_FORMAT: Final = 1
MANIFEST: Final = b".strongroom/manifest.json"
BUNDLE: Final = b"repository.bundle"
UNTRACKED: Final = b"untracked"


class CodeSnapshot:
    """The parts of one code snapshot. The folder's name is the source's at capture, which the
    manifest tells; `name` is what errors call it."""

    def __init__(self, view: SnapshotView, name: str) -> None:
        self.view = view
        self.subject = f"{name or view.snapshot.source} ({view.snapshot.short_id})"
        self.manifest = self._read_manifest()
        self._folder = b"/" + os.fsencode(self.manifest["source"]) + b"/"

    def state(self) -> CodeState:
        """Refs, HEAD, stash and remotes as captured."""
        return decode_state(self.view.read(self._folder + b"refs.json"), self.subject)

    def bundle_content(self) -> Content | None:
        """Where the bundle is stored; None when nothing was ever committed."""
        if not self.view.exists(self._folder + BUNDLE):
            return None
        node = self.view.node(self._folder + BUNDLE)
        return Content(node.content, node.size)

    def bundle_blocks(self) -> Iterator[bytes] | None:
        """The bundle's bytes, every piece verified; None when nothing was ever committed."""
        if self.bundle_content() is None:
            return None
        return self.view.blocks(self._folder + BUNDLE)

    @property
    def untracked_path(self) -> bytes:
        """The folder of the declared files; its own node describes the work tree's root."""
        return self._folder + UNTRACKED

    def has_untracked(self) -> bool:
        """Whether there is such a folder: a bare repository has none."""
        return self.view.exists(self.untracked_path)

    def untracked(self) -> list[tuple[bytes, Node]]:
        """The declared files and their directories, paths relative to the work tree.

        IntegrityError `tree-damaged` when one would lie in a `.git` directory, where it could
        make git run something.
        """
        if not self.has_untracked():
            return []
        found = []
        for path, node in self.view.walk(self.untracked_path):
            relative = path[len(self.untracked_path) + 1 :]
            if any(part.lower() == b".git" for part in relative.split(b"/")):
                raise IntegrityError(
                    f"a declared file would lie in a .git directory: {relative!r}",
                    subject=self.subject,
                    code="tree-damaged",
                )
            found.append((relative, node))
        return found

    def _read_manifest(self) -> dict[str, Any]:  # Any: JSON; what is used of it is checked
        try:
            manifest = json.loads(self.view.read(b"/" + MANIFEST))
            source = manifest["source"]
            if manifest["format"] != MANIFEST_FORMAT or manifest["kind"] != "git":
                raise ValueError(f"format {manifest['format']!r} is not known")
            if not isinstance(source, str) or not source or "/" in source:
                raise ValueError("it names no source")
            if not all(isinstance(one, str) for one in manifest["patterns"]):
                raise ValueError("its patterns are no texts")
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"the manifest cannot be used: {error}",
                subject=self.subject,
                code="snapshot-damaged",
            ) from error
        assert isinstance(manifest, dict)
        return manifest
