"""`key list | add | remove | passwd | export`: who can open a repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import NOTED_REASON, Group
from strongroom.cli.run import Run
from strongroom.cli.text import clock, finding_lines, plain, table
from strongroom.errors import EXIT_FINE, ConfigError

if TYPE_CHECKING:
    from strongroom.repository.keys import StoredKey
    from strongroom.service.keys import KeyChange

NEW_PASSWORD = click.option(
    "--new-password",
    metavar="REF",
    help="Where the new password is kept: env:NAME, file:PATH, command:PROGRAM or "
    "keyring:SERVICE/USER. Without it, a terminal is asked, twice.",
)


@click.group(
    cls=Group,
    name="key",
    examples=(
        "strongroom key list",
        "strongroom key passwd local --new-password file:/etc/strongroom/new.key",
    ),
)
def key() -> None:
    """List and change the passwords that open a repository.

    Every key file seals the same master key with a password of its own, so nothing is encrypted
    anew. Whoever has kept an old key file and its password can still read the repository.
    """


@key.command("list", examples=("strongroom key list", "strongroom key list offsite --json"))
@click.argument("repository", required=False)
@click.pass_obj
def list_command(run: Run, repository: str | None) -> int:
    """List the keys of one repository, or of all.

    `*` marks the key that opened it. Names and times are what whoever made the key said.
    """
    from strongroom.service.keys import list_keys

    application = run.application()
    report = list_keys(application, repository)
    zone = application.settings.schedule.time_zone
    rows = [_row(name, one, zone) for name, keys in report.repositories for one in keys]
    heads = ("", "ID", "REPOSITORY", "USER", "HOST", f"CREATED ({zone})", "")
    lines = table(heads, rows) if rows else []
    lines += [f"{name}: no key, so no password" for name, keys in report.repositories if not keys]
    run.result(report.as_json(), lines)
    return report.exit_status


def _row(name: str, one: StoredKey, zone: str) -> tuple[str, ...]:
    created = clock(one.created_at, zone) if one.created_at else "-"
    damage = f"{click.style('DAMAGED', fg='red')}: {plain(one.damage)}" if one.damage else ""
    user, host = plain(one.username) or "-", plain(one.hostname) or "-"
    return "*" if one.in_use else "", one.id[:8], name, user, host, created, damage


@key.command(
    examples=(
        "strongroom key add local",
        "strongroom key add offsite --new-password env:SECOND_PASSWORD",
    )
)
@click.argument("repository")
@NEW_PASSWORD
@NOTED_REASON
@click.pass_obj
def add(run: Run, repository: str, new_password: str | None) -> int:
    """Let a further password open a repository."""
    from strongroom.service.keys import add as add_key

    application = run.application()
    application.repository(repository)  # before somebody types a password for nothing
    return _answer(run, add_key(application, repository, _new_password(new_password)))


@key.command(
    examples=("strongroom key remove local 1a2b3c4d", "strongroom key remove offsite 1a2b --json")
)
@click.argument("repository")
@click.argument("key_id", metavar="ID")
@NOTED_REASON
@click.pass_obj
def remove(run: Run, repository: str, key_id: str) -> int:
    """Remove a key, so that its password opens no more.

    ID is the beginning of its id. The key in use stays, and so does the last one. Nobody else may
    use the repository meanwhile.
    """
    from strongroom.service.keys import remove as remove_key

    return _answer(run, remove_key(run.application(), repository, key_id))


@key.command(
    examples=(
        "strongroom key passwd local",
        "strongroom key passwd local --new-password file:/etc/strongroom/new.key",
    )
)
@click.argument("repository")
@NEW_PASSWORD
@NOTED_REASON
@click.pass_obj
def passwd(run: Run, repository: str, new_password: str | None) -> int:
    """Change the password of a repository.

    A new key is added and proven to open before the old one is removed: whenever this stops, one
    of both opens. Nobody else may use the repository meanwhile.
    """
    from strongroom.service.keys import passwd as change_password

    application = run.application()
    application.repository(repository)
    return _answer(run, change_password(application, repository, _new_password(new_password)))


@key.command(
    examples=(
        "strongroom key export local --output /media/safe/tms.master-key",
        "strongroom key export offsite --output offsite.master-key --json",
    )
)
@click.argument("repository")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write; it must not exist.",
)
@NOTED_REASON
@click.pass_obj
def export(run: Run, repository: str, output: Path) -> int:
    """Write a repository's master key to a file.

    It is for the day on which all key files are lost. Whoever has this file and the store reads
    everything, without any password, for ever. With it, `repositories.NAME.master_key` opens the
    repository, and `key add` gives it a password again.
    """
    from strongroom.service.keys import export_master_key

    done = export_master_key(run.application(), repository, output)
    lines = [
        *finding_lines(done.findings, all_of_them=run.verbose),
        f"Wrote the master key of {repository} to {output}",
        "Whoever has it and the store reads everything, without any password: lock it away.",
    ]
    if not done.private:
        lines.append("This file system keeps no modes: others on this host may read it.")
    run.result(done.as_json(), lines)
    return EXIT_FINE


def _new_password(reference: str | None) -> str:
    """The secret that a reference leads to, or what a person types twice."""
    if reference is not None:
        from strongroom.config import resolve_secret

        return resolve_secret(reference)
    if not sys.stdin.isatty():
        raise ConfigError(
            "no new password is given, and there is no terminal to ask",
            code="usage",
            hint="Say where it is kept: --new-password env:NAME or file:PATH.",
        )
    typed: str = click.prompt(
        "New password", hide_input=True, confirmation_prompt="Once more", err=True
    )
    return typed


def _answer(run: Run, done: KeyChange) -> int:
    lines = finding_lines(done.findings, all_of_them=run.verbose)
    if done.added:
        lines.append(f"{done.repository}: key {done.added[:8]} was added, and opens")
    if done.removed:
        lines.append(f"{done.repository}: key {done.removed[:8]} was removed")
    lines += [f"{one}." for one in done.advice]
    run.result(done.as_json(), lines)
    return EXIT_FINE
