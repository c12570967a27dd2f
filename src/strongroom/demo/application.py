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
from urllib.parse import quote, urlencode, urlsplit

from strongroom.demo.database import (
    create_database,
    finish_database,
    first_trainee,
    open_database,
    seed_rows,
)
from strongroom.demo.releases import UNTRACKED, write_code
from strongroom.demo.uploads import file_count, store_scans, write_uploads
from strongroom.errors import TargetError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import DictRow

__all__ = ["DATABASE", "DEFAULT_ROWS", "DEFAULT_SEED", "DemoApplication", "build_application"]

DATABASE: Final = "tms"
DEFAULT_ROWS: Final = 200_000
DEFAULT_SEED: Final = 20_260_128

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class DemoApplication:
    """Where the parts of a built application are.

    `server` is the libpq connection string of the server, `rows` counts those of all tables,
    `files` the PDF files below `uploads`; `trainee` is the id of a user who has certificates.
    """

    directory: Path
    server: str
    database: str
    rows: int
    files: int
    trainee: str

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
        from psycopg.conninfo import conninfo_to_dict

        known = {name: str(value) for name, value in conninfo_to_dict(self.server).items()}
        known.pop("dbname", None)
        user = quote(known.pop("user", ""), safe="")
        password = known.pop("password", None)
        login = f"{user}:{quote(password, safe='')}" if password else user
        options = urlencode(known, quote_via=quote)
        return f"postgresql://{login}{'@' if login else ''}/{self.database}?{options}"

    def write_config(self, path: Path | None = None) -> Path:
        """Write a `strongroom.yaml` that protects all three parts; returns where it is.

        The key file beside it is made when there is none, readable by its owner only. A server
        that wants a password has its URL kept in such a file too (invariant I6).
        """
        path = path or self.directory / "strongroom.yaml"
        key = self.directory / "repository.key"
        if not key.exists():
            _write_private(key, secrets.token_urlsafe(32))
        url = self.database_url()
        if urlsplit(url).password:
            _write_private(self.directory / "database.url", url)
            url = f"file:{self.directory / 'database.url'}"
        values = {
            "URL": url,
            "UPLOADS": str(self.uploads),
            "CODE": str(self.code),
            "UNTRACKED": list(UNTRACKED),
            "REPOSITORY": str(self.repository),
            "KEY": f"file:{key}",
            "STATE": str(self.state),
            "TRAINEE": self.trainee,
        }
        text = (resources.files(__package__) / "strongroom.yaml.in").read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", json.dumps(value, ensure_ascii=False))
        path.write_text(text, encoding="utf-8")
        return path


def build_application(
    directory: Path,
    server: str,
    rows: int = DEFAULT_ROWS,
    progress: Progress | None = None,
    *,
    database: str = DATABASE,
    seed: int = DEFAULT_SEED,
) -> DemoApplication:
    """Build the application below `directory` and, on the server, as a new database.

    `server` is a libpq connection string of a superuser. `progress` is told the name of the stage
    and the share of it that is done. TargetError when `directory` holds something or the database
    exists; SourceError when the server or git fails; ConfigError when `rows` is too small.
    """
    if directory.exists() and any(directory.iterdir()):
        raise TargetError(
            "the directory is not empty", subject=str(directory), code="target-not-empty"
        )
    tell = progress or _tell_nobody
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    files = file_count(rows)
    scans = max(3, min(12, rows // 16_000))

    def write_documents(connection: Connection[DictRow]) -> int:
        written = write_uploads(
            connection, directory / "uploads", files, lambda share: tell("uploads", share)
        )
        store_scans(connection, scans)
        return written

    tell("code", 0.0)
    write_code(directory / "app")
    tell("code", 1.0)
    tell("schema", 0.0)
    create_database(server, database)
    with open_database(server, database) as connection:
        tell("schema", 1.0)
        written = seed_rows(
            connection, rows, seed, write_documents, lambda share: tell("rows", share)
        )
        finish_database(connection, lambda share: tell("indexes and policies", share))
        trainee = first_trainee(connection)
    return DemoApplication(directory, server, database, rows, written, trainee)


def _tell_nobody(_stage: str, _share: float) -> None:
    """What is told of the progress when nobody asked."""


def _write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
