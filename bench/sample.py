"""One measured run, and the book in which all of a benchmark's runs are kept.

A contender that fails is written down as failed and the benchmark goes on: the table must show
it. Progress goes to standard output, one line a run.

Invariant: every run is in the book once, with its round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender's run of one measure in one round; a failed one has only its `failure`.

    `stored_bytes` is the repository's or dump's size afterwards, `grown_bytes` what this run added.
    """

    measure: str
    contender: str
    round: int
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    stored_bytes: int | None = None
    grown_bytes: int | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass(slots=True)
class Book:
    """The samples so far, and what was verified, as sentences that are true of this run."""

    samples: list[Sample] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def note(self, sample: Sample) -> None:
        self.samples.append(sample)
        print(_progress(sample), flush=True)

    def confirm(self, sentence: str, holds: bool, why: str = "") -> None:
        """Writes down a verification, once however often it is repeated."""
        kept = self.verified if holds else self.faults
        text = sentence if holds else f"NOT TRUE: {sentence}{': ' + why if why else ''}"
        if text not in kept:
            kept.append(text)
            print(f"    {text}", flush=True)

    def as_json(self) -> dict[str, object]:
        return {
            "samples": [asdict(sample) for sample in self.samples],
            "verified": self.verified,
            "faults": self.faults,
        }


def _progress(sample: Sample) -> str:
    place = f"round {sample.round + 1}  {sample.measure:<22} {sample.contender:<26}"
    if sample.failure is not None:
        return f"{place} FAILED: {' '.join(sample.failure.split())[:160]}"
    text = (
        f"{place} {sample.wall_seconds:7.2f} s {sample.cpu_seconds:7.2f} s CPU"
        f" {sample.peak_bytes / 2**20:6.0f} MiB"
    )
    if sample.grown_bytes is not None:
        text += f"  +{sample.grown_bytes / 1e6:.1f} MB"
    return text
