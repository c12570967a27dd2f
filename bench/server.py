"""The PostgreSQL server that holds the benchmark's database: ours alone, durable, quiet.

It is one of our own clusters on a Unix socket, with settings that a small production server would
have: it flushes to disk as usual (fsync on), and leaves vacuuming to the benchmark, so that no
background work falls into a measured run.

Invariant: the server ends with the context, whatever happened inside.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strongroom.postgres.cluster import Cluster, ClusterOptions, start_cluster

DATABASE = "tms"
MAJOR = 15  # Debian 12's own; the next higher one where it is missing
SETTINGS = {
    "autovacuum": "off",
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
}


class ServerError(Exception):
    """The database refused a statement or rows; the text is its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """The benchmark's database on a running cluster."""

    cluster: Cluster

    @property
    def programs(self) -> Path:
        """The directory of client programs of the server's own version."""
        return self.cluster.programs.directory

    @property
    def files(self) -> Path:
        """Where the rows lie on disk."""
        return self.cluster.directory / "data" / "base"

    @property
    def url(self) -> str:
        return f"postgresql:///{DATABASE}?host={self.cluster.socket_directory}&user=postgres"

    @property
    def environment(self) -> dict[str, str]:
        """What a client program needs to reach the database; there is no password."""
        return {
            "PGHOST": str(self.cluster.socket_directory),
            "PGUSER": self.cluster.superuser,
            "PGDATABASE": DATABASE,
        }

    def run(self, sql: str, *, database: str = DATABASE) -> str:
        """What `sql` answers, as unaligned text. Raises ServerError."""
        return self._psql(["-c", sql], [], database)

    def copy_in(self, table: str, blocks: Iterable[bytes]) -> None:
        """Adds the rows in `blocks`, COPY text, to `table`. Raises ServerError."""
        self._psql(["-c", f"COPY {table} FROM STDIN"], blocks, DATABASE)

    def _psql(self, words: Sequence[str], blocks: Iterable[bytes], database: str) -> str:
        psql = str(self.programs / "psql")
        with tempfile.TemporaryFile() as messages:
            child = subprocess.Popen(
                [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *words],
                env={**os.environ, **self.environment, "PGDATABASE": database},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                for block in blocks:
                    child.stdin.write(block)
                child.stdin.close()
            except BrokenPipeError:
                pass  # the exit status and the messages say why
            answer = child.stdout.read().decode()
            child.stdout.close()
            if status := child.wait():
                messages.seek(0)
                text = messages.read().decode(errors="replace").strip()
                raise ServerError(f"psql ended with {status}: {text}")
            return answer.strip()


@contextmanager
def server(directory: Path) -> Iterator[Server]:
    """A new, empty database on a new server that keeps its data below `directory`."""
    options = ClusterOptions(directory=directory, durable=True, settings=SETTINGS)
    cluster = start_cluster(MAJOR, options)
    try:
        made = Server(cluster)
        made.run(f"CREATE DATABASE {DATABASE}", database="postgres")
        yield made
    finally:
        cluster.stop()
