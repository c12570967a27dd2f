"""All checks of a report, in the order of their table, and those that are not made.

What a check looks at and how it comes to its verdict stands with its subject: captures, stores,
proofs, runs, operation. Invariants (I5): what nobody knows is UNKNOWN; nothing that records say is
PROVEN or STALE while the ledger is broken; and all is judged by all records, whatever period a
report is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from strongroom.model import Verdict
from strongroom.report.capture_check import check_captures, check_files, check_sizes
from strongroom.report.check import CHECK_KINDS, Check, Exempt
from strongroom.report.fleet import check_fleet
from strongroom.report.kit_check import check_kit, check_kit_drill
from strongroom.report.observation import Evidence, Promise
from strongroom.report.operation_check import check_anomalies, check_delivery, check_review
from strongroom.report.proof_check import (
    check_full_restore,
    check_ledger,
    check_proofs,
    check_rto,
)
from strongroom.report.run_check import check_errors, check_schedule
from strongroom.report.store_check import (
    check_copies,
    check_integrity,
    check_off_site,
    check_retention,
    check_space,
    holdings_of,
)
from strongroom.report.weighing import source_line, whole_line

__all__ = ["checks", "exempt"]

# What the ledger itself is asked, and what stands in the configuration.
_WITHOUT_RECORDS: Final = frozenset({"ledger", "review"})


def checks(evidence: Evidence, promise: Promise, now: datetime) -> tuple[Check, ...]:
    """What came of every check that applies; those that don't are told by `exempt`."""
    if not evidence.scope.sources:
        return ()
    order = list(CHECK_KINDS)
    if evidence.since is not None or evidence.drill is not None:
        evidence = dataclasses.replace(evidence, since=None, drill=None)
    made = [_relied_on(one, evidence) for one in _made(evidence, promise, now)]
    return tuple(sorted(made, key=lambda one: order.index(one.name)))


def _made(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    lines = [source_line(evidence, one, promise, now) for one in evidence.scope.sources]
    started = whole_line(evidence, promise, now)
    holdings = holdings_of(evidence)
    yield from check_captures(evidence, promise, now)
    yield from check_sizes(evidence)
    yield from check_errors(evidence)
    yield from check_copies(evidence, promise, holdings)
    yield from check_off_site(evidence, holdings)
    yield from check_schedule(evidence, promise, now)
    beats = evidence.timetable.beats if evidence.timetable is not None else ()
    yield from check_fleet(evidence.fleet, beats, evidence.alone_since, now)
    yield from check_delivery(evidence, promise, now)
    yield from check_proofs(lines, promise, now)
    yield from check_files(evidence)
    yield from check_space(evidence, promise, now)
    yield from check_integrity(evidence, promise, now)
    yield from check_full_restore(evidence, started, promise, now)
    yield from check_rto(evidence, lines, started, promise)
    yield from check_kit(evidence, now)
    yield from check_kit_drill(evidence, now)
    yield from check_retention(evidence, now)
    yield from check_ledger(evidence)
    yield from check_anomalies(evidence, now)
    yield from check_review(evidence, promise, now)


def _relied_on(one: Check, evidence: Evidence) -> Check:
    believed = one.verdict in (Verdict.PROVEN, Verdict.STALE)
    if evidence.chain.holds or not believed or one.name in _WITHOUT_RECORDS:
        return one
    told = f"{one.observed}; the ledger that says so is broken"
    return dataclasses.replace(one, verdict=Verdict.UNKNOWN, observed=told, until=None)


def exempt(evidence: Evidence) -> tuple[Exempt, ...]:
    """The checks that are not made, each with why."""
    order = list(CHECK_KINDS)
    return tuple(sorted(_exempt(evidence), key=lambda one: order.index(one.name)))


def _exempt(evidence: Evidence) -> Iterator[Exempt]:
    scope = evidence.scope
    if not scope.sources:
        return
    if scope.environment == "development":
        yield Exempt("off-site", "", "this is no production")
    timetable = evidence.timetable
    if timetable is not None and not timetable.dues and not timetable.beats:
        yield Exempt("schedule", "", "nothing is to run by itself")
    if not scope.told:
        yield Exempt("delivery", "", "`alerts` names nobody: who looks at the status has to tell")
    if scope.kit is None:
        yield Exempt("kit", "", "`kit` is not configured: keys and secrets have to be kept by hand")
    if not any(one.kind in ("files", "git") for one in scope.sources):
        yield Exempt("files", "", "there is no source of files")
    for store in scope.stores:
        if not store.tells_space:
            yield Exempt("space", store.name, store.no_space or "it cannot be asked")
        if store.keeps_all:
            yield Exempt("retention", store.name, "its policy keeps everything")
