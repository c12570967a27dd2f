"""`open`: look into a snapshot of a database."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import NOTED_REASON, STORE_AS_OF, Command
from strongroom.cli.run import Run
from strongroom.cli.text import age, coloured, finding_lines, plain, span
from strongroom.errors import EXIT_FINE, ConfigError, SourceError

if TYPE_CHECKING:
    from strongroom.service.opening import Opened

_GLANCE_SECONDS: Final = 0.5


class _Span(click.ParamType[timedelta]):
    """A duration as the configuration has it."""

    name = "span"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> timedelta:
        from strongroom.config.value import parse_duration

        if isinstance(given, timedelta):
            return given
        try:
            return parse_duration(given)
        except ValueError as error:
            self.fail(str(error), parameter, context)


@click.command(
    name="open",
    cls=Command,
    examples=(
        "strongroom open latest:database",
        "strongroom open 1a2b3c4d --print --for 2h --port 0",
    ),
)
@click.argument("snapshot")
@click.option(
    "--print",
    "prints",
    is_flag=True,
    help="Print the address, with a password made for it, in the place of starting psql.",
)
@click.option(
    "--for",
    "hold",
    type=_Span(),
    metavar="SPAN",
    help="Keep it open so long, such as 2h; without it until Ctrl-C or the end of the input.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Also on 127.0.0.1 at this port, 0 for any that is free: for tools that know no sockets.",
)
@NOTED_REASON
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def open_(
    run: Run,
    snapshot: str,
    prints: bool,
    hold: timedelta | None,
    port: int | None,
    repository: str | None,
) -> int:
    """Look into a database as it was: a psql, or an address for any tool.

    SNAPSHOT is the beginning of an id, or `latest:SOURCE`. It is restored into a sandbox in which
    nothing can be changed, and which is gone when this command ends. Statements on standard input
    are run by psql.
    """
    from strongroom.service.opening import opened

    asks = not (prints or run.json or hold)
    interactive = asks and sys.stdin.isatty() and sys.stdout.isatty()

    def look_at_input() -> None:
        if not hold and not sys.stdin.isatty() and _input_is_empty():
            raise ConfigError(
                "standard input is empty, so it would be closed again at once",
                subject=snapshot,
                code="usage",
                hint="Give statements on standard input, or --for 2h to keep it open.",
            )

    application = run.application()
    with (
        opened(
            application, snapshot, repository=repository, port=port, before=look_at_input
        ) as one,
        # From here on it is open, and a signal is how it is closed.
        contextlib.suppress(KeyboardInterrupt),
    ):
        if not run.json:
            for line in _statement(one):
                run.tell(line)
        if interactive:
            _psql(one)
        elif asks and not sys.stdin.isatty():
            _run_input(one)
        else:
            run.reveal(one.as_json(), [one.reading.url])
            _hold(one, hold)
    return EXIT_FINE


def _statement(one: Opened) -> Iterator[str]:
    """What is looked into, and how old it is."""
    snapshot = one.candidate.snapshot
    yield (
        f"{plain(one.database)} as it was {age(one.age)} ago ({one.captured_at:%Y-%m-%d %H:%M} "
        f"UTC): snapshot {snapshot.short_id} in {one.candidate.repository.name}, "
        f"{coloured(one.verdict.value)}; open after {span(one.seconds)}, for reading only"
    )
    yield from finding_lines(one.findings)


def _psql(one: Opened) -> None:
    """A psql on this terminal; what it ends with is its own matter."""
    arguments, environment = one.psql()

    def leave_to_psql(_: int, __: FrameType | None) -> None:
        """Ctrl-C stops a statement there, not this command."""

    before = signal.signal(signal.SIGINT, leave_to_psql)
    try:
        subprocess.run(arguments, env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)


def _run_input(one: Opened) -> None:
    """psql takes standard input, up to the first statement that fails: ConfigError `usage`."""
    arguments, environment = one.psql()
    arguments += ["-X", "-v", "ON_ERROR_STOP=1"]
    status = subprocess.run(arguments, env=environment, check=False).returncode
    if status != 0:
        raise ConfigError(
            f"psql ended with status {status} at what it has said above",
            subject="standard input",
            code="usage",
            hint="Mend the statement; nothing can be changed in what is opened.",
        )


def _input_is_empty() -> bool:
    """Whether nothing can come from standard input; nothing is taken from it."""
    descriptor = sys.stdin.fileno()
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return os.lseek(descriptor, 0, os.SEEK_CUR) >= status.st_size
    if stat.S_ISCHR(status.st_mode):
        return os.path.samestat(status, Path(os.devnull).stat())
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    seen = dict(poll.poll(0)).get(descriptor, 0)
    return bool(seen & select.POLLHUP) and not seen & select.POLLIN


def _hold(one: Opened, hold: timedelta | None) -> None:
    """Return when it is time to close: after `hold`, else at the end of standard input. SourceError
    `sandbox-failed` when the server is gone before."""
    ends = None if hold is None else time.monotonic() + hold.total_seconds()
    while one.is_there():
        if ends is None:
            if _input_ended(_GLANCE_SECONDS):
                return
            continue
        left = ends - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _GLANCE_SECONDS))
    raise SourceError("its server has ended", subject=one.database, code="sandbox-failed")


def _input_ended(seconds: float) -> bool:
    """Whether nobody can say anything any more; what is said is not listened to."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1 << 16)
