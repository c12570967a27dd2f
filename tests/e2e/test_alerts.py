"""Alerts that really arrive, or really don't: a mail server and web services on loopback."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.model import AlertEvent, Verdict
from strongroom.report.alert_text import Item, Letter, Sender, letter, trial_letter
from strongroom.report.check import Check
from strongroom.service.alerting import AlertReport, tell
from strongroom.service.application import Application
from strongroom.service.delivery import DELIVERY_SECONDS, Outcome, deliver
from tests.e2e.command_line import Place, make_place
from tests.support.failure_ground import wait_until
from tests.support.listeners import (
    MailServer,
    WebService,
    closed_port,
    mail_server,
    untrusted_tls,
    web_service,
)
from tests.support.running_service import serving

NOW = datetime.now(UTC).replace(microsecond=0)
TOKEN = "T0K3N-of-the-hook"
LETTER = trial_letter(Sender("tms", "production", "UTC", NOW), "operators")


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def web() -> Iterator[WebService]:
    with web_service() as service:
        yield service


def to_web(monkeypatch: pytest.MonkeyPatch, port: int, scheme: str = "json") -> str:
    """A reference to the address of a service, whose path is a token."""
    monkeypatch.setenv("ALERT_URL", f"{scheme}://user:{TOKEN}@127.0.0.1:{port}/{TOKEN}")
    return "env:ALERT_URL"


def send(
    to: str, message: Letter = LETTER, server: str = "localhost", seconds: float = DELIVERY_SECONDS
) -> Outcome:
    return deliver(to, message, mail_server=server, seconds=seconds)


# One message


def test_a_mail_arrives_as_it_was_written(mail: MailServer) -> None:
    outcome = send("mailto:duty+tms@example.com", server=f"127.0.0.1:{mail.port}")
    assert outcome == Outcome(True)
    [(sender, recipients, message)] = mail.received
    assert sender.startswith("strongroom@")
    assert recipients == ["duty+tms@example.com"]
    assert message["Subject"] == LETTER.subject
    assert message["To"] == "duty+tms@example.com"
    assert message["From"] == f"Strongroom <{sender}>"
    assert message["Auto-Submitted"] == "auto-generated"
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().replace("\r\n", "\n").strip() == LETTER.body.strip()


def test_a_mail_to_this_host_arrives(mail: MailServer) -> None:
    assert send("mailto:root@localhost", server=f"127.0.0.1:{mail.port}") == Outcome(True)
    assert mail.received[0][1] == ["root@localhost"]


def test_a_web_service_gets_subject_body_and_tone(
    web: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Check("capture", "database", Verdict.FAILED, "“34 h” old; <b>&amp; ünïcode", NOW)
    item = Item(check.key, AlertEvent.NEW, Verdict.FAILED, Verdict.PROVEN, check)
    made = letter(Sender("tms", "production", "UTC", NOW), [item])
    assert send(to_web(monkeypatch, web.port), made) == Outcome(True)
    [(method, path, body)] = web.asked
    assert (method, path) == ("POST", f"/{TOKEN}")
    document = json.loads(body)
    assert document["title"] == made.subject
    assert document["message"].strip() == made.body.strip()
    assert document["type"] == "failure"
    assert document["attachments"] == []


def test_a_service_that_carries_little_gets_one_line(
    web: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URL", f"misskey://{TOKEN}@127.0.0.1:{web.port}")
    assert send("env:ALERT_URL") == Outcome(True)
    assert LETTER.short.encode() in web.asked[0][2]


def test_several_addresses_behind_one_reference_must_all_take_it(
    web: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = f"json://127.0.0.1:{web.port}/a", f"json://127.0.0.1:{closed_port()}/b"
    monkeypatch.setenv("ALERT_URL", f"{good} {bad}")
    outcome = send("env:ALERT_URL")
    assert (outcome.delivered, outcome.error) == (False, "the connection was refused")
    assert len(web.asked) == 1
    monkeypatch.setenv("ALERT_URL", f"{good}, {good}2")
    assert send("env:ALERT_URL").delivered
    assert sorted(web.paths[1:]) == ["/a", "/a2"]


def failing(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """What comes of a message to something that does not take it."""
    if what in ("500", "404"):
        with web_service() as service:
            service.status = int(what)
            return send(to_web(monkeypatch, service.port))
    if what == "hangs":
        with web_service() as service:
            service.silent = True
            return send(to_web(monkeypatch, service.port), seconds=1.0)
    if what in ("untrusted", "no TLS"):
        with web_service(untrusted_tls(folder) if what == "untrusted" else None) as service:
            return send(to_web(monkeypatch, service.port, "jsons"))
    if what == "recipient":
        with mail_server() as server:
            server.refusal = f"550 no such user {TOKEN}"
            return send("mailto:gone@example.com", server=f"127.0.0.1:{server.port}")
    if what == "login":
        with mail_server() as server:
            url = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=a@b.cc&to=d@e.ff"
            monkeypatch.setenv("ALERT_URL", url)
            return send("env:ALERT_URL")
    if what == "refused":
        return send(to_web(monkeypatch, closed_port()))
    if what == "no mail server":
        return send("mailto:op@example.com", server=f"127.0.0.1:{closed_port()}")
    monkeypatch.delenv("ALERT_URL", raising=False)
    if what != "unset":
        monkeypatch.setenv("ALERT_URL", what)
    return send("env:ALERT_URL")


UNKNOWN_ADDRESS = "the reference does not lead to an address that Apprise understands"


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("refused", "the connection was refused"),
        ("500", "the service answered with status 500"),
        ("404", "the service answered with status 404"),
        ("hangs", "it did not answer in time"),
        ("untrusted", "its certificate is not trusted"),
        ("no TLS", "no TLS connection came about"),
        ("recipient", "the mail server refused the recipient (550)"),
        ("login", "the login was refused"),
        ("no mail server", "the connection was refused"),
        ("unset", "env:ALERT_URL: is not set"),
        (f"{TOKEN}", UNKNOWN_ADDRESS),
        (f"nonsense://{TOKEN}/x", UNKNOWN_ADDRESS),
        (f"mailto://{TOKEN}", UNKNOWN_ADDRESS),
        (f"json://[{TOKEN}", UNKNOWN_ADDRESS),
    ],
)
def test_what_is_not_taken_is_told_without_the_address(
    what: str,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    outcome = failing(what, tmp_path, monkeypatch)
    assert (outcome.delivered, outcome.error) == (False, error)
    assert outcome.hint
    said = capfd.readouterr()
    logged = [one.getMessage() for one in caplog.records if one.name != "mail.log"]  # the server's
    for text in (outcome.error, outcome.hint, said.out, said.err, *logged):
        assert TOKEN not in str(text)


def test_a_service_that_never_answers_is_left_and_leaves_no_process(
    web: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is in no process's arguments meanwhile."""
    web.silent = True
    monkeypatch.setenv("ALERT_URL", f"json://127.0.0.1:{web.port}/{TOKEN}?rto=600&cto=600")
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(send("env:ALERT_URL", seconds=3.0)), daemon=True
    )
    thread.start()
    while not web.asked and thread.is_alive():
        thread.join(0.05)
    assert own_children(), "the messenger runs"
    seen = b"".join(arguments for _, arguments in own_children())
    assert TOKEN.encode() not in seen
    thread.join(60)
    assert [one.delivered for one in outcomes] == [False]
    assert own_children() == []


