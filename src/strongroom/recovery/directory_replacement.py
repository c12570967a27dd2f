"""Replacing a directory, and going back: see `replacement` for the promises, `switch_journal` for
what is written down, `switching` for the change of names.

Names beside `uploads`: `uploads.restored-TIME` while it is restored, `uploads.before-TIME` for what
gave way, `uploads.rolled-back-TIME` for what a rollback took out. Earlier versions kept what gave
way as `uploads.replaced-TIME`; it can be rolled back like the others.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.errors import TargetError
from strongroom.model import Finding, Verdict, finding
from strongroom.recovery.replacement import (
    Replacement,
    Rollback,
    declined,
    has_changed,
    never_switched,
    nothing_kept,
    noting,
    refuse_other_name,
)
from strongroom.recovery.restore import Outcome, restore
from strongroom.recovery.room import require_room
from strongroom.recovery.switch_journal import (
    Journal,
    Operation,
    Plan,
    identity_of,
    journal_beside,
    open_journal,
)
from strongroom.recovery.switching import flush_folder, move, switch
from strongroom.repository import SnapshotView
from strongroom.sources import Source

__all__ = ["refuse_unfit", "replace_directory", "roll_back_directory"]

_RESTORED: Final = ".restored-"
_BEFORE: Final = ".before-"
_KEPT: Final = (_BEFORE, ".replaced-")
_ROLLED_BACK: Final = ".rolled-back-"
_NOT_TOUCHED: Final = (
    "Nothing was changed, and what was restored in part is removed: free space there, then run "
    "the command again."
)
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_STAMP_LENGTH: Final = len("20261122T140000Z")


@dataclass(slots=True)
class _Settled:
    """What a stopped run had planned, whether that is so now, and what it has restored in part."""

    plan: Plan | None = None
    is_done: bool = False
    copies: list[Path] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def remove_copies(self) -> None:
        while self.copies:
            _remove(self.copies[-1])
            self.copies.pop()


def replace_directory(
    source: Source,
    view: SnapshotView,
    target: str,
    *,
    typed: str,
    now: datetime,
    roomy: bool = False,
) -> Replacement:
    """See `replacement.replace_content`. What the directory holds already of the snapshot is read
    there instead of being fetched; so is what a stopped run has restored."""
    place = Path(target).absolute()
    refuse_unfit(place, typed)
    with open_journal(journal_beside(place), str(place)) as journal:
        settled = _settle(place, journal)
        notes = [*settled.findings, *_left_beside(place, settled.copies)]
        if not roomy:
            notes += _have_room(source, view, place.parent, settled)
        beside, before = _free_names(place, now, _RESTORED, _BEFORE)
        earlier = [(one.name, identity_of(one)) for one in settled.copies]
        plan = Plan(
            Operation.REPLACE,
            beside.name,
            before.name,
            identity_of(place),
            earlier=tuple((name, known) for name, known in earlier if known is not None),
        )
        outcome = _restore_beside(source, view, place, journal, plan, settled)
        outcome = noting(outcome, notes)
        plan = replace(plan, new=identity_of(beside))
        if outcome.verdict is not Verdict.PROVEN:
            settled.remove_copies()
            journal.clear()
            return declined(outcome, str(place), str(beside))
        outcome, kept = _take_place(place, journal, plan, outcome)
        settled.remove_copies()
        journal.clear()
        return Replacement(outcome, str(place), kept)


def roll_back_directory(place: Path, *, now: datetime) -> Rollback:
    """See `replacement.roll_back`."""
    refuse_unfit(place, place.name)
    with open_journal(journal_beside(place), str(place)) as journal:
        settled = _settle(place, journal)
        settled.remove_copies()
        plan = settled.plan
        journal.forget()
        if plan is not None and plan.operation is Operation.ROLLBACK and settled.is_done:
            taken, kept = (str(place.with_name(one)) for one in (plan.incoming, plan.outgoing))
            return Rollback(str(place), taken, kept, tuple(settled.findings))
        is_replace = plan is not None and plan.operation is Operation.REPLACE
        if journal.was_idle or (is_replace and not settled.is_done):
            raise never_switched(str(place))
        newest = _newest_kept(place)
        if newest is None:
            raise nothing_kept(str(place))
        if not place.exists():
            raise TargetError(
                "there is no such directory",
                subject=str(place),
                hint=f"Give {newest} its name by hand.",
            )
        (aside,) = _free_names(place, now, _ROLLED_BACK)
        old, new = identity_of(place), identity_of(newest)
        journal.write(Plan(Operation.ROLLBACK, newest.name, aside.name, old, new))
        at_once = switch(place, newest, aside)
        journal.clear()
    found = [*settled.findings, *([] if at_once else [_in_steps(place)])]
    return Rollback(str(place), str(newest), str(aside), tuple(found))


def refuse_unfit(place: Path, typed: str) -> None:
    """TargetError when the directory isn't called so, or cannot be renamed."""
    if ".." in place.parts:
        raise TargetError("name it without `..`", subject=str(place))
    refuse_other_name(typed, place.name, str(place))
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
    if not place.parent.is_dir():
        raise TargetError(
            "there is no such directory",
            subject=str(place.parent),
            hint="Create it, or correct the target.",
        )


