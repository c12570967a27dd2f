"""Prune: retention with a reason for each snapshot, then freeing space, repository by repository.

What is about to go is written down before it goes: a snapshot that vanishes without such a line
is a failure. Snapshots of other applications, and of tools that name none, always stay.

What is pinned and proven stands in the ledger alone. So nothing goes when that is missing, damaged
or unreadable; and what is older than the ledger stays, until somebody unpins it.

A store that keeps everything is asked first, so that nothing is begun that cannot be ended. Where
objects are locked, the locks of all that stays are renewed, whatever became of the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from strongroom.config.settings import Policy
from strongroom.errors import (
    EXIT_FINE,
    EXIT_PARTIAL,
    BusyError,
    ConfigError,
    IntegrityError,
    StorageError,
    StrongroomError,
)
from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict, finding
from strongroom.plan.consent import doubt
from strongroom.plan.retention import Decision, Kept, Rules, decide, shrunk
from strongroom.repository import Repository, Snapshot
from strongroom.repository.prune import PruneOptions, PrunePlan, PruneReport, execute, plan_prune
from strongroom.repository.renewal import RenewalReport, renew_locks
from strongroom.repository.storage import Keeping
from strongroom.service.application import Application
from strongroom.service.ledger_copy import (
    is_copy,
    knows_snapshots,
    lasting,
    store_copies,
    take_up,
)
from strongroom.service.listing import proofs
from strongroom.service.pinning import remembered
from strongroom.service.precedent import precedent
from strongroom.service.rendering import error_json, time_json
from strongroom.service.selection import say_all

# Dropping more than this share, otherwise than day by day, is more often a mistake than meant.
CONSENT_SHARE: Final = 0.5
KEEPS_NOTHING: Final = Keeping(versions=False)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is decided about one repository, what it comes to, and what was done (if anything)."""

    repository: str
    decisions: tuple[Decision, ...]
    plan: PrunePlan
    done: PruneReport | None = None
    notes: tuple[Finding, ...] = ()
    captures: tuple[Decision, ...] = ()  # without those about copies of the ledger
    own: tuple[Decision, ...] = ()  # and without what others captured
    keeping: Keeping = KEEPS_NOTHING
    renewal: RenewalReport | None = None

    @property
    def freed_bytes(self) -> int:
        """What the store holds less, or would; less than nothing when more was written."""
        if self.done is not None:
            return self.done.freed_bytes - self.plan.rewritten_bytes
        return self.plan.freed_bytes if self.keeping.frees else -self.plan.rewritten_bytes

    @property
    def hidden_bytes(self) -> int:
        """What nobody sees any more and yet takes its space, as a version."""
        if self.done is not None:
            return self.done.hidden_bytes
        return self._planned_bytes if self.keeping.frees is False else 0

    @property
    def unknown_bytes(self) -> int:
        """What is removed, and nobody knows whether its space is free."""
        if self.done is not None:
            return self.done.unknown_bytes
        return self._planned_bytes if self.keeping.frees is None else 0

    @property
    def _planned_bytes(self) -> int:
        return self.plan.delete_bytes + self.plan.repack_bytes

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        plan, done, renewal = self.plan, self.done, self.renewal
        return {
            "repository": self.repository,
            "keep": [_decision_json(one) for one in self.decisions if one.keep],
            "drop": [_decision_json(one) for one in self.decisions if not one.keep],
            "packs": {
                "delete": len(plan.delete) + len(plan.orphans),
                "repack": len(plan.repack),
                "young": len(plan.young),
            },
            "used_bytes": plan.used_bytes,
            "unused_bytes": plan.unused_bytes,
            "freed_bytes": self.freed_bytes,
            "hidden_bytes": self.hidden_bytes,
            "unknown_bytes": self.unknown_bytes,
            "spared": done.spared if done else [],
            "locked": done.locked if done else [],
            "locked_until": _time_or_none(done.locked_until if done else None),
            "renewed": None
            if renewal is None
            else {
                "asked": renewal.asked,
                "renewed": renewal.renewed,
                "locked_until": _time_or_none(renewal.locked_until),
            },
            "done": done is not None,
            "findings": [one.as_json() for one in self.notes],
        }


