"""What tests of the code source stand on: real repositories, and a store to capture them into."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from strongroom.repository import Repository, SnapshotView, SnapshotWriter
from strongroom.repository.storage import MemoryStorage
from strongroom.sources import CaptureContext, Captured
from strongroom.sources.code import CodeSource

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Amina",
    "GIT_AUTHOR_EMAIL": "amina@example.com",
    "GIT_COMMITTER_NAME": "Amina",
    "GIT_COMMITTER_EMAIL": "amina@example.com",
    "GIT_AUTHOR_DATE": "2026-01-28T09:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-28T09:00:00Z",
}


def git(directory: Path, *arguments: str | bytes, given: bytes = b"", status: int = 0) -> str:
    """What git printed, run with a fixed identity and time and nobody's configuration."""
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-C", str(directory), *arguments],
        input=given,
        capture_output=True,
        env=_ENVIRONMENT,
        check=False,
    )
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return os.fsdecode(done.stdout).removesuffix("\n")


def write(path: Path, content: str | bytes, mode: int = 0o644) -> Path:
    """A file with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def commit(directory: Path, message: str = "Change") -> str:
    """The id of a commit of everything there is."""
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "--allow-empty", "-m", message)
    return git(directory, "rev-parse", "HEAD")


def make_application(directory: Path) -> Path:
    """A small PHP application: two commits, a tag, a branch, ignored configuration."""
    directory.mkdir(parents=True)
    git(directory, "init", "-q")
    write(directory / ".gitignore", "config/local.php\ncache/\n")
    write(directory / "public/index.php", "<?php echo 'TMS';\n")
    write(directory / "bin/deploy", "#!/bin/sh\nexit 0\n", 0o755)
    commit(directory, "Begin")
    git(directory, "tag", "-a", "v1.0", "-m", "First release")
    write(directory / "api/health.php", "<?php echo json_encode(['status' => 'ok']);\n")
    commit(directory, "Answer health checks")
    git(directory, "branch", "next")
    write(directory / "config/local.php", "<?php return ['debug' => false];\n", 0o640)
    write(directory / ".htaccess", "Options -Indexes\n", 0o644)
    write(directory / "cache/page.html", "made up\n")
    return directory


DECLARED = (".htaccess", "config/*.php")


class Ground:
    """A repository in memory, and captures into it."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.repository = Repository.create(self.storage, "correct horse", name="local")
        self.now = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)

    def storage_names(self) -> Iterator[tuple[str, int]]:
        """Every stored file that is no lock, with its size in bytes."""
        for folder in ("config", "keys", "index", "snapshots", "data"):
            for file in self.storage.list(folder):
                yield file.name, file.size_bytes

    def capture(
        self, source: CodeSource, parent: SnapshotView | None = None
    ) -> tuple[Captured, SnapshotView, int]:
        """What was captured, its snapshot, and by how many bytes the repository grew."""
        self.now += timedelta(seconds=1)
        with SnapshotWriter([self.repository]) as writer:
            captured = source.capture(writer, CaptureContext(self.now, parent))
            [done] = writer.commit(
                captured.root,
                paths=source.paths,
                tags=["strongroom", f"source:{source.name}", "kind:git"],
                time=self.now,
            )
        return captured, SnapshotView(self.repository, done.snapshot), done.added_bytes


def codes(found: Captured | Sequence[object]) -> list[str]:
    """The codes of findings, sorted."""
    findings = found.findings if isinstance(found, Captured) else found
    return sorted(one.code for one in findings)  # type: ignore[attr-defined]
