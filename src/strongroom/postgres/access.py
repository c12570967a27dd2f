"""The access rung: does each role see in the copy what it saw in the source?

A policy may come back word for word and let other rows through, because a function, a grant or a
role behind it is another. So probes are *run*, as named roles with the claims of a request, and
their answers compared with those of the capture. An operator's probes go first; without any, each
role that may read a table with row security counts what it sees of it. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.expectation import Wanted
from strongroom.model import Finding, finding
from strongroom.postgres.answers import SAME, Answers
from strongroom.postgres.dependence import Dependence
from strongroom.postgres.inventory_sql import USER_SCHEMA, of_extension
from strongroom.postgres.meaning import Asked, compare_same, meets
from strongroom.postgres.question import Outcome, Question
from strongroom.postgres.statement import qualified

if TYPE_CHECKING:
    import psycopg

__all__ = ["find_probes", "judge_probe", "tell_left_out"]

_MOST_PROBES: Final = 200

# Who is asked: whoever got SELECT on the table or on columns of it, or is named by a policy; not
# those from whom row security hides nothing. Small tables first: time is limited.
_CANDIDATES: Final = f"""
SELECT n.nspname::text, c.relname::text, r.rolname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT a.grantee AS oid FROM pg_catalog.aclexplode(c.relacl) a
        WHERE a.privilege_type = 'SELECT'
    UNION SELECT a.grantee FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a
        WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped
            AND a.privilege_type = 'SELECT'
    UNION SELECT unnest(p.polroles) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid) named
JOIN pg_catalog.pg_roles r ON r.oid = named.oid
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND {USER_SCHEMA}
    AND NOT r.rolsuper AND NOT r.rolbypassrls AND r.rolname !~ '^pg_'
    AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))
    AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT')
    AND NOT {of_extension("pg_class", "c.oid")}
ORDER BY c.relpages, 1, 2, 3"""


def find_probes(
    session: psycopg.Connection, dependence: Dependence
) -> tuple[list[Question], list[tuple[str, str]]]:
    """The probes that the database itself suggests, and what is left out, each with the reason.

    Left out is what could differ in a faithful copy, such as policies that look at the clock.
    """
    probes: list[Question] = []
    left_out: list[tuple[str, str]] = []
    many = 0
    for schema, table, role in session.execute(_CANDIDATES.encode()).fetchall():
        name = f"{schema}.{table} as {role}"
        sql = f"SELECT count(*) FROM {qualified(schema, table)}"
        if why := dependence.excuse(sql):
            left_out.append((name, why))
        elif len(probes) == _MOST_PROBES:
            many += 1
        else:
            probes.append(Question(name, sql, SAME, role, generated=True))
    if many:
        left_out.append((f"{many} more tables and roles", f"{_MOST_PROBES} are the most"))
    return probes, left_out


def judge_probe(probe: Question, asked: Asked, dependence: Dependence) -> Finding | None:
    """What one probe's answer amounts to; None when it is as it should be."""
    observed, subject = asked.observed, probe.name
    if observed.unknown:
        # What nobody asked for may go without an answer, where roles cannot be taken on.
        skipped = probe.generated and observed.outcome is Outcome.REFUSED
        code = "question-left-out" if skipped else "access-unchecked"
        return finding(code, subject, observed.reason)
    if probe.expect.wanted is Wanted.SAME:
        told = compare_same(probe, asked, dependence)
        if told is None:
            return None
        code = "access-unchecked" if told.unchecked else "access-differs"
        return finding(code, subject, f"as {probe.role}: {told.message}")
    if observed.outcome is Outcome.FAILED:
        return finding("access-unchecked", subject, f"as {probe.role}: {observed.reason}")
    if probe.expect.wanted is Wanted.DENIED:
        if observed.outcome is Outcome.DENIED:
            return None
        message = f"as {probe.role}: expected to be denied, observed {observed.describe()}"
        return finding("access-differs", subject, message)
    told = meets(probe, asked)
    if told is None:
        return None
    code = "access-unchecked" if told.unchecked else "access-differs"
    return finding(code, subject, f"as {probe.role}: {told.message}")


def tell_left_out(answers: Answers | None, *, has_probes: bool) -> Iterator[Finding]:
    """What nobody asked of the source when it was captured."""
    if has_probes:
        return
    if answers is None:
        message = "the snapshot is older than these questions: what roles see was not compared"
        yield finding("question-left-out", "access", message)
        return
    for name, why in answers.left_out:
        yield finding("question-left-out", name, why)
