"""The programs that are compared, each as argument lists: this program, two restics, pg_dump.

A contender works in a home of its own, fresh in every round: its repository, caches, state and
password file, and what it is to capture. Making the home is not measured. Nothing here runs a
measured command; the suites do. What is assumed of our own command line stands in `Strongroom`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.measure import Argv, CommandError
from bench.server import Server

OURS = "strongroom"
RESTIC = "restic (Debian)"
NEWEST = "restic (newest)"
VERIFY = " --verify"
FLUSHED = ", flushed"
PROOF = " with proof"
_PASSWORD = "benchmark\n"
_ERROR_TAIL_CHARACTERS = 800


@dataclass(frozen=True, slots=True)
class Bucket:
    """A place on an S3 server of this host: its address, the keys, and where its files lie."""

    location: str
    directory: Path
    access_key: str
    secret_key: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@dataclass(frozen=True, slots=True)
class Home:
    """A contender's own directory for one round, and what it captures there."""

    directory: Path
    files: Path | None = None
    server: Server | None = None
    bucket: Bucket | None = None

    @property
    def repository(self) -> Path:
        """Where the repository's files lie on this host's disk."""
        return self.directory / "repository" if self.bucket is None else self.bucket.directory

    @property
    def location(self) -> str:
        """What restic and we call it."""
        return str(self.repository) if self.bucket is None else self.bucket.location

    @property
    def second(self) -> Path:
        """Another repository, into which the first one is copied."""
        return self.directory / "second"

    @property
    def password(self) -> Path:
        return self.directory / "password"

    @property
    def source_files(self) -> Path:
        assert self.files is not None, "this home captures no files"
        return self.files

    @property
    def source_server(self) -> Server:
        assert self.server is not None, "this home captures no database"
        return self.server


class Archiver(Protocol):
    """A contender that keeps snapshots in a repository."""

    @property
    def name(self) -> str: ...

    def environment(self, home: Home) -> Mapping[str, str]: ...

    def create(self, home: Home) -> None:
        """Makes the home and its empty repository. Raises CommandError."""

    def adopt(self, home: Home) -> None:
        """Makes the home of a host that knows nothing yet of a repository that is there."""

    def capture_files(self, home: Home) -> Sequence[Argv]: ...

    def capture_database(self, home: Home) -> Sequence[Argv]: ...

    def restore_files(self, home: Home, target: Path) -> Sequence[Argv]: ...

    def check(self, home: Home) -> Sequence[Argv]: ...

    def create_second(self, home: Home) -> None:
        """Makes an empty second repository. Raises CommandError."""

    def copy(self, home: Home) -> Sequence[Argv]: ...

    def forget_second(self, home: Home) -> None:
        """Leaves the first repository as the only one to capture into. Raises CommandError."""

    def keep_last(self, home: Home) -> Sequence[Argv]:
        """Drops all snapshots but the newest, and frees their space."""


@dataclass(frozen=True, slots=True)
class Restic:
    """A restic, as anybody would call it."""

    name: str
    program: Path
    restore_words: tuple[str, ...] = ()
    flushed: bool = False

    def environment(self, home: Home) -> Mapping[str, str]:
        database = home.server.environment if home.server is not None else {}  # for pg_dump
        return {
            **base_environment(home.directory),
            **database,
            **_keys(home),
            "RESTIC_PASSWORD_FILE": str(home.password),
            "RESTIC_CACHE_DIR": str(home.directory / "cache"),
        }

    def create(self, home: Home) -> None:
        _make_home(home)
        words = self._command(home, "init", "--repository-version", "2")
        _prepare(words, self.environment(home), home)

    def adopt(self, home: Home) -> None:
        _make_home(home)

    def capture_files(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "backup", home.source_files)]

    def capture_database(self, home: Home) -> Sequence[Argv]:
        words = ("backup", "--stdin", "--stdin-filename", "tms.sql")
        return [[home.source_server.programs / "pg_dump"], self._command(home, *words)]

    def restore_files(self, home: Home, target: Path) -> Sequence[Argv]:
        restore = self._command(home, "restore", "latest", "--target", target, *self.restore_words)
        if not self.flushed:
            return [restore]
        # What we do before we call a restore a success.
        script = 'target=$1; shift; "$@" && sync --file-system "$target"'
        return [["sh", "-c", script, "sh", target, *restore]]

    def check(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "check", "--read-data")]

    def create_second(self, home: Home) -> None:
        words = (self.program, "--quiet", "--repo", home.second)
        _prepare([*words, "init", "--repository-version", "2"], self.environment(home), home)

    def forget_second(self, home: Home) -> None:
        pass  # a restic knows of one repository at a time

    def copy(self, home: Home) -> Sequence[Argv]:
        source = ("--from-repo", home.location, "--from-password-file", home.password)
        return [[self.program, "--quiet", "--repo", home.second, "copy", *source]]

    def keep_last(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "forget", "--keep-last", "1", "--prune")]

    def _command(self, home: Home, *words: str | Path) -> Argv:
        return [self.program, "--quiet", "--repo", home.location, *words]


