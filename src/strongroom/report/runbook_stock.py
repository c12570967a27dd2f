"""The runbook's second route: everything back with stock restic, psql and git, without Strongroom.

The commands are those of docs/FORMAT.md, *Restore without us*, with this application's names and
places, and then what `recovery` in the settings says, as the shell has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from strongroom.config.placeholder import names_in
from strongroom.config.value import is_reference, location_scheme
from strongroom.report.markdown import code, fenced, joined, table
from strongroom.report.runbook_ground import Runbook
from strongroom.report.runbook_restore import ownership_lines
from strongroom.report.shell import default, filled, kept_at, quoted, secret, variable

if TYPE_CHECKING:
    from strongroom.config.settings import RepositorySettings

__all__ = ["database_names", "reopening_blocks", "stock_route", "templates_by_hand"]

_WORK: Final = "${WORK:?}"
_WRITTEN: Final = "Links and settings"
_ENCODED: Final = "in_url"
# Every byte as %XX, which all readers of URLs take for the byte; only what POSIX has is asked.
_ENCODER: Final = (
    f"{_ENCODED}() {{ printf %s \"$1\" | od -An -v -tx1 | tr -d ' \\n' | sed 's/../%&/g'; }}"
)
_HEADING: Final = "#####"
_CHECK_RLS: Final = (
    "SELECT schemaname, tablename, policyname, roles, cmd\n"
    "  FROM pg_catalog.pg_policies ORDER BY 1, 2"
)
_CHECK_TABLES: Final = (
    "SELECT schemaname, count(*) AS tables FROM pg_catalog.pg_tables\n"
    "  WHERE schemaname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1 ORDER BY 1"
)
_SFTP: Final = re.compile(r"sftp:(?://(?P<host>[^/:]+)(?::(?P<port>\d+))?/.*|(?P<plain>[^:/]+):.*)")


def stock_route(ground: Runbook) -> Iterator[str]:
    """All steps in their order."""
    yield (
        "Nothing of ours is needed: `restic` 0.14 or newer, `psql` of the captured major version "
        "or newer, `git`, `bash`. Do the steps in this order, in one shell, as root where owners "
        "of files matter."
    )
    yield ""
    yield f"{_HEADING} Step 1: say where everything goes"
    yield ""
    yield from _variables(ground)
    yield f"{_HEADING} Step 2: open one repository that survived"
    yield ""
    yield from _open_one(ground)
    yield from _restores(ground)
    yield f"{_HEADING} Step 6: look at what came back"
    yield ""
    yield from _look(ground)
    yield f"{_HEADING} Step 7: make it run"
    yield ""
    yield from _reopen(ground)


# Where everything goes


def _variables(ground: Runbook) -> Iterator[str]:
    rows = [("`TARGET`", "an empty or new directory for the application", "`/srv/recovered`")]
    databases = database_names(ground)
    if databases:
        rows += [
            (f"{code(one)}", f"what the database of {code(name)} is to be called", code(name))
            for name, one in databases.items()
        ]
        rows.append(
            (
                "`PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`",
                "the new database server, as a superuser; these are psql's own",
                "`db.example.com`",
            )
        )
    yield from table(("Variable", "What it says", "For example"), rows)
    lines = [
        ': "${TARGET:?an empty or new directory}"',
        'export TARGET="$(realpath -m "$TARGET")"',
        'export WORK="$TARGET.work"',
    ]
    for name, one in databases.items():
        lines.append(f'export {one}="${{{one}:-{default(name)}_recovered}}"')
    if databases:
        lines.append('export PGHOST="${PGHOST:?the new database server}" PGPORT="${PGPORT:-5432}"')
        lines.append('export PGUSER="${PGUSER:-postgres}"')
        lines.append('if [ -n "${PGPASSWORD:-}" ]; then export PGPASSWORD; fi')
    lines.append('mkdir -p "${TARGET:?}" "${WORK:?}"')
    yield from fenced(lines)
    yield "The folder `$WORK` holds what is only needed on the way; remove it in the end."
    yield ""


def database_names(ground: Runbook) -> dict[str, str]:
    """For each database the variable with the name that it is to have."""
    names = ground.of_kind("postgres")
    return {
        name: "NEW_DATABASE" if len(names) == 1 else variable("NEW_DATABASE", name)
        for name in names
    }


# Where it comes from


def _open_one(ground: Runbook) -> Iterator[str]:
    chosen = ground.chosen()
    if chosen is None:
        yield (
            "No recovery point is known to hold everything, so the newest snapshot of each source "
            "is taken. Snapshots with the same tag `point:` belong together: set `POINT` to one."
        )
        point = ""
    else:
        one, because = chosen
        holders = one.holders(list(ground.settings.sources))
        yield (
            f"Recovery point {code(one.id)} of {ground.clock(one.captured_at)} is taken: "
            f"{because}, as far as was known when this was written; whole in {joined(holders)}. "
            "For another one set `POINT` to its id, the part of a tag behind `point:`; an empty "
            "`POINT` takes the newest of each source."
        )
        point = default(one.id)
    yield from fenced([f'export POINT="${{POINT-{point}}}"'])
    yield "Then **one** of these blocks: the repository that is nearest and answers."
    for name, declared in ground.settings.repositories.items():
        yield ""
        yield f"Repository {code(name)}:"
        if declared.password is None:
            yield ""
            yield (
                "It is opened by its master key, which stock restic doesn't take. Add a password "
                f"with `strongroom key add {name}` while there is time."
            )
            continue
        if location_scheme(declared.location) == "rest" and declared.access.password is not None:
            yield "(restic 0.17 or newer, for the server's name and password)"
        yield from fenced(_repository_lines(ground, name, declared, declared.password))


def _repository_lines(
    ground: Runbook, name: str, declared: RepositorySettings, password: str
) -> Iterator[str]:
    yield "unset RESTIC_PASSWORD RESTIC_PASSWORD_FILE RESTIC_PASSWORD_COMMAND"
    yield f"export RESTIC_REPOSITORY={quoted(declared.location)}"
    yield from _password_lines(name, password)
    yield from _access_lines(name, declared)
    tags = f"strongroom,application:{ground.settings.application}"
    yield f"restic snapshots --tag {tags}"


def _password_lines(name: str, password: str) -> Iterator[str]:
    scheme, _, rest = password.partition(":")
    own = variable(name, "PASSWORD_FILE")
    if scheme == "env":
        yield f'export RESTIC_PASSWORD="${{{rest}:?the password of repository {name}}}"'
    elif scheme == "file":
        yield f'export RESTIC_PASSWORD_FILE="${{{own}:-{default(rest)}}}"'
    else:
        asked = f"a file with the password of repository {name}, kept in {kept_at(password)}"
        yield f'export RESTIC_PASSWORD_FILE="${{{own}:?{default(asked)}}}"'


def _access_lines(name: str, declared: RepositorySettings) -> Iterator[str]:
    access, scheme = declared.access, location_scheme(declared.location)
    options = []
    for key, given in (
        ("AWS_ACCESS_KEY_ID", access.access_key),
        ("AWS_SECRET_ACCESS_KEY", access.secret_key),
        ("AWS_SESSION_TOKEN", access.session_token),
        ("RESTIC_REST_USERNAME", access.user),
        ("RESTIC_REST_PASSWORD", access.password if scheme == "rest" else None),
    ):
        if given is not None:
            fallback = variable(name, key)
            told = secret(given, fallback)
            if told == f"${{{fallback}}}":
                told = f"${{{fallback}:?kept in {default(kept_at(given))}}}"
            elif told.startswith("${"):
                told = f"{told[:-1]}:?for repository {name}}}"
            yield f'export {key}="{told}"'
    if access.region is not None:
        yield f"export AWS_DEFAULT_REGION={quoted(access.region)}"
    if access.profile is not None:
        yield f"export AWS_PROFILE={quoted(access.profile)}"
    if access.ca_file is not None:
        options.append(f"--cacert {quoted(str(access.ca_file))}")
    if scheme == "sftp" and (command := _ssh_command(declared)):
        options.append(f"-o sftp.command={quoted(command)}")
    # Whichever repository was opened before, its options are its own.
    yield f"restic() {{ command restic {' '.join([*options, chr(34) + '$@' + chr(34)])}; }}"


def _ssh_command(declared: RepositorySettings) -> str:
    """How ssh is called where the settings name a key or known hosts; empty where they don't."""
    access = declared.access
    words = ["ssh"]
    if access.identity is not None:
        words += ["-i", quoted(str(access.identity))]
    if access.known_hosts is not None:
        words += ["-o", quoted(f"UserKnownHostsFile={access.known_hosts}")]
    found = _SFTP.fullmatch(declared.location)
    if len(words) == 1 or found is None:
        return ""
    if found["port"]:
        words += ["-p", found["port"]]
    return " ".join([*words, quoted(found["host"] or found["plain"]), "-s", "sftp"])


