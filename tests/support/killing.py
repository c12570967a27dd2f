"""Runs that are killed at a chosen moment, in a process of their own.

A moment is the beginning of a call that changes something on disk, made by the main thread, or of
a function that is named: so each step of a run is cut off from the one before it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_CHANGES = frozenset({"rename", "mkdir", "rmdir", "unlink", "write", "fsync", "ftruncate"})


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _counted(chosen: int | None, functions: frozenset[str], changes: bool) -> list[int]:
    seen = [0]

    def look(frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            is_one = changes and getattr(argument, "__name__", "") in _CHANGES
        else:
            is_one = event == "call" and frame.f_code.co_qualname in functions
        if is_one:
            seen[0] += 1
            if seen[0] == chosen:
                _die()

    sys.setprofile(look)
    return seen


def _child(
    told: object,
    act: Callable[..., object],
    arguments: tuple[object, ...],
    chosen: int | None,
    functions: frozenset[str],
    changes: bool,
) -> None:
    seen = _counted(chosen, functions, changes)
    try:
        act(*arguments)
    finally:
        sys.setprofile(None)
    told.send(seen[0])  # type: ignore[attr-defined]  # a Connection, whose class is not public
    told.close()  # type: ignore[attr-defined]


def run_killed(
    act: Callable[..., object],
    *arguments: object,
    chosen: int | None,
    functions: frozenset[str] = frozenset(),
    changes: bool = True,
) -> int | None:
    """Run it in a process of its own. How many moments there were; None when it was killed at the
    chosen one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([act.__module__])  # imported once instead of for each run
    ours, theirs = context.Pipe(duplex=False)
    with ours:
        child = context.Process(
            target=_child, args=(theirs, act, arguments, chosen, functions, changes)
        )
        child.start()
        theirs.close()
        try:
            moments: int | None = ours.recv()
        except EOFError:
            moments = None
        child.join()
    assert child.exitcode == (-signal.SIGKILL if moments is None else 0)
    return moments
