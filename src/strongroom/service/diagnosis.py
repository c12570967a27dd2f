"""The doctor's look at sources: would a capture of each begin at all, and with what."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from strongroom.config import FilesSource, GitSource, PostgresSource
from strongroom.errors import SourceError, StrongroomError
from strongroom.service.application import Application
from strongroom.service.doctor import CLOCK_TOLERANCE, Check, State, failed


def source_checks(application: Application) -> Iterator[Check]:
    """Lines for every source, in the order of the configuration."""
    for name, declared in application.settings.sources.items():
        title = f"source {name}"
        try:
            if isinstance(declared, PostgresSource):
                yield from _postgres(title, declared)
            elif isinstance(declared, FilesSource):
                yield from _files(title, declared)
            else:
                yield from _git(title, declared)
        except StrongroomError as error:
            yield failed(title, error)


def _files(title: str, declared: FilesSource) -> Iterator[Check]:
    yield _folder(title, declared.path)
    for folder in declared.required:
        if not (declared.path / folder).is_dir():
            remedy = "Correct `required:` or bring the folder back."
            yield Check(title, State.WARNING, f"{folder} is missing in {declared.path}", remedy)


def _folder(title: str, path: Path) -> Check:
    if not path.is_dir():
        remedy = "Correct `path:`, or mount what should be there."
        told = f"{path} is not a directory"
        return Check(title, State.FAILED, told, remedy, "path-unreadable")
    if not os.access(path, os.R_OK | os.X_OK):
        remedy = "Let the capturing user read it."
        told = f"{path} cannot be read"
        return Check(title, State.FAILED, told, remedy, "path-unreadable")
    return Check(title, State.FINE, f"{path} can be read")


def _git(title: str, declared: GitSource) -> Iterator[Check]:
    if shutil.which("git") is None:
        told = "there is no git program"
        yield Check(title, State.FAILED, told, "Install git.", "code-unreadable")
        return
    readable = _folder(title, declared.path)
    if readable.state is State.FINE:
        from strongroom.sources.code_state import open_checkout

        open_checkout(declared.path, str(declared.path))
        readable = Check(title, State.FINE, f"{declared.path} is a Git checkout")
    yield readable


def _postgres(title: str, declared: PostgresSource) -> Iterator[Check]:
    from strongroom.postgres.preflight import preflight
    from strongroom.postgres.programs import find_programs
    from strongroom.sources.database import connection_to

    address = connection_to(declared.url)
    with address.explaining(), address.connect() as session:
        row = session.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    facts, programs = preflight(address, jobs=declared.jobs, programs=declared.programs)
    encrypted = "with" if facts.tls else "without"
    told = f"{address.describe()}: PostgreSQL {facts.version}, {encrypted} TLS, all can be read"
    yield Check(title, State.FINE, told)
    yield Check(f"{title}: client programs", State.FINE, programs.describe())
    if row is not None and isinstance(row[0], datetime):
        yield _server_clock(title, row[0])
    try:
        sandbox = find_programs(facts.major, purpose="server")
        same = sandbox.major == facts.major
        remedy = "" if same else f"Install PostgreSQL {facts.major} on the host that drills."
        state = State.FINE if same else State.WARNING
        yield Check(f"{title}: sandbox", state, sandbox.describe(), remedy)
    except SourceError as error:
        yield Check(f"{title}: sandbox", State.WARNING, str(error), error.hint)


def _server_clock(title: str, server: datetime) -> Check:
    apart = abs(datetime.now(UTC) - server)
    told = f"{apart.total_seconds():.1f} s apart from this host's"
    if apart <= CLOCK_TOLERANCE:
        return Check(f"{title}: clock", State.FINE, told)
    return Check(f"{title}: clock", State.WARNING, told, "Set both clocks by NTP.")
