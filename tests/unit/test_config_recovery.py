"""`recovery`: what it takes, and every mistake with its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.config import ConfigFaultsError, parse_settings
from strongroom.config.recovery_settings import Recovery

BASE = """
version: 1
application: tms
sources:
  uploads: {kind: files, path: /srv/uploads}
  database: {kind: postgres, url: env:URL}
  code: {kind: git, path: /srv/app}
repositories:
  local: {location: /backup, password: file:/key}
"""
CHECK = """
application_check:
  start: php -S 127.0.0.1:{port}
  secrets: {trainee: env:TRAINEE}
  http: [{path: "/health?mail={mail.host}"}]
"""


def read(recovery: str, base: str = BASE) -> Recovery:
    indented = "\n".join(f"  {line}" for line in recovery.strip().splitlines())
    settings = parse_settings(f"{base}recovery:\n{indented}\n")
    assert settings.recovery is not None
    return settings.recovery


def faults(recovery: str, base: str = BASE) -> str:
    with pytest.raises(ConfigFaultsError) as caught:
        read(recovery, base)
    return str(caught.value)


def test_all_that_the_manual_names_is_taken() -> None:
    recovery = read(
        """
folders: {code: app, uploads: shared/uploads}
databases: {database: env:NEW}
checkout: production
ownership: {uploads: {owner: www-data, group: www-data, folder_mode: "755", file_mode: "0644"}}
database_role: tms_app
database_password: env:APP_PASSWORD
secrets: {key: env:KEY}
environment: {DB: "{database.url}", KEY: "{secret.key}", OTHER: env:OTHER, AT: "{directory}"}
render: {.env: "URL={url} PORT={port} UPLOADS={uploads}"}
links: {public/uploads: uploads}
prepare: [php artisan migrate:status]
start: [systemctl restart php-fpm, "systemctl restart nginx"]
serve: php -S 127.0.0.1:8080
smoke: [php artisan about]
url: https://training.example.ae
http: [{path: /health}]
workflow: [{name: one, path: /, take: {t: sha256}}, {name: two, path: "/{answer.t}"}]
logs: {files: ["logs/*.log"], server: ["/var/log/nginx/*.log"]}
watch: 5m
by_hand: ["Point the name at the new address."]
"""
    )
    assert recovery.folder_of("code") == Path("app")
    assert recovery.folder_of("database") == Path("database")
    assert recovery.start[1] == ("systemctl", "restart", "nginx")
    assert recovery.watch == timedelta(minutes=5)
    assert recovery.logs.failures  # those of a drill


@pytest.mark.parametrize(
    ("recovery", "place", "said"),
    [
        ("databases: {databse: env:NEW}", "recovery.databases.databse", "did you mean `database`"),
        ("databases: {uploads: env:NEW}", "recovery.databases.uploads", "of kind postgres"),
        ("databases: {database: 'postgresql://a:b@c/d'}", "recovery.databases", "password"),
        ("folders: {database: db}", "recovery.folders.database", "of kind files or git"),
        ("folders: {uploads: ../x}", "recovery.folders.uploads", "without .."),
        ("folders: {uploads: code/up}", "recovery.folders.uploads", "in that of source code"),
        ("folders: {uploads: code}", "recovery.folders.uploads", "in that of source code"),
        ("folders: {uploads: .strongroom/x}", "recovery.folders.uploads", "for the journal"),
        ("folders: {uploads: .}", "recovery.folders.uploads", "no folder of its own"),
        ("ownership: {up: {owner: a}}", "recovery.ownership.up", "no source of this name"),
        ("ownership: {uploads: {file_mode: rwx}}", "file_mode", "octal"),
        ("ownership: {uploads: {file_mode: '4755'}}", "file_mode", "octal"),
        ("ownership: {uploads: {file_mode: 644}}", "file_mode", "in quotes"),
        ("checkout: --force", "recovery.checkout", "no name of a tag"),
        ("links: {a: upload}", "recovery.links.a", "no source of this name"),
        ("render: {../x: a}", "recovery.render", "inside"),
        ("render: {.env: '{mail.host}'}", "recovery.render..env", "{mail.host}"),
        ("serve: x {secret.k}\nsecrets: {k: 'env:K'}", "recovery.serve", "everybody sees"),
        ("smoke: ['x {database.url}']", "recovery.smoke[0]", "everybody sees"),
        ("start: ['x {database.password}']", "recovery.start[0]", "everybody sees"),
        ("secrets: {k: hunter2}", "recovery.secrets.k", "never written here"),
        ("database_password: hunter2", "recovery.database_password", "never written here"),
        ("url: https://a:b@c", "recovery.url", "without a path or a login"),
        ("url: http://c/path", "recovery.url", "without a path or a login"),
        ("http: [{path: /}]", "recovery.http", "url is missing"),
        ("url: http://c\nworkflow: [{name: a, path: '/{answer.t}'}]", "workflow[0]", "answer.t"),
        ("by_hand: [' ']", "recovery.by_hand[0]", "one line"),
        ("servce: x", "recovery", "did you mean `serve`"),
    ],
)
def test_each_mistake_is_told_with_its_place(recovery: str, place: str, said: str) -> None:
    told = faults(recovery)
    assert place in told
    assert said in told


def test_what_a_drill_asks_is_asked_unless_it_needs_a_sandbox() -> None:
    fitting = CHECK.replace("?mail={mail.host}", "")
    assert read("url: http://127.0.0.1:80", BASE + fitting).http == ()
    told = faults("url: http://127.0.0.1:80", BASE + CHECK)
    assert "recovery.http: those of application_check don't fit here" in told
    assert "{mail.host}" in told
    assert read("url: http://127.0.0.1:80\nhttp: [{path: /}]", BASE + CHECK).http


def test_commands_can_do_without_code_and_what_is_written_into_it_cannot() -> None:
    without = BASE.replace("  code: {kind: git, path: /srv/app}\n", "")
    assert read("start: [systemctl restart nginx]", without).start
    assert "there is no code" in faults("render: {.env: x}", without)


def test_several_sources_of_a_kind_want_a_choice() -> None:
    two = BASE.replace("repositories:", "  app: {kind: git, path: /srv/b}\nrepositories:")
    assert "several sources are of kind git; say which one: code" in faults("serve: x", two)
    assert read("serve: x\ncode: app", two).code == "app"
    assert read("watch: 1s", two).code is None
