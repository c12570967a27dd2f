"""Acknowledgements: snapshots that vanished behind our back count as failures until somebody says
that this is known.

Only what the ledger knows as stored, and what is gone from a repository that was asked, can be
acknowledged: so nobody excuses beforehand what is still to be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError, StorageError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, finding
from strongroom.service.actor import actor
from strongroom.service.application import Application
from strongroom.service.ledger_copy import store_copies_in
from strongroom.service.selection import gone, stored_snapshots

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Gone:
    """A snapshot that was stored and is not there any more."""

    repository: str
    id: str
    source: str

    def as_json(self) -> dict[str, str]:
        return {"repository": self.repository, "id": self.id, "source": self.source}

    def __str__(self) -> str:
        return f"{self.id[:8]} of {self.source} in {self.repository}"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What was acknowledged, and which repositories could not be asked."""

    snapshots: tuple[Gone, ...]
    reason: str
    findings: tuple[Finding, ...]
    everything: bool

    @property
    def exit_status(self) -> int:
        """Partial when not all could be looked at that was meant."""
        return EXIT_PARTIAL if self.everything and self.findings else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "acknowledged": [one.as_json() for one in self.snapshots],
            "reason": self.reason,
            "findings": [one.as_json() for one in self.findings],
        }


def acknowledge(
    application: Application,
    wanted: Sequence[str] = (),
    *,
    everything: bool = False,
    reason: str = "",
) -> Acknowledged:
    """Let the snapshots whose ids begin so, or all, be missed no more.

    StorageError `snapshot-missing` when one is not gone, or was never stored.
    """
    survey = _Survey(application)
    chosen = survey.gone if everything else [survey.only(one) for one in wanted]
    if chosen:
        fields = {
            "snapshots": [one.as_json() for one in chosen],
            "reason": reason,
            "by": actor(),
        }
        application.must_record("acknowledge", fields)
        survey.findings += store_copies_in(application, (one.repository for one in chosen))
    return Acknowledged(tuple(chosen), reason, tuple(survey.findings), everything)


class _Survey:
    """What is there and what is gone, in the repositories that open."""

    def __init__(self, application: Application) -> None:
        self._application = application
        # First, for what is stored meanwhile is listed and not yet recorded, never the reverse.
        self._stored = stored_snapshots(application)
        self._present: dict[str, str] = {}
        self.gone: list[Gone] = []
        opened, failed = application.reachable()
        for repository in opened:
            try:
                listed = repository.snapshots()
            except StrongroomError as error:
                failed[repository.name] = error
                continue
            self._present |= {one.id: repository.name for one in listed.snapshots}
            known = self._stored.get(repository.name, {})
            self.gone += [Gone(repository.name, *one) for one in gone(known, listed)]
        self._failed = failed
        self.findings = [
            finding("repository-unreachable", name, str(error)) for name, error in failed.items()
        ]

    def only(self, wanted: str) -> Gone:
        """The one that is gone and whose id begins so."""
        begin = wanted.lower()
        found = [one for one in self.gone if begin and one.id.startswith(begin)]
        if len(found) == 1:
            return found[0]
        if found:
            raise StorageError(
                f"several that are gone have ids that begin so ({self._listed(found)})",
                subject=wanted,
                code="snapshot-missing",
                hint="Give more digits of the id.",
            )
        shown = self._listed(self.gone)
        raise StorageError(
            self._why_not(begin),
            subject=wanted,
            code="snapshot-missing",
            hint=f"Choose from what is gone: {shown}." if shown else "Leave it: nothing is gone.",
        )

    def _why_not(self, begin: str) -> str:
        for one, repository in self._present.items():
            if begin and one.startswith(begin):
                return f"it is there, in {repository}"
        for repository in self._failed:
            if any(one.startswith(begin) for one in self._stored.get(repository, {}) if begin):
                return f"it is in {repository}, which could not be asked"
        for entry in self._application.ledger.entries():
            if begin and (told := self._told(entry, begin)):
                return told
        return "no snapshot that was stored and is gone has this id"

    def _told(self, entry: Entry, begin: str) -> str:
        """What a record says about the end of a snapshot."""
        fields, day = entry.fields, f"{entry.at:%Y-%m-%d}"
        if fields.get("application") != self._application.name:
            return ""
        if entry.kind == "acknowledge":
            if any(str(one["id"]).startswith(begin) for one in fields.get("snapshots", ())):
                return f"it was acknowledged on {day} by {fields.get('by')}"
        elif entry.kind == "prune" and any(
            str(one).startswith(begin) for one in fields.get("drop", ())
        ):
            return f"it was dropped by a prune of {day}"
        return ""

    @staticmethod
    def _listed(some: Sequence[Gone]) -> str:
        more = f" and {len(some) - _MOST_SHOWN} more" if len(some) > _MOST_SHOWN else ""
        return ", ".join(map(str, some[:_MOST_SHOWN])) + more


def refuse_neither(wanted: Sequence[str], *, everything: bool) -> None:
    """ConfigError `usage` unless either ids or all are meant."""
    if bool(wanted) == everything:
        raise ConfigError(
            "ids and --all exclude each other" if wanted else "which snapshots are meant?",
            code="usage",
            hint="Name the beginnings of ids, or say --all.",
        )
