"""`recover`: who answers is what was started, and its logs are watched."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import Place
from tests.support.application_ground import told
from tests.support.recovery_ground import (
    HEALTHY,
    RecoveryGround,
    ended,
    make_production,
    recovered,
    serving,
)
from tests.support.store_servers import running


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Not to be changed."""
    return make_production(tmp_path_factory.mktemp("production") / "tms")


@pytest.fixture
def ground(production: Place, tmp_path: Path) -> Iterator[RecoveryGround]:
    made = RecoveryGround(production, tmp_path)
    with ended(made.target):
        yield made


def test_who_answers_in_its_place_is_not_taken_for_it(ground: RecoveryGround) -> None:
    folder = ground.path / "other"
    folder.mkdir()
    (folder / "health.json").write_text(HEALTHY)
    words = [sys.executable, "-m", "http.server", str(ground.port), "--bind", "127.0.0.1"]
    place = ground.machine()
    with running([*words, "--directory", folder], ground.port, ground.path / "log"):
        document = recovered(place, ground.target)
    assert document["verdict"] == "UNKNOWN"
    assert document["rto_seconds"] is None
    assert told(document, "application-unchecked") == [
        f"somebody answers at http://127.0.0.1:{ground.port} before anything was started, who is "
        "not what was restored; end it, or let `recovery.start` start it"
    ]
    assert recovered(place, ground.target)["verdict"] == "PROVEN"


def test_who_answers_where_nothing_is_started_is_not_taken_for_it(ground: RecoveryGround) -> None:
    folder = ground.path / "other"
    folder.mkdir()
    (folder / "health.json").write_text(HEALTHY)
    words = [sys.executable, "-m", "http.server", str(ground.port), "--bind", "127.0.0.1"]
    place = ground.machine(recovery=re.sub("serve: .*\n *", "", serving(ground.port)))
    with running([*words, "--directory", folder], ground.port, ground.path / "log"):
        document = recovered(place, ground.target)
    assert document["verdict"] == "UNKNOWN", document["findings"]
    assert told(document, "application-unchecked")[0].startswith("somebody answers at ")


def test_who_takes_the_port_meanwhile_is_not_taken_for_it(ground: RecoveryGround) -> None:
    """What `serve` started lives on and takes no connection; its place was taken by another, of
    whom the environment says nothing."""
    folder = ground.path / "other"
    folder.mkdir()
    (folder / "health.json").write_text(HEALTHY)
    started = ground.path / "started"
    text = re.sub("serve: .*", f"serve: [/bin/sh, -c, 'touch {started}; exec sleep 100']",
                  serving(ground.port))  # fmt: skip
    place = ground.machine(recovery=text)
    script = (
        "import http.server, os, pathlib, sys, time\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "os.chdir(sys.argv[3])\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[2])),"
        " http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, started, str(ground.port), folder])
    try:
        document = recovered(place, ground.target)
    finally:
        other.kill()
        other.wait()
    assert document["verdict"] == "UNKNOWN", document["findings"]
    (said,) = told(document, "application-unchecked")
    assert f"(process {other.pid}) answers at http://127.0.0.1:{ground.port}" in said


def test_what_start_has_started_may_answer_when_it_goes_on(ground: RecoveryGround) -> None:
    folder, kept = ground.target / "code/public", ground.path / "server.pid"
    server = f"{sys.executable} -m http.server {ground.port} --bind 127.0.0.1 --directory {folder}"
    begin = f"test -f {kept} || (setsid {server} >/dev/null 2>&1 & echo $! >{kept})"
    smoke = f"smoke: [[/bin/sh, -c, 'test -f {ground.path}/mended']]"
    text = re.sub("serve: .*", f"start: [[/bin/sh, -c, '{begin}']]", serving(ground.port, [smoke]))
    place = ground.machine(recovery=text)
    try:
        assert recovered(place, ground.target)["verdict"] == "FAILED"
        (ground.path / "mended").touch()
        document = recovered(place, ground.target)
    finally:
        os.kill(int(kept.read_text()), signal.SIGKILL)
    assert document["verdict"] == "PROVEN", document["findings"]


