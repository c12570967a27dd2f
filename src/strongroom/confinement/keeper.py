"""The process inside of a sandbox: it starts the application, asks it, and ends all of it.

Told what to do by lines of JSON on standard input, answers by one line each; see `enclosure`, its
only user. The end of the input, or of the process that started it, ends everything. Where the
kernel lets it, it is the first process of a space of its own, so that whatever the application
starts, and however that detaches itself, is killed with it.

It is not for secrets to pass the command line: they come by the pipe.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from strongroom.confinement import kernel
from strongroom.confinement.sink import Sink, start_sink

BODY_BYTES: Final = 4 << 20  # of an answer; a longer one is hashed as a whole and told in part
_LOOPBACK: Final = "127.0.0.1"
_CLOSING_SECONDS: Final = 5.0
_SPACES: Final = (
    kernel.NEW_MOUNTS | kernel.NEW_IPC | kernel.NEW_PROCESSES | kernel.NEW_NETWORK
)  # fmt: skip

# Any in this module: JSON values, from a process and to one of the same version.
Command = Mapping[str, Any]
Answer = dict[str, Any]


class Keeper:
    """What runs in the sandbox, and the commands that it takes."""

    def __init__(self, greeting: Command, *, alone: bool, running: int, sink: Sink) -> None:
        self._user: int | None = greeting["user"]
        self._group: int | None = greeting["group"]
        self._limits = kernel.Limits(**greeting["limits"])
        # Whether nobody else's process can be seen, so that all may be ended.
        self._alone = alone
        self._running = running
        self._sink = sink
        self._port = _free_port()
        self._program: subprocess.Popen[bytes] | None = None

    def ready(self) -> Answer:
        """The first answer."""
        return {
            "ready": True,
            "port": self._port,
            "mail_port": self._sink.mail_port,
            "web_port": self._sink.web_port,
        }

    def carry_out(self, command: Command) -> Answer:
        """The answer to one command."""
        actions: dict[str, Callable[[Command], Answer]] = {
            "run": self._run,
            "start": self._start,
            "await": self._await,
            "request": self._request,
            "ended": self._ended,
            "stop": self._stop,
        }
        answer = actions[command["do"]](command)
        self._reap()
        return answer

    # Programs

    def _run(self, command: Command) -> Answer:
        """A program that is to end, within its time."""
        try:
            child = self._launch(command)
        except FileNotFoundError:
            return {"missing": command["arguments"][0]}
        except OSError as error:
            return {"failed": error.strerror or str(error)}
        try:
            return {"status": child.wait(command["seconds"])}
        except subprocess.TimeoutExpired:
            self._end_group(child)
            return {"late": True}

    def _start(self, command: Command) -> Answer:
        try:
            self._program = self._launch(command)
        except FileNotFoundError:
            return {"missing": command["arguments"][0]}
        except OSError as error:
            return {"failed": error.strerror or str(error)}
        return {"started": True}

    def _launch(self, command: Command) -> subprocess.Popen[bytes]:
        if not Path(command["folder"]).is_dir():
            raise NotADirectoryError(20, f"there is no folder {command['folder']}")
        with Path(command["log"]).open("ab") as log:
            return subprocess.Popen(
                command["arguments"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=command["folder"],
                env=command["environment"],
                start_new_session=True,
                umask=0o022,
                user=self._user,
                group=self._group,
                # Without this, changing the user alone would keep root's groups.
                extra_groups=None if self._user is None else [],
                preexec_fn=self._humble,  # noqa: PLW1509 - no thread runs in this process
            )

    def _humble(self) -> None:
        kernel.lower_priority()
        kernel.apply_limits(self._limits, self._running)
        kernel.renounce_privileges()
        kernel.die_with_parent()

    def _await(self, command: Command) -> Answer:
        """Whether the application takes connections before its time is over."""
        assert self._program is not None
        deadline = time.monotonic() + command["seconds"]
        while time.monotonic() < deadline:
            status = self._program.poll()
            if status is not None:
                return {"ended": status}
            with contextlib.suppress(OSError):
                socket.create_connection((_LOOPBACK, self._port), timeout=1).close()
                return {"listening": True}
            self._reap()
            time.sleep(0.05)
        return {"listening": False}

    def _ended(self, command: Command) -> Answer:
        """The application's status; one that is about to end is waited for a little."""
        assert self._program is not None
        try:
            return {"ended": self._program.wait(command["seconds"])}
        except subprocess.TimeoutExpired:
            return {"ended": None}

    # Requests

    def _request(self, command: Command) -> Answer:
        deadline = time.monotonic() + command["seconds"]
        connection = http.client.HTTPConnection(_LOOPBACK, self._port, timeout=command["seconds"])
        try:
            return _exchange(connection, command, deadline)
        except TimeoutError:
            return {"failed": f"no whole answer within {command['seconds']:g} s"}
        except (OSError, ValueError, http.client.HTTPException) as error:
            return {"failed": f"{type(error).__name__}: {error}"}
        finally:
            connection.close()

    # The end

    def _stop(self, command: Command) -> Answer:
        """End the application's group, then whatever has left it; tell what there was."""
        status = None
        if self._program is not None:
            status = self._program.poll()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._program.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._program.wait(command["seconds"])
            self._end_group(self._program)
        strays = self._end_strays()
        return {
            "status": status,
            "strays": strays,
            "mails": self._sink.mails,
            "requests": self._sink.requests,
        }

    def _end_group(self, leader: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _CLOSING_SECONDS
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(leader.pid, signal.SIGKILL)
                leader.poll()
                self._reap()
                time.sleep(0.01)

    def _end_strays(self) -> int:
        """Kill what is left; returns how many there were. Each becomes a child of this process
        when its own parent is gone."""
        ended = 0
        deadline = time.monotonic() + _CLOSING_SECONDS
        while time.monotonic() < deadline:
            if self._alone:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:
                for one in _children(os.getpid()) - {self._sink.process}:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one, signal.SIGKILL)
            try:
                process, _ = os.waitpid(-1, 0 if self._alone else os.WNOHANG)
            except ChildProcessError:
                break
            if process == 0:
                if not _children(os.getpid()) - {self._sink.process}:
                    break
                time.sleep(0.01)
            elif process != self._sink.process:
                ended += 1
        return ended

    def _reap(self) -> None:
        """Bury orphans, and leave the application itself to whoever waits for it."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            if self._program is not None and found.si_pid == self._program.pid:
                if self._program.poll() is None:
                    return
                continue
            with contextlib.suppress(ChildProcessError):
                os.waitpid(found.si_pid, os.WNOHANG)


def _children(process: int) -> set[int]:
    """All below a process, as far as they are to be seen."""
    found: set[int] = set()
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    grown = True
    while grown:
        below = {one for one, parent in parents.items() if parent in found | {process}}
        grown, found = below != found, below
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _exchange(connection: http.client.HTTPConnection, command: Command, deadline: float) -> Answer:
    headers = command["headers"]
    names = {name.lower() for name in headers}
    path = command["path"]
    connection.putrequest(
        command["method"], path, skip_host="host" in names, skip_accept_encoding=True
    )
    for name, value in headers.items():
        connection.putheader(name, value)
    body = base64.b64decode(command["body"])
    if body or command["method"] in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    answer = connection.getresponse()
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    while block := _read(connection, answer, deadline):
        digest.update(block)
        size += len(block)
        kept += block[: BODY_BYTES - len(kept)]
    return {
        "status": answer.status,
        "headers": [[name, value] for name, value in answer.getheaders()],
        "size": size,
        "sha256": digest.hexdigest(),
        "body": base64.b64encode(kept).decode(),
    }


def _read(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, deadline: float
) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if connection.sock is not None:
        connection.sock.settimeout(left)
    return answer.read1(65536)


def _say(answer: Answer) -> None:
    line = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def _serve(greeting: Command, *, alone: bool, running: int) -> None:
    """Answer commands until there are no more."""
    if greeting["network"] == "own":
        kernel.raise_loopback()
        kernel.narrow(
            kernel.View(
                shown=[Path(one) for one in greeting["shown"]],
                writable=[Path(one) for one in greeting["writable"]],
                sockets=[Path(one) for one in greeting["sockets"]],
                replaced={Path(one): Path(by) for one, by in greeting["replaced"].items()},
            )
        )
    keeper = Keeper(greeting, alone=alone, running=running, sink=start_sink())
    _say(keeper.ready())
    for line in sys.stdin.buffer:
        _say(keeper.carry_out(json.loads(line)))


def _enclosed(greeting: Command, running: int) -> int:
    """Serve as the first process of spaces of one's own; returns its exit status."""
    sockets = [str(one) for one in kernel.listening_sockets()]
    kernel.separate(_SPACES)
    first = os.fork()
    if first == 0:
        kernel.die_with_parent()
        _within(lambda: _serve({**greeting, "sockets": sockets}, alone=True, running=running))
        os._exit(0)
    # When it is gone, so is all that it started: its end is waited for.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
    # The first process has the pipes; here nobody may keep them open.
    for descriptor in (0, 1):
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])