@dataclass(frozen=True, slots=True)
class PruneResult:
    """All repositories that were asked; `errors` tells why some could not be pruned."""

    repositories: tuple[Pruned, ...]
    errors: tuple[tuple[str, StrongroomError], ...] = ()

    @property
    def exit_status(self) -> int:
        """That of the first error; partial when locks that should have been renewed were not."""
        if self.errors:
            return self.errors[0][1].exit_status
        short = any(note.code == "locks-ending" for one in self.repositories for note in one.notes)
        return EXIT_PARTIAL if short else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        each = [one.as_json() for one in self.repositories]
        return {
            "keep": [kept for one in each for kept in one["keep"]],
            "drop": [dropped for one in each for dropped in one["drop"]],
            "freed_bytes": sum(one["freed_bytes"] for one in each),
            "hidden_bytes": sum(one["hidden_bytes"] for one in each),
            "repositories": each,
            "errors": [{"repository": name, **error_json(one)} for name, one in self.errors],
        }


def _time_or_none(moment: datetime | None) -> str | None:
    return time_json(moment) if moment is not None else None


def _decision_json(one: Decision) -> dict[str, Any]:  # Any: JSON values
    return {"id": one.id, "because": list(one.because)}


def prune(
    application: Application,
    names: Sequence[str] = (),
    *,
    dry_run: bool,
    consent: bool = False,
    options: PruneOptions | None = None,
    now: datetime | None = None,
) -> PruneResult:
    """Decide about every snapshot of the named repositories, or all; then free space.

    ConfigError `prune-unconfirmed` when more would go than the policy drops in its ordinary course,
    and nobody has consented;
    IntegrityError `ledger-damaged` when nobody knows what is pinned and proven. A repository that
    others use, in which something is to stay by now that was to go, or whose store fails or lets
    nothing be removed, does not keep the others from being pruned, and nothing was removed from
    it; when it is the only one, or all are so, its error is raised.
    """
    moment = now or application.clock()
    say_all(application, take_up(application))
    results, errors = [], []
    for name in names or list(application.settings.repositories):
        try:
            repository = application.repository(name)
            results.append(
                _prune_one(
                    application, repository, dry_run, consent, options or PruneOptions(), moment
                )
            )
        except (BusyError, StorageError) as error:
            errors.append((name, error))
    if errors and not results:
        raise errors[0][1]
    return PruneResult(tuple(results), tuple(errors))


def _prune_one(
    application: Application,
    repository: Repository,
    dry_run: bool,
    consent: bool,
    options: PruneOptions,
    now: datetime,
) -> Pruned:
    keeping = _keeping(repository)
    if dry_run:
        return _plan(application, repository, keeping, options, now)
    unneeded: set[str] = set()
    try:
        planned = _plan(application, repository, keeping, options, now)
        unneeded.update(planned.plan.unneeded)
        if not consent:
            _must_be_meant(application, planned)
        done, notes = _carry_out(application, repository, planned, options, now)
    except StrongroomError:
        # What stays must not lose its locks because something else is wrong, damage least of all.
        with contextlib.suppress(StrongroomError):
            _renew(application, repository, keeping, unneeded, now)
        raise
    unneeded = {*unneeded, *planned.plan.repack} - {*done.spared}
    renewal, ending = _renew(application, repository, keeping, unneeded, now)
    return replace(planned, done=done, notes=(*notes, *ending), renewal=renewal)


def _plan(
    application: Application,
    repository: Repository,
    keeping: Keeping,
    options: PruneOptions,
    now: datetime,
) -> Pruned:
    with repository.reading():
        listed = repository.snapshots()
        if listed.findings:
            raise StorageError(
                f"{len(listed.findings)} snapshot files are unreadable: what they need is unknown",
                subject=repository.name,
                hint="Run `strongroom check`, then `strongroom repair`.",
            )
        decisions = _decide(application, repository.name, listed.snapshots, now)
        drop = [one.id for one in decisions if not one.keep]
        plan = plan_prune(
            repository, listed.snapshots, drop, options=options, now=_store_now(repository)
        )
    copies = {one.id for one in listed.snapshots if is_copy(one)}
    captures = tuple(one for one in decisions if one.id not in copies)
    mine = {one.id for one in listed.snapshots if _is_mine(application, one)}
    own = tuple(one for one in decisions if one.id in mine)
    return Pruned(repository.name, decisions, plan, captures=captures, own=own, keeping=keeping)


def _must_be_meant(application: Application, planned: Pruned) -> None:
    """ConfigError `prune-unconfirmed` when more goes than the policy drops in its ordinary course,
    and somebody is likely to want."""
    known = precedent(application.settings, application.ledger.entries(), planned.repository)
    found = doubt(planned.own, known, share=CONSENT_SHARE)
    if found is not None:
        raise ConfigError(
            f"{found.dropped} of {found.all} snapshots would be dropped: {found.because}",
            subject=planned.repository,
            code="prune-unconfirmed",
        )


def _keeping(repository: Repository) -> Keeping:
    immutability = repository.storage.immutability()
    return KEEPS_NOTHING if immutability is None else immutability.keeping()


