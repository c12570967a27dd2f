"""Prune: retention with a reason for each snapshot, then freeing space, repository by repository.

What is about to go is written down before it goes: a snapshot that vanishes without such a line
is a failure. Snapshots of other applications, and of tools that name none, always stay.

What is pinned and proven stands in the ledger alone. So nothing goes when that is missing, damaged
or unreadable; and what is older than the ledger stays, until somebody unpins it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from strongroom.config.settings import Policy
from strongroom.errors import EXIT_FINE, BusyError, ConfigError, IntegrityError, StorageError
from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict
from strongroom.plan.retention import Decision, Kept, Rules, decide, needs_consent, shrunk
from strongroom.repository import Repository, Snapshot
from strongroom.repository.prune import PruneOptions, PrunePlan, PruneReport, execute, plan_prune
from strongroom.service.application import Application
from strongroom.service.ledger_copy import is_copy, lasting, store_copies, take_up
from strongroom.service.listing import proofs
from strongroom.service.pinning import remembered
from strongroom.service.selection import say_all

# Dropping more than this share at once is more often a mistake than meant.
_CONSENT_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is decided about one repository, what it comes to, and what was done (if anything)."""

    repository: str
    decisions: tuple[Decision, ...]
    plan: PrunePlan
    done: PruneReport | None = None
    notes: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        plan, done = self.plan, self.done
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
            "freed_bytes": done.freed_bytes - plan.rewritten_bytes if done else plan.freed_bytes,
            "spared": done.spared if done else [],
            "locked": done.locked if done else [],
            "done": done is not None,
            "findings": [one.as_json() for one in self.notes],
        }


@dataclass(frozen=True, slots=True)
class PruneResult:
    """All repositories that were asked."""

    repositories: tuple[Pruned, ...]

    @property
    def exit_status(self) -> int:
        return EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        each = [one.as_json() for one in self.repositories]
        return {
            "keep": [kept for one in each for kept in one["keep"]],
            "drop": [dropped for one in each for dropped in one["drop"]],
            "freed_bytes": sum(one["freed_bytes"] for one in each),
            "repositories": each,
        }


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

    ConfigError `usage` when more than half of all would go and nobody has consented; BusyError
    when others use a repository, or something is to stay by now that was to go: then nothing was
    removed from it. IntegrityError `ledger-damaged` when nobody knows what is pinned and proven.
    """
    moment = now or datetime.now(UTC)
    say_all(application, take_up(application))
    results = []
    for name in names or list(application.settings.repositories):
        repository = application.repository(name)
        results.append(
            _prune_one(application, repository, dry_run, consent, options or PruneOptions(), moment)
        )
    return PruneResult(tuple(results))


def _prune_one(
    application: Application,
    repository: Repository,
    dry_run: bool,
    consent: bool,
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
        if repository.index_findings:
            raise StorageError(
                f"{len(repository.index_findings)} index files are unreadable: nothing is pruned",
                subject=repository.name,
                hint="Run `strongroom check`, then `strongroom repair`.",
            )
        decisions = _decide(application, repository.name, listed.snapshots, now)
        drop = [one.id for one in decisions if not one.keep]
        plan = plan_prune(
            repository, listed.snapshots, drop, options=options, now=_store_now(repository)
        )
    if dry_run:
        return Pruned(repository.name, decisions, plan)
    copies = {one.id for one in listed.snapshots if is_copy(one)}
    captures = [one for one in decisions if one.id not in copies]
    if not consent and needs_consent(captures, share=_CONSENT_SHARE):
        dropped = sum(not one.keep for one in captures)
        raise ConfigError(
            f"{dropped} of {len(captures)} snapshots would be dropped",
            subject=repository.name,
            code="usage",
            hint="Look at `strongroom prune --dry-run`, then say --yes when this is meant.",
        )
    if plan.is_empty:
        return Pruned(repository.name, decisions, plan, PruneReport())
    return _carry_out(application, repository, decisions, plan, options, now)


def _carry_out(
    application: Application,
    repository: Repository,
    decisions: tuple[Decision, ...],
    plan: PrunePlan,
    options: PruneOptions,
    now: datetime,
) -> Pruned:
    because = {one.id: list(one.because) for one in decisions if not one.keep}
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
    report = PruneReport()
    application.progress.begin(f"prune {repository.name}", plan.rewritten_bytes or None)

    def last_look(there: Sequence[Snapshot]) -> None:
        _refuse_other_decisions(application, repository, plan, there, now)

    try:
        execute(
            repository,
            plan,
            report=report,
            options=options,
            progress=application.progress,
            last_look=last_look,
        )
    finally:
        application.progress.end()
        recorded = application.record(
            "pruned",
            {
                "repository": repository.name,
                "dropped": report.dropped,
                "packs_deleted": len(report.deleted),
                "freed_bytes": report.freed_bytes - plan.rewritten_bytes,
                "locked": report.locked,
            },
        )
    if isinstance(recorded, Finding):
        notes.append(recorded)
    return Pruned(repository.name, decisions, plan, report, tuple(notes))


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


def _store_now(repository: Repository) -> datetime:
    """The store's own clock, as our lock's file shows it; ours where the store doesn't tell."""
    times = [one.modified_at for one in repository.storage.list("locks") if one.modified_at]
    return max(times, default=datetime.now(UTC))


def _decide(
    application: Application, repository: str, snapshots: Sequence[Snapshot], now: datetime
) -> tuple[Decision, ...]:
    """A decision for each snapshot, source by source, by a ledger that can be relied on."""
    _trust_ledger(application, snapshots)
    return tuple(_decide_all(application, repository, snapshots, now))


def _trust_ledger(application: Application, snapshots: Sequence[Snapshot]) -> None:
    ledger, what = application.ledger, ""
    if faults := ledger.verify():
        what = f"line {faults[0].line}: {faults[0].message}"
    elif any(_is_mine(application, one) for one in snapshots) and not any(ledger.entries()):
        what = "it is missing, though there are snapshots"
    if what:
        raise IntegrityError(
            f"{what}; nobody knows what is pinned and proven, so nothing is pruned",
            subject=str(ledger.path),
            code="ledger-damaged",
        )


def _is_mine(application: Application, one: Snapshot) -> bool:
    return one.application == application.name and one.source in application.settings.sources


def _decide_all(
    application: Application, repository: str, snapshots: Sequence[Snapshot], now: datetime
) -> Iterator[Decision]:
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
