"""pg_dump and pg_dumpall as children: the schema, large objects, and the server's roles.

The archive that a parallel load needs is made once; the plain scripts are written from it by
pg_restore, so that all three are the same dump. Plain scripts carry `\\restrict` lines with a
random key, which keep hostile names from becoming psql commands. The key is replaced by the digest
of the script without those lines: equal schemas give equal scripts, and nobody can put a key into
a script whose digest it is. Every script loads into the source's own version, though the programs
that write it may be newer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from strongroom.postgres import layout
from strongroom.postgres.child import ProgramError, stream_output
from strongroom.postgres.connection import Connection
from strongroom.postgres.crew import Crew
from strongroom.postgres.exchange import Block
from strongroom.postgres.programs import Programs

__all__ = [
    "LockedError",
    "dump_archive",
    "dump_large_objects",
    "dump_roles",
    "for_every_server",
    "plain_scripts",
    "with_stable_key",
]

# From 17 on the programs also switch off a timeout that older servers have not: an error, by which
# a careful psql stops. It stands among the settings with which a script begins.
_NEW_TIMEOUT: Final = re.compile(
    rb"\A((?:(?:--.*|\\restrict \w+|SET \w+ = .*)?\n)*?)SET transaction_timeout = 0;\n"
)
_TIMEOUT_IF_KNOWN: Final = (
    rb"\1SELECT pg_catalog.set_config(name, '0', false)"
    rb" FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout';" + b"\n"
)
_RESTRICT: Final = re.compile(rb"^\\restrict ([A-Za-z0-9]+)\n", re.MULTILINE)


class LockedError(Exception):
    """pg_dump could not lock a table in time: somebody waits between the leader's lock and it."""


def dump_archive(
    programs: Programs,
    connection: Connection,
    crew: Crew,
    snapshot: str,
    *,
    lock_timeout_seconds: int,
) -> bytes:
    """The schema in the exported snapshot, as an archive of pg_dump's custom format."""
    arguments = [programs.path("pg_dump"), "--schema-only", "--format=custom", "--compress=0"]
    arguments += [f"--snapshot={snapshot}", f"--lock-wait-timeout={lock_timeout_seconds * 1000}"]
    arguments += ["--no-password", "-d", connection.database_argument()]
    subject, environment = connection.describe(), connection.environment()
    try:
        return b"".join(stream_output(arguments, environment, crew, subject=subject))
    except ProgramError as error:
        if "LOCK TABLE" in error.messages:
            raise LockedError from error
        raise


def plain_scripts(
    programs: Programs, connection: Connection, crew: Crew, archive: bytes
) -> dict[str, bytes]:
    """What stands before and what comes after the rows, as scripts for psql, by their path."""
    subject, environment = connection.describe(), connection.environment()
    parts = {}
    for section, path in (
        ("pre-data", layout.PRE_DATA_SQL),
        ("post-data", layout.POST_DATA_SQL),
    ):
        arguments = [programs.path("pg_restore"), f"--section={section}", "--file=-"]
        text = stream_output(arguments, environment, crew, subject=subject, stdin=archive)
        parts[path] = with_stable_key(for_every_server(b"".join(text)))
    return parts


def dump_roles(programs: Programs, connection: Connection, crew: Crew) -> bytes:
    """Roles, memberships and tablespaces of the whole server, without passwords."""
    arguments = [programs.path("pg_dumpall"), "--globals-only", "--no-role-passwords"]
    arguments += ["--no-password", "-l", connection.database]
    arguments += ["-d", connection.database_argument()]
    subject, environment = connection.describe(), connection.environment()
    return with_stable_key(b"".join(stream_output(arguments, environment, crew, subject=subject)))


def dump_large_objects(
    programs: Programs, connection: Connection, crew: Crew, snapshot: str
) -> Iterator[Block]:
    """All large objects in the exported snapshot as a script for psql, and nothing else."""
    arguments = [programs.path("pg_dump"), "--data-only", "--blobs", "--exclude-table=*.*"]
    arguments += [f"--snapshot={snapshot}", "--no-password", "-d", connection.database_argument()]
    subject = connection.describe()
    blocks = stream_output(arguments, connection.environment(), crew, subject=subject)
    for number, block in enumerate(blocks):
        yield block if number else for_every_server(block)


def for_every_server(script: Block) -> bytes:
    """A script, or its first block, without a setting that only newer servers know."""
    return _NEW_TIMEOUT.sub(_TIMEOUT_IF_KNOWN, script, count=1)


def with_stable_key(script: bytes) -> bytes:
    """The script with its random restrict key replaced by one that depends on its text."""
    found = _RESTRICT.search(script)
    if found is None:
        return script
    begin, end = b"\\restrict " + found[1] + b"\n", b"\\unrestrict " + found[1] + b"\n"
    head, _, rest = script.partition(begin)
    body, _, tail = rest.rpartition(end)
    key = hashlib.sha256(head + body + tail).hexdigest().encode()
    return head + begin.replace(found[1], key) + body + end.replace(found[1], key) + tail
