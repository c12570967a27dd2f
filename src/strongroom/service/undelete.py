"""Undelete: rows that a snapshot has and the live table has not, or not so, as SQL and put back.

The snapshot's rows come into a sandbox; the live database is only read, until `apply` puts rows
back in one transaction. Invariant (I6): no row's value gets into the ledger; the SQL does not lie
anywhere when the command has ended but where it was asked for.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from strongroom.errors import (
    EXIT_FINE,
    EXIT_PARTIAL,
    EXIT_UNKNOWN,
    ConfigError,
    SourceError,
    StrongroomError,
    TargetError,
)
from strongroom.evidence import Entry
from strongroom.model import Finding, Severity, Stage
from strongroom.report.wording import Verbatim
from strongroom.service.application import Application
from strongroom.service.leftover import sandbox
from strongroom.service.masking import cut, masked
from strongroom.service.output import refuse_taken, write_whole
from strongroom.service.proof import evidence_json
from strongroom.service.record import circumstances, identity, noted
from strongroom.service.rendering import error_record, stages_json, time_json
from strongroom.service.restoration import check_target, require_reason, shown
from strongroom.service.selection import LATEST, Choice, choose, reading, say_all, survey
from strongroom.sources.database import DatabaseSource, connection_to

if TYPE_CHECKING:
    from strongroom.postgres.connection import Connection
    from strongroom.postgres.rebuilt import Rebuilt
    from strongroom.postgres.undelete import Plan
    from strongroom.postgres.undelete_script import Script

__all__ = ["Request", "RowsFound", "UndeleteReport", "undelete"]

# SQL up to here is part of the answer; beyond, it goes into a file.
LONGEST_ANSWER_BYTES: Final = 16 << 20
_MOST_KEYS: Final = 20
_LEAST_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted. `target` is the live database, the source's own when it is None; `expect`
    the beginning of the SHA-256 of the SQL that was read."""

    table: str
    where: str | None = None
    target: str | None = None
    changed: bool = False
    children: bool = False
    apply: bool = False
    expect: str | None = None
    output: Path | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RowsFound:
    """Rows of one table that are `missing` or `changed`, `because` they were asked for, are
    parents or children of what was; `keys` of the first ones."""

    table: str
    state: str
    because: str
    included: bool
    rows: int
    keys: tuple[Mapping[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "table": self.table,
            "because": self.because,
            "included": self.included,
            "rows": self.rows,
            "keys": [dict(one) for one in self.keys],
        }


@dataclass(frozen=True, slots=True)
class UndeleteReport:
    """What was found, the SQL that puts it back, and whether that was done.

    `sql` is None when it went into `output`, or is too long for an answer. `compared` counts the
    snapshot's rows that were looked for.
    """

    source: str
    repository: str
    snapshot: str
    captured_at: datetime
    table: str
    compared: int
    found: tuple[RowsFound, ...]
    sql: str | None
    sql_bytes: int
    sha256: str | None
    output: Path | None
    applied: bool
    inserted: int
    updated: int
    findings: tuple[Finding, ...]
    stages: tuple[Stage, ...]
    evidence: Entry | None = None

    @property
    def exit_status(self) -> int:
        if any(one.severity is Severity.UNKNOWN for one in self.findings):
            return EXIT_UNKNOWN
        # What is back is not what was captured.
        altered = any(one.code == "undelete-altered" for one in self.findings)
        return EXIT_PARTIAL if altered else EXIT_FINE

    def of(self, state: str) -> list[RowsFound]:
        """What is missing, or changed."""
        return [one for one in self.found if one.state == state]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "source": self.source,
            "repository": self.repository,
            "snapshot": self.snapshot,
            "captured_at": time_json(self.captured_at),
            "table": self.table,
            "compared": self.compared,
            "missing": [one.as_json() for one in self.of("missing")],
            "changed": [one.as_json() for one in self.of("changed")],
            "sql": None if self.sql is None else Verbatim(self.sql),
            "sql_bytes": self.sql_bytes,
            "sha256": self.sha256,
            "output": str(self.output) if self.output else None,
            "applied": self.applied,
            "inserted": self.inserted,
            "updated": self.updated,
            "findings": [one.as_json() for one in self.findings],
            "stages": stages_json(self.stages),
            "evidence": evidence_json(self.evidence),
        }


