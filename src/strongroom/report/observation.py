"""What goes into a report: records of the ledger as values, however old or odd they are.

`observation` and `captures` read the fields of one record. A field that is missing or is not what
it should be counts as not known, which never makes a verdict better (invariant I5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from strongroom.findings import FINDING_KINDS, Severity
from strongroom.model import Digests, Stage, Verdict

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
    "captures",
    "observation",
]

# Records of runs that brought a whole snapshot back, or looked at what somebody else had.
PROOF_ACTIONS: Final = ("drill", "restore", "prove", "application-drill")
# What stands for the source in records that are about the application as a whole.
WHOLE: Final = "the application"
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})  # Any: JSON values


@dataclass(frozen=True, slots=True)
class Noticed:
    """A finding as a record tells it; its code may be one that this version doesn't know."""

    code: str
    severity: Severity
    subject: str
    message: str

    @property
    def meaning(self) -> str:
        kind = FINDING_KINDS.get(self.code)
        return kind.meaning if kind else "This version does not know what it means."

    @property
    def remedy(self) -> str:
        kind = FINDING_KINDS.get(self.code)
        return kind.remedy if kind else "Ask the version that recorded it."


@dataclass(frozen=True, slots=True)
class Observation:
    """One record of a drill, a restore or a proof: what was read, from where, and what came out.

    `left_out` counts findings that the record doesn't hold, by severity; `error` is what ended the
    run; with `of_past` a store was read as it once was, which says nothing of what is there now.
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
    copy it says nothing about how old the content is."""

    seq: int
    begun_at: datetime
    source: str
    repository: str
    tree: str
    point: str
    is_copy: bool = False


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
class Scope:
    """What the report is about: the application as it is configured now."""

    application: str
    sources: tuple[SourceScope, ...] = ()
    repositories: tuple[str, ...] = ()
    environment: str = ""
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Promise:
    """The objectives."""

    rpo: timedelta
    rto: timedelta
    proof_age: timedelta
    copies: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was observed, oldest first. With `since`, older proofs don't count; with `drill`
    only those of the run that this record belongs to."""

    scope: Scope
    chain: Chain
    observations: tuple[Observation, ...] = ()
    captures: tuple[Capture, ...] = ()
    since: datetime | None = None
    drill: int | None = None


def observation(
    seq: int,
    at: datetime,
    action: str,
    fields: Mapping[str, Any],  # Any: JSON values
) -> Observation | None:
    """The observation that a record tells of; None when it is of another kind."""
    if action not in PROOF_ACTIONS:
        return None
    error = _mapping(fields.get("error"))
    return Observation(
        seq,
        at,
        action,
        WHOLE if action == "application-drill" else _text(fields.get("source")),
        _verdict(fields.get("verdict")),
        run=_text(fields.get("run")),
        by=_text(fields.get("by")),
        kind=_text(fields.get("source_kind")),
        repository=_text(fields.get("repository")),
        location=_text(fields.get("location")),
        snapshot=_text(fields.get("snapshot")),
        tree=_text(fields.get("tree")),
        point=_text(fields.get("point")),
        captured_at=_moment(fields.get("captured_at")),
        checked=_number(fields.get("checked")) or 0,
        size_bytes=_number(fields.get("bytes")),
        stages=tuple(_stages(fields.get("stages"))),
        findings=tuple(_findings(fields.get("findings"))),
        left_out=_left_out(fields.get("findings_left_out")),
        digests=_digests(fields),
        versions={str(name): _text(one) for name, one in _mapping(fields.get("versions")).items()},
        config_digest=_text(fields.get("config_digest")),
        error=_text(error.get("message")),
        of_past="store_as_of" in fields,
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
    seconds = fields.get("seconds")
    took = timedelta(seconds=seconds if isinstance(seconds, int | float) else 0)
    told = fields.get("snapshots")
    for one in map(_mapping, told if isinstance(told, list) else []):
        yield Capture(
            seq,
            at - took,
            _text(one.get("source")),
            _text(one.get("repository")) or _text(fields.get("to")),
            _text(one.get("tree")),
            _text(one.get("point")) or _text(fields.get("point")),
            is_copy=action == "copy",
        )


# Any below: JSON values, whatever a line holds


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _NONE


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _verdict(value: Any) -> Verdict | None:
    return Verdict(value) if _text(value) in Verdict.__members__ else None


def _severity(value: Any) -> Severity:
    """What can't be read counts as something that could not be checked."""
    return next((one for one in Severity if one.value == value), Severity.UNKNOWN)


def _stages(value: Any) -> Iterator[Stage]:
    for one in map(_mapping, value if isinstance(value, list) else []):
        seconds = one.get("seconds")
        if isinstance(seconds, int | float):
            yield Stage(_text(one.get("name")), float(seconds))


def _findings(value: Any) -> Iterator[Noticed]:
    for one in map(_mapping, value if isinstance(value, list) else []):
        yield Noticed(
            _text(one.get("code")),
            _severity(one.get("severity")),
            _text(one.get("subject")),
            _text(one.get("message")),
        )


def _left_out(value: Any) -> Mapping[Severity, int]:
    return {_severity(name): _number(one) or 0 for name, one in _mapping(value).items()}


def _digests(fields: Mapping[str, Any]) -> Digests | None:
    expected, observed = _text(fields.get("expected_digest")), _text(fields.get("observed_digest"))
    if not expected or not observed:
        return None
    return Digests(expected, observed, _text(fields.get("digest_of")))
