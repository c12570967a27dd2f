"""`serve`: the service that does everything by itself."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from functools import partial
from typing import Any

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.errors import ConfigError

_NOWHERE = "none"


class _Span(click.ParamType[timedelta]):
    name = "duration"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> timedelta:
        from strongroom.config.value import parse_duration

        try:
            return parse_duration(str(given))
        except ValueError as error:
            self.fail(str(error), parameter, context)


@click.command(
    cls=Command,
    examples=("strongroom serve", "strongroom serve --listen 127.0.0.1:8480 --log-format json"),
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
@click.pass_obj
def serve(run: Run, listen: str, log_format: str, grace: timedelta) -> int:
    """Capture, check, prove, prune and tell, as the configuration says, until stopped.

    One service runs for each state folder. SIGTERM stops it, SIGHUP lets it read its configuration
    anew, which stays as it was when the new one has faults. See `strongroom schedule` for what it
    will do, and contrib/systemd for a unit.
    """
    from strongroom.config import find_config
    from strongroom.service.daemon import Daemon, Options
    from strongroom.service.logs import log_to_stderr
    from strongroom.web.server import listening

    config = find_config(run.config)
    application = run.application()
    host, port = _address(listen)
    log_to_stderr("json" if log_format == "json" else "text", verbose=run.verbose)
    face = partial(listening, host=host, port=port)
    Daemon(Options(config, grace), application, face).run()
    run.conclude(0)
    run.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of runs that were stopped wait for the process to end.
    os._exit(0)


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