def _brought(ground: Runbook, source: str) -> Iterator[str]:
    """What brings the snapshot of a source into a folder of its own on the way."""
    tags = f"source:{source},application:{ground.settings.application}"
    yield f'restic restore latest --target "{_WORK}/{source}" \\'
    yield f'  --tag "{tags}${{POINT:+,point:$POINT}}"'


def _restores(ground: Runbook) -> Iterator[str]:
    yield f"{_HEADING} Step 3: databases"
    yield ""
    databases = database_names(ground)
    for name, one in databases.items():
        yield f"{code(name)} comes into a new database; `restore.sh` counts the rows of each table."
        work = f'"{_WORK}/{name}"'
        yield from fenced([
            *_brought(ground, name),
            f'sh {work}/*/restore.sh "${{{one}:?}}"',
        ])  # fmt: skip
    if databases:
        yield (
            "Passwords of roles are in no snapshot: set them with `\\password ROLE` in `psql`. "
            "What else is to be done by hand stands in `manifest.json` of its folder in `$WORK`, "
            "under `coverage`."
        )
    else:
        yield "No database is configured."
    yield ""
    yield f"{_HEADING} Step 4: files"
    yield ""
    files = ground.of_kind("files")
    for name in files:
        source = ground.settings.sources[name]
        assert source.kind == "files", "by its kind"
        place = f'"{ground.placed(name)}"'
        yield from fenced([
            *_brought(ground, name),
            f'mkdir -p "$(dirname {place})"',
            f'mv -T "{_WORK}/{name}"{quoted(str(source.path))} {place}',
        ])  # fmt: skip
    yield "" if files else "No files are configured."
    yield ""
    yield f"{_HEADING} Step 5: code"
    yield ""
    code_sources = ground.of_kind("git")
    for name in code_sources:
        yield from fenced(_code_lines(ground, name))
    yield "" if code_sources else "No code is configured."
    yield ""


