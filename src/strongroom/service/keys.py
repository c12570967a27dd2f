"""Keys of the configured repositories: who can open them, and how that changes.

Each change is recorded with ids only. Passwords come in ready-made; they and master keys go
nowhere but into key files and the one file that an export writes (invariant I6).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.config import resolve_secret
from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError, StrongroomError, TargetError
from strongroom.model import Finding
from strongroom.repository import Repository
from strongroom.repository.crypto import encode_master_key
from strongroom.repository.keys import (
    KeyReport,
    StoredKey,
    add_key,
    change_password,
    remove_key,
    stored_keys,
)
from strongroom.service.actor import actor
from strongroom.service.application import Application
from strongroom.service.rendering import time_json


@dataclass(frozen=True, slots=True)
class KeyList:
    """The keys of each repository that was asked."""

    repositories: tuple[tuple[str, tuple[StoredKey, ...]], ...]

    @property
    def exit_status(self) -> int:
        """Partial when a key file is damaged: it opens nothing any more."""
        damaged = any(one.damage for _, keys in self.repositories for one in keys)
        return EXIT_PARTIAL if damaged else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "keys": [
                {
                    "repository": name,
                    "id": one.id,
                    "created_at": time_json(one.created_at) if one.created_at else None,
                    "user": one.username,
                    "host": one.hostname,
                    "in_use": one.in_use,
                    "damage": one.damage or None,
                }
                for name, keys in self.repositories
                for one in keys
            ]
        }


@dataclass(frozen=True, slots=True)
class KeyChange:
    """The ids of what was added and removed. `advice` is what the configuration still lacks."""

    repository: str
    added: str | None
    removed: str | None
    findings: tuple[Finding, ...]
    advice: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self.repository,
            "added": self.added,
            "removed": self.removed,
            "advice": list(self.advice),
            "findings": [one.as_json() for one in self.findings],
        }


@dataclass(frozen=True, slots=True)
class KeyExport:
    """A master key that was written to a file, which is `private` when nobody else may read it."""

    repository: str
    output: Path
    private: bool
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self.repository,
            "output": str(self.output),
            "private": self.private,
            "findings": [one.as_json() for one in self.findings],
        }


def list_keys(application: Application, name: str | None = None) -> KeyList:
    """The keys of one repository or all; one that doesn't open is an error."""
    names = [name] if name else list(application.settings.repositories)
    return KeyList(tuple((one, tuple(stored_keys(application.repository(one)))) for one in names))


def add(application: Application, name: str, password: str) -> KeyChange:
    """Let a further password open a repository."""
    return _change(
        application,
        name,
        "key-add",
        lambda repository, report: add_key(repository, _checked(password), report=report),
    )


def remove(application: Application, name: str, beginning: str) -> KeyChange:
    """Remove the key whose id begins so; not the one in use, nor the last."""
    return _change(
        application,
        name,
        "key-remove",
        lambda repository, report: remove_key(repository, beginning, report=report),
    )


def passwd(application: Application, name: str, password: str) -> KeyChange:
    """Put a new password in the place of the one that the configuration leads to."""
    return _change(
        application,
        name,
        "key-passwd",
        lambda repository, report: change_password(repository, _checked(password), report=report),
        lambda: _advice(application, name, password),
    )


def export_master_key(application: Application, name: str, output: Path) -> KeyExport:
    """Write a repository's master key to `output`, which must not exist, for its owner alone.

    TargetError when it exists or cannot be written.
    """
    repository = application.repository(name)
    if os.path.lexists(output):
        raise TargetError("it exists already", subject=str(output), hint="Choose another file.")
    # Before: there must be no such file that the ledger doesn't know of.
    recorded = application.record(
        "key-export", {"repository": name, "output": str(output.absolute()), "by": actor()}
    )
    private = _write(output, encode_master_key(repository.key) + "\n")
    findings = (recorded,) if isinstance(recorded, Finding) else ()
    return KeyExport(name, output, private, findings)


def _change(
    application: Application,
    name: str,
    kind: str,
    work: Callable[[Repository, KeyReport], None],
    advice: Callable[[], tuple[str, ...]] = tuple,
) -> KeyChange:
    """Do it and write down what was done, also when it did not come to its end."""
    repository, report = application.repository(name), KeyReport()
    recorded: object = None
    try:
        work(repository, report)
    finally:
        if report.added or report.removed:
            fields = {
                "repository": name,
                "added": report.added,
                "removed": report.removed,
                "by": actor(),
            }
            recorded = application.record(kind, fields)
    findings = [*report.findings, *([recorded] if isinstance(recorded, Finding) else [])]
    return KeyChange(name, report.added, report.removed, tuple(findings), advice())


def _checked(password: str) -> str:
    """The password; ConfigError for one that restic would read otherwise than it was meant."""
    if not password or password != password.strip():
        raise ConfigError(
            "it begins or ends with white space, which restic drops from password files"
            if password
            else "it is empty",
            subject="the new password",
            code="usage",
            hint="Choose another one.",
        )
    return password


def _advice(application: Application, name: str, password: str) -> tuple[str, ...]:
    """What has to be changed so that the configuration leads to the new password."""
    declared = application.settings.repositories[name].password
    with contextlib.suppress(StrongroomError):  # it may lead nowhere by now
        if declared is not None and resolve_secret(declared) == password:
            return ()
    told = [
        f"Put the new password where repositories.{name}.password leads to, or let that lead to "
        "it: the old one does not open any more"
    ]
    others = [
        other
        for other, one in application.settings.repositories.items()
        if other != name and declared is not None and one.password == declared
    ]
    if others:
        told.append(
            f"The same place holds the password of {', '.join(others)}: change that, too, or give "
            "each its own"
        )
    return tuple(told)


def _write(output: Path, text: str) -> bool:
    """Write a new file durably; whether nobody but its owner may read it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(output, flags, 0o600), "w", encoding="ascii") as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                # A memory stick's file system may keep no modes.
                return not os.fstat(file.fileno()).st_mode & 0o077
            except BaseException:
                output.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise TargetError(
            "it exists already", subject=str(output), hint="Choose another file."
        ) from None
    except OSError as error:
        raise TargetError(
            f"cannot be written: {os.strerror(error.errno or 0)}", subject=str(output)
        ) from error
