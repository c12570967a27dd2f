"""The fields of a schedule in the words of systemd and of other crons, or a refusal."""

from __future__ import annotations

import pytest

from strongroom.plan.other_schedulers import crontab_fields, on_calendar

SYSTEMD = [
    ("0 2 * * *", ["*-*-* 02:00:00"]),
    ("*/15 * * * *", ["*-*-* *:00,15,30,45:00"]),
    ("* 8-18 * * mon-fri", ["Mon..Fri *-*-* 08..18:*:00"]),
    ("30 4 1,15 * *", ["*-*-01,15 04:30:00"]),
    ("0 6 * * 0", ["Sun *-*-* 06:00:00"]),
    ("0 6 * * 7", ["Sun *-*-* 06:00:00"]),
    ("0 6 * * 0,6", ["Sat,Sun *-*-* 06:00:00"]),
    ("0 6 * * 1,3-6", ["Mon,Wed..Sat *-*-* 06:00:00"]),
    ("0 7 1 1,4,7,10 *", ["*-01,04,07,10-01 07:00:00"]),
    # A day of the month or a day of the week: either.
    ("0 7 1 * mon", ["*-*-01 07:00:00", "Mon *-*-* 07:00:00"]),
    # One of them begins with a star: both.
    ("0 7 */10 * mon", ["Mon *-*-01,11,21,31 07:00:00"]),
    ("0 7 1-7 * */2", ["Tue,Thu,Sat,Sun *-*-01..07 07:00:00"]),
    ("0 7 L * *", ["*-*~01 07:00:00"]),
    ("0 7 15,L 2 *", ["*-02-15 07:00:00", "*-02~01 07:00:00"]),
    ("0 7 LW * *", ["Mon..Fri *-*~01 07:00:00", "Fri *-*~02 07:00:00", "Fri *-*~03 07:00:00"]),
    ("0 7 * * mon#1", ["Mon *-*-01..07 07:00:00"]),
    ("0 7 * * 0#5", ["Sun *-*-29..31 07:00:00"]),
    ("0 7 * * fri#2,5L", ["Fri *-*~07/1 07:00:00", "Fri *-*-08..14 07:00:00"]),
    ("0 7 */2 * tue#1", ["Tue *-*-01,03,05,07 07:00:00"]),
]


@pytest.mark.parametrize(("fields", "expected"), SYSTEMD)
def test_systemd_s_words(fields: str, expected: list[str]) -> None:
    assert on_calendar(fields, "Asia/Dubai") == [f"{one} Asia/Dubai" for one in expected]


@pytest.mark.parametrize("fields", ["0 7 */2,L * mon#1", "0 7 */2 * 5L", "0 7 */30 * mon#2"])
def test_what_systemd_has_no_words_for_is_refused(fields: str) -> None:
    with pytest.raises(ValueError, match="systemd"):
        on_calendar(fields, "UTC")


CRON = [
    ("0 2 * * *", "0 2 * * *"),
    ("*/15 8-18/2 1,15 * 1-5", "*/15 8-18/2 1,15 * 1-5"),
    # Names and a step behind a single number are not read alike everywhere.
    ("10/15 * * * *", "10,25,40,55 * * * *"),
    ("0 2 * jan,mar mon-fri", "0 2 * 1,3 1-5"),
    ("0 2 * * sun", "0 2 * * 0"),
    ("5/1 2 * * *", "5-59 2 * * *"),
]


@pytest.mark.parametrize(("fields", "expected"), CRON)
def test_other_cron_s_words(fields: str, expected: str) -> None:
    assert crontab_fields(fields) == expected


@pytest.mark.parametrize(
    "fields", ["0 2 L * *", "0 2 LW * *", "0 2 * * mon#1", "0 2 * * 5L", "0 2 * * */2,mon"]
)
def test_what_other_crons_have_no_words_for_is_refused(fields: str) -> None:
    with pytest.raises(ValueError, match="other crons"):
        crontab_fields(fields)
