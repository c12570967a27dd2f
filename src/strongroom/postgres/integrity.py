"""The integrity rung: is what came back fit for use, beyond being alike?

Sequences whose next value is taken already, materialised views without rows, indexes and
constraints that don't hold what they promise, collations whose sorting has changed under an index.
A copy that is faithful to a sick source is faithful: that is told as a warning, not as a failure.
What the source was like is known from the snapshot: definitions and sequences from each snapshot,
collations from those of newer versions. Reads only, and asks indexes where there are any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from strongroom.model import Finding, finding
from strongroom.postgres.answers import Answers, CollationState
from strongroom.postgres.inventory import CatalogObject, Inventory
from strongroom.postgres.inventory_sql import USER_SCHEMA
from strongroom.postgres.manifest import Manifest, SequenceRecord
from strongroom.postgres.messages import without_values
from strongroom.postgres.statement import qualified, quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["examine", "read_collation_states"]

_AT_CAPTURE: Final = "; so it was in the source when it was captured"

# Columns that take their values straight from a sequence: identities, and defaults that are
# nothing but nextval(); an expression around it makes other values of it.
_SEQUENCES: Final = f"""
SELECT DISTINCT n.nspname::text, s.relname::text, q.seqincrement, tn.nspname::text,
    t.relname::text, a.attname::text
FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
JOIN (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
    FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
        AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass
        AND d.refclassid = 'pg_catalog.pg_class'::regclass) u ON u.sequence = s.oid
JOIN pg_catalog.pg_class t ON t.oid = u.relation AND t.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.number
LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE s.relkind = 'S' AND {USER_SCHEMA}
    AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
    AND coalesce(pg_catalog.pg_get_expr(f.adbin, f.adrelid), 'nextval()')
        ~ '^nextval\\([^()]*\\)$'
ORDER BY 1, 2, 4, 5, 6"""

_COLLATIONS: Final = b"""
SELECT DISTINCT n.nspname::text || '.' || c.collname::text, c.collversion,
    coalesce(pg_catalog.pg_collation_actual_version(c.oid), '')
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
JOIN pg_catalog.pg_attribute a ON a.attcollation = c.oid AND a.attnum > 0
WHERE c.collversion IS NOT NULL"""
_DATABASE_COLLATION: Final = b"""
SELECT datcollversion, coalesce(pg_catalog.pg_database_collation_actual_version(oid), '')
FROM pg_catalog.pg_database WHERE datname = current_database() AND datcollversion IS NOT NULL"""

# Section, attribute that must be true, code, and what is wrong when it isn't.
_MUST_BE: Final = (
    ("views", "populated", "matview-unpopulated", "it holds no rows and cannot be read"),
    ("indexes", "valid", "index-invalid", "it is not used, and a unique one guards nothing"),
    ("constraints", "validated", "constraint-unvalidated", "rows may break it"),
    ("domain constraints", "validated", "constraint-unvalidated", "values may break it"),
)


def examine(
    session: psycopg.Connection,
    manifest: Manifest,
    captured: Inventory,
    observed: Inventory,
    answers: Answers | None,
    *,
    changed: Collection[str] = (),
) -> tuple[int, list[Finding]]:
    """How many comparisons were made, and what they found.

    `changed` are the labels of tables whose rows were found to differ: about these nothing is
    known of the source.
    """
    found: list[Finding] = []
    checked = 0
    for one in _promises(captured, observed):
        checked += 1
        found += [] if one is None else [one]
    for one in _sequences(session, manifest, changed):
        checked += 1
        found += [] if one is None else [one]
    states = read_collation_states(session)
    checked += len(states)
    found += _collations(states, manifest, answers)
    return checked, found


def read_collation_states(session: psycopg.Connection) -> dict[str, CollationState]:
    """The collations that have versions and are used, the database's own among them."""
    rows = session.execute(_COLLATIONS).fetchall()
    found = {str(name): CollationState(str(was), str(now)) for name, was, now in rows}
    if session.info.server_version >= 150000:
        row = session.execute(_DATABASE_COLLATION).fetchone()
        if row is not None:
            found["database"] = CollationState(str(row[0]), str(row[1]))
    return dict(sorted(found.items()))