def _code_lines(ground: Runbook, name: str) -> Iterator[str]:
    work, place = f'"{_WORK}/{name}"', f'"{ground.placed(name)}"'
    yield from _brought(ground, name)
    yield f"git clone --mirror {work}/*/repository.bundle {place}/.git"
    yield f"git -C {place} config --bool core.bare false"
    yield f"git -C {place} checkout"
    yield f"git -C {place} remote remove origin"
    yield f"if [ -d {work}/*/untracked ]; then"
    yield f"  cp -a {work}/*/untracked/. {place}/"
    yield "fi"


# Whether it is whole


def _look(ground: Runbook) -> Iterator[str]:
    for name, one in database_names(ground).items():
        statements = [_CHECK_TABLES, _CHECK_RLS]
        queries = [one for one in ground.settings.queries if one.source == name]
        statements += [one.sql for one in queries]
        asked = [f"{one.name}: {one.expect}" for one in queries]
        yield f"- [ ] {code(name)}: all tables exist, policies of row security are there"
        if asked:
            yield f"- [ ] critical queries, in this order: {joined(asked)}"
        yield from fenced(_statements(one, statements))
    for name in ground.of_kind("files"):
        yield f"- [ ] {code(name)}: as many files as expected"
        yield from fenced([f'find "{ground.placed(name)}" -type f | wc -l'])
    for name in ground.of_kind("git"):
        yield f"- [ ] {code(name)}: the expected commit, nothing changed"
        place = f'"{ground.placed(name)}"'
        yield from fenced([f"git -C {place} log -1 --oneline", f"git -C {place} status --short"])
    yield (
        "Once Strongroom runs somewhere, `strongroom prove SOURCE --target TARGET` says whether "
        "each is what was captured, byte for byte. Do it before the next step, which changes files."
    )
    yield ""


def _statements(database: str, statements: list[str]) -> Iterator[str]:
    """Statements for psql, ended by a word that none of them holds on a line of its own."""
    held = {line.strip() for one in statements for line in one.splitlines()}
    end = "SQL"
    while end in held:
        end += "_"
    yield f"psql -X -v ON_ERROR_STOP=1 -d \"${{{database}:?}}\" <<'{end}'"
    for one in statements:
        yield one.strip().rstrip(";") + ";"
    yield end


