"""The ledger as people ask for it: its records by what, when and how they ended, and whether it is
what was written.

Invariant: a ledger that is broken is listed as far as its lines are whole, and every answer says
that it is broken.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from strongroom.errors import ERROR_KINDS, EXIT_FINE, EXIT_PARTIAL, StrongroomError
from strongroom.evidence import BEGUN, COMMAND, CONFIGURATION, Entry
from strongroom.model import Finding, Severity, Verdict, finding
from strongroom.report.observation import PROOF_ACTIONS, Observation, observation
from strongroom.report.wording import count
from strongroom.service.application import Application
from strongroom.service.ledger_copy import held_against
from strongroom.service.rendering import time_json

_MOST_ABOUT: Final = 80
EXIT_BROKEN: Final = ERROR_KINDS["ledger-damaged"].exit_status


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: of these kinds and sources, from `since` on and before `until`, with this
    verdict; of somebody whose name holds `by`; of these commands (`key` is all that begin so); only
    of what `failed`; the newest `limit` of them. What is empty or None chooses nothing."""

    actions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    verdict: Verdict | None = None
    limit: int | None = None
    by: str = ""
    commands: tuple[str, ...] = ()
    failed: bool = False

    def takes(self, entry: Entry) -> bool:
        """Whether a record is one of these, the limit and `failed` aside."""
        return (
            (not self.actions or entry.kind in self.actions)
            and (not self.sources or not set(self.sources).isdisjoint(sources_of(entry)))
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
            and (self.verdict is None or entry.fields.get("verdict") == self.verdict.value)
            and self.by.casefold() in str(entry.fields.get("by", "")).casefold()
            and (not self.commands or self._is_of_command(entry))
        )

    def _is_of_command(self, entry: Entry) -> bool:
        words = str(entry.fields.get("command", "")).split()
        return entry.kind in (COMMAND, BEGUN) and any(
            words[: len(one)] == one for one in map(str.split, self.commands)
        )


@dataclass(frozen=True, slots=True)
class History:
    """The records that were asked for, newest last, of how many; `findings` tell where the ledger
    is broken. `unended` are the numbers of those that tell of a beginning without an end: it goes
    on, or was killed."""

    entries: tuple[Entry, ...]
    matching: int
    findings: tuple[Finding, ...]
    unended: frozenset[int] = frozenset()

    @property
    def exit_status(self) -> int:
        return EXIT_PARTIAL if self.findings else EXIT_FINE

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Those that tell of restores, proofs or drills."""
        found = (observation(one.seq, one.at, one.kind, one.fields) for one in self.entries)
        return tuple(one for one in found if one is not None)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "entries": [entry_json(one) for one in self.entries],
            "matching": self.matching,
            "unended": sorted(self.unended),
            "findings": [one.as_json() for one in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the ledger is what was written: its last record, where its chain is broken, and what
    its copies say. `uncompared` has the repositories that could not be asked, each with why."""

    records: int
    head_seq: int
    head_hash: str
    findings: tuple[Finding, ...]
    compared: tuple[str, ...]
    uncompared: tuple[tuple[str, str], ...]

    @property
    def holds(self) -> bool:
        return not any(one.severity is Severity.FAILURE for one in self.findings)

    @property
    def exit_status(self) -> int:
        """Partial when it holds, as far as it could be compared."""
        if not self.holds:
            return EXIT_BROKEN
        return EXIT_PARTIAL if self.uncompared else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "holds": self.holds,
            "records": self.records,
            "head": {"seq": self.head_seq, "hash": self.head_hash} if self.records else None,
            "findings": [one.as_json() for one in self.findings],
            "compared": list(self.compared),
            "uncompared": [{"repository": name, "why": why} for name, why in self.uncompared],
        }


