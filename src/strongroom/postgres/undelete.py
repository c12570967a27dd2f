"""Which rows of a table are to be put back, and what else has to come back with them.

Rows of a captured table that are gone from the live one, or are not what they were, are found by
key. A row that is gone may have had a parent that is gone as well: it is needed, and comes first.
It may have had children that went with it: these are named, and come back when they are wanted.
What comes out is a `Plan`; the sets of keys stay in the sandbox, however many there are. Reads the
live database only.

Invariants: the plan sees one moment of the live database; what could not be compared is a finding,
never a table without losses.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom.errors import ConfigError, SourceError, TargetError
from strongroom.model import Finding, finding
from strongroom.postgres.rebuilt import Rebuilt
from strongroom.postgres.row_choice import choose_rows
from strongroom.postgres.row_comparison import Desk, Pair, digest_of, equal, matched, pair_of
from strongroom.postgres.statement import quote_name
from strongroom.postgres.table_shape import ForeignKey, Key, Shapes, TableName

if TYPE_CHECKING:
    import psycopg

__all__ = ["ASKED", "CHILD", "PARENT", "Found", "Plan", "Wish", "name_table", "plan_undelete"]

ASKED: Final = "asked"
PARENT: Final = "parent"
CHILD: Final = "child"
MISSING: Final = "missing"
CHANGED: Final = "changed"
_MORE: Final = (
    "NULL::text AS state, NULL::bytea AS digest, NULL::text AS why, false AS included,"
    " false AS checked, NULL::integer AS depth"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants back: rows of `table` for which `where` holds in the snapshot, all when
    it is None; also those that were `changed`, and `children` of rows that are gone."""

    table: str
    where: str | None = None
    changed: bool = False
    children: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one table that are gone or changed: a table of the desk, with k1, k2 …, `state`
    (missing or changed), the live row's `digest`, `why` it is here, and whether it is `included`
    in what is put back."""

    pair: Pair
    name: str


@dataclass(slots=True)
class Plan:
    """What is to be put back. `found` are all tables that lost or changed something, the one that
    was asked for first; `live` are the shapes of the live database."""

    wish: Wish
    table: TableName
    desk: Desk
    live: Shapes
    compared: int = 0
    found: dict[TableName, Found] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    # Statements that somebody may want to run when rows are back.
    afterwards: list[str] = field(default_factory=list)

    def tell(self, code: str, subject: str, message: str) -> None:
        """One more finding; the same one once."""
        one = finding(code, subject, message)
        if one not in self.findings:
            self.findings.append(one)

    def included(self, found: Found, state: str) -> int:
        """How many rows of a table in this state are put back."""
        return self.desk.count(
            f"SELECT count(*) FROM {found.name} WHERE included AND state = '{state}'"
        )

    def first_keys(
        self, found: Found, state: str, why: str, included: bool, most: int
    ) -> list[dict[str, str]]:
        """The first keys of such rows, by column."""
        columns = found.pair.rows_key.columns
        texts = ", ".join(f"k{n}::text" for n, _ in enumerate(columns, 1))
        order = ", ".join(f"f.k{n}" for n, _ in enumerate(columns, 1))
        rows = self.desk.rows(
            f"SELECT {texts} FROM {found.name} f WHERE state = '{state}' AND why = '{why}'"
            f" AND included = {included} ORDER BY {order} LIMIT {most}"
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def counts(self) -> Iterator[tuple[TableName, str, str, bool, int]]:
        """Tables with what was found in each: state, why, whether included, number of rows."""
        for table, found in self.found.items():
            for state, why, included, rows in self.desk.rows(
                f"SELECT state, why, included, count(*) FROM {found.name}"
                " GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3 DESC"
            ):
                yield table, state, why, included, rows


def name_table(shapes: Shapes, wanted: str, place: str) -> TableName:
    """The one table that is meant, `schema.table` or its name alone where that is enough.

    ConfigError `usage` when there is none or are several, or it is a partition; `place` says where
    it was looked for.
    """
    exact = [one for one in shapes.tables if one.label == wanted]
    found = exact or [one for one in shapes.tables if one.name == wanted]
    if len(found) == 1:
        return found[0]
    part = next((one for one in shapes.roots if wanted in (one.label, one.name)), None)
    if part is not None and not found:
        raise ConfigError(
            f"it is a partition of {shapes.roots[part].label}",
            subject=wanted,
            code="usage",
            hint=f"Name {shapes.roots[part].label}, and choose rows with --where.",
        )
    if found:
        raise ConfigError(
            f"several tables are called so: {', '.join(one.label for one in found)}",
            subject=wanted,
            code="usage",
            hint="Name it as schema.table.",
        )
    names = [name for one in shapes.tables for name in (one.label, one.name)]
    near = difflib.get_close_matches(wanted, names)
    raise ConfigError(
        f"{place} has no such table",
        subject=wanted,
        code="usage",
        hint=f"Did you mean {near[0]}?" if near else "Name it as schema.table.",
    )


def refuse_unmade(rebuilt: Rebuilt, wanted: str) -> None:
    """SourceError when the snapshot has a table of this name and the sandbox could not make it."""
    made = {name for one in rebuilt.shapes.tables for name in (one.label, one.name)}
    for one in rebuilt.manifest.tables:
        if wanted not in made and wanted in (one.label, one.name):
            reason = rebuilt.why_unmade(TableName(one.schema, one.name))
            if reason:
                raise SourceError(
                    reason, subject=one.label, hint="Install what it lacks on this host."
                )


def plan_undelete(rebuilt: Rebuilt, live: psycopg.Connection, shapes: Shapes, wish: Wish) -> Plan:
    """What is gone or changed of the wished table, with parents that it needs and children.

    `live` is in a read-only transaction with pinned settings, `shapes` are those that it sees.
    Raises ConfigError for names and conditions, TargetError when the table cannot be compared.
    """
    refuse_unmade(rebuilt, wish.table)
    table = name_table(rebuilt.shapes, wish.table, "the snapshot")
    plan = Plan(wish, table, Desk(rebuilt.session), shapes)
    return _Planning(rebuilt, live, plan).run()


class _Planning:
    """The state of one planning; its methods are its steps."""

    def __init__(self, rebuilt: Rebuilt, live: psycopg.Connection, plan: Plan) -> None:
        self.rebuilt, self.live, self.plan = rebuilt, live, plan
        self.desk = plan.desk
        self._pairs: dict[TableName, Pair] = {}

    def run(self) -> Plan:
        plan, table = self.plan, self.plan.table
        pair = self._pair_of_target(table)
        self.rebuilt.load(table)
        chosen = None
        if plan.wish.where is not None:
            chosen = self.desk.key_table(pair, pair.rows_key.columns)
            choose_rows(self.rebuilt, pair, plan.wish.where, chosen)
        plan.compared = pair.rows if chosen is None else self._size(chosen)
        self._compare(pair, chosen, ASKED)
        self._find_children()
        self._find_parents()
        self._say_offers()
        return plan

    # Pairs

    def _pair_of_target(self, table: TableName) -> Pair:
        if table not in self.plan.live.tables:
            raise TargetError(
                "the live database has no such table",
                subject=table.label,
                hint=f"Bring it back with `strongroom restore --table {table.label}`.",
            )
        if not self.rebuilt.has_rows(table):
            raise SourceError(
                "its rows are not in the snapshot", subject=table.label, hint="Take another one."
            )
        pair = self._pair(table)
        if pair.key is None:
            raise TargetError(
                "nothing tells its rows apart: no primary key, and no unique index of columns that"
                " are never null, in the snapshot and in the live table",
                subject=table.label,
                hint=f"Take rows from `strongroom restore --table {table.label}`, which comes"
                " beside the live table.",
            )
        return pair

    def _pair(self, table: TableName) -> Pair:
        if table not in self._pairs:
            rows = sum(one.rows for one in self.rebuilt.records(table))
            captured, live = self.rebuilt.shapes.tables[table], self.plan.live.tables[table]
            self._pairs[table] = pair_of(captured, live, rows)
        return self._pairs[table]

    def _why_unfit(self, table: TableName) -> str:
        """Why the table cannot be compared; "" when it can."""
        if table not in self.rebuilt.shapes.tables:
            return self.rebuilt.why_unmade(table) or "the snapshot does not have it"
        if table not in self.plan.live.tables:
            return "the live database does not have it any more"
        if not self.rebuilt.has_rows(table):
            return "its rows are not in the snapshot"
        return "" if self._pair(table).key is not None else "nothing tells its rows apart"

    # Rows

    def _size(self, name: str) -> int:
        return self.desk.count(f"SELECT count(*) FROM {name}")

    def _found(self, pair: Pair) -> Found:
        table = pair.captured.table
        if table not in self.plan.found:
            name = self.desk.key_table(pair, pair.rows_key.columns, _MORE)
            self.plan.found[table] = Found(pair, name)
        return self.plan.found[table]

    def _compare(self, pair: Pair, wanted: str | None, why: str) -> int:
        """Add what is gone or changed of the wanted rows; returns how many were added."""
        self.rebuilt.load(pair.captured.table)
        key, found, wish = pair.rows_key, self._found(pair), self.plan.wish
        there = self.desk.fetch(self.live, pair, key, wanted)
        names = ", ".join(f"k{n}" for n, _ in enumerate(key.columns, 1))
        only = f"JOIN {wanted} w ON {equal('s', key.columns, key.operators, 'w')}" if wanted else ""
        takes_missing = why != CHILD or wish.children
        takes_changed = wish.changed and (why == ASKED or (why == CHILD and wish.children))
        before = self._size(found.name)
        self.desk.execute(f"""
