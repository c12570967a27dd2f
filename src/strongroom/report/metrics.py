"""How things stand as metrics, in Prometheus's text format: one table of them, and their values.

Every metric has the label `application`, so that those of several applications can stand side by
side in node_exporter's folder. What nobody knows is absent, never 0. Invariants: those of
`standing`; and every series is of a metric in `METRIC_KINDS`, from which docs/METRICS.md is made
and against which the dashboard and the rules are tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from strongroom.model import Verdict
from strongroom.report.check import WORST_LAST
from strongroom.report.judgement import State
from strongroom.report.standing import Result, Standing, aged, shown

__all__ = ["METRICS_MEDIA_TYPE", "METRIC_KINDS", "VERDICT_VALUES", "MetricKind", "metrics_text"]

# What every scraper reads; what is newer has nothing that gauges need.
METRICS_MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

VERDICT_VALUES: Final[Mapping[Verdict, int]] = MappingProxyType(
    {verdict: value for value, verdict in enumerate(WORST_LAST)}
)
_STATES: Final[Mapping[State, int]] = MappingProxyType(
    {State.MET: 0, State.MISSED: 1, State.NOT_MEASURED: 2}
)
_VERDICTS: Final = "0 PROVEN, 1 STALE, 2 UNKNOWN, 3 FAILED"


@dataclass(frozen=True, slots=True)
class MetricKind:
    """A gauge: its name, what it says, and its labels beside `application`."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


METRIC_KINDS: Final[Mapping[str, MetricKind]] = MappingProxyType(
    {
        one.name: one
        for one in (
            MetricKind(
                "strongroom_info",
                "Always 1; its labels say what is protected, and by which version.",
                ("environment", "version"),
            ),
            MetricKind("strongroom_verdict", f"What is known of the whole: {_VERDICTS}."),
            MetricKind(
                "strongroom_judged_timestamp_seconds", "When this was judged, in Unix time."
            ),
            MetricKind(
                "strongroom_valid_until_timestamp_seconds",
                "Until when it holds; after that nobody judges any more, in Unix time.",
            ),
            MetricKind(
                "strongroom_objective_status",
                "How an objective stands: 0 met, 1 missed, 2 not measured.",
                ("objective",),
            ),
            MetricKind(
                "strongroom_objective_target_seconds",
                "The span that was promised.",
                ("objective",),
            ),
            MetricKind(
                "strongroom_objective_target_copies",
                "In how many repositories each capture is to be.",
            ),
            MetricKind(
                "strongroom_check_status",
                f"How a check came out: {_VERDICTS}.",
                ("check", "subject"),
            ),
            MetricKind(
                "strongroom_check_value",
                "What a check measured, in its own unit.",
                ("check", "subject"),
            ),
            MetricKind(
                "strongroom_check_limit",
                "What a check compares its value with, in its own unit.",
                ("check", "subject"),
            ),
            MetricKind(
                "strongroom_check_since_timestamp_seconds",
                "Since when a check comes out so, in Unix time.",
                ("check", "subject"),
            ),
            MetricKind(
                "strongroom_source_verdict",
                f"Whether a source comes back: {_VERDICTS}.",
                ("source",),
            ),
            MetricKind(
                "strongroom_last_capture_timestamp_seconds",
                "When the newest complete capture of a source began, in Unix time.",
                ("source",),
            ),
            MetricKind(
                "strongroom_last_proof_timestamp_seconds",
                "When a source was last brought back and found identical, in Unix time.",
                ("source",),
            ),
            MetricKind(
                "strongroom_source_recovery_seconds",
                "How long bringing a source back and comparing it took.",
                ("source",),
            ),
            MetricKind("strongroom_source_size_bytes", "How much a source holds.", ("source",)),
            MetricKind(
                "strongroom_recovery_seconds",
                "How long the newest drill of the whole application took, or of all sources.",
            ),
            MetricKind("strongroom_store_size_bytes", "How large a store is.", ("repository",)),
            MetricKind(
                "strongroom_store_free_bytes",
                "How much room a store has left.",
                ("repository",),
            ),
            MetricKind(
                "strongroom_last_attempt_timestamp_seconds",
                "When the newest attempt to capture ended, in Unix time.",
            ),
            MetricKind(
                "backup_last_success_timestamp_seconds",
                "Up to when all sources are captured, in Unix time.",
            ),
            MetricKind(
                "backup_last_verified_restore_timestamp_seconds",
                "Since when all sources are proven by a restore, in Unix time.",
            ),
            MetricKind("backup_last_size_bytes", "How much all sources hold."),
            MetricKind(
                "backup_last_run_success",
                "Whether the newest attempt to capture got everything: 1 or 0.",
            ),
        )
    }
)

