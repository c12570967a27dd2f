"""`recover`: the whole application on an empty machine, from any repository that survived.

See docs/decisions/0019-recover.md. Invariants: nothing is written where something is that this
recovery has not put there; a source is restored once, under its own name only when it was
compared; the application is not started on what is not what was captured.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ConfigError, StrongroomError, TargetError
from strongroom.evidence import Entry
from strongroom.model import Finding, Stage, Verdict, finding, judge
from strongroom.recovery.reopening import CHECKED_OUT, OUTPUT, Reopened, Reopening
from strongroom.recovery.room import require_bytes_on_server
from strongroom.recovery.space import room_lacking
from strongroom.service.application import Application
from strongroom.service.bringing_back import Result, bring_all, held_readable, place_of
from strongroom.service.ledger_copy import take_up
from strongroom.service.masking import masked_prose
from strongroom.service.proof import report as record_proof
from strongroom.service.record import circumstances, noted
from strongroom.service.recovery_choice import Taken, read_drills, take_point
from strongroom.service.recovery_ground import Ground, ground_of
from strongroom.service.recovery_journal import FOLDER, Brought, Journal, held, journal_in
from strongroom.service.recovery_report import (
    RecoveryReport,
    all_by_hand,
    exceeded,
    lost_seconds,
    promise_of,
)
from strongroom.service.recovery_standing import STATES, keep_state, look_again, marked_changed
from strongroom.service.rendering import error_record, stages_json, time_json
from strongroom.service.restoration import require_reason, shown
from strongroom.service.selection import say_all, survey
from strongroom.sources import Source
from strongroom.sources.database import connection_to

__all__ = ["journal_of", "recover", "refuse_unfit"]

RECORD: Final = "recovery"


def recover(
    application: Application,
    directory: str,
    *,
    database: str | None = None,
    point: str | None = None,
    repository: str | None = None,
    reason: str = "",
    anyway: bool = False,
    roomy: bool = False,
) -> RecoveryReport:
    """Bring everything back into `directory` and `database`, start it and ask it; goes on where an
    earlier run of the same was stopped. With `anyway` it is started even when it is not what was
    captured, which makes the verdict no better. `roomy` says that there is room, whatever file
    systems tell.

    TargetError when something is there already; ConfigError `usage` when it goes on with something
    else than was begun; the first error when no repository can be listed.
    """
    begun_at = application.clock()
    require_reason(application, reason)
    ground = ground_of(application, directory, database)
    journal = journal_of(application, ground, point)
    run = _Run(application, ground, repository, reason, anyway=anyway)
    reopening = run.reopening()  # first of all: what it needs and isn't there is known at once
    if journal is None:
        prepared = run.choose(point)
        run.note(refuse_unfit(ground, prepared, roomy=roomy))
    else:
        prepared = run.choose_again(journal)
    with held(ground.directory):
        now_there = journal_of(application, ground, prepared.id)
        if now_there is None:
            now_there = Journal(
                ground.directory,
                application.name,
                prepared.id,
                prepared.captured_at,
                begun_at,
                ground.databases(),
                tuple(ground.lacking_roles()),
            )
        now_there.begin_run()
        try:
            return run.carry_out(now_there, prepared, reopening)
        except StrongroomError as error:
            run.record_failure(now_there, error)
            raise


def journal_of(application: Application, ground: Ground, point: str | None) -> Journal | None:
    """The journal of what is to go on; ConfigError or TargetError when it is another recovery."""
    journal = journal_in(ground.directory)
    if journal is None:
        return None
    subject = str(ground.directory)
    told = f"the recovery of {journal.application} to point {journal.point}"
    if journal.finished_at is not None:
        raise TargetError(
            f"{told} was completed here at {time_json(journal.finished_at)}",
            subject=subject,
            code="target-not-empty",
            hint="Recover into another directory; `strongroom prove` compares what is here.",
        )
    others = [
        name
        for name, given, before in (
            ("application", application.name, journal.application),
            ("--database", ground.databases(), journal.databases),
        )
        if given != before
    ]
    if point is not None and not journal.point.startswith(point.lower()):
        others.append("--point")
    if others:
        raise ConfigError(
            f"{told} was begun here, with another {' and '.join(others)}",
            subject=subject,
            code="usage",
            hint="Go on with the same words, or recover into another directory.",
        )
    return journal


def refuse_unfit(ground: Ground, taken: Taken, *, roomy: bool = False) -> list[Finding]:
    """TargetError when a target is not empty or has no room, before the first byte; notes where
    nobody knows of a server's room. `roomy`: nobody is asked for room."""
    needed = 0
    notes: list[Finding] = []
    for source in ground.sources:
        place_of(ground, source, "").inspect()
        size = taken.size_of(source.name)
        if source.kind != "postgres":
            needed += size or 0
        elif not roomy:
            notes += require_bytes_on_server(size, connection_to(ground.targets[source.name]))
    lacking = None if roomy else room_lacking(needed, ground.directory)
    if lacking is not None:
        raise TargetError(
            lacking,
            subject=str(ground.directory),
            hint="Free space there, or choose another directory.",
        )
    return notes


