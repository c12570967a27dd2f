"""Loading: the documented file, its defaults and places, and how YAML is taken."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.config import (
    ConfigFaultsError,
    FilesSource,
    GitSource,
    PostgresSource,
    Settings,
    find_config,
    load_settings,
    parse_settings,
)
from strongroom.errors import ConfigError
from strongroom.repository.compression import EFFORTS

SMALL = """
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  database: {kind: postgres, url: env:URL}
  code: {kind: git, path: ~/app}
repositories:
  local: {location: ../backup, password: file:keys/local}
  offsite: {location: "s3:https://s3.example.com/bucket", password: env:OFFSITE}
"""

DOCUMENTED = """
version: 1
application: training-management-system
environment: production
sources:
  database: {kind: postgres, url: env:DATABASE_URL, jobs: 2}
  uploads:  {kind: files, path: /srv/tms/uploads, exclude: ["*.tmp"], required: [lpos]}
  code:     {kind: git, path: /srv/tms/app, untracked: [".htaccess", "config/*.php"]}
repositories:
  local:    {location: /backup/tms, password: file:/etc/strongroom/local.key}
  offsite:  {location: "s3:https://s3.example.com/tms-backup", password: env:OFFSITE_PASSWORD}
retention:
  local:    {daily: 30d}
  offsite:  {daily: 30d, weekly: 90d}
  code:     forever
