"""Loads a pg_dump archive into a throw-away cluster with `pg_restore -j2`, then ends the cluster.

The peer of our drill: the very same cluster code and settings, made, started and ended inside the
measured run as our drill does. It proves nothing; it only stops at pg_restore's first error.
`python -m bench.load_with_pg_restore MAJOR PROGRAMS ARCHIVE [read]`, where PROGRAMS is the folder
of pg_restore and MAJOR the cluster's major version. With `read` every row is read once afterwards,
which is the least that any proof takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from strongroom.postgres.cluster import throwaway_cluster

DATABASE = "restored"


def load(major: int, programs: Path, archive: Path, *, reads: bool) -> int:
    """The exit status of pg_restore, or of pg_dump, which reads."""
    with throwaway_cluster(major=major) as cluster:
        connection = cluster.connection("postgres")
        with connection.connect() as session:
            session.autocommit = True
            session.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        environment = {**os.environ, **cluster.connection(DATABASE).environment()}
        words = ["-j2", "--exit-on-error", "--no-owner", "-d", DATABASE, str(archive)]
        commands: list[list[str | Path]] = [[programs / "pg_restore", *words]]
        if reads:
            commands.append([programs / "pg_dump", "-f", "/dev/null"])
        for command in commands:
            if status := subprocess.run(command, env=environment, check=False).returncode:
                return status
        return 0


if __name__ == "__main__":
    READS = sys.argv[4:] == ["read"]
    sys.exit(load(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), reads=READS))