def _carry_out(
    application: Application,
    repository: Repository,
    planned: Pruned,
    options: PruneOptions,
    now: datetime,
) -> tuple[PruneReport, Sequence[Finding]]:
    plan, report = planned.plan, PruneReport()
    if plan.is_empty:
        # That nothing was to go is an answer, too.
        recorded = _record_end(application, planned, report, ended=True)
        return report, [recorded] if isinstance(recorded, Finding) else ()
    _ask_first(repository)
    because = {one.id: list(one.because) for one in planned.decisions if not one.keep}
    intent = application.record(
        "prune", {"repository": repository.name, "drop": list(plan.drop), "because": because}
    )
    if not isinstance(intent, Entry):
        raise StorageError(
            f"what would be dropped cannot be written down, so nothing is: {intent.message}",
            subject=intent.subject,
        )
    # Whoever takes up that copy knows that what is gone went on purpose.
    notes = store_copies(application, [repository]) if plan.drop else []
    application.progress.begin(f"prune {repository.name}", plan.rewritten_bytes or None)

    def last_look(there: Sequence[Snapshot]) -> None:
        _refuse_other_decisions(application, repository, plan, there, now)

    ended = False
    try:
        execute(
            repository,
            plan,
            report=report,
            options=options,
            progress=application.progress,
            last_look=last_look,
        )
        ended = True
    finally:
        application.progress.end()
        recorded = _record_end(application, planned, report, ended=ended)
    if isinstance(recorded, Finding):
        notes.append(recorded)
    return report, notes


def _record_end(
    application: Application, planned: Pruned, report: PruneReport, *, ended: bool
) -> Entry | Finding:
    """Write down what was done, and by which policy; `ended` is False when it was cut short."""
    return application.record(
        "pruned",
        {
            "repository": planned.repository,
            "ended": ended,
            "policy": application.settings.policy_digest(planned.repository),
            "kept": sum(one.keep for one in planned.captures),
            **outcome_json(planned.own),
            "dropped": report.dropped,
            "packs_deleted": len(report.deleted),
            "freed_bytes": report.freed_bytes - planned.plan.rewritten_bytes,
            "hidden_bytes": report.hidden_bytes,
            "unknown_bytes": report.unknown_bytes,
            "locked": report.locked,
            "locked_until": _time_or_none(report.locked_until),
        },
    )


def outcome_json(own: Sequence[Decision]) -> dict[str, Any]:  # Any: JSON values
    """What the next prune is compared with: how many of the application's snapshots are left, and
    whether some are only because nothing may go now."""
    return {
        "left": sum(one.keep for one in own),
        "suspended": any(one.suspended for one in own),
    }


def _refuse_other_decisions(
    application: Application,
    repository: Repository,
    plan: PrunePlan,
    there: Sequence[Snapshot],
    now: datetime,
) -> None:
    """BusyError when what is to go is to stay by now: somebody has pinned or proven it, or a
    capture has failed, since the plan was made."""
    staying = {one.id for one in _decide(application, repository.name, there, now) if one.keep}
    spared = staying.intersection(plan.drop)
    if spared:
        raise BusyError(
            f"{len(spared)} snapshots that were to go are to stay by now, so nothing was removed",
            subject=repository.name,
            hint="Run the command again.",
        )


def _ask_first(repository: Repository) -> None:
    """StorageError `store-refused` when the store lets nothing be removed: before packs are
    rewritten, since what is written there stays for ever."""
    immutability = repository.storage.immutability()
    if immutability is not None and immutability.reach().removes is False:
        raise StorageError(
            "it lets these credentials remove nothing, so nothing was begun",
            subject=repository.name,
            code="store-refused",
            hint="Give credentials that may remove for this run: see *An immutable copy* in "
            "docs/OPERATIONS.md.",
        )


def _renew(
    application: Application,
    repository: Repository,
    keeping: Keeping,
    unneeded: set[str],
    now: datetime,
) -> tuple[RenewalReport | None, tuple[Finding, ...]]:
    """What was done about the locks of all that stays, if the store locks; a finding when it was
    not permitted."""
    immutability, lock = repository.storage.immutability(), keeping.object_lock
    if immutability is None or lock is None:
        return None, ()
    report = RenewalReport()
    application.progress.begin(f"renew the locks of {repository.name}", None)
    try:
        renew_locks(
            repository,
            immutability,
            lock,
            unneeded=unneeded,
            report=report,
            now=now,
            progress=application.progress,
        )
    except StorageError as error:
        if error.code != "store-refused":
            raise
        return report, (finding("locks-ending", repository.name, str(error)),)
    finally:
        application.progress.end()
    return report, ()


