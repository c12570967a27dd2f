"""What binds a recovery point together: its record, written at the end of a run and read back.

The record lies as `/.strongroom/point.json` beside the copy of the ledger that belongs to the
point, in every repository that holds the run's snapshots; so stock restic carries it, and `prune`
keeps it for as long as a snapshot of the point stays. It names the snapshots, the code's commit
and the schema's version, and says how certain it is that they belong together. A point without one
(it was made by an earlier version, or the run was killed before its end) is told by its tags alone.

Invariant: what a record says is believed only as far as the snapshots bear it out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, finding
from strongroom.repository import Repository, Snapshot, SnapshotView
from strongroom.repository.copy import CopyReport, copy_snapshots
from strongroom.service.application import LOG, Application
from strongroom.service.rendering import time_json

FORMAT: Final = 1
PATH: Final = b"/.strongroom/point.json"
# A record names a few sources; what is larger is none.
_MOST_BYTES: Final = 4 << 20

# How certain it is that the snapshots of a point belong together.
CERTAIN: Final = "certain"
LIKELY: Final = "likely"
INCOMPLETE: Final = "incomplete"


@dataclass(frozen=True, slots=True)
class PointSource:
    """One source's part of a point: which tree, read from when to when, and its facts by kind."""

    name: str
    kind: str
    tree: str
    begun_at: datetime
    ended_at: datetime
    snapshots: Mapping[str, str]  # ids by repository
    facts: Mapping[str, Any]  # Any: JSON values

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "source": self.name,
            "kind": self.kind,
            "tree": self.tree,
            "begun_at": time_json(self.begun_at),
            "ended_at": time_json(self.ended_at),
            "snapshots": dict(self.snapshots),
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class PointRecord:
    """A recovery point: its sources in the order in which they were captured, and what was wanted.

    `missing` names configured sources that are not in it, each with the reason.
    """

    id: str
    application: str
    begun_at: datetime
    ended_at: datetime
    wanted: tuple[str, ...]
    sources: tuple[PointSource, ...]
    missing: Mapping[str, str]

    @property
    def commits(self) -> dict[str, str]:
        """The checked-out commit of each code source."""
        found = {one.name: one.facts.get("commit") for one in self.sources}
        return {name: str(commit) for name, commit in found.items() if commit}

    @property
    def migrations(self) -> dict[str, str]:
        """The schema's version of each database, with the table that says so."""
        found = {one.name: one.facts.get("migration") for one in self.sources}
        return {
            name: f"{one.get('version')} ({one.get('table')})"
            for name, one in found.items()
            if isinstance(one, dict)
        }

    @property
    def certainty(self) -> str:
        """`certain`, `likely` when something moved while it was captured, or `incomplete`."""
        if self.missing:
            return INCOMPLETE
        return CERTAIN if not any(self._moved()) else LIKELY

    @property
    def because(self) -> tuple[str, ...]:
        """The reasons for the certainty; never empty."""
        reasons = [f"{name} is missing: {why}" for name, why in self.missing.items()]
        reasons += self._moved()
        if not reasons:
            kinds = {one.kind for one in self.sources}
            if kinds == {"postgres"} or "postgres" not in kinds or len(self.sources) == 1:
                reasons.append("there is no database with files that it could be at odds with")
            else:
                reasons.append("no file changed after the database's moment")
        return tuple(reasons)

    def _moved(self) -> Iterator[str]:
        """What may not be as it was at the database's moment."""
        moments = [one for one in self.sources if one.facts.get("moment_at")]
        if len(moments) > 1:
            yield "it holds several databases, each of its own moment"
        for one in self.sources:
            changed = one.facts.get("changed_since")
            if isinstance(changed, dict) and changed.get("count"):
                count, first = changed["count"], ", ".join(map(str, changed.get("first", ())))
                yield f"{count} files or folders of {one.name} changed after it: {first}"

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "format": FORMAT,
            "point": self.id,
            "application": self.application,
            "begun_at": time_json(self.begun_at),
            "ended_at": time_json(self.ended_at),
            "wanted": list(self.wanted),
            "sources": [one.as_json() for one in self.sources],
            "missing": [{"source": name, "because": why} for name, why in self.missing.items()],
            "certainty": self.certainty,
            "because": list(self.because),
        }

    def encode(self) -> bytes:
        return json.dumps(self.as_json(), indent=1, ensure_ascii=True).encode() + b"\n"


