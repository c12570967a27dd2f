"""Restore and prove: the questions of the worst day, each recorded in the ledger."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strongroom.config.value import check_database_url
from strongroom.errors import (
    EXIT_FINE,
    ConfigError,
    IntegrityError,
    StrongroomError,
)
from strongroom.model import Finding, Verdict
from strongroom.recovery import Rollback, prove, replace_content, restore, roll_back
from strongroom.repository import SnapshotView
from strongroom.service.adaptation import adapt, fitness_of
from strongroom.service.application import Application
from strongroom.service.proof import ProofReport, report, with_findings
from strongroom.service.record import circumstances, identity
from strongroom.service.rendering import error_json, error_record, time_json
from strongroom.service.selection import (
    LATEST,
    Candidate,
    Choice,
    choose,
    reading,
    say_all,
    survey,
)
from strongroom.sources import Source

__all__ = [
    "Preview",
    "ProofReport",
    "Rollback",
    "preview_restore",
    "prove_source",
    "restore_source",
    "rollback",
]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a restore would do. `obstacle` is why it would be refused, None when it would not."""

    source: str
    repository: str
    snapshot: str
    captured_at: datetime
    size_bytes: int | None
    target: str
    free_bytes: int | None
    obstacle: StrongroomError | None
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
            "bytes": self.size_bytes,
            "target": self.target,
            "free_bytes": self.free_bytes,
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
) -> Preview:
    """Which snapshot would be restored, whether the target would be taken, and what would not come
    back there as it was. Writes nothing."""
    source = application.source(name)
    adapt(source, roles, owner)
    _refuse_other_parts(source, include, tables)
    choice = _choose(application, snapshot, source, repository, at)
    candidate = choice.candidate
    obstacle: StrongroomError | None = None
    unfit: tuple[Finding, ...] = ()
    try:
        _inspect_target(source, target, beside=bool(tables))
        if not tables:
            obstacle, unfit = fitness_of(source, candidate, target)
    except StrongroomError as error:
        obstacle = error
    return Preview(
        name,
        candidate.repository.name,
        candidate.snapshot.id,
        candidate.snapshot.time,
        candidate.snapshot.size_bytes,
        shown(target),
        None if source.kind == "postgres" else _free_bytes(Path(target)),
        obstacle,
        (*choice.findings, *unfit),
    )


def restore_source(
    application: Application,
    name: str,
    target: str,
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    at: datetime | None = None,
    include: Sequence[str] = (),
    tables: Sequence[str] = (),
    replace: str | None = None,
    proven: bool = True,
    roles: Sequence[str] = (),
    owner: str | None = None,
    reason: str = "",
) -> ProofReport:
    """Bring a source back into an empty target and, unless that is not wanted, prove it.

    With `replace`, the target's own name typed out, what is there gives way once the restored
    copy beside it is proven, and is kept under another name. `tables` of a database come beside
    the live ones, `include` chooses files. `roles` are words OLD=NEW of captured roles that are
    other ones on the target, `owner` is USER:GROUP of all files.
    """
    part = (*include, *tables)
    if replace is not None and (part or not proven):
        what = "a part" if part else "what is not proven"
        raise ConfigError(
            f"{what} cannot replace the whole", code="usage", hint="Restore it beside the target."
        )
    source = application.source(name)
    adapt(source, roles, owner)
    _refuse_other_parts(source, include, tables)
    check_target(source, target)
    choice = _choose(application, snapshot, source, repository, at)
    candidate = choice.candidate
    extra = {"include": list(part), "reason": reason, **_adapted(roles, owner)}
    kept: str | None = None
    with _attempt(application, source, candidate, {"target": shown(target), **extra}) as view:
        if replace is None:
            outcome = restore(source, view, target, include=part, proven=proven)
        else:
            done = replace_content(source, view, target, typed=replace, now=datetime.now(UTC))
            outcome, target, kept = done.outcome, done.restored, done.kept
    return report(
        application,
        "restore",
        name,
        candidate,
        with_findings(outcome, choice.findings),
        target=shown(target),
        kept=kept,
        extra=extra,
    )


def prove_source(
    application: Application,
    name: str,
    target: str,
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    at: datetime | None = None,
    roles: Sequence[str] = (),
    owner: str | None = None,
) -> ProofReport:
    """Whether an existing target is identical to a snapshot, but for other roles or owners."""
    source = application.source(name)
    adapt(source, roles, owner)
    check_target(source, target)
    choice = _choose(application, snapshot, source, repository, at)
    candidate = choice.candidate
    application.progress.begin(f"prove {name}", candidate.snapshot.size_bytes)
    try:
        with reading(candidate, progress=application.progress) as view:
            outcome = prove(source, view, target)
    finally:
        application.progress.end()
    outcome = with_findings(outcome, choice.findings)
    return report(
        application,
        "prove",
        name,
        candidate,
        outcome,
        target=shown(target),
        extra=_adapted(roles, owner),
    )


