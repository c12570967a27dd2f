"""Samples as tables for people: pure text, in Markdown.

Medians with the least and greatest of the rounds; misses and failures stay in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from bench.comparison import (
    PEAK_LIMIT_BYTES,
    Comparison,
    Quantity,
    compare,
    highest_peak,
)
from bench.sample import Book, Sample

MEBIBYTE, MEGABYTE = 2**20, 1e6
HEADER = """\
# Results of `make bench`, oldest first

Contenders take turns (A B C A B C …) in the same run; before each run what it reads is read once,
so that it comes from memory, and the disk is synced; each round begins with fresh repositories.
Only ratios within a run mean something: absolute times drift by a fifth within an hour.

- *ratio*: our median to the peer's; in brackets the least and greatest ratio of single rounds.
  From 0.9 to 1.1 it reads as "same".
- *files*: PDF-like files in four folders, sizes lognormal around 107 KB, 62 % random bytes. *Next
  day*: 1 % added, 0.5 % changed, 0.2 % deleted, in place. *Tiny*: about 200 bytes each.
- *database*: fifteen tables on PostgreSQL with fsync on and autovacuum off while measuring; after
  each change a checkpoint and an unmeasured `pg_dump`, so that nobody pays for being first. *Next
  day*: 1 % of rows added or changed, most of them recent, some anywhere, then a vacuum.
- *restore*: all verify every blob. Ours also flushes what it wrote to the disk (one syncfs),
  restic does not, but as *flushed*. restic's `--verify` and our *with proof*, the default, read
  it all again.
- *s3*: rclone's server on this host. *s3.restore* goes through a proxy that adds a round trip of
  20 ms, from a host without any cache.
- *database.load*, *load.sandbox*: a drill, with its proof (*load.sandbox*: without, *proven*:
  with), against `pg_restore -j2`; both make, start and end the very same kind of throw-away cluster
  (no fsync) within the measured time. *Then read once*: `pg_dump` to nowhere afterwards, in the
  same cluster. *load.default*: `restore` into a server with default settings, ANALYZE included.
- *recovery*: `recover` of the demo's application with 2,000,000 rows and 2.1 GB of uploads, every
  source proven, the application started and asked; against restic, `pg_restore -j2` and git by
  hand, one after the other, which look at nothing. Both into a PostgreSQL with default settings.
- *CPU*: user and system time of the contender and what it started, throw-away clusters included,
  the source's server excluded. *Peak memory*: greatest sum of resident memory of the contender's
  processes, sampled every 40 ms, PostgreSQL servers excluded; shared pages count repeatedly.
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands above the tables."""

    begun_at: datetime
    rounds: int
    scale: float
    seed: int
    machine: str
    versions: str

    @property
    def counts(self) -> bool:
        """Whether this is a measurement; anything smaller is a trial run."""
        return self.scale >= 1.0 and self.rounds >= 3


def render(facts: Facts, book: Book) -> str:
    """The section of one run."""
    parts = [
        f"## {facts.begun_at:%Y-%m-%d %H:%M} UTC" + ("" if facts.counts else " (trial run)"),
        f"{facts.rounds} rounds, scale {facts.scale:g}, seed {facts.seed}.  \n"
        f"Machine: {facts.machine}.  \nVersions: {facts.versions}.",
    ]
    if not facts.counts:
        parts.append("A trial run at this size shows that it works; its ratios mean nothing.")
    parts += [
        "### Against the targets",
        targets_table(compare(book.samples)),
        "### Our peak memory",
        memory_table(book.samples),
        "### All measures, medians (least to greatest)",
        measures_table(book.samples),
        "### Where our time went, medians",
        stages_list(book.samples) or "No stages were reported.",
        "### Verified in this run",
        "\n".join(f"- {line}" for line in [*book.verified, *book.faults]) or "- nothing",
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets_table(comparisons: Sequence[Comparison]) -> str:
    """Ours beside each peer with the target and whether it was met."""
    head = ["measure", "of", "against", "ours", "theirs", "ratio", "reads as", "target", ""]
    return table(head, [_comparison_row(one) for one in comparisons])


def _comparison_row(one: Comparison) -> list[str]:
    ratio = "–"
    if one.ratio is not None:
        ratio = f"**{one.ratio:.2f}** ({one.lowest:.2f}–{one.highest:.2f})"
    limit = one.target.limit
    return [
        one.target.measure,
        one.target.quantity.value,
        one.target.peer,
        _amount(one.ours, one.target.quantity),
        _amount(one.theirs, one.target.quantity),
        ratio,
        one.reads_as,
        "none set" if limit is None else f"≤ {limit:g}",
        one.verdict,
    ]


def _amount(value: float | None, quantity: Quantity) -> str:
    if value is None:
        return "no result"
    return f"{value:.2f} s" if quantity is Quantity.WALL else f"{value / MEGABYTE:.1f} MB"


def memory_table(samples: Sequence[Sample]) -> str:
    """Our greatest peak in each measure against the limit."""
    limit = f"≤ {PEAK_LIMIT_BYTES // MEBIBYTE} MiB"
    rows = []
    for measure in _measures(samples):
        peak = highest_peak(samples, measure)
        if peak is None:
            rows.append([measure, "no result", limit, "**missed**"])
        else:
            verdict = "met" if peak <= PEAK_LIMIT_BYTES else "**missed**"
            rows.append([measure, f"{peak / MEBIBYTE:.0f} MiB", limit, verdict])
    return table(["measure", "greatest peak", "target", ""], rows)


def measures_table(samples: Sequence[Sample]) -> str:
    """Everything that was measured, contender by contender."""
    head = ["measure", "contender", "wall s", "CPU s", "peak MiB", "added MB", "stored MB"]
    by_pair: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        by_pair.setdefault((sample.measure, sample.contender), []).append(sample)
    order = _measures(samples)
    pairs = sorted(by_pair, key=lambda pair: order.index(pair[0]))  # stable: contenders as met
    return table(head, [[*pair, *_medians(by_pair[pair])] for pair in pairs])


def stages_list(samples: Sequence[Sample]) -> str:
    """The stages that our program itself reported, measure by measure; they may overlap."""
    lines = []
    for measure in _measures(samples):
        reported = [dict(one.stages) for one in samples if one.measure == measure and one.stages]
        names = dict.fromkeys(name for stages in reported for name in stages)
        parts = [
            f"{name} {median(stages[name] for stages in reported if name in stages):.2f} s"
            for name in names
        ]
        if parts:
            lines.append(f"- {measure}: {', '.join(parts)}")
    return "\n".join(lines)


def _medians(samples: Sequence[Sample]) -> list[str]:
    good = [sample for sample in samples if sample.failure is None]
    if not good:
        return ["failed", "", "", "", ""]
    note = f", {len(samples) - len(good)} failed" if len(good) < len(samples) else ""
    return [
        _spread([sample.wall_seconds for sample in good]) + note,
        f"{median(sample.cpu_seconds for sample in good):.2f}",
        f"{median(sample.peak_bytes for sample in good) / MEBIBYTE:.0f}",
        _megabytes([sample.grown_bytes for sample in good]),
        _megabytes([sample.stored_bytes for sample in good]),
    ]


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


def _megabytes(sizes: Sequence[int | None]) -> str:
    known = [size for size in sizes if size is not None]
    return f"{median(known) / MEGABYTE:.1f}" if known else ""


def _measures(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(sample.measure for sample in samples))
