"""What somebody should know before rows go back into a live table: what else will act, what cannot
come back as it was, and what the role may not do.

Looks at the live catalogue only, for the tables that something goes into.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.postgres.row_comparison import equal
from strongroom.postgres.statement import quote_literal, quote_name
from strongroom.postgres.undelete import CHANGED, MISSING, Found, Plan

if TYPE_CHECKING:
    import psycopg

    from strongroom.postgres.table_shape import Column

__all__ = ["advise", "lacking_privileges"]

_INSERTS, _UPDATES = 4, 16
_ACTING: Final = """
SELECT t.tgname::text, (t.tgtype & %s) <> 0, (t.tgtype & %s) <> 0
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = %s::regclass AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION ALL
SELECT r.rulename::text, r.ev_type = '3', r.ev_type = '2' FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = %s::regclass AND r.ev_enabled IN ('O', 'A') AND r.ev_type IN ('2', '3')
ORDER BY 1"""
_PRIVILEGES: Final = """
SELECT pg_catalog.has_table_privilege(%s::regclass, 'INSERT')
        OR (SELECT bool_and(pg_catalog.has_column_privilege(%s::regclass, c, 'INSERT'))
            FROM unnest(%s::text[]) c),
    pg_catalog.has_any_column_privilege(%s::regclass, 'UPDATE'), current_user::text"""
_SEQUENCE: Final = "SELECT pg_catalog.pg_get_serial_sequence(%s, %s)"
_STATE: Final = """
SELECT s.seqincrement, CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE')
    THEN pg_catalog.pg_sequence_last_value(c.oid) END, s.seqstart
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
WHERE c.oid = %s::regclass"""
_NUMBERS: Final = frozenset({"smallint", "integer", "bigint", "numeric"})


def advise(plan: Plan, live: psycopg.Connection) -> None:
    """Add to the plan what is to be known of the tables that it concerns."""
    for found in plan.found.values():
        missing, changed = plan.included(found, MISSING), plan.included(found, CHANGED)
        _tell_columns(plan, found, missing)
        if missing or changed:
            _tell_acting(plan, live, found, missing, changed)
        if missing:
            for column in found.pair.columns:
                _tell_sequence(plan, live, found, column)
    for label, what, role in lacking_privileges(plan, live):
        plan.tell("undelete-obstacle", label, f"{role} may not {what} there; another role has to")


def lacking_privileges(plan: Plan, live: psycopg.Connection) -> Iterator[tuple[str, str, str]]:
    """What the session's role would need and has not: table, INSERT or UPDATE, the role."""
    for found in plan.found.values():
        missing, changed = plan.included(found, MISSING), plan.included(found, CHANGED)
        if not missing and not changed:
            continue
        name = found.pair.live.table.sql
        columns = list(found.pair.columns)
        row = live.execute(_PRIVILEGES.encode(), [name, name, columns, name]).fetchone()
        assert row is not None
        may_insert, may_update, role = row
        if missing and not may_insert:
            yield found.pair.label, "INSERT", role
        if changed and not may_update:
            yield found.pair.label, "UPDATE", role


def _tell_columns(plan: Plan, found: Found, missing: int) -> None:
    pair = found.pair
    captured, live = pair.captured.columns, pair.live.columns
    dropped = [name for name, one in captured.items() if name not in live and not one.generated]
    added = [one for name, one in live.items() if name not in captured and not one.generated]
    generated = [
        name
        for name, one in captured.items()
        if name in live and one.generated != live[name].generated
    ]
    if dropped:
        message = f"dropped since, so that their values do not come back: {_listed(dropped)}"
        plan.tell("undelete-columns", pair.label, message)
    if added:
        names = _listed([one.name for one in added])
        message = f"added since, so that rows which come back have the default: {names}"
        plan.tell("undelete-columns", pair.label, message)
    if generated:
        message = f"generated on one side only, and left alone: {_listed(generated)}"
        plan.tell("undelete-columns", pair.label, message)
    for name in pair.retyped:
        before, now = captured[name].type, live[name].type
        message = f"{name} was {before} and is {now}: its values are compared as text"
        plan.tell("undelete-columns", pair.label, message)
    if missing:
        _tell_required(plan, found, added)


def _tell_required(plan: Plan, found: Found, added: list[Column]) -> None:
    """What must have a value by now and gets none from what was captured."""
    pair = found.pair
    for name in pair.columns:
        if pair.live.columns[name].not_null and not pair.captured.columns[name].not_null:
            rows = plan.desk.count(
                f"SELECT count(*) FROM {pair.captured.relation} s JOIN {found.name} f"
                f" ON {equal('s', pair.rows_key.columns, pair.rows_key.operators, 'f')}"
                f" WHERE f.included AND f.state = '{MISSING}' AND s.{quote_name(name)} IS NULL"
            )
            if rows:
                message = f"{name} must have a value since, and {rows} rows have none"
                plan.tell("undelete-obstacle", pair.label, message)
    required = [one.name for one in added if one.not_null and not one.filled]
    if required:
        message = f"{_listed(required)} must have a value and the snapshot has none"
        plan.tell("undelete-obstacle", pair.label, message)


def _tell_acting(
    plan: Plan, live: psycopg.Connection, found: Found, missing: int, changed: int
) -> None:
    relation = found.pair.live.table.sql
    rows = live.execute(_ACTING.encode(), [_INSERTS, _UPDATES, relation, relation]).fetchall()
    names = [
        name
        for name, on_insert, on_update in rows
        if (on_insert and missing) or (on_update and changed)
    ]
    if names:
        message = f"these act when rows are put back: {_listed(names)}"
        plan.tell("undelete-triggers", found.pair.label, message)


def _tell_sequence(plan: Plan, live: psycopg.Connection, found: Found, column: str) -> None:
    pair = found.pair
    if pair.live.columns[column].plain_type not in _NUMBERS:
        return
    row = live.execute(_SEQUENCE.encode(), [pair.live.table.sql, column]).fetchone()
    if row is None or row[0] is None:
        return
    state = live.execute(_STATE.encode(), [row[0]]).fetchone()
    if state is None:
        return
    step, last, start = state
    extreme = "max" if step > 0 else "min"
    key = pair.rows_key
    keys = " AND ".join(
        f"s.{quote_name(one)} {operator} f.k{n}"
        for n, (one, operator) in enumerate(zip(key.columns, key.operators, strict=True), 1)
    )
    ((furthest,),) = plan.desk.rows(
        f"SELECT {extreme}(s.{quote_name(column)}) FROM {pair.captured.relation} s"
        f" JOIN {found.name} f ON {keys} WHERE f.included AND f.state = '{MISSING}'"
    )
    reached = start - step if last is None else last
    if furthest is not None and (furthest - reached) * step > 0:
        name, relation = quote_literal(row[0]).strip(), pair.live.table.sql
        statement = (
            f"SELECT pg_catalog.setval({name}, (SELECT {extreme}({quote_name(column)})"
            f" FROM {relation}))"
        )
        plan.afterwards.append(statement)
        message = (
            f"{column} comes back up to {furthest}, and {row[0]} is at {reached}: set it beyond"
            f" when the rows are back, or new rows will collide: {statement};"
        )
        plan.tell("undelete-sequence", pair.label, message)


def _listed(names: list[str]) -> str:
    return ", ".join(names)
