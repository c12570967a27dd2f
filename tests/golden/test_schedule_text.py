"""What people read of a schedule, word for word: the next runs, the units, the crontab."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from strongroom.cli.schedule import run_lines, unit_lines
from strongroom.config import Settings, parse_settings
from strongroom.service.application import Application
from strongroom.service.knowledge import ANNOUNCED, RAN
from strongroom.service.other_schedulers import crontab, systemd_units
from strongroom.service.own_program import own_program
from strongroom.service.rendering import time_json
from strongroom.service.scheduling import announce, next_runs, timetable_of
from tests.support.schedule_ground import utc

CONFIG = Path("/etc/strongroom/strongroom.yaml")
TEXT = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:DATABASE_URL}
  uploads: {kind: files, path: /srv/tms/uploads}
  code: {kind: git, path: /srv/tms/app, capture: "15 * * * *"}
repositories:
  local: {location: /backup/tms, password: file:/etc/strongroom/local.key}
  offsite:
    location: sftp:backup@vault.example.com:/srv/tms
    password: env:OFFSITE_PASSWORD
    check: 0 3 * * 6
    check_amount: 25%
schedule: {time_zone: Asia/Dubai, jitter: 10m, verify_daily: never}
"""
NOW = utc("2026-11-26 05:58")


def of(text: str, state: Path) -> Settings:
    return parse_settings(f"{text}state: {state}\n", base=CONFIG.parent)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return of(TEXT, tmp_path / "state")


def told(lines: Iterable[str]) -> str:
    program = own_program()
    text = "\n".join(lines)
    for written in (" ".join(program), shlex.join(program)):
        text = text.replace(written, "/usr/bin/strongroom")
    return text.replace(f"PATH={Path(program[0]).parent}:", "PATH=")


def test_the_next_runs_read_well(settings: Settings) -> None:
    found = next_runs(Application(settings), 6, NOW)
    assert told(run_lines(found, NOW)) == NEXT


def test_what_is_due_stands_first_with_what_it_waits_for(settings: Settings) -> None:
    application = Application(settings)
    announce(application, timetable_of(settings), utc("2026-11-20 06:00"))
    for job in ("capture", "capture:code", "check:local", "check:offsite"):
        application.must_record(
            RAN, {"job": job, "scheduled_for": time_json(NOW), "begun_at": time_json(NOW)}
        )
    found = next_runs(application, 6, utc("2026-11-29 05:58"))
    assert told(run_lines(found, utc("2026-11-29 05:58"))) == DUE


def test_a_schedule_is_announced_once_and_again_when_it_changes(settings: Settings) -> None:
    application = Application(settings)
    timetable = timetable_of(settings)
    assert announce(application, timetable, NOW) is not None
    assert announce(application, timetable, utc("2026-11-27")) is None
    changed = of(TEXT.replace("15 * * * *", "20 * * * *"), Path(settings.state))
    notes = next_runs(Application(changed), 1, NOW).notes
    assert "The service has not taken up this schedule yet: it does when it is reloaded" in notes
    assert announce(Application(changed), timetable_of(changed), utc("2026-11-27")) is not None
    # The clock is two days behind what was written.
    assert announce(Application(changed), timetable_of(changed), utc("2026-11-25")) is not None
    assert announce(Application(changed), timetable_of(changed), utc("2026-11-25")) is None
    because = [one.fields["because"] for one in application.ledger.entries(ANNOUNCED)]
    assert because == [
        "the schedule is new or changed",
        "the schedule is new or changed",
        "the clock was set back",
    ]


def test_the_units_read_well(settings: Settings) -> None:
    units = systemd_units(settings, CONFIG, is_system=True)
    chosen = [one for one in units.files if "check-offsite" in one.name]
    assert told(
        line for one in chosen for line in ("# " + one.name, *one.content.splitlines())
    ) == (UNITS)
    assert told(units.notes) == NOTES
    assert "DATABASE_URL" not in "".join(one.content for one in units.files)


def test_a_user_s_units_are_of_his_own_manager(settings: Settings, tmp_path: Path) -> None:
    units = systemd_units(settings, CONFIG, tmp_path / "units", is_system=False)
    assert all("network-online" not in one.content for one in units.files)
    assert told(unit_lines(units)).replace(str(tmp_path), "PLACE") == OF_A_USER


