"""Replacing what is there: restore beside it, prove that, then exchange the names.

Invariants: the target is touched only after the proof, by renaming alone; what was there is kept
under another name until somebody removes it; a stop at any instant loses neither.
"""

from __future__ import annotations

import glob
import os
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config.value import is_reference
from strongroom.errors import TargetError
from strongroom.model import Finding, Verdict, finding
from strongroom.recovery.restore import Outcome, restore
from strongroom.repository import SnapshotView
from strongroom.sources import Source

_REPLACED: Final = ".replaced-"
_REPLACED_DATABASE: Final = "_replaced_"


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


def roll_back(target: str, *, now: datetime) -> Rollback:
    """Exchange a target with what its newest replacement kept; nothing is removed.

    TargetError when nothing is kept, or names cannot be exchanged.
    """
    if "://" in target or is_reference(target):
        return _roll_back_database(target, now=now)
    place = Path(target).absolute()
    kept = list(place.parent.glob(glob.escape(place.name) + _REPLACED + "*Z"))
    if not kept:
        raise _nothing_kept(str(place))
    newest = max(kept, key=lambda one: one.name)
    aside = place.with_name(f"{place.name}.rolled-back-{now:%Y%m%dT%H%M%SZ}")
    _refuse_unfit(place, place.name)
    if not place.exists():
        raise TargetError("there is no such directory", subject=str(place))
    _rename(place, aside)
    try:
        _rename(newest, place)
    except BaseException:
        aside.rename(place)
        raise
    return Rollback(str(place), str(newest), str(aside))


def _roll_back_database(target: str, *, now: datetime) -> Rollback:
    from strongroom.postgres import replacement as databases
    from strongroom.sources.database import connection_to

    address = connection_to(target)
    kept = databases.kept_beside(address, _REPLACED_DATABASE)
    if not kept:
        raise _nothing_kept(address.describe())
    newest = max(kept)
    aside = databases.name_beside(address.database, f"_rolled_back_{now:%Y%m%d%H%M%S}")
    databases.exchange_databases(address, newest, aside)
    return Rollback(target, newest, aside)


def _nothing_kept(subject: str) -> TargetError:
    return TargetError(
        "nothing is kept of an earlier replacement",
        subject=subject,
        hint="Only what `restore --replace` has put in its place can be rolled back.",
    )


def replace_content(
    source: Source, view: SnapshotView, target: str, *, typed: str, now: datetime
) -> Replacement:
    """Put the restored content in the place of a target whose own name was typed out.

    TargetError when the name isn't the target's, or the target can't be exchanged. What is not
    proven stays beside the target, which then is as it was.
    """
    if source.kind == "postgres":
        return _replace_database(source, view, target, typed=typed, now=now)
    return _replace_directory(source, view, target, typed=typed, now=now)


def _replace_directory(
    source: Source, view: SnapshotView, target: str, *, typed: str, now: datetime
) -> Replacement:
    place = Path(target).absolute()
    _refuse_unfit(place, typed)
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    beside = place.with_name(f"{place.name}.restored-{stamp}")
    try:
        outcome = restore(source, view, str(beside))
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if outcome.verdict is not Verdict.PROVEN:
        return _declined(outcome, str(place), str(beside))
    if not place.exists():
        _rename(beside, place)
        return Replacement(outcome, str(place), None)
    old = place.with_name(f"{place.name}{_REPLACED}{stamp}")
    _rename(place, old)
    try:
        _rename(beside, place)
    except BaseException:
        old.rename(place)
        raise
    return Replacement(outcome, str(place), str(old))


def _replace_database(
    source: Source, view: SnapshotView, target: str, *, typed: str, now: datetime
) -> Replacement:
    from strongroom.postgres import replacement as databases
    from strongroom.sources.database import connection_to

    address = connection_to(target)
    name = address.database
    _refuse_other_name(typed, name, address.describe())
    if not databases.refuse_used(address):
        return Replacement(restore(source, view, target), target, None)
    stamp = f"{now:%Y%m%d%H%M%S}"
    beside = databases.name_beside(name, f"_restored_{stamp}")
    kept = databases.name_beside(name, f"{_REPLACED_DATABASE}{stamp}")
    try:
        outcome = restore(source, view, address.with_database(beside).conninfo())
    except BaseException:
        databases.drop_if_made(address, beside)
        raise
    if outcome.verdict is not Verdict.PROVEN:
        return _declined(outcome, address.describe(), beside)
    databases.exchange_databases(address, beside, kept)
    return Replacement(outcome, target, kept)


def _declined(outcome: Outcome, target: str, beside: str) -> Replacement:
    told = f"the restored copy is not proven; it stays in {beside}"
    found = finding("target-not-replaced", target, told)
    return Replacement(replace(outcome, findings=(*outcome.findings, found)), beside, None)


def _refuse_other_name(typed: str, name: str, subject: str) -> None:
    if typed != name:
        raise TargetError(
            f"the name that was typed is {typed!r}, the target's is {name!r}",
            subject=subject,
            hint=f"Type --replace {name} when this is really meant.",
        )


def _refuse_unfit(place: Path, typed: str) -> None:
    if ".." in place.parts:
        raise TargetError("name it without `..`", subject=str(place))
    _refuse_other_name(typed, place.name, str(place))
    if place.is_symlink():
        raise TargetError(
            "this is a symbolic link", subject=str(place), hint="Name the directory itself."
        )
    if place.exists() and not place.is_dir():
        raise TargetError("this is not a directory", subject=str(place))
    if os.path.ismount(place):
        raise TargetError(
            "this is a mount point, which cannot be renamed",
            subject=str(place),
            hint="Restore into an empty directory and change the mount.",
        )


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        raise TargetError(
            f"cannot be renamed to {target}: {error.strerror}", subject=str(source)
        ) from error
