"""The drill: a restore into a throw-away target that asks questions.

Invariant: nothing turns into "no record". What stops a drill becomes a finding: bytes that don't
match their names mean FAILED, for this snapshot can't be brought back whole; everything else (no
sandbox, no store) means UNKNOWN with its cause, for the snapshot may be fine.
"""

from __future__ import annotations

import time
from pathlib import Path

from strongroom.errors import IntegrityError, StrongroomError
from strongroom.model import Finding, Stage, finding, judge
from strongroom.recovery.restore import Outcome, restore
from strongroom.recovery.space import space_lacking
from strongroom.repository import SnapshotView
from strongroom.sources import Source


def drill(source: Source, view: SnapshotView, directory: Path) -> Outcome:
    """The verdict on a snapshot, after a real restore into a sandbox below `directory`."""
    lacking = space_lacking([(source, view)], directory)
    if lacking is not None:
        return Outcome(judge([lacking], checked=0), 0, (lacking,), ())
    begun = time.monotonic()
    try:
        with source.sandbox(view, directory) as target:
            started = time.monotonic()
            outcome = restore(source, view, target)
        return Outcome(
            outcome.verdict,
            outcome.checked,
            outcome.findings,
            (Stage("sandbox", started - begun), *outcome.stages),
            outcome.size_bytes,
        )
    except StrongroomError as error:
        found = _stopped(source.name, error)
        stages = (Stage("until it stopped", time.monotonic() - begun),)
        return Outcome(judge([found], checked=0), 0, (found,), stages)


def _stopped(subject: str, error: StrongroomError) -> Finding:
    code = "restore-failed" if isinstance(error, IntegrityError) else "drill-stopped"
    return finding(code, subject, f"{error} ({error.code})")
