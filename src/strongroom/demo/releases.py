"""The application's code: a Git repository with a history, releases and untracked configuration.

Each commit lays one folder of `php/` over the one before; authors and dates are fixed, so that
every build has the same object ids. Names that begin with `dot.` are written with a dot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from strongroom.errors import SourceError

__all__ = ["RELEASES", "UNTRACKED", "Release", "write_code"]

UNTRACKED: Final = (".htaccess", "config/local.php")
_REMOTE: Final = "https://git.example.com/gulf-training/tms.git"


@dataclass(frozen=True, slots=True)
class Release:
    """One commit: the folder of `php/` that it adds, who made it when, and its tag if any."""

    folder: str
    author: str
    made_at: str
    subject: str
    tag: str | None = None
    branch: str = "main"


RELEASES: Final = (
    Release("1-courses", "Noura Al Shamsi <noura@training.example.ae>",
            "2024-01-09T10:12:00+04:00", "List the courses"),
    Release("2-certificates", "Noura Al Shamsi <noura@training.example.ae>",
            "2024-03-04T16:40:00+04:00", "Show trainees their certificates", "v1.0.0"),
    Release("3-health", "Imran Qureshi <imran@training.example.ae>",
            "2025-02-17T09:05:00+04:00", "Answer whether the application is healthy", "v1.1.0"),
    Release("4-verify", "Noura Al Shamsi <noura@training.example.ae>",
            "2026-01-26T14:20:00+04:00", "Let anyone verify a certificate", "v1.2.0"),
    Release("5-downloads", "Noura Al Shamsi <noura@training.example.ae>",
            "2026-06-15T13:30:00+04:00", "Sign in with a password; download certificates",
            "v1.3.0"),
    Release("6-arabic", "Imran Qureshi <imran@training.example.ae>",
            "2026-11-12T11:00:00+04:00", "Try the check page in Arabic", branch="arabic"),
)  # fmt: skip


def write_code(folder: Path) -> None:
    """Make the repository in `folder`, which does not exist yet; `main` is checked out at the end.

    SourceError when git is not installed or fails.
    """
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet")
    _git(folder, "symbolic-ref", "HEAD", "refs/heads/main")
    _git(folder, "remote", "add", "origin", _REMOTE)
    for release in RELEASES:
        if release.branch != "main":
            _git(folder, "checkout", "--quiet", "-b", release.branch)
        _lay(resources.files(__package__) / "php" / release.folder, folder)
        _commit(folder, release)
    _git(folder, "checkout", "--quiet", "main")
    _lay(resources.files(__package__) / "php" / "untracked", folder)


def _commit(folder: Path, release: Release) -> None:
    name, _, address = release.author.partition(" <")
    who = {
        f"GIT_{part}_{key}": value
        for part in ("AUTHOR", "COMMITTER")
        for key, value in (
            ("NAME", name), ("EMAIL", address.rstrip(">")), ("DATE", release.made_at),
        )
    }  # fmt: skip
    _git(folder, "add", "--all", environment=who)
    _git(folder, "commit", "--quiet", "--message", release.subject, environment=who)
    if release.tag is not None:
        message = f"Release {release.tag.removeprefix('v')}"
        _git(folder, "tag", "--annotate", release.tag, "--message", message, environment=who)


def _lay(overlay: Traversable, target: Path) -> None:
    """Copy the files of `overlay` over what `target` holds."""
    for entry in sorted(overlay.iterdir(), key=lambda one: one.name):
        place = target / (
            "." + entry.name.removeprefix("dot.") if entry.name.startswith("dot.") else entry.name
        )
        if entry.is_dir():
            place.mkdir(exist_ok=True)
            _lay(entry, place)
        else:
            place.write_bytes(entry.read_bytes())
            place.chmod(0o644)


def _git(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
    """Run git in `folder`, free of the user's configuration and of a surrounding repository."""
    if shutil.which("git") is None:
        raise SourceError("git is not installed", subject="code", hint="Install the package git.")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    run = subprocess.run(
        ["git", "-C", str(folder), "-c", "core.autocrlf=false", "-c", "core.fileMode=true",
         "-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false", "-c", "gc.auto=0", *arguments],
        env=kept | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
        | (environment or {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode != 0:
        raise SourceError(f"git {arguments[0]}: {run.stderr.strip()}", subject="code")
