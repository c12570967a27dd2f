"""Check: the integrity of repositories themselves, whatever they hold.

Which packs were read, and when, is remembered in the ledger, so that reading a little each day
comes to every byte in the end. A pack stands there by the first eight bytes of its name.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from strongroom.config.value import format_duration
from strongroom.errors import EXIT_FINE, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity, finding
from strongroom.plan.rereading import EVERYTHING, Amount, choose_packs
from strongroom.repository import Repository
from strongroom.repository.touched import MOST_OF_ONE, Touched
from strongroom.service.application import Application, trace_errors
from strongroom.service.ledger_copy import compare, take_up
from strongroom.service.rendering import error_json, time_json
from strongroom.service.selection import stored_snapshots, vanished

EXIT_DAMAGED: Final = 30  # as IntegrityError's `data-damaged`
_MOST_RECORDED: Final = 5  # paths of a finding that go into the ledger
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """How much stored data a check reads: an amount, and for how long at most."""

    amount: Amount = EVERYTHING
    most_time: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """One repository's answer; `touched` tells of damages which snapshots and paths they touch."""

    repository: str
    findings: tuple[Finding, ...]
    packs: int
    bytes_read: int
    seconds: float
    packs_read: tuple[str, ...] = ()
    never_read_bytes: int | None = None
    oldest_read_at: datetime | None = None
    touched: Mapping[Finding, Touched] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        return not any(one.severity is Severity.FAILURE for one in self.findings)

    def findings_json(self, most: int = MOST_OF_ONE) -> list[dict[str, Any]]:  # Any: JSON values
        """The findings; a damage has under `touched` its paths, at most so many."""
        return [
            one.as_json()
            | ({"touched": self.touched[one].as_json(most)} if one in self.touched else {})
            for one in self.findings
        ]

    def as_json(self, most: int = MOST_OF_ONE) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self.repository,
            "sound": self.is_sound,
            "findings": self.findings_json(most),
            "packs": self.packs,
            "bytes_read": self.bytes_read,
            "packs_read": len(self.packs_read),
            "never_read_bytes": self.never_read_bytes,
            "oldest_read_at": time_json(self.oldest_read_at) if self.oldest_read_at else None,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class CheckedAll:
    """The answers of all repositories that were asked; `errors` tells why some gave none."""

    repositories: tuple[Checked, ...]
    notes: tuple[Finding, ...] = ()
    errors: tuple[tuple[str, StrongroomError], ...] = ()

    @property
    def exit_status(self) -> int:
        """That of the first error, for nothing is known there; else whether all are sound."""
        if self.errors:
            return self.errors[0][1].exit_status
        return EXIT_FINE if all(one.is_sound for one in self.repositories) else EXIT_DAMAGED

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        findings = [found for one in self.repositories for found in one.findings_json()]
        return {
            "findings": [*findings, *(one.as_json() for one in self.notes)],
            "packs": sum(one.packs for one in self.repositories),
            "bytes_read": sum(one.bytes_read for one in self.repositories),
            "repositories": [one.as_json() for one in self.repositories],
            "errors": [{"repository": name, **error_json(one)} for name, one in self.errors],
        }


def check(
    application: Application, repository: str | None = None, *, reading: Reading | None = None
) -> CheckedAll:
    """The structure of one repository or all, and with `reading` stored bytes, too: the packs that
    were read longest ago first.

    One that does not open or fails meanwhile does not keep the others from being checked; when it
    is the only one, or all are so, its error is raised: it was to be checked and could not be.
    """
    names = [repository] if repository else list(application.settings.repositories)
    notes = take_up(application)
    stored = stored_snapshots(application)
    results: list[Checked] = []
    errors: list[tuple[str, StrongroomError]] = []
    for name in names:
        try:
            opened = application.repository(name)
            checked = _check_one(application, opened, stored.get(name, {}), reading)
        except StrongroomError as error:
            errors.append((name, error))
            continue
        results.append(checked)
        fields = {
            "read_data": reading is not None,
            **checked.as_json(_MOST_RECORDED),
            "read": _shortened(checked.packs_read),
        }
        recorded = application.record("check", fields)
        if not isinstance(recorded, Entry):
            notes.append(recorded)
    raised = errors[0][1] if errors and not results else None
    trace_errors("check of", errors, besides=raised)
    if raised is not None:
        raise raised
    return CheckedAll(tuple(results), tuple(notes), tuple(errors))