# Before


def _have_room(
    source: Source, view: SnapshotView, folder: Path, settled: _Settled
) -> list[Finding]:
    """What a stopped run has left gives way where the room is wanted."""
    if settled.copies:
        try:
            return require_room(source, view, folder)
        except TargetError:
            settled.remove_copies()
    return require_room(source, view, folder)


def _free_names(place: Path, now: datetime, *infixes: str) -> list[Path]:
    """Names that nothing bears, of this second or of the next in which that is so."""
    while True:
        names = [place.with_name(f"{place.name}{infix}{now:{_STAMP}}") for infix in infixes]
        if not any(os.path.lexists(one) for one in names):
            return names
        now += timedelta(seconds=1)


def _stamped(place: Path, *infixes: str) -> Iterator[tuple[str, Path]]:
    """What has such a name beside the target, with its time."""
    for infix in infixes:
        for one in place.parent.glob(glob.escape(place.name + infix) + "*Z"):
            time = one.name[len(place.name + infix) :]
            if len(time) == _STAMP_LENGTH and one.is_dir() and not one.is_symlink():
                yield time, one


def _newest_kept(place: Path) -> Path | None:
    return max(_stamped(place, *_KEPT), default=("", None))[1]


def _left_beside(place: Path, ours: list[Path]) -> Iterator[Finding]:
    """What earlier runs have left for somebody to look at, or on another host."""
    for _, one in sorted(_stamped(place, _RESTORED)):
        if one not in ours:
            told = (
                "an earlier run has left this, unproven or unfinished; remove it when you are sure"
            )
            yield finding("restore-left-over", str(one), told)


# The work


