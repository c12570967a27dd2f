"""The runbook in short, for the page of a recovery kit: from what stock restic brought back to an
application that answers, with the secrets as they lie in the opened kit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from strongroom.report.kit_page import PageReopening
from strongroom.report.runbook_disaster import health_lines
from strongroom.report.runbook_ground import Runbook
from strongroom.report.runbook_stock import database_names, reopening_blocks, templates_by_hand
from strongroom.report.shell import quoted

__all__ = ["in_short"]

_KIT: Final = "${KIT:?}"


def in_short(ground: Runbook, secret_files: Mapping[str, str], runbook: str) -> PageReopening:
    """What the page says after the restore. `secret_files` are the names in the kit by reference,
    `runbook` is the whole one's name there, empty where there is none."""
    kept = {one: f'$(cat "{_KIT}"/{quoted(name)})' for one, name in secret_files.items()}
    short = replace(ground, kept=kept)
    settings = ground.settings
    run: tuple[str, ...] = ()
    by_hand: list[str] = []
    if ground.recovery is not None:
        blocks = [lines for _, lines in reopening_blocks(short)]
        copied = list(_copied(short, secret_files))
        left = [one for one in templates_by_hand(short) if not _held(short, one, secret_files)]
        absent = tuple(f"/{quoted(one)}" for one in left)
        lines = [*_places(short), *blocks[0], *copied]
        lines += [line for one in blocks[1:] for line in one if not line.endswith(absent)]
        run = tuple(map(_on_one_line, lines))
        by_hand = [f"Write {one} with the new connection strings" for one in left]
        by_hand += [
            f"In {one} put the new values in the place of what stands in braces, if any does"
            for one in templates_by_hand(short)
            if one not in left
        ]
        by_hand += ground.recovery.by_hand
    by_hand += [
        "Set the passwords of database roles, names in DNS, cron jobs and certificates",
        "Let backups run from the new place",
    ]
    contacts = tuple(
        ", ".join(filter(None, (one.role, one.name, one.phone, one.email)))
        for one in settings.contacts
    )
    return PageReopening(run, tuple(health_lines(short)), tuple(by_hand), contacts, runbook)


def _on_one_line(line: str) -> str:
    """A page has no room for lines within a word."""
    return line if "\n" not in line else "# several lines, which stand in the whole runbook"


def _places(ground: Runbook) -> Iterator[str]:
    """What was restored goes where the settings have it."""
    yield 'export KIT="$PWD/kit" WORK="$PWD" TARGET="$PWD/target"'
    for name, one in database_names(ground).items():
        yield f"export {one}={name.replace('-', '_')}_restored"
    for name in ground.of_kind("files"):
        source = ground.settings.sources[name]
        assert source.kind == "files", "by its kind"
        yield from _moved(ground, name, f"restored/{name}{quoted(str(source.path))}")
    for name in ground.of_kind("git"):
        yield from _moved(ground, name, f"restored/{name}-code")


def _moved(ground: Runbook, name: str, restored: str) -> Iterator[str]:
    place = f'"{ground.placed(name)}"'
    yield f'mkdir -p "$(dirname {place})" && mv -T {restored} {place}'


def _held(ground: Runbook, name: str, secret_files: Mapping[str, str]) -> str:
    recovery = ground.recovery
    return secret_files.get(recovery.render[name], "") if recovery is not None else ""


def _copied(ground: Runbook, secret_files: Mapping[str, str]) -> Iterator[str]:
    """The application's own files that lie in the kit, such as .env."""
    code_source = ground.named("git")
    folder = ground.placed(code_source) if code_source is not None else "${TARGET:?}"
    for name in templates_by_hand(ground):
        if held := _held(ground, name, secret_files):
            yield f'install -D -m 600 "{_KIT}"/{quoted(held)} "{folder}"/{quoted(name)}'
