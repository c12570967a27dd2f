"""What each command leaves in the ledger, in one table, and the leaving of it.

Invariants: a command that is not in the table is recorded, never passed over; an option that is
not in the lists below is named without its value, since nobody has said that it holds no secret
(invariant I6). Tests hold the table against the commands that there are.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final

import click

from strongroom.service.lifeline import JOB

if TYPE_CHECKING:
    from strongroom.errors import StrongroomError
    from strongroom.model import Finding
    from strongroom.service.application import Application
    from strongroom.service.audit import Deed


class Trace(Enum):
    """What a command does with protected data. The last three are recorded when they begin, too;
    of a part of a run, which others record, only other settings than before."""

    NONE = "neither changes nor reads it"
    PART = "is a part of what does"
    READS = "reads it"
    CHANGES = "changes it, or what protects it"
    GIVES_OUT = "gives it out"
    ADMITS = "decides who can read it"
    STAYS = "does so by itself until it is stopped"

    @property
    def is_marked(self) -> bool:
        """Whether the beginning is recorded, so that nobody escapes by killing the process."""
        return self in (Trace.GIVES_OUT, Trace.ADMITS, Trace.STAYS)

    @property
    def is_recorded(self) -> bool:
        """Whether a run leaves a record of its own."""
        return self not in (Trace.NONE, Trace.PART)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is recorded of a command; nothing when the option `unless` is given, or the option
    `only_with` is not."""

    trace: Trace
    unless: str = ""
    only_with: str = ""


AUDITED: Final[Mapping[str, Rule]] = {
    "demo": Rule(Trace.NONE),  # its data is made up
    "init": Rule(Trace.CHANGES),
    "config check": Rule(Trace.NONE),
    "config sample": Rule(Trace.NONE),
    "config schema": Rule(Trace.NONE),
    "config explain": Rule(Trace.NONE),
    "config show": Rule(Trace.NONE),
    "backup": Rule(Trace.CHANGES),
    "snapshots": Rule(Trace.NONE),  # ids, times and sizes; monitors ask for them all the time
    "snapshots pin": Rule(Trace.CHANGES),
    "snapshots unpin": Rule(Trace.CHANGES),
    "snapshots acknowledge": Rule(Trace.CHANGES),
    "ls": Rule(Trace.READS),
    "diff": Rule(Trace.READS),
    "dump": Rule(Trace.GIVES_OUT),
    "restore": Rule(Trace.GIVES_OUT, unless="preview"),
    "undelete": Rule(Trace.GIVES_OUT),
    "recover": Rule(Trace.GIVES_OUT, unless="dry_run"),
    "prove": Rule(Trace.READS),
    "drill": Rule(Trace.READS),
    "check": Rule(Trace.READS),
    "repair": Rule(Trace.CHANGES, unless="dry_run"),
    "copy": Rule(Trace.CHANGES),
    "prune": Rule(Trace.CHANGES, unless="dry_run"),
    "unlock": Rule(Trace.CHANGES),
    "key list": Rule(Trace.READS),
    "key add": Rule(Trace.ADMITS),
    "key remove": Rule(Trace.ADMITS),
    "key passwd": Rule(Trace.ADMITS),
    "key export": Rule(Trace.ADMITS),
    "kit create": Rule(Trace.ADMITS),
    "kit open": Rule(Trace.GIVES_OUT),
    "kit drill": Rule(Trace.READS),
    "export": Rule(Trace.GIVES_OUT),
    "import": Rule(Trace.CHANGES),
    "open": Rule(Trace.GIVES_OUT),
    "hook install": Rule(Trace.CHANGES),
    "hook remove": Rule(Trace.CHANGES),
    "schedule": Rule(Trace.NONE),
    "status": Rule(Trace.NONE),
    "verify": Rule(Trace.READS),
    "alert list": Rule(Trace.NONE),
    "alert test": Rule(Trace.CHANGES),
    "serve": Rule(Trace.STAYS),
    "fleet": Rule(Trace.CHANGES, only_with="forget"),
    "step": Rule(Trace.PART),  # the service records the run, and the capture itself
    "log": Rule(Trace.NONE),
    "report": Rule(Trace.NONE),
    "runbook": Rule(Trace.READS, only_with="point"),
    "doctor": Rule(Trace.CHANGES, only_with="clean"),
}
_UNLISTED: Final = Rule(Trace.CHANGES)

