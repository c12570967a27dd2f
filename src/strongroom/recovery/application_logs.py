"""The logs of a recovered application and its servers: what was written since, and what cannot be
read.

The server's logs are where the operator says, through links, too. Names that come out of a
restored tree are never trusted: those have to lead to a file in what was restored.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from strongroom.recovery.application_ground import lines_of

__all__ = ["Logs"]

_WILD = re.compile(r"[*?\[]")


class Logs:
    """`output` is what commands have printed; `files` are patterns in the code's folder, `servers`
    absolute ones; `folders` are what was restored."""

    def __init__(
        self,
        output: Sequence[Path],
        code: Path | None,
        folders: Sequence[Path],
        files: Sequence[str],
        servers: Sequence[str | Path],
    ) -> None:
        self._output, self._code, self._folders = output, code, folders
        self._files, self._servers = files, list(map(str, servers))
        self._sizes: dict[Path, int] = {}

    def remember(self) -> None:
        """What stands in them by now is old."""
        self._sizes = {place: place.stat().st_size for place in self._readable()}

    def lines(self) -> Iterator[str]:
        """What was written since, as far as it can be read."""
        for place in self._readable():
            before = self._sizes.get(place, 0)
            with contextlib.suppress(FileNotFoundError):
                size = place.stat().st_size
                yield from lines_of(place, before if before <= size else 0)

    def unread(self) -> list[str]:
        """What nobody can say whether it tells a failure: the pattern, and why."""
        told = [
            f"{pattern}: {reason}"
            for pattern in self._files
            for reason in _faults(self._in_code(pattern), self._absence(pattern), self._own_fault)
        ]
        told += [
            f"{pattern}: {reason}"
            for pattern in self._servers
            for reason in _faults(_matching(pattern), "no such file", _fault)
        ]
        return list(dict.fromkeys(told))

    def _readable(self) -> list[Path]:
        """The files themselves, each once."""
        found = list(self._output)
        for pattern in self._files:
            found += [one for one in self._in_code(pattern) if self._is_ours(one)]
        for pattern in self._servers:
            found += _matching(pattern)
        ends = dict.fromkeys(_end(one) for one in found if not _fault(one))
        return list(ends)

    def _own_fault(self, place: Path) -> str:
        return _fault(place) or (
            "" if self._is_ours(place) else "it leads out of what was restored"
        )

    def _in_code(self, pattern: str) -> list[Path]:
        return sorted(self._code.glob(pattern)) if self._code is not None else []

    def _absence(self, pattern: str) -> str:
        """Why there is no log of the application's own: many begin with the first fault, and until
        then it is enough that their folder can be read."""
        if self._code is None:
            return "there is no code that it could belong to"
        parts = Path(pattern).parts[:-1]
        fixed = [
            part for at, part in enumerate(parts) if not _WILD.search("".join(parts[: at + 1]))
        ]
        folder = self._code.joinpath(*fixed)
        if not folder.is_dir():
            return "its folder does not exist"
        return "" if os.access(folder, os.R_OK | os.X_OK) else "its folder cannot be read"

    def _is_ours(self, place: Path) -> bool:
        end = _end(place)
        return any(end.is_relative_to(_end(one)) for one in self._folders)


def _faults(places: Sequence[Path], absence: str, fault: Callable[[Path], str]) -> Iterator[str]:
    """Why these cannot be read, or that there are none; a folder beside files is none."""
    files = [one for one in places if not one.is_dir()]
    told = "a folder, not a file" if places else absence
    if not files and told:
        yield told
    for place in files:
        if reason := fault(place):
            yield f"{place.name}: {reason}"


def _end(place: Path) -> Path:
    """Where it leads; without complaint when that is in a circle."""
    return Path(os.path.realpath(place))


def _matching(pattern: str) -> list[Path]:
    place = Path(pattern)
    if not _WILD.search(pattern):
        return [place] if os.path.lexists(place) else []
    return sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor))))


def _fault(place: Path) -> str:
    """Why it cannot be read as a plain file, wherever it leads; empty when it can."""
    try:
        if not stat.S_ISREG(place.stat().st_mode):
            return "no plain file"
        os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""