INSERT INTO {found.name} ({names}, state, digest, why, included)
SELECT {pair.kept(key.columns, "s")},
    CASE WHEN l.digest IS NULL THEN '{MISSING}' ELSE '{CHANGED}' END, l.digest, '{why}',
    CASE WHEN l.digest IS NULL THEN {takes_missing} ELSE {takes_changed} END
FROM {pair.captured.relation} s {only}
LEFT JOIN {there} l ON {equal("s", key.columns, key.operators, "l")}
WHERE l.digest IS DISTINCT FROM {digest_of("s", pair.columns)}
    AND NOT EXISTS (SELECT FROM {found.name} f
        WHERE {equal("s", key.columns, key.operators, "f")})""")
        self.desk.execute(f"ANALYZE {found.name}")
        return self._size(found.name) - before

    # Children

    def _find_children(self) -> None:
        """What was deleted with the rows that are gone, and what went with that in turn."""
        waiting = [self.plan.table]
        while waiting:
            table = waiting.pop()
            waiting.extend(one.child for one in self._keys_to(table) if self._add_children(one))

    def _keys_to(self, table: TableName) -> list[ForeignKey]:
        """The foreign keys to a table of then, and those of now: of a table that the sandbox could
        not make it has none."""
        keys = {
            (one.child, one.columns, one.parent_columns): one
            for shapes in (self.plan.live, self.rebuilt.shapes)
            for one in shapes.of_parent(table)
        }
        return [keys[one] for one in sorted(keys)]

    def _add_children(self, key: ForeignKey) -> int:
        parent = self.plan.found[key.parent]
        gone = f"SELECT count(*) FROM {parent.name} WHERE state = '{MISSING}'"
        if not self.desk.count(gone) or not any(
            one.rows for one in self.rebuilt.records(key.child)
        ):
            return 0
        unfit = self._why_unfit(key.child)
        if unfit:
            message = f"rows of {key.parent.label} may have had children in it: {unfit}"
            self.plan.tell("undelete-unchecked", key.child.label, message)
            return 0
        pair = self._pair(key.child)
        before = parent.pair.captured.columns.keys(), pair.captured.columns.keys()
        if not ({*key.parent_columns} <= before[0] and {*key.columns} <= before[1]):
            return 0  # nothing of then referred to anything by columns of now
        self.rebuilt.load(key.child)
        wanted = self.desk.key_table(pair, pair.rows_key.columns)
        own = parent.pair.rows_key
        self.desk.execute(f"""
