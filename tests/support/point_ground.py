"""A small application whose database refers to its uploads, on a server of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from strongroom.config import load_settings
from strongroom.postgres.cluster import Cluster
from strongroom.service.application import Application
from strongroom.service.ledger_copy import store_copies
from strongroom.service.point_record import PATH
from tests.e2e.command_line import Place, make_place
from tests.support.code_ground import make_application
from tests.support.failure_ground import execute, url_of
from tests.support.repository_ground import PASSWORD, new_repository

CONFIG = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: "URL"}
  uploads: {kind: files, path: uploads, exclude: ["*.tmp"]}
  code: {kind: git, path: app}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
references:
  - source: database
    sql: "SELECT file_path, size, sha256 FROM documents"
    files: uploads
state: state
"""

SCHEMA = """
CREATE TABLE documents (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    file_path text, size bigint, sha256 text
);
CREATE TABLE django_migrations (
    id integer PRIMARY KEY, app text, name text, applied timestamptz DEFAULT now()
);
INSERT INTO django_migrations VALUES (1, 'tms', '0001_initial'), (2, 'tms', '0002_lpo');
"""


def make_point_place(path: Path, cluster: Cluster, database: str) -> Place:
    """The database with a row for each upload, and two empty repositories."""
    place = make_place(path, CONFIG.replace("URL", url_of(cluster, database)))
    (place.path / "key").write_text(PASSWORD + "\n")
    make_application(path / "app")
    for name in ("local", "second"):
        new_repository(path / name)
    execute(cluster, "postgres", f"CREATE DATABASE {database}")
    execute(cluster, database, SCHEMA)
    for file in sorted(place.uploads.rglob("*")):
        if file.is_file():
            refer_to(cluster, database, place, file.relative_to(place.uploads).as_posix())
    return place


def refer_to(cluster: Cluster, database: str, place: Place, name: str) -> None:
    """A row for a file as it is now."""
    content = (place.uploads / name).read_bytes()
    with cluster.connection(database).connect() as session:
        session.execute(
            b"INSERT INTO documents (file_path, size, sha256) VALUES (%s, %s, %s)",
            [name, len(content), hashlib.sha256(content).hexdigest()],
        )


def put_record(place: Place, point: str, content: bytes) -> None:
    """Another record for a point, as whoever has the key may write it."""
    application = Application(load_settings(place.config))
    store_copies(application, [application.repository("local")], point, beside={PATH: content})
    application.close()
