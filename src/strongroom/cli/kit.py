"""`kit create | open | drill`: what a recovery needs besides the repositories."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from strongroom.cli.command import NOTED_REASON, Command, Group
from strongroom.cli.run import Run, write_out
from strongroom.cli.text import (
    clock,
    coloured,
    count,
    finding_lines,
    hint_lines,
    plain,
    size,
    span,
    table,
)
from strongroom.errors import EXIT_FINE, ConfigError
from strongroom.model import Verdict

if TYPE_CHECKING:
    from strongroom.config.kit_settings import Kit as KitSettings
    from strongroom.service.application import Application
    from strongroom.service.kit import KitReport, OpenedKit
    from strongroom.service.kit_seal import Opener, Seal
    from strongroom.service.lost_key import KitDrillReport

_MEANING = {
    Verdict.PROVEN: "everything comes back from it alone",
    Verdict.STALE: "everything came back from it once",
    Verdict.FAILED: "it does not bring everything back",
    Verdict.UNKNOWN: "whether it brings everything back is not known",
}
_Function = TypeVar("_Function", bound=Callable[..., object])

PASSPHRASE = click.option(
    "--passphrase",
    metavar="REF",
    help="Where the kit's passphrase is kept: env:NAME, file:PATH, command:PROGRAM or "
    "keyring:SERVICE/USER. Without it, a terminal is asked.",
)
IDENTITY = click.option(
    "--identity",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file with the secret key (of age) of somebody whom the kit is sealed for; --passphrase "
    "opens the file where that is sealed itself.",
)


def opening(command: _Function) -> _Function:
    """The options by which a kit is opened."""
    return PASSPHRASE(IDENTITY(command))


@click.group(
    cls=Group,
    name="kit",
    examples=(
        "strongroom kit create --output /media/safe",
        "strongroom kit open strongroom-kit-tms-20261126-080000.age",
    ),
)
def kit() -> None:
    """Make, open and drill the recovery kit.

    One encrypted file, and a page to print, that hold what a recovery needs besides one repository:
    the configuration, master keys, and the secrets that `kit.escrow` names. `recover --kit` needs
    nothing else.
    """


@kit.command(
    cls=Command,
    examples=(
        "strongroom kit create --output /media/safe",
        'strongroom kit create --output kits --recipient "$(cat alice.pub)"',
    ),
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write to; without it `kit.folder`.",
)
@PASSPHRASE
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="KEY",
    help="Seal it for this public key of age instead; may be given several times.",
)
@click.option("--with-credentials", is_flag=True, help="Also hold what lets us into the stores.")
@NOTED_REASON
@click.pass_obj
def create(
    run: Run,
    output: Path | None,
    passphrase: str | None,
    recipients: tuple[str, ...],
    with_credentials: bool,
) -> int:
    """Make a kit: a sealed file, and a page that replaces it on paper.

    Keep both off the hosts that it is for, and the passphrase apart from the paper. Whoever opens
    it reads everything.
    """
    from strongroom.service.kit import configured, create_kit

    application = run.application()
    settings = configured(application)
    seal = _seal(settings, passphrase, recipients)
    folder = output or settings.folder
    if folder is None:
        raise ConfigError(
            "nothing says where to write", subject="--output", code="usage",
            hint="Give --output DIR, or set `kit.folder`.",
        )  # fmt: skip
    report = create_kit(application, folder, seal, credentials=with_credentials)
    run.result(report.as_json(), _created(run, report))
    return report.exit_status


def _seal(settings: KitSettings, passphrase: str | None, recipients: tuple[str, ...]) -> Seal:
    """By what the kit is sealed: what was typed goes before what is configured."""
    from strongroom.config import resolve_secret
    from strongroom.config.kit_settings import check_recipient
    from strongroom.service.kit_seal import Seal

    if passphrase is not None and recipients:
        raise ConfigError(
            "a kit is sealed with a passphrase or for recipients, not with both",
            subject="--recipient",
            code="usage",
        )
    for one in recipients:
        try:
            check_recipient(one)
        except ValueError as error:
            raise ConfigError(str(error), subject="--recipient", code="usage") from None
    if recipients:
        return Seal(recipients=recipients)
    if passphrase is None and settings.recipients:
        return Seal(recipients=settings.recipients)
    passphrase = passphrase or settings.passphrase
    return Seal(resolve_secret(passphrase) if passphrase is not None else _typed(twice=True))


def _typed(*, twice: bool) -> str:
    """What a person types."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "no passphrase is given, and there is no terminal to ask",
            code="usage",
            hint="Say where it is kept: --passphrase env:NAME or file:PATH.",
        )
    again = "Once more" if twice else False
    typed: str = click.prompt(
        "Passphrase of the kit", hide_input=True, confirmation_prompt=again, err=True
    )
    return typed


def _created(run: Run, report: KitReport) -> Iterator[str]:
    yield from finding_lines(report.findings, all_of_them=run.verbose)
    yield from hint_lines(report.findings)
    repositories = count(len(report.kit.repositories), "repository", "repositories")
    yield f"Made {report.file} ({size(report.size_bytes)}), and {report.page} to print"
    yield (
        f"It holds the configuration, the master keys of {repositories} and "
        f"{count(len(report.kit.secrets), 'secret')}; SHA-256 {report.digest}"
    )
    if report.codes:
        yield f"{count(report.codes, 'code')} on the page replace the file when it is lost."
    yield "Keep it off these hosts. Whoever opens it reads everything; older kits stay dangerous."