INSERT INTO {wanted} SELECT DISTINCT {pair.kept(pair.rows_key.columns, "c")}
FROM {pair.captured.relation} c
JOIN {parent.pair.captured.relation} p ON {_names(key, "p", "c")}
JOIN {parent.name} f ON {equal("p", own.columns, own.operators, "f")}
WHERE f.state = '{MISSING}'""")
        return self._compare(pair, wanted, CHILD) if self._size(wanted) else 0

    # Parents

    def _find_parents(self) -> None:
        """What the rows that are put back refer to and the live database does not have."""
        waiting = list(self.plan.found)
        while waiting:
            table = waiting.pop()
            # NULL while they are looked at: what is added meanwhile has its own turn.
            name = self.plan.found[table].name
            self.desk.execute(f"UPDATE {name} SET checked = NULL WHERE included AND NOT checked")
            for one in self.plan.live.of_child(table):
                if self._add_parents(one) and one.parent not in waiting:
                    waiting.append(one.parent)
            self.desk.execute(f"UPDATE {name} SET checked = true WHERE checked IS NULL")

    def _add_parents(self, key: ForeignKey) -> int:
        """How many rows of the parent's table were added."""
        child = self.plan.found[key.child]
        if not set(key.columns) <= set(child.pair.columns):
            return 0  # a column that was added since: it is left to its default
        if self._why_unfit(key.parent) and key.parent not in self.rebuilt.shapes.tables:
            self.plan.tell(
                "undelete-unchecked",
                key.parent.label,
                f"rows of {key.child.label} refer to it, and the snapshot does not have it",
            )
            return 0
        pair = self._pair(key.parent)
        if not set(key.parent_columns) <= set(pair.columns):
            message = f"the snapshot does not have all columns that {key.name} refers to"
            self.plan.tell("undelete-unchecked", key.parent.label, message)
            return 0
        absent = self._absent(key, child, pair)
        if absent is None:
            return 0
        unfit = self._why_unfit(key.parent)
        if unfit:
            self._say_lacking(key, self._size(absent), unfit)
            return 0
        return self._take_parents(key, pair, absent)

    def _absent(self, key: ForeignKey, child: Found, pair: Pair) -> str | None:
        """A table of the values that name parents which the live database does not have and
        nothing brings back yet; None when there are none."""
        own = child.pair.rows_key
        wanted = self.desk.key_table(pair, key.parent_columns)
        known = ""
        if (parent := self.plan.found.get(key.parent)) is not None:
            theirs = parent.pair.rows_key
            known = f"""
    AND NOT EXISTS (SELECT FROM {pair.captured.relation} p
        JOIN {parent.name} g ON {equal("p", theirs.columns, theirs.operators, "g")}
        WHERE g.included AND g.state = '{MISSING}' AND {_names(key, "p", "c")})"""
        given = " AND ".join(f"c.{quote_name(one)} IS NOT NULL" for one in key.columns)
        listed = ", ".join(f"c.{quote_name(one)}" for one in key.columns)
        self.desk.execute(f"""
INSERT INTO {wanted} SELECT DISTINCT {listed}
FROM {child.pair.captured.relation} c
JOIN {child.name} f ON {equal("c", own.columns, own.operators, "f")}
WHERE f.checked IS NULL AND {given}{known}""")
        if not self._size(wanted):
            return None
        columns = Key(key.parent_columns, key.same)
        there = self.desk.fetch(self.live, pair, columns, wanted)
        self._compare_parents(key, pair, there)
        self.desk.execute(
            f"DELETE FROM {wanted} w USING {there} l WHERE {matched('w', 'l', key.same)}"
        )
        return wanted if self._size(wanted) else None

    def _compare_parents(self, key: ForeignKey, pair: Pair, there: str) -> None:
        """Tell of parents that are there and not what they were: another row may bear the key."""
        if self._why_unfit(key.parent):
            return
        self.rebuilt.load(key.parent)
        put_back = ""
        if (parent := self.plan.found.get(key.parent)) is not None:
            own = parent.pair.rows_key
            put_back = f"""
    AND NOT EXISTS (SELECT FROM {parent.name} g
        WHERE g.included AND {equal("p", own.columns, own.operators, "g")})"""
        other = self.desk.count(f"""
SELECT count(*) FROM {pair.captured.relation} p
JOIN {there} l ON {equal("p", key.parent_columns, key.same, "l")}
WHERE l.digest <> {digest_of("p", pair.columns)}{put_back}""")
        if other:
            message = (
                f"{other} of its rows that rows to put back refer to ({key.name}) have other"
                " values than in the snapshot: another row may have their key by now"
            )
            self.plan.tell("undelete-parent-differs", key.parent.label, message)

    def _take_parents(self, key: ForeignKey, pair: Pair, absent: str) -> int:
        self.rebuilt.load(key.parent)
        own = pair.rows_key
        wanted = self.desk.key_table(pair, own.columns)
        self.desk.execute(f"""
INSERT INTO {wanted} SELECT DISTINCT {pair.kept(own.columns, "p")}
FROM {pair.captured.relation} p
JOIN {absent} w ON {equal("p", key.parent_columns, key.same, "w")}""")
        lacking = self._size(absent) - self._size(wanted)
        if lacking > 0:
            self._say_lacking(key, lacking, "the snapshot does not have them either")
        added = self._compare(pair, wanted, PARENT)
        found = self._found(pair)
        among = f"FROM {wanted} w WHERE {matched('f', 'w', own.operators)}"
        added += self.desk.execute(
            f"UPDATE {found.name} f SET included = true, why = '{PARENT}' {among}"
            f" AND f.state = '{MISSING}' AND NOT f.included"
        )
        other = self.desk.count(
            f"SELECT count(*) FROM {found.name} f WHERE f.state = '{CHANGED}'"
            f" AND EXISTS (SELECT {among})"
        )
        if other:
            reason = (
                f"their rows are there, and have other values of {', '.join(key.parent_columns)}"
            )
            self._say_lacking(key, other, reason)
        return added

    # What is told

    def _say_lacking(self, key: ForeignKey, number: int, reason: str) -> None:
        message = (
            f"rows to put back refer to {number} of its rows that are not there ({key.name}):"
            f" {reason}"
        )
        self.plan.tell("undelete-obstacle", key.parent.label, message)

    def _say_offers(self) -> None:
        for table, state, why, included, rows in self.plan.counts():
            if why == PARENT and state == MISSING:
                message = f"{rows} rows that others need are gone as well: they come back first"
                self.plan.tell("undelete-parents", table.label, message)
            elif why == CHILD and not included and state == MISSING:
                message = f"{rows} rows went with their parents; --with-children puts them back"
                self.plan.tell("undelete-children", table.label, message)
            elif why == CHILD and not included:
                message = (
                    f"{rows} rows that named a row which is gone have been changed;"
                    " --with-children --changed puts them back as they were"
                )
                self.plan.tell("undelete-children", table.label, message)


def _names(key: ForeignKey, parent: str, child: str) -> str:
    """SQL for: the row `child` names the row `parent`."""
    parts = zip(key.parent_columns, key.match, key.columns, strict=True)
    return " AND ".join(
        f"{parent}.{quote_name(one)} {operator} {child}.{quote_name(other)}"
        for one, operator, other in parts
    )