@dataclass(frozen=True, slots=True)
class Strongroom:
    """This program through its command line.

    A restore verifies every blob, as restic's does; the proof that it ends with by default, a
    comparison of everything restored, is measured apart.
    """

    name: str = OURS
    restore_words: tuple[str, ...] = ("--no-proof",)

    def environment(self, home: Home) -> Mapping[str, str]:
        return {**base_environment(home.directory), **_keys(home)}

    def create(self, home: Home) -> None:
        _make_home(home)
        self._configure(home, {"local": home.location})

    def adopt(self, home: Home) -> None:
        _make_home(home)
        self._describe(home, {"local": home.location})

    def create_second(self, home: Home) -> None:
        self._configure(home, {"local": home.location, "second": str(home.second)})

    def forget_second(self, home: Home) -> None:
        self._configure(home, {"local": home.location})

    def _configure(self, home: Home, repositories: Mapping[str, str]) -> None:
        self._describe(home, repositories)
        _prepare(self._command(home, "init"), self.environment(home), home)

    def _describe(self, home: Home, repositories: Mapping[str, str]) -> None:
        sources: dict[str, dict[str, str]] = {}
        if home.files is not None:
            sources["uploads"] = {"kind": "files", "path": str(home.files)}
        if home.server is not None:
            sources["database"] = {"kind": "postgres", "url": home.server.url}
        password = f"file:{home.password}"
        document = {
            "version": 1,
            "application": "benchmark",
            "sources": sources,
            "repositories": {
                name: {"location": location, "password": password}
                for name, location in repositories.items()
            },
            "retention": {"local": {"last": 1}},
            "objectives": {"copies": 1},
            "state": str(home.directory / "state"),
        }
        # JSON is YAML too, and needs no library.
        (home.directory / "strongroom.yaml").write_text(json.dumps(document, indent=1) + "\n")

    def capture_files(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "backup", "uploads")]

    def capture_database(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "backup", "database")]

    def restore_files(self, home: Home, target: Path) -> Sequence[Argv]:
        return [self._command(home, "restore", "uploads", "--to", target, *self.restore_words)]

    def check(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "check", "--read-data")]

    def copy(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "copy", "--from", "local", "--to", "second")]

    def keep_last(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "prune", "local", "--yes")]

    def restore_database(self, home: Home, target: str, *words: str) -> Sequence[Argv]:
        reason = ("--reason", "benchmark")
        return [self._command(home, "restore", "database", "--to", target, *reason, *words)]

    def drill_database(self, home: Home) -> Sequence[Argv]:
        return [self._command(home, "drill", "database")]

    def _command(self, home: Home, *words: str | Path) -> Argv:
        settings = home.directory / "strongroom.yaml"
        return [*our_program(), "--config", settings, "--json", *words]


@dataclass(frozen=True, slots=True)
class Dump:
    """A `pg_dump` into files, which neither encrypts nor deduplicates."""

    name: str
    program: Path
    words: tuple[str, ...]

    def capture(self, target: Path) -> Sequence[Argv]:
        return [[self.program, *self.words, "-f", target]]


def our_program() -> list[str | Path]:
    """Our own program as its user starts it: the console script beside this interpreter."""
    script = Path(sys.executable).with_name("strongroom")
    return [script] if script.is_file() else [sys.executable, "-m", "strongroom"]


def base_environment(directory: Path) -> dict[str, str]:
    """What every contender gets: the search path, and none of the caller's settings."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def _keys(home: Home) -> Mapping[str, str]:
    return {} if home.bucket is None else home.bucket.environment


def _make_home(home: Home) -> None:
    home.directory.mkdir(parents=True)
    home.password.write_text(_PASSWORD)
    home.password.chmod(0o600)


def _prepare(argv: Argv, environment: Mapping[str, str], home: Home) -> None:
    answer = subprocess.run(
        [str(word) for word in argv],
        env=dict(environment),
        cwd=home.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        said = (answer.stderr.strip() or answer.stdout.strip())[-_ERROR_TAIL_CHARACTERS:]
        raise CommandError(f"{Path(argv[0]).name} ended with {answer.returncode}: {said}")