def _store_now(repository: Repository) -> datetime:
    """The store's own clock, as our lock's file shows it; ours where the store doesn't tell."""
    times = [one.modified_at for one in repository.storage.list("locks") if one.modified_at]
    return max(times, default=datetime.now(UTC))


def _decide(
    application: Application, repository: str, snapshots: Sequence[Snapshot], now: datetime
) -> tuple[Decision, ...]:
    """A decision for each snapshot, source by source, by a ledger that can be relied on."""
    _trust_ledger(application, snapshots)
    return tuple(decide_all(application, repository, snapshots, now))


def _trust_ledger(application: Application, snapshots: Sequence[Snapshot]) -> None:
    ledger, what = application.ledger, ""
    if faults := ledger.verify():
        what = f"line {faults[0].line}: {faults[0].message}"
    elif any(_is_mine(application, one) for one in snapshots) and not knows_snapshots(ledger):
        what = "it is missing, though there are snapshots"
    if what:
        raise IntegrityError(
            f"{what}; nobody knows what is pinned and proven, so nothing is pruned",
            subject=str(ledger.path),
            code="ledger-damaged",
        )


def _is_mine(application: Application, one: Snapshot) -> bool:
    return one.application == application.name and one.source in application.settings.sources


def decide_all(
    application: Application, repository: str, snapshots: Sequence[Snapshot], now: datetime
) -> Iterator[Decision]:
    """A decision for each of these snapshots of a repository, by what the ledger knows."""
    memory = remembered(application)
    known = proofs(application)
    order, failed = _captures(application, repository)
    proven_trees = {
        one.tree for one in snapshots if known.get(one.id, (None, None))[1] is Verdict.PROVEN
    }
    zone = ZoneInfo(application.settings.schedule.time_zone)
    by_source: dict[str, list[Snapshot]] = {}
    copies: list[Snapshot] = []
    for one in snapshots:
        if _is_mine(application, one) and one.source is not None:
            by_source.setdefault(one.source, []).append(one)
        elif is_copy(one) and one.application == application.name:
            copies.append(one)
        else:
            yield Decision(one.id, True, ("of another application or source",))
    points: set[str | None] = set()
    for source, group in by_source.items():
        group.sort(key=lambda one: one.time)
        suspended = shrunk([one.size_bytes for one in group])
        if source in failed:
            suspended = "the newest capture failed: nothing is dropped"
        kept = [
            Kept(
                one.id,
                one.time,
                frozenset(one.tags),
                proven=one.tree in proven_trees,
                pinned=memory.pin_of(one) is not None,
                recorded=order.get(one.id),
                lacking=one.is_repaired,
                unremembered=memory.lacks(one),
            )
            for one in group
        ]
        rules = _rules(application.settings.policy(source, repository))
        decisions = decide(kept, rules, now, zone=zone, suspended=suspended)
        staying = {one.id for one in decisions if one.keep}
        points |= {one.point for one in group if one.id in staying}
        yield from decisions
    yield from _decide_copies(copies, points)


def _decide_copies(copies: Sequence[Snapshot], points: set[str | None]) -> Iterator[Decision]:
    """Copies of the ledger go with the last snapshot of their recovery point."""
    reasons = lasting(copies, points)
    for one in copies:
        if one.id in reasons:
            yield Decision(one.id, True, (reasons[one.id],))
        else:
            yield Decision(one.id, False, ("newer copies of the ledger hold all that it holds",))


def _captures(application: Application, repository: str) -> tuple[dict[str, int], set[str]]:
    """The order in which snapshots were captured into a repository, and the sources whose newest
    capture failed."""
    order: dict[str, int] = {}
    failed: set[str] = set()
    for entry in application.ledger.entries("backup"):
        if entry.fields.get("application") != application.name:
            continue
        for one in entry.fields.get("snapshots", ()):
            if one.get("repository") == repository:
                order[str(one["id"])] = entry.seq
        failed -= set(map(str, entry.fields.get("wanted", ())))
        failed |= {str(one["source"]) for one in entry.fields.get("errors", ())}
    for entry in application.ledger.entries("repair"):
        # What a repair made of a snapshot was captured when that was.
        for one in entry.fields.get("snapshots", ()):
            if (former := str(one["from_id"])) in order:
                order[str(one["id"])] = order[former]
    return order, failed


def _rules(policy: Policy) -> Rules:
    return Rules(
        forever=policy.forever,
        last=policy.last,
        within=policy.within,
        hourly=policy.hourly,
        daily=policy.daily,
        weekly=policy.weekly,
        monthly=policy.monthly,
        yearly=policy.yearly,
        tags=tuple(frozenset(one.split(",")) for one in policy.tags),
    )
