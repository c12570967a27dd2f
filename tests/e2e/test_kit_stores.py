"""A kit of repositories on other hosts: what lets us into their stores is in it, or it is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import IN_ORDER, Place, make_place
from tests.support.application_ground import told
from tests.support.kit_ground import PASSPHRASE, bare
from tests.support.store_servers import rclone_s3, sftp_server

KIT = "kit: {escrow: [file:key], passphrase: file:passphrase, folder: kits, credentials: true}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Captured into an SFTP server and a bucket."""
    with sftp_server(tmp_path / "sftp") as files, rclone_s3(tmp_path / "s3") as bucket:
        monkeypatch.setenv("S3_KEY_ID", str(bucket.access.access_key))
        monkeypatch.setenv("S3_KEY", str(bucket.access.secret_key))
        begin, end = IN_ORDER.index("  local:"), IN_ORDER.index("schedule:")
        repositories = f"""\
  files: {{location: "{files.location()}", password: file:key,
    access: {{identity: {files.access.identity}, known_hosts: {files.access.known_hosts}}}}}
  bucket: {{location: "{bucket.location()}", password: file:key,
    access: {{access_key: env:S3_KEY_ID, secret_key: env:S3_KEY, region: us-east-1}}}}
"""
        made = make_place(
            tmp_path / "place", IN_ORDER[:begin] + repositories + IN_ORDER[end:] + KIT
        )
        (made.path / "passphrase").write_text(PASSPHRASE)
        (made.path / "passphrase").chmod(0o600)
        made.json("init")
        made.json("backup")
        yield made


def test_with_credentials_nothing_else_is_needed(place: Place, tmp_path: Path) -> None:
    document = place.json("kit", "create")
    assert document["secrets"] == [f"file:{place.path}/key", "env:S3_KEY_ID", "env:S3_KEY"]
    drilled = place.run("--json", "kit", "drill")
    assert drilled.document["verdict"] == "PROVEN", drilled.document
    assert drilled.document["repositories"] == ["files", "bucket"]
    opened = place.json("kit", "open", document["file"], "--passphrase",
                        f"file:{place.path}/passphrase", "--output", tmp_path / "out")  # fmt: skip
    assert any(one.startswith("access/") for one in opened["written"])
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert 'export AWS_ACCESS_KEY_ID="$(cat kit/secrets/S3_KEY_ID)"' in readme
    assert "export AWS_DEFAULT_REGION=us-east-1" in readme
    secret = os.environ["S3_KEY"]
    assert (tmp_path / "out" / "secrets" / "S3_KEY").read_text() == secret
    assert secret not in readme
    # Another machine, as it were: no configuration, no variables, no key of SFTP.
    place.config.unlink()
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    (tmp_path / "passphrase").chmod(0o600)
    answer = bare(
        tmp_path / "empty", "--json", "recover", "--kit", document["file"],
        "--passphrase", f"file:{tmp_path}/passphrase", "--to", tmp_path / "srv",
    )  # fmt: skip
    found = [(one["source"], one["verdict"]) for one in answer.document["sources"]]
    assert found == [("uploads", "PROVEN")], answer.document
    assert secret not in answer.text + answer.err
    assert not told(answer.document, "repository-unreachable")


def test_without_credentials_it_is_told_that_stores_stay_shut(place: Place) -> None:
    place.write_config(place.config.read_text().replace(", credentials: true", ""))
    place.json("kit", "create")
    answer = place.run("--json", "kit", "drill")
    assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN"), answer.document
    assert len(told(answer.document, "kit-unchecked")) == 2
    lines = [one for one in place.json("doctor")["checks"] if one["name"] == "kit"]
    assert [one["state"] for one in lines] == ["warning", "warning"]
    assert all("credentials" in one["remedy"] for one in lines)
