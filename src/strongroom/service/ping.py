"""The dead man's switch: somebody elsewhere notices when no capture is heard of any more.

`monitoring.ping` is asked as healthchecks has it: `/start` when a capture begins, the URL itself
when it ended well, `/fail` with the exit status when not. A host that is down asks nothing, and
that is what is noticed. What is sent names sources and codes, no path, host or message.

Invariant: a ping that fails never stops a capture nor makes it fail; it is a finding and a record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from strongroom.config import resolve_secret
from strongroom.errors import ERROR_KINDS, EXIT_FINE, ConfigError, StrongroomError
from strongroom.model import Finding, Severity, finding
from strongroom.report.wording import count
from strongroom.service.application import Application
from strongroom.service.delivery import Outcome, ping
from strongroom.service.messenger import NO_URL

if TYPE_CHECKING:
    from strongroom.service.backup import BackupReport

RECORD: Final = "ping"
_SETTING: Final = "monitoring.ping"
_MOST_CODES: Final = 10
_INTERRUPTED: Final = ERROR_KINDS["interrupted"].exit_status
_BUG: Final = ERROR_KINDS["bug"].exit_status


def with_pings(application: Application, capture: Callable[[], BackupReport]) -> BackupReport:
    """The report of the capture, which is run between two pings; with `ping-failed` among its
    findings where one did not arrive. Without `monitoring.ping`, nothing is asked."""
    reference = application.settings.monitoring.ping
    if reference is None:
        return capture()
    begun = _ask(reference, "start", "")
    try:
        report = capture()
    except BaseException as error:
        status, text = _told_of_error(error)
        _conclude(application, begun, _ask(reference, "fail", text), status)
        raise
    status = report.exit_status
    text = _told_of_report(report)
    ended = _ask(reference, "" if status == EXIT_FINE else "fail", text)
    findings = _conclude(application, begun, ended, status)
    point = replace(report.point, findings=(*report.point.findings, *findings))
    return replace(report, point=point)


def ping_url(address: str, word: str) -> str:
    """The URL with a word at the end of its path, before what follows a `?`; ValueError when it is
    none."""
    parts = urlsplit(address)
    if not word:
        return address
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{word}"))


def _ask(reference: str, word: str, text: str) -> Outcome:
    try:
        address = ping_url(resolve_secret(reference), word)
    except ConfigError as error:
        return Outcome(False, str(error), error.hint)
    except ValueError:
        return Outcome(False, NO_URL)
    return ping(address, text)


def _conclude(
    application: Application, begun: Outcome, ended: Outcome, status: int
) -> list[Finding]:
    """Record both pings; a finding for each that did not arrive, which people are told at once."""
    findings = [
        finding("ping-failed", _SETTING, f"{when}: {one.error}")
        for when, one in (("at the beginning", begun), ("at the end", ended))
        if not one.delivered
    ]
    for one in findings:
        application.say(f"{one.subject}: {one.message}")
    recorded = application.record(
        RECORD,
        {
            "exit_status": status,
            "delivered": begun.delivered and ended.delivered,
            "begin_error": begun.error,
            "end_error": ended.error,
        },
    )
    return [*findings, recorded] if isinstance(recorded, Finding) else findings


def _told_of_error(error: BaseException) -> tuple[int, str]:
    if isinstance(error, StrongroomError):
        status, code = error.exit_status, error.code
    elif isinstance(error, Exception):
        status, code = _BUG, "bug"
    else:
        status, code = _INTERRUPTED, "interrupted"
    return status, f"exit status {status}\n{code}: {ERROR_KINDS[code].meaning}\n"


def _told_of_report(report: BackupReport) -> str:
    captured, wanted = len(report.captured), count(len(report.wanted), "source")
    lines = [f"exit status {report.exit_status}", f"captured {captured} of {wanted}"]
    lines += [f"{name}: {error.code}" for name, error in report.errors]
    loud = (one.code for one in report.point.findings if one.severity is not Severity.NOTE)
    lines += list(dict.fromkeys(loud))[:_MOST_CODES]
    return "\n".join(lines) + "\n"
