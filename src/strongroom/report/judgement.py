"""What the evidence amounts to: one `Report`, made from records, objectives and the time.

Invariant: never better than the evidence (I5). What nobody tried is UNKNOWN; what was proven longer
ago than `proof_age` is STALE; a ledger whose chain is broken proves nothing any more, while its
failures still count; and a failure of a copy counts until the same repository is proven again,
however short the period that the report is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.observation import (
    WHOLE,
    Capture,
    Chain,
    Evidence,
    Noticed,
    Observation,
    Promise,
    SourceScope,
)
from strongroom.report.wording import age, count

__all__ = ["Gap", "Judged", "Objective", "Report", "SourceLine", "State", "judge_evidence"]

WORST_LAST: Final = (Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED)
# Those that brought a snapshot back; `prove` looks at what others have, which may change.
_BROUGHT_BACK: Final = frozenset({"drill", "restore", "application-drill"})
# How far the clocks of two hosts may differ.
_TOLERANCE: Final = timedelta(minutes=1)


class State(StrEnum):
    """How an objective stands."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Judged:
    """An observation, with what it is worth now and why."""

    observation: Observation
    verdict: Verdict
    because: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A source: its verdict, the newest proof that counts, and the newest capture."""

    name: str
    kind: str
    verdict: Verdict
    because: str
    proof: Judged | None = None
    capture: Capture | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """What was promised and what was observed, in words."""

    name: str
    meaning: str
    promised: str
    observed: str
    state: State


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is not proven, and why."""

    subject: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was proven, and what was not. `whole` is about drills that started the application, None
    when there was none. `proofs` has the newest of each source and repository;
    `findings` theirs, each with its source, the worst first."""

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


def judge_evidence(evidence: Evidence, promise: Promise, now: datetime) -> Report:
    """The report on this evidence as it stands at `now`."""
    scope = evidence.scope
    lines = tuple(_source_line(evidence, one, promise, now) for one in scope.sources)
    whole = None
    if any(one.source == WHOLE and _wanted(evidence, one) for one in evidence.observations):
        whole = _source_line(evidence, SourceScope(WHOLE, "application"), promise, now)
    names = [*(one.name for one in scope.sources), *([WHOLE] if whole is not None else [])]
    proofs = tuple(
        judged
        for name in names
        for judged in _newest_of_each_repository(evidence, name, promise, now)
    )
    objectives = tuple(_objectives(lines, whole, evidence, promise, now))
    verdict, because = _overall(lines, whole, objectives, evidence.chain)
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
        objectives,
        evidence.chain,
        tuple(_versions(used)),
        tuple(dict.fromkeys(one.config_digest for one in used if one.config_digest)),
    )


_SEVERITIES: Final = (Severity.FAILURE, Severity.UNKNOWN, Severity.WARNING, Severity.NOTE)


def weigh(one: Observation, promise: Promise, chain: Chain, now: datetime) -> tuple[Verdict, str]:
    """What an observation is worth now, and why; never more than what it was recorded as."""
    severities = one.severities
    if one.verdict is Verdict.FAILED or Severity.FAILURE in severities:
        found = sum(found.severity is Severity.FAILURE for found in one.findings)
        found += one.left_out.get(Severity.FAILURE, 0)
        return Verdict.FAILED, one.error or _failures(found)
    if one.verdict is None or one.checked <= 0:
        return Verdict.UNKNOWN, one.error or "nothing was compared"
    if one.verdict is Verdict.UNKNOWN or Severity.UNKNOWN in severities:
        found = sum(found.severity is Severity.UNKNOWN for found in one.findings)
        found += one.left_out.get(Severity.UNKNOWN, 0)
        return Verdict.UNKNOWN, f"{count(found, 'thing')} could not be checked"
    if one.digests is not None and not one.digests.agree:
        return Verdict.UNKNOWN, "it is recorded as proven, with digests that differ"
    if not chain.holds:
        return Verdict.UNKNOWN, "the ledger that says so is broken"
    passed = now - one.at
    if passed < -_TOLERANCE:
        return Verdict.UNKNOWN, "it is dated later than this report"
    if passed > promise.proof_age or one.verdict is Verdict.STALE:
        return Verdict.STALE, f"proven {age(passed)} ago, longer than {age(promise.proof_age)}"
    return Verdict.PROVEN, f"found identical {age(max(passed, timedelta()))} ago"


def _failures(number: int) -> str:
    return f"{count(number, 'failure')} found" if number else "it is recorded as failed"


def _counted(evidence: Evidence, source: str) -> list[Observation]:
    """What says whether copies of a source come back from where they are now, oldest first."""
    return [
        one
        for one in evidence.observations
        if one.source == source
        and one.action in _BROUGHT_BACK
        and (one.verdict is not None or one.error)
        and not one.of_past
        and (not one.repository or one.repository in evidence.scope.repositories)
    ]


def _wanted(evidence: Evidence, one: Observation) -> bool:
    """Whether it belongs to the period, or the run, that the report is asked for."""
    if evidence.since is not None and one.at < evidence.since:
        return False
    if evidence.drill is None:
        return True
    asked = next((each for each in evidence.observations if each.seq == evidence.drill), None)
    same_run = asked is not None and bool(asked.run) and asked.run == one.run
    return one.seq == evidence.drill or same_run


def _failed_copies(
    evidence: Evidence, source: str, promise: Promise, now: datetime
) -> list[Judged]:
    """The newest observation of each repository, where it is a failure; whatever is asked for."""
    counted = _counted(evidence, source)
    newest = {one.repository: one for one in counted}
    if counted and counted[-1].repository:
        newest.pop("", None)  # a drill that could not begin; one since then could
    judged = [Judged(one, *weigh(one, promise, evidence.chain, now)) for one in newest.values()]
    return [one for one in judged if one.verdict is Verdict.FAILED]


def _source_line(
    evidence: Evidence, source: SourceScope, promise: Promise, now: datetime
) -> SourceLine:
    counted = [one for one in _counted(evidence, source.name) if _wanted(evidence, one)]
    stored = [one for one in evidence.captures if one.source == source.name and not one.is_copy]
    capture = stored[-1] if stored else None
    failed = _failed_copies(evidence, source.name, promise, now)
    if not counted and not failed:
        return SourceLine(
            source.name, source.kind, Verdict.UNKNOWN, _nothing_known(evidence), None, capture
        )
    judged = None
    verdict, because = Verdict.UNKNOWN, _nothing_known(evidence)
    if counted:
        newest = counted[-1]
        judged = Judged(newest, *weigh(newest, promise, evidence.chain, now))
        verdict, because = judged.verdict, judged.because
    if failed and verdict is not Verdict.FAILED:
        worst = failed[-1]
        where = worst.observation.repository or "no repository"
        verdict = Verdict.FAILED
        because = f"the copy in {where} failed (record {worst.observation.seq}): {worst.because}"
        judged = judged or worst
    return SourceLine(source.name, source.kind, verdict, because, judged, capture)


def _nothing_known(evidence: Evidence) -> str:
    if evidence.drill is not None:
        return "it is not part of this drill"
    if evidence.since is not None:
        return "nobody has brought it back in this period"
    return "nobody has brought it back"


def _newest_of_each_repository(
    evidence: Evidence, source: str, promise: Promise, now: datetime
) -> Iterator[Judged]:
    wanted = [one for one in _counted(evidence, source) if _wanted(evidence, one)]
    newest = {one.repository: one for one in wanted}
    if wanted and wanted[-1].repository:
        newest.pop("", None)
    newest |= {
        one.observation.repository: one.observation
        for one in _failed_copies(evidence, source, promise, now)
    }
    order = [*evidence.scope.repositories, ""]
    for one in sorted(newest.values(), key=lambda one: order.index(one.repository)):
        yield Judged(one, *weigh(one, promise, evidence.chain, now))


def _overall(
    lines: Sequence[SourceLine],
    whole: SourceLine | None,
    objectives: Sequence[Objective],
    chain: Chain,
) -> tuple[Verdict, str]:
    if not lines:
        return Verdict.UNKNOWN, "No source is configured."
    judged = [*lines, *([whole] if whole is not None else [])]
    verdict = max((one.verdict for one in judged), key=WORST_LAST.index)
    worst = [one for one in judged if one.verdict is verdict]
    if verdict is Verdict.PROVEN:
        missed = [one.name for one in objectives if one.state is not State.MET]
        if any(one.state is State.NOT_MEASURED for one in objectives):
            return Verdict.UNKNOWN, f"All sources are proven; not all is measured: {_list(missed)}."
        if missed:
            return Verdict.STALE, f"All sources are proven; objectives are missed: {_list(missed)}."
        every = "The one source" if len(lines) == 1 else f"All {len(lines)} sources"
        were = "was" if len(lines) == 1 else "were"
        return verdict, f"{every} {were} restored and found identical to what was captured."
    told = "; ".join(f"{one.name}: {one.because}" for one in worst[:3])
    more = f"; and {len(worst) - 3} more" if len(worst) > 3 else ""
    broken = "" if chain.holds else " The ledger is broken."
    return verdict, f"{told}{more}.{broken}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


# Objectives


def _objectives(
    lines: Sequence[SourceLine],
    whole: SourceLine | None,
    evidence: Evidence,
    promise: Promise,
    now: datetime,
) -> Iterator[Objective]:
    lost = [now - one.capture.begun_at if one.capture else None for one in lines]
    back = [
        now - at
        for one in lines
        if one.proof is not None and (at := one.proof.observation.captured_at) is not None
    ]
    meaning = "age of the newest capture"
    if back and len(back) == len(lines):
        meaning += f"; of the newest that was brought back {age(max(*back, timedelta()))}"
    yield _spans("RPO", meaning, promise.rpo, lost)
    took = [_took(one) for one in lines]
    known = [one for one in took if one is not None]
    in_sum = sum(known, timedelta()) if known and len(known) == len(took) else None
    meaning = "restore and proof of all sources, in sum"
    if whole is not None:
        meaning, in_sum = "drill of the whole application", _took(whole)
    yield _spans("RTO", meaning, promise.rto, [in_sum])
    proven = [
        now - one.proof.observation.at if one.proof is not None and _is_proven(one) else None
        for one in lines
    ]
    yield _spans("Proof age", "age of the newest proof", promise.proof_age, proven)
    copies = [_copies(evidence, one.capture) for one in lines]
    fewest = min(copies, default=0)
    state = State.MET if fewest >= promise.copies else State.MISSED
    if not lines or any(one.capture is None for one in lines):
        state, observed = State.NOT_MEASURED, "–"
    else:
        observed = str(fewest)
    meaning = "repositories that hold the newest capture"
    yield Objective("Copies", meaning, str(promise.copies), observed, state)


def _is_proven(line: SourceLine) -> bool:
    return line.proof is not None and line.proof.verdict in (Verdict.PROVEN, Verdict.STALE)


def _took(line: SourceLine) -> timedelta | None:
    if line.proof is None or not _is_proven(line):
        return None
    return timedelta(seconds=line.proof.observation.seconds)


def _spans(
    name: str, meaning: str, promised: timedelta, observed: Sequence[timedelta | None]
) -> Objective:
    """The longest counts; one that nobody knows, or that lies in the future, spoils the measure."""
    known = [one for one in observed if one is not None and one >= -_TOLERANCE]
    if not known or len(known) < len(observed):
        return Objective(name, meaning, age(promised), "–", State.NOT_MEASURED)
    longest = max(*known, timedelta())
    state = State.MET if longest <= promised else State.MISSED
    return Objective(name, meaning, age(promised), age(longest), state)


def _copies(evidence: Evidence, capture: Capture | None) -> int:
    """In how many of the configured repositories a capture was stored, as far as is recorded."""
    if capture is None:
        return 0
    return len(
        {
            one.repository
            for one in evidence.captures
            if one.repository in evidence.scope.repositories
            and (one.source, one.tree) == (capture.source, capture.tree)
            and (one.is_copy or one.point == capture.point)
        }
    )


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
        for one in evidence.captures
        if one.source == line.name
        and not one.is_copy
        and one.begun_at > since
        and one.tree != proof.tree
    }
    if newer:
        told = count(len(newer), "capture")
        yield Gap(line.name, f"{told} after the one that was brought back")


def _unproven_copy(
    line: SourceLine, repository: str, evidence: Evidence, promise: Promise, now: datetime
) -> Iterator[Gap]:
    """A repository from which the source is not proven within the promised age."""
    own = [one for one in _counted(evidence, line.name) if one.repository == repository]
    weighed = [(one, weigh(one, promise, evidence.chain, now)[0]) for one in own]
    if any(verdict is Verdict.PROVEN and _wanted(evidence, one) for one, verdict in weighed):
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
