"""Which secrets a recovery from the kit needs, and which of them the kit is not told to hold.

Pure: looks at references, resolves none. `recovery.databases` is left out: it says where things go
on a machine that is not there yet, and `--database` goes before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.config.recovery_settings import Recovery
from strongroom.config.settings import PostgresSource, Settings
from strongroom.config.value import is_reference

__all__ = ["Need", "access_files", "access_needs", "lacking", "needs"]


@dataclass(frozen=True, slots=True)
class Need:
    """A reference to a secret, and the setting that has it."""

    reference: str
    setting: str


def needs(settings: Settings) -> tuple[Need, ...]:
    """What repositories, sources and `recovery` refer to, each with its place."""
    return tuple(one for one in _needs(settings) if is_reference(one.reference))


def lacking(settings: Settings) -> tuple[Need, ...]:
    """What `kit.escrow` does not name of it; nothing where there is no kit."""
    kit = settings.kit
    if kit is None:
        return ()
    return tuple(one for one in needs(settings) if one.reference not in kit.escrow)


def access_needs(settings: Settings) -> tuple[Need, ...]:
    """What stores ask for that stands behind a reference."""
    return tuple(
        Need(given, f"repositories.{name}.access.{key}")
        for name, repository in settings.repositories.items()
        for key, given in repository.access.model_dump().items()
        if isinstance(given, str) and is_reference(given)
    )


def access_files(settings: Settings) -> tuple[Need, ...]:
    """The files, by path, that a store's access needs."""
    return tuple(
        Need(str(path), f"repositories.{name}.access.{key}")
        for name, repository in settings.repositories.items()
        for key in ("identity", "known_hosts", "ca_file")
        if (path := getattr(repository.access, key)) is not None
    )


def _needs(settings: Settings) -> Iterator[Need]:
    for name, repository in settings.repositories.items():
        if repository.password is not None:
            yield Need(repository.password, f"repositories.{name}.password")
        if repository.master_key is not None:
            yield Need(repository.master_key, f"repositories.{name}.master_key")
    for name, source in settings.sources.items():
        if isinstance(source, PostgresSource):
            yield Need(source.url, f"sources.{name}.url")
    if settings.recovery is not None:
        yield from _of_recovery(settings.recovery)
        check = settings.application_check
        for name, given in check.secrets.items() if check is not None else ():
            yield Need(given, f"application_check.secrets.{name}")


def _of_recovery(recovery: Recovery) -> Iterator[Need]:
    if recovery.database_password is not None:
        yield Need(recovery.database_password, "recovery.database_password")
    for name, given in recovery.secrets.items():
        yield Need(given, f"recovery.secrets.{name}")
    for name, given in recovery.environment.items():
        yield Need(given, f"recovery.environment.{name}")
    for name, given in recovery.render.items():
        if given.startswith("file:"):
            yield Need(given, f"recovery.render.{name}")
