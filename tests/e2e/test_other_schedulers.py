"""systemd reads what is written for it, means the same times, and the commands do the jobs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.cli.main import strongroom
from strongroom.plan.calendar import Calendar
from strongroom.plan.other_schedulers import on_calendar
from strongroom.report.check import Checklist
from tests.e2e.command_line import PASSWORD, Place, make_place
from tests.support.code_ground import make_application
from tests.support.repository_ground import new_repository
from tests.unit.test_other_schedulers import SYSTEMD

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app, capture: 15 * * * *}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: env:A_PASSWORD, check: 0 3 * * 6, check_amount: 50%}
schedule: {time_zone: Europe/Berlin, jitter: 10m, drill: 0 6 * * sun#1}
state: state
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("A_PASSWORD", PASSWORD)
    made = make_place(tmp_path / "a place with 100% $pace", CONFIG)
    make_application(made.path / "app")
    new_repository(made.path / "local")
    new_repository(made.path / "second")
    return made


def written(place: Place) -> dict[str, str]:
    units = place.json("schedule", "--systemd", "--output", place.path / "units")["units"]
    for one in units:
        assert (place.path / "units" / one["name"]).read_text() == one["content"]
    return {one["name"]: one["content"] for one in units}


def test_systemd_finds_no_fault(place: Place) -> None:
    units = written(place)
    assert len(units) == 2 * 9
    paths = [str(place.path / "units" / name) for name in units]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in checked.stderr.splitlines() if "strongroom" in line]
    assert said == []
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("fields", [fields for fields, _ in SYSTEMD])
def test_systemd_means_the_same_times(fields: str) -> None:
    """Dubai's clocks are never changed."""
    begin = datetime(2026, 11, 25, 23, 59, 59, tzinfo=UTC)
    found: set[datetime] = set()
    for line in on_calendar(fields, "Asia/Dubai"):
        found |= set(_elapses(line, begin))
    expected: list[datetime] = []
    at = Calendar(fields, "Asia/Dubai").after(begin)
    while at is not None and len(expected) < 12:
        expected.append(at)
        at = Calendar(fields, "Asia/Dubai").after(at)
    assert sorted(found)[:12] == expected


def _elapses(line: str, begin: datetime) -> list[datetime]:
    said = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=12", f"--base-time={begin:%F %T} UTC", line],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )
    times = re.findall(
        r"(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\S+ \S+) UTC", said.stdout
    )
    assert len(times) == 12, said.stdout
    return [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in times]


def _words(unit: str) -> list[str]:
    """The command of a service as systemd reads it."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    return [one.replace("%%", "%").replace("$$", "$") for one in shlex.split(line)]


def _crontab_words(place: Place) -> list[list[str]]:
    """The shell's words of each line of the crontab, without fields and what comes before."""
    place.write_config(CONFIG.replace("sun#1", "sun"))
    text = place.json("schedule", "--cron")["crontab"]
    lines = [line for line in text.splitlines() if re.match(r"[\d*]", line)]
    commands = [line.split(maxsplit=5)[5].replace("\\%", "%") for line in lines]
    return [shlex.split(one.rpartition("set +a; ")[2]) for one in commands]


def test_both_run_the_same_commands_which_exist(place: Place) -> None:
    services = {name: one for name, one in written(place).items() if name.endswith(".service")}
    wanted = [
        ["backup"],
        ["backup", "code"],
        ["check", "local", "--read-data=10%"],
        ["check", "second", "--read-data=50%"],
        ["prune"],
        ["drill", "--next"],
        ["verify", "weekly"],
        ["verify", "monthly"],
        ["verify", "daily"],
    ]
    given = [words[words.index("--quiet") + 1 :] for words in map(_words, services.values())]
    assert sorted(given) == sorted(wanted)
    assert _crontab_words(place) == list(map(_words, services.values()))
    for words in given:
        _expect_command(words)


def _expect_command(words: list[str]) -> None:
    """It is understood; the checklists are named as `verify` names them."""
    command = strongroom.commands.get(words[0])
    if command is None:
        assert words == ["verify", Checklist(words[1]).value]
    else:
        command.make_context(words[0], words[1:])


# What the service of each job writes into the ledger; prune has nothing to say here.
RUNS: dict[str, str | None] = {
    "capture": "backup",
    "capture-code": "backup",
    "check-second": "check",
    "drill": "drill",
    "prune": None,
}


def test_each_service_does_its_job(place: Place) -> None:
    units = written(place)
    environment = {"PATH": os.environ["PATH"], "HOME": str(place.path), "A_PASSWORD": PASSWORD}
    for name, kind in RUNS.items():
        before = len(place.json("log")["entries"])
        ended = subprocess.run(
            _words(units[f"strongroom-tms-{name}.service"]),
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (name, ended.stdout, ended.stderr)
        entries = place.json("log")["entries"][before:]
        assert kind is None or kind in {one["action"] for one in entries}, name
    sources = {one["source"] for one in place.snapshots()}
    assert sources == {"uploads", "code"}


def test_a_line_of_the_crontab_finds_its_secret_in_the_file_that_it_names(place: Place) -> None:
    place.write_config(CONFIG.replace("sun#1", "sun"))
    (place.path / "environment").write_text(f"A_PASSWORD='{PASSWORD}'\n")
    text = place.json("schedule", "--cron")["crontab"]
    assert PASSWORD not in text
    (line,) = [one for one in text.splitlines() if one.endswith(" backup")]
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    delay = re.match(r"sleep \d+; ", command)
    assert delay is not None
    ended = subprocess.run(
        ["/bin/sh", "-c", command.removeprefix(delay[0])],
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": str(place.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_units_of_others_stay_and_ours_that_have_no_job_are_told(place: Place) -> None:
    written(place)
    folder = place.path / "units"
    place.write_config(
        CONFIG.replace(", capture: 15 * * * *", "").replace("jitter: 10m", "prune: never")
    )
    answer = place.run("schedule", "--systemd", "--output", folder)
    assert answer.status == 0
    stale = [line.split()[0] for line in answer.text.splitlines() if "of no job" in line]
    assert stale == [
        f"strongroom-tms-{name}.{kind}"
        for name in ("capture-code", "prune")
        for kind in ("service", "timer")
    ]
    timer = folder / "strongroom-tms-capture.timer"
    assert "Randomized" not in timer.read_text()
    timer.write_text("[Timer]\n# somebody's own\n")
    refused = place.run("schedule", "--systemd", "--output", folder)
    assert refused.status == 5
    assert "was not written for tms" in refused.err
    assert timer.read_text() == "[Timer]\n# somebody's own\n"


def test_what_can_not_be_written_is_refused_with_its_setting(place: Place) -> None:
    answer = place.run("schedule", "--cron")
    assert answer.status == 2
    assert "schedule.drill: 0 6 * * sun#1 cannot be written for a crontab" in answer.err
