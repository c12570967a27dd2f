"""`application_check`: what it takes, and every mistake with its place."""

from __future__ import annotations

import pytest

from strongroom.config import ConfigFaultsError, parse_settings
from strongroom.config.application_check import ApplicationCheck

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


def read(check: str, base: str = BASE) -> ApplicationCheck:
    indented = "\n".join(f"  {line}" for line in check.strip().splitlines())
    settings = parse_settings(f"{base}application_check:\n{indented}\n")
    assert settings.application_check is not None
    return settings.application_check


def faults(check: str, base: str = BASE) -> str:
    with pytest.raises(ConfigFaultsError) as caught:
        read(check, base)
    return str(caught.value)


def test_a_command_is_words_or_a_list_and_never_a_shells() -> None:
    assert read("start: php -S 127.0.0.1:{port} -t 'my public'").start == (
        "php", "-S", "127.0.0.1:{port}", "-t", "my public",
    )  # fmt: skip
    assert read('start: ["/bin/sh", "-c", "a | b"]').start == ("/bin/sh", "-c", "a | b")
    assert read("start: echo $HOME; rm x").start == ("echo", "$HOME;", "rm", "x")


def test_all_that_the_manual_names_is_taken() -> None:
    check = read(
        """
start: php -S 127.0.0.1:{port}
database_role: tms_app
secrets: {key: "env:KEY"}
environment:
  URL: "{database.url}"
  KEY: "{secret.key}"
  OTHER: env:OTHER
  UPLOADS: "{uploads}"
  MAIL: "{mail.host}:{mail.port}"
render: {".env": "KEY={secret.key}", "config/a.php": "file:/etc/template"}
links: {public/uploads: uploads}
prepare: ["php artisan migrate"]
http: [{path: "/health?a={database.name}", values: {a.b: "> 0", "list[0].x": true}}]
workflow:
  - {name: one, path: /, take: {token: 'text:value="(.*?)"', next: "header:Location"}}
  - name: two
    path: "/{answer.next}"
    method: POST
    send: {t: "{answer.token}"}
    sha256: "{answer.token}"
  - name: three
    path: /x
    method: PUT
    send: '{"a": 1}'
    headers: {Content-Type: application/json}
logs: {files: ["logs/*.log"], failures: ["ERROR"], ignore: ["harmless"]}
limits: {memory: 1GiB, processes: 64}
allow_network: true
"""
    )
    assert check.workflow[1].send == {"t": "{answer.token}"}
    assert check.http[0].values == {"a.b": "> 0", "list[0].x": True}
    assert check.limits.memory == 2**30


@pytest.mark.parametrize(
    ("check", "place", "message"),
    [
        ("start: ''", "application_check.start", "begins with its program"),
        ("start: php 'x", "application_check.start", "close its quotes"),
        ("start: php {prot}", "application_check.start", "{prot}"),
        ("start: x\nsecrets: {k: 'env:K'}\nprepare: ['x {secret.k}']",
         "application_check.prepare[0]", "everybody sees a command's words"),
        ("start: x {secret.k}\nsecrets: {k: 'env:K'}", "application_check.start", "everybody sees"),
        ("start: x\nenvironment: {A: '{secret.k}'}", "application_check.environment.A", "secret.k"),
        ("start: x\nsecrets: {k: hunter2}", "application_check.secrets.k", "never written here"),
        ("start: x\ncode: uploads", "application_check.code", "of kind git"),
        ("start: x\ndatabase: databse", "application_check.database", "no source of this name"),
        ("start: x\nlinks: {a: upload}", "application_check.links.a", "no source of this name"),
        ("start: x\nlinks: {a: database}", "application_check.links.a", "files or git"),
        ("start: x\nrender: {../x: a}", "application_check.render", "inside"),
        ("start: x\nlogs: {failures: ['(']}", "application_check.logs.failures[0]", "regular"),
        ("start: x\nhttp: [{path: /, values: {'a..b': 1}}]", "application_check.http[0]", "path"),
        ("start: x\nworkflow: [{name: a, path: /, take: {t: nonsense}}]",
         "application_check.workflow[0].take.t", "what is taken reads"),
        ("start: x\nworkflow: [{name: a, path: /, take: {t: 'text:abc'}}]",
         "application_check.workflow[0].take.t", "one group"),
        ("start: x\nworkflow: [{name: a, path: '/{answer.t}', take: {t: sha256}}]",
         "application_check.workflow[0].path", "answer.t"),
        ("start: x\nhttp: [{path: '/{answer.t}'}]", "application_check.http[0].path", "answer.t"),
        ("start: x\nport: 80", "application_check.port", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(check: str, place: str, message: str) -> None:
    text = faults(check)
    assert place in text
    assert message in text
    assert "hunter2" not in text


def test_several_databases_want_a_choice() -> None:
    two = BASE.replace("repositories:", "  other: {kind: postgres, url: env:TWO}\nrepositories:")
    assert "say which one: database" in faults("start: x", two)
    assert read("start: x\ndatabase: other", two).database == "other"


def test_an_application_needs_its_code() -> None:
    without = BASE.replace("  code: {kind: git, path: /srv/app}\n", "")
    assert "no source is of kind git" in faults("start: x", without)
