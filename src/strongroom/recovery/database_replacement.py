"""Replacing a database, and going back: see `replacement` for the promises.

Names beside `tms`: `tms_restored_TIME` while it is loaded, `tms_before_TIME` for what gave way,
`tms_rolled_back_TIME` for what a rollback took out. Earlier versions kept what gave way as
`tms_replaced_TIME`; it can be rolled back like the others. Both names change in one transaction, so
that a stop leaves the one state or the other, never a half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from strongroom.errors import TargetError
from strongroom.model import Finding, Verdict, finding
from strongroom.postgres import replacement as databases
from strongroom.postgres.connection import Connection
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
from strongroom.recovery.restore import restore
from strongroom.recovery.room import require_room_on_server
from strongroom.recovery.switch_journal import Journal, Operation, Plan, open_journal
from strongroom.repository import SnapshotView
from strongroom.sources import Source
from strongroom.sources.database import connection_to

__all__ = ["refuse_unfit_database", "replace_database", "roll_back_database"]

_RESTORED: Final = "_restored_"
_BEFORE: Final = "_before_"
_KEPT: Final = (_BEFORE, "_replaced_")
_ROLLED_BACK: Final = "_rolled_back_"
_STAMP: Final = "%Y%m%d%H%M%S"
_STAMP_DIGITS: Final = 14


def replace_database(
    source: Source,
    view: SnapshotView,
    target: str,
    *,
    typed: str,
    now: datetime,
    records: Path,
    roomy: bool = False,
) -> Replacement:
    """See `replacement.replace_content`. A target that does not exist gets what was restored as
    well, under another name until it is proven."""
    address = connection_to(target)
    subject = address.describe()
    refuse_other_name(typed, address.database, subject)
    with open_journal(_journal(records, address), subject) as journal:
        there = databases.names_on(address)
        notes = [*_settle(address, journal, there)]
        notes += _left_beside(address, there)
        old = databases.refuse_used(address)
        notes += [] if roomy else require_room_on_server(view, address)
        beside, before = _free_names(address.database, there, now, _RESTORED, _BEFORE)
        plan = Plan(Operation.REPLACE, beside, before, old=None if old is None else (0, old))
        journal.write(plan)
        try:
            whole = address.with_database(beside).conninfo()
            outcome = restore(source, view, whole, tells_stopped_proof=True)
        except BaseException:
            databases.drop_if_made(address, beside)
            journal.clear()
            raise
        outcome = noting(outcome, notes)
        if outcome.verdict is not Verdict.PROVEN:
            journal.clear()
            return declined(outcome, subject, beside)
        try:
            _take_place(address, plan, old)
        except TargetError:
            journal.clear()  # the proven copy is whoever's who reads the message
            raise
        journal.clear()
    return Replacement(outcome, target, before if old is not None else None)


def roll_back_database(target: str, *, now: datetime, records: Path) -> Rollback:
    """See `replacement.roll_back`."""
    address = connection_to(target)
    subject = address.describe()
    with open_journal(_journal(records, address), subject) as journal:
        there = databases.names_on(address)
        left = journal.left
        is_done = left is not None and _is_done(address, left, there)
        found = _settle(address, journal, there)
        if left is not None and left.operation is Operation.ROLLBACK and is_done:
            journal.clear()
            return Rollback(target, left.incoming, left.outgoing, tuple(found))
        is_replace = left is not None and left.operation is Operation.REPLACE
        if journal.was_idle or (is_replace and not is_done):
            journal.clear()
            raise never_switched(subject)
        newest = _newest_kept(address)
        if newest is None:
            raise nothing_kept(subject)
        (aside,) = _free_names(address.database, there, now, _ROLLED_BACK)
        journal.write(Plan(Operation.ROLLBACK, newest, aside, old=(0, 0)))
        try:
            databases.exchange_databases(address, newest, aside)
        except TargetError:
            journal.clear()
            raise
        journal.clear()
    return Rollback(target, newest, aside, tuple(found))


def refuse_unfit_database(target: str, typed: str) -> None:
    """TargetError when the database isn't called so, or somebody uses it."""
    address = connection_to(target)
    refuse_other_name(typed, address.database, address.describe())
    databases.refuse_used(address)