def _adapted(roles: Sequence[str], owner: str | None) -> dict[str, Any]:  # Any: JSON values
    """What a record says of what was adapted to the target; nothing when nothing was."""
    told: dict[str, Any] = {"roles": list(roles)} if roles else {}  # Any: JSON values
    return told if owner is None else {**told, "owner": owner}


def _choose(
    application: Application,
    wanted: str,
    source: Source,
    repository: str | None,
    at: datetime | None,
) -> Choice:
    surveyed = survey(application, [repository] if repository else [])
    try:
        takes_foreign = source.kind == "files"
        choice = choose(surveyed, wanted, source=source.name, at=at, takes_foreign=takes_foreign)
    except StrongroomError:
        say_all(application, surveyed.about([source.name]))
        raise
    say_all(application, choice.findings)
    return choice


@contextmanager
def _attempt(
    application: Application,
    source: Source,
    candidate: Candidate,
    fields: Mapping[str, Any],  # Any: JSON values
) -> Iterator[SnapshotView]:
    """A restore's frame: progress, the repository's lock, and a record when it fails."""
    progress = application.progress
    size_bytes = candidate.snapshot.size_bytes
    # Everything is read twice: to be written, and to be compared.
    progress.begin(f"restore {source.name}", 2 * size_bytes if size_bytes else None)
    try:
        with reading(candidate, progress=progress) as view:
            yield view
    except StrongroomError as error:
        record = {
            **identity(source.name, candidate),
            **fields,
            "error": error_record(error),
            **circumstances(application, {}),
        }
        if isinstance(error, IntegrityError):  # the snapshot's fault, so it counts against it
            application.record("restore", {**record, "verdict": Verdict.FAILED.value})
        else:
            application.record("restore-failed", record)
        raise
    finally:
        progress.end()


def check_target(source: Source, target: str) -> None:
    """ConfigError `usage` when a database's target isn't named as one, or holds a password, and
    when a directory's is named like a database."""
    if source.kind == "postgres":
        try:
            check_database_url(target)
        except ValueError as error:
            raise ConfigError(
                str(error),
                subject="target",
                code="usage",
                hint="Put the URL into a variable or a file, and give env:NAME or file:PATH.",
            ) from None
    elif "://" in target:
        raise ConfigError(
            "this is a URL, and the source goes into a directory",
            subject="target",
            code="usage",
            hint="Name a directory.",
        )


def _refuse_other_parts(source: Source, include: Sequence[str], tables: Sequence[str]) -> None:
    """ConfigError `usage` when tables are wanted of files, or files of a database."""
    if include and source.kind == "postgres":
        raise ConfigError(
            "--include chooses files, and this is a database",
            subject=source.name,
            code="usage",
            hint="Choose tables with --table.",
        )
    if tables and source.kind != "postgres":
        raise ConfigError(
            "--table chooses tables, and this is no database",
            subject=source.name,
            code="usage",
            hint="Choose files with --include.",
        )


def rollback(
    application: Application, target: str, *, reason: str = "", now: datetime | None = None
) -> Rollback:
    """Undo the newest `restore --replace` of a target: what it replaced takes its place again."""
    now = now or datetime.now(UTC)
    try:
        done = roll_back(target, now=now)
    except StrongroomError as error:
        fields = {"target": shown(target), "reason": reason, "error": error_record(error)}
        application.record("rollback-failed", fields)
        raise
    kept = {"target": shown(target), "from": done.taken, "kept": done.kept, "reason": reason}
    recorded = application.record("rollback", kept)
    notes = (recorded,) if isinstance(recorded, Finding) else ()
    return dataclasses.replace(done, target=shown(target), findings=notes)


def _inspect_target(source: Source, target: str, *, beside: bool) -> None:
    """Raise what a restore into this target would be refused with."""
    check_target(source, target)
    if source.kind == "postgres" and beside:
        _refuse_missing(target)
    if source.kind in ("files", "git"):
        from strongroom.sources.files import refuse_unless_empty

        refuse_unless_empty(Path(target))


def _refuse_missing(target: str) -> None:
    """SourceError when there is no such database: tables come beside others."""
    from strongroom.sources.database import connection_to

    connection_to(target).connect().close()


def _free_bytes(place: Path) -> int | None:
    absolute = place.absolute()
    for folder in (absolute, *absolute.parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None


def shown(target: str) -> str:
    """The target for records; a URL that holds a password, against all advice, loses it."""
    scheme, separator, rest = target.partition("://")
    if not separator or "@" not in rest:
        return target
    login, _, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}@{host}"