def _check_one(
    application: Application,
    repository: Repository,
    stored: dict[str, str],
    reading: Reading | None,
) -> Checked:
    from strongroom.repository.check import check_repository

    begun = time.monotonic()
    choice = _Choice(application, repository.name, reading or Reading())
    with repository.reading():
        report = check_repository(
            repository,
            read=choice if reading is not None else None,
            may_go_on=choice.may_go_on,
            progress=application.progress,
        )
        gone = vanished(repository.name, stored, repository.snapshots())
        findings = [*report.findings, *(one for _, one in gone)]
        findings += compare(application, repository)
    checked = Checked(
        repository.name,
        (),
        report.packs,
        report.bytes_read,
        time.monotonic() - begun,
        touched=report.touched,
    )
    if reading is None:
        return replace(checked, findings=tuple(findings))
    left = choice.left(report.read)
    if left is not None:
        findings.append(left)
    return replace(
        checked,
        findings=tuple(findings),
        packs_read=tuple(report.read),
        never_read_bytes=choice.never_read_bytes(report.read),
        oldest_read_at=choice.oldest(report.read),
    )


class _Choice:
    """The packs that one check reads, given what earlier ones have read."""

    def __init__(self, application: Application, repository: str, reading: Reading) -> None:
        self._reading = reading
        self._repository = repository
        self._now = application.clock()
        self._begun = time.monotonic()
        self._read_at = packs_read(application, repository)
        self._sizes: Mapping[str, int] = {}
        self._known: Mapping[str, datetime] = {}
        self._wanted: Sequence[str] = ()

    def __call__(self, sizes: Mapping[str, int]) -> Sequence[str]:
        self._sizes = sizes
        self._known = {
            pack: at
            for pack in sizes
            if (at := self._read_at.get(bytes.fromhex(pack)[:_NAME_BYTES])) is not None
        }
        chosen = choose_packs(sizes, self._known, self._reading.amount, self._now)
        self._wanted = (*chosen.packs, *chosen.left)
        return chosen.packs

    def may_go_on(self) -> bool:
        most = self._reading.most_time
        return most is None or time.monotonic() - self._begun < most.total_seconds()

    def left(self, read: Sequence[str]) -> Finding | None:
        """A finding when packs that should be read by now were not."""
        older_than = self._reading.amount.older_than
        done = set(read)
        left = [pack for pack in self._wanted if pack not in done]
        if older_than is None or not left:
            return None
        size = sum(self._sizes[pack] for pack in left)
        span = format_duration(older_than)
        message = f"{len(left)} packs ({size} bytes) were not read for {span}"
        return finding("pack-unread", self._repository, message)

    def never_read_bytes(self, read: Sequence[str]) -> int:
        seen = {*self._known, *read}
        return sum(size for pack, size in self._sizes.items() if pack not in seen)

    def oldest(self, read: Sequence[str]) -> datetime | None:
        """When the pack that was read longest ago was read; None when one never was."""
        now = dict.fromkeys(read, self._now)
        times = [now.get(pack) or self._known.get(pack) for pack in self._sizes]
        known = [at for at in times if at is not None]
        return min(known) if known and len(known) == len(times) else None


def packs_read(application: Application, repository: str) -> dict[bytes, datetime]:
    """When each pack of a repository was last read whole, by the first bytes of its name; nothing
    when the ledger can't be read, so that all count as never read."""
    found: dict[bytes, datetime] = {}
    try:
        for entry in application.ledger.entries("check"):
            mine = entry.fields.get("application") == application.name
            # A store's past says nothing of the bytes that lie there today.
            mine = mine and "store_as_of" not in entry.fields
            if mine and entry.fields.get("repository") == repository:
                found.update(dict.fromkeys(_names(entry.fields.get("read")), entry.at))
    except StrongroomError as error:
        application.say(f"what was read before is not known: {error}")
    return found


def _shortened(packs: Sequence[str]) -> str:
    names = b"".join(bytes.fromhex(pack)[:_NAME_BYTES] for pack in packs)
    return base64.b64encode(names).decode()


def _names(text: object) -> list[bytes]:
    try:
        names = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except binascii.Error:
        return []
    return [names[at : at + _NAME_BYTES] for at in range(0, len(names), _NAME_BYTES)]
