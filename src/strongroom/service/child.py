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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ERROR_KINDS, Retry

LOG: Final = logging.getLogger("strongroom.run")
# The descriptor of the pipe that a child watches.
LIFELINE: Final = "STRONGROOM_LIFELINE"
# Which run of the schedule a child is, for its records.
JOB: Final = "STRONGROOM_JOB"
_MOST_MESSAGES: Final = 200


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended: its exit status, negative for a signal, and all that it answered."""

    exit_status: int
    output: str
    messages: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:  # Any: JSON values
        """The answer as JSON; an error of its own when it is none."""
        try:
            found = json.loads(self.output)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        told = self.messages[-1] if self.messages else "it ended without an answer"
        status = self.exit_status
        ended = f"by signal {-status}" if status < 0 else f"with status {status}"
        kind = ERROR_KINDS["bug"]
        message = f"the run ended {ended}: {told}"
        return {"error": {"code": kind.code, "message": message, "hint": kind.hint}}

    @property
    def error(self) -> dict[str, str] | None:
        """Code, message and hint of what ended the run, if anything did."""
        given = self.document.get("error")
        if not isinstance(given, dict):
            return None
        return {key: str(given.get(key, "")) for key in ("code", "message", "hint")}

    @property
    def may_succeed_later(self) -> bool:
        """Whether the same run, made again after a while, may end better."""
        error = self.error
        kind = ERROR_KINDS.get(error["code"]) if error is not None else None
        return kind is not None and kind.retry is Retry.LATER


class Children:
    """The runs that are under way. Safe to use from several threads."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run(
        self,
        arguments: Sequence[str],
        given: Mapping[str, Any] | None = None,  # Any: JSON values
        *,
        job: str = "",
    ) -> Ran:
        """Run `strongroom ARGUMENTS` to its end; `given` goes to its standard input as JSON.

        Does not return when the service is stopping meanwhile: what a stopped run answers must
        count for nothing, and the next service does it again.
        """
        command = [sys.executable, "-m", "strongroom", "--config", str(self._config), *arguments]
        watched, held = os.pipe()
        try:
            environment = {**os.environ, LIFELINE: str(watched), JOB: job}
            with self._started(command, environment, watched) as child:
                os.close(watched)
                watched = -1
                ran = _followed(child, given)
        finally:
            os.close(held)
            if watched >= 0:
                os.close(watched)
        if self._stopping:
            threading.Event().wait()
        return ran

    @contextlib.contextmanager
    def _started(
        self, command: Sequence[str], environment: Mapping[str, str], watched: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self._guard:
            if self._stopping:
                child = None
            else:
                child = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(watched,),
                    process_group=0,  # a terminal's Ctrl-C is the service's to handle
                )
                self._running.add(child)
        if child is None:
            threading.Event().wait()
            raise AssertionError("a service that stops comes to its end")
        try:
            with child:
                yield child
        finally:
            with self._guard:
                self._running.discard(child)

    def stop(self) -> None:
        """No run begins any more, and those under way are asked to end."""
        with self._guard:
            self._stopping = True
            for child in self._running:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGTERM)

    @property
    def count(self) -> int:
        """How many are under way."""
        with self._guard:
            return len(self._running)


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


def watch_lifeline() -> None:
    """In a child: end as by SIGTERM when the service is gone. Nothing in any other process."""
    given = os.environ.pop(LIFELINE, "")
    if not given.isdecimal():
        return
    threading.Thread(target=_watch, args=(int(given),), name="lifeline", daemon=True).start()


def _watch(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
