"""The console script: the tree of commands, and the only place where exceptions end.

Exit statuses come from the one error table; docs/ERRORS.md is made from it. Ctrl-C and SIGTERM
take the same way out: every context manager is left, nothing half-done stays visible, status 130.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final

import click

from strongroom import __version__
from strongroom.cli.alert import alert
from strongroom.cli.backup import backup
from strongroom.cli.browse import diff, dump, ls
from strongroom.cli.check import check
from strongroom.cli.command import Group, global_options
from strongroom.cli.configuration import config
from strongroom.cli.copies import copy
from strongroom.cli.demo import demo
from strongroom.cli.doctor import doctor
from strongroom.cli.export import export, hook
from strongroom.cli.fleet import fleet
from strongroom.cli.intake import import_
from strongroom.cli.key import key
from strongroom.cli.kit import kit
from strongroom.cli.log import log, report
from strongroom.cli.opening import open_
from strongroom.cli.prune import prune
from strongroom.cli.recover import recover
from strongroom.cli.repair import repair
from strongroom.cli.restore import drill, prove, restore
from strongroom.cli.run import Run, output_failed, redact, write_err
from strongroom.cli.runbook import runbook
from strongroom.cli.schedule import schedule
from strongroom.cli.serve import serve
from strongroom.cli.setup import init
from strongroom.cli.snapshots import snapshots
from strongroom.cli.status import status
from strongroom.cli.step import step
from strongroom.cli.text import plain
from strongroom.cli.undelete import undelete
from strongroom.cli.unlock import unlock
from strongroom.cli.verify import verify
from strongroom.errors import EXIT_USAGE, ConfigError, StrongroomError
from strongroom.service.lifeline import watch_lifeline

_COLLECTED_AFTER: Final = 50_000
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMANDS: Final = (
    demo,
    init,
    config,
    backup,
    snapshots,
    ls,
    diff,
    dump,
    restore,
    undelete,
    prove,
    drill,
    recover,
    check,
    repair,
    copy,
    prune,
    unlock,
    key,
    kit,
    export,
    import_,
    open_,
    hook,
    status,
    verify,
    schedule,
    log,
    report,
    runbook,
    alert,
    doctor,
    serve,
    fleet,
    step,
)


@click.group(
    cls=Group,
    name="strongroom",
    params=global_options(),
    examples=("strongroom demo", "strongroom --json backup"),
)
@click.version_option(__version__, prog_name="strongroom", message="%(prog)s %(version)s")
def strongroom() -> None:
    """Keeps a web application recoverable, and proves it.

    Captures the database, the uploaded files and the code as one recovery point, into
    repositories that stock restic reads; restores them, and shows that what came back is what was
    captured.
    """


for one in COMMANDS:
    strongroom.add_command(one)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    if arguments is None:
        # Nearly all that a command makes stays to its end: looking for cycles in it every few
        # hundred objects is a tenth of what a short one takes.
        gc.set_threshold(_COLLECTED_AFTER)
        _keep_standard_streams()
        watch_lifeline()
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Known before parsing, because a mistake in the arguments has to be told in JSON, too.
    words = given[: given.index("--")] if "--" in given else given
    run = Run(
        json="--json" in words, verbose=bool({"-v", "--verbose"} & set(words)), words=tuple(given)
    )
    # What libraries log is for --verbose; without a handler their warnings go to the terminal.
    logging.getLogger().addHandler(logging.NullHandler())
    # No plugin of another package has a say in how the configuration is read.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with _signals():
        try:
            return _conclude(run, _run(given, run))
        finally:
            run.close()


def _conclude(run: Run, status: int) -> int:
    """Record how it ended, which must not end it otherwise unless somebody interrupts that."""
    try:
        run.conclude(status)
    except KeyboardInterrupt:
        return run.failure(_cancelled())
    except Exception as error:  # the edge: a bug in the recording is told like any other
        return _bug(run, error)
    return status


def _cancelled() -> StrongroomError:
    return StrongroomError("the run was cancelled", code="interrupted")


def _run(given: Sequence[str], run: Run) -> int:
    try:
        status = strongroom.main(args=given, prog_name="strongroom", standalone_mode=False, obj=run)
    except StrongroomError as error:
        _trace(run)
        return run.failure(error)
    except click.exceptions.NoArgsIsHelpError as error:
        if run.json:
            return run.failure(_usage(click.UsageError("Missing command", error.ctx)))
        write_err(error.format_message())
        return EXIT_USAGE
    except click.ClickException as error:
        return run.failure(_usage(error))
    except (KeyboardInterrupt, click.exceptions.Abort):
        return run.failure(_cancelled())
    except OSError as error:
        if not _is_of_echo(error):
            return _bug(run, error)
        return run.failure(output_failed(os.strerror(error.errno or 0)))
    except Exception as error:  # the edge: everything else is a bug of ours
        return _bug(run, error)
    return status if isinstance(status, int) else 0


def _bug(run: Run, error: Exception) -> int:
    _trace(run)
    return run.failure(StrongroomError(f"{type(error).__name__}: {error}"))


def _is_of_echo(error: OSError) -> bool:
    """Whether it comes from click's own writing of help or version, which no command of ours is."""
    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    return last.f_code is click.echo.__code__


def _keep_standard_streams() -> None:
    """Where the shell has closed one, a file of ours must not come to be in its place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _usage(error: click.ClickException) -> ConfigError:
    message = error.format_message().replace("\n", " ").rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "strongroom"
    return ConfigError(message, code="usage", hint=f"See `{command} --help`.")


def _trace(run: Run) -> None:
    if run.verbose:
        for line in redact(traceback.format_exc()).split("\n"):
            write_err(plain(line))


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run like Ctrl-C; a second signal waits for the cleaning up."""
    told: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        told.append(number)
        if len(told) == 2:
            write_err("Cleaning up; a third signal stops at once.")
        else:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {one: signal.getsignal(one) for one in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # which nohup and shells set
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