_SOURCE_FIELDS: Final = frozenset({"source", "kind", "tree", "begun_at", "ended_at", "snapshots"})


def parse_record(fields: object) -> PointRecord:
    """The record that these JSON values are; ValueError that says what they are not."""
    try:
        if not isinstance(fields, dict) or fields["format"] != FORMAT:
            raise ValueError("it is not in a format that this version knows")
        return PointRecord(
            str(fields["point"]),
            str(fields["application"]),
            _moment(fields["begun_at"]),
            _moment(fields["ended_at"]),
            tuple(map(str, fields["wanted"])),
            tuple(map(parse_source, fields["sources"])),
            {str(one["source"]): str(one["because"]) for one in fields["missing"]},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a field is missing or has another shape: {error}") from error


def parse_source(fields: Any) -> PointSource:  # Any: JSON of any shape
    """One source's part, as `PointSource.as_json` wrote it down."""
    return PointSource(
        str(fields["source"]),
        str(fields["kind"]),
        str(fields["tree"]),
        _moment(fields["begun_at"]),
        _moment(fields["ended_at"]),
        {str(name): str(one) for name, one in fields["snapshots"].items()},
        {key: value for key, value in fields.items() if key not in _SOURCE_FIELDS},
    )


def _moment(text: object) -> datetime:
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError("a time is without a zone")
    return moment


# Reading back


def read_record(repository: Repository, holder: Snapshot) -> PointRecord | Finding | None:
    """The record that lies in a copy of the ledger; None when there is none, a finding when it
    can't be read or is of another point than the snapshot's tag says."""
    subject = f"{repository.name}: snapshots/{holder.id}"
    try:
        view = SnapshotView(repository, holder)
        if not view.exists(PATH):
            return None
        if view.node(PATH).size > _MOST_BYTES:
            raise ValueError("it is too large")
        record = parse_record(json.loads(view.read(PATH)))
        if (record.id, record.application) != (holder.point, holder.application):
            raise ValueError(f"it is of recovery point {record.id} of {record.application}")
    except (StrongroomError, ValueError, RecursionError) as error:
        LOG.debug("the record of a recovery point cannot be used", exc_info=True)
        return finding("point-unreadable", subject, str(error))
    return record


def recorded_points(entries: Iterable[Entry], application: str) -> dict[str, PointRecord]:
    """The records that a ledger holds, by the points' ids; what is none is left out."""
    found: dict[str, PointRecord] = {}
    for entry in entries:
        if entry.kind not in ("backup", "import") or entry.fields.get("application") != application:
            continue
        try:
            record = parse_record(entry.fields.get("record"))
        except ValueError:
            continue
        found[record.id] = record
    return found


def compare_record(
    record: PointRecord, repository: str, snapshots: Sequence[Snapshot]
) -> Iterator[Finding]:
    """A failure for each snapshot of the point in a repository that is not the recorded one."""
    trees = {one.name: one.tree for one in record.sources}
    for one in snapshots:
        if one.source is None or one.is_repaired:  # that one says of itself what it lacks
            continue
        expected = trees.get(one.source)
        if expected != one.tree:
            named = f"tree {expected[:12]}" if expected else "no snapshot of this source"
            message = f"the point's record names {named}, the snapshot has tree {one.tree[:12]}"
            yield finding("point-differs", f"{repository}: snapshots/{one.id}", message)


# Carrying along


def carry_records(
    giver: Repository,
    taker: Repository,
    application: Application,
    points: Collection[str | None],
) -> list[Finding]:
    """Bring the records of these points along into another repository; a warning when one stays
    behind, for its snapshots are there all the same."""
    if not any(points):
        return []
    try:
        holders = [
            one
            for one in giver.snapshots().snapshots
            if is_holder(one, application.name) and one.point in points
        ]
        workers = application.settings.engine.worker_count
        copy_snapshots(giver, taker, holders, report=CopyReport(), workers=workers)
    except StrongroomError as error:
        LOG.debug("records of recovery points were not copied", exc_info=True)
        message = f"it was not copied from {giver.name}: {error}"
        return [finding("point-unrecorded", taker.name, message)]
    return []


def is_holder(snapshot: Snapshot, application: str) -> bool:
    """Whether a point's record may lie in this snapshot."""
    return (
        snapshot.kind == "ledger"
        and snapshot.source is None
        and snapshot.point is not None
        and snapshot.application == application
    )
