"""Whether what an earlier run has proven still stands so: its state is kept beside the journal.

Invariant: nothing counts as proven on the word of an earlier run that differs from what it was
then, or whose state then nobody knows.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from strongroom.errors import StrongroomError, TargetError
from strongroom.model import Verdict, finding
from strongroom.postgres.database_state import state_of_database
from strongroom.recovery.standing import differences, state_of_tree
from strongroom.service.recovery_ground import Ground
from strongroom.service.recovery_journal import FOLDER, Brought, Journal
from strongroom.service.rendering import time_json
from strongroom.sources import Source
from strongroom.sources.database import connection_to

__all__ = ["STATES", "keep_state", "look_again", "marked_changed"]

STATES: Final = "state"
_MOST_DIFFERENCES: Final = 5


def keep_state(ground: Ground, source: Source, target: str) -> None:
    """Keep what the source looks like now; TargetError or SourceError when that fails."""
    place = _file_of(ground, source)
    content = json.dumps(_state(source, target, None)).encode()
    new = place.with_name(f"{place.name}.new")
    try:
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with new.open("wb") as file:
            file.write(gzip.compress(content, compresslevel=1))
            file.flush()
            os.fsync(file.fileno())
        new.rename(place)
    except OSError as error:
        raise TargetError(
            f"what was restored cannot be noted: {error.strerror}",
            subject=str(place),
            hint="Free space there, then run the command again: it goes on.",
        ) from error


def look_again(
    ground: Ground, journal: Journal, source: Source, target: str
) -> tuple[int, list[str]]:
    """How many things were compared with what they were when it was proven, and what differs."""
    try:
        before = json.loads(gzip.decompress(_file_of(ground, source).read_bytes()))
    except (OSError, EOFError, ValueError):
        return 0, ["what it was then is not known"]
    try:
        now = _state(source, target, before)
    except StrongroomError as error:
        return 0, [f"it cannot be read: {error}"]
    told = differences(
        before, now, may_grow=journal.reached != "", passed_over=ground.written_into(source)
    )
    return len(before), told


def marked_changed(brought: Brought, told: list[str]) -> Brought:
    """What was brought back, as it is known now: it is not what was proven."""
    listed = "; ".join(told[:_MOST_DIFFERENCES])
    more = len(told) - _MOST_DIFFERENCES
    if more > 0:
        listed += f"; and {more} more differences"
    proven = time_json(brought.ended_at)
    found = finding(
        "recovery-changed", brought.source, f"changed since it was proven at {proven}: {listed}"
    )
    verdict = Verdict.UNKNOWN if brought.verdict is Verdict.PROVEN else brought.verdict
    others = tuple(one for one in brought.findings if one.code != found.code)
    return replace(brought, verdict=verdict, findings=(*others, found))


def _state(source: Source, target: str, before: Mapping[str, str] | None) -> dict[str, str]:
    if source.kind == "postgres":
        return state_of_database(connection_to(target), before)
    return state_of_tree(Path(target))


def _file_of(ground: Ground, source: Source) -> Path:
    return ground.directory / FOLDER / STATES / f"{source.name}.gz"