def _within(serve: Callable[[], None]) -> None:
    try:
        serve()
    except OSError as error:
        _say({"refused": f"{error.strerror or error}"})


def main(_: Sequence[str]) -> None:
    """The process's whole life. It begins with a greeting: see `enclosure`."""
    line = sys.stdin.buffer.readline()
    if not line:
        return
    greeting = json.loads(line)
    user = greeting["user"]
    running = kernel.processes_of(os.geteuid() if user is None else user)
    if greeting["network"] == "own":
        kernel.die_with_parent()
        _within(lambda: sys.exit(_enclosed(greeting, running)))
        return
    # Nothing ends with this process by itself, so it must not be killed outright.
    signal.signal(signal.SIGTERM, _leave)
    kernel.die_with_parent(signal.SIGTERM)
    kernel.adopt_orphans()
    try:
        _within(lambda: _serve(greeting, alone=False, running=running))
    finally:
        _end_all()


def _leave(*_: object) -> None:
    """End all and be gone, whatever is being done; also in the middle of ending all."""
    _end_all()
    os._exit(1)


def _end_all() -> None:
    """Kill all below this process, however it has detached itself."""
    deadline = time.monotonic() + _CLOSING_SECONDS
    while (left := _children(os.getpid())) and time.monotonic() < deadline:
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1:])
