"""Check: the integrity of repositories themselves, whatever they hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from strongroom.errors import EXIT_FINE
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity
from strongroom.service.application import Application
from strongroom.service.selection import stored_snapshots, vanished

EXIT_DAMAGED = 30  # as IntegrityError's `data-damaged`


@dataclass(frozen=True, slots=True)
class Checked:
    """One repository's answer."""

    repository: str
    findings: tuple[Finding, ...]
    packs: int
    bytes_read: int
    seconds: float

    @property
    def is_sound(self) -> bool:
        return not any(one.severity is Severity.FAILURE for one in self.findings)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self.repository,
            "sound": self.is_sound,
            "findings": [one.as_json() for one in self.findings],
            "packs": self.packs,
            "bytes_read": self.bytes_read,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class CheckedAll:
    """The answers of all repositories that were asked."""

    repositories: tuple[Checked, ...]
    notes: tuple[Finding, ...] = ()

    @property
    def exit_status(self) -> int:
        return EXIT_FINE if all(one.is_sound for one in self.repositories) else EXIT_DAMAGED

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        findings = [found for one in self.repositories for found in one.findings]
        return {
            "findings": [one.as_json() for one in (*findings, *self.notes)],
            "packs": sum(one.packs for one in self.repositories),
            "bytes_read": sum(one.bytes_read for one in self.repositories),
            "repositories": [one.as_json() for one in self.repositories],
        }


def check(
    application: Application, repository: str | None = None, *, read_data: bool = False
) -> CheckedAll:
    """The structure of one repository or all, and with `read_data` every stored byte.

    One that does not open is an error: it was to be checked and could not be.
    """
    from strongroom.repository.check import check_repository

    names = [repository] if repository else list(application.settings.repositories)
    stored = stored_snapshots(application)
    results: list[Checked] = []
    notes: list[Finding] = []
    for name in names:
        opened = application.repository(name)
        begun = time.monotonic()
        with opened.reading():
            report = check_repository(opened, read_data=read_data, progress=application.progress)
            gone = vanished(name, stored.get(name, {}), opened.snapshots())
            findings = (*report.findings, *(one for _, one in gone))
        checked = Checked(
            name,
            findings,
            report.packs,
            report.bytes_read,
            time.monotonic() - begun,
        )
        results.append(checked)
        recorded = application.record("check", {"read_data": read_data, **checked.as_json()})
        if not isinstance(recorded, Entry):
            notes.append(recorded)
    return CheckedAll(tuple(results), tuple(notes))
