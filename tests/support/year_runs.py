"""What runs come to in a simulated world: what they change there, what they write into the ledger,
how they end. As the real commands do; where those decide by pure code, by the very same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from strongroom.errors import ERROR_KINDS, Retry
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity, Verdict, finding
from strongroom.plan.consent import doubt
from strongroom.plan.rereading import choose_packs, parse_amount
from strongroom.plan.retention import unusually_small
from strongroom.plan.rotation import Drillable, Drilled, next_drill
from strongroom.report.check import Checklist
from strongroom.repository import Snapshot
from strongroom.service.gathering import EXITS
from strongroom.service.order import Outcome
from strongroom.service.point import new_point_id
from strongroom.service.precedent import policies_json, precedent
from strongroom.service.pruning import CONSENT_SHARE, decide_all, outcome_json
from strongroom.service.runner import job_fields
from strongroom.service.verification import lines_of, verdict_of
from tests.support import year_records
from tests.support.year_records import Fields
from tests.support.year_truth import Stored, Truth
from tests.support.year_world import PATIENCE, Content, Run, Store, World

_UNIQUE_BYTES = 100 << 20


@dataclass(frozen=True)
class Ended:
    """How an attempt ended. `error` is what the whole command raised."""

    status: int
    error: Mapping[str, str] | None = None
    verdict: str | None = None

    @property
    def may_succeed_later(self) -> bool:
        return self.error is not None and ERROR_KINDS[self.error["code"]].retry is Retry.LATER


def failed(code: str, message: str) -> Ended:
    kind = ERROR_KINDS[code]
    error = {"code": code, "message": message, "hint": kind.hint}
    return Ended(kind.exit_status, error)


class Runs:
    """Carries runs out; what was recorded is told to `truth`."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def carry_out(self, world: World, run: Run) -> bool:
        """One attempt; whether it was the last one. Then the run is written down."""
        order = run.placed.order
        begun_at = run.begun_at
        assert begun_at is not None
        run.attempt += 1
        self._begun_at, self._now = begun_at, world.clock()
        if world.kills and order.action in ("capture", "check", "drill"):
            world.kills -= 1
            ended = failed("bug", "the run ended by signal 9: it ended without an answer")
            ended = Ended(-9, ended.error)
        else:
            ended = self._action(order.action)(world, run)
            if order.action != "capture":  # which is made of steps
                self._configuration(world)
                self._command(world, run, ended)
        if ended.may_succeed_later and run.attempt <= len(PATIENCE):
            return False
        outcome = Outcome(ended.status, {"error": ended.error, "verdict": ended.verdict})
        fields = job_fields(order, run.placed.workflow, begun_at, self._now, outcome)
        if self._record(world, "job", fields):
            self._truth.ran(run, ended.status, self._now)
        return True

    def _action(self, action: str) -> Callable[[World, Run], Ended]:
        known = {
            "capture": self._capture,
            "copy": self._copy,
            "check": self._check,
            "prune": self._prune,
            "drill": self._drill,
        }
        return known.get(action, self._verify)

    @staticmethod
    def _record(world: World, kind: str, fields: Fields) -> bool:
        return isinstance(world.application.record(kind, fields), Entry)

    def _took(self) -> timedelta:
        return max(self._now - self._begun_at, timedelta())

    def _configuration(self, world: World) -> None:
        """Other settings than before are written down by the first command that sees them."""
        digest = sha256(repr(world.declared).encode()).hexdigest()
        if digest != world.config_digest:
            fields = year_records.configuration("/x.yaml", world.config_digest or None, digest)
            if self._record(world, "configuration", fields):
                self._truth.configured(self._now, is_first=not world.config_digest)
                world.config_digest = digest

    def _command(self, world: World, run: Run, ended: Ended) -> None:
        fields = year_records.command(
            run.placed.order.arguments,
            begun_at=self._begun_at,
            took=self._took(),
            exit_status=ended.status,
            error=ended.error,
        )
        self._record(world, "command", fields)

    # Captures

    def _capture(self, world: World, run: Run) -> Ended:
        order = run.placed.order
        opened = [one for one in world.stores.values() if not one.away]
        if not opened:
            return failed("store-unreachable", "local: it did not answer")
        findings = [
            *self._not_reached(world),
            *(year_records.finding_fields(one) for one in _vanished(opened[0])),
        ]
        point = new_point_id(self._begun_at)
        stored: list[tuple[str, Snapshot]] = []
        errors: list[Fields] = []
        for name in order.sources:
            content = world.contents[name]
            takers = [one for one in opened if not one.full]
            code = content.error or ("" if takers else "store-full")
            if code:
                errors.append({"source": name, **(failed(code, f"{name}: no").error or {})})
                continue
            findings += self._shrunk(opened[0], content)
            stored += [(one.name, self._snapshot(world, one, content, point)) for one in takers]
        findings += self._full(opened)
        self._store(world, point, order.sources, stored, findings, errors)
        for store in opened:
            self._catch_up(world, store, opened)
        if errors and not stored:
            return failed(errors[0]["code"], errors[0]["message"])
        lacking = len({name for name, _ in stored}) < len(world.stores)
        grave = any(one["severity"] in ("failure", "unknown") for one in findings)
        shrunk = any(one["code"] == "source-shrunk" for one in findings)
        return Ended(3 if errors or lacking or grave or shrunk else 0)

    @staticmethod
    def _not_reached(world: World) -> list[Fields]:
        told = "it did not answer"
        return [
            year_records.finding_fields(finding(code, one.name, told))
            for one in world.stores.values()
            if one.away
            for code in ("repository-failed", "repository-behind")
        ]

    @staticmethod
    def _full(opened: Sequence[Store]) -> list[Fields]:
        told = "no space is left"
        return [
            year_records.finding_fields(finding(code, one.name, told))
            for one in opened
            if one.full
            for code in ("repository-failed", "repository-behind")
        ]

    @staticmethod
    def _shrunk(first: Store, content: Content) -> list[Fields]:
        before = sorted(
            (one for one in first.snapshots.values() if one.source == content.name),
            key=lambda one: one.time,
        )
        usual = unusually_small([*(one.size_bytes for one in before), content.bytes])
        if usual is None:
            return []
        told = f"this capture has {content.bytes} bytes, usual are {usual}"
        found = finding("source-shrunk", content.name, told)
        return [year_records.finding_fields(found, content.name)]

    def _snapshot(self, world: World, store: Store, content: Content, point: str) -> Snapshot:
        made = Snapshot(
            world.serial(),
            self._begun_at,
            f"{content.version:08x}".rjust(64, "d" if content.kind == "postgres" else "f"),
            (f"/{content.name}",),
            (
                "strongroom",
                f"source:{content.name}",
                f"kind:{content.kind}",
                "application:tms",
                f"point:{point}",
            ),
            summary={"total_bytes_processed": content.bytes},
        )
        store.add(made, _UNIQUE_BYTES)
        return made

    def _store(
        self,
        world: World,
        point: str,
        wanted: Sequence[str],
        stored: Sequence[tuple[str, Snapshot]],
        findings: Sequence[Fields],
        errors: Sequence[Fields],
    ) -> None:
        fields = year_records.backup(
            point,
            wanted,
            stored,
            begun_at=self._begun_at,
            ended_at=self._now,
            findings=findings,
            errors=errors,
            spaces=_spaces([one for one in world.stores.values() if not one.away]),
            added_bytes=_UNIQUE_BYTES,
        )
        fields["policies"] = policies_json(world.settings, wanted)
        if not self._record(world, "backup", fields):
            return
        for name in wanted:
            places = {repository for repository, one in stored if one.source == name}
            size = world.contents[name].bytes
            begun_at = min(self._begun_at, self._now)
            trees = [one.tree for _, one in stored if one.source == name]
            made = Stored(point, begun_at, self._now, size, trees[0], places) if trees else None
            self._truth.captured(name, made)
        self._truth.told_spaces(world, [one for one in world.stores.values() if not one.away])

    # Copies

    def _copy(self, world: World, _: Run) -> Ended:
        opened = [one for one in world.stores.values() if not one.away]
        if not opened:
            return failed("store-unreachable", "local: it did not answer")
        done = [self._catch_up(world, taker, opened) for taker in opened]
        return Ended(0 if all(done) and len(opened) == len(world.stores) else 3)

    def _catch_up(self, world: World, taker: Store, opened: Sequence[Store]) -> bool:
        """Whether nothing is missing there any more that others have."""
        missed = world.backlog(taker.name)
        if not missed:
            return True
        if taker.full:
            return False
        whole = True
        for giver in opened:
            found = [giver.snapshots.get(ids.get(giver.name, "")) for ids in missed]
            here = [one for one in found if one is not None]
            chosen = [one for one in here if one.id not in giver.damaged]
            whole = whole and len(chosen) == len(here)
            copied = [(one, self._brought(world, taker, one)) for one in chosen]
            if copied:
                fields = year_records.copy(
                    giver.name,
                    taker.name,
                    copied,
                    took=timedelta(minutes=2),
                    added_bytes=_UNIQUE_BYTES * len(copied),
                )
                if self._record(world, "copy", fields):
                    self._truth.copied(taker.name, [one for one, _ in copied])
            missed = [ids for ids in missed if giver.name not in ids]
        return whole and not missed

    @staticmethod
    def _brought(world: World, taker: Store, one: Snapshot) -> str:
        made = Snapshot(
            world.serial(), one.time, one.tree, one.paths, one.tags,
            original=one.id, summary=one.summary,
        )  # fmt: skip
        taker.add(made, _UNIQUE_BYTES)
        return made.id

    # Checks

    def _check(self, world: World, run: Run) -> Ended:
        order = run.placed.order
        store = world.stores[str(order.repository)]
        if store.away:
            return failed("store-unreachable", f"{store.name}: it did not answer")
        amount = parse_amount(order.arguments[-1].partition("=")[2])
        chosen = choose_packs(store.packs, store.read_at, amount, self._now).packs
        broken = [one for one in chosen if one in store.damaged]
        store.read_at |= dict.fromkeys(chosen, self._now)
        findings = [
            *(finding("pack-content", f"{store.name}: data/{one}", "changed") for one in broken),
            *_vanished(store),
        ]
        times = [store.read_at.get(one) for one in store.packs]
        known = [one for one in times if one is not None]
        fields = year_records.check(
            store.name,
            findings,
            packs=len(store.packs),
            read=len(chosen),
            never_read_bytes=sum(
                size for one, size in store.packs.items() if one not in store.read_at
            ),
            oldest_read_at=min(known) if known and len(known) == len(times) else None,
            took=self._took(),
        )
        if self._record(world, "check", fields):
            self._truth.checked(store, self._now, read=set(chosen), broken=set(broken))
        return Ended(30 if findings else 0)

    # Retention

    def _prune(self, world: World, _: Run) -> Ended:
        errors: list[Ended] = []
        done = 0
        for store in world.stores.values():
            ended = self._prune_one(world, store)
            errors += [ended] if ended.status else []
            if ended.status == 2:  # nobody said that it is meant, which ends the command
                return ended
            done += not ended.status
        if errors and not done:
            return errors[0]
        return Ended(errors[0].status if errors else 0)

    def _prune_one(self, world: World, store: Store) -> Ended:
        if store.away:
            return failed("store-unreachable", f"{store.name}: it did not answer")
        snapshots = sorted(store.snapshots.values(), key=lambda one: one.time)
        decisions = tuple(decide_all(world.application, store.name, snapshots, self._now))
        gone = {one.id: one.because for one in decisions if not one.keep}
        self._truth.expect_no_loss(store, gone)
        known = precedent(world.settings, world.application.ledger.entries(), store.name)
        if doubt(decisions, known, share=CONSENT_SHARE):
            return failed("usage", f"{store.name}: {len(gone)} snapshots would be dropped")
        if store.refuses and gone:
            return failed("store-refused", f"{store.name}: it lets nothing be removed")
        if gone and not self._record(world, "prune", year_records.prune(store.name, gone)):
            return failed("store-failed", "what would be dropped cannot be written down")
        for one in gone:
            store.remove(one)
        policy = world.settings.policy_digest(store.name)
        kept = len(decisions) - len(gone)
        fields = year_records.pruned(store.name, list(gone), kept=kept, policy=policy)
        fields |= outcome_json(decisions)
        if self._record(world, "pruned", fields):
            self._truth.pruned(store.name, self._now, world.declared["retention"])
        return Ended(0)

    # Drills

    def _drill(self, world: World, _: Run) -> Ended:
        opened = [one for one in world.stores.values() if not one.away]
        names = list(world.contents)
        error = world.drill_error or ("" if opened else "store-unreachable")
        points = _points(opened, names)
        if not error and not points:
            error = "snapshot-missing"
        if error:
            return self._not_begun(world, names, failed(error, f"drill: {error}"))
        turn = next_drill(
            [one for one, _ in points.values()],
            list(_drilled(world)),
            self._now,
            sources=names,
            proof_age=world.settings.objectives.proof_age,
        )
        assert turn is not None
        store = world.stores[turn.repository]
        newest = max(
            one.captured_at for one, _ in points.values() if store.name in one.repositories
        )
        point, snapshots = points[turn.point]
        is_newest = all(one.captured_at <= point.captured_at for one, _ in points.values())
        verdicts = [
            self._drill_one(
                world,
                store,
                snapshots[store.name, name],
                self._noticed(world, opened, name if is_newest else None),
                older=point.captured_at < newest,
            )
            for name in names
        ]
        worst = Verdict.FAILED if Verdict.FAILED in verdicts else Verdict.PROVEN
        return Ended(EXITS[worst], None, worst.value)

    def _not_begun(self, world: World, names: Sequence[str], ended: Ended) -> Ended:
        for name in names:
            told = finding("drill-stopped", name, str(ended.error))
            fields = year_records.drill(name, None, None, Verdict.UNKNOWN, [told])
            if self._record(world, "drill", fields):
                self._truth.drilled(name, None, self._now, Verdict.UNKNOWN, None)
        return ended

    @staticmethod
    def _noticed(world: World, opened: Sequence[Store], source: str | None) -> list[Finding]:
        """What belongs to the answer: stores that are away, and newer snapshots that are gone."""
        away = [
            finding("repository-unreachable", one.name, "it did not answer")
            for one in world.stores.values()
            if one.away
        ]
        gone = [one for store in opened for one in _vanished(store, source) if source is not None]
        return [*away, *gone]

    def _drill_one(
        self, world: World, store: Store, one: Snapshot, noticed: list[Finding], *, older: bool
    ) -> Verdict:
        findings = list(noticed)
        if one.id in store.damaged:
            findings.append(finding("tree-unreadable", f"{store.name}: {one.id}", "damaged"))
        if world.drill_finding and one.source == "database":
            findings.append(finding(world.drill_finding, "public.invoices", "a row is missing"))
        is_bad = any(each.severity is Severity.FAILURE for each in findings)
        verdict = Verdict.FAILED if is_bad else Verdict.PROVEN
        fields = year_records.drill(
            str(one.source),
            store.name,
            one,
            verdict,
            findings,
            checked=100,
            took=timedelta(minutes=world.random.uniform(8, 12)),
            older=older,
        )
        if self._record(world, "drill", fields):
            self._truth.drilled(str(one.source), store.name, self._now, verdict, one)
        return verdict

    # Checklists

    def _verify(self, world: World, run: Run) -> Ended:
        checklist = Checklist(run.placed.order.action.removeprefix("verify-"))
        reached = {
            one.name: "it did not answer" if one.away else "" for one in world.stores.values()
        }
        opened = [one for one in world.stores.values() if not one.away]
        report = self._truth.last_report
        assert report is not None, "each run was ordered by a tick"
        lines = lines_of(report, checklist)
        verdict = verdict_of(lines)
        fields = year_records.verify(
            checklist.value,
            verdict,
            [{"name": one.kind.name, "verdict": None, "observed": "", "evidence": []}
             for one in lines],
            begun_at=self._begun_at,
            took=self._took(),
            spaces=_spaces(opened),
            reached=reached,
        )  # fmt: skip
        if self._record(world, "verify", fields):
            self._truth.told_spaces(world, opened)
            self._truth.asked(reached)
        return Ended(EXITS[verdict], None, verdict.value)


