"""The section `kit`: its faults, what a recovery needs, and where secrets come from meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.config import ConfigFaultsError, kept, kept_bytes, parse_settings, read_secret
from strongroom.config import resolve_secret as resolve
from strongroom.config.escrow import access_needs, lacking, needs
from strongroom.errors import ConfigError

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
BASE = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:DATABASE_URL}
  code: {kind: git, path: /srv/app}
repositories:
  local: {location: /backup, password: file:/etc/key}
  offsite:
    location: s3:https://s3.example.com/b
    password: env:OFFSITE
    access: {access_key: env:KEY_ID, secret_key: env:KEY}
recovery:
  database_password: env:TMS_PASSWORD
  databases: {database: env:NEW_DATABASE_URL}
  secrets: {app_key: env:APP_KEY}
  environment: {TOKEN: env:TOKEN, PLAIN: x}
  render: {.env: file:/srv/template.env, other: "A={secret.app_key}"}
"""
NEEDED = {
    "repositories.local.password": "file:/etc/key",
    "repositories.offsite.password": "env:OFFSITE",
    "sources.database.url": "env:DATABASE_URL",
    "recovery.database_password": "env:TMS_PASSWORD",
    "recovery.secrets.app_key": "env:APP_KEY",
    "recovery.environment.TOKEN": "env:TOKEN",
    "recovery.render..env": "file:/srv/template.env",
}


def test_what_a_recovery_needs() -> None:
    settings = parse_settings(BASE)
    assert {one.setting: one.reference for one in needs(settings)} == NEEDED
    assert [one.reference for one in access_needs(settings)] == ["env:KEY_ID", "env:KEY"]
    assert lacking(settings) == (), "there is no kit that lacks anything"


def test_what_no_kit_holds_of_it() -> None:
    listed = [one for name, one in NEEDED.items() if name != "recovery.secrets.app_key"]
    settings = parse_settings(f"{BASE}kit: {{escrow: {listed}}}\n")
    assert [one.setting for one in lacking(settings)] == ["recovery.secrets.app_key"]
    assert len(lacking(parse_settings(f"{BASE}kit: {{}}\n"))) == len(NEEDED)


@pytest.mark.parametrize(
    ("section", "where", "said"),
    [
        ("{recipients: [hunter2]}", "kit.recipients[0]", "age1 and 58"),
        ("{recipients: [AGE-SECRET-KEY-1QQQ]}", "kit.recipients[0]", "secret key"),
        (
            f"{{recipients: [{RECIPIENT}], passphrase: env:P}}",
            "kit.passphrase",
            "that of `identity`",
        ),
        ("{identity: /etc/id}", "kit.identity", "there are none"),
        ("{escrow: [env:A, env:A]}", "kit.escrow[1]", "twice"),
        ("{escrow: [env:P], passphrase: env:P}", "kit.escrow[0]", "its own passphrase"),
        ("{escrow: [hunter2]}", "kit.escrow[0]", "say where it is kept"),
        ("{passphrase: hunter2}", "kit.passphrase", "say where it is kept"),
        ("{secrets: []}", "kit.secrets", "no such setting"),
    ],
)
def test_faults(section: str, where: str, said: str) -> None:
    with pytest.raises(ConfigFaultsError) as caught:
        parse_settings(f"{BASE}kit: {section}\n")
    told = str(caught.value)
    assert where in told
    assert said in told
    assert "hunter2" not in told
    assert "1QQQ" not in told


def test_when_it_is_drilled_by_itself() -> None:
    for section, expected in (
        ("{}", False),
        ("{folder: /kits}", False),
        ("{passphrase: env:P}", False),
        ("{folder: /kits, passphrase: env:P}", True),
        (f"{{folder: /kits, recipients: [{RECIPIENT}]}}", False),
        (f"{{folder: /kits, recipients: [{RECIPIENT}], identity: /id}}", True),
    ):
        settings = parse_settings(f"{BASE}kit: {section}\n").kit
        assert settings is not None
        assert settings.is_drilled_by_itself == expected, section


def test_what_a_kit_holds_goes_before_what_the_host_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("of the host\n")
    file.chmod(0o600)
    reference = f"file:{file}"
    monkeypatch.setenv("HOST_ONLY", "of the host")
    with kept({reference: b"of the kit\n"}):
        assert resolve(reference) == "of the kit"
        assert read_secret(reference) == b"of the kit"
        assert kept_bytes(reference) == b"of the kit\n"
        assert resolve("env:HOST_ONLY") == "of the host"
        assert kept_bytes("env:HOST_ONLY") is None
    assert resolve(reference) == "of the host"
    assert read_secret(reference) == b"of the host\n"


def test_alone_nothing_else_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_ONLY", "of the host")
    with kept({"env:A": b"x"}, alone=True):
        assert resolve("env:A") == "x"
        with pytest.raises(ConfigError, match="is not in the recovery kit") as caught:
            resolve("env:HOST_ONLY")
        assert caught.value.code == "secret-unavailable"
        with pytest.raises(ConfigError) as caught:
            resolve("command:pass show --token hunter2")
        assert "hunter2" not in str(caught.value)


def test_a_file_is_read_byte_by_byte_whoever_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xffKEY=1\n\n")
    file.chmod(0o644)
    assert read_secret(f"file:{file}") == b"\xffKEY=1\n\n"
    for content, said in ((b"", "is empty"), (b"x" * 65_537, "larger than 64 KiB")):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            read_secret(f"file:{file}")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(f"file:{tmp_path}/none")
