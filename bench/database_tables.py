"""Fifteen tables of a training management system, and how a day changes them.

Rows are lines of COPY text made from a seed. Sizes are set so that all tables together are about
1 GiB of COPY text at scale 1. A day adds or changes 1 % of all rows: most additions go to the
journal-like tables, most changes meet recent rows, some meet any row.

Invariant: `lines` depends on nothing but its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bench.database_columns import (
    Batch,
    Column,
    among,
    change_record,
    code,
    day,
    digest,
    in_order,
    key_of,
    mail,
    moment,
    money,
    name,
    number,
    serial,
    text,
)

BATCH_ROWS = 2000
LEAST_ROWS = 40


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its rows at scale 1 and its columns as (name, type, generator).

    `grows`, `recent` and `anywhere` are the shares of its rows that a day adds, changes among the
    last tenth, and changes anywhere; `change` is the SET clause of such a change, in which
    `{day}` is the day's number.
    """

    name: str
    rows: int
    columns: tuple[tuple[str, str, Column], ...]
    references: tuple[tuple[str, str], ...] = ()
    indexes: tuple[str, ...] = ()
    grows: float = 0.0
    recent: float = 0.0
    anywhere: float = 0.0
    change: str = ""

    def create(self) -> str:
        """The statement that makes the table, without what belongs after the rows."""
        columns = ", ".join(f"{column} {kind} NOT NULL" for column, kind, _ in self.columns)
        return f"CREATE TABLE {self.name} ({columns});"

    def index(self) -> str:
        """The statements that make its key and indexes."""
        made = [f"ALTER TABLE {self.name} ADD PRIMARY KEY (id);"]
        made += [f"CREATE INDEX ON {self.name} ({column});" for column in self.indexes]
        return "\n".join(made)

    def refer(self) -> str:
        """The statements that make its references, to run when all tables have their keys."""
        return "\n".join(
            f"ALTER TABLE {self.name} ADD FOREIGN KEY ({column}) REFERENCES {other} (id);"
            for column, other in self.references
        )


def rows_at(table: Table, scale: float) -> int:
    """The rows that `table` begins with at `scale`."""
    return max(LEAST_ROWS, round(table.rows * scale))


def lines(table: Table, *, seed: int, scale: float, first: int, count: int) -> Iterator[bytes]:
    """The COPY text of `count` rows from key `first` on, in blocks of whole lines."""

    def rows_of(other: str) -> int:
        return rows_at(BY_NAME[other], scale)

    while count > 0:
        now = min(count, BATCH_ROWS)
        rng = Random(f"{seed}/{table.name}/{first}")
        batch = Batch(rng, first, now, rows_at(table, scale), rows_of)
        columns = [make(batch) for _, _, make in table.columns]
        yield ("\n".join(map("\t".join, zip(*columns, strict=True))) + "\n").encode()
        first, count = first + now, count - now


def _line_table(name: str, rows: int, parent: str) -> Table:
    return Table(
        name,
        rows,
        (
            ("id", "bigint", serial),
            ("parent_id", "bigint", in_order(parent)),
            ("course_id", "integer", key_of("courses")),
            ("description", "text", text(7)),
            ("quantity", "integer", number(1, 40)),
            ("price", "numeric(12,2)", money),
            ("entered_at", "timestamptz", moment),
        ),
        references=(("parent_id", parent),),
        indexes=("parent_id",),
        grows=0.005,
        recent=0.002,
        change="quantity = quantity + 1",
    )


