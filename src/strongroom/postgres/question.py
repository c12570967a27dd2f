"""One question to a database, asked so that it can neither change nor hold up anything.

A question runs in a read-only transaction, or in a savepoint of one, which is rolled back; with
time limits; as one statement. A probe first becomes its role, with the claims of a request. What
comes back is a count of rows, a digest of them whatever their order, and, of a single row, its
first value as PostgreSQL writes it. A refusal is an answer, too.

Becoming a role is not a wall: functions that policies call run in this session and could step back
to the role that logged in. See docs/THREATS.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from strongroom.expectation import Expectation
from strongroom.postgres.messages import without_values
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["Answer", "Outcome", "Question", "ask", "effective_path"]

_LOCK_TIMEOUT: Final = "2s"
_CLAIMS: Final = "request.jwt.claims"
_DENIED: Final = "42501"
_READ_ONLY: Final = "25006"
# What a function raises may quote anything.
_OWN_CODE: Final = "P0"
# Classes of SQLSTATE that say nothing of the question: the server was busy, full or going down.
_PASSING: Final = ("40", "53", "54", "55", "57", "58")
_LONGEST_VALUE: Final = 80

_ENCODING: Final = (
    "CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END"
)
# The parameter is always true: a statement with one is sent alone, so that nothing can follow it.
_ASKED: Final = """
SELECT pg_catalog.count(*),
    coalesce(pg_catalog.sum(pg_catalog.concat('x', pg_catalog.substr(hash, 1, 15))::bit(60)::bigint
        ), 0),
    coalesce(pg_catalog.sum(pg_catalog.concat('x', pg_catalog.substr(hash, 16, 15))::bit(60)::bigint
        ), 0),
    CASE WHEN pg_catalog.count(*) = 1 THEN pg_catalog.min(line) END
FROM (SELECT line, pg_catalog.encode(
        pg_catalog.sha256(pg_catalog.convert_to(line, {encoding})), 'hex') AS hash
    FROM (SELECT pg_catalog.row_to_json(strongroom_row)::pg_catalog.text AS line FROM (
{sql}
    ) strongroom_row OFFSET 0) lines) hashed WHERE %s"""


class Outcome(StrEnum):
    """How a question ended. `refused`: the session may not become the role. `unasked`: something
    else came between. Of both, nobody knows what the answer would have been."""

    ROWS = "rows"
    DENIED = "denied"
    FAILED = "failed"
    REFUSED = "refused"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class Question:
    """SQL that gives an answer, and what is expected of it.

    With a `role` it is a probe. `generated` ones nobody wrote: they count what a role sees.
    """

    name: str
    sql: str
    expect: Expectation
    role: str | None = None
    # Any: claims are whatever JSON a token carries
    claims: Mapping[str, Any] | None = None
    generated: bool = False

    @property
    def identity(self) -> str:
        """The same for the same question, whatever it is called; tells nothing of its claims."""
        parts = [self.statement, self.role, self.claims_text]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()

    @property
    def statement(self) -> str:
        """The SQL without the semicolon that people end it with."""
        return self.sql.strip().rstrip(";").rstrip()

    @property
    def claims_text(self) -> str:
        """The claims as JSON; those of a request without any are an empty object."""
        return json.dumps(dict(self.claims or {}), ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `digest` covers all rows with the names of their columns, in any order.

    `value` and `columns` are those of a single row; `reason` says why there are no rows.
    """

    outcome: Outcome
    rows: int = 0
    digest: str = ""
    columns: int = 0
    value: str | None = None
    reason: str = ""

    @property
    def unknown(self) -> bool:
        return self.outcome in (Outcome.REFUSED, Outcome.UNASKED)

    def to_keep(self, question: Question) -> Answer:
        """What is kept of it in a snapshot: of what a role sees, no value but a count of ours."""
        value = self.value if question.role is None or question.generated else None
        return replace(self, value=None if value is None else _cut(value))

    def same_as(self, other: Answer) -> bool:
        return (self.outcome, self.rows, self.digest) == (other.outcome, other.rows, other.digest)

    def describe(self) -> str:
        """The answer in a few words."""
        if self.outcome is not Outcome.ROWS:
            return f"{self.outcome.value} ({self.reason})" if self.reason else self.outcome.value
        if self.rows == 1 and self.columns == 1 and self.value is not None:
            return _cut(self.value)
        return f"{self.rows} rows" if self.rows != 1 else "1 row"


