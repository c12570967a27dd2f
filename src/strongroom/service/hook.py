"""Hooks: a Git repository that captures its code whenever something is deployed to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.config import GitSource, find_config
from strongroom.errors import ConfigError
from strongroom.service.application import Application
from strongroom.service.own_program import own_program
from strongroom.sources.code_hook import Hook, install_hook, remove_hook


@dataclass(frozen=True, slots=True)
class HookReport:
    """Hooks that are in place, or that were removed, by source."""

    installed: tuple[tuple[str, Hook], ...] = ()
    removed: tuple[tuple[str, Path], ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "installed": [
                {
                    "source": name,
                    "hook": str(hook.path),
                    "kept": str(hook.kept) if hook.kept else None,
                    "log": str(hook.log),
                }
                for name, hook in self.installed
            ],
            "removed": [{"source": name, "hook": str(path)} for name, path in self.removed],
        }


def install(application: Application, config: Path | None, source: str | None) -> HookReport:
    """Put hooks in place that run `strongroom backup SOURCE` after a deployment."""
    installed: list[tuple[str, Hook]] = []
    for name, declared in _code(application, source):
        command = [*own_program(), "--config", str(find_config(config)), "--quiet", "backup", name]
        installed += [(name, hook) for hook in install_hook(declared.path, command)]
    return HookReport(installed=tuple(installed))


def remove(application: Application, source: str | None) -> HookReport:
    """Take our hooks away; what was there before is back."""
    removed: list[tuple[str, Path]] = []
    for name, declared in _code(application, source):
        removed += [(name, path) for path in remove_hook(declared.path)]
    return HookReport(removed=tuple(removed))


def _code(application: Application, source: str | None) -> list[tuple[str, GitSource]]:
    if source is not None:
        application.source(source)  # an unknown name is told
    found = [
        (name, declared)
        for name, declared in application.settings.sources.items()
        if isinstance(declared, GitSource) and source in (None, name)
    ]
    if not found:
        raise ConfigError(
            "this is not a source of kind git" if source else "there is no source of kind git",
            subject=source or "",
            code="usage",
            hint="Name one that is, or add it to `sources:`.",
        )
    return found
