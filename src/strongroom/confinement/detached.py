"""Starts a program that stays when whoever started it is gone: run as a process of its own, which
is told what to start by one line of JSON, and answers with one.

Environment and arguments come by standard input, so that nobody sees them on a command line.
Imports the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def main(_: Sequence[str]) -> None:
    """Start it; answers `{"process": ID, "begun": TICKS}`, or `{"failed": WHY}`."""
    sys.stdout.write(json.dumps(_start(json.loads(sys.stdin.readline()))) + "\n")
    sys.stdout.flush()


def begun_at_ticks(process: int) -> int | None:
    """When a process began, in ticks since the host's start: with its id it is told from any that
    bears the id later. None when it is gone, or a zombie."""
    try:
        told = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = told.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _start(wanted: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON values
    complaint, complain = os.pipe()  # closed by a program that has begun
    child = os.fork()
    if child == 0:
        try:
            _become(wanted)
        except OSError as error:
            os.write(complain, f"{error.filename or ''}: {error.strerror}".encode())
        finally:
            os._exit(127)
    os.close(complain)
    with os.fdopen(complaint, "rb") as told:
        reason = told.read().decode(errors="replace")
    if reason:
        os.waitpid(child, 0)
        return {"failed": reason}
    return {"process": child, "begun": begun_at_ticks(child)}


def _become(wanted: Mapping[str, Any]) -> None:  # Any: JSON values
    os.setsid()
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.umask(0o022)
    if wanted["user"] is not None:
        os.setgroups(wanted["groups"])
        os.setgid(wanted["group"])
        os.setuid(wanted["user"])
    os.chdir(wanted["folder"])
    arguments, environment = wanted["arguments"], wanted["environment"]
    os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - without a shell, on purpose


if __name__ == "__main__":
    main(sys.argv[1:])
