"""A directory as sink and as captured files, and small tools for databases in tests.

The seam between a database and a repository, without a repository: pieces are cut at lengths of no
meaning, so that a proof that relied on a chunker would fail.
"""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from strongroom.model import Piece
from strongroom.postgres.cluster import Cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.exchange import Block
from strongroom.postgres.programs import find_programs

HERE = Path(__file__).parent
ODD_LENGTHS = (1, 700, 13, 4096, 65_537)


class DirectoryStore:
    """See `exchange.CaptureSink` and `exchange.CapturedFiles`. `altered` replaces a file's bytes
    on reading, as a store that lies would; the recorded pieces stay those of what was put."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.altered: dict[str, bytes] = {}
        self._pieces: dict[str, list[Piece]] = {}
        self._guard = threading.Lock()

    def put(self, path: str, blocks: Iterable[Block], *, rows: bool) -> None:
        assert rows == path.startswith("data/")
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for block in blocks:
                out.write(block)
        with self._guard:
            self._pieces[path] = list(_cut(target.read_bytes()))

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def blocks(self, path: str) -> Iterator[Block]:
        data = self.read(path)
        for begin in range(0, len(data), 100_000):
            yield memoryview(data)[begin : begin + 100_000]

    def pieces(self, path: str) -> Sequence[Piece]:
        return self._pieces[path]

    def read(self, path: str) -> bytes:
        return self.altered.get(path) or (self.root / path).read_bytes()


def _cut(data: bytes) -> Iterator[Piece]:
    place, number = 0, 0
    while place < len(data):
        part = data[place : place + ODD_LENGTHS[number % len(ODD_LENGTHS)]]
        yield Piece(len(part), hashlib.sha256(part).digest())
        place, number = place + len(part), number + 1


def psql(
    cluster: Cluster,
    connection: Connection,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
) -> str:
    """What psql prints that fits the cluster's version; stops at the first error."""
    words = [
        word for name, value in (variables or {}).items() for word in ("-v", f"{name}={value}")
    ]
    program = find_programs(cluster.major).path("psql")
    done = subprocess.run(
        [program, "-XqAt", "-v", "ON_ERROR_STOP=1", *words, *arguments],
        env=connection.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_database(cluster: Cluster, name: str, *scripts: str) -> Connection:
    """A new database made by scripts of this directory, which know its name as `db`."""
    psql(cluster, cluster.connection(), "-c", f'CREATE DATABASE "{name}"')
    connection = cluster.connection(name)
    for script in scripts:
        psql(cluster, connection, "-f", str(HERE / script), variables={"db": name})
    return connection