def _promises(captured: Inventory, observed: Inventory) -> Iterator[Finding | None]:
    """What a definition promises and its object does not hold."""
    for section, attribute, code, why in _MUST_BE:
        for key, before in captured.objects.items():
            if before.section != section or before.attributes.get(attribute) is None:
                continue
            now = observed.objects.get(key)
            if _is_unenforced(before) or (now is not None and _is_unenforced(now)):
                continue
            held = before.attributes[attribute]
            if not held:
                lost = " and is not restored" if now is None else ""
                message = f"{attribute}: no; {why}{lost}{_AT_CAPTURE}"
                yield finding("source-unsound", key, message)
            elif now is None:
                continue  # the structure rung tells
            elif now.attributes.get(attribute) is False:
                yield finding(code, key, f"{attribute}: yes at capture, observed no; {why}")
            else:
                yield None


def _is_unenforced(one: CatalogObject) -> bool:
    """A constraint that nobody checks, on purpose (NOT ENFORCED, from 18 on)."""
    return one.attributes.get("enforced") is False


def _sequences(
    session: psycopg.Connection, manifest: Manifest, changed: Collection[str]
) -> Iterator[Finding | None]:
    """Sequences whose next value stands in their column already: the next INSERT fails."""
    import psycopg

    known = {(one.schema, one.name): one for one in manifest.sequences}
    for schema, name, increment, table_schema, table, column in session.execute(
        _SEQUENCES.encode()
    ).fetchall():
        label = f"{schema}.{name}"
        query = (
            f"SELECT s.next, EXISTS (SELECT FROM {qualified(table_schema, table)} t"
            f" WHERE t.{quote_name(column)} = s.next) FROM (SELECT CASE WHEN is_called"
            f" THEN last_value + {increment} ELSE last_value END AS next"
            f" FROM {qualified(schema, name)}) s"
        )
        try:
            row = session.execute(query.encode()).fetchone()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled) as error:
            reason = without_values(error.diag.message_primary or "it could not be read")
            yield finding("content-unchecked", label, reason)
            continue
        except psycopg.errors.NumericValueOutOfRange:
            continue  # it is at its end: no value is next
        assert row is not None
        if not row[1]:
            yield None
            continue
        place = f"{table_schema}.{table}.{column}"
        message = f"its next value {row[0]} is already in {place}: inserting it would fail"
        record = known.get((schema, name))
        same_rows = f"{table_schema}.{table}" not in changed
        if record is not None and same_rows and _next(record) == int(row[0]):
            # The same rows and the same state: it was behind before.
            yield finding("source-unsound", label, message + _AT_CAPTURE)
        else:
            yield finding("sequence-behind", label, message)


def _next(record: SequenceRecord) -> int:
    return record.last_value + record.increment if record.is_called else record.last_value


def _collations(
    states: Mapping[str, CollationState], manifest: Manifest, answers: Answers | None
) -> Iterator[Finding]:
    """Indexes sorted by another version than the library has now; and copies that sort otherwise
    than the source, which is none of their faults."""
    captured = answers.collations if answers else {}
    for name, before in captured.items():
        if before.changed:
            message = f"indexes were made with version {before.recorded}, the library has"
            message += f" {before.actual}{_AT_CAPTURE}"
            yield finding("source-unsound", f"collation of {name}", message)
    for name, state in states.items():
        subject = f"collation of {name}"
        if state.changed and captured.get(name) == state:
            continue  # told already
        if state.changed:
            message = f"indexes were made with version {state.recorded}, the library has"
            message += f" {state.actual}"
            if answers is None:
                message += "; the snapshot does not say whether it was so in the source"
            yield finding("collation-changed", subject, message)
            continue
        version = manifest.collations.get(name)
        if version and version != state.recorded:
            message = f"version {version} at capture, observed {state.recorded}"
            yield finding("collation-differs", subject, message)