objectives: {rpo: 24h, rto: 4h, proof_age: 7d, copies: 2}
schedule:   {capture: "0 2 * * *", time_zone: Asia/Dubai}
alerts:     [{to: "env:ALERT_URL", when: warning}]
contacts:   [{role: Database, name: Duty, phone: 0501234567}]
review:     {last: 2026-01-28, every: 90d}
queries:    [{source: database, name: trainees, sql: "SELECT count(*) FROM t", expect: "> 0"}]
probes:     [{source: database, role: authenticated, claims: {sub: 7}, sql: SELECT 1}]
references: [{source: database, sql: "SELECT file_path FROM documents", files: uploads}]
application_check: {start: "php -S 127.0.0.1:{port}", http: [{path: /api/health.php, status: 200}]}
state:      /var/lib/strongroom
"""


def _with(extra: str, base: str = SMALL) -> Settings:
    return parse_settings(base + extra, base=Path("/etc/tms"))


def _faults(text: str) -> list[str]:
    with pytest.raises(ConfigFaultsError) as caught:
        parse_settings(text)
    return [str(fault) for fault in caught.value.faults]


def test_every_documented_key_is_accepted() -> None:
    settings = parse_settings(DOCUMENTED)
    database, uploads, code = (settings.sources[name] for name in ("database", "uploads", "code"))
    assert isinstance(database, PostgresSource)
    assert database.jobs == 2
    assert isinstance(uploads, FilesSource)
    assert uploads.path == Path("/srv/tms/uploads")
    assert (uploads.exclude, uploads.required) == (("*.tmp",), ("lpos",))
    assert isinstance(code, GitSource)
    assert code.untracked == (".htaccess", "config/*.php")
    assert settings.repositories["offsite"].password == "env:OFFSITE_PASSWORD"
    assert settings.objectives.rpo == timedelta(hours=24)
    assert settings.contacts[0].phone == "0501234567"
    assert settings.probes[0].claims == {"sub": 7}
    assert settings.review.last is not None
    assert settings.review.last.isoformat() == "2026-01-28"
    assert settings.application_check is not None
    assert settings.application_check.http[0].status == 200


def test_sources_keep_the_order_of_the_file() -> None:
    assert list(_with("").sources) == ["uploads", "database", "code"]


def test_relative_places_are_seen_from_the_files_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/op")
    settings = _with("state: state")
    uploads, code = settings.sources["uploads"], settings.sources["code"]
    assert isinstance(uploads, FilesSource)
    assert isinstance(code, GitSource)
    assert uploads.path == Path("/etc/tms/uploads")
    assert code.path == Path("/home/op/app")
    assert settings.repositories["local"].location == "/etc/backup"
    assert settings.repositories["local"].password == "file:/etc/tms/keys/local"
    assert settings.repositories["offsite"].location == "s3:https://s3.example.com/bucket"
    assert settings.state == "/etc/tms/state"
    fleet = _with("state: env:STATE_DATABASE_URL\nstate_folder: state")
    assert (fleet.state, fleet.state_folder) == ("env:STATE_DATABASE_URL", Path("/etc/tms/state"))


def test_production_is_daily_and_development_weekly() -> None:
    assert _with("").objectives.rpo == timedelta(days=1)
    assert _with("").schedule.capture == "0 2 * * *"
    development = _with("environment: development\nobjectives: {rto: 1h}\n")
    assert development.objectives.rpo == timedelta(days=7)
    assert development.objectives.rto == timedelta(hours=1)
    assert development.schedule.capture == "0 2 * * 0"


def test_a_sources_policy_goes_before_a_repositorys_and_code_stays_forever() -> None:
    settings = _with("retention: {local: {daily: 5d}, uploads: {last: 3}}")
    assert settings.policy("uploads", "local").last == 3
    assert settings.policy("database", "local").daily == timedelta(days=5)
    assert settings.policy("database", "offsite").weekly == timedelta(days=90)
    assert settings.policy("code", "offsite").forever
    assert _with("retention: {code: forever}").policy("code", "local").forever


@pytest.mark.parametrize("effort", EFFORTS)
def test_compression_is_named_by_its_aim(effort: str) -> None:
    engine = _with(f"engine: {{compression: {effort}, workers: 3, memory: 256MiB}}").engine
    assert (engine.compression, engine.worker_count, engine.memory) == (effort, 3, 256 * 2**20)


def test_an_opened_but_empty_section_means_its_defaults() -> None:
    assert _with("alerts:\nobjectives:\n").objectives.copies == 2


def test_the_first_place_that_exists_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    monkeypatch.chdir(here)
    environ = {"HOME": str(home)}
    in_home = home / ".config" / "strongroom" / "strongroom.yaml"
    in_home.parent.mkdir(parents=True)
    in_home.write_text(SMALL)
    assert find_config(environ=environ) == in_home
    (here / "strongroom.yaml").write_text(SMALL)
    assert find_config(environ=environ) == here / "strongroom.yaml"
    named = tmp_path / "named.yaml"
    named.write_text(SMALL)
    environ["STRONGROOM_CONFIG"] = str(named)
    assert find_config(environ=environ) == named
    assert find_config(in_home, environ) == in_home
    assert load_settings(environ=environ).application == "tms"


@pytest.mark.parametrize("environ", [{"STRONGROOM_CONFIG": "/no/such/file"}, {"HOME": "/no/home"}])
def test_no_configuration_names_where_it_was_sought(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_settings(environ=environ)
    assert caught.value.code == "config-missing"
    assert next(iter(environ.values())) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"- a\n", "settings (name: value)"),
        (b"a: [\n", "not YAML"),
        (b"a: \x01\n", "not YAML"),
        (b"ok: 1\n\xff\n", "line 2: this is not UTF-8"),
        (b"x" * (2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_configuration_says_why(
    tmp_path: Path, content: bytes, says: str
) -> None:
    file = tmp_path / "strongroom.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert says in str(caught.value)
    assert caught.value.exit_status == 2


def test_yaml_means_what_it_looks_like() -> None:
    contact = "contacts: [{role: no, name: on, phone: 00971, email: 12:30:45}]"
    read = _with(contact).contacts[0]
    assert (read.role, read.name, read.phone, read.email) == ("no", "on", "00971", "12:30:45")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("application: other\n", "line 11, application: this stands here twice, first on line 3"),
        ("state: !secret x\n", "line 11, state: tags (words with !) have no meaning here"),
        ("engine: &e [*e]\n", "nested or repeated beyond any use"),
        ("? [a]\n: b\n", "line 11: a setting's name is a word"),
    ],
)
def test_yaml_traps_are_faults(extra: str, says: str) -> None:
    assert any(says in fault for fault in _faults(SMALL + extra)), _faults(SMALL + extra)


def test_aliases_that_multiply_end_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert any("beyond any use" in fault for fault in _faults("\n".join(lines)))


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("monitoring: {metrics_file: /run/tms.txt}", "must end in .prom"),
        ("retention: {loca: forever}", "did you mean `local`"),
        ("retention: {local: {}}", "would keep nothing"),
        ("retention: {local: {forever: true, last: 2}}", "forever leaves nothing"),
        ("retention: {local: often}", "the word forever"),
        (
            "queries: [{source: uploads, name: n, sql: SELECT 1, expect: e}]",
            "must name a source of kind",
        ),
        (
            "queries: [{source: database, name: n, sql: DELETE FROM t, expect: e}]",
            "it changes nothing",
        ),
        (
            "queries: [{source: database, name: n, sql: SELECT 1, expect: denied}]",
            "denied is for probes",
        ),
        ("probes: [{source: database, role: r, sql: SELECT 1, expect: '> '}]", "follows >"),
        ("references: [{source: database, sql: s, files: code}]", "source of kind files"),
        ("alerts: [{to: 'https://hooks.example.com/T0K3N'}]", "never written here"),
        ("alerts: [{to: 'mailto:op:s3cret@example.com'}]", "reads mailto:NAME@HOST"),
        ("alerts: [{to: 'mailto:op,boss@example.com'}]", "reads mailto:NAME@HOST"),
        ("alerts: [{to: env:A, about: [uplods]}]", "did you mean `uploads`?"),
        ("alerts: [{to: env:A, name: x}, {to: env:B, name: x}]", "what alerts[0] is called"),
        ("alerts: [{to: env:A, name: 2}, {to: env:B}]", "what alerts[0] is called"),
        ("alerts: [{to: env:A, repeat: 30s}]", "at least 5m"),
        ("monitoring: {mail_server: 'smtp://mail'}", "HOST or HOST:PORT"),
        ("state: postgresql://app@db/state", "by a reference"),
        ("state_folder: /var/lib/x", "belongs to a `state` that names a database"),
        ("state_folder: /var/lib/x\nstate: /var/lib/y", "a folder stands in `state` itself"),
        ("engine: {memory: 1MiB}", "at least 64MiB"),
        ("application_check: {start: x, http: [{path: health}]}", "begins with a slash"),
        ("schedule: {time_zone: Dubai}", "no time zone of this name"),
    ],
)
def test_single_faults_say_what_is_wanted(extra: str, says: str) -> None:
    found = _faults(SMALL + extra)
    assert len(found) == 1
    assert says in found[0]
    assert found[0].startswith("line 11, ")


def test_a_repository_inside_of_what_it_holds_is_refused() -> None:
    text = SMALL.replace("../backup", "uploads/backup")
    assert "would hold itself" in _faults(text)[0]
    parse_settings(SMALL.replace("../backup", "uploads-backup"))
