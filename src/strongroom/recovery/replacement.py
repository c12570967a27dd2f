"""Replacing what is there: restore beside it, prove that, then change the names; and the way back.

Invariants: the target is touched only after the proof, by renaming alone; what was there is kept
under another name until somebody removes it; a stop at any instant loses neither, and the next run
names what was left, or removes it where it is known to be ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config.value import is_reference
from strongroom.errors import TargetError
from strongroom.model import Finding, finding
from strongroom.recovery.restore import Outcome
from strongroom.repository import SnapshotView
from strongroom.sources import Source

# A connection string of libpq, told from a directory by the words that every such one has.
_KEYWORD: Final = re.compile(
    r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service|sslmode)\s*=", re.IGNORECASE
)

__all__ = [
    "Replacement",
    "Rollback",
    "declined",
    "has_changed",
    "names_database",
    "never_switched",
    "nothing_kept",
    "noting",
    "refuse_other_name",
    "refuse_unfit_target",
    "replace_content",
    "roll_back",
]


@dataclass(frozen=True, slots=True)
class Replacement:
    """What came of it: `kept` is where the old content went, None when nothing was exchanged;
    `restored` is where the new content is."""

    outcome: Outcome
    restored: str
    kept: str | None


@dataclass(frozen=True, slots=True)
class Rollback:
    """What came of undoing a replacement: `taken` is the name under which the content now in the
    target was kept, `kept` is where the content that it gave way to went."""

    target: str
    taken: str
    kept: str
    findings: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "target": self.target,
            "from": self.taken,
            "kept": self.kept,
            "findings": [one.as_json() for one in self.findings],
        }


def replace_content(
    source: Source,
    view: SnapshotView,
    target: str,
    *,
    typed: str,
    now: datetime,
    records: Path,
    roomy: bool = False,
) -> Replacement:
    """Put the restored content in the place of a target whose own name was typed out.

    `records` is a folder for the journals of databases; a directory's lies beside it. `roomy` says
    that there is room, whatever the file system tells. TargetError when the name isn't the
    target's, or the target can't be exchanged; BusyError while another run is at it. What is not
    proven stays beside the target, which then is as it was.
    """
    from strongroom.recovery.database_replacement import replace_database
    from strongroom.recovery.directory_replacement import replace_directory

    if source.kind == "postgres":
        return replace_database(
            source, view, target, typed=typed, now=now, records=records, roomy=roomy
        )
    return replace_directory(source, view, target, typed=typed, now=now, roomy=roomy)


def roll_back(target: str, *, now: datetime, records: Path) -> Rollback:
    """Exchange a target with what its newest replacement kept; nothing is removed but what a
    stopped run has left of its own.

    TargetError when nothing is kept, or names cannot be exchanged; BusyError while another run is
    at it. One that was stopped half-way is finished, and goes no further back.
    """
    from strongroom.recovery.database_replacement import roll_back_database
    from strongroom.recovery.directory_replacement import roll_back_directory

    if names_database(target):
        return roll_back_database(target, now=now, records=records)
    return roll_back_directory(Path(target).absolute(), now=now)


def names_database(target: str) -> bool:
    """Whether a target is a database by its words: a reference, a URL, or libpq's keyword=value.
    A directory whose name looks like that is meant when it is written with a slash."""
    if "://" in target or is_reference(target):
        return True
    return not target.startswith(("/", "./", "../")) and _KEYWORD.search(target) is not None


def refuse_unfit_target(source: Source, target: str, typed: str) -> None:
    """What `replace_content` would refuse such a target with, before anything is done."""
    from strongroom.recovery.database_replacement import refuse_unfit_database
    from strongroom.recovery.directory_replacement import refuse_unfit

    if source.kind == "postgres":
        refuse_unfit_database(target, typed)
    else:
        refuse_unfit(Path(target).absolute(), typed)


# What both kinds say


def refuse_other_name(typed: str, name: str, subject: str) -> None:
    """TargetError unless what was typed is the target's own name."""
    if typed != name:
        raise TargetError(
            f"the name that was typed is {typed!r}, the target's is {name!r}",
            subject=subject,
            hint=f"Type --replace {name} when this is really meant.",
        )


def declined(outcome: Outcome, target: str, beside: str) -> Replacement:
    """The target stays as it was: what was restored is not proven."""
    told = f"the restored copy is not proven; it stays in {beside}"
    return Replacement(
        noting(outcome, [finding("target-not-replaced", target, told)]), beside, None
    )


def noting(outcome: Outcome, findings: Sequence[Finding]) -> Outcome:
    """The outcome with what was noticed around it, which doesn't change a verdict."""
    return replace(outcome, findings=(*outcome.findings, *findings))


def nothing_kept(subject: str) -> TargetError:
    """There is no way back."""
    return TargetError(
        "nothing is kept of an earlier replacement",
        subject=subject,
        hint="Only what `restore --replace` has put in its place can be rolled back.",
    )


def never_switched(subject: str) -> TargetError:
    """The newest replacement was stopped before it came into its place: going back would undo
    another one than is meant."""
    return TargetError(
        "nothing was rolled back: the newest replacement was stopped before it came into its "
        "place, and what is there is what was there before it",
        subject=subject,
        hint="Run the command again to undo the replacement before that one.",
    )


def has_changed(subject: str, beside: str) -> TargetError:
    """Somebody else was at the target during the restore."""
    return TargetError(
        f"it is not what it was when the restore began; the proven copy stays in {beside}",
        subject=subject,
        hint="Find out who has replaced it; then exchange the names by hand, or run again.",
    )
