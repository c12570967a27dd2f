"""What the evidence amounts to: one `Report`, made from records, objectives and the time.

Sources are weighed in `weighing`, objectives in `objective`, all else that is to be in order in
`checking`; here they become one verdict, with its reason, and the list of what is not proven.
Invariant: never better than any of them (I5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.capture_check import captures_of
from strongroom.report.check import WORST_LAST, Check, Exempt, worst
from strongroom.report.checking import checks, exempt
from strongroom.report.objective import Objective, State, objectives
from strongroom.report.observation import (
    WHOLE,
    Chain,
    Evidence,
    Noticed,
    Observation,
    Promise,
)
from strongroom.report.weighing import (
    Judged,
    SourceLine,
    is_wanted,
    newest_of_each_repository,
    proofs_of,
    source_line,
    weigh,
    whole_line,
)
from strongroom.report.wording import age, count

__all__ = [
    "WORST_LAST",
    "Gap",
    "Judged",
    "Objective",
    "Report",
    "SourceLine",
    "State",
    "judge_evidence",
]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is not proven, and why."""

    subject: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was proven, and what was not. `whole` is about drills that started the application, None
    when there was none. `proofs` has the newest of each source and repository;
    `findings` theirs, each with its source, the worst first. `checks` say how all else stands now,
    `exempt` which of them are not made; a report on one drill has none."""

    application: str
    environment: str
    time_zone: str
    made_at: datetime
    since: datetime | None
    drill: int | None
    verdict: Verdict
    because: str
    sources: tuple[SourceLine, ...]
    whole: SourceLine | None
    proofs: tuple[Judged, ...]
    gaps: tuple[Gap, ...]
    findings: tuple[tuple[str, Noticed], ...]
    findings_left_out: int
    objectives: tuple[Objective, ...]
    chain: Chain
    versions: tuple[tuple[str, str], ...]
    config_digests: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    exempt: tuple[Exempt, ...] = ()

    def check(self, name: str, subject: str = "") -> Check | None:
        """The check of this name about this subject, if it is made."""
        return next(
            (one for one in self.checks if (one.name, one.subject) == (name, subject)), None
        )

    def valid_until(self, at_most: timedelta) -> datetime:
        """Until when it holds if nothing more is recorded: no check gets worse before by itself.
        `at_most` so long after it was made."""
        ends = [one.until for one in self.checks if one.until is not None]
        return min([self.made_at + at_most, *(one for one in ends if one > self.made_at)])


def judge_evidence(evidence: Evidence, promise: Promise, now: datetime) -> Report:
    """The report on this evidence as it stands at `now`."""
    scope = evidence.scope
    lines = tuple(source_line(evidence, one, promise, now) for one in scope.sources)
    whole = whole_line(evidence, promise, now)
    names = [*(one.name for one in scope.sources), *([WHOLE] if whole is not None else [])]
    proofs = tuple(
        judged
        for name in names
        for judged in newest_of_each_repository(evidence, name, promise, now)
    )
    promised = tuple(objectives(lines, whole, evidence, promise, now))
    # How things stand is not a question to a drill of the past.
    of_now = evidence.drill is None
    made = checks(evidence, promise, now) if of_now else ()
    verdict, because = _overall(lines, whole, promised, made, evidence.chain)
    noticed = sorted(
        ((one.observation.source, found) for one in proofs for found in one.observation.findings),
        key=lambda one: _SEVERITIES.index(one[1].severity),
    )
    used = [one.observation for one in proofs]
    return Report(
        scope.application,
        scope.environment,
        scope.time_zone,
        now,
        evidence.since,
        evidence.drill,
        verdict,
        because,
        lines,
        whole,
        proofs,
        tuple(_gaps(lines, whole, evidence, promise, now)),
        tuple(noticed),
        sum(sum(one.left_out.values()) for one in used),
        promised,
        evidence.chain,
        tuple(_versions(used)),
        tuple(dict.fromkeys(one.config_digest for one in used if one.config_digest)),
        made,
        exempt(evidence) if of_now else (),
    )


_SEVERITIES: Final = (Severity.FAILURE, Severity.UNKNOWN, Severity.WARNING, Severity.NOTE)


# Which objective tells of a check already.
_TOLD_BY: Final = {"capture": "RPO", "copies": "Copies", "proof": "Proof age", "rto": "RTO"}
_STATES: Final = {
    State.MET: Verdict.PROVEN,
    State.MISSED: Verdict.STALE,
    State.NOT_MEASURED: Verdict.UNKNOWN,
}
_FEW: Final = 3


def _overall(
    lines: Sequence[SourceLine],
    whole: SourceLine | None,
    promised: Sequence[Objective],
    made: Sequence[Check],
    chain: Chain,
) -> tuple[Verdict, str]:
    """The worst of all, and of whom it comes: of sources first, which matter most."""
    if not lines:
        return Verdict.UNKNOWN, "No source is configured."
    judged = [*lines, *([whole] if whole is not None else [])]
    of_sources = worst(one.verdict for one in judged)
    verdict = worst(
        [of_sources, *(_STATES[one.state] for one in promised), *(one.of_whole for one in made)]
    )
    if verdict is Verdict.PROVEN:
        every = "The one source" if len(lines) == 1 else f"All {len(lines)} sources"
        were = "was" if len(lines) == 1 else "were"
        return verdict, f"{every} {were} restored and found identical to what was captured."
    if of_sources is verdict:
        told = [f"{one.name}: {one.because}" for one in judged if one.verdict is verdict]
        more = f"; and {len(told) - _FEW} more" if len(told) > _FEW else ""
        broken = "" if chain.holds else f" No record counts: {chain.faults[0]}."
        return verdict, f"{'; '.join(told[:_FEW])}{more}.{broken}"
    told = list(_besides_sources(verdict, promised, made))
    if of_sources is Verdict.PROVEN:
        told.insert(0, "All sources are proven")
    else:
        told += [f"{one.name}: {one.because}" for one in judged if one.verdict is of_sources][:_FEW]
    return verdict, f"{'; '.join(told)}."


def _besides_sources(
    verdict: Verdict, promised: Sequence[Objective], made: Sequence[Check]
) -> Iterator[str]:
    """What made the whole so, where no source did."""
    open_ones = [one.name for one in promised if one.state is not State.MET]
    if any(_STATES[one.state] is verdict for one in promised):
        not_measured = verdict is Verdict.UNKNOWN
        what = "not all is measured" if not_measured else "objectives are missed"
        yield f"{what}: {', '.join(open_ones)}"
    bad = [
        one
        for one in made
        if one.of_whole is verdict
        and not (_TOLD_BY.get(one.name) in open_ones and verdict is not Verdict.FAILED)
    ]
    if verdict is Verdict.FAILED:
        yield from (f"{_named(one)}: {one.observed}" for one in bad[:_FEW])
        if len(bad) > _FEW:
            yield f"and {len(bad) - _FEW} more"
    elif bad:
        yield f"not as it is to be: {', '.join(map(_named, bad))}"


def _named(one: Check) -> str:
    return f"{one.kind.title} ({one.subject})" if one.subject else one.kind.title


# What is not proven


def _gaps(
    lines: Sequence[SourceLine],
    whole: SourceLine | None,
    evidence: Evidence,
    promise: Promise,
    now: datetime,
) -> Iterator[Gap]:
    for fault in evidence.chain.faults:
        yield Gap("ledger", fault)
    for name in evidence.chain.uncompared:
        yield Gap("ledger", f"it was not compared with the copy in {name}")
    for line, source in zip(lines, evidence.scope.sources, strict=True):
        if line.verdict in (Verdict.UNKNOWN, Verdict.FAILED):
            yield Gap(line.name, line.because)
        for pattern in source.left_out:
            yield Gap(line.name, f"left out of the capture on purpose: {pattern}")
        yield from _unproven_captures(line, evidence)
        for repository in evidence.scope.repositories:
            yield from _unproven_copy(line, repository, evidence, promise, now)
    if whole is None:
        told = "the application as a whole was not started: each source was proven by itself"
        yield Gap("application", told)
    elif whole.verdict is not Verdict.PROVEN:
        yield Gap(whole.name, whole.because)


def _unproven_captures(line: SourceLine, evidence: Evidence) -> Iterator[Gap]:
    proof = line.proof.observation if line.proof is not None else None
    if proof is None or proof.captured_at is None:
        return
    since = proof.captured_at
    newer = {
        one.seq
        for one in captures_of(evidence, line.name)
        if one.begun_at > since and one.tree != proof.tree
    }
    if newer:
        told = count(len(newer), "capture")
        yield Gap(line.name, f"{told} after the one that was brought back")


def _unproven_copy(
    line: SourceLine, repository: str, evidence: Evidence, promise: Promise, now: datetime
) -> Iterator[Gap]:
    """A repository from which the source is not proven within the promised age."""
    own = [one for one in proofs_of(evidence, line.name) if one.repository == repository]
    weighed = [(one, weigh(one, promise, evidence.chain, now)[0]) for one in own]
    if any(verdict is Verdict.PROVEN and is_wanted(evidence, one) for one, verdict in weighed):
        return
    proven = [one for one, verdict in weighed if verdict in (Verdict.PROVEN, Verdict.STALE)]
    last = f"last proven {age(now - proven[-1].at)} ago" if proven else "never proven"
    within = f"within {age(promise.proof_age)}"
    if evidence.since is not None or evidence.drill is not None:
        within = "in what this report covers"
    yield Gap(line.name, f"the copy in {repository} is not proven {within}: {last}")


def _versions(used: Sequence[Observation]) -> Iterator[tuple[str, str]]:
    found: dict[str, dict[str, None]] = {}
    for one in used:
        for name, version in one.versions.items():
            found.setdefault(name, {})[version] = None
    for name, versions in found.items():
        yield name, ", ".join(versions)
