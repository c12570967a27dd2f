"""Files that other programs read over and over: replaced in one step, readable by all.

Unlike what `output` writes, the name is taken: a reader finds the old file or the new one, whole,
also when this host loses power in between.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from strongroom.errors import TargetError
from strongroom.service.output import partial_of, remove_partial

_MODE: Final = 0o644


def publish(output: Path, content: bytes) -> None:
    """Put `content` at `output`, under a temporary name in the same folder first, mode 0644
    whatever the umask; TargetError when that can't be done, and what was there stays."""
    if output.is_dir():
        raise TargetError("it is a folder", subject=str(output), hint="Name a file in it.")
    partial = partial_of(output)
    try:
        with open(partial, "xb", opener=_open) as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(output)
        _settle(output.absolute().parent)
    except OSError as error:
        raise TargetError(
            os.strerror(error.errno or 0),
            subject=str(output),
            hint="Let this user write to its folder.",
        ) from error
    finally:
        remove_partial(partial)


def _open(path: str, flags: int) -> int:
    """Never through a link that somebody else put there."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _settle(folder: Path) -> None:
    """Let the folder remember the new name; some file systems can't, and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
