"""The preview of a restore: which snapshot, how old, whether it would be taken, and what it would
do to what is there. Writes nothing, and leaves no record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from strongroom.errors import (
    EXIT_FINE,
    SourceError,
    StorageError,
    StrongroomError,
    TargetError,
)
from strongroom.model import Finding
from strongroom.recovery.replacement import refuse_unfit_target
from strongroom.recovery.room import require_room_at, room_of
from strongroom.report.wording import age
from strongroom.repository import SnapshotView
from strongroom.service.adaptation import adapt, fitness_of
from strongroom.service.application import Application
from strongroom.service.rendering import error_json, time_json
from strongroom.service.restoration import (
    check_target,
    choose_snapshot,
    naming_replace,
    refuse_other_parts,
    refuse_partial_replacement,
    shown,
)
from strongroom.service.selection import LATEST, reading
from strongroom.sources import Source
from strongroom.sources.code import CodeSource
from strongroom.sources.database import DatabaseSource
from strongroom.sources.difference import Differences
from strongroom.sources.files import FilesSource, nothing_matches, refuse_unless_empty

__all__ = ["Preview", "preview_restore"]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a restore would do. `obstacle` is why it would be refused, None when it would not;
    `changes` is None where the target can't be looked at, or single tables come beside others."""

    source: str
    repository: str
    snapshot: str
    captured_at: datetime
    age: timedelta
    size_bytes: int | None
    target: str
    replaces: bool
    free_bytes: int | None
    obstacle: StrongroomError | None
    changes: Differences | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def exit_status(self) -> int:
        return self.obstacle.exit_status if self.obstacle else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "preview": True,
            "source": self.source,
            "repository": self.repository,
            "snapshot": self.snapshot,
            "captured_at": time_json(self.captured_at),
            "age": age(self.age),
            "age_seconds": round(self.age.total_seconds()),
            "bytes": self.size_bytes,
            "target": self.target,
            "replaces": self.replaces,
            "free_bytes": self.free_bytes,
            "changes": self.changes.as_json() if self.changes else None,
            "seconds": 0,
            "findings": [one.as_json() for one in self.findings],
            "obstacle": error_json(self.obstacle) if self.obstacle else None,
        }


def preview_restore(
    application: Application,
    name: str,
    target: str,
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    at: datetime | None = None,
    include: Sequence[str] = (),
    tables: Sequence[str] = (),
    roles: Sequence[str] = (),
    owner: str | None = None,
    replace: str | None = None,
    with_contents: bool = False,
    roomy: bool = False,
) -> Preview:
    """What the restore with the same arguments would do. Contents of files are read only
    `with_contents`."""
    refuse_partial_replacement(replace, (*include, *tables), proven=True)
    source = application.source(name)
    adapt(source, roles, owner)
    refuse_other_parts(source, include, tables)
    check_target(source, target)
    choice = choose_snapshot(application, snapshot, source, repository, at)
    candidate = choice.candidate
    changes: Differences | None = None
    findings = list(choice.findings)
    if with_contents:
        application.progress.begin(f"preview {name}", candidate.snapshot.size_bytes)
    try:
        with reading(candidate, progress=application.progress) as view:
            obstacle = _obstacle(source, target, replace, beside=bool(tables))
            if obstacle is None and not tables:
                obstacle, unfit = fitness_of(source, view, target, replaces=replace is not None)
                findings += unfit
            try:
                if not tables and (obstacle is None or obstacle.code == "target-not-empty"):
                    changes = _changes(source, view, target, include, with_contents=with_contents)
                if changes is not None and include and changes.is_nothing:
                    raise nothing_matches(include, f"snapshot {view.snapshot.short_id}")
                if obstacle is None and not (include or tables or roomy):
                    findings += require_room_at(source, view, target)
            except (SourceError, StorageError, TargetError) as error:
                obstacle = obstacle or error
    finally:
        application.progress.end()
    return Preview(
        name,
        candidate.repository.name,
        candidate.snapshot.id,
        candidate.snapshot.time,
        max(application.clock() - candidate.snapshot.time, timedelta()),
        candidate.snapshot.size_bytes,
        shown(target),
        replace is not None,
        None if source.kind == "postgres" else room_of(Path(target)).free_bytes,
        obstacle,
        changes,
        tuple(findings),
    )


def _changes(
    source: Source,
    view: SnapshotView,
    target: str,
    include: Sequence[str],
    *,
    with_contents: bool,
) -> Differences | None:
    if isinstance(source, FilesSource):
        return source.differences(view, target, include=include, with_contents=with_contents)
    if isinstance(source, DatabaseSource | CodeSource) and not include:
        return source.differences(view, target)
    return None


def _obstacle(
    source: Source, target: str, replace: str | None, *, beside: bool
) -> StrongroomError | None:
    """What a restore into this target would be refused with."""
    try:
        if replace is not None:
            refuse_unfit_target(source, target, replace)
        elif source.kind == "postgres":
            _inspect_database(target, beside=beside)
        else:
            refuse_unless_empty(Path(target))
    except TargetError as error:
        return naming_replace(error, source, target)
    except StrongroomError as error:
        return error
    return None


def _inspect_database(target: str, *, beside: bool) -> None:
    """Tables come beside others, in a database that is there; a whole one where nothing is."""
    from strongroom.postgres.table_restore import connect_beside
    from strongroom.postgres.target import find_database
    from strongroom.sources.database import connection_to

    if beside:
        connect_beside(connection_to(target)).close()
    else:
        find_database(connection_to(target))
