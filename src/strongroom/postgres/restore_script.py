"""`restore.sh`: brings a database back from the snapshot's folder with a POSIX shell and psql.

Written for somebody who has nothing else. It says what it does, counts the rows of every table as
psql loaded them (a stream cut at the end of a line loads without any error), stops at the first
error by default and never calls a restore complete that wasn't.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from strongroom.postgres import layout
from strongroom.postgres.manifest import Manifest, SequenceRecord
from strongroom.postgres.statement import copy_in, qualified, quote_literal

__all__ = ["restore_script", "sequence_statement", "sequences_script"]

_BEGIN = r"""#!/bin/sh
# Restores this snapshot into a new database, with psql alone:
#
#     ./restore.sh NEW_DATABASE
#
# Server and user come from psql's own variables (PGHOST, PGPORT, PGUSER, PGPASSWORD, ...); the user
# should be a superuser, or the owner of everything. Use a psql of version @CLIENT@ or newer.
#   MAINTENANCE_DB=postgres   the database to connect to for creating the new one
#   KEEP_GOING=1              go on after errors (the exit status then is 3)
#   SKIP_ROLES=1              don't create roles
set -u

case "${1:-}" in
    ''|-*) echo "usage: $0 NEW_DATABASE" >&2; exit 2 ;;
esac
target=$1
cd "$(dirname "$0")" || exit 2
command -v psql >/dev/null || { echo "restore.sh: psql was not found" >&2; exit 2; }
PGOPTIONS="${PGOPTIONS:-} -c lc_monetary=C -c bytea_output=hex -c statement_timeout=0"
PGCLIENTENCODING=@ENCODING@
export PGOPTIONS PGCLIENTENCODING
errors=0

say() { printf 'restore.sh: %s\n' "$*" >&2; }

failed() { # WHAT
    errors=$((errors + 1))
    say "FAILED: $1 (PostgreSQL's message stands above)"
    if [ -z "${KEEP_GOING:-}" ]; then
        say "stopped; database '$target' is incomplete. Drop it, mend the cause, run again;"
        say "or set KEEP_GOING=1 to go on after errors."
        exit 1
    fi
}

in_target() { psql -X -q -v ON_ERROR_STOP=1 -d "$target" "$@"; }

script() { # FILE
    say "$1"
    if [ -n "${KEEP_GOING:-}" ]; then
        # psql's status is 0 here even after errors: its messages tell.
        messages=$(psql -X -q -d "$target" -f "$1" 2>&1 >/dev/null) || failed "$1"
        case $messages in
            *ERROR:*|*FATAL:*) printf '%s\n' "$messages" >&2; failed "$1" ;;
        esac
    else
        in_target -f "$1" >/dev/null || failed "$1"
    fi
}

table() { # FILE ROWS STATEMENT
    # Without -q psql says how many rows it loaded, and the count must be the captured one.
    said=$(psql -X -v ON_ERROR_STOP=1 -d "$target" \
        -c "SET session_replication_role = replica" -c "$3" <"$1" 2>&1)
    status=$?
    if [ "$status" != 0 ]; then
        # Only superusers may silence triggers; nearly all of them come after the rows anyway.
        said=$(psql -X -v ON_ERROR_STOP=1 -d "$target" -c "$3" <"$1" 2>&1)
        status=$?
    fi
    count=$(printf '%s\n' "$said" | sed -n 's/^COPY \([0-9]*\)$/\1/p')
    if [ "$status" != 0 ]; then
        printf '%s\n' "$said" >&2
        failed "$1"
    elif [ "$count" != "$2" ]; then
        say "$1: $2 rows were captured, ${count:-none} were loaded"
        failed "$1"
    fi
}

psql -X -q -v ON_ERROR_STOP=1 -d "${MAINTENANCE_DB:-postgres}" -c 'SELECT 1' >/dev/null || {
    say "no connection to the server; set PGHOST, PGPORT, PGUSER, PGPASSWORD"
    exit 1
}
if [ -z "${SKIP_ROLES:-}" ]; then
    say "roles (those that exist already are left as they are)"
    # Roles that exist give errors, which are expected: nothing stops here.
    psql -X -q -d "${MAINTENANCE_DB:-postgres}" -f roles.sql 2>&1 >/dev/null |
        grep -v 'already exists' >&2
fi
say "database $target"
psql -X -q -v ON_ERROR_STOP=1 -v create=true -v "target=$target" \
    -d "${MAINTENANCE_DB:-postgres}" -f database.sql || {
    say "the database could not be created: does it exist already, or is its locale unknown here?"
    exit 1
}
"""

_END = r"""
say "settings"
in_target -v create=false -v "target=$target" -f database.sql || failed database.sql
if [ "$errors" != 0 ]; then
    say "done, with $errors errors: the database is NOT complete"
    exit 3
fi
say "done: @TABLES@ tables, @ROWS@ rows in database $target"
"""


def restore_script(manifest: Manifest) -> bytes:
    """The script for the snapshot that `manifest` describes."""
    lines = [
        f"in_target -c {shlex.quote(statement)} || failed {shlex.quote(statement)}"
        for statement in manifest.removals
    ]
    lines.append(f"script {layout.PRE_DATA_SQL}")
    lines.append(f'say "rows of {len(manifest.tables)} tables"')
    for one in manifest.tables:
        statement = copy_in(one.loaded_into, one.columns)
        lines.append(f"table {shlex.quote(one.file)} {one.rows} {shlex.quote(statement)}")
    if manifest.sequences:
        lines.append(f"script {layout.SEQUENCES_SQL}")
    if manifest.large_objects.count:
        lines.append(f"script {layout.LARGE_OBJECTS_SQL}")
    lines.append(f"script {layout.POST_DATA_SQL}")
    for schema, name in manifest.matviews:
        view = qualified(schema, name)
        lines.append(f"say {shlex.quote(f'materialised view {schema}.{name}')}")
        command = f"REFRESH MATERIALIZED VIEW {view}"
        lines.append(f"in_target -c {shlex.quote(command)} || failed {shlex.quote(name)}")
    lines.append('say "statistics"')
    lines.append("in_target -c ANALYZE || failed ANALYZE")
    words = {
        "@CLIENT@": str(manifest.versions.client_major),
        "@ENCODING@": manifest.session.get("client_encoding", "UTF8"),
        "@TABLES@": str(len(manifest.tables)),
        "@ROWS@": str(manifest.rows),
    }
    text = _filled(_BEGIN, words) + "\n".join(lines) + "\n" + _filled(_END, words)
    return text.encode()


def _filled(template: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        template = template.replace(word, value)
    return template


def sequences_script(manifest: Manifest) -> bytes:
    """`sequences.sql`: every sequence to the value that was captured."""
    lines = [f"{sequence_statement(one)};" for one in manifest.sequences]
    return ("\n".join(["-- Read after the rows: never behind them.", *lines]) + "\n").encode()


def sequence_statement(sequence: SequenceRecord) -> str:
    """The statement that sets a sequence to the value that was captured."""
    name = quote_literal(qualified(sequence.schema, sequence.name))
    called = "true" if sequence.is_called else "false"
    return f"SELECT pg_catalog.setval({name}, {sequence.last_value}, {called})"
