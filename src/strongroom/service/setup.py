"""Init: a commented configuration where there is none, and repositories that don't exist yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.config import RepositorySettings, find_config, resolve_secret
from strongroom.config.loading import FILE_NAME
from strongroom.config.sample import sample_text
from strongroom.errors import ConfigError, StorageError
from strongroom.repository import Repository
from strongroom.service.application import Application


@dataclass(frozen=True, slots=True)
class InitReport:
    """What was made. `created` holds the configuration's path and the repositories' names;
    `existing` the repositories that were there, and open with their password."""

    config: Path
    wrote_config: bool
    created: tuple[tuple[str, str], ...]
    existing: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "config": str(self.config),
            "wrote_config": self.wrote_config,
            "created": [{"repository": name, "location": where} for name, where in self.created],
            "existing": [{"repository": name, "location": where} for name, where in self.existing],
        }


def write_sample(path: Path | None = None) -> InitReport | None:
    """Where there is no configuration, write a commented sample, to `path` or the current
    directory: its places have to be filled in first. None, and nothing written, where there is."""
    try:
        find_config(path)
    except ConfigError as error:
        if error.code != "config-missing":
            raise
        return InitReport(_put_sample(path or Path(FILE_NAME)), True, (), ())
    return None


def create_repositories(application: Application) -> InitReport:
    """Create what the configuration names; harmless when everything exists."""
    created: list[tuple[str, str]] = []
    existing: list[tuple[str, str]] = []
    for name, declared in application.settings.repositories.items():
        made = created if _create(application, name, declared) else existing
        made.append((name, declared.location))
    assert application.config_file is not None, "it was loaded from a file"
    return InitReport(application.config_file, False, tuple(created), tuple(existing))


def _create(application: Application, name: str, declared: RepositorySettings) -> bool:
    """Whether there was no repository, so that one was made; else it is opened."""
    if declared.password is None:
        _open_by_master_key(application, name)
        return False
    storage = application.storage(name)
    password = resolve_secret(declared.password)
    try:
        Repository.create(storage, password, name=name)
    except StorageError as error:
        if error.code != "repository-exists":
            raise
        Repository.open(storage, password, name=name)
        return False
    finally:
        storage.close()
    return True


def _open_by_master_key(application: Application, name: str) -> None:
    try:
        application.repository(name)
    except StorageError as error:
        if error.code != "store-missing":
            raise
        raise ConfigError(
            "there is no repository here, and a master key opens only one that exists",
            subject=f"repositories.{name}",
            code="usage",
            hint="Give a password instead of `master_key`, to make a new one.",
        ) from error
    finally:
        application.close()


def _put_sample(path: Path) -> Path:
    target = path.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(target, flags, 0o640), "w", encoding="utf-8") as file:
            file.write(sample_text())
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}",
            subject=str(target),
            code="usage",
            hint="Name another place with --config.",
        ) from error
    return target
