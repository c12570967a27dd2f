"""An application that is lost, and an empty machine that has its repositories and a configuration.

The small one is served by Python's own web server, so that a recovery takes moments.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.recovery.application_run import end_served
from strongroom.service.recovery_journal import journal_in
from tests.e2e.command_line import Place, make_place
from tests.support.code_ground import commit, git, write
from tests.support.repository_ground import new_repository

PRODUCTION = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app, untracked: ["config/*.ini"]}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
state: state
"""
HEALTHY = '{"status": "ok"}'


def make_production(path: Path, database: str | None = None) -> Place:
    """Uploads and code with a tag `production` one commit before the last, and a database if its
    URL is given, captured once."""
    text = PRODUCTION
    if database is not None:
        text = text.replace(
            "sources:\n", f"sources:\n  database: {{kind: postgres, url: '{database}'}}\n"
        )
    place = make_place(path, text)
    code = place.path / "app"
    code.mkdir()
    git(code, "init", "-q")
    write(code / ".gitignore", "*.log\nconfig/*.ini\n")
    write(code / "public" / "health.json", HEALTHY)
    write(code / "public" / "release.txt", "one")
    commit(code)
    git(code, "tag", "production")
    write(code / "public" / "release.txt", "two")
    commit(code)
    write(code / "config" / "app.ini", "colour = blue\n")
    for name in ("local", "second"):
        new_repository(place.path / name)
    place.json("backup")
    return place


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def serving(port: int, more: Sequence[str] = ()) -> str:
    """The section by which the small application is served and asked, and more lines of it."""
    lines = [
        f"serve: ['{sys.executable}', -m, http.server, '{port}', --bind, 127.0.0.1,"
        " --directory, public]",
        f"url: http://127.0.0.1:{port}",
        "watch: 0s",
        *more,
    ]
    if not any(one.startswith("http:") for one in more):
        lines.append("http: [{path: /health.json, values: {status: ok}}]")
    return "recovery:\n" + "".join(f"  {line}\n" for line in lines)


def empty_machine(production: Place, path: Path, recovery: str = "") -> Place:
    """A machine that has nothing but a configuration, a key, and the repositories within reach."""
    path.mkdir(parents=True)
    shutil.copy2(production.path / "key", path / "key")
    text = re.sub("(kind: postgres, url: )'[^']*'", r"\1env:GONE", production.config.read_text())
    for name in ("local", "second"):
        text = text.replace(f"location: {name},", f"location: {production.path / name},")
    place = Place(path)
    place.write_config(text + recovery)
    return place


@dataclass
class RecoveryGround:
    """A production, where it is recovered to, and where the small application then answers."""

    production: Place
    path: Path
    port: int = field(default_factory=free_port)

    @property
    def target(self) -> Path:
        return self.path / "srv" / "tms"

    def own(self) -> Place:
        """A production of this test's own, from now on the one that is recovered."""
        shutil.copytree(self.production.path, self.path / "tms", symlinks=True)
        self.production = Place(self.path / "tms")
        return self.production

    def machine(self, *more: str, recovery: str | None = None) -> Place:
        """An empty machine; its section `recovery` gets these lines, or is this text."""
        text = serving(self.port, more) if recovery is None else recovery
        return empty_machine(self.production, self.path / "machine", text)


def recovered(place: Place, target: Path, *arguments: object) -> dict[str, Any]:
    """The document of a recovery, whatever its verdict. Any: JSON values."""
    answer = place.run("--json", "recover", "--to", target, *arguments)
    assert answer.out, answer.err
    assert "error" not in answer.document, answer.document
    return answer.document


@contextlib.contextmanager
def ended(directory: Path) -> Iterator[None]:
    """What a recovery into this directory has left running is ended."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            journal = journal_in(directory)
            if journal is not None and journal.served is not None:
                end_served(journal.served)