# It runs again


def _reopen(ground: Runbook) -> Iterator[str]:
    recovery = ground.recovery
    if recovery is None:
        yield (
            "**Not known:** the configuration has no section `recovery`, so nothing here says how "
            "the application starts. Write its connection strings and secrets into its "
            "configuration, give files to the web server's user, start it, and make it answer."
        )
        yield ""
        return
    if recovery.user is not None:
        yield (
            f"Commands in the code run as {code(recovery.user)}, to whom the written files belong. "
            f"Only root may do that: whoever is {code(recovery.user)} leaves out `chown` and "
            "`runuser`."
        )
        yield ""
    for title, lines in reopening_blocks(ground):
        if lines:
            yield f"{title}:"
            yield from fenced(lines)
        if title == _WRITTEN:
            yield from _by_hand(ground, _values(ground))


def reopening_blocks(ground: Runbook) -> Iterator[tuple[str, list[str]]]:
    """What makes the application run again, as lines of a shell under their titles; nothing where
    the settings have no section `recovery`."""
    if ground.recovery is None:
        return
    values = _values(ground)
    blocks = [
        ("The commit or tag of production", list(_checkout_lines(ground))),
        ("Environment of all commands that follow", list(_environment_lines(ground, values))),
        (_WRITTEN, [*_link_lines(ground), *_render_lines(ground, values)]),
        ("Owners and modes", list(_owner_lines(ground))),
        ("Start it", list(_start_lines(ground, values))),
        ("Look whether it works", list(_smoke_lines(ground, values))),
    ]
    encoder = [_ENCODER]
    for title, lines in blocks:
        if any(f"$({_ENCODED} " in line for line in lines):
            yield title, [*encoder, *lines]
            encoder = []
        else:
            yield title, lines


def _by_hand(ground: Runbook, values: Mapping[str, str]) -> Iterator[str]:
    """The files of which nobody but the program reads the template."""
    recovery = ground.recovery
    assert recovery is not None, "there is a section"
    templates = templates_by_hand(ground, values)
    if templates:
        told = ", ".join(f"{code(name)} from {code(recovery.render[name])}" for name in templates)
        yield f"Write by hand, with the new connection strings: {told}."
        yield ""


def templates_by_hand(ground: Runbook, values: Mapping[str, str] | None = None) -> list[str]:
    """The files that no command here writes: their template is a secret, or asks for more."""
    recovery = ground.recovery
    if recovery is None:
        return []
    known = _values(ground) if values is None else values
    return [
        name for name, one in recovery.render.items() if is_reference(one) or _lacks(one, known)
    ]


def _lacks(template: str, values: Mapping[str, str]) -> bool:
    return any(name not in values for name in names_in(template))


