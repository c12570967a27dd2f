"""Where a recovery brings everything: its directory, the databases, and what is asked there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from strongroom.config import read_secret
from strongroom.config.placeholder import SECRET, names_in
from strongroom.config.recovery_settings import Recovery
from strongroom.config.section import Section
from strongroom.errors import ConfigError
from strongroom.postgres.login import role_exists
from strongroom.recovery.application_files import read_templates
from strongroom.recovery.application_run import Served
from strongroom.recovery.reopening import Grounds, Questions, Reopening
from strongroom.recovery.secrecy import secrets_in
from strongroom.service.application import Application
from strongroom.service.recovery_journal import FOLDER
from strongroom.service.restoration import check_target, shown
from strongroom.sources import Source
from strongroom.sources.database import connection_to

__all__ = ["Ground", "ground_of"]


@dataclass(frozen=True, slots=True)
class Ground:
    """The targets by source: folders below the directory, and databases by URL or reference."""

    application: Application
    directory: Path
    sources: tuple[Source, ...]
    targets: dict[str, str]

    def databases(self) -> dict[str, str]:
        """The databases' targets without passwords, for records."""
        names = [one.name for one in self.sources if one.kind == "postgres"]
        return {name: shown(self.targets[name]) for name in names}

    def written_into(self, source: Source) -> frozenset[str]:
        """The places in this source that the recovery itself makes: they are no part of it."""
        settings = self.application.settings.recovery
        if settings is None or source.name != self._named("git", settings.code):
            return frozenset()
        return frozenset((*settings.render, *settings.links))

    def reopening(
        self,
        remember: Callable[[Served | None], None],
        reach: Callable[[str], None],
    ) -> Reopening | None:
        """How the application is opened again, None when nothing says so; ConfigError or
        SourceError when that needs what is not there. `remember` is told what stays running,
        `reach` how far it has come."""
        settings = self.application.settings.recovery
        if settings is None:
            return None
        return Reopening(
            settings, self._grounds(), self.questions(), remember, reach, self.application.say
        )

    def _grounds(self) -> Grounds:
        settings = self.application.settings.recovery
        folders = {
            one.name: Path(self.targets[one.name]) for one in self.sources if one.kind != "postgres"
        }
        code = self._named("git", settings.code if settings else None)
        database = self._named("postgres", settings.database if settings else None)
        return Grounds(
            self.directory,
            folders,
            folders[code] if code else None,
            connection_to(self.targets[database]) if database else None,
            self.directory / FOLDER,
        )

    def lacking_roles(self) -> list[str]:
        """The application's own role, unless its database's server has it: the restore makes it."""
        settings = self.application.settings.recovery
        database = self._named("postgres", settings.database if settings else None)
        if settings is None or settings.database_role is None or database is None:
            return []
        role = settings.database_role
        return [] if role_exists(connection_to(self.targets[database]), role) else [role]

    def given_role(self) -> str | None:
        """The role that gets its password from the recovery, so that nobody has to set it."""
        settings = self.application.settings.recovery
        if settings is None or settings.database_password is None:
            return None
        return settings.database_role

    def questions(self) -> Questions:
        """What the application is asked: what a recovery says, else what a drill asks."""
        settings = self.application.settings
        recovery, check = settings.recovery, settings.application_check
        http = recovery.http if recovery else ()
        workflow = recovery.workflow if recovery else ()
        own = dict(recovery.secrets) if recovery else {}
        http = http or (check.http if check else ())
        workflow = workflow or (check.workflow if check else ())
        # What only a drill asks for is not asked of whoever recovers.
        named = set(_names([recovery, *http, *workflow]))
        shared = dict(check.secrets) if check else {}
        used = {name: one for name, one in shared.items() if f"{SECRET}{name}" in named}
        return Questions(http, workflow, used | own, self._unsaid())

    def _unsaid(self) -> list[str]:
        """What the recovery kit keeps, as far as it is here: no command may print it to us."""
        kit = self.application.settings.kit
        found: list[str] = []
        for reference in kit.escrow if kit else ():
            if not reference.startswith(("env:", "file:")):
                continue
            with contextlib.suppress(ConfigError):
                text = read_secret(reference).decode(errors="replace")
                found += [text, *secrets_in(text)]
        return found

    def _named(self, kind: str, name: str | None) -> str | None:
        """The source of a kind that is meant, None when there is none or nobody says which."""
        fitting = [one.name for one in self.sources if one.kind == kind]
        return name or (fitting[0] if len(fitting) == 1 else None)


def _names(sections: Iterable[Section | None]) -> Iterator[str]:
    """The names of placeholders anywhere in them, templates included."""
    for section in sections:
        if section is not None:
            yield from _names_in(section.model_dump(mode="json"))
        if isinstance(section, Recovery):
            yield from _names_in(read_templates(section.render))


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from names_in(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _names_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _names_in(one)


def ground_of(application: Application, directory: str, database: str | None) -> Ground:
    """Where everything goes; ConfigError `usage` when a target is missing or none of its kind."""
    if "://" in directory:
        raise ConfigError(
            "this is a URL, and the application goes into a directory",
            subject="--to",
            code="usage",
            hint="Name a directory; the database's URL belongs to --database.",
        )
    place = Path(directory).absolute()
    settings = application.settings.recovery or Recovery()
    sources = tuple(application.sources())
    databases = dict(_databases(application, settings, database))
    targets: dict[str, str] = {}
    for source in sources:
        if source.kind == "postgres":
            if source.name not in databases:
                raise ConfigError(
                    "nothing says which database it is restored into",
                    subject=source.name,
                    code="usage",
                    hint="Give --database env:NAME, or write `recovery.databases`.",
                )
            targets[source.name] = databases[source.name]
            check_target(source, targets[source.name], subject="--database")
        else:
            targets[source.name] = str(place / settings.folder_of(source.name))
    return Ground(application, place, sources, targets)


def _databases(
    application: Application, settings: Recovery, given: str | None
) -> Iterator[tuple[str, str]]:
    yield from settings.databases.items()
    if given is None:
        return
    bodies = application.settings.sources
    names = [name for name, body in bodies.items() if body.kind == "postgres"]
    chosen = settings.database or (names[0] if len(names) == 1 else None)
    if chosen is None:
        raise ConfigError(
            f"{len(names)} sources are databases, so it is not clear which goes there",
            subject="--database",
            code="usage",
            hint="Write `recovery.database`, which says it; `recovery.databases` is for others.",
        )
    yield chosen, given
