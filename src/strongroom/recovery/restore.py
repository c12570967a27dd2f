"""Restore, and the proof it ends with.

Invariant: a verdict is only ever given by `model.judge` from findings and the number of
comparisons really made; what was restored in part is not judged at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from strongroom.errors import SourceError
from strongroom.model import Digests, Finding, Stage, Verdict, finding, judge
from strongroom.repository import SnapshotView
from strongroom.sources import Source
from strongroom.sources.files import FilesSource


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a restore, a proof or a drill.

    `verdict` is None when nothing was compared because only a part was wanted; `checked` counts
    comparisons; `size_bytes` what was restored, `reused_bytes` what of it was not fetched, `files`
    how many files a part had. `digests` and `versions` are the proof's.
    """

    verdict: Verdict | None
    checked: int
    findings: tuple[Finding, ...]
    stages: tuple[Stage, ...]
    size_bytes: int = 0
    digests: Digests | None = None
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    files: int | None = None
    reused_bytes: int = 0

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)


def prove(source: Source, view: SnapshotView, target: str) -> Outcome:
    """Whether an existing target is identical to the snapshot. Changes nothing."""
    begun = time.monotonic()
    proof = source.prove(view, target)
    stages = _stages("prove", proof.stages, time.monotonic() - begun)
    return Outcome(
        judge(proof.findings, checked=proof.checked),
        proof.checked,
        proof.findings,
        stages,
        digests=proof.digests,
        versions=proof.versions,
    )


def restore(
    source: Source,
    view: SnapshotView,
    target: str,
    *,
    include: Sequence[str] = (),
    existing: Sequence[Path] = (),
    proven: bool = True,
    tells_stopped_proof: bool = False,
) -> Outcome:
    """Bring a snapshot into an empty target, then prove that both are the same.

    TargetError when something is in the target. Every byte is verified on the way. With
    `include` only matching files come back; the proof compares whole sources, so there is no
    verdict then, nor when it is not wanted (`proven`). Of files, what the trees in `existing` hold
    is taken from there. `tells_stopped_proof`: what stops the proof of a database is a finding
    beside those of its load, instead of a SourceError that these are lost with.
    """
    begun = time.monotonic()
    if existing and isinstance(source, FilesSource):
        outcome = source.restore(view, target, include=include, existing=existing)
    else:
        outcome = source.restore(view, target, include=include)
    stages = _stages("restore", outcome.stages, time.monotonic() - begun)
    if include or not proven:
        return Outcome(
            None,
            0,
            outcome.findings,
            stages,
            outcome.size_bytes,
            files=outcome.files if include else None,
            reused_bytes=outcome.reused_bytes,
        )
    try:
        proof = prove(source, view, target)
    except SourceError as error:
        if not tells_stopped_proof:
            raise
        found = finding("proof-stopped", error.subject or source.name, _told(error))
        proof = Outcome(judge([found], checked=0), 0, (found,), ())
    findings = (*outcome.findings, *proof.findings)
    return replace(
        proof,
        verdict=judge(findings, checked=proof.checked),
        findings=findings,
        stages=(*stages, *proof.stages),
        size_bytes=outcome.size_bytes,
        reused_bytes=outcome.reused_bytes,
    )


def _told(error: SourceError) -> str:
    return f"{error.message} ({error.code})" + (f"; {error.hint}" if error.hint else "")


def _stages(name: str, known: Sequence[Stage], seconds: float) -> tuple[Stage, ...]:
    """The stages that a source measured, completed to the whole time; else one of this name."""
    rest = seconds - sum(stage.seconds for stage in known)
    if not known:
        return (Stage(name, seconds),)
    return (*known, Stage(f"{name}: other", rest)) if rest > 0.05 else tuple(known)
