"""The four addresses over a real connection, before, while and after somebody judges."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from strongroom.errors import ConfigError
from strongroom.model import Verdict
from strongroom.report.standing import Standing
from strongroom.service.health import Board
from strongroom.web import Address, WebServer, listening, server, serving, web_application
from tests.support.evidence_ground import NOW
from tests.support.standing_ground import OBSERVED, VALID_UNTIL, standing, with_check
from tests.support.web_ground import TIMEOUT_SECONDS, ask

LOOPBACK = Address("127.0.0.1", 0)


@dataclass
class Place:
    """A server, what it is told, and the clock that it reads."""

    board: Board = field(default_factory=Board)
    now: datetime = NOW
    port: int = 0


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    with serving(web_application(made.board, lambda: made.now), LOOPBACK) as address:
        made.port = address.port
        yield made


def test_health_before_during_and_after(place: Place) -> None:
    answer = ask(place.port, "/health")
    assert (answer.status, answer.document["verdict"]) == (503, "UNKNOWN")
    place.board.post(standing())
    answer = ask(place.port, "/health")
    assert (answer.status, answer.document["status"]) == (200, "pass")
    assert answer.headers["content-type"] == "application/health+json"
    place.now = VALID_UNTIL + timedelta(seconds=1)
    answer = ask(place.port, "/health")
    assert (answer.status, answer.document["verdict"]) == (503, "UNKNOWN")


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(Verdict.PROVEN, 200), (Verdict.STALE, 503), (Verdict.UNKNOWN, 503), (Verdict.FAILED, 503)],
)
def test_only_proven_is_good_news(place: Place, verdict: Verdict, status: int) -> None:
    place.board.post(standing(verdict))
    assert ask(place.port, "/health").status == status


def test_a_warning_is_no_failure(place: Place) -> None:
    place.board.post(standing(checks=with_check("review", Verdict.STALE)))
    answer = ask(place.port, "/health")
    assert (answer.status, answer.document["status"]) == (200, "warn")


def test_what_a_check_quotes_is_told_nowhere(place: Place) -> None:
    place.board.post(standing(Verdict.FAILED, checks=with_check("files", Verdict.FAILED, OBSERVED)))
    for path in ("/health", "/metrics"):
        text = ask(place.port, path).content.decode()
        assert "files" in text
        assert not [word for word in OBSERVED.split() if len(word) > 5 and word in text]


def test_ready_is_what_the_provider_says_and_alive_is_the_process(place: Place) -> None:
    assert ask(place.port, "/readyz").status == 503
    assert ask(place.port, "/livez").status == 200
    place.board.set_ready(True)
    assert ask(place.port, "/readyz").status == 200


def test_metrics_are_there_when_things_are_bad(place: Place) -> None:
    answer = ask(place.port, "/metrics")
    assert (answer.status, answer.content) == (200, b"")
    place.board.post(standing(Verdict.FAILED))
    answer = ask(place.port, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    told = {one.name: one for one in text_string_to_metric_families(answer.content.decode())}
    assert told["strongroom_verdict"].samples[0].value == 3


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics"])
def test_head_is_get_without_a_body(place: Place, path: str) -> None:
    place.board.post(standing())
    place.board.set_ready(True)
    asked, headed = ask(place.port, path), ask(place.port, path, "HEAD")
    assert headed.status == asked.status == 200
    assert headed.content == b""
    assert headed.headers["content-length"] == str(len(asked.content))
    assert headed.headers["content-type"] == asked.headers["content-type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_refused(place: Place, method: str) -> None:
    answer = ask(place.port, "/health", method)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path", ["/", "/health/", "/metrics/x", "/..%2f..%2fetc/passwd", "//livez"]
)
def test_other_addresses_are_not_there(place: Place, path: str) -> None:
    answer = ask(place.port, path)
    assert (answer.status, answer.content) == (404, b"not found\n")
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics", "/nowhere"])
def test_no_answer_is_kept_or_says_what_serves_it(place: Place, path: str) -> None:
    headers = ask(place.port, path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


class Broken:
    """A provider with a bug that knows a secret."""

    def current(self) -> Standing | None:
        raise RuntimeError(OBSERVED)

    def ready(self) -> bool:
        raise RuntimeError(OBSERVED)


@pytest.mark.parametrize("path", ["/health", "/readyz", "/metrics"])
def test_a_bug_is_logged_and_not_told(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="uvicorn.error")
    with serving(web_application(Broken()), LOOPBACK) as address:
        answer = ask(address.port, path)
        assert ask(address.port, "/livez").status == 200
    assert (answer.status, answer.content) == (500, b"internal server error\n")
    assert answer.headers["cache-control"] == "no-store"
    assert OBSERVED in caplog.text


# --- The server ----------------------------------------------------------------------------


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError) as caught:
            WebServer(web_application(Board()), address)
    assert caught.value.code == "address-unavailable"
    assert str(caught.value) == f"{address}: another program listens there"


@pytest.mark.parametrize(
    ("host", "why"),
    [("192.0.2.1", "this host does not have the address"), ("no.invalid", "no host has this name")],
)
def test_an_address_that_is_not_here_is_a_clear_error(host: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        WebServer(web_application(Board()), Address(host, 0))


def test_it_listens_before_it_starts_so_that_nobody_is_turned_away() -> None:
    made = WebServer(web_application(Board()), LOOPBACK)
    with socket.create_connection(("127.0.0.1", made.address.port), TIMEOUT_SECONDS) as early:
        early.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        made.start()
        assert early.makefile("rb").read().endswith(b"alive\n")
        assert made.is_alive()
    made.stop()
    assert not made.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", made.address.port), TIMEOUT_SECONDS)


def test_one_that_never_started_stops_as_well() -> None:
    made = WebServer(web_application(Board()), LOOPBACK)
    made.stop()
    with socket.create_server(("127.0.0.1", made.address.port)):
        assert not made.is_alive()


class Slow(Board):
    """A provider that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def ready(self) -> bool:
        self.asked.set()
        return self.go.wait(TIMEOUT_SECONDS)