@kit.command(
    "open",
    cls=Command,
    examples=(
        "strongroom kit open strongroom-kit-tms-20261126-080000.age",
        "strongroom kit open scanned.txt --passphrase file:passphrase --output kit",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@opening
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write all that it holds into this new or empty folder, for you alone.",
)
@click.option("--show", metavar="NAME", help="Print one of its files, even a secret one.")
@NOTED_REASON
@click.pass_obj
def open_command(
    run: Run,
    file: Path,
    passphrase: str | None,
    identity: Path | None,
    output: Path | None,
    show: str | None,
) -> int:
    """List what a kit holds, and write it out.

    FILE is the sealed file, or a file with the texts of the page's codes in any order. Secrets are
    not shown unless they are asked for by name. Needs no configuration.
    """
    from strongroom.service.kit import open_kit
    from strongroom.service.kit import write_out as write_kit

    _attend(run)
    opened = open_kit(file, opener_of(file, passphrase, identity))
    if show is not None:
        content = next((one for name, one, _ in opened.kit.members() if name == show), None)
        if content is None:
            raise ConfigError(
                "it holds no such file", subject=show, code="usage",
                hint="List what it holds with `strongroom kit open FILE`.",
            )  # fmt: skip
        if run.json:
            document = {**opened.as_json(), "shown": {"name": show, "text": _text(content)}}
            run.result(document, [])
        else:
            write_out(content)
        return EXIT_FINE
    written = write_kit(opened.kit, output) if output is not None else []
    run.result({**opened.as_json(), "written": written}, _opened(opened, output))
    return EXIT_FINE


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _attend(run: Run) -> Application | None:
    """Let the run be recorded where a configuration is found; where none is, this is an empty
    machine, and nobody reads its records."""
    from strongroom.config import find_config
    from strongroom.errors import StrongroomError

    try:
        find_config(run.config)
    except StrongroomError:
        if run.config is not None:
            raise
        return None
    return run.application()


def opener_of(file: Path, passphrase: str | None, identity: Path | None) -> Opener:
    """What opens this kit, as it was given; a terminal is asked for a passphrase where that is
    what it takes."""
    from strongroom.config import resolve_secret
    from strongroom.service.kit import opens_by_passphrase
    from strongroom.service.kit_seal import Opener, identity_in

    known = resolve_secret(passphrase) if passphrase is not None else ""
    if identity is not None:
        return identity_in(identity, known)
    if known:
        return Opener(known)
    return Opener(_typed(twice=False)) if opens_by_passphrase(file) else Opener()


def _opened(opened: OpenedKit, output: Path | None) -> Iterator[str]:
    from strongroom.service.kit import shown_members

    kit = opened.kit
    yield (
        f"Kit {kit.id} of {plain(kit.application)}, made {clock(kit.made_at, 'UTC')} UTC on "
        f"{plain(kit.host)} by Strongroom {plain(kit.program)}; SHA-256 {opened.digest}"
    )
    rows = [(name, size(len(content)), plain(what)) for name, content, what in shown_members(kit)]
    yield from table(("FILE", "SIZE", "WHAT"), rows)
    for one in kit.repositories:
        yield f"Repository {plain(one.name)} lies at {plain(one.location)}"
    if output is not None:
        yield f"Wrote all of it to {output}; remove that when it has served"


@kit.command(
    cls=Command,
    examples=(
        "strongroom kit drill",
        "strongroom kit drill /media/safe/tms.age --identity mine.identity",
    ),
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@opening
@click.pass_obj
def drill(run: Run, file: Path | None, passphrase: str | None, identity: Path | None) -> int:
    """Recover from the kit alone, as if all else were lost, and prove what comes back.

    A process with an empty environment and an empty folder opens the kit, opens every repository
    with it, and restores a recovery point into sandboxes. Without FILE it takes the newest kit in
    `kit.folder`, and what `kit` says to open it with.
    """
    from strongroom.service.lost_key import drill_kit

    application = run.application()
    opener = None
    if passphrase is not None or identity is not None:
        from strongroom.service.kit import newest_file

        opener = opener_of(file or newest_file(application), passphrase, identity)
    report = drill_kit(application, file, opener)
    run.result(report.as_json(), _drilled(run, report))
    return report.exit_status


def _drilled(run: Run, report: KitDrillReport) -> Iterator[str]:
    for one in report.document.get("drills", ()):
        yield f"{coloured(one['verdict'])}  {one['source']} from {one['repository']}"
    if run.verbose:
        for stage in report.document.get("stages", ()):
            yield f"    {stage['name']:<32} {span(stage['seconds']):>10}"
    yield from finding_lines(report.findings, all_of_them=run.verbose)
    yield from hint_lines(report.findings)
    opened = f"; opened {', '.join(report.repositories)}" if report.repositories else ""
    yield (
        f"{coloured(report.verdict.value)}  {report.file.name}: {_MEANING[report.verdict]}"
        f"{opened}; "
        f"{count(report.document.get('checked', 0), 'comparison')}, {span(report.seconds)}"
    )
