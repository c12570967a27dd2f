"""Audit: which command was run, by whom, from where, why, and how it ended.

A record at the end of each run. For what gives protected data out, or decides who can, one at the
beginning as well: whoever kills the process then leaves a trace all the same.

Invariants: the beginning stands in the ledger before the first byte leaves; nothing is refused
because it cannot be recorded, since a recovery must not fail for a full disk: that is a finding.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.evidence import BEGUN, COMMAND
from strongroom.model import Finding
from strongroom.service.application import Application
from strongroom.service.configuration import record_configuration, vouched
from strongroom.service.lifeline import JOB
from strongroom.service.masking import cut, masked_prose
from strongroom.service.occupancy import SERVICE, is_held_by
from strongroom.service.rendering import error_record, time_json

_MOST_ARGUMENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Deed:
    """A run of a command. `arguments` are masked already, since what may be a secret depends on
    the command; `origin` is from where it was started. `job` is the run of the service that this
    is, or that did it: what came of that stands in a record of its own."""

    command: str
    arguments: tuple[str, ...]
    origin: str
    begun_at: datetime
    reason: str = ""
    job: str = ""

    def as_record(self) -> dict[str, Any]:  # Any: JSON values
        left_out = len(self.arguments) - _MOST_ARGUMENTS
        return {
            "command": self.command,
            "arguments": [
                *(cut(one) for one in self.arguments[:_MOST_ARGUMENTS]),
                *([f"… and {left_out} more"] if left_out > 0 else []),
            ],
            "from": self.origin,
            "begun_at": time_json(self.begun_at),
            "reason": cut(masked_prose(self.reason)) or None,
            "job": cut(self.job) or None,
        }


def is_of_the_service(application: Application) -> bool:
    """Whether the service of this application has begun this process. Its word alone (`JOB`) is not
    taken: whoever sets a variable must not escape his record."""
    if not os.environ.get(JOB):
        return False
    try:
        return is_held_by(application.state, SERVICE, os.getppid())
    except StrongroomError:  # no folder is configured
        return False


def record_beginning(application: Application, deed: Deed, *, marked: bool) -> list[Finding]:
    """Record other settings than before, and, when `marked`, that the run has begun; findings when
    that fails."""
    if not marked and application.ledger_was_removed:
        # Its own command may take up a copy; a record now would stand in the way.
        return []
    problems = [record_configuration(application)]
    if marked and problems == [None]:
        fields = {**deed.as_record(), "config_digest": vouched(application)}
        recorded = application.record(BEGUN, fields)
        problems.append(recorded if isinstance(recorded, Finding) else None)
    return [one for one in problems if one is not None]


def record_end(
    application: Application,
    deed: Deed,
    *,
    seconds: float,
    exit_status: int,
    error: StrongroomError | None,
) -> list[Finding]:
    """Record how the run ended, with what it read and gave out; findings when that fails."""
    problem = record_configuration(application)
    if problem is not None:
        return [problem]
    recorded = application.record(
        COMMAND,
        {
            **deed.as_record(),
            "seconds": round(seconds, 3),
            "exit_status": exit_status,
            "error": None if error is None else error_record(error),
            **application.notes,
            "config_digest": vouched(application),
        },
    )
    return [recorded] if isinstance(recorded, Finding) else []
