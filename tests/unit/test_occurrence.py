"""The times that cron fields name, backwards and forwards, by a zone's clocks."""

from __future__ import annotations

from datetime import UTC, datetime

from strongroom.config import parse_settings
from strongroom.config.occurrence import times_after, times_before
from strongroom.service.timetable import timetable_of

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def at(day: int, hour: int, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_times_go_back_and_on_by_the_zone() -> None:
    assert times_before("0 2 * * *", "UTC", NOW, 2) == [at(26, 2), at(25, 2)]
    assert times_before("0 2 * * *", "Asia/Dubai", NOW, 2) == [at(25, 22), at(24, 22)]
    assert times_after("0 2 * * *", "Asia/Dubai", NOW, 1) == [at(26, 22)]
    # Clocks went back on 25 October.
    begin = datetime(2026, 10, 26, 12, 0, tzinfo=UTC)
    assert times_before("30 3 * * *", "Europe/Berlin", begin, 3) == [
        at(26, 2, 30, 10), at(25, 2, 30, 10), at(24, 1, 30, 10),
    ]  # fmt: skip


def test_everything_with_a_time_is_in_the_table() -> None:
    settings = parse_settings("""\
version: 1
application: tms
sources:
  uploads: {kind: files, path: /srv/tms, capture: "0 * * * *"}
  code: {kind: git, path: /srv/app, capture: never}
repositories:
  local: {location: /var/backup, password: env:X, check: "0 3 * * 6"}
  second: {location: /var/second, password: env:X}
schedule: {drill: never, verify_daily: never}
""")
    found = {(one.action, one.subject): one for one in timetable_of(settings, NOW)}
    assert list(found) == [
        ("capture", "uploads"), ("check", "local"), ("check", "second"), ("prune", ""),
        ("verify-weekly", ""), ("verify-monthly", ""),
    ]  # fmt: skip
    hourly = found["capture", "uploads"]
    assert hourly.times == (at(26, 11), at(26, 10), at(26, 9))
    assert hourly.next_at == at(26, 13)
    assert found["check", "local"].times[0] == at(21, 3)
    assert found["check", "second"].times[0] == at(26, 5)
