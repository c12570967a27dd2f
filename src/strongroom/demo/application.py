"""Builds the whole reference application in one directory: database, uploads and code.

The layout below the directory is `uploads/`, `app/` (the Git repository), and what Strongroom
needs: `repository/`, `state/`, `strongroom.yaml` and the key file. The database is made on a server
that the caller provides. The same seed and number of rows give the same application.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from strongroom.demo.database import (
    LEAST_ROWS,
    create_database,
    finish_database,
    first_trainee,
    open_database,
    seed_rows,
)
from strongroom.demo.releases import UNTRACKED, write_code
from strongroom.demo.uploads import file_count, store_scans, write_uploads
from strongroom.errors import ConfigError, TargetError
from strongroom.postgres.connection import Connection

if TYPE_CHECKING:
    from strongroom.demo.database import Session

__all__ = ["DATABASE", "DEFAULT_ROWS", "DEFAULT_SEED", "DemoApplication", "build_application"]

DATABASE: Final = "tms"
DEFAULT_ROWS: Final = 200_000
DEFAULT_SEED: Final = 20_260_128
# What everybody of the demonstration signs in with; the rows have its hash.
SIGN_IN: Final = "Al-Ain-oasis-41"

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class DemoApplication:
    """Where the parts of a built application are.

    `server` is how its superuser reaches the server, `rows` counts those of all tables,
    `files` the PDF files below `uploads`; `trainee` and `email` are of a user who has certificates.
    """

    directory: Path
    server: Connection
    database: str
    rows: int
    files: int
    trainee: str
    email: str

    @property
    def uploads(self) -> Path:
        return self.directory / "uploads"

    @property
    def code(self) -> Path:
        return self.directory / "app"

    @property
    def repository(self) -> Path:
        return self.directory / "repository"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def database_url(self) -> str:
        """The database as a URL; a password is in it only when `server` holds one."""
        parameters = {
            name: value
            for name, value in self.server.parameters.items()
            if name not in {"dbname", "user"} and value
        }
        login = quote(self.server.user, safe="")
        if self.server.password is not None:
            login += ":" + quote(self.server.password, safe="")
        options = urlencode(parameters, quote_via=quote)
        return f"postgresql://{login}@/{quote(self.database, safe='')}?{options}"

    def database_reference(self) -> str:
        """The database as commands and the configuration take it: never with a password.

        The URL; or, when it holds a password, a reference to a file that keeps it for its owner.
        """
        if self.server.password is None:
            return self.database_url()
        place = self.directory / "database.url"
        _write_private(place, self.database_url())
        return f"file:{place}"

    def write_config(self, path: Path | None = None) -> Path:
        """Write a `strongroom.yaml` that protects all three parts; returns where it is.

        The key file in the directory is made when there is none, readable by its owner only.
        """
        path = path or self.directory / "strongroom.yaml"
        key = self.directory / "repository.key"
        if not key.exists():
            _write_private(key, secrets.token_urlsafe(32))
        password = self.directory / "trainee.password"
        _write_private(password, SIGN_IN)
        values = {
            "URL": self.database_reference(),
            "UPLOADS": str(self.uploads),
            "CODE": str(self.code),
            "UNTRACKED": list(UNTRACKED),
            "REPOSITORY": str(self.repository),
            "KEY": f"file:{key}",
            "STATE": str(self.state),
            "TRAINEE": self.trainee,
            "EMAIL": self.email,
            "PASSWORD": f"file:{password}",
        }
        text = (resources.files(__package__) / "strongroom.yaml.in").read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", json.dumps(value, ensure_ascii=False))
        path.write_text(text, encoding="utf-8")
        return path


def build_application(
    directory: Path,
    server: Connection,
    rows: int = DEFAULT_ROWS,
    progress: Progress | None = None,
    *,
    database: str = DATABASE,
    seed: int = DEFAULT_SEED,
) -> DemoApplication:
    """Build the application below `directory` and, on the server, as a new database.

    `server` is how a superuser reaches it. `progress` is told the name of the stage
    and the share of it that is done. TargetError when `directory` holds something or the database
    exists; SourceError when the server or git fails; ConfigError when `rows` is too small.
    """
    if rows < LEAST_ROWS:
        raise ConfigError(
            f"{rows} rows are too few for an application",
            subject="rows",
            code="usage",
            hint=f"Ask for {LEAST_ROWS} or more.",
        )
    if directory.exists() and any(directory.iterdir()):
        raise TargetError(
            "the directory is not empty", subject=str(directory), code="target-not-empty"
        )
    tell = progress or _tell_nobody
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    files = file_count(rows)
    scans = max(3, min(12, rows // 16_000))

    def write_documents(session: Session) -> int:
        written = write_uploads(
            session, directory / "uploads", files, lambda share: tell("uploads", share)
        )
        store_scans(session, scans)
        return written

    tell("code", 0.0)
    write_code(directory / "app")
    tell("code", 1.0)
    tell("schema", 0.0)
    create_database(server, database)
    with open_database(server, database) as session:
        tell("schema", 1.0)
        written = seed_rows(session, rows, seed, write_documents, lambda share: tell("rows", share))
        finish_database(session, lambda share: tell("indexes and policies", share))
        trainee, email = first_trainee(session)
    return DemoApplication(directory, server, database, rows, written, trainee, email)


def _tell_nobody(_stage: str, _share: float) -> None:
    """What is told of the progress when nobody asked."""


def _write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
