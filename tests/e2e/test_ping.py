"""The dead man's switch: what a capture asks it, and that nothing depends on its answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.service.application import Application
from strongroom.service.child import Children
from strongroom.service.delivery import ping
from strongroom.service.order import Order, Outcome
from strongroom.service.ping import with_pings
from strongroom.service.runner import Runner
from tests.e2e.command_line import Answer, Place, make_place
from tests.support.listeners import WebService, closed_port, web_service

UUID = "9d3c7b5e-0000-4000-8000-5ec2e7"
CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads, required: [lpos]}
  more: {kind: files, path: more}
repositories:
  local: {location: local, password: file:key}
monitoring: {ping: file:ping-url}
state: state
"""


@pytest.fixture
def web() -> Iterator[WebService]:
    with web_service() as service:
        yield service


def make(path: Path, port: int, url: str = "") -> Place:
    place = make_place(path, CONFIG)
    (path / "more").mkdir()
    (path / "ping-url").write_text(url or f"http://127.0.0.1:{port}/{UUID}")
    (path / "ping-url").chmod(0o600)
    place.json("init")
    return place


def codes(answer: Answer) -> list[str]:
    return [one["code"] for one in answer.document["findings"]]


def record(place: Place) -> dict[str, object]:
    [*_, last] = Application.load(place.config).ledger.entries("ping")
    return dict(last.fields)


def test_a_capture_asks_at_its_beginning_and_its_end(tmp_path: Path, web: WebService) -> None:
    place = make(tmp_path, web.port)
    assert place.run("backup").status == 0
    assert web.paths == [f"/{UUID}/start", f"/{UUID}"]
    assert web.asked[1][2] == b"exit status 0\ncaptured 2 of 2 sources\n"
    assert record(place)["delivered"] is True


def test_a_capture_of_some_sources_asks_nothing(tmp_path: Path, web: WebService) -> None:
    place = make(tmp_path, web.port)
    assert place.run("backup", "uploads").status == 0
    assert web.asked == []
    assert place.run("backup", "more", "uploads").status == 0  # these are all
    assert web.paths == [f"/{UUID}/start", f"/{UUID}"]


def test_a_capture_that_is_not_whole_counts_as_failed(tmp_path: Path, web: WebService) -> None:
    place = make(tmp_path, web.port)
    (tmp_path / "more").rmdir()
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert web.paths == [f"/{UUID}/start", f"/{UUID}/fail"]
    told = web.asked[1][2].decode()
    assert told == "exit status 3\ncaptured 1 of 2 sources\nmore: path-unreadable\n"
    assert str(tmp_path) not in told


def test_a_capture_that_fails_tells_its_status_and_no_path(tmp_path: Path, web: WebService) -> None:
    place = make(tmp_path, web.port)
    (tmp_path / "key").write_text("wrong\n")
    answer = place.run("backup")
    assert answer.status == 24
    assert web.paths == [f"/{UUID}/start", f"/{UUID}/fail"]
    assert web.asked[1][2] == (
        b"exit status 24\nwrong-password: No key of the repository opens with this password.\n"
    )
    assert record(place)["exit_status"] == 24


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (RuntimeError("a bug"), 1)]
)
def test_a_capture_that_is_stopped_tells_so(
    tmp_path: Path, web: WebService, error: BaseException, status: int
) -> None:
    application = Application.load(make(tmp_path, web.port).config)

    def stopped() -> None:
        raise error

    with pytest.raises(type(error)):
        with_pings(application, (), stopped)  # type: ignore[arg-type]  # it never returns
    assert web.paths[1] == f"/{UUID}/fail"
    assert web.asked[1][2].startswith(f"exit status {status}\n".encode())


def test_the_service_asks_around_each_capture_of_all_sources(
    tmp_path: Path, web: WebService
) -> None:
    place = make(tmp_path, web.port)
    runner = Runner(lambda: Application.load(place.config), Children(place.config))
    all_of_them = Order("tms", "capture", "capture", ("backup",), scheduled_for="2026-11-26T02:00Z")
    alone = replace(all_of_them, job="capture:more", sources=("more",))
    runner.begin(alone)
    runner.record(alone, "tms/capture:more/1", datetime.now(UTC), Outcome(20))
    assert web.asked == []
    error = {"error": {"code": "store-full", "message": f"{tmp_path}: full", "hint": ""}}
    runner.begin(all_of_them)
    for _ in range(2):  # a step that was interrupted is done again
        runner.record(all_of_them, "tms/capture/1", datetime.now(UTC), Outcome(22, error))
    assert web.paths == [f"/{UUID}/start", f"/{UUID}/fail"]
    told = web.asked[1][2].decode()
    assert told.startswith("exit status 22\nstore-full: The store has no space left.")
    assert str(tmp_path) not in told


def spoilt(what: str, web: WebService, path: Path) -> Place:
    place = make(path, web.port)
    url = path / "ping-url"
    if what in ("500", "404"):
        web.status = int(what)
    elif what.startswith("OK"):
        web.content = what.encode()
    elif what == "refused":
        url.write_text(f"http://127.0.0.1:{closed_port()}/{UUID}")
    elif what == "gone":
        url.unlink()
    else:
        url.write_text(what)
    return place


@pytest.mark.parametrize(
    ("what", "error", "asked"),
    [
        ("500", "it answered with status 500", 4),  # each is tried once more
        ("404", "it answered with status 404", 2),
        ("OK (not found)", "it knows no such check", 2),
        ("OK (rate limited)", "it was asked too often", 2),
        ("refused", "the connection was refused", 0),
        ("gone", "cannot be read: No such file or directory", 0),
        (f"ftp://{UUID}", "the reference does not lead to a URL of http or https", 0),
        (f"{UUID}", "the reference does not lead to a URL of http or https", 0),
        (f"http://[{UUID}", "the reference does not lead to a URL of http or https", 0),
    ],
)
def test_a_ping_that_fails_is_told_and_stops_nothing(
    tmp_path: Path,
    web: WebService,
    caplog: pytest.LogCaptureFixture,
    what: str,
    error: str,
    asked: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    place = spoilt(what, web, tmp_path)
    answer = place.run("--json", "--verbose", "backup")
    assert answer.status == 0
    assert codes(answer) == ["ping-failed", "ping-failed"]
    messages = [one["message"] for one in answer.document["findings"]]
    assert [one.partition(": ")[0] for one in messages] == ["start", "success"]
    assert all(one.endswith(error) for one in messages)
    assert len(web.asked) == asked
    assert record(place)["delivered"] is False
    ledger = (tmp_path / "state/ledger.jsonl").read_text()
    for text in (answer.text, answer.err, ledger, caplog.text):
        assert UUID not in text


def test_a_switch_that_hangs_is_left_when_its_time_is_over(web: WebService) -> None:
    web.silent = True
    outcome = ping(f"http://127.0.0.1:{web.port}/{UUID}", "", seconds=0.5)
    assert outcome.error == "it did not answer in time"
