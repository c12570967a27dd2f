"""The benchmark's tables: medians, ratios with their spread, misses kept."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.comparison import Comparison, Quantity, Target, compare
from bench.contenders import OURS, RESTIC
from bench.report import HEADER, Facts, memory_table, render, stages_list, targets_table
from bench.run import RESULTS
from bench.sample import Book, Sample

TARGET = Target("files.first", Quantity.WALL, RESTIC, 0.5)


def _samples(ours: list[float], theirs: list[float], *, peak_bytes: int = 1 << 20) -> list[Sample]:
    made = [
        Sample("files.first", OURS, number, wall, wall, peak_bytes)
        for number, wall in enumerate(ours)
    ]
    made += [Sample("files.first", RESTIC, number, wall) for number, wall in enumerate(theirs)]
    return made


def _compare(samples: list[Sample]) -> Comparison:
    [one] = compare(samples, [TARGET])
    return one


def test_a_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    one = _compare(_samples([4.0, 6.0, 5.0], [10.0, 20.0, 11.0]))
    assert one.ratio == 5.0 / 11.0
    assert (one.lowest, one.highest) == (6.0 / 20.0, 5.0 / 11.0)
    assert (one.reads_as, one.verdict) == ("less", "met")


def test_a_miss_is_called_so() -> None:
    one = _compare(_samples([6.0], [10.0]))
    assert (one.reads_as, one.verdict) == ("less", "**missed**")
    assert "| **0.60** (0.60–0.60) | less | ≤ 0.5 | **missed** |" in targets_table([one])


def test_a_tenth_reads_as_same() -> None:
    assert _compare(_samples([9.2], [10.0])).reads_as == "same"
    assert _compare(_samples([10.9], [10.0])).reads_as == "same"
    assert _compare(_samples([11.2], [10.0])).reads_as == "more"


def test_a_failed_run_of_ours_is_a_miss() -> None:
    failed = [Sample("files.first", OURS, 0, failure="exit status 1"), *_samples([], [10.0])]
    one = _compare(failed)
    assert (one.ratio, one.reads_as, one.verdict) == (None, "no result", "**missed**")
    assert "**missed**" in memory_table(failed)


def test_a_failed_peer_is_no_success_of_ours() -> None:
    one = _compare([*_samples([1.0], []), Sample("files.first", RESTIC, 0, failure="killed")])
    assert (one.ratio, one.verdict) == (None, "not compared")


def test_only_rounds_in_which_both_succeeded_make_the_spread() -> None:
    samples = [*_samples([4.0, 5.0], [10.0]), Sample("files.first", RESTIC, 1, failure="killed")]
    one = _compare(samples)
    assert (one.lowest, one.highest) == (0.4, 0.4)


def test_memory_above_the_limit_in_any_round_is_a_miss() -> None:
    samples = [*_samples([1.0], []), *_samples([1.0], [], peak_bytes=300 << 20)]
    assert "| files.first | 300 MiB | ≤ 256 MiB | **missed** |" in memory_table(samples)


def test_a_section_says_when_it_is_no_measurement() -> None:
    book = Book(samples=_samples([1.0, 2.0], [10.0, 30.0]), verified=["it is so"])
    begun_at = datetime(2026, 11, 23, 22, 40, tzinfo=UTC)
    text = render(Facts(begun_at, 2, 0.01, 1, "a machine", "versions"), book)
    assert text.startswith("## 2026-11-23 22:40 UTC (trial run)\n")
    assert "| files.first | strongroom | 1.50 (1.00–2.00) | 1.50 | 1 |  |  |" in text
    assert text.endswith("### Verified in this run\n\n- it is so\n")
    assert "(trial run)" not in render(Facts(begun_at, 3, 1.0, 1, "a machine", "v"), book)


def test_stages_are_medians_of_the_rounds_that_had_them() -> None:
    rounds = [{"fetch": 1.0}, {"fetch": 3.0, "prove": 2.0}, {"fetch": 2.0}]
    samples = [
        Sample("database.load", OURS, number, 1.0, stages=stages)
        for number, stages in enumerate(rounds)
    ]
    samples.append(Sample("database.load", RESTIC, 0, 1.0))
    assert stages_list(samples) == "- database.load: fetch 2.00 s, prove 2.00 s"


def test_the_results_explain_how_they_came_about() -> None:
    assert RESULTS.read_text().startswith(HEADER)