def history(application: Application, wanted: Wanted = Wanted()) -> History:
    """The records that are wanted, as far as the ledger can be read."""
    found: list[Entry] = []
    ended: set[str] = set()
    findings = _faults(application)
    try:
        for one in application.ledger.entries():
            if one.kind == COMMAND:
                ended.add(str(one.fields.get("run")))
            if wanted.takes(one):
                found.append(one)
    except StrongroomError as error:
        if not findings:
            findings = [finding("ledger-broken", str(application.ledger.path), error.message)]
    unended = {
        one.seq for one in found if one.kind == BEGUN and str(one.fields.get("run")) not in ended
    }
    if wanted.failed:
        found = [one for one in found if one.seq in unended or went_wrong(one)]
    shown = found if wanted.limit is None else found[max(0, len(found) - wanted.limit) :]
    listed = frozenset(one.seq for one in shown if one.seq in unended)
    return History(tuple(shown), len(found), tuple(findings), listed)


def verify(application: Application) -> Verification:
    """Check the chain, line by line, and hold the ledger against its copies in all repositories."""
    ledger = application.ledger
    findings = _faults(application)
    records, head_seq, head_hash = 0, 0, ""
    compared: list[str] = []
    uncompared: dict[str, str] = {}
    try:
        for entry in ledger.entries():
            records, head_seq, head_hash = records + 1, entry.seq, entry.hash
        repositories, failed = application.reachable()
    except StrongroomError as error:
        repositories = []
        failed = dict.fromkeys(application.settings.repositories, error)
    for repository in repositories:
        try:
            with repository.reading():
                held = held_against(application, repository)
        except StrongroomError as error:
            failed[repository.name] = error
            continue
        unread = [one for one in held or () if one.severity is not Severity.FAILURE]
        if held is None and records:
            uncompared[repository.name] = "it holds no copy of this ledger"
        elif unread:
            uncompared[repository.name] = unread[0].message
        elif held is not None:
            findings += held
            compared.append(repository.name)
    uncompared |= {name: str(error) for name, error in failed.items()}
    return Verification(
        records,
        head_seq,
        head_hash,
        tuple(findings),
        tuple(compared),
        tuple(uncompared.items()),
    )


def _faults(application: Application) -> list[Finding]:
    """Every place where the chain is broken, the first one first."""
    ledger = application.ledger
    try:
        faults = sorted(ledger.verify(), key=lambda one: one.line)
    except StrongroomError as error:
        return [finding("ledger-broken", str(ledger.path), error.message)]
    return [
        finding("ledger-broken", str(ledger.path), f"line {one.line}: {one.message}")
        for one in faults
    ]


def sources_of(entry: Entry) -> Iterator[str]:
    """The sources that a record is about."""
    fields = entry.fields
    if isinstance(fields.get("source"), str):
        yield fields["source"]
    for key in ("snapshots", "errors", "read"):
        for one in _list(fields.get(key)):
            if isinstance(one, dict) and isinstance(one.get("source"), str):
                yield one["source"]


def entry_json(entry: Entry) -> dict[str, Any]:  # Any: JSON values
    """A record whole, as it was written."""
    return {
        "seq": entry.seq,
        "at": time_json(entry.at),
        "action": entry.kind,
        **entry.fields,
        "hash": entry.hash,
    }


def went_wrong(entry: Entry) -> bool:
    """Whether a record tells of a failure, of whatever kind it is."""
    fields = entry.fields
    return (
        isinstance(fields.get("error"), dict)
        or bool(fields.get("errors"))
        or fields.get("verdict") == Verdict.FAILED.value
        or fields.get("sound") is False
        or fields.get("exit_status") not in (None, EXIT_FINE)
        or fields.get("delivered") is False
        or entry.kind.endswith("-failed")
    )


def told(entry: Entry, *, unended: bool = False) -> tuple[str, str]:
    """What a record is about and how it ended, in a few words each."""
    fields = entry.fields
    if entry.kind in (COMMAND, BEGUN):
        about = command_line(entry)
        ending = "no end is recorded" if unended else "begun"
        result = ending if entry.kind == BEGUN else _result(fields)
    elif entry.kind in ("alert", "ping"):
        about, result = _about(entry), _told_result(fields)
    elif entry.kind == CONFIGURATION:
        about, result = _settings_told(fields)
    else:
        about, result = _about(entry), _result(fields)
    about = _short(about)
    if isinstance(fields.get("reason"), str) and fields["reason"]:
        about += f": {_short(fields['reason'])}"
    return about, result


