"""A server of ours that can reach nothing: started in an empty network, as another user, humbly.

A restored database may hold foreign servers, subscriptions and functions that call out. Its server
listens on a Unix socket only, so it needs no network at all. Where the kernel makes no new network
the server starts nevertheless; `is_fenced` tells.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from strongroom.confinement import kernel


def fenced(program: Sequence[str], *, user: int | None, group: int | None) -> list[str]:
    """The command that starts `program` behind a fence, as this user of the system if given."""
    who = ["-" if one is None else str(one) for one in (user, group)]
    return [sys.executable, "-I", "-m", "strongroom.confinement.fence", *who, *program]


def is_fenced(process: int) -> bool:
    """Whether a running process has a network of its own; False when that can't be known."""
    try:
        ours, its = (Path(f"/proc/{one}/ns/net").readlink() for one in ("self", process))
    except OSError:
        return False
    return ours != its


def main(arguments: Sequence[str]) -> None:
    """Become the program."""
    user, group, *program = arguments
    kernel.lower_priority()
    with contextlib.suppress(OSError):
        kernel.separate(kernel.NEW_NETWORK)
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    kernel.renounce_privileges()
    os.execv(program[0], program)  # noqa: S606 - an argument list


if __name__ == "__main__":
    main(sys.argv[1:])
