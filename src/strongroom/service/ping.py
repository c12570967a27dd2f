"""The dead man's switch: somebody elsewhere notices when no capture is heard of any more.

`monitoring.ping` is asked as healthchecks has it: `/start` when a capture of all sources begins,
the URL itself when it ended well, `/fail` with the exit status when not. A host that is down asks
nothing, and that is what is noticed. What is sent names sources and codes; no path, no host and no
message.

Invariant: a ping that fails never stops a capture nor makes it fail; it is a finding and a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
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
START: Final = "start"
SUCCESS: Final = "success"
FAIL: Final = "fail"
_SETTING: Final = "monitoring.ping"
_MOST_CODES: Final = 10
_INTERRUPTED: Final = ERROR_KINDS["interrupted"].exit_status


@dataclass(frozen=True, slots=True)
class Pinged:
    """What the switch was told, and whether it heard it; `exit_status` of a capture that ended."""

    event: str
    outcome: Outcome
    exit_status: int | None = None


def with_pings(
    application: Application, names: Sequence[str], capture: Callable[[], BackupReport]
) -> BackupReport:
    """The report of a capture of these sources, which is run between two pings where that is due;
    with `ping-failed` among its findings where one did not arrive."""
    begun = begin(application, names)
    try:
        report = capture()
    except BaseException as error:
        status, code = _INTERRUPTED, "interrupted"
        if isinstance(error, Exception):
            code = error.code if isinstance(error, StrongroomError) else "bug"
            status = ERROR_KINDS[code].exit_status
        # Nobody may see the findings of what was not done: they are told at once.
        for one in note(application, begun, end(application, names, status, _failure(code))):
            application.say(f"{one.subject}: {one.message}")
        raise
    ended = end(application, names, report.exit_status, report.as_json())
    findings = note(application, begun, ended)
    point = replace(report.point, findings=(*report.point.findings, *findings))
    return replace(report, point=point)


def begin(application: Application, names: Sequence[str]) -> Pinged | None:
    """Say that a capture of these sources begins; without names, all. None when nobody is told: no
    switch is configured, or not all sources are captured, which would look as if they were."""
    return _ask(application, names, START, "", None)


def end(
    application: Application,
    names: Sequence[str],
    exit_status: int,
    document: Mapping[str, Any],  # Any: JSON values
) -> Pinged | None:
    """Say how it ended, given what `strongroom backup --json` answers."""
    event = SUCCESS if exit_status == EXIT_FINE else FAIL
    text = "\n".join(_lines(exit_status, document)) + "\n"
    return _ask(application, names, event, text, exit_status)


def note(application: Application, *pings: Pinged | None) -> list[Finding]:
    """Record pings; a finding for each that did not arrive, and what could not be recorded.

    A start that arrived leaves no record: on a host that has lost its ledger, nothing may be
    written before a capture has brought it back.
    """
    findings: list[Finding] = []
    for one in pings:
        if one is None:
            continue
        if not one.outcome.delivered:
            findings.append(finding("ping-failed", _SETTING, f"{one.event}: {one.outcome.error}"))
        elif one.event == START:
            continue
        recorded = application.record(
            RECORD,
            {
                "event": one.event,
                "delivered": one.outcome.delivered,
                "error": one.outcome.error,
                "exit_status": one.exit_status,
            },
        )
        if isinstance(recorded, Finding):
            findings.append(recorded)
    return list(dict.fromkeys(findings))


def ping_url(address: str, word: str) -> str:
    """The URL with a word at the end of its path, before what follows a `?`; ValueError when it is
    none."""
    parts = urlsplit(address)
    if not word:
        return address
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{word}"))


def _ask(
    application: Application, names: Sequence[str], event: str, text: str, exit_status: int | None
) -> Pinged | None:
    settings = application.settings
    reference = settings.monitoring.ping
    if reference is None or (names and settings.sources.keys() - set(names)):
        return None
    try:
        address = ping_url(resolve_secret(reference), "" if event == SUCCESS else event)
    except ConfigError as error:
        return Pinged(event, Outcome(False, str(error), error.hint), exit_status)
    except ValueError:
        return Pinged(event, Outcome(False, NO_URL), exit_status)
    return Pinged(event, ping(address, text), exit_status)


# Any in what follows: JSON values


def _failure(code: str) -> Mapping[str, Any]:
    return {"error": {"code": code}}


def _lines(exit_status: int, document: Mapping[str, Any]) -> Iterator[str]:
    yield f"exit status {exit_status}"
    if isinstance(failed := document.get("error"), Mapping):
        kind = ERROR_KINDS.get(str(failed.get("code")))
        if kind is not None:
            yield f"{kind.code}: {kind.meaning}"
    if isinstance(copies := document.get("copies"), Mapping):
        errors = document.get("errors") or ()
        captured, wanted = len(copies), count(len(copies) + len(errors), "source")
        yield f"captured {captured} of {wanted}"
        for one in errors:
            yield f"{one['source']}: {one['code']}"
    found = document.get("findings") or ()
    loud = (str(one["code"]) for one in found if one["severity"] != Severity.NOTE.value)
    yield from list(dict.fromkeys(loud))[:_MOST_CODES]
