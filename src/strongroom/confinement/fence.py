"""A server of ours that can reach nothing: started in an empty network, as another user, humbly.

A restored database may hold foreign servers, subscriptions and functions that call out. Its server
listens on a Unix socket only, so it needs no network at all, and no files but its own: given a
cell it starts with a root directory of its own (see `cell`). Where the kernel makes no new network
the server starts nevertheless, unless the cell was insisted on; `is_fenced` and `is_in_cell` tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strongroom.confinement import cell, kernel

REFUSED = "its files can't be kept apart from the host's"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a program sees in the place of the host's files: `root` is an empty folder to make it
    in. With `insists` the program does not start where the kernel makes no cell."""

    root: Path
    shown: Sequence[Path]
    writable: Sequence[Path]
    insists: bool

    def as_word(self) -> str:
        """All of it as one argument."""
        folders = [[str(one) for one in few] for few in (self.shown, self.writable)]
        return json.dumps([str(self.root), *folders, self.insists])

    @classmethod
    def from_word(cls, word: str) -> Cell:
        root, shown, writable, insists = json.loads(word)
        return cls(Path(root), [*map(Path, shown)], [*map(Path, writable)], bool(insists))


def fenced(
    program: Sequence[str], *, user: int | None, group: int | None, within: Cell | None = None
) -> list[str]:
    """The command that starts `program` behind a fence, as this user of the system if given."""
    who = ["-" if one is None else str(one) for one in (user, group)]
    who.append("-" if within is None else within.as_word())
    return [sys.executable, "-I", "-m", "strongroom.confinement.fence", *who, *program]


def is_fenced(process: int) -> bool:
    """Whether a running process has a network of its own; False when that can't be known."""
    try:
        ours, its = (Path(f"/proc/{one}/ns/net").readlink() for one in ("self", process))
    except OSError:
        return False
    return ours != its


def is_in_cell(process: int) -> bool:
    """Whether a running process has mounts of its own; False when that can't be known. A process
    whose cell failed half-way does not run on with the host's files: it has ended."""
    try:
        ours, its = (Path(f"/proc/{one}/ns/mnt").readlink() for one in ("self", process))
    except OSError:
        return False
    return ours != its


def main(arguments: Sequence[str]) -> None:
    """Become the program."""
    user, group, within, *program = arguments
    kernel.lower_priority()
    if within == "-" or not _entered(Cell.from_word(within)):
        with contextlib.suppress(OSError):
            kernel.separate(kernel.NEW_NETWORK)
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    kernel.renounce_privileges()
    os.execv(program[0], program)  # noqa: S606 - an argument list


def _entered(wanted: Cell) -> bool:
    """Whether this process is in its cell; it ends when that is insisted on and refused."""
    # Tried by another process first: what fails half-way cannot be taken back.
    child = os.fork()
    if child == 0:
        os._exit(_tried(wanted))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        _enter(wanted)
        return True
    if wanted.insists:
        sys.exit(f"FATAL: {REFUSED}: this host makes no cell")
    return False


def _tried(wanted: Cell) -> int:
    try:
        _enter(wanted)
    except Exception as error:
        sys.stderr.write(f"no cell: {error}\n")
        sys.stderr.flush()
        return 1
    return 0


def _enter(wanted: Cell) -> None:
    folder = Path.cwd()
    kernel.separate(cell.SPACES)
    cell.enter(wanted.root, shown=wanted.shown, writable=wanted.writable)
    os.chdir(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
