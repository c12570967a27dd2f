"""The runbook's chapter for the day on which one thing is lost: how each source comes back beside
what is there, and how to see that it is what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.config.escrow import Need, access_files, access_needs, needs
from strongroom.config.value import is_reference
from strongroom.report.markdown import code, fenced, joined
from strongroom.report.runbook_ground import Runbook
from strongroom.report.shell import default, kept_at, quoted

if TYPE_CHECKING:
    from strongroom.config.recovery_settings import Ownership

__all__ = [
    "configuration_lines",
    "ownership_lines",
    "restore_procedures",
    "secret_places",
]


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """A variable, a file or a program that leads to a secret, and what it is for."""

    place: str
    why: str
    is_variable: bool = False


def secret_places(ground: Runbook) -> Iterator[SecretPlace]:
    """Where the configuration looks for the secrets and files that a recovery needs, each once."""
    settings = ground.settings
    references: dict[str, str] = {}
    for one in (*needs(settings), *access_needs(settings)):
        if one.setting.startswith("sources."):
            continue  # where captures came from: a recovery goes elsewhere
        references.setdefault(one.reference, _purpose(one))
    for given in settings.recovery.databases.values() if settings.recovery is not None else ():
        if is_reference(given):
            references.setdefault(given, "a secret for the application")
    for reference, why in references.items():
        scheme, _, rest = reference.partition(":")
        if scheme in ("env", "file"):
            yield SecretPlace(rest, why, scheme == "env")
        else:
            yield SecretPlace(kept_at(reference), f"gives {why}")
    for one in access_files(settings):
        if f"file:{one.reference}" not in references:
            name, setting = one.setting.split(".")[1:4:2]
            yield SecretPlace(one.reference, f"{setting} for the store of repository {code(name)}")


def _purpose(need: Need) -> str:
    section, name = need.setting.split(".", maxsplit=2)[:2]
    if section == "repositories":
        return f"a secret for repository {code(name)}"
    if need.setting.startswith("recovery.render."):
        file = need.setting.removeprefix("recovery.render.")
        return f"the template of the application's {code(file)}"
    return "a secret for the application"


def configuration_lines(ground: Runbook) -> Iterator[str]:
    """Which configuration the program takes, unless somebody has said it already."""
    place = default(ground.config_file or "/etc/strongroom/strongroom.yaml")
    yield f'export STRONGROOM_CONFIG="${{STRONGROOM_CONFIG:-{place}}}"'
    if names := [one.place for one in secret_places(ground) if one.is_variable]:
        yield f"export {' '.join(names)}"
    yield "strongroom config check"


def ownership_lines(tree: str, ownership: Ownership) -> Iterator[str]:
    """What gives a restored tree its owner and modes; `tree` is a word for the shell."""
    if ownership.owner or ownership.group:
        group = f":{ownership.group}" if ownership.group else ""
        yield f"chown -R {quoted((ownership.owner or '') + group)} {tree}"
    if ownership.folder_mode:
        yield f"find {tree} -type d -exec chmod {ownership.folder_mode} {{}} +"
    if ownership.file_mode:
        yield f"find {tree} -type f -exec chmod {ownership.file_mode} {{}} +"


def restore_procedures(ground: Runbook) -> Iterator[str]:
    """Each kind by itself, then what is to be looked at."""
    urls = ground.url_names("RESTORE")
    yield (
        "For one part that was lost or spoilt while the rest still runs. Everything comes back "
        "beside what is there: nothing is overwritten, and production stays as it is until you "
        "decide. Set these variables first:"
    )
    yield ""
    yield "| Variable | What it says |"
    yield "| --- | --- |"
    if ground.of_kind("files", "git"):
        yield "| `RESTORE_TO` | an empty or new directory for files and code |"
    for name, one in urls.items():
        yield (
            f"| {code(one)} | the URL of an empty or new database for {code(name)}, with its "
            "password: `postgresql://USER:…@HOST:PORT/DATABASE` |"
        )
    yield ""
    yield from fenced(configuration_lines(ground))
    yield (
        "A restore takes the newest snapshot; `--at '2026-11-22 14:00'` the newest of that moment, "
        "`--snapshot ID` a certain one, `--preview` only says what would be done. It ends with its "
        "own proof: PROVEN means that what came back is what was captured."
    )
    yield ""
    yield from _databases(ground, urls)
    yield from _trees(ground, "File Uploads Restore", "files")
    yield from _trees(ground, "Application Code Restore", "git")


def _databases(ground: Runbook, urls: Mapping[str, str]) -> Iterator[str]:
    provider = " (Supabase)" if ground.is_supabase else ""
    yield f"### Database Restore{provider}"
    yield ""
    if not urls:
        yield "No database is configured."
        yield ""
        return
    if ground.is_supabase:
        yield (
            "**From Supabase Dashboard:** see [Route 3](#route-3-the-providers-own-restore). It "
            "replaces the whole database in place; for a few rows or tables use the commands here."
        )
        yield ""
    for name, one in urls.items():
        yield f"**From a recovery point, {code(name)} into a new database:**"
        yield from fenced([
            f': "${{{one}:?the URL of an empty or new database}}"',
            f"export {one}",
            f"strongroom restore {name} --to env:{one} --reason 'restore by the runbook'",
        ])  # fmt: skip
    yield (
        "Only some tables: add `--table public.NAME`; they come into a schema of their own beside "
        "the live ones. In the place of the live database: add `--replace NAME`, its own name "
        "typed out; what was there is kept, and `strongroom restore --rollback` exchanges them "
        "again."
    )
    yield ""
    yield "**Verification Steps:**"
    yield ""
    yield "- [ ] All tables exist, and their rows are those that were captured"
    yield "- [ ] The policies of row security are active"
    yield "- [ ] Critical queries answer as expected"
    yield from fenced(f"strongroom prove {name} --target env:{one}" for name, one in urls.items())
    yield "- [ ] Update the connection strings of the application, and see that it works"
    yield ""


def _trees(ground: Runbook, title: str, kind: str) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    names = ground.of_kind(kind)
    if not names:
        yield "No source of this kind is configured."
        yield ""
        return
    ownership = ground.recovery.ownership if ground.recovery is not None else {}
    for name in names:
        place = '"${RESTORE_TO:?an empty or new directory}"/' + name
        yield f"**Restore {code(name)}, beside what is there:**"
        yield from fenced([
            f"strongroom restore {name} --to {place} \\",
            "  --reason 'restore by the runbook'",
        ])  # fmt: skip
        source = ground.settings.sources[name]
        if source.kind in ("files", "git"):
            yield f"Its own place is {code(str(source.path))}; `--replace` puts it there."
            yield ""
    yield "**Verification Steps:**"
    yield ""
    yield "- [ ] Files exist where they belong, and are byte for byte what was captured"
    yield from fenced(
        f'strongroom prove {name} --target "${{RESTORE_TO:?}}"/{name}' for name in names
    )
    if kind == "git":
        yield "- [ ] The commit or tag that runs in production is checked out"
        yield "- [ ] The application starts"
        yield "- [ ] Configuration files are there, with the right connection strings"
    else:
        yield "- [ ] Files can be opened through the application"
    given = [one for one in names if one in ownership]
    if given:
        yield ""
        yield f"**Set permissions** of {joined(given)} once it is proven:"
        lines = [
            line
            for one in given
            for line in ownership_lines(f'"${{RESTORE_TO:?}}"/{one}', ownership[one])
        ]
        yield from fenced(lines)
    else:
        yield "- [ ] Owners and modes are those that the web server needs"
    yield ""