def test_an_answer_that_is_being_made_is_given_before_it_stops() -> None:
    slow, replies = Slow(), []
    made = WebServer(web_application(slow), LOOPBACK)
    made.start()
    asker = threading.Thread(
        target=lambda: replies.append(ask(made.address.port, "/readyz").status)
    )
    asker.start()
    assert slow.asked.wait(TIMEOUT_SECONDS)
    stopper = threading.Thread(target=made.stop)
    stopper.start()
    slow.go.set()
    for thread in (asker, stopper):
        thread.join(TIMEOUT_SECONDS)
    assert replies == [200]
    assert not made.is_alive()


def test_who_asks_nothing_keeps_nobody_from_stopping_it() -> None:
    with (
        serving(web_application(Board()), LOOPBACK) as address,
        socket.create_connection((address.host, address.port), TIMEOUT_SECONDS) as idle,
        socket.create_connection((address.host, address.port), TIMEOUT_SECONDS) as half,
    ):
        half.sendall(b"GET /health HTTP/1.1\r\nX-")
        assert ask(address.port, "/livez").status == 200
        closing = (idle, half)
    for one in closing:
        assert one.fileno() == -1


def test_who_asks_nothing_is_not_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or as many idle connections as there may be would keep everybody else out."""
    monkeypatch.setattr(server, "_CONNECTION_SECONDS", 0.05)
    for said in (b"", b"GET /health HTTP/1.1\r\nX-", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", place.port), TIMEOUT_SECONDS) as one:
            one.sendall(said)
            answer = one.makefile("rb").read()  # to its end, which the server makes
            assert (b"alive\n" in answer) == (b"livez" in said)


def test_a_request_that_says_too_much_is_refused(place: Place) -> None:
    with socket.create_connection(("127.0.0.1", place.port), TIMEOUT_SECONDS) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nX: " + b"x" * (32 << 10))
        assert one.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_the_next_version_of_the_address_works_too() -> None:
    with serving(web_application(Board()), Address("::1", 0)) as address:
        assert str(address) == f"[::1]:{address.port}"
        assert ask(address.port, "/livez", host="::1").status == 200


def test_the_service_tells_where_it_listens() -> None:
    with listening(Board(), "127.0.0.1", 0) as where:
        assert where.startswith(" on http://127.0.0.1:")
        assert ask(int(where.rpartition(":")[2]), "/livez").status == 200
    with listening(Board(), "", None) as where:
        assert where == ""