# The name of a metric, the values of its labels beside `application`, and its value.
_Sample = tuple[str, tuple[str, ...], float]


def metrics_text(standing: Standing | None, now: datetime, version: str) -> bytes:
    """All metrics as of `now`, in the text format 0.0.4; nothing before the first judgement."""
    registry = CollectorRegistry(auto_describe=False)
    if standing is not None:
        registry.register(_Gauges(standing.application, list(samples(standing, now, version))))
    return generate_latest(registry)


class _Gauges(Collector):
    """Samples as the library wants them: by metric, in the order of the table."""

    def __init__(self, application: str, found: Sequence[_Sample]) -> None:
        self._application = application
        self._found = found

    def collect(self) -> Iterator[Metric]:
        for kind in METRIC_KINDS.values():
            mine = [(labels, value) for name, labels, value in self._found if name == kind.name]
            if mine:
                family = GaugeMetricFamily(
                    kind.name, kind.meaning, labels=("application", *kind.labels)
                )
                for labels, value in mine:
                    family.add_metric((self._application, *labels), value)
                yield family


def samples(standing: Standing, now: datetime, version: str) -> Iterator[_Sample]:
    """Every series with its value as of `now`."""
    known = aged(standing, now)
    yield "strongroom_info", (known.environment, version), 1
    yield "strongroom_verdict", (), VERDICT_VALUES[known.verdict]
    yield "strongroom_judged_timestamp_seconds", (), known.judged_at.timestamp()
    yield "strongroom_valid_until_timestamp_seconds", (), known.valid_until.timestamp()
    yield from _of_objectives(known)
    yield from _of_checks(known)
    yield from _of_sources(known)
    if known.recovery_seconds is not None:
        yield "strongroom_recovery_seconds", (), known.recovery_seconds
    for space in known.spaces:
        yield "strongroom_store_size_bytes", (space.repository,), space.total_bytes
        yield "strongroom_store_free_bytes", (space.repository,), space.free_bytes
    yield from _as_others_call_it(known)


def _of_objectives(known: Standing) -> Iterator[_Sample]:
    for name, state in known.objectives:
        yield "strongroom_objective_status", (name,), _STATES[state]
    promise = known.promise
    spans = {"rpo": promise.rpo, "rto": promise.rto, "proof_age": promise.proof_age}
    for name, span in spans.items():
        yield "strongroom_objective_target_seconds", (name,), span.total_seconds()
    yield "strongroom_objective_target_copies", (), promise.copies


def _of_checks(known: Standing) -> Iterator[_Sample]:
    for one in shown(known):
        labels = (one.name, one.subject)
        yield "strongroom_check_status", labels, VERDICT_VALUES[one.verdict]
        if one.value is not None:
            yield "strongroom_check_value", labels, one.value
        if one.limit is not None:
            yield "strongroom_check_limit", labels, one.limit
        if one.since is not None:
            yield "strongroom_check_since_timestamp_seconds", labels, one.since.timestamp()


def _of_sources(known: Standing) -> Iterator[_Sample]:
    for one in known.sources:
        label = (one.name,)
        yield "strongroom_source_verdict", label, VERDICT_VALUES[one.verdict]
        if one.captured_at is not None:
            captured = one.captured_at.timestamp()
            yield "strongroom_last_capture_timestamp_seconds", label, captured
        if one.proven_at is not None:
            yield "strongroom_last_proof_timestamp_seconds", label, one.proven_at.timestamp()
        if one.recovery_seconds is not None:
            yield "strongroom_source_recovery_seconds", label, one.recovery_seconds
        if one.size_bytes is not None:
            yield "strongroom_source_size_bytes", label, one.size_bytes


def _as_others_call_it(known: Standing) -> Iterator[_Sample]:
    """Under the names that dashboards for any backup know."""
    if known.captured_at is not None:
        yield "backup_last_success_timestamp_seconds", (), known.captured_at.timestamp()
    if known.proven_at is not None:
        proven = known.proven_at.timestamp()
        yield "backup_last_verified_restore_timestamp_seconds", (), proven
    if known.size_bytes is not None:
        yield "backup_last_size_bytes", (), known.size_bytes
    if known.attempt is not None:
        yield "strongroom_last_attempt_timestamp_seconds", (), known.attempt.at.timestamp()
        yield "backup_last_run_success", (), known.attempt.result is Result.SUCCESS
