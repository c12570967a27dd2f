"""Snapshots: the records that make captured trees visible, and how one is chosen.

Facts: REPOSITORY_FORMAT 1.9 (docs/FORMAT.md, "Snapshots"). What belongs to Strongroom stands in
tags (`source:NAME`, `kind:KIND`, `application:NAME`, `point:ID`) and in files inside the tree,
because other tools drop fields that they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strongroom import __version__
from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Finding
from strongroom.repository.document import MALFORMED, checked_id, parse_json, plain_text, why
from strongroom.repository.tree import parse_time

REPAIRED: Final = "repaired"  # a tag, which `restic repair snapshots` gives as well
IMPORTED: Final = "imported"  # a tag: it was made of a file from before
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_SIZE: Final = 1 << 63  # from here on a number is not the size of anything


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot file. `id` and `tree` are 64 hex digits, `time` is aware UTC."""

    id: str
    time: datetime
    tree: str
    paths: tuple[str, ...]
    tags: tuple[str, ...] = ()
    hostname: str = ""
    username: str = ""
    parent: str | None = None
    original: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)  # Any: numbers and times of any writer

    @property
    def source(self) -> str | None:
        return self._tag("source")

    @property
    def kind(self) -> str | None:
        return self._tag("kind")

    @property
    def application(self) -> str | None:
        return self._tag("application")

    @property
    def point(self) -> str | None:
        return self._tag("point")

    @property
    def is_repaired(self) -> bool:
        """Whether something was taken out of it because it was lost."""
        return REPAIRED in self.tags

    @property
    def is_imported(self) -> bool:
        """Whether it was made of a dump or an archive from before, and not of the live source."""
        return IMPORTED in self.tags

    @property
    def short_id(self) -> str:
        return self.id[:8]

    @property
    def size_bytes(self) -> int | None:
        """What the source held, when the writer recorded it."""
        return self._counted("total_bytes_processed")

    @property
    def file_count(self) -> int | None:
        """How many files the source held, when the writer recorded it."""
        return self._counted("total_files_processed")

    def _counted(self, name: str) -> int | None:
        number = self.summary.get(name)
        return number if type(number) is int and 0 <= number < _NO_SIZE else None

    def _tag(self, key: str) -> str | None:
        prefix = key + ":"
        for tag in self.tags:
            if tag.startswith(prefix):
                return tag[len(prefix) :]
        return None


@dataclass(frozen=True, slots=True)
class SnapshotList:
    """All readable snapshots, oldest first, and a finding for each file that is not one."""

    snapshots: tuple[Snapshot, ...]
    findings: tuple[Finding, ...]


def moment(nanoseconds: int) -> datetime:
    """The aware UTC time of nanoseconds since the epoch, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as Go reads it."""
    text = time.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def encode_snapshot(snapshot: Snapshot, uid: int, gid: int) -> bytes:
    """The JSON of a snapshot file; its id is decided by these bytes, so `id` is not in it."""
    fields: dict[str, Any] = {"time": format_time(snapshot.time)}  # Any: JSON
    if snapshot.parent:
        fields["parent"] = snapshot.parent
    fields["tree"] = snapshot.tree
    fields["paths"] = list(snapshot.paths)
    fields["hostname"] = snapshot.hostname
    fields["username"] = snapshot.username
    if uid or gid:
        fields |= {"uid": uid, "gid": gid}
    if snapshot.tags:
        fields["tags"] = list(snapshot.tags)
    if snapshot.original:
        fields["original"] = snapshot.original
    fields["program_version"] = f"strongroom {__version__}"
    if snapshot.summary:
        fields["summary"] = snapshot.summary
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def decode_snapshot(content: bytes, snapshot_id: str) -> Snapshot:
    """The snapshot that these bytes record; IntegrityError `snapshot-damaged` if they do not."""
    try:
        fields = parse_json(content)
        nanoseconds = parse_time(fields["time"])
        summary = fields.get("summary") or {}
        return Snapshot(
            id=snapshot_id,
            time=moment(nanoseconds),
            tree=checked_id(fields["tree"]),
            paths=_texts(fields.get("paths")),
            tags=_texts(fields.get("tags")),
            hostname=plain_text(fields.get("hostname") or ""),
            username=plain_text(fields.get("username") or ""),
            parent=_id_or_none(fields.get("parent")),
            original=_id_or_none(fields.get("original")),
            summary=summary if isinstance(summary, dict) else {},
        )
    except MALFORMED as error:
        raise IntegrityError(
            f"not a snapshot: {why(error)}", subject=snapshot_id, code="snapshot-damaged"
        ) from error


def _id_or_none(value: Any) -> str | None:  # Any: JSON of any shape
    return None if value is None else checked_id(value)


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("a list of texts is something else")
    return tuple(map(plain_text, value))


def choose(snapshots: Sequence[Snapshot], wanted: str, source: str | None) -> Snapshot:
    """The one snapshot that `wanted` (an id's beginning, or `latest`) names.

    StorageError `snapshot-missing` when none or several match.
    """
    candidates = [one for one in snapshots if source is None or one.source == source]
    if wanted == "latest":
        if not candidates:
            of = f" of source {source!r}" if source else ""
            raise StorageError(f"there is no snapshot{of}", code="snapshot-missing")
        return max(candidates, key=lambda one: (one.time, one.id))
    matches = [one for one in candidates if wanted and one.id.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StorageError("no snapshot has this id", subject=wanted, code="snapshot-missing")
    listed = ", ".join(sorted(one.id[:12] for one in matches[:5]))
    raise StorageError(
        f"several snapshots have ids that begin so ({listed})",
        subject=wanted,
        code="snapshot-missing",
        hint="Give more digits of the id.",
    )
