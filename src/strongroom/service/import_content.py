"""What a file from before Strongroom holds, put where a source can capture it.

A dump is loaded into a throw-away server, an archive unpacked into a private directory; both are
gone when the context ends. What comes out is a source like the configured one, so that its snapshot
is like any other and is drilled and proven in the same way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from strongroom.config import resolve_secret
from strongroom.config.settings import FilesSource, PostgresSource
from strongroom.config.value import is_reference
from strongroom.confinement.fence import REFUSED
from strongroom.errors import ConfigError, SourceError, StrongroomError
from strongroom.model import Finding, finding
from strongroom.service.application import Application
from strongroom.service.import_file import Dump, Given
from strongroom.service.wiring import build_stand_in
from strongroom.sources import Source

__all__ = ["Content", "of_archive", "of_dump"]

_MOST_NAMED: Final = 20


@dataclass(slots=True)
class Content:
    """A source that reads what was in the file, what was noticed, and what to record of it: the
    database's name or the folder in the archive, and the server's version."""

    source: Source
    findings: list[Finding] = field(default_factory=list)
    taken: str = ""
    server: str = ""
    incomplete: bool = False


@contextlib.contextmanager
def of_dump(
    application: Application,
    name: str,
    dump: Dump,
    folder: Path,
    *,
    database: str | None = None,
    incomplete: bool = False,
) -> Iterator[Content]:
    """The dump in a server of our own, loaded to its end.

    Raises SourceError `file-incomplete` when its end is missing, `file-unfit` when statements of
    it fail, unless `incomplete`, or go through files of the server; `client-programs` when no
    server here is new enough; `sandbox-failed` when the host's files can't be kept from it.
    """
    from strongroom.postgres.cluster import ClusterOptions, throwaway_cluster
    from strongroom.postgres.dump_load import load_dump

    declared = application.settings.sources[name]
    assert isinstance(declared, PostgresSource), "the caller has looked"
    _refuse_server_side(dump)
    findings = list(_whole(name, dump, incomplete))
    _need_room(folder, 2 * dump.facts.size_bytes)
    major = _major_for(dump)
    with contextlib.ExitStack() as stack:
        options = ClusterOptions(directory=folder, in_cell=True)
        try:
            cluster = stack.enter_context(throwaway_cluster(major=major, options=options))
        except SourceError as error:
            raise _no_server(error, dump, major) from None
        own_name = dump.database or _configured_name(declared) or name
        loaded = load_dump(
            dump.parts,
            dump.facts,
            cluster,
            database=_free_name(own_name, name),
            to_the_end=incomplete,
        )
        chosen = _chosen(loaded.databases, database, dump)
        findings += [*cluster.findings, *loaded.findings, *_told(name, dump, loaded.roles)]
        if loaded.failed:
            told = f"{loaded.failed} statements of it could not be loaded"
            findings.append(finding("import-incomplete", name, told))
        place = cluster.connection(loaded.databases[chosen]).conninfo()
        source = build_stand_in(name, declared, application.settings, place)
        lacks = any(one.code == "import-incomplete" for one in findings)
        yield Content(source, findings, chosen, cluster.programs.version, lacks)


def _refuse_server_side(dump: Dump) -> None:
    if where := dump.facts.server_side:
        raise SourceError(
            f"it copies through a file or a program of the server, which no pg_dump does: "
            f"{', '.join(where[:_MOST_NAMED])}",
            subject=dump.parts[0].name,
            code="file-unfit",
            hint="Find out who wrote that file. Take the lines out if they are meant well.",
        )


def _no_server(error: SourceError, dump: Dump, major: int) -> SourceError:
    """The error with what it means for this dump."""
    if error.code == "client-programs":
        told = dump.facts.server_version or str(major)
        return SourceError(
            f"it is of PostgreSQL {told}: {error.message}",
            subject=dump.parts[0].name,
            code=error.code,
            hint=error.hint,
        )
    if REFUSED in error.message:
        return SourceError(
            error.message,
            subject=error.subject,
            code=error.code,
            hint="A dump is not trusted: import it as root, or where users may make user "
            "namespaces.",
        )
    return error


def _whole(name: str, dump: Dump, incomplete: bool) -> Iterator[Finding]:
    """Nothing when the dump's end and rows are there. A dump that ends within a table's rows is
    never taken; one whose last line is missing is on request, for some tools strip it."""
    facts = dump.facts
    if facts.tables_made and not facts.has_rows:
        told = "it makes tables and has rows of none, as --schema-only leaves a dump"
        if not incomplete:
            raise SourceError(
                told,
                subject=dump.parts[0].name,
                code="file-incomplete",
                hint="Give the file with the rows, too. Only if no table ever had any: "
                "--incomplete.",
            )
        yield finding("import-incomplete", name, told)
    if facts.complete:
        return
    if not incomplete or "within" in facts.ends or not facts.ends:
        raise SourceError(
            f"it is cut: {facts.ends or 'its end is missing'}",
            subject=dump.parts[0].name,
            code="file-incomplete",
        )
    yield finding("import-incomplete", name, f"nothing says that it is whole: {facts.ends}")


def _major_for(dump: Dump) -> int:
    """The version of the server that it came from; else that of the program that made it."""
    from strongroom.postgres.programs import known_programs

    known = dump.facts.server_major or dump.facts.program_major
    if known is not None:
        return known
    return max((one.major for one in known_programs() if one.has("server")), default=18)


def _configured_name(declared: PostgresSource) -> str:
    """The name of the live database; "" where its address can't be had on this host."""
    from strongroom.postgres.connection import parse_connection

    with contextlib.suppress(StrongroomError):
        url = resolve_secret(declared.url) if is_reference(declared.url) else declared.url
        return parse_connection(url).parameters.get("dbname", "")
    return ""


