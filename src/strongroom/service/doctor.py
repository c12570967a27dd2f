"""Doctor: is everything there that a backup and a recovery will need? Each answer has a remedy.

Nothing that anybody needs is changed, except what `clean` removes: what drills left behind whose
process is gone.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ERROR_KINDS, EXIT_FINE, StrongroomError
from strongroom.repository import Repository
from strongroom.service.application import Application
from strongroom.service.leftover import find_leftovers, remove_leftovers
from strongroom.service.protection import Exposure, exposure
from strongroom.service.selftest import test_engine

_FEW_BYTES: Final = 1 << 30
CLOCK_TOLERANCE: Final = timedelta(minutes=2)


class State(StrEnum):
    """How an answer counts; FAILED means that a backup or a recovery would not work."""

    FINE = "fine"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report; `remedy` is empty when nothing has to be done, `code` is
    the error that a backup or a recovery would end with."""

    name: str
    state: State
    observed: str
    remedy: str = ""
    code: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "name": self.name,
            "state": self.state.value,
            "observed": self.observed,
            "remedy": self.remedy,
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All lines, in the order of the pipeline."""

    checks: tuple[Check, ...]
    removed: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        codes = [one.code for one in self.checks if one.state is State.FAILED]
        return ERROR_KINDS[codes[0]].exit_status if codes else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "checks": [one.as_json() for one in self.checks],
            "removed": list(self.removed),
        }


def examine(application: Application, *, clean: bool = False) -> DoctorReport:
    """Look at the engine, the state directory, sources, repositories and leftovers."""
    from strongroom.service.diagnosis import source_checks
    from strongroom.service.kit_diagnosis import kit_checks

    removed = tuple(map(str, remove_leftovers(application))) if clean else ()
    checks = [
        *_engine(),
        *_state(application),
        *source_checks(application),
        *_repositories(application),
        *kit_checks(application),
        *_leftovers(application),
    ]
    return DoctorReport(tuple(checks), removed)


def failed(name: str, error: StrongroomError) -> Check:
    """The line for an error."""
    return Check(name, State.FAILED, str(error), error.hint, error.code)


def _engine() -> Iterator[Check]:
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    try:
        size_bytes = test_engine()
    except StrongroomError as error:
        yield failed("engine", error)
        return
    told = f"{size_bytes >> 10} KiB written, read back, damage noticed; {python}"
    yield Check("engine", State.FINE, told)


def _state(application: Application) -> Iterator[Check]:
    try:
        state = application.state
        existing = next(one for one in (state, *state.parents) if one.exists())
        faults = application.ledger.verify()
    except StrongroomError as error:
        yield failed("state", error)
        return
    if not _is_writable(existing):
        remedy = "Let this user write there, or name another folder in `state:`."
        told = f"{existing} cannot be written to"
        yield Check("state", State.FAILED, told, remedy, "config-invalid")
        return
    yield space_check("state", existing)
    if faults:
        first = f"line {faults[0].line}: {faults[0].message}"
        told = f"{len(faults)} faults, first {first}"
        remedy = "Find out who edited it; keep the file as it is, and move it aside."
        yield Check("ledger", State.FAILED, told, remedy, "data-damaged")
    else:
        records = sum(1 for _ in application.ledger.entries())
        yield Check("ledger", State.FINE, f"{records} records, the chain is whole")


def _is_writable(folder: Path) -> bool:
    import os

    return os.access(folder, os.W_OK | os.X_OK)


def space_check(name: str, folder: Path, wanted_bytes: int = _FEW_BYTES) -> Check:
    """Whether a folder's file system has room for what is to come."""
    usage = shutil.disk_usage(folder)
    told = f"{folder}: {usage.free >> 20:,} MiB of {usage.total >> 20:,} MiB free"
    if usage.free >= max(wanted_bytes, _FEW_BYTES):
        return Check(name, State.FINE, told)
    return Check(name, State.WARNING, told, "Free space there.")


def _repositories(application: Application) -> Iterator[Check]:
    exposures: dict[str, Exposure] = {}
    for name in application.settings.repositories:
        title = f"repository {name}"
        try:
            repository = application.repository(name)
            yield from _repository(title, repository)
            exposures[title] = exposure(repository)
        except StrongroomError as error:
            yield failed(title, error)
    # One copy out of a thief's reach is enough; what nobody knows is never taken for one.
    safe = any(one.protected for one in exposures.values())
    for title, one in exposures.items():
        fine = one.protected or (safe and one.protected is False)
        yield Check(
            f"{title}: stolen credentials",
            State.FINE if fine else State.WARNING,
            one.told,
            "" if fine else one.remedy,
        )


def _repository(title: str, repository: Repository) -> Iterator[Check]:
    listed = repository.snapshots()
    told = f"opens, {len(listed.snapshots)} snapshots at {repository.location}"
    if listed.findings:
        remedy = f"Run `strongroom check {repository.name}`."
        unreadable = f"{told}; {len(listed.findings)} unreadable"
        yield Check(title, State.WARNING, unreadable, remedy)
    else:
        yield Check(title, State.FINE, told)
    if listed.snapshots:
        yield _clock(title, listed.snapshots[-1].time)
    place = Path(repository.location)
    if place.is_dir():
        sizes = [one.size_bytes or 0 for one in listed.snapshots[-10:]]
        yield space_check(f"{title}: space", place, max(sizes, default=0))


def _clock(title: str, newest: datetime) -> Check:
    ahead = newest - datetime.now(UTC)
    if ahead <= CLOCK_TOLERANCE:
        return Check(f"{title}: clock", State.FINE, "no snapshot is from the future")
    return Check(
        f"{title}: clock",
        State.FAILED,
        f"the newest snapshot is {ahead} ahead of this host's clock",
        "Set the clocks of the hosts that write here by NTP.",
        "source-failed",
    )


def _leftovers(application: Application) -> Iterator[Check]:
    found = find_leftovers(application)
    if found:
        told = f"{len(found)} left by drills that were killed, first {found[0]}"
        remedy = "Run `strongroom doctor --clean`."
        yield Check("leftovers", State.WARNING, told, remedy)
    else:
        yield Check("leftovers", State.FINE, "none")