def _take_place(address: Connection, plan: Plan, old: int | None) -> None:
    """The proven copy has the target's name, and what had it is kept. TargetError when it can't be
    had: then the copy stays."""
    if databases.number_of(address) != old:
        raise has_changed(address.describe(), plan.incoming)
    try:
        if old is None:
            databases.take_name(address, plan.incoming)
        else:
            databases.exchange_databases(address, plan.incoming, plan.outgoing)
    except TargetError as error:
        raise TargetError(
            f"{error.message}; what was restored is proven and stays in {plan.incoming}",
            subject=error.subject,
            code=error.code,
            hint=f"Stop what uses the database and rename both by hand, {plan.incoming} to "
            f"{address.database}; or drop {plan.incoming} and run the command again.",
        ) from error


def _journal(records: Path, address: Connection) -> Path:
    """One file for each database, whoever logs in to it."""
    try:
        records.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"what is about to be done cannot be written down: {error.strerror}",
            subject=str(records),
            hint="Correct `state:`, or let this user write there.",
        ) from error
    place = f"{address.host}:{address.port}/{address.database}"
    return records / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.switch"


def _free_names(name: str, there: set[str], now: datetime, *infixes: str) -> list[str]:
    """Names that no database has, of this second or of the next in which that is so."""
    while True:
        names = [databases.name_beside(name, f"{infix}{now:{_STAMP}}") for infix in infixes]
        if there.isdisjoint(names):
            return names
        now += timedelta(seconds=1)


def _newest_kept(address: Connection) -> str | None:
    """TargetError when the newest may be another database's."""
    found = [databases.kept_beside(address, infix) for infix in _KEPT]
    doubtful = {one for each in found for one in each.doubtful}
    kept = doubtful.union(*(each.own for each in found))
    newest = max(kept, key=lambda one: one[-_STAMP_DIGITS:], default=None)
    if newest in doubtful:
        raise TargetError(
            f"whether {newest} was kept of this database or of another cannot be told: an earlier "
            "version cut its name, and names of databases here begin alike",
            subject=address.describe(),
            hint=f"Look what {newest} holds; when it is this database's, exchange the names by "
            "hand. Nothing was changed.",
        )
    return newest


def _left_beside(address: Connection, there: set[str]) -> Iterator[Finding]:
    """What earlier runs have left for somebody to look at, or runs of other hosts."""
    found = databases.kept_beside(address, _RESTORED)
    for one in sorted((*found.own, *found.doubtful)):
        if one in there:
            whose = " of this database or of one that begins alike" if one in found.doubtful else ""
            told = (
                f"an earlier run{whose} has left {one}, unproven or unfinished; drop it when you "
                "are sure"
            )
            yield finding("restore-left-over", address.describe(), told)


# After a stop


def _is_done(address: Connection, plan: Plan, there: set[str]) -> bool:
    """Names change in one transaction, and the plan's own bear a time that nobody else's do."""
    if plan.incoming in there:
        return False
    return plan.outgoing in there or (plan.old is None and address.database in there)


def _settle(address: Connection, journal: Journal, there: set[str]) -> list[Finding]:
    """Drop what a stopped run has restored in part, and say what became of it."""
    plan = journal.left
    if plan is None:
        return []
    if _is_done(address, plan, there):
        kept = f"; what was there before is kept as {plan.outgoing}" if plan.old else ""
        told = f"an earlier {plan.operation} was stopped when all but its end was done{kept}"
    elif plan.operation is Operation.ROLLBACK:
        told = "an earlier rollback was stopped before it began, and has changed nothing"
    else:
        told = "an earlier replace was stopped before it came into its place"
        if plan.incoming in there:
            databases.drop_if_made(address, plan.incoming)
            there -= {plan.incoming} - databases.names_on(address)
            told += (
                f"; {plan.incoming}, which it had restored, could not be dropped"
                if plan.incoming in there
                else "; what it had restored is dropped"
            )
    journal.forget()
    return [finding("switch-settled", address.describe(), told)]