def own_children() -> list[tuple[int, bytes]]:
    """Processes that this one has started, with their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            arguments = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status[1]) == os.getpid() and b"messenger" in arguments:
            found.append((int(folder.name), arguments))
    return found


# Ticks


CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: file:key}
alerts:
  - {name: operators, to: "mailto:op@example.com"}
  - {name: hook, to: file:hook-url, when: failure}
monitoring: {mail_server: "127.0.0.1:MAIL"}
state: STATE
"""


def make(path: Path, mail: MailServer, web: WebService, state: str = "state") -> Place:
    config = CONFIG.replace("MAIL", str(mail.port)).replace("STATE", state)
    place = make_place(path, config)
    hook = path / "hook-url"
    hook.write_text(f"json://127.0.0.1:{web.port}/{TOKEN}\n")
    hook.chmod(0o600)
    return place


def capture(verdict: Verdict) -> Check:
    return Check("capture", "uploads", verdict, f"seen {verdict}", NOW - timedelta(hours=1))


def space(verdict: Verdict) -> Check:
    return Check("space", "local", verdict, f"room {verdict}")


def at(minutes: int, application: Application, *checks: Check) -> AlertReport:
    return tell(application, checks, NOW + timedelta(minutes=minutes))


def records(application: Application, kind: str) -> list[dict[str, Any]]:
    return [dict(one.fields) for one in application.ledger.entries(kind)]


def subjects(mail: MailServer) -> list[str]:
    return [str(message["Subject"]) for _, _, message in mail.received]


