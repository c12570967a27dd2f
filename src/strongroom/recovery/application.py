"""The drill of a whole application: database, files and code of one recovery point, brought back
into one sandbox, started there, used and ended.

Each source is restored and proven as an operator would at 3 a.m. Then the application runs in an
enclosure without a network: it reaches its database by a Unix socket, and nothing else. Nothing
turns into "no record": what stops the drill is a finding, UNKNOWN unless it is the snapshot's or
the application's own fault.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from strongroom.config.application_check import ApplicationCheck, HttpCheck, WorkflowStep
from strongroom.config.placeholder import UnknownNameError, fill_in
from strongroom.confinement.enclosure import (
    MISSING,
    Enclosure,
    EnclosureError,
    Program,
    Remains,
    Surroundings,
)
from strongroom.confinement.kernel import Limits
from strongroom.errors import IntegrityError, SourceError, StrongroomError
from strongroom.model import Finding, Severity, Stage, finding, judge
from strongroom.postgres.connection import Connection
from strongroom.postgres.quarantine import application_role, quarantine
from strongroom.recovery.application_ground import (
    Ground,
    Secrets,
    Whom,
    resolve_all,
    values_for,
)
from strongroom.recovery.application_probe import Conversation, hush, log_faults
from strongroom.recovery.restore import Outcome, restore
from strongroom.recovery.space import space_lacking
from strongroom.repository import SnapshotView
from strongroom.sources import Source
from strongroom.sources.database import connection_to

_SUBJECT: Final = "application"
_STOP_SECONDS: Final = 5.0
_ACCOUNTS: Final = ("strongroom", "nobody")

Part = tuple[Source, SnapshotView]


class _StoppedError(Exception):
    """The drill goes no further; its findings say why."""


@dataclass(slots=True)
class _Drill:
    """What has come out so far."""

    check: ApplicationCheck
    folder: Path
    secrets: Secrets
    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    checked: int = 0
    size_bytes: int = 0
    own_network: bool = True

    def note(self, code: str, message: str) -> None:
        self.findings.append(finding(code, _SUBJECT, hush(message, self.secrets.values())))

    def stop(self, code: str, message: str) -> _StoppedError:
        self.note(code, message)
        return _StoppedError()

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stages.append(Stage(name, time.monotonic() - begun))

    def outcome(self) -> Outcome:
        verdict = judge(self.findings, checked=self.checked)
        stages = tuple(self.stages)
        return Outcome(verdict, self.checked, tuple(self.findings), stages, self.size_bytes)


def drill_application(check: ApplicationCheck, parts: Sequence[Part], folder: Path) -> Outcome:
    """The verdict on one recovery point as a whole, after a real recovery below `folder`.

    Its stages add up to the time that recovery takes. ConfigError when a secret isn't there.
    """
    drill = _Drill(check, folder, resolve_all(check))
    try:
        _refuse_unfit(drill, parts)
        with contextlib.ExitStack() as stack:
            targets = _restore_all(drill, parts, stack)
            _use(drill, parts, targets)
    except _StoppedError:
        pass
    except EnclosureError as error:
        drill.note("application-unchecked", f"the sandbox: {error}")
    except UnknownNameError as error:
        drill.note("application-unchecked", str(error))
    except StrongroomError as error:
        code = "restore-failed" if isinstance(error, IntegrityError) else "application-unchecked"
        drill.note(code, f"{error} ({error.code})")
    return drill.outcome()


def _refuse_unfit(drill: _Drill, parts: Sequence[Part]) -> None:
    """Before the first byte: is there room, and can this host shut an application in?"""
    lacking = space_lacking(parts, drill.folder)
    if lacking is not None:
        drill.findings.append(lacking)
        raise _StoppedError
    try:
        with Enclosure(Surroundings(shown=[drill.folder])):
            return
    except EnclosureError as error:
        if not drill.check.allow_network:
            told = f"this host can't shut it in ({error}), and allow_network is not set"
            raise drill.stop("application-unchecked", told) from None
        drill.own_network = False
        drill.note("application-open", f"this host can't shut it in: {error}")


def _restore_all(
    drill: _Drill, parts: Sequence[Part], stack: contextlib.ExitStack
) -> dict[str, str]:
    """Restore and prove every source; returns where each is. Goes on only when none FAILED."""
    targets: dict[str, str] = {}
    for source, view in parts:
        with drill.measure(f"{source.name}: sandbox"):
            targets[source.name] = stack.enter_context(source.sandbox(view, drill.folder))
        outcome = restore(source, view, targets[source.name])
        drill.stages += [replace(one, name=f"{source.name}: {one.name}") for one in outcome.stages]
        drill.findings += outcome.findings
        drill.checked += outcome.checked
        drill.size_bytes += outcome.size_bytes
    if any(one.severity is Severity.FAILURE for one in drill.findings):
        told = "it was not started: what was restored is not what was captured"
        raise drill.stop("application-unchecked", told)
    is_open = any(one.code == "sandbox-network" for one in drill.findings)
    if is_open and not drill.check.allow_network:
        told = "the database's server could not be shut in, and allow_network is not set"
        raise drill.stop("application-unchecked", told)
    return targets


def _use(drill: _Drill, parts: Sequence[Part], targets: dict[str, str]) -> None:
    """Start the application on what was restored, ask it, end it, and read its logs."""
    check = drill.check
    kinds = {source.name: source.kind for source, _ in parts}
    database = _database(drill, kinds, targets)
    whom = _whom(database)
    folders = {name: Path(target) for name, target in targets.items() if kinds[name] != "postgres"}
    with drill.measure("hand over"):
        for place in folders.values():
            place.parent.chmod(0o711)
            whom.give(place)
        code = folders[_named(check.code, kinds, "git")]
        ground = Ground(drill.folder, code, whom)
        ground.link(check, folders)
        ground.remember_logs(check)
    sockets = [] if database is None else [Path(database.host)]
    surroundings = Surroundings(
        shown=[drill.folder, *sockets],
        writable=[*folders.values(), *ground.writable],
        replaced=ground.replaced,
        user=whom.user,
        group=whom.group,
        limits=_limits(check),
        own_network=drill.own_network,
    )
    with Enclosure(surroundings) as enclosure:
        values = values_for(enclosure, ground, folders, database, drill.secrets)
        ground.render(check, values, whom)
        # Whatever else goes wrong, the enclosure's own end is the end of all.
        with contextlib.suppress(_StoppedError):
            _start(drill, enclosure, ground, values)
            _ask(drill, enclosure, values)
        with drill.measure("stop"):
            remains = enclosure.stop(_STOP_SECONDS)
        _tell_remains(drill, ground, remains)


def _named(name: str | None, kinds: dict[str, str], kind: str) -> str:
    """The source of a kind that is meant: the configuration makes sure that there is one."""
    return name or next(one for one, its_kind in kinds.items() if its_kind == kind)


def _database(drill: _Drill, kinds: dict[str, str], targets: dict[str, str]) -> Connection | None:
    """The restored database as the application reaches it, quarantined."""
    if "postgres" not in kinds.values():
        return None
    with drill.measure("quarantine"):
        for name, kind in kinds.items():
            if kind == "postgres":
                drill.findings += quarantine(connection_to(targets[name]))
    target = connection_to(targets[_named(drill.check.database, kinds, "postgres")])
    role = application_role(target, drill.check.database_role)
    if role is None:
        told = f"the restored server has no role {drill.check.database_role}"
        raise drill.stop("application-unchecked", told)
    if not role.may_log_in:
        told = f"the role {role.name} may not log in; name another one with database_role"
        raise drill.stop("application-unchecked", told)
    return Connection({**target.parameters, "user": role.name})


def _whom(database: Connection | None) -> Whom:
    """Root starts nothing as itself: whoever the database's server runs as, who alone gets to its
    socket, or an account that owns nothing."""
    if os.geteuid() != 0:
        return Whom()
    if database is not None:
        status = Path(database.host).stat()
        return Whom(status.st_uid, status.st_gid)
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Whom(entry.pw_uid, entry.pw_gid)
    raise SourceError(
        f"there is no user {' or '.join(_ACCOUNTS)} to run the application as",
        subject="sandbox",
        code="sandbox-failed",
    )


def _limits(check: ApplicationCheck) -> Limits:
    limits = check.limits
    return Limits(
        memory_bytes=limits.memory,
        file_bytes=limits.file_size,
        cpu_seconds=max(1, int(limits.cpu.total_seconds())),
        processes=limits.processes,
    )


def _start(drill: _Drill, enclosure: Enclosure, ground: Ground, values: dict[str, str]) -> None:
    """Prepare and start the application; returns when it listens."""
    check = drill.check
    environment = ground.environment(check, values, drill.secrets)
    folder = ground.code / (check.folder or "")

    def program(command: Sequence[str]) -> Program:
        words = [fill_in(word, values) for word in command]
        return Program(words, folder, environment, ground.output)

    for command in check.prepare:
        with drill.measure(f"prepare: {command[0]}"):
            fault = enclosure.run(program(command), check.prepare_timeout.total_seconds())
        if fault:
            raise _not_started(drill, ground, command[0], fault)
    with drill.measure("start"):
        fault = enclosure.start(program(check.start))
        fault = fault or enclosure.wait_for_listener(check.start_timeout.total_seconds())
    if fault:
        raise _not_started(drill, ground, check.start[0], fault)
    drill.checked += 1


def _not_started(drill: _Drill, ground: Ground, name: str, fault: str) -> _StoppedError:
    if fault.startswith(MISSING):
        return drill.stop("application-unchecked", f"{fault} on this host")
    words = ground.last_words()
    return drill.stop("application-failed", f"{name}: {fault}" + (f": {words}" if words else ""))


def _ask(drill: _Drill, enclosure: Enclosure, values: dict[str, str]) -> None:
    """Make all requests: a workflow ends with its first step that goes wrong."""
    check, secrets = drill.check, drill.secrets.values()
    with drill.measure("requests"):
        for one in check.http:
            _ask_once(drill, enclosure, Conversation(dict(values), secrets), one, one.path)
    if not check.workflow:
        return
    conversation = Conversation(dict(values), secrets)
    with drill.measure("workflow"):
        for number, step in enumerate(check.workflow, start=1):
            name = f"workflow step {number} ({step.name})"
            if not _ask_once(drill, enclosure, conversation, step, name):
                left = len(check.workflow) - number
                if left:
                    drill.note("application-unchecked", f"{left} steps of the workflow were left")
                return


def _ask_once(
    drill: _Drill,
    enclosure: Enclosure,
    conversation: Conversation,
    step: HttpCheck | WorkflowStep,
    name: str,
) -> bool:
    """Whether the answer to one request is what was expected."""
    timeout = step.timeout or drill.check.request_timeout
    reply = enclosure.request(conversation.request(step), timeout.total_seconds())
    if isinstance(reply, str):
        status = enclosure.ended()
        ended = "" if status is None else f"; the application ended with status {status}"
        drill.note("application-failed", f"{name}: {reply}{ended}")
        return False
    checked, faults = conversation.judge(step, reply)
    drill.checked += checked
    for fault in faults:
        drill.note("application-failed", f"{name}: {fault}")
    return not faults


def _tell_remains(drill: _Drill, ground: Ground, remains: Remains) -> None:
    """What its logs say, whether it had ended before, and what it left and sent."""
    for line in log_faults(ground.log_lines(drill.check), drill.check.logs, drill.secrets.values()):
        drill.note("application-failed", f"its log says: {line}")
    failed = any(one.code == "application-failed" for one in drill.findings)
    if remains.status is not None and not failed:
        drill.note("application-failed", f"it ended by itself with status {remains.status}")
    if remains.strays:
        drill.note("application-strays", f"{remains.strays} processes had left its group")
    mails = remains.mails + ground.mails()
    if mails or remains.requests:
        told = f"{mails} mails and {remains.requests} calls were counted and thrown away"
        drill.note("application-swallowed", told)
