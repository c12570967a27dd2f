"""Requests of a conversation, and whether answers are what was expected."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from strongroom.config.application_check import HttpCheck, LogCheck, WorkflowStep
from strongroom.confinement.enclosure import Reply
from strongroom.recovery.application_probe import Conversation, fits, hush, log_faults, look_up


def reply(body: bytes = b"", status: int = 200, size: int | None = None, **headers: str) -> Reply:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    digest = hashlib.sha256(body).hexdigest()
    return Reply(status, named, body, len(body) if size is None else size, digest)


def step(**given: Any) -> WorkflowStep:
    return WorkflowStep.model_validate({"name": "a step", "path": "/", **given})


def check(**given: Any) -> HttpCheck:
    return HttpCheck.model_validate({"path": "/", **given})


def test_a_form_is_sent_as_one_with_everything_filled_in() -> None:
    talk = Conversation({"answer.token": "a&b", "secret.word": "ä"})
    sent = talk.request(
        step(path="/login", method="POST", send={"t": "{answer.token}", "w": "{secret.word}"})
    )
    assert (sent.method, sent.path, sent.body) == ("POST", "/login", b"t=a%26b&w=%C3%A4")
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_what_is_put_into_a_path_cannot_change_it() -> None:
    talk = Conversation({"answer.number": "1&x=/../ä#"})
    assert talk.request(check(path="/d?n={answer.number}&k=é")).path == (
        "/d?n=1%26x%3D%2F..%2F%C3%A4%23&k=%C3%A9"
    )


def test_cookies_are_kept_changed_and_dropped() -> None:
    talk = Conversation({})
    assert "Cookie" not in talk.request(step()).headers
    talk.judge(step(), reply(Set_Cookie="sid=one; HttpOnly; Path=/; SameSite=Strict"))
    assert talk.request(step()).headers["Cookie"] == "sid=one"
    talk.judge(step(), reply(Set_Cookie="sid=two; HttpOnly"))
    talk.judge(step(), reply(Set_Cookie="lang=ar"))
    assert talk.request(step()).headers["Cookie"] == "sid=two; lang=ar"
    talk.judge(step(), reply(Set_Cookie="sid=deleted; Max-Age=0"))
    assert talk.request(step()).headers["Cookie"] == "lang=ar"


JSON = (
    b'{"status": "ok", "checks": {"db": {"ok": true, "rows": 7}}, "list": [{"n": "T-1"}], "a.b": 1}'
)


@pytest.mark.parametrize(
    ("given", "answer", "fault"),
    [
        ({}, reply(), ""),
        ({}, reply(status=500), "status is 500, expected 200"),
        ({"text": ["Welcome"]}, reply(b"Welcome back"), ""),
        ({"text": ["Welcome"]}, reply(b"Goodbye"), "it does not hold 'Welcome'"),
        ({"absent": ["Fatal"]}, reply(b"Fatal error"), "it holds 'Fatal'"),
        ({"media_type": "text/html"}, reply(Content_Type="Text/HTML; charset=utf-8"), ""),
        ({"media_type": "text/html"}, reply(), "media type is , expected text/html"),
        ({"status": 302, "location": "/x"}, reply(status=302, location="/x"), ""),
        ({"location": "/x"}, reply(location="/y"), "location is /y, expected /x"),
        ({"sha256": hashlib.sha256(b"x").hexdigest().upper()}, reply(b"x"), ""),
        ({"sha256": "0" * 64}, reply(b"x"), "SHA-256 is 2d71"),
        ({"values": {"status": "ok", "checks.db.rows": "> 6", "a.b": 1}}, reply(JSON), ""),
        ({"values": {"checks.db.ok": True, "list[0].n": "T-1"}}, reply(JSON), ""),
        ({"values": {"status": "failing"}}, reply(JSON), 'status is "ok", expected "failing"'),
        ({"values": {"list[1].n": "T-1"}}, reply(JSON), "list[1].n is nothing"),
        ({"values": {"status": "ok"}}, reply(b"<html>"), "it is no JSON"),
        ({"values": {"status": "ok"}}, reply(JSON, size=9_999_999), "it is no JSON"),
    ],
)
def test_an_answer_is_compared(given: Mapping[str, Any], answer: Reply, fault: str) -> None:
    checked, faults = Conversation({}).judge(check(**given), answer)
    expected = 1 + sum(len(v) if isinstance(v, list | dict) else 1 for k, v in given.items()
                       if k != "status")  # fmt: skip
    assert checked == expected, "every expectation counts"
    assert bool(faults) is bool(fault)
    assert fault in "\n".join(faults)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("values:list[0].n", "T-1"),
        ("values:checks.db.rows", "7"),
        ("header:Location", "/next"),
        ("cookie:sid", "s1"),
        ('text:"n": "(T-\\d)"', "T-1"),
        ("sha256", hashlib.sha256(JSON).hexdigest()),
    ],
)
def test_what_is_taken_fills_later_steps(wanted: str, taken: str) -> None:
    talk = Conversation({})
    answer = reply(JSON, location="/next", Set_Cookie="sid=s1")
    assert talk.judge(step(take={"it": wanted}), answer) == (1, [])
    assert talk.values["answer.it"] == taken


def test_what_is_not_there_to_be_taken_is_a_fault() -> None:
    talk = Conversation({})
    for wanted in ("values:x", "header:X", "cookie:x", "text:(zzz)"):
        _, faults = talk.judge(step(take={"it": wanted}), reply(JSON))
        assert faults == [f"it has nothing to take for it ({wanted})"]


@pytest.mark.parametrize(
    ("expected", "observed", "fit"),
    [
        (1, 1, True), (1, 1.0, True), (1, True, False), (True, 1, False), (None, None, True),
        ("1", 1, False), ("> 0", 1, True), ("> 0", "2.5", True), ("> 0", 0, False),
        (">= 0", 0, True), ("!= 3", 3, False), ("< -1", -2, True), ("> 0", "many", False),
        ("> 0", None, False), ([1], [1], True), ("> 0", True, True), ("greater", "greater", True),
    ],
)  # fmt: skip
def test_values_fit(expected: object, observed: object, fit: bool) -> None:
    assert fits(expected, observed) is fit


def test_a_value_is_found_by_its_path() -> None:
    assert look_up({"a": [{"b": {"c": 5}}]}, "$.a[0].b.c") == 5
    assert look_up([[1, 2]], "[0][1]") == 2
    assert not fits(None, look_up({"a": 1}, "a.b"))


def test_secrets_and_length_are_kept_out_of_what_is_told() -> None:
    assert hush("the word is hunter2\nand more", ["hunter2"]) == "the word is *** and more"
    assert hush("abc", ["abc"]) == "abc", "what is so short is found everywhere"
    assert len(hush("x" * 1000, [])) <= 160


def test_the_lines_of_a_log_that_mean_a_failure() -> None:
    lines = [
        "[Thu] 127.0.0.1:1 [200]: GET /",
        "PHP Fatal error:  Uncaught PDOException: SQLSTATE[08006] password=hunter2",
        "PHP Fatal error: known and harmless",
        *["PHP Parse error: x"] * 7,
    ]
    faults = log_faults(lines, LogCheck(ignore=("harmless",)), ["hunter2"])
    assert faults[0].startswith("PHP Fatal error: Uncaught PDOException")
    assert "hunter2" not in faults[0]
    assert faults[-1] == "… and 3 more such lines"
    assert log_faults(lines[:1], LogCheck(), []) == []


CLIENT = 'client: 192.0.2.1, server: _, request: "GET / HTTP/1.1"'


@pytest.mark.parametrize(
    "line",
    [
        "[crit] connect() to unix:/run/php.sock failed",
        "2026/11/26 17:00:00 [crit] 31#31: *1 connect() to unix:/run/php.sock failed (2: No such "
        f"file or directory) while connecting to upstream, {CLIENT}",
        f"2026/11/26 17:00:00 [error] 31#31: *1 upstream timed out, {CLIENT}",
        "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)",
        "[Thu Nov 26 17:00:00.123456 2026] [core:alert] [pid 7] [client 192.0.2.1:5] .htaccess: x",
        "[26-Nov-2026 17:00:00] ERROR: unable to bind listening socket",
        "[2026-11-26 17:00:00] production.ERROR: no such column {",
        "[2026-11-26T17:00:00+00:00] app.CRITICAL: it is over [] []",
        "Traceback (most recent call last):",
        "17:00:00 worker | Traceback (most recent call last):",
        '2026-11-26 17:00:00 UTC [7] FATAL:  password authentication failed for user "tms"',
        "PANIC: could not write to file",
        "2026-11-26 17:00:00,123 [CRITICAL] WORKER TIMEOUT (pid:7)",
    ],
)
def test_what_servers_and_programs_write_of_a_failure(line: str) -> None:
    assert log_faults([line], LogCheck(), []) == [hush(line, [])]


@pytest.mark.parametrize(
    "line",
    [
        '192.0.2.1 - - [26/Nov/2026:17:00:00 +0000] "GET /FATAL?q=[error] HTTP/1.1" 200 12 "-" "x"',
        '192.0.2.1 - - [26/Nov/2026:17:00:00 +0000] "GET / HTTP/2.0" 500 12 "-" "FATAL: [error] 1"',
        '192.0.2.1 - - [x] "GET / HTTP/1.1" 200 1 "Traceback (most recent"',
        '127.0.0.1 - - [26/Nov/2026 17:00:00] "GET /CRITICAL: HTTP/1.1" 200 -',
        '2026/11/26 17:00:00 [error] 31#31: *1 open() "/srv/tms/public/favicon.ico" failed (2: No '
        f"such file or directory), {CLIENT}",
        f'2026/11/26 17:00:00 [error] 31#31: *1 directory index of "/srv/" is forbidden, {CLIENT}',
        "2026/11/26 17:00:00 [notice] 31#31: start worker processes",
        "[26-Nov-2026 17:00:00] NOTICE: fpm is running, pid 7",
        "Log level is error; FATALITY is a word",
        "[2026-11-26 17:00:00] production.INFO: no ERROR here",
    ],
)
def test_what_is_no_failure(line: str) -> None:
    assert log_faults([line], LogCheck(), []) == []