def test_its_logs_are_watched(ground: RecoveryGround) -> None:
    """What stood there before is old; what a request left there counts."""
    log = ground.path / "error.log"
    log.write_text("PHP Fatal error: long ago\n")
    place = ground.machine(
        f"logs: {{server: ['{ground.path}/*.log']}}",
        f"smoke: [[/bin/sh, -c, 'echo PHP Fatal error: just now >>{log}']]",
    )
    document = recovered(place, ground.target)
    assert document["verdict"] == "FAILED"
    assert told(document, "application-failed") == ["its log says: PHP Fatal error: just now"]
    assert document["rto_seconds"] is not None  # it did answer


def test_what_a_log_says_later_is_seen(ground: RecoveryGround) -> None:
    """The watch ends with it, however long it was to last."""
    log = ground.path / "error.log"
    later = f"(sleep 1; echo PHP Fatal error: later >>{log}) >/dev/null 2>&1 &"
    lines = serving(ground.port, [f"smoke: [[/bin/sh, -c, '{later}']]"])
    lines = lines.replace("watch: 0s", f"watch: 1h\n  logs: {{server: ['{log}']}}")
    document = recovered(ground.machine(recovery=lines), ground.target)
    assert document["verdict"] == "FAILED"
    assert told(document, "application-failed") == ["its log says: PHP Fatal error: later"]


def test_a_log_that_cannot_be_watched_is_told(ground: RecoveryGround) -> None:
    here = ground.path
    (here / "folder.log").mkdir()
    place = ground.machine(
        f"logs: {{server: ['{here}/none/error.log', '{here}/*.txt', '{here}/folder.log'],"
        " files: [logs/*.log, 'public/*.json', public/*.log]}"
    )
    document = recovered(place, ground.target)
    assert document["verdict"] == "UNKNOWN"
    assert document["rto_seconds"] is not None  # it did answer
    assert told(document, "application-unchecked") == [
        "a log was not watched: logs/*.log: its folder does not exist",
        f"a log was not watched: {here}/none/error.log: no such file",
        f"a log was not watched: {here}/*.txt: no such file",
        f"a log was not watched: {here}/folder.log: a folder, not a file",
    ]


def test_logs_behind_links_are_watched(ground: RecoveryGround) -> None:
    """A server's log that is a link, and one of the application in the folder of another source."""
    real, log = ground.path / "real", ground.path / "error.log"
    real.write_text("PHP Fatal error: long ago\n")
    log.symlink_to(real)
    place = ground.machine(
        f"logs: {{server: ['{log}'], files: ['storage/logs/*.log']}}",
        "links: {storage: uploads}",
        f"smoke: [[/bin/sh, -c, 'echo PHP Fatal error: one >>{real}; mkdir storage/logs;"
        " echo PHP Fatal error: two >storage/logs/a.log']]",
    )
    document = recovered(place, ground.target)
    assert document["verdict"] == "FAILED"
    assert sorted(told(document, "application-failed")) == [
        "its log says: PHP Fatal error: one",
        "its log says: PHP Fatal error: two",
    ]


def test_a_log_that_may_not_be_read_is_told(ground: RecoveryGround) -> None:
    """Root may read every file: a link to nothing and a pipe stand for those that cannot be."""
    pipe = ground.path / "error.log"
    os.mkfifo(pipe)
    (ground.path / "away.log").symlink_to(ground.path / "nowhere")
    place = ground.machine(f"logs: {{server: ['{ground.path}/*.log']}}")
    document = recovered(place, ground.target)
    assert document["verdict"] == "UNKNOWN"
    where = f"a log was not watched: {ground.path}/*.log"
    assert told(document, "application-unchecked") == [
        f"{where}: away.log: No such file or directory",
        f"{where}: error.log: no plain file",
    ]


def test_a_server_that_ends_meanwhile_is_told(ground: RecoveryGround) -> None:
    served = Path(ground.target / ".strongroom/recovery.json")
    kill = "kill $(sed -n '/served/{n;p}' " + str(served) + " | tr -dc 0-9)"
    lines = serving(ground.port, [f'smoke: [[/bin/sh, -c, "(sleep 1; {kill}) >/dev/null 2>&1 &"]]'])
    lines = lines.replace("\\'", "'").replace("watch: 0s", "watch: 1h")
    document = recovered(ground.machine(recovery=lines), ground.target)
    assert document["verdict"] == "FAILED"
    assert "has ended" in told(document, "application-failed")[0]
