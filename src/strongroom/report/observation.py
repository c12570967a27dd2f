"""What goes into a report: records of the ledger as values, however old or odd they are.

`observation` and `captures` read the fields of one record. A field that is missing or is not what
it should be counts as not known, which never makes a verdict better (invariant I5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeVar

from strongroom.findings import Severity
from strongroom.model import Digests, Stage, Verdict
from strongroom.report.field import begin, mapping, mappings, moment, number, text
from strongroom.report.field import verdict as read_verdict
from strongroom.report.fleet import Fleet
from strongroom.report.history import History, Timetable
from strongroom.report.kit_history import KitScope
from strongroom.report.noticed import Noticed, found_in, noticed, severity

__all__ = [
    "PROOF_ACTIONS",
    "WHOLE",
    "Capture",
    "Chain",
    "Evidence",
    "Noticed",
    "Observation",
    "Promise",
    "Scope",
    "SourceScope",
    "Store",
    "captures",
    "observation",
]

_Answer = TypeVar("_Answer")

# Records of runs that brought a whole snapshot back, or looked at what somebody else had.
PROOF_ACTIONS: Final = ("drill", "restore", "prove", "application-drill")
# What stands for the source in records that are about the application as a whole.
WHOLE: Final = "the application"


@dataclass(frozen=True, slots=True)
class Observation:
    """One record of a drill, a restore or a proof: what was read, from where, and what came out.

    `left_out` counts findings that the record doesn't hold, by severity; `error` is what ended the
    run; with `of_past` a store was read as it once was, which says nothing of what is there now.
    `reused_bytes` were not read from the store, for the target held them already. What was
    `handed_over` was observed before its record was written, by another host; what was `imported`
    was never captured, so it says nothing of what is captured today.
    """

    seq: int
    at: datetime
    action: str
    source: str
    verdict: Verdict | None = None
    run: str = ""
    by: str = ""
    kind: str = ""
    repository: str = ""
    location: str = ""
    snapshot: str = ""
    tree: str = ""
    point: str = ""
    captured_at: datetime | None = None
    checked: int = 0
    size_bytes: int | None = None
    stages: tuple[Stage, ...] = ()
    findings: tuple[Noticed, ...] = ()
    left_out: Mapping[Severity, int] = field(default_factory=lambda: MappingProxyType({}))
    digests: Digests | None = None
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    config_digest: str = ""
    error: str = ""
    of_past: bool = False
    reused_bytes: int = 0
    handed_over: bool = False
    imported: bool = False

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def severities(self) -> frozenset[Severity]:
        """Of all findings, those that were left out included."""
        left_out = {one for one, number in self.left_out.items() if number}
        return frozenset({one.severity for one in self.findings} | left_out)


@dataclass(frozen=True, slots=True)
class Capture:
    """One stored snapshot. `begun_at` is when the run began, since which work may be lost; of a
    copy it says nothing about how old the content is. `findings` are those about its source."""

    seq: int
    begun_at: datetime
    source: str
    repository: str
    tree: str
    point: str
    is_copy: bool = False
    ended_at: datetime | None = None
    size_bytes: int | None = None
    added_bytes: int | None = None
    findings: tuple[Noticed, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing failed about it, nor could not be checked."""
        return not any(one.is_grave for one in self.findings)

    @property
    def lacks(self) -> tuple[Noticed, ...]:
        """What says that something is not in it, or may not be; whether its size is usual is
        asked by itself."""
        return tuple(one for one in self.findings if one.is_lack and one.code != "source-shrunk")


