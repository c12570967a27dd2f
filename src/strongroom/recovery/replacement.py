"""Replacing what is there: restore beside it, prove that, then exchange the names.

Invariants: the target is touched only after the proof, by renaming alone; what was there is kept
under another name until somebody removes it; a stop at any instant loses neither.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from strongroom.errors import TargetError
from strongroom.model import Verdict, finding
from strongroom.recovery.restore import Outcome, restore
from strongroom.repository import SnapshotView
from strongroom.sources import Source


@dataclass(frozen=True, slots=True)
class Replacement:
    """What came of it: `kept` is where the old content went, None when nothing was exchanged;
    `restored` is where the new content is."""

    outcome: Outcome
    restored: str
    kept: str | None


def replace_directory(
    source: Source, view: SnapshotView, target: str, *, typed: str, now: datetime
) -> Replacement:
    """Put the restored content in the place of a directory whose own name was typed out.

    TargetError when the name isn't the target's, or the target is no directory of its own. What
    is not proven stays beside the target, which then is as it was.
    """
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
        told = f"the restored copy is not proven; it stays in {beside}"
        kept = finding("target-not-replaced", str(place), told)
        return Replacement(replace(outcome, findings=(*outcome.findings, kept)), str(beside), None)
    if not place.exists():
        _rename(beside, place)
        return Replacement(outcome, str(place), None)
    old = place.with_name(f"{place.name}.replaced-{stamp}")
    _rename(place, old)
    try:
        _rename(beside, place)
    except BaseException:
        old.rename(place)
        raise
    return Replacement(outcome, str(place), str(old))


def _refuse_unfit(place: Path, typed: str) -> None:
    if ".." in place.parts:
        raise TargetError("name it without `..`", subject=str(place))
    if typed != place.name:
        raise TargetError(
            f"the name that was typed is {typed!r}, the target's is {place.name!r}",
            subject=str(place),
            hint=f"Type --replace {place.name} when this is really meant.",
        )
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
