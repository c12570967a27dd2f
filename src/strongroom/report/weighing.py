"""What single observations and sources are worth now: the part of a report's verdict that proofs
decide.

Invariant: never better than the evidence (I5). What nobody tried is UNKNOWN; what was proven longer
ago than `proof_age` is STALE; a ledger whose chain is broken proves nothing any more, while its
failures still count; and a failure of a copy counts until the same repository is proven again,
however short the period that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.observation import (
    WHOLE,
    Capture,
    Chain,
    Evidence,
    Observation,
    Promise,
    SourceScope,
)
from strongroom.report.wording import age, count

__all__ = [
    "MONTH",
    "TOLERANCE",
    "Judged",
    "SourceLine",
    "is_wanted",
    "newest_of_each_repository",
    "proof_limit",
    "proofs_of",
    "source_line",
    "weigh",
    "whole_line",
]

# Those that brought a snapshot back; `prove` looks at what others have, which may change.
_BROUGHT_BACK: Final = frozenset({"drill", "restore", "application-drill"})
# How far the clocks of two hosts may differ.
TOLERANCE: Final = timedelta(minutes=1)
# How old what is done each month may be: a month, and a few days to do it in.
MONTH: Final = timedelta(days=35)


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

    @property
    def is_proven(self) -> bool:
        """Whether its newest proof found it identical, lately or not."""
        return self.proof is not None and self.proof.verdict in (Verdict.PROVEN, Verdict.STALE)


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
    if passed < -TOLERANCE:
        return Verdict.UNKNOWN, "it is dated later than this report"
    limit = proof_limit(one.source, promise)
    if passed > limit or one.verdict is Verdict.STALE:
        return Verdict.STALE, f"proven {age(passed)} ago, longer than {age(limit)}"
    return Verdict.PROVEN, f"found identical {age(max(passed, timedelta()))} ago"


def proof_limit(source: str, promise: Promise) -> timedelta:
    """How old a proof may be; the whole application is proven each month."""
    return max(promise.proof_age, MONTH) if source == WHOLE else promise.proof_age


def _failures(number: int) -> str:
    return f"{count(number, 'failure')} found" if number else "it is recorded as failed"


def proofs_of(evidence: Evidence, source: str) -> list[Observation]:
    """What says whether copies of a source come back from where they are now, oldest first."""
    return [
        one
        for one in evidence.observations
        if one.source == source
        and one.action in _BROUGHT_BACK
        and (one.verdict is not None or one.error)
        and not one.of_past
        # What was not read there shows nothing of it, unless what was read is bad.
        and (not one.reused_bytes or one.verdict is Verdict.FAILED)
        and not one.imported
        and (not one.repository or one.repository in evidence.scope.repositories)
    ]


def is_wanted(evidence: Evidence, one: Observation) -> bool:
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
    counted = proofs_of(evidence, source)
    newest = {one.repository: one for one in counted}
    if counted and counted[-1].repository:
        newest.pop("", None)  # a drill that could not begin; one since then could
    judged = [Judged(one, *weigh(one, promise, evidence.chain, now)) for one in newest.values()]
    return [one for one in judged if one.verdict is Verdict.FAILED]


def source_line(
    evidence: Evidence, source: SourceScope, promise: Promise, now: datetime
) -> SourceLine:
    """How a source stands: by its newest proof, and by each copy that failed since."""
    counted = [one for one in proofs_of(evidence, source.name) if is_wanted(evidence, one)]
    stored = (one for one in reversed(evidence.captures) if one.source == source.name)
    capture = next((one for one in stored if not one.is_copy), None)
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


def whole_line(evidence: Evidence, promise: Promise, now: datetime) -> SourceLine | None:
    """What drills that started the application amount to; None when there was none."""
    if any(one.source == WHOLE and is_wanted(evidence, one) for one in evidence.observations):
        return source_line(evidence, SourceScope(WHOLE, "application"), promise, now)
    return None


def _nothing_known(evidence: Evidence) -> str:
    if evidence.drill is not None:
        return "it is not part of this drill"
    if evidence.since is not None:
        return "nobody has brought it back in this period"
    return "nobody has brought it back"


def newest_of_each_repository(
    evidence: Evidence, source: str, promise: Promise, now: datetime
) -> Iterator[Judged]:
    """The newest observation from each repository, and the failures, in the repositories' order."""
    wanted = [one for one in proofs_of(evidence, source) if is_wanted(evidence, one)]
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