@dataclass(frozen=True, slots=True)
class Chain:
    """The ledger itself: its last record, and every place where it is not what was written.

    `compared` names the repositories whose copy was held against it; `uncompared` those that could
    not be asked.
    """

    records: int = 0
    head_seq: int = 0
    head_hash: str = ""
    faults: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class SourceScope:
    """A source that is to be proven; `left_out` is what its capture leaves out on purpose."""

    name: str
    kind: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """What is known of a repository's store without asking it. `off_site` is whether it lies on
    another host than production's, None when nobody knows, and `because` why that is thought;
    `tells_space` whether it can be asked how much room it has, and `no_space` why not; `policy` is
    a digest of what is to be kept in it, and `keeps_all` whether that is everything."""

    name: str
    off_site: bool | None = None
    because: str = ""
    tells_space: bool = False
    no_space: str = ""
    policy: str = ""
    keeps_all: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What the report is about: the application as it is configured now.

    `starts` is whether it is configured how the application starts, `told` the names of those whom
    alerts go to, `kit` what is to be in the recovery kit, None where none is configured.
    """

    application: str
    sources: tuple[SourceScope, ...] = ()
    repositories: tuple[str, ...] = ()
    environment: str = ""
    time_zone: str = "UTC"
    stores: tuple[Store, ...] = ()
    starts: bool = False
    told: tuple[str, ...] = ()
    kit: KitScope | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """The objectives, and what else is expected.

    Of each store `space_share` (0 to 1) must be free, or `space_bytes`. `jitter` is by how much a
    run may begin later than it is due.
    """

    rpo: timedelta
    rto: timedelta
    proof_age: timedelta
    copies: int
    space_share: float = 0.1
    space_bytes: int | None = None
    review_last: date | None = None
    review_every: timedelta = timedelta(days=90)
    jitter: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was observed, oldest first. With `since`, older proofs don't count; with `drill`
    only those of the run that this record belongs to. Without a `timetable`, nobody knows what was
    due; `fleet` is what a controller sees, None where none records it; `alone_since` is since when
    this host is cut off from what orders its runs in a fleet. `worked_out` is for `once`."""

    scope: Scope
    chain: Chain
    observations: tuple[Observation, ...] = ()
    captures: tuple[Capture, ...] = ()
    since: datetime | None = None
    drill: int | None = None
    history: History = field(default_factory=History)
    timetable: Timetable | None = None
    fleet: Fleet | None = None
    alone_since: datetime | None = None
    worked_out: dict[str, tuple[tuple[object, ...], Any]] = field(  # Any: what `once` gives
        default_factory=dict, repr=False, compare=False
    )

    def once(self, what: str, of: tuple[object, ...], work_out: Callable[[], _Answer]) -> _Answer:
        """What `work_out` gives, which depends on these values alone: worked out again only when
        one of them is another one, so that nobody goes through a year for each question."""
        known = self.worked_out.get(what)
        if known is None or any(one is not other for one, other in zip(known[0], of, strict=True)):
            known = self.worked_out[what] = of, work_out()
        answer: _Answer = known[1]
        return answer


def observation(
    seq: int,
    at: datetime,
    action: str,
    fields: Mapping[str, Any],  # Any: JSON values
) -> Observation | None:
    """The observation that a record tells of; None when it is of another kind."""
    if action not in PROOF_ACTIONS:
        return None
    error = mapping(fields.get("error"))
    return Observation(
        seq,
        at,
        action,
        WHOLE if action == "application-drill" else text(fields.get("source")),
        read_verdict(fields.get("verdict")),
        run=text(fields.get("run")),
        by=text(fields.get("by")),
        kind=text(fields.get("source_kind")),
        repository=text(fields.get("repository")),
        location=text(fields.get("location")),
        snapshot=text(fields.get("snapshot")),
        tree=text(fields.get("tree")),
        point=text(fields.get("point")),
        captured_at=moment(fields.get("captured_at")),
        checked=number(fields.get("checked")) or 0,
        size_bytes=number(fields.get("bytes")),
        stages=tuple(_stages(fields.get("stages"))),
        findings=tuple(noticed(fields.get("findings"))),
        left_out=_left_out(fields.get("findings_left_out")),
        digests=_digests(fields),
        versions={str(name): text(one) for name, one in mapping(fields.get("versions")).items()},
        config_digest=text(fields.get("config_digest")),
        error=text(error.get("message")),
        of_past="store_as_of" in fields,
        reused_bytes=number(fields.get("reused_bytes")) or 0,
        handed_over="observed_at" in fields,
        imported=fields.get("imported") is True,
    )


def captures(
    seq: int,
    at: datetime,
    action: str,
    fields: Mapping[str, Any],  # Any: JSON values
) -> Iterator[Capture]:
    """The snapshots that a record says were stored; none of other records."""
    if action not in ("backup", "copy"):
        return
    begun_at = begin(at, fields)
    known: dict[str, tuple[Noticed, ...]] = {}
    for one in mappings(fields.get("snapshots")):
        source = text(one.get("source"))
        if source not in known:
            known[source] = tuple(found_in(source, fields.get("findings")))
        yield Capture(
            seq,
            begun_at,
            source,
            text(one.get("repository")) or text(fields.get("to")),
            text(one.get("tree")),
            text(one.get("point")) or text(fields.get("point")),
            is_copy=action == "copy",
            ended_at=at,
            size_bytes=number(one.get("bytes")),
            added_bytes=number(one.get("added_bytes")),
            findings=known[source] if action == "backup" else (),
        )


# Any below: JSON values, whatever a line holds


def _stages(value: Any) -> Iterator[Stage]:
    for one in mappings(value):
        seconds = one.get("seconds")
        if isinstance(seconds, int | float):
            yield Stage(text(one.get("name")), float(seconds))


def _left_out(value: Any) -> Mapping[Severity, int]:
    return {severity(name): number(one) or 0 for name, one in mapping(value).items()}


def _digests(fields: Mapping[str, Any]) -> Digests | None:
    expected, observed = text(fields.get("expected_digest")), text(fields.get("observed_digest"))
    if not expected or not observed:
        return None
    return Digests(expected, observed, text(fields.get("digest_of")))
