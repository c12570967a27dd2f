"""Export: a snapshot as a file that other tools read.

The output appears whole or not at all, under a name at which nothing was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError, TargetError
from strongroom.model import Finding, Severity
from strongroom.repository import SnapshotView
from strongroom.service.application import Application
from strongroom.service.leftover import sandbox
from strongroom.service.masking import cut, masked
from strongroom.service.output import (
    partial_of,
    refuse_taken,
    remove_partial,
    taken,
    write_whole,
)
from strongroom.service.selection import find, reading
from strongroom.sources.placing import claim, put_in_place

FORMATS: Final = {
    "postgres": ("sql", "custom", "tar", "tar.gz"),
    "files": ("tar", "tar.gz"),
    "git": ("git", "tar", "tar.gz", "zip"),
}
# What is told so is not in the dump as it was captured.
_LACKING: Final = (Severity.FAILURE, Severity.UNKNOWN)
ALL_FORMATS: Final = tuple(dict.fromkeys(one for kind in FORMATS.values() for one in kind))


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written; `tag` names the release when it is an archive of code, `findings` say what
    of a database is not in it."""

    snapshot: str
    format: str
    output: Path
    size_bytes: int
    sha256: str
    tag: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def exit_status(self) -> int:
        lacks = any(one.severity in _LACKING for one in self.findings)
        return EXIT_PARTIAL if lacks else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "snapshot": self.snapshot,
            "format": self.format,
            "output": str(self.output),
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "tag": self.tag,
            "findings": [one.as_json() for one in self.findings],
        }


def export(
    application: Application,
    wanted: str,
    file_format: str,
    output: Path,
    *,
    tag: str | None = None,
    repository: str | None = None,
) -> ExportReport:
    """Write a snapshot to `output`, which must not exist.

    ConfigError `usage` when the snapshot's kind has no such format.
    """
    candidate = find(application, wanted, repository=repository)
    kind = candidate.snapshot.kind or "files"
    _refuse_unfit(kind, file_format, tag, output)
    chosen: str | None = None
    findings: tuple[Finding, ...] = ()
    with reading(candidate) as view:
        if kind == "git":
            from strongroom.sources.code_export import export_release

            chosen = export_release(view, output, file_format, tag=tag).name
        elif file_format == "custom":
            findings = _custom(application, view, output)
        elif file_format == "sql":
            from strongroom.service.database_export import sql_blocks

            write_whole(output, _all_of(sql_blocks(view, _root(view))))
        else:
            from strongroom.service.archive import write_archive

            compressed = file_format == "tar.gz"
            write_whole(
                output,
                lambda file: write_archive(view, _root(view), file, compressed=compressed),
            )
    size_bytes, digest = _measure(output)
    place = cut(masked(str(output.absolute())))
    application.note("given", {"output": place, "bytes": size_bytes, "sha256": digest})
    return ExportReport(
        candidate.snapshot.id, file_format, output, size_bytes, digest, chosen, findings
    )


def _refuse_unfit(kind: str, file_format: str, tag: str | None, output: Path) -> None:
    if file_format not in FORMATS.get(kind, ()):
        raise ConfigError(
            f"a snapshot of kind {kind} has no format {file_format}",
            subject=str(output),
            code="usage",
            hint=f"Choose one of: {', '.join(FORMATS.get(kind, ()))}.",
        )
    if tag is not None and (kind != "git" or file_format == "git"):
        raise ConfigError(
            "--tag is for release archives of code", code="usage", hint="Leave --tag out."
        )
    refuse_taken(output)


def _root(view: SnapshotView) -> bytes:
    paths = view.snapshot.paths
    return os.fsencode(paths[0]) if paths else b"/"


def _all_of(blocks: Iterable[bytes]) -> Callable[[IO[bytes]], object]:
    return lambda file: file.writelines(blocks)


def _custom(application: Application, view: SnapshotView, output: Path) -> tuple[Finding, ...]:
    from strongroom.service.database_export import write_custom_dump

    source = application.source(view.snapshot.source or "")
    partial = partial_of(output)
    try:
        claim(partial)  # pg_dump writes into what is there, and leaves its mode
        with sandbox(application) as folder:
            findings = write_custom_dump(source, view, folder, partial)
        put_in_place(partial, output)
    except FileExistsError:
        raise taken(output) from None
    except OSError as error:
        raise TargetError(os.strerror(error.errno or 0), subject=str(output)) from error
    finally:
        remove_partial(partial)
    return findings


def _measure(output: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was written; a directory (a bare repository) has no digest."""
    if output.is_dir():
        return sum(one.stat().st_size for one in output.rglob("*") if one.is_file()), ""
    with output.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return output.stat().st_size, digest
