"""Stock restic as the second opinion: apt's, and any newer one that is at hand.

A newer one is named by STRONGROOM_NEWER_RESTIC, or lies where `bench.newest_restic` unpacked it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.newest_restic import CACHE, SUITES
from tests.support.repository_ground import PASSWORD

_TROUBLE = re.compile(
    r"hint|warning|error|non-critical|additional files|run `restic|duplicate", re.IGNORECASE
)
_FINE = ("no errors were found",)


@dataclass(frozen=True)
class Restic:
    """One program; `run` answers for a repository in a directory, or at a location of its own
    kind, whose credentials come by the environment."""

    program: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.version))

    def attempt(
        self, repository: Path | str, *arguments: object, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command; the caller looks at the status."""
        settings = {
            "PATH": os.environ["PATH"],
            "RESTIC_REPOSITORY": str(repository),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_PROGRESS_FPS": "0.001",
            "GOMAXPROCS": "2",
        }
        return subprocess.run(
            [self.program, "--no-cache", *map(_word, arguments)],
            env=settings | environment,
            capture_output=True,
            check=False,
            timeout=120,
        )

    def run(self, repository: Path | str, *arguments: object, **environment: str) -> str:
        """Standard output of a command that must end with status 0."""
        answer = self.attempt(repository, *arguments, **environment)
        told = (answer.stdout + answer.stderr).decode("utf-8", "replace")
        assert answer.returncode == 0, f"restic {self} {arguments}: {answer.returncode}\n{told}"
        return answer.stdout.decode("utf-8", "surrogateescape")

    def lines(self, repository: Path, *arguments: object) -> list[dict[str, Any]]:
        """The JSON documents that a command prints, one a line."""
        printed = self.run(repository, *arguments, "--json")
        return [json.loads(line) for line in printed.splitlines() if line]

    def check(self, repository: Path, *, read_data: bool = True) -> None:
        """Nothing at all to complain about: status 0, no hint and no warning."""
        options = ["--read-data"] if read_data else []
        answer = self.attempt(repository, "check", *options)
        told = (answer.stdout + answer.stderr).decode()
        assert answer.returncode == 0, told
        trouble = [
            line
            for line in told.splitlines()
            if _TROUBLE.search(line) and not any(fine in line for fine in _FINE)
        ]
        assert not trouble, told


def _word(argument: object) -> str | bytes:
    return argument if isinstance(argument, bytes) else str(argument)


def _described(program: str) -> Restic:
    printed = subprocess.run([program, "version"], capture_output=True, check=True, timeout=30)
    found = re.match(rb"restic (\d+)\.(\d+)\.(\d+)", printed.stdout)
    assert found, f"{program} is not restic"
    return Restic(program, tuple(map(int, found.groups())))


@cache
def stock_restics() -> tuple[Restic, ...]:
    """apt's restic, which must be there, and newer ones as far as they are found."""
    installed = shutil.which("restic")
    assert installed, "restic is missing: apt install restic"
    programs = [installed]
    if named := os.environ.get("STRONGROOM_NEWER_RESTIC"):
        programs.append(named)
    else:
        unpacked = (CACHE / suite / "usr" / "bin" / "restic" for suite in SUITES)
        programs += [str(path) for path in unpacked if path.is_file()]
    found = {one.version: one for one in map(_described, programs)}
    return tuple(found[version] for version in sorted(found))
