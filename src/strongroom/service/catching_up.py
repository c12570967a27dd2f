"""Bringing repositories up to date with what they missed while they were away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, StrongroomError
from strongroom.model import Finding, Severity, finding
from strongroom.repository import Repository
from strongroom.service.application import LOG, Application
from strongroom.service.backlog import backlog
from strongroom.service.copying import Copied, copy_recorded
from strongroom.service.ledger_copy import store_copies
from strongroom.service.point_record import carry_records


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What was copied into repositories that lacked it, and what they lack still."""

    copies: tuple[Copied, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def exit_status(self) -> int:
        told = [*self.findings, *(one for copied in self.copies for one in copied.findings)]
        is_behind = any(one.code in ("repository-behind", "repository-failed") for one in told)
        failed = any(one.severity is Severity.FAILURE for one in told)
        return EXIT_PARTIAL if is_behind or failed else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "copies": [one.as_json() for one in self.copies],
            "findings": [one.as_json() for one in self.findings],
            "seconds": round(self.seconds, 3),
        }


def catch_up_all(application: Application, names: Sequence[str] = ()) -> CaughtUp:
    """Bring the named repositories, or all, up to date; the first error when none opens."""
    begun = time.monotonic()
    opened, failed = application.reachable()
    findings = [
        finding("repository-failed", name, str(error))
        for name, error in failed.items()
        if not names or name in names
    ]
    copies: list[Copied] = []
    for taker in opened:
        if not names or taker.name in names:
            made, told = catch_up(application, taker, opened)
            copies += made
            findings += told
            if any(one.snapshots for one in made):
                findings += store_copies(application, [taker])
    return CaughtUp(tuple(copies), tuple(findings), time.monotonic() - begun)


def catch_up(
    application: Application, taker: Repository, givers: Sequence[Repository]
) -> tuple[list[Copied], list[Finding]]:
    """What one repository missed in earlier runs, copied from those that have it, and findings of
    what it lacks still; its errors are findings, too."""
    copies: list[Copied] = []
    findings: list[Finding] = []
    try:
        _catch_up(application, taker, givers, copies, findings)
    except StrongroomError as error:
        LOG.debug("repository %s stays behind", taker.name, exc_info=True)
        findings.append(finding("repository-behind", taker.name, str(error)))
    return copies, findings


def _catch_up(
    application: Application,
    taker: Repository,
    givers: Sequence[Repository],
    copies: list[Copied],
    findings: list[Finding],
) -> None:
    missed = backlog(application.ledger.entries(), application.name, taker.name)
    for giver in givers:
        here = {ids[giver.name] for ids in missed if giver.name in ids}
        missed = [ids for ids in missed if giver.name not in ids]
        if here:
            chosen = [one for one in giver.snapshots().snapshots if one.id in here]
            if chosen:
                copied = copy_recorded(application, giver, taker, chosen)
                copies.append(copied)
                findings.extend(copied.findings)
            points = {one.point for one in chosen}
            findings.extend(carry_records(giver, taker, application, points))
    if missed:
        where = ", ".join(sorted({name for ids in missed for name in ids}))
        message = f"{len(missed)} earlier snapshots are in {where} only, which is away"
        findings.append(finding("repository-behind", taker.name, message))