def _values(ground: Runbook) -> dict[str, str]:
    """What the shell has in the place of each placeholder."""
    recovery = ground.recovery
    assert recovery is not None, "there is a section"
    values = {name: ground.placed(name) for name in ground.of_kind("files", "git")}
    values["directory"] = "${TARGET:?}"
    if recovery.url is not None:
        parts = urlsplit(recovery.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        values |= {"url": recovery.url, "port": str(port)}
    check = ground.settings.application_check
    secrets = (dict(check.secrets) if check is not None else {}) | dict(recovery.secrets)
    for name, reference in secrets.items():
        values[f"secret.{name}"] = ground.secret(reference, variable("SECRET", name))
    database = ground.named("postgres")
    if database is not None:
        values |= _database_values(ground, database_names(ground)[database])
    return values


def _database_values(ground: Runbook, name: str) -> dict[str, str]:
    recovery = ground.recovery
    assert recovery is not None, "there is a section"
    user = recovery.database_role or "${PGUSER}"
    given = recovery.database_password
    password = ground.secret(given, "DATABASE_PASSWORD") if given is not None else "${PGPASSWORD:-}"
    place = "&".join(
        f"{key}={_in_url(word)}"
        for key, word in (
            ("host", "${PGHOST}"), ("port", "${PGPORT}"), ("user", user), ("password", password)
        )
    )  # fmt: skip
    return {
        "database.host": "${PGHOST}",
        "database.port": "${PGPORT}",
        "database.name": f"${{{name}:?}}",
        "database.user": user,
        "database.password": password,
        "database.url": f"postgresql:///{_in_url(f'${{{name}:?}}')}?{place}",
        "database.dsn": f"pgsql:host=${{PGHOST}};port=${{PGPORT}};dbname=${{{name}:?}}",
    }


def _in_url(word: str) -> str:
    """What the shell has in a URL for what it makes of a word: any character may be in it."""
    return f'$({_ENCODED} "{word}")'


def _code_place(ground: Runbook) -> str:
    name = ground.named("git")
    return ground.placed(name) if name is not None else "${TARGET:?}"


def _checkout_lines(ground: Runbook) -> Iterator[str]:
    recovery = ground.recovery
    if recovery is not None and recovery.checkout is not None:
        place = f'"{_code_place(ground)}"'
        yield f"git -C {place} checkout --quiet --detach {quoted(recovery.checkout)}"


def _environment_lines(ground: Runbook, values: Mapping[str, str]) -> Iterator[str]:
    recovery = ground.recovery
    for name, given in recovery.environment.items() if recovery is not None else ():
        if is_reference(given):
            told = ground.secret(given, variable(name))
            yield f'export {name}="{told}"' if told != f"${{{name}}}" else f"export {name}"
        elif not _lacks(given, values):
            yield f"export {name}={filled(ground.mask_of(name, given), values)}"


def _link_lines(ground: Runbook) -> Iterator[str]:
    recovery = ground.recovery
    for name, source in recovery.links.items() if recovery is not None else ():
        place = f'"{_code_place(ground)}"/{quoted(name)}'
        yield f'mkdir -p "$(dirname {place})"'
        yield f"if [ -d {place} ]; then rmdir {place}; fi"
        yield f'ln -sfn "{ground.placed(source)}" {place}'


def _render_lines(ground: Runbook, values: Mapping[str, str]) -> Iterator[str]:
    recovery = ground.recovery
    for name, template in recovery.render.items() if recovery is not None else ():
        if is_reference(template) or _lacks(template, values):
            continue
        place = f'"{_code_place(ground)}"/{quoted(name)}'
        yield f'mkdir -p "$(dirname {place})"'
        parts = ground.mask(template).split("\n")
        told = " ".join(filled(one, values) for one in parts)
        form = quoted("\\n".join("%s" for _ in parts))
        yield f"(umask 077; printf {form} {told} >{place})"
        if recovery is not None and recovery.user is not None:
            yield f"chown {quoted(recovery.user + ':')} {place}"


def _owner_lines(ground: Runbook) -> Iterator[str]:
    recovery = ground.recovery
    if recovery is None:
        return
    for name, ownership in recovery.ownership.items():
        yield from ownership_lines(f'"{ground.placed(name)}"', ownership)
    for name in recovery.render if recovery.ownership else ():
        place = f'"{_code_place(ground)}"/{quoted(name)}'
        yield f"chmod 600 {place}"
        if recovery.user is not None:
            yield f"chown {quoted(recovery.user + ':')} {place}"


def _start_lines(ground: Runbook, values: Mapping[str, str]) -> Iterator[str]:
    recovery = ground.recovery
    if recovery is None:
        return
    if recovery.prepare or recovery.start or recovery.serve is not None:
        yield f'cd "{_code_place(ground)}"'
    for words in recovery.prepare:
        yield _as_user(ground) + _command(ground, words, values)
    for words in recovery.start:
        yield _command(ground, words, values)
    if recovery.serve is not None:
        told = _as_user(ground) + _command(ground, recovery.serve, values)
        yield f'nohup {told} >"{_WORK}/serve.log" 2>&1 </dev/null &'
        yield f'echo $! >"{_WORK}/serve.pid"'


def _smoke_lines(ground: Runbook, values: Mapping[str, str]) -> Iterator[str]:
    recovery = ground.recovery
    for words in recovery.smoke if recovery is not None else ():
        yield _as_user(ground) + _command(ground, words, values)


def _as_user(ground: Runbook) -> str:
    """What lets a command in the code run as the user that the settings name."""
    user = ground.recovery.user if ground.recovery is not None else None
    return f"runuser -u {quoted(user)} -- " if user is not None else ""


def _command(ground: Runbook, words: tuple[str, ...], values: Mapping[str, str]) -> str:
    return " ".join(filled(ground.mask(one), values) for one in words)