class _Run:
    """One run of a recovery."""

    def __init__(
        self,
        application: Application,
        ground: Ground,
        repository: str | None,
        reason: str,
        *,
        anyway: bool,
    ) -> None:
        self._application, self._ground = application, ground
        self._repository, self._reason, self._anyway = repository, reason, anyway
        self._settings = application.settings.recovery
        self._stages: list[Stage] = []
        self._findings: list[Finding] = []
        self._journal: Journal | None = None
        self._failed: dict[str, Brought] = {}
        self._compared = 0

    # Before anything is written

    def reopening(self) -> Reopening | None:
        """How it starts again; ConfigError or SourceError when that needs what is not there."""
        return self._ground.reopening(
            lambda served: self._journal.serve(served) if self._journal else None,
            self._reach,
        )

    def _reach(self, step: str) -> None:
        """The code was checked out, which makes it another; or commands of the operator run."""
        if self._journal is None:
            return
        if step == CHECKED_OUT:
            for one in self._ground.sources:
                if one.kind == "git":
                    keep_state(self._ground, one, self._ground.targets[one.name])
        else:
            self._journal.reach(step)

    def choose(self, wanted: str | None, *, again: bool = False) -> Taken:
        """The point and its copies. What was noticed on the way belongs to the answer; what there
        is to say about the choice does unless it was made by an earlier run."""
        application = self._application
        with self._measure("find the recovery point"):
            with contextlib.suppress(StrongroomError):  # the survey says why none opens
                self._findings += take_up(application)
            surveyed = survey(application, [self._repository] if self._repository else [])
            drills = read_drills(application)
            taken = take_point(application, surveyed, drills, wanted, self._repository)
        noticed = surveyed.about() if wanted is None else surveyed.unreachable
        told = noticed if again else (*noticed, *taken.findings)
        self._findings += told
        say_all(application, told)
        return taken

    def note(self, found: Sequence[Finding]) -> None:
        """What belongs to the answer, too."""
        self._findings += found

    def choose_again(self, journal: Journal) -> Taken:
        """The point with which it was begun; what is back already needs no repository."""
        because = "with which it was begun"
        if all(_is_back(self._ground, journal, one) for one in self._ground.sources):
            return Taken(journal.point, journal.captured_at, {}, because, ())
        return replace(self.choose(journal.point, again=True), because=because)

    # The run

    def carry_out(
        self, journal: Journal, taken: Taken, reopening: Reopening | None
    ) -> RecoveryReport:
        self._journal = journal
        with self._measure("restore"):
            failed = self._bring_all(journal, taken)
        reopened = Reopened()
        if failed:
            told = (
                f"it was not started: {', '.join(failed)} is not what was captured; "
                "--start-anyway starts it all the same"
            )
            reopened.findings.append(finding("application-unchecked", "application", told))
        elif reopening is None:
            told = "the configuration has no `recovery` that says how it starts"
            reopened.findings.append(finding("application-unchecked", "application", told))
        else:
            reopened = reopening.carry_out(journal.served, journal.made_roles, journal.reached)
            # What others have printed may hold logins that nobody here knows.
            reopened.findings[:] = [
                replace(one, message=masked_prose(one.message)) for one in reopened.findings
            ]
        return self._conclude(journal, taken, reopened)

    def _bring_all(self, journal: Journal, taken: Taken) -> list[str]:
        """Restore and prove what isn't back yet, all at the same time; the sources that FAILED.
        The first error is raised once the others are done: what they brought back stays."""
        application = self._application
        pending = [one for one in self._ground.sources if not _is_back(self._ground, journal, one)]
        for one in pending:
            if one.name in journal.brought and not _holds(self._ground, journal, one):
                journal.forget(one.name)  # somebody has removed it since
        self._look_again(journal, [one for one in self._ground.sources if one not in pending])
        results: dict[str, Result] = {}

        def took(name: str, result: Result) -> None:
            results[name] = result
            self._record(name, result)

        size_bytes = sum(taken.size_of(one.name) or 0 for one in pending)
        progress = application.progress
        with held_readable({one.name: taken.copies[one.name] for one in pending}) as held_ones:
            copies, unreadable = held_ones
            self._findings += unreadable
            progress.begin("recover", 2 * size_bytes or None)  # it is read to be compared, too
            try:
                bring_all(
                    pending, self._ground, copies, journal, progress, took, anyway=self._anyway
                )
            finally:
                progress.end()
        errors = [one.error for one in results.values() if one.error is not None]
        if errors:
            raise errors[0]
        return [n for n, one in results.items() if one.brought and not one.brought.settled]

    def _look_again(self, journal: Journal, sources: Sequence[Source]) -> None:
        """What an earlier run has proven counts as long as it is still what it was then."""
        for one in sources:
            known = journal.brought[one.name]
            with self._measure(f"look again: {one.name}"):
                at = self._ground.targets[one.name]
                compared, told = look_again(self._ground, journal, one, at)
            self._compared += compared
            if told:
                journal.keep(marked_changed(known, told))
                self._application.say(f"{one.name}: changed since it was proven")

    def _record(self, name: str, result: Result) -> None:
        """Each source's restore stands in the ledger as any other does."""
        self._findings += result.failures
        if result.copy is None or result.outcome is None:
            return
        self._compared += result.outcome.checked
        extra = {"include": [], "reason": self._reason, "recovery": True}
        target = shown(self._ground.targets[name])
        made = record_proof(
            self._application, "restore", name, result.copy, result.outcome,
            target=target, extra=extra,
        )  # fmt: skip
        self._findings += made.notes
        if result.brought is not None and not result.brought.settled:
            self._failed[name] = result.brought
        self._application.say(
            f"{name}: {made.outcome.verdict or Verdict.UNKNOWN} in {made.outcome.seconds:.1f} s"
        )

    def _conclude(self, journal: Journal, taken: Taken, reopened: Reopened) -> RecoveryReport:
        application = self._application
        now = application.clock()
        promise = promise_of(application)
        rto = None
        if reopened.answered_seconds is not None:
            since = timedelta(seconds=time.monotonic() - reopened.answered_seconds)
            rto = max(0.0, (now - since - journal.begun_at).total_seconds())
        rpo = lost_seconds(journal.captured_at, journal.begun_at)
        there = journal.brought | self._failed
        brought = tuple(there[one.name] for one in self._ground.sources if one.name in there)
        findings = [
            *self._findings,
            *(one for source in brought for one in source.findings),
            *reopened.findings,
            *exceeded(rto, rpo, promise),
        ]
        # What an earlier run has compared stands with its source, and in that run's record.
        checked = reopened.checked + self._compared
        verdict = judge(findings, checked=checked)
        configured = self._settings.by_hand if self._settings else ()
        report = RecoveryReport(
            verdict,
            journal.point,
            journal.captured_at,
            taken.because,
            str(self._ground.directory),
            journal.runs,
            brought,
            (*self._stages, *reopened.stages),
            checked,
            rto,
            rpo,
            promise,
            tuple(findings),
            all_by_hand(brought, configured),
            self._settings.url if self._settings else None,
            None,
        )
        recorded = application.record(RECORD, self._fields(report))
        if verdict is Verdict.PROVEN:
            journal.finish(now)  # after the record: killed between them, the next run makes both
            _tidy(self._ground.directory / FOLDER)
        if isinstance(recorded, Entry):
            return replace(report, evidence=recorded)
        return replace(report, findings=(*report.findings, recorded))

    # What the ledger keeps

    def _fields(self, report: RecoveryReport) -> dict[str, Any]:  # Any: JSON values
        return {
            **self._who(report.point, report.runs),
            "verdict": report.verdict.value,
            "snapshots": [
                {"source": one.source, "repository": one.repository, "snapshot": one.snapshot}
                for one in report.sources
            ],
            "checked": report.checked,
            "rto_seconds": report.rto_seconds,
            "rpo_seconds": report.rpo_seconds,
            "objectives": report.promise.as_json(),
            **noted(report.findings),
            "stages": stages_json(report.stages),
            **circumstances(self._application, {}),
        }

    def record_failure(self, journal: Journal, error: StrongroomError) -> None:
        """What stopped it, so that nothing turns into no record."""
        fields = {
            **self._who(journal.point, journal.runs),
            "error": error_record(error),
            "stages": stages_json(self._stages),
            **circumstances(self._application, {}),
        }
        self._application.record(f"{RECORD}-failed", fields)

    def _who(self, point: str, runs: int) -> dict[str, Any]:  # Any: JSON values
        return {
            "point": point,
            "target": str(self._ground.directory),
            "databases": self._ground.databases(),
            "reason": self._reason,
            "anyway": self._anyway,
            "runs": runs,
        }

    @contextlib.contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._stages.append(Stage(name, time.monotonic() - begun))


def _tidy(own: Path) -> None:
    """Once all is proven nobody needs what commands have printed, which may hold secrets, nor what
    sources looked like."""
    with contextlib.suppress(OSError):
        (own / OUTPUT).unlink(missing_ok=True)
        for one in (own / STATES).iterdir():
            one.unlink()
        (own / STATES).rmdir()


def _is_back(ground: Ground, journal: Journal, source: Source) -> bool:
    """Whether an earlier run has brought it back, and nobody has removed it since."""
    known = journal.brought.get(source.name)
    return known is not None and known.settled and _holds(ground, journal, source)


def _holds(ground: Ground, journal: Journal, source: Source) -> bool:
    return place_of(ground, source, journal.key).holds()