class _RefusedRoleError(Exception):
    """The session may not become the role, or there is none of this name."""


def ask(
    session: psycopg.Connection,
    question: Question,
    *,
    timeout_seconds: float,
    search_path: str | None = None,
) -> Answer:
    """The answer; nothing of the asking remains in the session.

    In an open transaction it is asked in its snapshot, else in one of its own. `search_path` None
    stands for the one that the session began with. Raises psycopg's OperationalError when the
    connection is lost.
    """
    import psycopg
    from psycopg.pq import TransactionStatus

    idle = session.info.transaction_status == TransactionStatus.IDLE
    try:
        with session.transaction(force_rollback=True):
            if idle:
                session.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            _prepare(session, question, timeout_seconds, search_path)
            statement = _ASKED.format(encoding=_ENCODING, sql=question.statement.replace("%", "%%"))
            row = session.execute(statement.encode(), [True]).fetchone()
    except _RefusedRoleError as error:
        return Answer(Outcome.REFUSED, reason=str(error))
    except psycopg.Error as error:
        if session.closed:
            raise
        return _refusal(error, timeout_seconds)
    except UnicodeDecodeError:
        return Answer(Outcome.UNASKED, reason="its value is not UTF-8")
    assert row is not None
    return _answer(*row)


def effective_path(session: psycopg.Connection) -> str:
    """The search path that the session began with, as text for `ask`."""
    with session.transaction(force_rollback=True):
        session.execute(b"SET LOCAL search_path TO DEFAULT")
        row = session.execute(b"SELECT pg_catalog.current_setting('search_path')").fetchone()
    assert row is not None
    return str(row[0])


def _prepare(
    session: psycopg.Connection, question: Question, timeout_seconds: float, path: str | None
) -> None:
    settings = {
        "statement_timeout": f"{max(1, round(timeout_seconds * 1000))}ms",
        "lock_timeout": _LOCK_TIMEOUT,
        # With `off`, rows that would be hidden are an error; a probe asks what is hidden.
        "row_security": "off" if question.role is None else "on",
    }
    if question.role is not None:
        settings[_CLAIMS] = question.claims_text
    if path is None:
        session.execute(b"SET LOCAL search_path TO DEFAULT")
    else:
        settings["search_path"] = path
    calls = ", ".join(["pg_catalog.set_config(%s, %s, true)"] * len(settings))
    pairs = [part for pair in settings.items() for part in pair]
    session.execute(f"SELECT {calls}".encode(), pairs)
    if question.role is not None:
        _become(session, question.role)


def _become(session: psycopg.Connection, role: str) -> None:
    import psycopg

    if role == "none":  # which is how SET ROLE says: whoever logged in
        raise _RefusedRoleError("none is no role")
    try:
        session.execute(f"SET LOCAL ROLE {quote_name(role)}".encode())
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        reason = error.diag.message_primary or "the role is refused"
        raise _RefusedRoleError(f"{session.info.user} cannot become {role}: {reason}") from None


def _refusal(error: psycopg.Error, timeout_seconds: float) -> Answer:
    state = error.sqlstate or ""
    reason = without_values(error.diag.message_primary or str(error).partition("\n")[0])
    if state == "57014":
        reason = f"it took more than {timeout_seconds:.0f} s, or was broken off"
    if state.startswith(_OWN_CODE):
        reason = f"the database's own code raised an error ({state})"
    if state == _DENIED:
        return Answer(Outcome.DENIED, reason=reason)
    if not state or state.startswith(_PASSING):
        return Answer(Outcome.UNASKED, reason=reason)
    if state == _READ_ONLY:
        reason = f"a question changes nothing: {reason}"
    return Answer(Outcome.FAILED, reason=reason)


def _answer(rows: int, first: int, second: int, line: str | None) -> Answer:
    digest = f"{rows}:{first}:{second}"
    if line is None:
        return Answer(Outcome.ROWS, rows, digest)
    pairs = json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)
    value = _text(pairs[0][1]) if pairs else None
    return Answer(Outcome.ROWS, rows, digest, len(pairs), value)


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "…"


# Any: a value of JSON
def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)
