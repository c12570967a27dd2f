"""The schedule for other schedulers: systemd's timers and services, and lines of a crontab.

They run the same commands at the same times, each with its own manners on days on which clocks are
changed. They know nothing of what excludes each other: a command that finds another in its way
ends with status 4 (`busy`), and systemd tries it again.

Invariant: no secret gets into what is written here (I6). Commands find secrets that the
configuration takes from variables in a file, which is named and never read.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from strongroom.config import Settings
from strongroom.errors import ConfigError, TargetError
from strongroom.plan.calendar import jitter
from strongroom.plan.job import (
    APPLICATION_DRILL,
    CAPTURE,
    CHECK,
    COPY,
    DRILL,
    KIT_DRILL,
    PRUNE,
    Job,
    Timetable,
)
from strongroom.plan.other_schedulers import crontab_fields, on_calendar
from strongroom.service.own_program import own_program
from strongroom.service.publication import publish
from strongroom.service.scheduling import timetable_of

SYSTEM_UNITS: Final = "/etc/systemd/system"
USER_UNITS: Final = "~/.config/systemd/user"
_MARK: Final = "# Written by `strongroom schedule --systemd` for {}, which will write over it.\n"
_PLACES: Final = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
)
_ANY_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VARIABLE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_WORD: Final = re.compile(r"[A-Za-z0-9_@+=:,./%$-]+")
_NO_COPY: Final = (
    "copy has no time of its own: each backup brings up to date what a repository missed"
)

_SERVICE: Final = """\
{mark}[Unit]
Description=Strongroom: {job} of {application}
{network}
[Service]
Type=exec
ExecStart={command}
EnvironmentFile=-{environment}
UMask=0077
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
TimeoutStopSec=5min
# Another run is in the way (status 4): try again.
RestartForceExitStatus=4
RestartSec=10min
"""
_NETWORK: Final = """\
Wants=network-online.target
After=network-online.target
"""
_TIMER: Final = """\
{mark}# {declared}
[Unit]
Description=Strongroom: when {job} of {application} is due

[Timer]
{times}
{spread}Persistent=true

[Install]
WantedBy=timers.target
"""
_SPREAD: Final = """\
RandomizedDelaySec={seconds}
FixedRandomDelay=true
"""


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A unit and what its file holds."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Units:
    """A timer and a service for each job; `stale` are units of ours in the folder that belong to
    no job any more."""

    files: tuple[UnitFile, ...]
    notes: tuple[str, ...]
    output: Path | None = None
    stale: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "units": [{"name": one.name, "content": one.content} for one in self.files],
            "output": str(self.output) if self.output else None,
            "stale": list(self.stale),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Crontab:
    """Lines of a crontab; what is to be known stands in them as comments."""

    lines: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {"crontab": "\n".join(self.lines) + "\n"}


def systemd_units(
    settings: Settings, config: Path, output: Path | None = None, *, is_system: bool
) -> Units:
    """Units for all jobs of the configuration at `config`, for the system or for a user's own
    manager; written into the folder `output`, which is made, if one is named.

    ConfigError when systemd has no words for a time, TargetError when a file is not ours or can't
    be written; then nothing is.
    """
    timetable = timetable_of(settings)
    files = tuple(
        one
        for job in _timed(timetable)
        for one in _unit_pair(settings, config, job, _NETWORK if is_system else "")
    )
    notes = [one.message for one in timetable.omitted if one.name != COPY]
    if any(one.name == COPY for one in timetable.jobs):
        notes.append(_NO_COPY)
    notes += _advice(settings, config, files, is_system=is_system)
    if output is None:
        return Units(files, tuple(notes))
    _write(settings, files, output)
    return Units(files, tuple(notes), output, tuple(_stale(settings, files, output)))


def crontab(settings: Settings, config: Path) -> Crontab:
    """A line for each job of the configuration at `config`; ConfigError when other crons have no
    words for a time."""
    timetable = timetable_of(settings)
    return Crontab(tuple(_crontab_lines(settings, config, timetable)))


# --- Commands --------------------------------------------------------------------------------


def command_of(job: Job, settings: Settings) -> list[str]:
    """The words of the command that does what this job does, after the program's own."""
    if job.action == CAPTURE:
        is_all = set(job.sources) == set(settings.sources)
        return ["backup", *(() if is_all else job.sources)]
    if job.action == CHECK:
        return ["check", str(job.repository), f"--read-data={job.amount}"]
    if job.action.startswith("verify-"):
        return ["verify", job.action.removeprefix("verify-")]
    return {
        PRUNE: ["prune"],
        DRILL: ["drill", "--next"],
        APPLICATION_DRILL: ["drill", "--application"],
        KIT_DRILL: ["kit", "drill"],
    }[job.action]


def _command(job: Job, settings: Settings, config: Path) -> list[str]:
    return [*own_program(), "--config", str(config), "--quiet", *command_of(job, settings)]


def _timed(timetable: Timetable) -> list[Job]:
    return [one for one in timetable.jobs if one.fields]


def _environment_file(config: Path) -> Path:
    return config.with_name("environment")


def variables(settings: Settings) -> list[str]:
    """The names of the variables in which the configuration's secrets are looked for."""
    return sorted(set(_variables(settings.model_dump())))