def _free_name(wanted: str, otherwise: str) -> str:
    """A name that a new server does not have yet."""
    return f"{otherwise}_imported" if wanted in ("postgres", "template0", "template1") else wanted


def _chosen(databases: Mapping[str, str], wanted: str | None, dump: Dump) -> str:
    """The dump's name of the database that is the source's."""
    if wanted is not None and wanted in databases:
        return wanted
    if len(databases) == 1 and wanted is None:
        return next(iter(databases))
    what = f"it has no database {wanted}" if wanted else f"it holds {len(databases)} databases"
    raise ConfigError(
        f"{what}: {', '.join(databases)}",
        subject=dump.parts[0].name,
        code="usage",
        hint="Name the one that belongs to the source: --database NAME.",
    )


def _told(name: str, dump: Dump, roles: tuple[str, ...]) -> Iterator[Finding]:
    if roles:
        more = f" and {len(roles) - _MOST_NAMED} more" if len(roles) > _MOST_NAMED else ""
        yield finding("import-role-made", name, ", ".join(roles[:_MOST_NAMED]) + more)
    if not dump.facts.databases:
        told = "pg_dump wrote none, since it was not called with --create"
        yield finding("import-locale", name, told)


@contextlib.contextmanager
def of_archive(
    application: Application, name: str, given: Given, folder: Path, *, root: str | None = None
) -> Iterator[Content]:
    """The files of an archive in a private directory.

    Raises what `sources.unpacking.unpack` raises, and ConfigError `usage` when it is not certain
    which folder of it is the source's.
    """
    from strongroom.sources.unpacking import unpack

    declared = application.settings.sources[name]
    assert isinstance(declared, FilesSource), "the caller has looked"
    private = folder / "unpacked"
    private.mkdir(mode=0o700)
    try:
        tree = private / "tree"
        tree.mkdir(mode=0o700)
        zone = ZoneInfo(application.settings.schedule.time_zone)
        unpacked = unpack(given.files[0], tree, zone=zone)
        taken = _root_of(tree, Path(declared.path), root, given)
        findings = list(unpacked.findings(name))
        for one in declared.required:
            if not (tree / taken / one).is_dir():
                told = f"the archive has no folder {one}, which the source must have today"
                findings.append(finding("folder-missing", name, told))
        place = tree / taken
        source = build_stand_in(name, declared, application.settings, place)
        yield Content(source, findings, taken or ".")
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _root_of(tree: Path, configured: Path, wanted: str | None, given: Given) -> str:
    """The folder of the archive that is the source's: as it is said, or the one that has its name
    with nothing beside it on the way, or the top where no folder has that name."""
    if wanted is not None:
        inside = os.path.normpath(wanted.strip("/"))
        if inside.startswith("..") or not (tree / inside).is_dir() or (tree / inside).is_symlink():
            raise _which(given, f"it has no folder {wanted}", tree)
        return "" if inside == "." else inside
    place: list[str] = []
    while True:
        entries = list(os.scandir(tree.joinpath(*place)))
        folders = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        if len(entries) == 1 and folders:
            place.append(folders[0])
            if folders[0] == configured.name:
                return "/".join(place)
            continue
        if not place and configured.name not in folders:
            return ""  # the content of the folder, without the folder
        told = "/".join(place) or "its top"
        raise _which(given, f"no folder {configured.name} stands alone in {told}", tree)


def _which(given: Given, why: str, tree: Path) -> ConfigError:
    top = ", ".join(sorted(one.name for one in tree.iterdir())[:10])
    return ConfigError(
        f"which folder of it is the source's is not certain: {why}; at its top are {top or 'none'}",
        subject=given.name,
        code="usage",
        hint="Name it: --root FOLDER, or --root . for all of it.",
    )


def _need_room(folder: Path, wanted_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted_bytes > free:
        raise SourceError(
            f"loading it needs about {wanted_bytes:,} bytes, and {free:,} are free",
            subject=str(folder),
            code="sandbox-failed",
            hint="Free space there, or set `state` to a larger disk.",
        )
