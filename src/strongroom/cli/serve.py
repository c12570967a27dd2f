"""`serve`: the service that does everything by itself."""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.errors import ConfigError

_NOWHERE = "none"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LEAST_HEARTBEAT = timedelta(seconds=2)


class _Span(click.ParamType[timedelta]):
    name = "duration"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> timedelta:
        from strongroom.config.value import parse_duration

        try:
            return parse_duration(str(given))
        except ValueError as error:
            self.fail(str(error), parameter, context)


# Any: click's own parameters
def _agent(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is not None and not _NAME.fullmatch(given):
        raise _misfit(
            given, "it is no name", "Take up to 63 small letters, digits, hyphens and underscores."
        )
    return given


@click.command(
    cls=Command,
    examples=(
        "strongroom serve --listen 127.0.0.1:8480 --log-format json",
        "strongroom serve --agent tms-1 --controller --most-drills 4",
    ),
)
@click.option(
    "--listen",
    default="127.0.0.1:8480",
    show_default=True,
    metavar="HOST:PORT",
    help="Where health and metrics are told over HTTP; `none` for nowhere.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How a line of the log looks.",
)
@click.option(
    "--grace",
    type=_Span(),
    default="60s",
    show_default=True,
    metavar="DURATION",
    help="How long runs may take to end when the service is stopped; what is not done by then "
    "goes on at the next start.",
)
@click.option(
    "--agent",
    metavar="NAME",
    callback=_agent,
    help="The name of this service in a fleet, whose database `state` names; health and metrics of "
    "the controller show it.",
)
@click.option(
    "--controller",
    is_flag=True,
    help="Watch the other services of the fleet: their loss and their verdicts are told with this "
    "application's own, and drills of lost workers are given to others.",
)
@click.option(
    "--heartbeat",
    type=_Span(),
    default="3m",
    show_default=True,
    metavar="DURATION",
    help="Within which span the fleet sees that this service is lost.",
)
@click.option(
    "--most-drills",
    type=click.IntRange(1),
    metavar="COUNT",
    help="With --controller: how many drills the fleet makes at once; without it, as many as it "
    "has drill workers.",
)
@click.option(
    "--drill-here",
    is_flag=True,
    help="Make this application's drills here instead of giving them to drill workers.",
)
@click.option(
    "--drills",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Be a drill worker and nothing else: FOLDER holds configurations of applications, with "
    "the secrets of their repositories alone.",
)
@click.pass_obj
def serve(run: Run, /, listen: str, log_format: str, grace: timedelta, **fleet: Any) -> int:
    """Capture, check, prove, prune and tell, as the configuration says, until stopped.

    One service runs for each state folder. SIGTERM stops it, SIGHUP lets it read its configuration
    anew, which stays as it was when the new one has faults. See `strongroom schedule` for what it
    will do, contrib/systemd for units, and OPERATIONS.md for a fleet.
    """
    from strongroom.service.logs import log_to_stderr
    from strongroom.web.server import listening

    host, port = _address(listen)
    _refuse_misfits(**fleet)
    log_to_stderr("json" if log_format == "json" else "text", verbose=run.verbose)
    face = partial(listening, host=host, port=port)
    if fleet["drills"] is not None:
        _drill(run, face, grace, fleet["drills"], fleet["agent"], fleet["heartbeat"])
    else:
        _serve(run, face, grace, **fleet)
    run.conclude(0)
    run.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of runs that were stopped wait for the process to end.
    os._exit(0)


# Any in what follows: a board that the service shows, and click's own parameters


def _serve(run: Run, face: Any, grace: timedelta, **fleet: Any) -> None:
    from strongroom.config import find_config
    from strongroom.service.daemon import Daemon, Options
    from strongroom.service.fleet import Membership

    config = find_config(run.config)
    application = run.application()
    member = None
    if fleet["agent"] is not None:
        member = Membership(
            fleet["agent"],
            fleet["heartbeat"],
            fleet["controller"],
            fleet["most_drills"],
            fleet["drill_here"],
        )
    Daemon(Options(config, grace, member), application, face).run()


def _drill(
    run: Run, face: Any, grace: timedelta, folder: Path, name: str, heartbeat: timedelta
) -> None:
    from strongroom.service.drill_service import DrillService, WorkerOptions

    DrillService(WorkerOptions(name, folder, run.state, heartbeat, grace), face).run()


def _refuse_misfits(
    agent: str | None,
    drills: Path | None,
    heartbeat: timedelta,
    most_drills: int | None,
    **flags: bool,
) -> None:
    """ConfigError `usage` for options that don't fit together."""
    given = [f"--{name.replace('_', '-')}" for name, is_set in flags.items() if is_set]
    given += ["--drills"] if drills is not None else []
    if agent is None and given:
        raise _misfit(given[0], "it belongs to a service of a fleet", "Add --agent NAME.")
    if drills is not None and len(given) > 1:
        raise _misfit(given[0], "a drill worker does nothing else", "Start two services.")
    if most_drills is not None and "--controller" not in given:
        raise _misfit("--most-drills", "the controller says so", "Add --controller.")
    if heartbeat < _LEAST_HEARTBEAT:
        raise _misfit("--heartbeat", "so short a silence means nothing", "Give 2s at least.")


def _misfit(option: str, message: str, hint: str) -> ConfigError:
    return ConfigError(message, subject=option, code="usage", hint=hint)


def _address(listen: str) -> tuple[str, int | None]:
    """Host and port, None for nowhere; ConfigError `usage` for what is no address."""
    if listen == _NOWHERE:
        return "", None
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    known = colon and host and (bracketed or ":" not in host)
    if not known or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            "it is no address and port",
            subject=listen,
            code="usage",
            hint="Write it as 127.0.0.1:8480, or [::1]:8480.",
        )
    return host.strip("[]"), int(port)