def _variables(value: Any) -> Iterator[str]:  # Any: whatever a setting holds
    if isinstance(value, str):
        found = _VARIABLE.fullmatch(value)
        if found:
            yield found[1]
    elif isinstance(value, dict):
        for one in value.values():
            yield from _variables(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _variables(one)


_Text = TypeVar("_Text")


def _translated(translate: Callable[[], _Text], job: Job, what: str) -> _Text:
    try:
        return translate()
    except ValueError as error:
        raise ConfigError(
            f"{job.fields} cannot be written for {what}: {error}",
            subject=job.setting,
            hint="Write it with numbers, * and weekdays, or let `strongroom serve` run it.",
        ) from None


# --- systemd ---------------------------------------------------------------------------------


def _unit_pair(settings: Settings, config: Path, job: Job, network: str) -> Iterator[UnitFile]:
    name = _unit_name(settings, job)
    words = {"mark": _mark(settings), "job": job.name, "application": settings.application}
    yield UnitFile(
        f"{name}.service",
        _SERVICE.format(
            **words,
            network=network,
            command=" ".join(map(_unit_word, _command(job, settings, config))),
            environment=str(_environment_file(config)).replace("%", "%%"),
        ),
    )
    lines = _translated(lambda: on_calendar(job.fields, job.time_zone), job, "a systemd timer")
    seconds = int(job.most_jitter.total_seconds())
    yield UnitFile(
        f"{name}.timer",
        _TIMER.format(
            **words,
            declared=job.declared,
            times="\n".join(f"OnCalendar={one}" for one in lines),
            spread=_SPREAD.format(seconds=seconds) if seconds else "",
        ),
    )


def _unit_name(settings: Settings, job: Job) -> str:
    return f"strongroom-{settings.application}-{job.name.replace(':', '-')}"


def _unit_word(word: str) -> str:
    """A word of a command line as systemd.service(5) reads it."""
    escaped = word.replace("%", "%%").replace("$", "$$")
    if _WORD.fullmatch(word):
        return escaped
    for sign, told in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        escaped = escaped.replace(sign, told)
    return f'"{escaped}"'


def _advice(
    settings: Settings, config: Path, files: Sequence[UnitFile], *, is_system: bool
) -> Iterator[str]:
    """What is left to do for the units."""
    timers = " ".join(one.name for one in files if one.name.endswith(".timer"))
    folder, user = (SYSTEM_UNITS, "") if is_system else (USER_UNITS, " --user")
    yield f"Units belong into {folder}; then: systemctl{user} daemon-reload"
    if timers:
        yield f"Start the timers: systemctl{user} enable --now {timers}"
    if not is_system:
        yield "Without root they run while you are logged in; for always: loginctl enable-linger"
    if names := variables(settings):
        yield (
            f"Put NAME=VALUE into {_environment_file(config)}, with mode 600, for: "
            f"{', '.join(names)}"
        )


def _write(settings: Settings, files: Sequence[UnitFile], output: Path) -> None:
    for one in files:
        path = output / one.name
        if os.path.lexists(path) and not _is_ours(settings, path):
            raise TargetError(
                f"it is there and was not written for {settings.application}",
                subject=str(path),
                hint="Choose another folder, or remove it.",
            )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(os.strerror(error.errno or 0), subject=str(output)) from error
    for one in files:
        _write_unit(output / one.name, one.content.encode())


def _write_unit(path: Path, content: bytes) -> None:
    publish(path, content)


def _stale(settings: Settings, files: Sequence[UnitFile], output: Path) -> Iterator[str]:
    names = {one.name for one in files}
    for path in sorted(output.glob(f"strongroom-{settings.application}-*")):
        is_unit = path.suffix in (".service", ".timer")
        if is_unit and path.name not in names and _is_ours(settings, path):
            yield path.name


def _mark(settings: Settings) -> str:
    return _MARK.format(settings.application)


def _is_ours(settings: Settings, path: Path) -> bool:
    try:
        return path.read_text("utf-8", "replace").startswith(_mark(settings))
    except OSError:
        return False


# --- cron ------------------------------------------------------------------------------------


def _crontab_lines(settings: Settings, config: Path, timetable: Timetable) -> Iterator[str]:
    zone = settings.schedule.time_zone
    yield "# Written by `strongroom schedule --cron`: add it to `crontab -e`, or install it alone."
    yield "# CRON_TZ is obeyed by cronie; where cron does not know it, as on Debian and Ubuntu,"
    yield f"# times are the host's: then let the host's time zone be {zone}."
    yield "# A host that sleeps misses runs, and nothing makes up for them."
    if any(one.name == COPY for one in timetable.jobs):
        yield f"# {_NO_COPY}"
    for one in timetable.omitted:
        if one.name != COPY:
            yield f"# {one.message}"
    before = ""
    if names := variables(settings):
        file = _environment_file(config)
        yield f"# {file} says, with mode 600, NAME=VALUE for: {', '.join(names)}"
        before = f"set -a; . {shlex.quote(str(file))}; set +a; "
    yield "SHELL=/bin/sh"
    yield f"PATH={_path()}"
    yield f"CRON_TZ={zone}"
    for job in _timed(timetable):
        yield f"# {job.name}: {job.declared}"
        yield _crontab_line(job, before + shlex.join(_command(job, settings, config)))


def _crontab_line(job: Job, command: str) -> str:
    if "\n" in command:
        raise ConfigError(
            "a crontab has no words for a path with a line break",
            subject="configuration",
            hint="Move the configuration to another path.",
        )
    fields = _translated(lambda: crontab_fields(job.fields), job, "a crontab")
    # Cron has no jitter, so each job gets its own part of it, always the same.
    seconds = jitter(job.application, job.name, _ANY_TIME, job.most_jitter).total_seconds()
    delay = f"sleep {seconds:.0f}; " if seconds else ""
    # To cron a percent sign ends the command.
    return f"{fields} {delay}{command}".replace("%", "\\%")


def _path() -> str:
    """Where commands are looked for: where this program is, then the usual places."""
    program = str(Path(own_program()[0]).parent)
    return ":".join(_PLACES if program in _PLACES else (program, *_PLACES))
