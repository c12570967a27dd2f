"""Open: a snapshot of a database to look into, for as long as somebody looks.

It is restored into a throw-away server that takes no change (see `postgres.reading`), and gone in
the end; what a killed process leaves `doctor --clean` removes. The password is made for this once
and stands in a file that only its owner reads; it is never an argument of a program.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigError
from strongroom.model import Finding, Verdict
from strongroom.service.application import Application
from strongroom.service.forwarding import forwarded
from strongroom.service.leftover import sandbox
from strongroom.service.listing import proofs
from strongroom.service.rendering import time_json
from strongroom.service.selection import Candidate, find, reading

if TYPE_CHECKING:
    from strongroom.postgres.reading import Reading

__all__ = ["Opened", "opened"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that can be looked into: of which snapshot, how old that is, and how to reach
    it. `password_file` is one as libpq reads it."""

    candidate: Candidate
    reading: Reading
    password_file: Path
    verdict: Verdict
    age: timedelta
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def captured_at(self) -> datetime:
        return self.candidate.snapshot.time

    @property
    def database(self) -> str:
        return self.reading.address.database

    def is_there(self) -> bool:
        """Whether its server still runs."""
        return self.reading.cluster.runs

    def psql(self) -> tuple[list[str], dict[str, str]]:
        """The arguments and the environment of a psql; the password is in neither."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PG")
        }
        environment["PGPASSFILE"] = str(self.password_file)
        program = _client(self.reading.cluster.major)
        return [program, "-d", self.reading.login], environment

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        snapshot = self.candidate.snapshot
        return {
            "url": self.reading.url,
            "database": self.database,
            "source": snapshot.source,
            "snapshot": snapshot.id,
            "repository": self.candidate.repository.name,
            "captured_at": time_json(self.captured_at),
            "age_seconds": round(self.age.total_seconds()),
            "verdict": self.verdict.value,
            "read_only": True,
            "findings": [one.as_json() for one in self.findings],
            "seconds": round(self.seconds, 3),
        }


def _client(major: int) -> str:
    from strongroom.postgres.programs import find_programs

    return find_programs(major).path("psql")


@contextlib.contextmanager
def opened(
    application: Application,
    wanted: str,
    *,
    repository: str | None = None,
    port: int | None = None,
    before: Callable[[], None] = lambda: None,
) -> Iterator[Opened]:
    """The database of a snapshot, until the context ends; with `port` also on 127.0.0.1 there, 0
    for any that is free. `before` is called when it is known what it is, and may still refuse.

    ConfigError `usage` when the snapshot is of no database.
    """
    from strongroom.sources.database import DatabaseSource

    begun = time.monotonic()
    candidate = find(application, wanted, repository=repository)
    snapshot = candidate.snapshot
    if snapshot.kind != "postgres" or snapshot.source is None:
        _refuse(candidate)
    before()
    source = application.source(str(snapshot.source))
    assert isinstance(source, DatabaseSource), "it has that kind"
    application.progress.begin(f"open {source.name}", snapshot.size_bytes)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(sandbox(application))
        try:
            with reading(candidate, progress=application.progress) as view:
                room = stack.enter_context(source.reading_room(view, folder))
        finally:
            application.progress.end()
        private = folder / "login"
        private.mkdir(mode=0o700)
        password_file = private / "pgpass"
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(room.pgpass)
        if port is not None:
            socket = Path(room.address.host) / f".s.PGSQL.{room.address.port}"
            room = room.at("127.0.0.1", stack.enter_context(forwarded(socket, port)))
        _, verdict = proofs(application).get(snapshot.id, (None, Verdict.UNKNOWN))
        age = application.clock() - snapshot.time
        application.note(
            "given", {"database": room.address.database, "as": room.address.user, "read_only": True}
        )
        seconds = time.monotonic() - begun
        yield Opened(candidate, room, password_file, verdict, age, room.findings, seconds)


def _refuse(candidate: Candidate) -> None:
    snapshot = candidate.snapshot
    short, source = snapshot.short_id, snapshot.source or "SOURCE"
    raise ConfigError(
        f"it is a snapshot of kind {snapshot.kind or 'files'}: only databases are opened",
        subject=short,
        code="usage",
        hint=f"List it with `strongroom ls {short}`, print a file with `strongroom dump {short} "
        f"PATH`, or bring a part back with `strongroom restore {source} --snapshot {short} "
        "--include PATTERN`.",
    )
