"""The way into a sandbox: starts its keeper, hands it commands, and never waits longer than told.

Invariant: when the context ends, or this process dies however suddenly, nothing that was started
in the sandbox runs any more.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from strongroom.confinement.kernel import Limits

_GREETING_SECONDS: Final = 30.0
# What an answer may take beyond the time that the command itself was given.
_GRACE_SECONDS: Final = 15.0
_IDLE_SECONDS: Final = 1.0

# What begins the reason when the host lacks a program, which is no fault of the application.
MISSING: Final = "there is no program "


class EnclosureError(Exception):
    """The sandbox was refused by this host, or is gone; the text says why."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a sandbox is to be.

    `shown` and `writable` are folders, `replaced` has other files in the place of some; `user` and
    `group` are ids of whom programs run as (None: who we are). Without `own_network` nothing is
    kept from it: it reaches what this host reaches.
    """

    shown: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    replaced: Mapping[Path, Path] = field(default_factory=dict)
    user: int | None = None
    group: int | None = None
    limits: Limits = field(default_factory=Limits)
    own_network: bool = True


@dataclass(frozen=True, slots=True)
class Program:
    """A program with its arguments, where it runs, all of its environment, and where its output
    goes."""

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the application. Names and values are as they are to be sent."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """The application's answer; `body` is the beginning of it, `size_bytes` and `sha256` tell of
    the whole."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    size_bytes: int
    sha256: str

    @property
    def is_cut(self) -> bool:
        return len(self.body) < self.size_bytes


@dataclass(frozen=True, slots=True)
class Remains:
    """What there was at the end: the application's exit status if it had ended by itself, how many
    processes had detached themselves, and what the sink has taken."""

    status: int | None
    strays: int
    mails: int
    requests: int


class Enclosure:
    """A sandbox for one application; a context. EnclosureError when this host makes none."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self._keeper: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self.port = 0
        self.mail_port = 0
        self.web_port = 0

    def __enter__(self) -> Self:
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-m", "strongroom.confinement.keeper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
            )
            greeted = self._ask(self._greeting(), _GREETING_SECONDS)
        except BaseException:
            self.close()
            raise
        self.port, self.mail_port = greeted["port"], greeted["mail_port"]
        self.web_port = greeted["web_port"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the keeper, and with it all that runs inside. Does nothing the second time."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            for pipe in (keeper.stdin, keeper.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            # The end of its input ends it, unless it is in the middle of a command.
            for end, seconds in ((None, _IDLE_SECONDS), (keeper.terminate, _GRACE_SECONDS)):
                if end is not None:
                    end()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    keeper.wait(seconds)
                    break
            keeper.kill()
            keeper.wait()
        self._messages.close()

    def run(self, program: Program, seconds: float) -> str:
        """Run a program to its end; empty when all went well, else what did not."""
        answer = self._ask({"do": "run", **_given(program), "seconds": seconds}, seconds)
        if "status" in answer:
            status = answer["status"]
            return f"it ended with status {status}" if status else ""
        if "late" in answer:
            return f"it did not end within {seconds:g} s"
        return _why(answer)

    def start(self, program: Program) -> str:
        """Start the application; empty when it runs, else why it doesn't."""
        answer = self._ask({"do": "start", **_given(program)}, 0)
        return "" if "started" in answer else _why(answer)

    def wait_for_listener(self, seconds: float) -> str:
        """Wait until the application takes connections; empty, or why it does not."""
        answer = self._ask({"do": "await", "seconds": seconds}, seconds)
        if answer.get("listening"):
            return ""
        if "ended" in answer:
            return f"it ended at once with status {answer['ended']}"
        return f"it does not listen on 127.0.0.1:{self.port} after {seconds:g} s"

    def request(self, wanted: Request, seconds: float) -> Reply | str:
        """The application's answer, or why there is none."""
        answer = self._ask(
            {
                "do": "request",
                "method": wanted.method,
                "path": wanted.path,
                "headers": dict(wanted.headers),
                "body": base64.b64encode(wanted.body).decode(),
                "seconds": seconds,
            },
            seconds,
        )
        if "failed" in answer:
            return str(answer["failed"])
        return Reply(
            answer["status"],
            [(name, value) for name, value in answer["headers"]],
            base64.b64decode(answer["body"]),
            answer["size"],
            answer["sha256"],
        )

    def ended(self) -> int | None:
        """The application's exit status when it has ended by itself."""
        seconds = _IDLE_SECONDS
        status: int | None = self._ask({"do": "ended", "seconds": seconds}, seconds)["ended"]
        return status

    def stop(self, seconds: float) -> Remains:
        """End the application, by its process group first, after so many seconds by force."""
        answer = self._ask({"do": "stop", "seconds": seconds}, seconds)
        return Remains(answer["status"], answer["strays"], answer["mails"], answer["requests"])

    # The conversation

    def _greeting(self) -> dict[str, Any]:  # Any: JSON values
        around = self._surroundings
        return {
            "shown": [str(one) for one in around.shown],
            "writable": [str(one) for one in around.writable],
            "replaced": {str(one): str(by) for one, by in around.replaced.items()},
            "user": around.user,
            "group": around.group,
            "limits": asdict(around.limits),
            "network": "own" if around.own_network else "host",
        }

    def _ask(self, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a command that is given `seconds`. Any: JSON values."""
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        try:
            self._keeper.stdin.write(json.dumps(command).encode() + b"\n")
            self._keeper.stdin.flush()
        except OSError:
            raise self._lost() from None
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds + _GRACE_SECONDS))
        if "refused" in answer:
            raise EnclosureError(str(answer["refused"]))
        return answer

    def _line(self, deadline: float) -> bytes:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        pipe = self._keeper.stdout.fileno()
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise EnclosureError("its keeper does not answer any more")
            block = os.read(pipe, 1 << 20)
            if not block:
                raise self._lost()
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _lost(self) -> EnclosureError:
        self._messages.seek(0)
        told = self._messages.read().decode(errors="replace").strip().splitlines()
        return EnclosureError(f"its keeper is gone: {told[-1] if told else 'without a word'}")


def _given(program: Program) -> dict[str, Any]:  # Any: JSON values
    return {
        "arguments": list(program.arguments),
        "folder": str(program.folder),
        "environment": dict(program.environment),
        "log": str(program.log),
    }


def _why(answer: Mapping[str, Any]) -> str:  # Any: JSON values
    if "missing" in answer:
        return f"{MISSING}{answer['missing']}"
    return f"it did not start: {answer['failed']}"
