"""The process that sends one message: the inside of `delivery`, which starts and ends it.

Only here do addresses meet the libraries that use them. These write addresses, which are secrets,
into their logs and errors, and some wait for ever. So they run apart: nothing that they print or
log gets out of this process, and whoever started it may kill it at any moment. The task comes as
JSON on standard input, never as arguments; the answer is one JSON document:
`{"delivered": bool, "error": text or null}`.

Invariant: an error is in our own words, chosen by what the library said, and repeats none of it
(I6).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from apprise import Apprise, NotifyBase

# What carries less than this gets the short form.
_SMALL_BODY_CHARACTERS: Final = 700
_MOST_SAID: Final = 400
_TRIES: Final = 2
_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 4.0

NO_URL: Final = "the reference does not lead to a URL of http or https"
LATE: Final = "it did not answer in time"
# What libraries say when something fails, and what we say of it; the first that fits.
_REASONS: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"recipient .* was refused: (\d{3})|^\D*@[^(]*\((\d{3}), b",
         "the mail server refused the recipient ({})"),
        (r"\berror=(\d{3})\b", "the service answered with status {}"),
        (r"certificate.?verify|certificate verify|self.signed", "its certificate is not trusted"),
        (r"wrong.version.number|\bssl\b|tlsv1|starttls", "no TLS connection came about"),
        (r"connection refused|errno 111", "the connection was refused"),
        (r"name or service not known|name resolution|nodename|no address associated|errno -[235]\b",
         "its host's name is not known"),
        (r"no route to host|network is unreachable|errno 1(01|13)\b", "no network leads there"),
        (r"timed? ?out|timeout", LATE),
        (r"authenticat|\(53[045],|credential|login", "the login was refused"),
        (r"recipients ?refused|\(5\d\d,", "the mail server refused the message"),
        (r"reset by peer|aborted|unexpectedly closed|disconnected|broken pipe",
         "the connection was cut"),
    )
]  # fmt: skip
_NO_REASON: Final = "it was not taken, and no reason was given"
_NOT_KNOWN: Final = "the reference does not lead to an address that Apprise understands"


class _Said(logging.Handler):
    """Keeps what a library logs, in this process, to find the reason of a failure in it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < _MOST_SAID:
            self.texts.append(record.getMessage())


def main() -> None:
    """The process's whole life: one task, one answer."""
    answer_to = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    try:
        task = json.loads(sys.stdin.buffer.read())
        error = _TASKS[task["task"]](task)
    except Exception as failure:  # the edge: what a library raises may hold the address
        error = f"the library failed ({type(failure).__name__})"
    answer = {"delivered": error is None, "error": error}
    os.write(answer_to, json.dumps(answer).encode())
    # What still waits in threads of a library holds nothing up.
    os._exit(0)


def reason_of(texts: Sequence[str]) -> str:
    """Our own words for what a library said of a failure."""
    for pattern, reason in _REASONS:
        for text in reversed(texts):
            if found := pattern.search(text):
                return reason.format(*filter(None, found.groups()))
    return _NO_REASON


def _send_letter(task: Mapping[str, Any]) -> str | None:  # Any: JSON values
    """Send to all services that the address names; what went wrong, or None."""
    import apprise

    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    asset = apprise.AppriseAsset(
        app_id="Strongroom",
        app_desc="Strongroom",
        app_url="",
        storage_mode="memory",
        service_timeout=task["seconds"],
        image_path_mask=False,
        pgp_autogen=False,
    )
    services = apprise.Apprise(asset=asset)
    # Some of several addresses may be wrong: what can be told is told, and it counts as failed.
    understood = services.add(task["address"])
    if not len(services):
        return _NOT_KNOWN
    kind = apprise.NotifyType(task["tone"])
    failed = late = False
    for service in services:
        small = service.body_maxlen < _SMALL_BODY_CHARACTERS
        one = _alone(service, asset)
        sent = one.notify(
            body=task["short"] if small else task["body"],
            title="" if small else task["subject"],
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=task["seconds"],
        )
        failed = failed or not sent
        late = late or sent.status is apprise.AppriseResultStatus.TIMEOUT
    if failed:
        return LATE if late else reason_of(said.texts)
    return None if understood else _NOT_KNOWN


def _alone(service: NotifyBase, asset: Any) -> Apprise:  # Any: the library's own, see its module
    import apprise

    one = apprise.Apprise(asset=asset)
    one.add(service)
    return one


def _ping(task: Mapping[str, Any]) -> str | None:  # Any: JSON values
    """Ask a dead man's switch; what went wrong, or None."""
    import httpx

    patience = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
    error: str | None = None
    for _ in range(_TRIES):
        try:
            with httpx.Client(timeout=patience) as client:
                answer = client.post(task["address"], content=task["body"].encode())
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return NO_URL
        except (httpx.HTTPError, OSError) as failure:
            error = reason_of([f"{type(failure).__name__}: {failure}"])
            continue
        error = _refusal(answer.status_code, answer.content)
        if error is None or answer.status_code < 500:
            break
    return error


def _refusal(status: int, content: bytes) -> str | None:
    if not 200 <= status < 300:
        return f"it answered with status {status}"
    # Healthchecks answers so, with status 200, when it knows no such check or was asked too often.
    if content.startswith(b"OK (not found"):
        return "it knows no such check"
    if content.startswith(b"OK (rate limited"):
        return "it was asked too often"
    return None


_TASKS: Final[Mapping[str, Callable[[Mapping[str, Any]], str | None]]] = {  # Any: JSON values
    "letter": _send_letter,
    "ping": _ping,
}