def _short(text: str) -> str:
    return text if len(text) <= _MOST_ABOUT else text[: _MOST_ABOUT - 1] + "…"


HEADS: Final = (
    "record", "time", "action", "by", "from", "command", "about", "result", "verdict", "source",
    "repository", "snapshot", "exit_status", "seconds", "reason", "run", "hash",
)  # fmt: skip


def rows(found: History) -> Iterator[list[str]]:
    """The records for a spreadsheet, under `HEADS`."""
    for entry in found.entries:
        fields = entry.fields
        about, result = told(entry, unended=entry.seq in found.unended)
        yield [
            str(entry.seq),
            time_json(entry.at),
            entry.kind,
            *(_cell(fields.get(name)) for name in ("by", "from")),
            command_line(entry),
            about,
            result,
            _cell(fields.get("verdict")),
            " ".join(dict.fromkeys(sources_of(entry))),
            *(
                _cell(fields.get(name))
                for name in ("repository", "snapshot", "exit_status", "seconds", "reason", "run")
            ),
            entry.hash,
        ]


def _cell(value: Any) -> str:  # Any: JSON values
    return str(value) if isinstance(value, str | int | float) else ""


def command_line(entry: Entry) -> str:
    """The command with its arguments, as it could be typed; empty for records of other kinds."""
    fields = entry.fields
    if not isinstance(fields.get("command"), str):
        return ""
    words = shlex.join(str(one) for one in _list(fields.get("arguments")))
    return f"{fields['command']} {words}".rstrip()


# The fields by which records are told apart that are about no source or repository alone.
_NAMED_BY: Final[Mapping[str, str]] = {
    "job": "job", "service": "event", "verify": "list", "schedule": "because"
}  # fmt: skip


def _settings_told(fields: Any) -> tuple[str, str]:  # Any: JSON values
    changes = _list(fields.get("changes"))
    if not fields.get("digest_before"):
        return str(fields.get("file") or "-"), "first seen"
    names = [str(one.get("setting")) for one in changes if isinstance(one, dict)]
    left_out = fields.get("changes_left_out")
    number = len(names) + (left_out if isinstance(left_out, int) else 0)
    return ", ".join(names) or "-", f"{count(number, 'setting')} changed"


def _about(entry: Entry) -> str:
    fields = entry.fields
    if entry.kind == "ping":
        return "monitoring.ping"
    if entry.kind == "alert":
        return f"{fields.get('key') or '-'} to {fields.get('to')}"
    if isinstance(named := fields.get(_NAMED_BY.get(entry.kind, "")), str):
        return named
    sources = list(dict.fromkeys(sources_of(entry)))
    repository = fields.get("repository") or fields.get("to") or ""
    about = ", ".join(sources) or str(repository) or str(fields.get("key") or "")
    if sources and repository:
        about += f" from {repository}" if entry.kind in PROOF_ACTIONS else f" in {repository}"
    if isinstance(fields.get("snapshot"), str):
        about += f", snapshot {fields['snapshot'][:8]}"
    return about or "-"


def _told_result(fields: Any) -> str:  # Any: JSON values
    what = f"{fields.get('event')} {fields.get('verdict') or ''}".rstrip()
    if fields.get("delivered") is True:
        return what
    tries = fields.get("tries")
    often = f", {tries} times" if isinstance(tries, int) and tries > 1 else ""
    return f"{what}, did not arrive{often}"


def _result(fields: Any) -> str:  # Any: JSON values
    error = fields.get("error")
    if isinstance(fields.get("verdict"), str):
        return str(fields["verdict"])
    if isinstance(error, dict):
        return f"failed: {error.get('message', '')}"
    if isinstance(fields.get("sound"), bool):
        return "sound" if fields["sound"] else "DAMAGED"
    if fields.get("errors"):
        return f"{len(_list(fields['errors']))} failed"
    if "snapshots" in fields:
        return count(len(_list(fields["snapshots"])), "snapshot")
    if fields.get("exit_status"):
        return f"status {fields['exit_status']}"
    return "done"


def _list(value: Any) -> Sequence[Any]:  # Any: JSON values
    return value if isinstance(value, list) else ()