@dataclass
class _Work:
    """What has come of a run so far."""

    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.stages.append(Stage(name, time.monotonic() - begun))


def undelete(
    application: Application,
    name: str,
    request: Request,
    *,
    snapshot: str = LATEST,
    repository: str | None = None,
    at: datetime | None = None,
) -> UndeleteReport:
    """What is gone or changed of a table since a snapshot, as SQL, and put back when `apply` says.

    Raises ConfigError for what cannot be meant, TargetError `rows-moved` when live rows moved
    between comparing and putting back; then nothing was changed.
    """
    source = application.source(name)
    if not isinstance(source, DatabaseSource):
        raise ConfigError(
            "rows are of databases, and this is none",
            subject=name,
            code="usage",
            hint="Bring files back with `strongroom restore --include PATTERN`.",
        )
    if request.target is not None:
        check_target(source, request.target)
    if request.apply:
        require_reason(application, request.reason)
    if request.output is not None:
        refuse_taken(request.output)
    if request.expect is not None and len(request.expect) < _LEAST_DIGITS:
        raise ConfigError(
            f"at least {_LEAST_DIGITS} digits of it are needed", subject="--expect", code="usage"
        )
    live = source.connection() if request.target is None else connection_to(request.target)
    choice = _choose(application, source, snapshot, repository, at)
    application.progress.begin(f"undelete {name}", None)
    try:
        return _Run(application, source, choice, request, live).carry_out()
    except StrongroomError as error:
        if request.apply:
            record = {
                **identity(name, choice.candidate),
                "table": request.table,
                "target": shown(request.target or ""),
                "reason": request.reason,
                "error": error_record(error),
                **circumstances(application, {}),
            }
            application.record("undelete-failed", record)
        raise
    finally:
        application.progress.end()


def _choose(
    application: Application,
    source: DatabaseSource,
    wanted: str,
    repository: str | None,
    at: datetime | None,
) -> Choice:
    surveyed = survey(application, [repository] if repository else [])
    choice = choose(surveyed, wanted, source=source.name, at=at)
    say_all(application, choice.findings)
    return choice