def _restore_beside(
    source: Source,
    view: SnapshotView,
    place: Path,
    journal: Journal,
    plan: Plan,
    settled: _Settled,
) -> Outcome:
    """Restore and prove under the name that the plan holds; when that fails, nothing is left."""
    beside = place.with_name(plan.incoming)
    journal.write(plan)
    try:
        beside.mkdir(0o700)
        journal.write(replace(plan, new=identity_of(beside)))
        existing = [one for one in (place, *settled.copies) if one.is_dir()]
        return restore(source, view, str(beside), existing=existing)
    except OSError as error:
        _remove(beside)
        settled.remove_copies()
        journal.clear()
        raise TargetError(os.strerror(error.errno or 0), subject=str(beside)) from error
    except BaseException as error:
        _remove(beside)
        settled.remove_copies()
        journal.clear()
        if isinstance(error, TargetError) and _is_full(error.__cause__):
            # What restored it knows an empty target only; here that one is in use.
            raise TargetError(
                error.message, subject=error.subject, code=error.code, hint=_NOT_TOUCHED
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _take_place(
    place: Path, journal: Journal, plan: Plan, outcome: Outcome
) -> tuple[Outcome, str | None]:
    """The proven copy has the target's name, and what had it is kept."""
    beside, before = place.with_name(plan.incoming), place.with_name(plan.outgoing)
    if identity_of(place) != plan.old:
        journal.clear()
        raise has_changed(str(place), str(beside))
    try:
        at_once = switch(place, beside, before)
    except TargetError as error:
        journal.clear()
        raise TargetError(
            error.message,
            subject=error.subject,
            hint=f"What was restored is proven and stays in {beside}; exchange them by hand.",
        ) from error
    if not at_once:
        outcome = noting(outcome, [_in_steps(place)])
    return outcome, str(before) if plan.old is not None else None


def _in_steps(place: Path) -> Finding:
    told = "this file system cannot exchange two names at once: it was missing for a moment"
    return finding("switch-in-steps", str(place), told)


# After a stop


def _settle(place: Path, journal: Journal) -> _Settled:
    """Bring what a stopped run has left to an end: what came into its place stays there, and what
    did not has never been."""
    plan = journal.left
    if plan is None or "/" in plan.incoming + plan.outgoing:
        return _Settled()
    incoming, outgoing = place.with_name(plan.incoming), place.with_name(plan.outgoing)
    there, is_done = identity_of(place), False
    if plan.new is not None and there == plan.new:
        is_done = True
        if plan.old is not None and identity_of(incoming) == plan.old:
            move(incoming, outgoing)  # it was stopped between the exchange and this
    elif there is None and plan.old is not None and identity_of(outgoing) == plan.old:
        # It was stopped between two renames.
        is_rollback = plan.operation is Operation.ROLLBACK
        is_done = is_rollback and identity_of(incoming) == plan.new
        move(incoming if is_done else outgoing, place)
    flush_folder(place.parent)
    settled = _Settled(plan, is_done, list(_ours(place, plan)))
    if is_done:
        settled.remove_copies()
        journal.forget()
    settled.findings += _settled_findings(place, plan, is_done=is_done)
    return settled


def _ours(place: Path, plan: Plan) -> Iterator[Path]:
    """What was restored in part; an old tree that a rollback was to bring back is not."""
    incoming = place.with_name(plan.incoming)
    if plan.operation is Operation.REPLACE:
        if plan.new is None:
            with contextlib.suppress(OSError):
                incoming.rmdir()  # made, and not yet written down: it is empty
        elif identity_of(incoming) == plan.new:
            yield incoming
    for name, known in plan.earlier:
        if "/" not in name and identity_of(place.with_name(name)) == known:
            yield place.with_name(name)


def _settled_findings(place: Path, plan: Plan, *, is_done: bool) -> Iterator[Finding]:
    outgoing = place.with_name(plan.outgoing)
    if is_done:
        kept = f"; what was there before is kept as {outgoing}" if plan.old is not None else ""
        told = f"an earlier {plan.operation} was stopped when all but its end was done{kept}"
    elif plan.operation is Operation.REPLACE:
        told = (
            "an earlier replace was stopped before it came into its place, and has changed "
            "nothing; what it had restored is removed"
        )
    else:
        told = "an earlier rollback was stopped before it began, and has changed nothing"
    yield finding("switch-settled", str(place), told)


def _remove(tree: Path) -> None:
    """Remove what is ours. TargetError when that cannot be done."""
    if not os.path.lexists(tree):
        return
    try:
        shutil.rmtree(tree, onerror=_open_and_try_again)
    except OSError as error:
        raise TargetError(
            f"what was restored in part cannot be removed: {error.strerror}", subject=str(tree)
        ) from error


# Any: shutil's own shapes
def _open_and_try_again(remove: Any, name: str, _: Any) -> None:
    """A folder whose restored mode lets nobody in keeps what it holds."""
    place = Path(name)
    for one in (place.parent, place):
        with contextlib.suppress(OSError):
            if not one.is_symlink():
                one.chmod(stat.S_IRWXU)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(name)
    else:
        remove(name)