TABLES = (
    Table(
        "organisations",
        2_000,
        (
            ("id", "integer", serial),
            ("name", "text", text(3)),
            ("code", "text", code("ORG")),
            ("address", "text", text(14)),
            ("tax_number", "text", digest(8)),
            ("credit_limit", "numeric(12,2)", money),
            ("created_at", "timestamptz", moment),
        ),
        anywhere=0.005,
        change="credit_limit = credit_limit + {day}",
    ),
    Table(
        "users",
        20_000,
        (
            ("id", "integer", serial),
            ("organisation_id", "integer", key_of("organisations")),
            ("name", "text", name),
            ("mail", "text", mail),
            ("password_digest", "text", digest(30)),
            ("role", "text", among("admin", "trainer", "clerk", "viewer", "viewer")),
            ("last_login_at", "timestamptz", moment),
        ),
        references=(("organisation_id", "organisations"),),
        anywhere=0.04,
        change="last_login_at = last_login_at + interval '{day} days'",
    ),
    Table(
        "courses",
        1_500,
        (
            ("id", "integer", serial),
            ("code", "text", code("CRS")),
            ("title", "text", text(5)),
            ("syllabus", "text", text(80)),
            ("hours", "integer", number(2, 60)),
            ("price", "numeric(12,2)", money),
        ),
    ),
    Table(
        "trainees",
        400_000,
        (
            ("id", "integer", serial),
            ("organisation_id", "integer", in_order("organisations")),
            ("name", "text", name),
            ("mail", "text", mail),
            ("identity_number", "text", digest(9)),
            (
                "born_on",
                "date",
                among(*(f"{y}-{m:02d}-15" for y in range(1960, 2006) for m in range(1, 13))),
            ),
            ("phone", "text", number(500_000_000, 599_999_999)),
            ("address", "text", text(9)),
            ("registered_at", "timestamptz", moment),
        ),
        references=(("organisation_id", "organisations"),),
        indexes=("organisation_id",),
        grows=0.002,
        recent=0.002,
        anywhere=0.001,
        change="phone = '5' || {day} || right(phone, 6)",
    ),
    Table(
        "sessions",
        60_000,
        (
            ("id", "integer", serial),
            ("course_id", "integer", key_of("courses")),
            ("starts_on", "date", day),
            ("room", "text", text(2)),
            ("trainer", "text", name),
            ("status", "text", among("planned", "running", "closed", "closed", "closed")),
            ("remarks", "text", text(8)),
        ),
        references=(("course_id", "courses"),),
        grows=0.003,
        recent=0.01,
        change="status = 'closed', remarks = remarks || ' day {day}'",
    ),
    Table(
        "enrolments",
        1_800_000,
        (
            ("id", "bigint", serial),
            ("session_id", "integer", in_order("sessions")),
            ("trainee_id", "integer", key_of("trainees")),
            ("status", "text", among("booked", "attended", "attended", "absent")),
            ("score", "integer", number(0, 101)),
            ("enrolled_at", "timestamptz", moment),
        ),
        references=(("session_id", "sessions"), ("trainee_id", "trainees")),
        indexes=("session_id",),
        grows=0.004,
        recent=0.008,
        anywhere=0.0003,
        change="status = 'attended', score = (score * 7 + {day}) % 101",
    ),
    Table(
        "quotations",
        200_000,
        (
            ("id", "integer", serial),
            ("organisation_id", "integer", key_of("organisations")),
            ("number", "text", code("QUO")),
            ("amount", "numeric(12,2)", money),
            ("status", "text", among("draft", "sent", "accepted", "lapsed")),
            ("terms", "text", text(14)),
            ("created_at", "timestamptz", moment),
        ),
        references=(("organisation_id", "organisations"),),
        grows=0.004,
        recent=0.004,
        change="status = 'accepted', amount = amount + {day}",
    ),
    _line_table("quotation_lines", 700_000, "quotations"),
    Table(
        "lpos",
        150_000,
        (
            ("id", "integer", serial),
            ("quotation_id", "integer", in_order("quotations")),
            ("number", "text", code("LPO")),
            ("amount", "numeric(12,2)", money),
            ("file_path", "text", code("uploads/lpos/LPO")),
            ("file_sha256", "text", digest(32)),
            ("received_at", "timestamptz", moment),
        ),
        references=(("quotation_id", "quotations"),),
        grows=0.004,
        recent=0.002,
        change="amount = amount + {day}",
    ),
    _line_table("lpo_lines", 500_000, "lpos"),
    Table(
        "invoices",
        300_000,
        (
            ("id", "integer", serial),
            ("lpo_id", "integer", in_order("lpos")),
            ("organisation_id", "integer", key_of("organisations")),
            ("number", "text", code("INV")),
            ("amount", "numeric(12,2)", money),
            ("status", "text", among("issued", "paid", "paid", "paid", "overdue")),
            ("notes", "text", text(10)),
            ("issued_at", "timestamptz", moment),
        ),
        references=(("lpo_id", "lpos"), ("organisation_id", "organisations")),
        indexes=("lpo_id",),
        grows=0.004,
        recent=0.006,
        anywhere=0.001,
        change="status = 'paid', notes = notes || ' paid {day}'",
    ),
    _line_table("invoice_lines", 1_050_000, "invoices"),
    Table(
        "payments",
        350_000,
        (
            ("id", "integer", serial),
            ("invoice_id", "integer", in_order("invoices")),
            ("amount", "numeric(12,2)", money),
            ("method", "text", among("transfer", "transfer", "cheque", "card", "cash")),
            ("reference", "text", digest(12)),
            ("remarks", "text", text(6)),
            ("paid_at", "timestamptz", moment),
        ),
        references=(("invoice_id", "invoices"),),
        indexes=("invoice_id",),
        grows=0.006,
        recent=0.001,
        change="remarks = remarks || ' cleared'",
    ),
    Table(
        "certificates",
        560_000,
        (
            ("id", "integer", serial),
            ("enrolment_id", "bigint", in_order("enrolments")),
            ("public_id", "uuid", digest(16)),
            ("number", "text", code("CERT")),
            ("file_path", "text", code("uploads/certificates/CERT")),
            ("file_sha256", "text", digest(32)),
            ("issued_on", "date", day),
            ("valid", "boolean", among("t", "t", "t", "f")),
            ("remarks", "text", text(4)),
        ),
        references=(("enrolment_id", "enrolments"),),
        indexes=("public_id",),
        grows=0.006,
        recent=0.001,
        anywhere=0.0006,
        change="valid = NOT valid, remarks = remarks || ' {day}'",
    ),
    Table(
        "audit_trail",
        1_300_000,
        (
            ("id", "bigint", serial),
            ("user_id", "integer", key_of("users")),
            ("happened_at", "timestamptz", moment),
            ("action", "text", among("insert", "update", "update", "login", "export")),
            ("relation", "text", among("invoices", "enrolments", "payments", "lpos", "trainees")),
            ("row_key", "text", number(1, 1_000_000)),
            ("address", "text", among(*(f"10.1.{a}.{b}" for a in range(40) for b in range(1, 50)))),
            ("request_id", "uuid", digest(16)),
            ("change", "text", change_record),
        ),
        references=(("user_id", "users"),),
        indexes=("user_id",),
        grows=0.014,
    ),
)
BY_NAME = {table.name: table for table in TABLES}