class _Run:
    """One undelete."""

    def __init__(
        self,
        application: Application,
        source: DatabaseSource,
        choice: Choice,
        request: Request,
        live: Connection,
    ) -> None:
        self.application, self.source, self.choice = application, source, choice
        self.request, self.live = request, live
        self.work = _Work()
        snapshot, place = choice.candidate.snapshot, choice.candidate.repository.name
        application.note(
            "read", {"source": source.name, "repository": place, "snapshot": snapshot.id}
        )

    def carry_out(self) -> UndeleteReport:
        progress, begun = self.application.progress, time.monotonic()
        with (
            reading(self.choice.candidate, progress=progress) as view,
            sandbox(self.application) as folder,
            self.source.rebuilt(view, folder) as rebuilt,
            _private(folder / "undelete.sql") as file,
        ):
            self.work.stages.append(Stage("sandbox", time.monotonic() - begun))
            return self._compare(rebuilt, file)

    def _compare(self, rebuilt: Rebuilt, file: IO[bytes]) -> UndeleteReport:
        from strongroom.postgres.row_comparison import reading_only
        from strongroom.postgres.table_shape import read_shapes
        from strongroom.postgres.undelete import Wish, plan_undelete
        from strongroom.postgres.undelete_advice import advise, lacking_privileges
        from strongroom.postgres.undelete_script import Script, write_script

        request, snapshot = self.request, self.choice.candidate.snapshot
        wish = Wish(request.table, request.where, request.changed, request.children)
        script = Script(file)
        about = (
            f"snapshot {snapshot.id} of {self.source.name},"
            f" captured {snapshot.time:%Y-%m-%d %H:%M:%S} UTC"
        )
        with (
            self.work.stage("compare"),
            self.live.connect() as session,
            reading_only(self.live, session),
        ):
            plan = plan_undelete(rebuilt, session, read_shapes(session), wish)
            advise(plan, session)
            lacking = list(lacking_privileges(plan, session))
            write_script(plan, session, script, about)
        for label in dict.fromkeys(script.unchanged):
            message = "a number that PostgreSQL always gives itself was changed, and stays so"
            plan.tell("undelete-obstacle", label, message)
        found = tuple(_found(plan))
        if script.size_bytes:
            with self._output_first(script):
                if request.apply:
                    self._put_back(plan, script, lacking)
        return self._report(plan, script, found)

    @contextmanager
    def _output_first(self, script: Script) -> Iterator[None]:
        """The SQL is in its file before rows are put back: a full disk is told while nothing has
        changed. Of rows that are not put back no file is left, so that the same words can be tried
        again."""
        output = self.request.output
        if output is None:
            yield
            return
        script.file.flush()
        write_whole(output, lambda file: _copy(script.file, file))
        try:
            yield
        except BaseException:
            output.unlink(missing_ok=True)
            raise

    def _put_back(self, plan: Plan, script: Script, lacking: list[tuple[str, str, str]]) -> None:
        from strongroom.postgres.undelete_apply import apply_script

        if lacking:
            label, what, role = lacking[0]
            raise SourceError(
                f"{role} may not {what} in {label}",
                subject=self.live.describe(),
                code="database-privilege",
                hint="Name a role that may with --target env:NAME. Nothing was changed.",
            )
        expect = self.request.expect
        if expect is not None and not script.sha256.startswith(expect.lower()):
            raise TargetError(
                f"the SQL is not the one that was read: it is {script.sha256[:16]}… now",
                subject=self.live.describe(),
                code="rows-moved",
            )
        with self.work.stage("put back"), self.live.explaining():
            apply_script(plan, script, self.live)

    def _report(self, plan: Plan, script: Script, found: tuple[RowsFound, ...]) -> UndeleteReport:
        request, candidate = self.request, self.choice.candidate
        applied = request.apply and bool(script.size_bytes)
        evidence: Entry | None = None
        findings = (*self.choice.findings, *plan.findings)
        if applied:
            recorded = self._record(plan, script, found, findings)
            evidence = recorded if isinstance(recorded, Entry) else None
            findings = (*findings, *([recorded] if isinstance(recorded, Finding) else []))
        sql = self._hand_over(script)
        return UndeleteReport(
            self.source.name,
            candidate.repository.name,
            candidate.snapshot.id,
            candidate.snapshot.time,
            plan.table.label,
            plan.compared,
            found,
            sql,
            script.size_bytes,
            script.sha256 if script.size_bytes else None,
            request.output if script.size_bytes else None,
            applied,
            script.inserts if applied else 0,
            script.updates if applied else 0,
            findings,
            tuple(self.work.stages),
            evidence,
        )

    def _hand_over(self, script: Script) -> str | None:
        """The SQL, unless it is in a file or too long; what was given is noted."""
        output = self.request.output
        if script.size_bytes:
            given: dict[str, Any] = {"bytes": script.size_bytes, "sha256": script.sha256}
            if output is not None:
                given["output"] = cut(masked(str(output.absolute())))
            self.application.note("given", given)
        if (output is not None and script.size_bytes) or script.size_bytes > LONGEST_ANSWER_BYTES:
            return None
        script.file.flush()
        script.file.seek(0)
        return script.file.read().decode()

    def _record(
        self,
        plan: Plan,
        script: Script,
        found: tuple[RowsFound, ...],
        findings: tuple[Finding, ...],
    ) -> Entry | Finding:
        fields = {
            **identity(self.source.name, self.choice.candidate),
            "target": shown(self.request.target or ""),
            "table": plan.table.label,
            "rows": [
                {name: value for name, value in one.as_json().items() if name != "keys"}
                | {"state": one.state}
                for one in found
                if one.included
            ],
            "inserted": script.inserts,
            "updated": script.updates,
            "sql_sha256": script.sha256,
            "reason": self.request.reason,
            **noted(findings),
            "stages": stages_json(self.work.stages),
            **circumstances(self.application, {}),
        }
        return self.application.record("undelete", fields)


def _found(plan: Plan) -> Iterator[RowsFound]:
    """What the plan found, with the first keys of each."""
    for table, state, why, included, rows in plan.counts():
        keys = plan.first_keys(plan.found[table], state, why, included, _MOST_KEYS)
        yield RowsFound(table.label, state, why, included, rows, tuple(keys))


def _private(path: Path) -> IO[bytes]:
    """A new file that nobody else reads, since it holds rows."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    os.fchmod(target.fileno(), 0o600)  # it holds rows
    source.seek(0)
    shutil.copyfileobj(source, target)