def test_the_crontab_reads_well(settings: Settings) -> None:
    assert told(crontab(settings, CONFIG).lines) == CRONTAB


def test_other_schedulers_wait_no_longer_than_until_the_next_time(tmp_path: Path) -> None:
    eager = of(TEXT.replace("jitter: 10m", "jitter: 3000d"), tmp_path / "state")
    lines = crontab(eager, CONFIG).lines
    slept = {
        one.split(" sleep ")[0]: int(one.split(" sleep ")[1].partition(";")[0])
        for one in lines
        if " sleep " in one
    }
    assert 0 < slept["15 * * * *"] < 3600
    assert 0 < slept["0 2 * * *"] < 24 * 3600
    assert 0 < slept["0 6 * * 0"] < 7 * 24 * 3600
    units = systemd_units(eager, CONFIG, is_system=True).files
    spread = {
        one.name: int(one.content.partition("RandomizedDelaySec=")[2].partition("\n")[0])
        for one in units
        if one.name.endswith(".timer")
    }
    assert spread["strongroom-tms-capture-code.timer"] == 3600
    assert spread["strongroom-tms-capture.timer"] == 24 * 3600


NEXT = """\
WHEN (Asia/Dubai)              IN  JOB           WHY
Thu 2026-11-26 10:15  17 min 14 s  capture:code  sources.code.capture is 15 * * * *
Thu 2026-11-26 11:24   1 h 26 min  capture:code  sources.code.capture is 15 * * * *
Thu 2026-11-26 12:17   2 h 19 min  capture:code  sources.code.capture is 15 * * * *
Thu 2026-11-26 13:16   3 h 18 min  capture:code  sources.code.capture is 15 * * * *
Thu 2026-11-26 14:23   4 h 25 min  capture:code  sources.code.capture is 15 * * * *
Thu 2026-11-26 15:24   5 h 26 min  capture:code  sources.code.capture is 15 * * * *
No run by itself is recorded here: start the service (`strongroom serve`), or let another \
scheduler do it (--systemd, --cron)
copy has no time: it runs when a repository lacks what another one has
application-drill does not run by itself: there is no application_check that says how to start \
it
verify-daily does not run by itself: schedule.verify_daily is never"""

DUE = """\
WHEN (Asia/Dubai)      IN  JOB            WHY
Sun 2026-11-29 09:58  now  capture        due at 2026-11-29 02:00 Asia/Dubai: schedule.capture \
is 0 2 * * *; 3 runs were missed since 2026-11-27 02:00 Asia/Dubai, and this one makes up for \
all of them
Sun 2026-11-29 09:58  now  check:offsite  due at 2026-11-28 03:00 Asia/Dubai, 30 h 55 min \
late: repositories.offsite.check is 0 3 * * 6
Sun 2026-11-29 09:58  now  check:local    due at 2026-11-29 05:00 Asia/Dubai: schedule.check \
is 0 5 * * *; 3 runs were missed since 2026-11-27 05:00 Asia/Dubai, and this one makes up for \
all of them
Sun 2026-11-29 09:58  now  drill          due at 2026-11-29 06:00 Asia/Dubai: schedule.drill \
is 0 6 * * 0; 2 runs were missed since 2026-11-22 06:00 Asia/Dubai, and this one makes up for \
all of them
Sun 2026-11-29 09:58  now  verify-weekly  due at 2026-11-23 08:10 Asia/Dubai, 6 days late: \
schedule.verify_weekly is 10 8 * * 1
Sun 2026-11-29 09:58  now  capture:code   due at 2026-11-29 09:15 Asia/Dubai: \
sources.code.capture is 15 * * * *; 72 runs were missed since 2026-11-26 10:15 Asia/Dubai, and \
this one makes up for all of them; waits: capture goes first
copy has no time: it runs when a repository lacks what another one has
application-drill does not run by itself: there is no application_check that says how to start \
it
verify-daily does not run by itself: schedule.verify_daily is never"""

