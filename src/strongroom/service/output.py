"""Files that people ask for: whole or not at all, under a name at which nothing was, for nobody
else to read. What other programs read again and again is written by `publication`."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from strongroom.errors import TargetError
from strongroom.sources.placing import open_private, put_in_place


def refuse_taken(output: Path) -> None:
    """TargetError when something is there already, or the directory is not."""
    if os.path.lexists(output):
        raise taken(output)
    if not output.absolute().parent.is_dir():
        raise TargetError("its directory does not exist", subject=str(output))


def write_whole(output: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write under a temporary name, flush, give it its own. Only this user may read it."""
    partial = partial_of(output)
    try:
        with open(partial, "xb", opener=open_private) as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(partial, output)
    except FileExistsError:
        raise taken(output) from None
    except OSError as error:
        raise TargetError(os.strerror(error.errno or 0), subject=str(output)) from error
    finally:
        remove_partial(partial)


def taken(output: Path) -> TargetError:
    """The error that a name is not free, or is not any more."""
    return TargetError("it exists already", subject=str(output), hint="Choose another file.")


def partial_of(output: Path) -> Path:
    """A temporary name beside it."""
    return output.with_name(f".{output.name}.{secrets.token_hex(4)}.partial")


def remove_partial(partial: Path) -> None:
    """Remove what was written under a temporary name, unless it has got its own."""
    with contextlib.suppress(OSError):  # nothing was ever made on a read-only file system
        partial.unlink()
