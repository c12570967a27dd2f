"""Targets as records show them, and which are databases."""

from __future__ import annotations

import pytest

from strongroom.recovery.replacement import names_database
from strongroom.service.restoration import shown


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/srv/uploads", "/srv/uploads"),
        ("env:RESTORE_URL", "env:RESTORE_URL"),
        ("postgresql://u@h/x", "postgresql://u@h/x"),
        ("postgresql://u:hunter2@h/x", "postgresql://u@h/x"),
        ("postgresql://u@h/x?password=hunter2", "postgresql://u@h/x?password=***"),
        ("host=h password=hunter2 dbname=x", "host=h password=***"),
        ("dbname=x host=h", "dbname=x host=h"),
        ("/srv/password=1", "/srv/password=1"),
    ],
)
def test_no_password_is_shown(target: str, expected: str) -> None:
    assert shown(target) == expected


@pytest.mark.parametrize(
    ("target", "is_one"),
    [
        ("host=h dbname=x", True),
        ("dbname = x", True),
        ("env:URL", True),
        ("postgresql://h/x", True),
        ("uploads", False),
        ("/srv/host=h", False),
        ("./host=h", False),
        ("ghost=h", False),
    ],
)
def test_a_database_is_told_from_a_directory(target: str, is_one: bool) -> None:
    assert names_database(target) is is_one
