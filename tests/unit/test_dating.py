"""Of which moment a file from before is: by whatever is known of it, and never by a guess."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from strongroom.plan.dating import Clue, UndatedError, date_file

DUBAI = ZoneInfo("Asia/Dubai")  # four hours ahead, all year
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
MADE = Clue("the file's own time", datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC))
INSIDE = Clue('its line "Started on"', datetime(2026, 2, 1, 22, 0, 1, tzinfo=UTC))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "at", "by"),
    [
        ("uploads_backup_20260128.tar.gz", "2026-01-27 20:00", "its name, the beginning of"),
        ("uploads_20260128.tar.gz", "2026-01-27 20:00", "its name, the beginning of"),
        ("tms-2026-01-28.sql", "2026-01-27 20:00", "its name, the beginning of"),
        ("tms_2026_01_28.sql.gz", "2026-01-27 20:00", "its name, the beginning of"),
        ("28.01.2026.sql", "2026-01-27 20:00", "its name, the beginning of"),
        ("tms-2026-01-28_0200.sql", "2026-01-27 22:00", "its name"),
        ("tms_20260128-023015.dump", "2026-01-27 22:30:15", "its name"),
        ("20260128T020000Z.sql", "2026-01-28 02:00", "its name"),
        ("202601280200.sql", "2026-01-27 22:00", "its name"),
        ("db-2026-01-28T02:00.sql", "2026-01-27 22:00", "its name"),
        ("tms_20260128_v2.sql", "2026-01-27 20:00", "its name, the beginning of"),
        ("tms_20260128_9999.sql", "2026-01-27 20:00", "its name, the beginning of"),
        ("20260128/backup-20260128.sql", "2026-01-27 20:00", "its name, the beginning of"),
        # On the day of the name something else knows the time of day.
        ("tms-2026-02-02.sql", "2026-02-01 22:00:01", "its name, the time of day by its line"),
        ("tms-2026-03-01.sql", "2026-03-01 01:02:03", "its name, the time of day by the file's"),
        # No date in the name.
        ("backup.sql", "2026-02-01 22:00:01", 'its line "Started on"'),
        ("backup-28012026.sql", "2026-02-01 22:00:01", 'its line "Started on"'),
        ("backup-20260231.sql", "2026-02-01 22:00:01", 'its line "Started on"'),
        ("invoice-1234567.sql", "2026-02-01 22:00:01", 'its line "Started on"'),
        ("tms-1769558400.sql", "2026-02-01 22:00:01", 'its line "Started on"'),
    ],
)
def test_the_name_goes_before_what_is_inside(name: str, at: str, by: str) -> None:
    dated = date_file(name, given=None, clues=[INSIDE, MADE], zone=DUBAI, now=NOW)
    assert dated.at == _at(at)
    assert dated.by.startswith(by)


def test_what_somebody_says_goes_before_all() -> None:
    said = datetime(2025, 12, 31, 23, 0, tzinfo=DUBAI)
    dated = date_file("tms-2026-01-28.sql", given=said, clues=[MADE], zone=DUBAI, now=NOW)
    assert (dated.at, dated.by) == (_at("2025-12-31 19:00"), "--captured-at")


def test_the_files_own_time_is_the_last_resort() -> None:
    epoch = Clue("the newest file in it", datetime(1970, 1, 1, tzinfo=UTC))
    dated = date_file("backup.sql", given=None, clues=[epoch, MADE], zone=DUBAI, now=NOW)
    assert (dated.at, dated.by) == (MADE.at, "the file's own time")


@pytest.mark.parametrize(
    ("name", "zone", "why"),
    [
        ("2026-01-28_to_2026-01-29.sql", DUBAI, "can be read as 2026-01-28 and 2026-01-29"),
        ("tms-03-04-2026.sql", DUBAI, "can be read as 2026-03-04 and 2026-04-03"),
        ("20260128_0200-20260128_0300.sql", DUBAI, "several times of the same day"),
        ("tms-2026-11-27.sql", DUBAI, "is yet to come"),
        ("tms-2036-01-28.sql", DUBAI, "is yet to come"),
        ("tms-2026-10-25_0230.sql", BERLIN, "twice or not at all"),
        ("tms-2026-03-29_0230.sql", BERLIN, "twice or not at all"),
    ],
)
def test_what_is_not_certain_is_refused(name: str, zone: ZoneInfo, why: str) -> None:
    with pytest.raises(UndatedError, match=why):
        date_file(name, given=None, clues=[MADE], zone=zone, now=NOW)


@pytest.mark.parametrize(
    ("given", "clues", "why"),
    [
        (NOW + timedelta(minutes=2), [], "--captured-at, is yet to come"),
        (None, [Clue("the file's own time", NOW + timedelta(days=1))], "is yet to come"),
        (None, [], "neither its name nor"),
        (datetime(1970, 1, 1, tzinfo=UTC), [], "is before 1996"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(
    given: datetime | None, clues: list[Clue], why: str
) -> None:
    with pytest.raises(UndatedError, match=why):
        date_file("backup.sql", given=given, clues=clues, zone=DUBAI, now=NOW)