def _vanished(store: Store, source: str | None = None) -> list[Finding]:
    return [
        finding("snapshot-vanished", f"{store.name}: snapshots/{one}", f"one of {name} is gone")
        for one, name in store.lost.items()
        if source in (None, name)
    ]


def _spaces(stores: Sequence[Store]) -> list[Fields]:
    return [year_records.space(one.name, one.total_bytes, one.free_bytes) for one in stores]


def _points(
    opened: Sequence[Store], names: Sequence[str]
) -> dict[str, tuple[Drillable, dict[tuple[str, str], Snapshot]]]:
    """Whole recovery points, and their snapshots by repository and source."""
    found: dict[str, dict[tuple[str, str], Snapshot]] = {}
    for store in opened:
        for one in store.snapshots.values():
            found.setdefault(str(one.point), {})[store.name, str(one.source)] = one
    made: dict[str, tuple[Drillable, dict[tuple[str, str], Snapshot]]] = {}
    for point, snapshots in found.items():
        holders = [
            one.name for one in opened if all((one.name, name) in snapshots for name in names)
        ]
        if holders:
            at = max(one.time for one in snapshots.values())
            made[point] = Drillable(point, at, tuple(holders)), snapshots
    return made


def _drilled(world: World) -> Any:  # Any: an iterator of what the ledger tells of drills
    for entry in world.ledger.entries("drill"):
        fields = entry.fields
        if fields["repository"]:
            yield Drilled(
                fields["source"],
                fields["repository"],
                entry.at,
                fields["point"],
                older=bool(fields.get("older")),
            )
