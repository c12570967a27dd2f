"""Archives of pg_dump (custom, directory, tar): what they are, and the script that is in them.

Only pg_restore reads them, and only a new enough one, built with the compression that they have:
every installation on this host is tried, the newest first. A list of contents proves nothing, for
it stands at the beginning; so the whole archive is always turned into its script.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.errors import SourceError
from strongroom.postgres.child import ProgramError, stream_output
from strongroom.postgres.crew import Crew
from strongroom.postgres.programs import Programs, known_programs

__all__ = ["Archive", "open_archive"]

_FIELD: Final = re.compile(r"^;\s+([\w ]+): (.*)$", re.MULTILINE)
_CREATED: Final = re.compile(
    r"^; Archive created at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", re.MULTILINE
)
_UNFIT: Final = re.compile(
    r"unsupported version|does not support compression|compression is not supported"
    r"|not built with|no support for",
    re.IGNORECASE,
)
_TIMEOUT_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was read to its end by `programs`. `created` is the clock of whoever made
    it, without a zone."""

    path: Path
    programs: Programs
    database: str
    server_version: str
    program_version: str
    created: str | None

    def script(self) -> Iterator[bytes]:
        """The statements and rows in it, as a plain dump has them."""
        return _script(self.programs, self.path)


def open_archive(path: Path) -> Archive:
    """The archive in a file or directory, by the newest program that reads it.

    SourceError `file-incomplete` when it can't be read to its end, `client-programs` when this
    host has no program for it.
    """
    refused: list[str] = []
    for programs in _readers():
        try:
            listed = _list(programs, path)
            for _ in _script(programs, path):
                pass
        except ProgramError as error:
            told = _reason(error.messages) or error.message
            if not _UNFIT.search(error.messages):
                raise SourceError(
                    f"it cannot be read to its end: {told}",
                    subject=str(path),
                    code="file-incomplete",
                ) from None
            refused.append(f"PostgreSQL {programs.version}: {told}")
            continue
        fields = dict(_FIELD.findall(listed))
        created = _CREATED.search(listed)
        return Archive(
            path,
            programs,
            fields.get("dbname", ""),
            fields.get("Dumped from database version", "").partition(" ")[0],
            fields.get("Dumped by pg_dump version", "").partition(" ")[0],
            created[1] if created else None,
        )
    raise SourceError(
        f"no pg_restore of this host reads it ({'; '.join(refused) or 'there is none'})",
        subject=str(path),
        code="client-programs",
        hint="Install PostgreSQL's client programs of the version that made the dump, or newer.",
    )


def _readers() -> Sequence[Programs]:
    known = [one for one in known_programs() if one.has("client")]
    return sorted(known, key=lambda one: one.major, reverse=True)


def _list(programs: Programs, path: Path) -> str:
    arguments = [programs.path("pg_restore"), "--list", str(path)]
    answer = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_TIMEOUT_SECONDS,
        env={"LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
    )
    if answer.returncode != 0:
        raise ProgramError(
            _reason(answer.stderr) or "pg_restore refuses it",
            subject=str(path),
            code="file-incomplete",
            messages=answer.stderr,
        )
    return answer.stdout


def _script(programs: Programs, path: Path) -> Iterator[bytes]:
    arguments = [programs.path("pg_restore"), "--file=-", str(path)]
    environment = {"LC_ALL": "C", "TZ": "UTC"}
    blocks = stream_output(
        arguments, environment, Crew(), subject=str(path), code="file-incomplete"
    )
    return map(bytes, blocks)


def _reason(messages: str) -> str:
    lines = [one.strip() for one in messages.splitlines() if one.strip()]
    telling = [one for one in lines if "error:" in one]
    chosen = telling[0] if telling else (lines[0] if lines else "")
    return chosen.removeprefix("pg_restore: error: ")
