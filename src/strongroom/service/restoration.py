"""Restore and prove: the questions of the worst day, each recorded in the ledger."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from strongroom.config.value import check_database_url, is_reference
from strongroom.errors import ConfigError, IntegrityError, StrongroomError, TargetError
from strongroom.model import Finding, Verdict
from strongroom.recovery import Outcome, Rollback, prove, replace_content, restore, roll_back
from strongroom.recovery.replacement import names_database
from strongroom.recovery.room import require_room_at
from strongroom.repository import SnapshotView
from strongroom.service.adaptation import adapt
from strongroom.service.application import Application
from strongroom.service.masking import masked
from strongroom.service.proof import ProofReport, report, with_findings
from strongroom.service.record import circumstances, identity
from strongroom.service.rendering import error_record
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
from strongroom.sources.database import connection_to

__all__ = [
    "ProofReport",
    "Rollback",
    "check_target",
    "choose_snapshot",
    "naming_replace",
    "prove_source",
    "refuse_other_parts",
    "refuse_partial_replacement",
    "require_reason",
    "restore_source",
    "rollback",
    "shown",
]


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
    roomy: bool = False,
) -> ProofReport:
    """Bring a source back into an empty target and, unless that is not wanted, prove it.

    With `replace`, the target's own name typed out, what is there gives way once the restored
    copy beside it is proven, and is kept under another name. `tables` of a database come beside
    the live ones, `include` chooses files. `roles` are words OLD=NEW of captured roles that are
    other ones on the target, `owner` is USER:GROUP of all files. `roomy` says that there is room,
    whatever the file system tells; without it TargetError `target-space` is raised before anything
    is written.
    """
    part = (*include, *tables)
    refuse_partial_replacement(replace, part, proven=proven)
    require_reason(application, reason)
    source = application.source(name)
    adapt(source, roles, owner)
    refuse_other_parts(source, include, tables)
    check_target(source, target)
    choice = choose_snapshot(application, snapshot, source, repository, at)
    candidate = choice.candidate
    extra = {"include": list(part), "reason": reason or None, **_adapted(roles, owner)}
    kept: str | None = None
    # Everything is read twice: to be written, and to be compared.
    passes = 0 if part else 1 + proven
    fields = {"target": shown(target), **extra}
    with _attempt(application, source, candidate, fields, passes=passes) as view:
        if replace is None:
            if source.kind != "postgres":
                from strongroom.sources.files import refuse_unwritable

                refuse_unwritable(Path(target))
            # How much a part takes is not known.
            known = [] if roomy or part else require_room_at(source, view, target)
            outcome = with_findings(_bring(source, view, target, part, proven=proven), known)
        else:
            done = replace_content(
                source,
                view,
                target,
                typed=replace,
                now=application.clock(),
                records=switch_folder(application),
                roomy=roomy,
            )
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


def _bring(
    source: Source, view: SnapshotView, target: str, part: Sequence[str], *, proven: bool
) -> Outcome:
    try:
        return restore(source, view, target, include=part, proven=proven, tells_stopped_proof=True)
    except TargetError as error:
        raise naming_replace(error, source, target) from error


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
    choice = choose_snapshot(application, snapshot, source, repository, at)
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


def choose_snapshot(
    application: Application,
    wanted: str,
    source: Source,
    repository: str | None,
    at: datetime | None,
) -> Choice:
    """The snapshot of a source that is meant, and what was noticed in looking for it, which is
    said at once."""
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
    *,
    passes: int,
) -> Iterator[SnapshotView]:
    """A restore's frame: progress, the repository's lock, and a record when it fails. `passes` is
    how often everything is read; 0 when only a part is."""
    progress = application.progress
    size_bytes = candidate.snapshot.size_bytes
    progress.begin(f"restore {source.name}", passes * size_bytes if size_bytes else None)
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


def check_target(source: Source, target: str, *, subject: str = "target") -> None:
    """ConfigError `usage` when a database's target isn't named as one, or holds a password, and
    when a directory's is named like a database. `subject` is where the target was given."""
    if source.kind == "postgres":
        try:
            check_database_url(target)
        except ValueError as error:
            raise ConfigError(
                str(error),
                subject=subject,
                code="usage",
                hint="Put the URL into a variable or a file, and give env:NAME or file:PATH.",
            ) from None
    elif "://" in target:
        raise ConfigError(
            "this is a URL, and the source goes into a directory",
            subject=subject,
            code="usage",
            hint="Name a directory.",
        )


def naming_replace(error: TargetError, source: Source, target: str) -> TargetError:
    """The error; of a target that holds something with the way to finish what was stopped there,
    which looks like a whole one and is none."""
    if error.code != "target-not-empty":
        return error
    is_database = source.kind == "postgres"
    name = connection_to(target).database if is_database else Path(target).absolute().name
    more = f"--replace {shlex.quote(name)} finishes what a restore that was stopped has left there"
    hint = f"{error.hint} Or {more}; what is there is kept beside it."
    return TargetError(error.message, subject=error.subject, code=error.code, hint=hint)


def refuse_other_parts(source: Source, include: Sequence[str], tables: Sequence[str]) -> None:
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


def refuse_partial_replacement(replace: str | None, part: Sequence[str], *, proven: bool) -> None:
    """ConfigError `usage` when something else than a proven whole is to take a target's place."""
    if replace is not None and (part or not proven):
        what = "a part" if part else "what is not proven"
        raise ConfigError(
            f"{what} cannot replace the whole", code="usage", hint="Restore it beside the target."
        )


def require_reason(application: Application, reason: str) -> None:
    """ConfigError `usage` where the configuration demands one and none is given."""
    if application.settings.restore.reason == "required" and not reason.strip():
        raise ConfigError(
            "`restore.reason` demands that a restore says why",
            code="usage",
            hint="Say it with --reason; it is kept in the ledger.",
        )


def switch_folder(application: Application) -> Path:
    """Where replacements of databases write down what they are about to do."""
    return application.state / "switches"


def rollback(
    application: Application, target: str, *, reason: str = "", now: datetime | None = None
) -> Rollback:
    """Undo the newest `restore --replace` of a target: what it replaced takes its place again."""
    _refuse_password(target)
    require_reason(application, reason)
    now = now or application.clock()
    why = {"target": shown(target), "reason": reason or None}
    try:
        done = roll_back(target, now=now, records=switch_folder(application))
    except StrongroomError as error:
        application.record("rollback-failed", {**why, "error": error_record(error)})
        raise
    recorded = application.record("rollback", {**why, "from": done.taken, "kept": done.kept})
    notes = (recorded,) if isinstance(recorded, Finding) else ()
    return dataclasses.replace(done, target=shown(target), findings=(*done.findings, *notes))


def _refuse_password(target: str) -> None:
    """ConfigError `usage` for a database that is not named as `--to` wants it. What is neither a
    reference nor a URL nor says dbname=, host= or the like is a directory."""
    if not names_database(target):
        return
    try:
        check_database_url(target)
    except ValueError as error:
        raise ConfigError(
            str(error),
            subject="--rollback",
            code="usage",
            hint="Put the URL into a variable or a file, and give env:NAME or file:PATH.",
        ) from None


def shown(target: str) -> str:
    """The target for records; what holds a password, against all advice, loses it."""
    if names_database(target) and not is_reference(target):
        target = masked(target)
    scheme, separator, rest = target.partition("://")
    if not separator or "@" not in rest:
        return target
    login, _, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}@{host}"
