"""Copying between repositories: on request, and to catch up what a backup left behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity
from strongroom.repository import Repository, Snapshot
from strongroom.repository.copy import CopyReport, copy_snapshots
from strongroom.service.application import Application
from strongroom.service.ledger_copy import is_copy, store_copies
from strongroom.service.point_record import carry_records
from strongroom.service.rendering import error_json


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied from one repository to another: (snapshot, its id in the target)."""

    source: str
    target: str
    snapshots: tuple[tuple[Snapshot, str], ...]
    present: int
    added_bytes: int
    seconds: float
    findings: tuple[Finding, ...] = ()

    @property
    def exit_status(self) -> int:
        failed = any(one.severity is Severity.FAILURE for one in self.findings)
        return EXIT_PARTIAL if failed else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "from": self.source,
            "to": self.target,
            "snapshots": [
                {"source": one.source, "id": made, "from_id": one.id, "tree": one.tree}
                for one, made in self.snapshots
            ],
            "already_there": self.present,
            "added_bytes": self.added_bytes,
            "seconds": round(self.seconds, 3),
            "findings": [one.as_json() for one in self.findings],
        }


def copy(application: Application, source: str, target: str, wanted: Sequence[str] = ()) -> Copied:
    """Bring snapshots, given by the beginnings of their ids or all, into another repository.

    `Application.store_as_of` is of the one that they are read from.
    """
    if source == target:
        raise ConfigError(
            "a repository is not copied into itself", subject=source, code="usage",
            hint="Name two different repositories.",
        )  # fmt: skip
    giver, taker = application.repository(source), application.repository(target, present=True)
    with giver.reading():
        listed = giver.snapshots()
        if wanted:
            chosen = [giver.find(one) for one in wanted]
        else:
            chosen = [one for one in listed.snapshots if not is_copy(one)]
        # Of all, one that cannot be read is one that is not copied.
        missed = () if wanted else listed.findings
        copied = copy_recorded(application, giver, taker, chosen, missed)
        # Also of what was there already: an earlier run may have been stopped before these.
        noticed = carry_records(giver, taker, application, {one.point for one in chosen})
    if copied.snapshots:
        noticed += store_copies(application, [taker])
    if noticed:
        copied = replace(copied, findings=(*copied.findings, *noticed))
    return copied


def copy_recorded(
    application: Application,
    giver: Repository,
    taker: Repository,
    chosen: Sequence[Snapshot],
    missed: Sequence[Finding] = (),
) -> Copied:
    """Copy and write down what was copied, also when it did not come to its end.

    `missed` tells what should be copied and can't even be listed.
    """
    begun = time.monotonic()
    report = CopyReport()
    failure: StrongroomError | None = None
    size = sum(one.size_bytes or 0 for one in chosen) or None
    application.progress.begin(f"copy to {taker.name}", size)
    try:
        copy_snapshots(
            giver,
            taker,
            chosen,
            report=report,
            workers=application.settings.engine.worker_count,
            progress=application.progress,
        )
    except StrongroomError as error:
        failure = error
        raise
    finally:
        application.progress.end()
        by_id = {one.id: one for one in chosen}
        copied = Copied(
            giver.name,
            taker.name,
            tuple((by_id[before], made) for before, made in report.snapshots),
            len(chosen) - len(report.snapshots),
            report.added_bytes,
            time.monotonic() - begun,
            (*missed, *report.findings),
        )
        fields = copied.as_json()
        if failure is not None:
            fields["error"] = error_json(failure)
        recorded: Entry | Finding | None = None
        if report.snapshots or failure is not None:
            recorded = application.record("copy", fields)
    if isinstance(recorded, Finding):
        return replace(copied, findings=(*copied.findings, recorded))
    return copied