UNITS = """\
# strongroom-tms-check-offsite.service
# Written by `strongroom schedule --systemd` for tms, which will write over it.
[Unit]
Description=Strongroom: check:offsite of tms
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=/usr/bin/strongroom --config /etc/strongroom/strongroom.yaml --quiet check offsite \
--read-data=25%%
EnvironmentFile=-/etc/strongroom/environment
UMask=0077
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
TimeoutStopSec=5min
# Another run is in the way (status 4): try again.
RestartForceExitStatus=4
RestartSec=10min
# strongroom-tms-check-offsite.timer
# Written by `strongroom schedule --systemd` for tms, which will write over it.
# repositories.offsite.check is 0 3 * * 6
[Unit]
Description=Strongroom: when check:offsite of tms is due

[Timer]
OnCalendar=Sat *-*-* 03:00:00 Asia/Dubai
RandomizedDelaySec=600
FixedRandomDelay=true
Persistent=true

[Install]
WantedBy=timers.target"""

NOTES = """\
application-drill does not run by itself: there is no application_check that says how to start \
it
verify-daily does not run by itself: schedule.verify_daily is never
copy has no time of its own: each backup brings up to date what a repository missed
Units belong into /etc/systemd/system; then: systemctl daemon-reload
Start the timers: systemctl enable --now strongroom-tms-capture.timer \
strongroom-tms-capture-code.timer strongroom-tms-check-local.timer \
strongroom-tms-check-offsite.timer strongroom-tms-prune.timer strongroom-tms-drill.timer \
strongroom-tms-verify-monthly.timer strongroom-tms-verify-weekly.timer
Put NAME=VALUE into /etc/strongroom/environment, with mode 600, for: DATABASE_URL, \
OFFSITE_PASSWORD"""

OF_A_USER = """\
Wrote 16 units into PLACE/units
application-drill does not run by itself: there is no application_check that says how to start \
it
verify-daily does not run by itself: schedule.verify_daily is never
copy has no time of its own: each backup brings up to date what a repository missed
Units belong into ~/.config/systemd/user; then: systemctl --user daemon-reload
Start the timers: systemctl --user enable --now strongroom-tms-capture.timer \
strongroom-tms-capture-code.timer strongroom-tms-check-local.timer \
strongroom-tms-check-offsite.timer strongroom-tms-prune.timer strongroom-tms-drill.timer \
strongroom-tms-verify-monthly.timer strongroom-tms-verify-weekly.timer
Without root they run while you are logged in; for always: loginctl enable-linger
Put NAME=VALUE into /etc/strongroom/environment, with mode 600, for: DATABASE_URL, \
OFFSITE_PASSWORD"""

CRONTAB = """\
# Written by `strongroom schedule --cron`: add it to `crontab -e`, or install it alone.
# CRON_TZ is obeyed by cronie; where cron does not know it, as on Debian and Ubuntu,
# times are the host's: then let the host's time zone be Asia/Dubai.
# A host that sleeps misses runs, and nothing makes up for them.
# copy has no time of its own: each backup brings up to date what a repository missed
# application-drill does not run by itself: there is no application_check that says how to \
start it
# verify-daily does not run by itself: schedule.verify_daily is never
# /etc/strongroom/environment says, with mode 600, NAME=VALUE for: DATABASE_URL, \
OFFSITE_PASSWORD
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CRON_TZ=Asia/Dubai
# capture: schedule.capture is 0 2 * * *
0 2 * * * sleep 126; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet backup
# capture:code: sources.code.capture is 15 * * * *
15 * * * * sleep 436; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet backup code
# check:local: schedule.check is 0 5 * * *
0 5 * * * sleep 67; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet check local --read-data=10\\%
# check:offsite: repositories.offsite.check is 0 3 * * 6
0 3 * * 6 sleep 29; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet check offsite --read-data=25\\%
# prune: schedule.prune is 30 4 * * *
30 4 * * * sleep 300; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet prune
# drill: schedule.drill is 0 6 * * 0
0 6 * * 0 sleep 249; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet drill --next
# verify-monthly: schedule.verify_monthly is 20 8 1 * *
20 8 1 * * sleep 112; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet verify monthly
# verify-weekly: schedule.verify_weekly is 10 8 * * 1
10 8 * * 1 sleep 398; set -a; . /etc/strongroom/environment; set +a; /usr/bin/strongroom \
--config /etc/strongroom/strongroom.yaml --quiet verify weekly"""