# Parameters whose values are recorded, masked where they look like a login or a secret.
SHOWN: Final = frozenset(
    {
        "after",
        "agent",
        "amount",
        "at",
        "before",
        "captured_at",
        "checklist",
        "database",
        "drills",
        "expect",
        "file",
        "file_format",
        "files",
        "forget",
        "givers",
        "grace",
        "hold",
        "heartbeat",
        "identity",
        "include",
        "kit",
        "key_id",
        "listen",
        "log_format",
        "max_age",
        "max_duration",
        "most_drills",
        "output",
        "owner",
        "path",
        "point",
        "port",
        "recipients",
        "replace",
        "repositories",
        "repository",
        "roles",
        "rollback",
        "root",
        "routes",
        "share",
        "show",
        "snapshot",
        "snapshots",
        "source",
        "schemas",
        "sources",
        "state",
        "table",
        "tables",
        "tag",
        "target",
        "wanted",
    }
)
# Those that say where a secret is kept; what is typed there otherwise is hidden.
REFERENCES: Final = frozenset({"new_password", "passphrase"})
# Those that may name what a row holds: that there was one, and which, is kept by its digest.
DIGESTED: Final = frozenset({"where"})
# Those that belong to the run and not to the command, or have a field of their own.
APART: Final = frozenset(
    {
        "config",
        "json",
        "limit_download",
        "limit_upload",
        "quiet",
        "reason",
        "store_as_of",
        "verbose",
    }
)


@dataclass
class Auditor:
    """The trace of one run of a command."""

    command: str
    rule: Rule
    arguments: tuple[str, ...] = ()
    reason: str = ""
    # The run of the service that this is, or that does it for whoever has given the command.
    job: str = ""
    _begun: float = field(default_factory=time.monotonic)
    _begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _application: Application | None = None
    _deed: Deed | None = None

    def begin(self, application: Application) -> list[Finding]:
        """Nothing has been read yet: record that it will be, where that is wanted. A run that the
        service has begun is recorded by the service, unless it would give something out."""
        trace = self.rule.trace
        if trace is Trace.NONE or self._application is not None:
            return []
        from strongroom.service.audit import Deed, is_of_the_service, record_beginning
        from strongroom.service.origin import origin

        self._application = application
        of_the_service = is_of_the_service(application)
        self.job = os.environ.get(JOB, "") if of_the_service else ""
        deed = Deed(self.command, self.arguments, origin(), self._begun_at, self.reason, self.job)
        if trace.is_recorded and (trace.is_marked or not of_the_service):
            self._deed = deed
        return record_beginning(application, deed, marked=trace.is_marked)

    def end(self, exit_status: int, error: StrongroomError | None) -> list[Finding]:
        """Record how it ended; nothing of a run that did not come to have an application."""
        if self._application is None or self._deed is None:
            return []
        from strongroom.service.audit import record_end

        return record_end(
            self._application,
            replace(self._deed, job=self.job),
            seconds=time.monotonic() - self._begun,
            exit_status=exit_status,
            error=error,
        )


def auditor_of(context: click.Context, words: Sequence[str], reason: str) -> Auditor:
    """The one for a command that is about to run with these words."""
    command = " ".join(_path(context))
    rule = AUDITED.get(command, _UNLISTED)
    given = _given(context, words)
    if rule.unless in given or (rule.only_with and rule.only_with not in given):
        rule = Rule(Trace.NONE)
    if not rule.trace.is_recorded:
        return Auditor(command, rule)
    return Auditor(command, rule, tuple(arguments_of(context.command, given)), reason)


def arguments_of(command: click.Command, given: Mapping[str, object]) -> Iterator[str]:
    """What was typed, by parameter, as words: options by their long names, without secrets."""
    for one in command.params:
        name = str(one.name)
        if name not in given or name in APART:
            continue
        value = given[name]
        if isinstance(one, click.Option):
            long = max(one.opts, key=len)
            if one.is_flag:
                yield long if value else max(one.secondary_opts or one.opts, key=len)
                continue
            for text in _texts(value):
                yield from (long, _shown(name, text))
        else:
            yield from (_shown(name, text) for text in _texts(value))


def _path(context: click.Context) -> list[str]:
    """The names that lead to a command, without the program's."""
    names: list[str] = []
    place: click.Context | None = context
    while place is not None and place.parent is not None:
        names.insert(0, str(place.command.name))
        place = place.parent
    return names


def _given(context: click.Context, words: Sequence[str]) -> dict[str, object]:
    """The parameters that were typed, with their texts before anything was made of them."""
    options, _, order = context.command.make_parser(context).parse_args(list(words))
    typed = {one.name for one in order}
    return {
        name: value
        for name, value in options.items()
        if name in typed and value is not None and list(_texts(value))
    }


def _texts(value: object) -> Iterator[str]:
    """The texts of a value: of a list each, of a lone one itself."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str | bool):
        yield str(value)


def _shown(name: str, text: str) -> str:
    from strongroom.service.masking import HIDDEN, masked, masked_reference

    if name in REFERENCES:
        return masked_reference(text)
    if name in DIGESTED:
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return masked(text) if name in SHOWN else HIDDEN
