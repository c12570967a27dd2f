"""A recovery point's record: how certain it is, and that only a record is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.repository import Snapshot
from strongroom.service.point_record import (
    PointRecord,
    PointSource,
    compare_record,
    parse_record,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TREE = "ab" * 32


def source(name: str, kind: str, **facts: Any) -> PointSource:
    ids = {"local": "11" * 32, "offsite": "22" * 32}
    return PointSource(name, kind, TREE, NOW, NOW + timedelta(seconds=3), ids, facts)


MIGRATION = {"tool": "django", "table": "public.django_migrations", "version": "tms.0042_lpo"}
DATABASE = source("database", "postgres", moment_at="2026-11-25T12:00:00Z", migration=MIGRATION)
UPLOADS = source("uploads", "files", changed_since={"count": 0, "first": []})
CODE = source("code", "git", commit="c0ffee" * 6 + "c0ff", head="refs/heads/main", tags=["v1"])
RECORD = PointRecord(
    "01jd",
    "tms",
    NOW,
    NOW + timedelta(minutes=2),
    ("database", "uploads", "code"),
    (DATABASE, UPLOADS, CODE),
    {},
)


def test_it_reads_back_as_it_was_written() -> None:
    record = parse_record(json.loads(RECORD.encode()))
    assert record == RECORD
    assert record.encode() == RECORD.encode()
    assert record.commits == {"code": "c0ffee" * 6 + "c0ff"}
    assert record.migrations == {"database": "tms.0042_lpo (public.django_migrations)"}


def test_nothing_moved_is_certain() -> None:
    assert RECORD.certainty == "certain"
    assert RECORD.because == ("no file changed after the database's moment",)


def test_files_that_changed_meanwhile_are_told() -> None:
    changed = source("uploads", "files", changed_since={"count": 3, "first": ["a", "b", "c"]})
    record = replace(RECORD, sources=(DATABASE, changed, CODE))
    assert record.certainty == "likely"
    assert record.because == ("3 files or folders of uploads changed after it: a, b, c",)


def test_two_databases_have_two_moments() -> None:
    record = replace(RECORD, sources=(DATABASE, replace(DATABASE, name="other"), UPLOADS))
    assert record.certainty == "likely"
    assert "several databases" in record.because[0]


def test_a_missing_source_leaves_it_incomplete() -> None:
    record = replace(RECORD, sources=(UPLOADS, CODE), missing={"database": "database-login"})
    assert record.certainty == "incomplete"
    assert record.because[0] == "database is missing: database-login"


def test_files_alone_cannot_be_at_odds() -> None:
    record = replace(RECORD, sources=(source("uploads", "files"),))
    assert record.certainty == "certain"
    assert "no database" in record.because[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"sources": "none"}, "shape"),
        ({"sources": [{}]}, "shape"),
        ({"sources": None}, "shape"),
        ({"begun_at": "yesterday"}, "isoformat"),
        ({"begun_at": "2026-11-25T12:00:00"}, "zone"),
        ({"missing": [1]}, "shape"),
        ({"wanted": 7}, "shape"),
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, Any], message: str) -> None:
    fields = json.loads(RECORD.encode()) | change
    with pytest.raises(ValueError, match=message):
        parse_record(fields)


@pytest.mark.parametrize("fields", [None, [], "record", 7, {}])
def test_neither_is_anything_else(fields: object) -> None:
    with pytest.raises(ValueError, match=r"format|shape"):
        parse_record(fields)


def test_another_tree_than_recorded_is_a_failure() -> None:
    def snapshot(name: str, tree: str, *tags: str) -> Snapshot:
        return Snapshot("33" * 32, NOW, tree, ("/x",), (f"source:{name}", "point:01jd", *tags))

    right, wrong = snapshot("uploads", TREE), snapshot("database", "cd" * 32)
    stranger, mended = snapshot("other", TREE), snapshot("code", "cd" * 32, "repaired")
    found = list(compare_record(RECORD, "local", [right, wrong, stranger, mended]))
    assert [one.code for one in found] == ["point-differs", "point-differs"]
    assert "names tree abababababab, the snapshot has tree cdcdcdcdcdcd" in found[0].message
    assert "no snapshot of this source" in found[1].message
