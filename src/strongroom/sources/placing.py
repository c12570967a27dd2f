"""A file under a temporary name gets its own: made for nobody else to read, put where nothing is.

Used by whatever people ask for as a file; files that are restored are written by `repository`.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["claim", "open_private", "put_in_place"]


def open_private(path: str, flags: int) -> int:
    """An opener: what it makes only this user reads, whatever the umask; no link is followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def claim(path: Path) -> None:
    """Make an empty file that only this user may read; FileExistsError when something is there."""
    os.close(open_private(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def put_in_place(partial: Path, output: Path) -> None:
    """Give a file its own name; FileExistsError when something is there, which stays as it is."""
    try:
        os.link(partial, output)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: an empty file of ours keeps the name
        claim(output)
        partial.rename(output)
    else:
        partial.unlink()
