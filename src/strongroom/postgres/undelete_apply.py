"""Putting rows back: the script that was written, in one transaction of the live database.

Each statement must concern as many rows as the plan says; before the end, all rows that were put
back are read again and compared with the snapshot's. Whatever goes otherwise undoes all of it: so
does a lost connection, or the end of this process. What acts on the rows (triggers) acts as for
anybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.errors import BusyError, SourceError, StrongroomError, TargetError
from strongroom.postgres.connection import Connection
from strongroom.postgres.messages import without_values
from strongroom.postgres.row_comparison import Desk, digest_of, equal, matched
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.undelete import Found, Plan
from strongroom.postgres.undelete_script import LOCK_TIMEOUT, Script

if TYPE_CHECKING:
    import psycopg

__all__ = ["apply_script"]

_COUNTED: Final = ("INSERT", "UPDATE")
_MOVED: Final = "rows-moved"


def apply_script(plan: Plan, script: Script, target: Connection) -> None:
    """The script's statements are done, and what came back is what was captured, but for what the
    plan's findings say. Nothing was changed when it raises.

    TargetError `rows-moved` when live rows are not what the plan saw, `target-refused` when the
    database refuses them otherwise; BusyError when somebody else holds them.
    """
    import psycopg

    with target.connect() as session:
        try:
            with session.transaction():
                _run(plan, script, session, target)
        except psycopg.Error as error:
            raise _explained(plan, target, error) from None


def _run(plan: Plan, script: Script, session: psycopg.Connection, target: Connection) -> None:
    for statement, expected in script.statements():
        cursor = session.execute(statement)
        if expected >= 0 and cursor.rowcount != expected:
            raise TargetError(
                f"{expected} rows were to be put back by a statement, and it concerned"
                f" {cursor.rowcount}: a trigger or rule of the table keeps them out",
                subject=target.describe(),
                hint="Look at the triggers named by undelete-triggers. Nothing was changed.",
            )
    session.execute(b"SET CONSTRAINTS ALL IMMEDIATE")
    pin_settings(session, pinned_settings(session.info.server_version), local=True)
    for found in plan.found.values():
        _verify(plan, found, session)


def _verify(plan: Plan, found: Found, session: psycopg.Connection) -> None:
    """What was put back is there; what is not as it was captured is told."""
    pair, desk, key = found.pair, plan.desk, found.pair.rows_key
    names = ", ".join(f"f.k{n}" for n, _ in enumerate(key.columns, 1))
    wanted = desk.key_table(pair, key.columns)
    if not desk.execute(f"INSERT INTO {wanted} SELECT {names} FROM {found.name} f WHERE included"):
        return
    there = desk.fetch(session, pair, key, wanted)
    lost = desk.count(
        f"SELECT count(*) FROM {wanted} w WHERE NOT EXISTS"
        f" (SELECT FROM {there} l WHERE {matched('w', 'l', key.operators)})"
    )
    if lost:
        raise TargetError(
            f"{lost} rows are not there after they were put back: a trigger took them elsewhere",
            subject=pair.label,
            hint="Look at the triggers named by undelete-triggers. Nothing was changed.",
        )
    other = _differing(desk, found, there)
    if other:
        message = f"{other} rows have other values than in the snapshot now that they are back"
        plan.tell("undelete-altered", pair.label, message)


def _differing(desk: Desk, found: Found, there: str) -> int:
    pair, key = found.pair, found.pair.rows_key
    return desk.count(
        f"SELECT count(*) FROM {pair.captured.relation} s"
        f" JOIN {there} l ON {equal('s', key.columns, key.operators, 'l')}"
        f" WHERE l.digest <> {digest_of('s', pair.columns)}"
    )


def _explained(plan: Plan, target: Connection, error: psycopg.Error) -> StrongroomError:
    """What the database refused, and whether it will again."""
    import psycopg

    reason = without_values(error.diag.message_primary or str(error).partition("\n")[0])
    subject = target.describe()
    undone = "Nothing was changed."
    if isinstance(error, psycopg.errors.SerializationFailure):
        return TargetError(reason.removeprefix("strongroom: "), subject=subject, code=_MOVED)
    if isinstance(error, psycopg.errors.UniqueViolation):
        return _taken(plan, target, error)
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
        return BusyError(
            f"somebody else holds rows or tables that are to be written ({LOCK_TIMEOUT}): {reason}",
            subject=subject,
            hint=f"Wait for the other sessions, then run the command again. {undone}",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return SourceError(
            reason,
            subject=subject,
            code="database-privilege",
            hint=f"Name a role that may write these tables with --target env:NAME. {undone}",
        )
    if isinstance(error, psycopg.OperationalError) and error.diag.sqlstate is None:
        return SourceError(
            reason, subject=subject, hint="Look at the server, then run the command again."
        )
    if isinstance(error, psycopg.errors.NotNullViolation):
        return TargetError(
            f"the database refuses the rows: {reason}",
            subject=subject,
            hint=f"{error.diag.column_name} of {error.diag.table_name} must have a value, and the"
            f" rows that come back have none: give the column a default for the while. {undone}",
        )
    constraint = error.diag.constraint_name
    where = f" ({constraint} of {error.diag.table_name})" if constraint else ""
    return TargetError(
        f"the database refuses the rows: {reason}{where}",
        subject=subject,
        hint=f"Put them back by hand, from the SQL that --output writes. {undone}",
    )


def _taken(plan: Plan, target: Connection, error: psycopg.Error) -> TargetError:
    table = f"{error.diag.schema_name}.{error.diag.table_name}"
    index = error.diag.constraint_name or ""
    keys = {one.pair.rows_key.index for one in plan.found.values()}
    if index in keys:
        message = f"rows of {table} that were gone are there again ({index})"
        return TargetError(message, subject=target.describe(), code=_MOVED)
    return TargetError(
        f"a live row of {table} has the same values as one to put back ({index})",
        subject=target.describe(),
        hint="Change or remove that row, or leave the other one out with --where. Nothing was"
        " changed.",
    )
