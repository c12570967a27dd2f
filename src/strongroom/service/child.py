"""Runs of this program's own commands as child processes of the service.

What a run takes, memory above all, is given back when it ends; one that must stop is stopped as by
Ctrl-C, which leaves nothing half-done. A child ends by itself when the service is gone: it watches
a pipe whose other end nobody else has, so that the next service finds nobody at work.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ERROR_KINDS
from strongroom.service.lifeline import COMMANDS, IN_FORCE, JOB, LIFELINE

LOG: Final = logging.getLogger("strongroom.run")
_MOST_MESSAGES: Final = 200
_POLL_SECONDS: Final = 0.1
_FOR_EVER_SECONDS: Final = 3600
# What a service carries out, by its schedule or when it is asked.
_OF_SERVICE: Final = ("backup", "copy", "check", "prune", "drill", "verify", "step")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended: its exit status, negative for a signal, and all that it answered; `records`
    are those that it made for another host's ledger."""

    exit_status: int
    output: str
    messages: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()  # Any: JSON values

    @property
    def document(self) -> dict[str, Any]:  # Any: JSON values
        """The answer as JSON, nothing where it is text; of a run that ended without any, an error
        of its own."""
        try:
            found = json.loads(self.output)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        if self.output and self.exit_status >= 0:
            return {}
        told = self.messages[-1] if self.messages else "it ended without an answer"
        status = self.exit_status
        ended = f"by signal {-status}" if status < 0 else f"with status {status}"
        kind = ERROR_KINDS["bug"]
        message = f"the run ended {ended}: {told}"
        return {"error": {"code": kind.code, "message": message, "hint": kind.hint}}


class Children:
    """The runs that are under way, of these commands and no others. Safe to use from several
    threads."""

    def __init__(self, config: Path, commands: Sequence[str] = _OF_SERVICE) -> None:
        self._config, self._commands = config, commands
        self._guard = threading.Lock()
        self._running: dict[subprocess.Popen[bytes], str] = {}
        self._stopped: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(
        self,
        arguments: Sequence[str],
        given: Mapping[str, Any] | None = None,  # Any: JSON values
        *,
        job: str = "",
        config: Path | None = None,
        text: str | None = None,
    ) -> Ran:
        """Run `strongroom ARGUMENTS` to its end; `given` goes to its standard input as JSON.
        `config` goes before the service's own file, and `text` before what the file holds.

        Does not return when the service stops it, or is about to end: what a stopped run answers
        counts for nothing, and the next service does it again.
        """
        named = str(config or self._config)
        command = [sys.executable, "-m", "strongroom", "--config", named, *arguments]
        watched, held = os.pipe()
        try:
            told = {LIFELINE: str(watched), JOB: job, COMMANDS: " ".join(self._commands)}
            environment = {**os.environ, **told}
            with _readable(text) as descriptor:
                inherited = [watched]
                if descriptor is not None:
                    environment[IN_FORCE] = str(descriptor)
                    inherited.append(descriptor)
                child = self._start(command, environment, inherited, job)
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(watched)
        try:
            with child:
                ran = _followed(child, given)
        finally:
            os.close(held)
            with self._guard:
                self._running.pop(child, None)
                stopped = child in self._stopped
        while stopped:  # nobody is to write down what came of it; the process is about to end
            time.sleep(_FOR_EVER_SECONDS)
        return ran

    def _start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        inherited: Sequence[int],
        job: str,
    ) -> subprocess.Popen[bytes]:
        while True:
            with self._guard:
                if not self._closed:
                    child = subprocess.Popen(
                        command,
                        env=environment,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        pass_fds=inherited,
                        process_group=0,  # a terminal's Ctrl-C is the service's to handle
                    )
                    self._running[child] = job
                    return child
            time.sleep(_FOR_EVER_SECONDS)

    def end(self, grace: timedelta, then: timedelta = timedelta(seconds=60)) -> int:
        """No run begins any more. Those under way have `grace` to come to their end, and `then` to
        stop when they are told to. Returns how many were stopped."""
        with self._guard:
            self._closed = True
        self._wait(grace)
        with self._guard:
            self._stopped |= self._running.keys()
            for child in self._stopped:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGTERM)
        self._wait(then)
        with self._guard:
            for child in self._running:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
        return len(self._stopped)

    def _wait(self, most: timedelta) -> None:
        deadline = time.monotonic() + most.total_seconds()
        while self.count and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    @property
    def count(self) -> int:
        """How many are under way."""
        with self._guard:
            return len(self._running)

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that are under way."""
        with self._guard:
            return frozenset(self._running.values())


@contextlib.contextmanager
def _readable(text: str | None) -> Iterator[int | None]:
    """A descriptor that a child can read this text from, without a file that others could see."""
    if text is None:
        yield None
        return
    descriptor = os.memfd_create("configuration")
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _followed(child: subprocess.Popen[bytes], given: Mapping[str, Any] | None) -> Ran:  # Any: JSON
    """What a child says goes to the log line by line, the last of it into the result."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    messages: list[str] = []
    reader = threading.Thread(target=_log_lines, args=(child, messages), daemon=True)
    reader.start()
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        if given is not None:
            pipe.write(json.dumps(given).encode())
    output = child.stdout.read().decode("utf-8", "replace")
    reader.join()
    return Ran(child.wait(), output, tuple(messages))


def _log_lines(child: subprocess.Popen[bytes], messages: list[str]) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        text = line.decode("utf-8", "replace").rstrip()
        LOG.info("%s", text, extra={"run_pid": child.pid})
        messages.append(text)
        del messages[:-_MOST_MESSAGES]
