"""The drill: a restore into a throw-away target that asks questions.

Invariant: nothing turns into "no record". What stops a drill becomes a finding: bytes that don't
match their names mean FAILED, for this snapshot can't be brought back whole; everything else (no
sandbox, no store) means UNKNOWN with its cause, for the snapshot may be fine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from strongroom.errors import IntegrityError, StrongroomError
from strongroom.model import Finding, Stage, finding, judge
from strongroom.recovery.restore import Outcome, restore
from strongroom.recovery.space import space_lacking
from strongroom.repository import SnapshotView
from strongroom.sources import Source


def drill(
    source: Source,
    view: SnapshotView,
    directory: Path,
    *,
    ask: Callable[[str], None] | None = None,
) -> Outcome:
    """The verdict on a snapshot, after a real restore into a sandbox below `directory`.

    `ask` is given the restored target while it is there; what it finds is the caller's to judge.
    """
    lacking = space_lacking([(source, view)], directory)
    if lacking is not None:
        return Outcome(judge([lacking], checked=0), 0, (lacking,), ())
    begun = time.monotonic()
    try:
        with source.sandbox(view, directory) as target:
            started = time.monotonic()
            outcome = restore(source, view, target)
            if ask is not None:
                ask(target)
        return replace(outcome, stages=(Stage("sandbox", started - begun), *outcome.stages))
    except StrongroomError as error:
        found = _stopped(source.name, error)
        stages = (Stage("until it stopped", time.monotonic() - begun),)
        return Outcome(judge([found], checked=0), 0, (found,), stages)


def _stopped(subject: str, error: StrongroomError) -> Finding:
    code = "restore-failed" if isinstance(error, IntegrityError) else "drill-stopped"
    return finding(code, subject, f"{error} ({error.code})")
