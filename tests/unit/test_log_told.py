"""What a record is about, and how it ended, in the words of `log`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from strongroom.evidence import Entry
from strongroom.service.history import told

RECORDS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {  # Any: JSON values
    "job": ({"job": "check:local", "repository": "local", "exit_status": 30},
            ("check:local", "status 30")),
    "service": ({"event": "started", "version": "1"}, ("started", "done")),
    "schedule": ({"because": "the schedule is new or changed", "jobs": []},
                 ("the schedule is new or changed", "done")),
    "verify": ({"list": "weekly", "verdict": "STALE"}, ("weekly", "STALE")),
    "check": ({"repository": "local", "sound": True}, ("local", "sound")),
    "backup": ({"snapshots": [{"source": "uploads"}]}, ("uploads", "1 snapshot")),
    "alert": ({"key": "review", "to": "ops", "event": "new", "verdict": "STALE"},
              ("review to ops", "new STALE, did not arrive")),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_is_told_in_a_few_words(kind: str) -> None:
    fields, expected = RECORDS[kind]
    assert told(Entry(1, datetime(2026, 11, 26, tzinfo=UTC), kind, fields, "")) == expected


def test_a_record_of_another_version_is_told_too() -> None:
    odd = Entry(1, datetime(2026, 11, 26, tzinfo=UTC), "job", {"job": 7}, "")
    assert told(odd) == ("-", "done")