def test_a_story_from_well_to_failed_and_back(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    application = Application.load(make(tmp_path, mail, web).config)
    assert at(0, application, capture(Verdict.PROVEN), space(Verdict.PROVEN)).sent == ()
    assert not application.ledger.path.exists()
    at(1, application, capture(Verdict.STALE), space(Verdict.PROVEN))
    at(2, application, capture(Verdict.FAILED), space(Verdict.STALE))
    assert at(3, application, capture(Verdict.FAILED), space(Verdict.STALE)) == AlertReport()
    # Another process goes on where this one was.
    application = Application.load(tmp_path / "strongroom.yaml")
    report = at(4, application, capture(Verdict.PROVEN), space(Verdict.STALE))
    assert [one.message.to for one in report.sent] == ["operators", "hook"]
    assert at(5, application, capture(Verdict.PROVEN), space(Verdict.STALE)).sent == ()
    assert subjects(mail) == [
        "[tms production] STALE: Captured (uploads): seen STALE",
        "[tms production] FAILED: Captured (uploads), and 1 more",
        "[tms production] well again: Captured (uploads): seen PROVEN",
    ]
    assert [json.loads(body)["title"] for _, _, body in web.asked] == [
        "[tms production] FAILED: Captured (uploads): seen FAILED",
        "[tms production] well again: Captured (uploads): seen PROVEN",
    ]
    told = [
        (one["to"], one["key"], one["event"], one["verdict"], one["delivered"])
        for one in records(application, "alert")
    ]
    assert told == [
        ("operators", "capture:uploads", "new", "STALE", True),
        ("operators", "capture:uploads", "worse", "FAILED", True),
        ("operators", "space:local", "new", "STALE", True),
        ("hook", "capture:uploads", "new", "FAILED", True),
        ("operators", "capture:uploads", "recovered", "PROVEN", True),
        ("hook", "capture:uploads", "recovered", "PROVEN", True),
    ]
    seen = f"{NOW + timedelta(minutes=2):%Y-%m-%d %H:%M:%S} UTC, when it was first seen so"
    payload = mail.received[1][2].get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert f"Since          {seen}" in payload.decode()
    first = records(application, "alert")[0]
    assert first["observed"] == "seen STALE"
    assert datetime.fromisoformat(first["since"]) == NOW - timedelta(hours=1)
    assert first["error"] is None
    changed = [
        (one["key"], one["before"], one["verdict"]) for one in records(application, "verdict")
    ]
    assert changed == [
        ("capture:uploads", "PROVEN", "STALE"),
        ("capture:uploads", "STALE", "FAILED"),
        ("space:local", "PROVEN", "STALE"),
        ("capture:uploads", "FAILED", "PROVEN"),
    ]
    assert application.ledger.verify() == []


def test_what_the_first_does_not_take_goes_to_the_second_and_is_recorded(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    application = Application.load(make(tmp_path, mail, web).config)
    mail.refusal = f"451 try later {TOKEN}"
    report = at(0, application, capture(Verdict.STALE))
    assert [(one.message.to, one.outcome.delivered) for one in report.sent] == [
        ("operators", False),
        ("hook", True),
    ]
    assert [(one.code, one.subject) for one in report.findings] == [
        ("alert-undelivered", "operators")
    ]
    document = json.loads(web.asked[0][2])
    assert document["message"].startswith(
        "The alert route operators could not be reached; this was for it.\n"
    )
    mail.refusal = ""
    assert [one.message.to for one in at(1, application, capture(Verdict.STALE)).sent] == [
        "operators"
    ]
    written = records(application, "alert")
    assert [(one["to"], one["delivered"], one["instead_of"]) for one in written] == [
        ("operators", False, None),
        ("hook", True, "operators"),
        ("operators", True, None),
    ]
    assert "451" in written[0]["error"]
    assert TOKEN not in application.ledger.path.read_text()
    assert json.dumps(report.as_json())


def test_a_ledger_that_cannot_be_written_neither_silences_nor_repeats(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    application = Application.load(make(tmp_path, mail, web, state="blocked/state").config)
    (tmp_path / "blocked").write_text("in the way")
    report = at(0, application, capture(Verdict.FAILED))
    assert [one.code for one in report.findings] == ["evidence-unrecorded"]
    assert len(report.sent) == 2
    assert at(1, application, capture(Verdict.FAILED)).sent == ()
    (tmp_path / "blocked").unlink()
    report = at(2, application, capture(Verdict.FAILED))
    assert (report.sent, report.findings) == ((), ())
    late = [datetime.fromisoformat(one["judged_at"]) for one in records(application, "alert")]
    assert late == [NOW, NOW]
    assert at(3, application, capture(Verdict.PROVEN)).changes
    assert len(mail.received) == len(web.asked) == 2


def test_what_is_under_way_at_a_stop_is_left_and_told_after_the_start(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    application = Application.load(make(tmp_path, mail, web).config)
    (tmp_path / "hook-url").write_text(f"json://127.0.0.1:{web.port}/x?rto=600&cto=600\n")
    web.silent = True
    checks = [capture(Verdict.FAILED)]
    report = tell(application, checks, NOW, stopping=lambda: bool(web.asked and mail.received))
    assert {one.message.to for one in report.sent} <= {"operators"}
    assert "hook" not in {one["to"] for one in records(application, "alert")}
    assert own_children() == []
    web.silent = False
    later = at(1, application, capture(Verdict.FAILED))
    assert "hook" in {one.message.to for one in later.sent if one.outcome.delivered}


def test_a_service_that_waits_for_a_route_stops_all_the_same(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    """The message is neither told nor failed: nothing is recorded of it, and it is told later."""
    place = make(tmp_path, mail, web)
    place.write_config(
        place.config.read_text().replace('  - {name: operators, to: "mailto:op@example.com"}\n', "")
        .replace("when: failure", "when: warning")
    )  # fmt: skip
    (tmp_path / "hook-url").write_text(f"json://127.0.0.1:{web.port}/x?rto=600&cto=600\n")
    web.silent = True
    with serving(place) as service:
        wait_until(lambda: bool(web.asked))
        assert service.stop() == 0
        assert "did not answer in time" not in service.text
    application = Application.load(place.config)
    assert records(application, "alert") == []
    web.silent = False
    with serving(place) as service:
        wait_until(lambda: bool(records(application, "alert")))
        assert service.stop() == 0
    assert {one["delivered"] for one in records(application, "alert")} == {True}


def test_of_two_checks_that_are_called_alike_the_worse_one_counts(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    application = Application.load(make(tmp_path, mail, web).config)
    at(0, application, capture(Verdict.FAILED), capture(Verdict.PROVEN))
    assert subjects(mail) == ["[tms production] FAILED: Captured (uploads): seen FAILED"]


# Commands


def test_a_trial_reaches_everybody_and_is_known_afterwards(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    place = make(tmp_path, mail, web)
    listed = place.json("alert", "list")["routes"]
    assert [(one["route"], one["when"], one["last"]) for one in listed] == [
        ("operators", "warning", None),
        ("hook", "failure", None),
    ]
    assert listed[0]["to"] == "mailto:op@example.com"
    assert listed[1]["to"] == f"file:{tmp_path}/hook-url"
    assert place.run("alert", "test").text == "operators: arrived\nhook: arrived\n"
    assert subjects(mail) == ["[tms production] Test: alerts reach operators"]
    assert json.loads(web.asked[0][2])["type"] == "info"
    last = [one["last"] for one in place.json("alert", "list")["routes"]]
    assert [(one["event"], one["delivered"]) for one in last] == [("test", True)] * 2
    assert "- to hook" in place.run("log").text
    # A trial is no word about any check.
    report = at(0, Application.load(place.config), capture(Verdict.FAILED))
    assert len(report.sent) == 2


def test_a_trial_that_does_not_arrive_everywhere_is_partial(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    place = make(tmp_path, mail, web)
    web.status = 403
    answer = place.run("--json", "alert", "test")
    assert answer.status == 3
    assert [(one["route"], one["delivered"]) for one in answer.document["routes"]] == [
        ("operators", True),
        ("hook", False),
    ]
    assert [one["code"] for one in answer.document["findings"]] == ["alert-undelivered"]
    assert place.run("alert", "test", "operators").status == 0
    told = place.run("--verbose", "alert", "test", "hook")
    assert told.status == 3
    assert told.text.splitlines() == [
        "hook: did not arrive: the service answered with status 403",
        "  Correct what the reference leads to; try `strongroom alert test`.",
    ]
    assert "did not arrive: the service" in place.run("alert", "list").text
    everything = told.text + told.err + place.run("log").text + place.run("alert", "list").text
    everything += (tmp_path / "state/ledger.jsonl").read_text()
    assert TOKEN not in everything


def test_nobody_to_tell_is_said(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    answer = place.run("alert", "test")
    assert answer.status == 2
    assert "alerts: nobody is to be told" in answer.err
    assert "Nobody is told anything" in place.run("alert", "list").text


def test_a_name_that_is_no_route_is_refused(
    tmp_path: Path, mail: MailServer, web: WebService
) -> None:
    answer = make(tmp_path, mail, web).run("alert", "test", "hook", "boss")
    assert answer.status == 2
    assert "Choose from: operators, hook." in answer.err
    assert web.asked == []
