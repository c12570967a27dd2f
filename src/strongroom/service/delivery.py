"""Delivering a message to an alert's address, or a ping to a dead man's switch.

The address is resolved at the last moment and handed, over a pipe, to a process of its own
(`messenger`), which is killed when its time is over, whatever a library waits for. Nothing here
raises for a message that did not arrive: the outcome says so, and why.

Invariant: an address never gets into arguments, logs, errors or records (I6).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from strongroom.config import resolve_secret
from strongroom.config.value import parse_mail_server
from strongroom.errors import ConfigError
from strongroom.report.alert_text import Letter
from strongroom.service.messenger import LATE

DELIVERY_SECONDS: Final = 30.0
PING_SECONDS: Final = 10.0
# So long the messenger has to say itself that time is over.
_GRACE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.2
_PROGRAM: Final = "from strongroom.service.messenger import main; main()"
_MAIL: Final = "mailto:"
_MAIL_NAME: Final = Path("/etc/mailname")
_CORRECT: Final = "Correct what the reference leads to; try `strongroom alert test`."


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a message arrived, as far as its service says; else why not, and what to do."""

    delivered: bool
    error: str | None = None
    hint: str = ""


def deliver(
    to: str,
    letter: Letter,
    *,
    mail_server: str,
    seconds: float = DELIVERY_SECONDS,
    stopping: Callable[[], bool] | None = None,
) -> Outcome:
    """Send a letter to `mailto:NAME@HOST`, by way of the mail server, or to where a reference
    leads. Takes `seconds` at most, and the time that the reference takes; is left at once when it
    is `stopping`."""
    try:
        address = mail_url(to, mail_server) if to.startswith(_MAIL) else resolve_secret(to)
    except ConfigError as error:
        return Outcome(False, str(error), error.hint)
    task = {
        "task": "letter",
        "address": address,
        "subject": letter.subject,
        "body": letter.body,
        "short": letter.short,
        "tone": letter.tone.value,
        "seconds": seconds,
    }
    return _run(task, seconds, stopping)


def ping(address: str, body: str, *, seconds: float = PING_SECONDS) -> Outcome:
    """Ask a dead man's switch at this URL, which is a secret, with a text for whoever looks."""
    return _run({"task": "ping", "address": address, "body": body}, seconds)


def mail_url(to: str, mail_server: str) -> str:
    """How Apprise writes: to `mailto:NAME@HOST`, by way of this mail server, from this host."""
    host, port = parse_mail_server(mail_server)
    recipient, sender = quote(to.removeprefix(_MAIL), safe=""), quote(_own_address(), safe="")
    server = quote(host.strip("[]"), safe="")
    # As a host's name in the URL's own place, Apprise would take some for providers that it knows.
    # The header (RFC 3834) keeps those who are on holiday from answering.
    return (
        f"mailto://localhost:{port}/?smtp={server}&to={recipient}&from={sender}&name=Strongroom"
        "&mode=insecure&format=text&+Auto-Submitted=auto-generated"
    )


def _own_address() -> str:
    """What a mail from here comes from: mail servers want a name with a domain."""
    name = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        name = _MAIL_NAME.read_text(encoding="ascii").strip()
    name = name or socket.gethostname()
    return f"strongroom@{name}" if "." in name else f"strongroom@{name or 'host'}.localdomain"


def _run(
    task: Mapping[str, Any],  # Any: JSON values
    seconds: float,
    stopping: Callable[[], bool] | None = None,
) -> Outcome:
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a trace of it may hold the address
            start_new_session=True,
        )
    except OSError as error:
        reason = f"no process could be started for it: {error.strerror}"
        return Outcome(False, reason, "Run `strongroom doctor`.")
    try:
        answer = _answer(child, json.dumps(task).encode(), seconds + _GRACE_SECONDS, stopping)
    except subprocess.TimeoutExpired:
        return Outcome(False, LATE, "Look at the service and at the way to it.")
    finally:
        _end(child)
    return _outcome(answer)


def _answer(
    child: subprocess.Popen[bytes],
    task: bytes,
    seconds: float,
    stopping: Callable[[], bool] | None,
) -> bytes:
    """What the messenger says; TimeoutExpired when it says nothing in time, or all is to stop."""
    deadline = time.monotonic() + seconds
    given: bytes | None = task
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            return child.communicate(given, min(left, _POLL_SECONDS) if stopping else left)[0]
        except subprocess.TimeoutExpired:
            given = None  # what is not written yet is kept
            if stopping is None or stopping() or time.monotonic() >= deadline:
                raise


def _outcome(answer: bytes) -> Outcome:
    try:
        document = json.loads(answer)
        delivered, error = document["delivered"] is True, document["error"]
    except (ValueError, KeyError, TypeError):
        return Outcome(False, "its process ended without an answer", _CORRECT)
    return Outcome(True) if delivered else Outcome(False, str(error), _CORRECT)


def _end(child: subprocess.Popen[bytes]) -> None:
    """What the messenger itself started ends with it; it leads a session of its own."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
