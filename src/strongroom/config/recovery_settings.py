"""The declaration of a recovery: where the parts of the application go, how it starts again, and
what it is asked before anybody calls it recovered.

Part of `settings`; what relates it to the sources is checked in `recovery_relation`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

from strongroom.config.application_check import Command, HttpCheck, LogCheck, WorkflowStep
from strongroom.config.scalar import (
    AbsolutePath,
    DatabaseUrl,
    Duration,
    InsidePath,
    Name,
    Secret,
    Template,
)
from strongroom.config.section import Section, setting

_REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")


# Any: pydantic hands a validator whatever stands in the file
def _quoted(given: Any) -> Any:
    """Digits without quotes are a number to YAML, and 0o644 another one."""
    if isinstance(given, int):
        raise ValueError('a mode stands in quotes, such as "755"')
    return given


def _mode(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError("a mode is three octal digits, such as 755")
    return text


def _base_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/@\s?#]+", text):
        raise ValueError("this reads http://HOST:PORT or https://HOST, without a path or a login")
    return text


def _ref(text: str) -> str:
    if not _REF.fullmatch(text) or ".." in text:
        raise ValueError("this is no name of a tag or commit")
    return text


def _one_line(text: str) -> str:
    if not text.strip() or "\n" in text.strip():
        raise ValueError("one line says what to do")
    return text.strip()


Mode = Annotated[str, BeforeValidator(_quoted), AfterValidator(_mode)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Ref = Annotated[str, AfterValidator(_ref)]
Line = Annotated[str, AfterValidator(_one_line)]


class Ownership(Section):
    """Whose a restored tree becomes, and its modes; what is left out stays as it was captured."""

    owner: str | None = setting(
        "The owner's name; only root can give files away.", default=None, examples=["www-data"]
    )
    group: str | None = setting("The group's name.", default=None, examples=["www-data"])
    folder_mode: Mode | None = setting("Mode of all folders.", default=None, examples=["755"])
    file_mode: Mode | None = setting(
        "Mode of all files. Rendered files keep 600, since they may hold secrets.",
        default=None,
        examples=["755"],
    )


class RecoveryLogs(LogCheck):
    """Where the application and its servers say what went wrong."""

    server: tuple[AbsolutePath, ...] = setting(
        "Log files of the servers, with * and ?.",
        default=(),
        examples=[["/var/log/nginx/error.log"]],
    )


class Recovery(Section):
    """How `strongroom recover` brings the whole application back on an empty machine.

    Texts may hold placeholders in braces.
    """

    code: Name | None = setting(
        "The source that holds the code; needed when there are several of kind git.",
        default=None,
        examples=["code"],
    )
    database: Name | None = setting(
        "The source that is its database, and that `--database` is for; needed when there are "
        "several of kind postgres.",
        default=None,
        examples=["database"],
    )
    databases: dict[Name, DatabaseUrl] = setting(
        "Where databases go, by source: a reference, or a URL without a password. `--database` "
        "goes before the one of `database`.",
        factory=dict,
        examples=[{"database": "env:RECOVERY_DATABASE_URL"}],
    )
    folders: dict[Name, InsidePath] = setting(
        "Where in the directory a source goes; without it, under its own name.",
        factory=dict,
        examples=[{"code": "app"}],
    )
    checkout: Ref | None = setting(
        "The tag or commit that runs in production; without it the commit that was checked out "
        "when it was captured.",
        default=None,
        examples=["production"],
    )
    ownership: dict[Name, Ownership] = setting(
        "Owners and modes of restored trees, by source.",
        factory=dict,
        examples=[
            {
                "uploads": {
                    "owner": "www-data",
                    "group": "www-data",
                    "folder_mode": "755",
                    "file_mode": "755",
                }
            }
        ],
    )
    database_role: str | None = setting(
        "The role that the application logs in as; without it, that of the database's URL.",
        default=None,
        examples=["tms_app"],
    )
    database_password: Secret | None = setting(
        "Where that role's password is kept; without it, that of the database's URL if that names "
        "this role.",
        default=None,
        examples=["env:TMS_APP_PASSWORD"],
    )
    secrets: dict[Name, Secret] = setting(
        "Secrets by name, for {secret.NAME}; those of `application_check` are known, too.",
        factory=dict,
        examples=[{"app_key": "env:APP_KEY"}],
    )
    environment: dict[str, str] = setting(
        "Environment variables of all commands, on top of PATH, HOME and LANG. {database.host}, "
        ".port, .name, .user, .password, .url and .dsn are the restored database, {NAME} is the "
        "folder of a restored source, {directory} the one that holds all, {url} and {port} are "
        "where it answers, {secret.NAME} a secret. A value may be a secret reference itself.",
        factory=dict,
        examples=[{"DB_HOST": "{database.host}", "UPLOADS_PATH": "{uploads}"}],
    )
    render: dict[InsidePath, Template] = setting(
        "Files to write into the code: the text, or file:PATH of a template, with the same "
        "placeholders.",
        factory=dict,
        examples=[{".env": "DATABASE_URL={database.url}"}],
    )
    links: dict[InsidePath, Name] = setting(
        "Places in the code that lead to the folder of a restored source.",
        factory=dict,
        examples=[{"public/uploads": "uploads"}],
    )
    user: str | None = setting(
        "As whom `prepare`, `serve` and `smoke` run; without it, as whoever recovers.",
        default=None,
        examples=["www-data"],
    )
    prepare: tuple[Command, ...] = setting(
        "Commands to run in the code before the application starts, each to its end. As all "
        "commands here they have to bear being run again.",
        default=(),
        examples=[["composer install --no-dev"]],
    )
    start: tuple[Command, ...] = setting(
        "Commands that start its services, each to its end.",
        default=(),
        examples=[["systemctl restart php8.2-fpm nginx"]],
    )
    serve: Command | None = setting(
        "A command that is the application itself: it is started in the code and stays.",
        default=None,
        examples=["php -S 127.0.0.1:8080 -t public"],
    )
    smoke: tuple[Command, ...] = setting(
        "Commands that must succeed once it runs.",
        default=(),
        examples=[["php artisan about"]],
    )
    url: BaseUrl | None = setting(
        "Where the recovered application answers.",
        default=None,
        examples=["http://127.0.0.1:8080"],
    )
    http: tuple[HttpCheck, ...] = setting(
        "Requests to make, each for itself; without any, those of `application_check`.",
        default=(),
    )
    workflow: tuple[WorkflowStep, ...] = setting(
        "Requests that follow each other; without any, those of `application_check`.",
        default=(),
    )
    logs: RecoveryLogs = setting("What the logs must not say.", factory=RecoveryLogs)
    watch: Duration = setting(
        "How long the logs are watched once everything was asked.", default=timedelta(minutes=1)
    )
    by_hand: tuple[Line, ...] = setting(
        "What a person must still do, in the report.",
        default=(),
        examples=[["Point training.example.ae at the new address."]],
    )
    command_timeout: Duration = setting(
        "How long each command may take.", default=timedelta(minutes=5)
    )
    start_timeout: Duration = setting(
        "How long it may take until it answers.", default=timedelta(seconds=30)
    )
    request_timeout: Duration = setting(
        "How long a request may take.", default=timedelta(seconds=10)
    )

    def folder_of(self, source: str) -> Path:
        """Where in the directory a source goes."""
        return Path(self.folders.get(source, source))
