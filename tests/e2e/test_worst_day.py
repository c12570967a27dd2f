"""The worst day as a whole: production and its host are gone. What is left is a bucket on another
host, the sealed kit with its passphrase, and a machine with the program and an empty database
server. One command, and the application answers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Place
from tests.support.demo_ground import demo_ground
from tests.support.kit_ground import PASSPHRASE, variables
from tests.support.other_host import other_host
from tests.support.recovery_ground import ended, free_port
from tests.support.store_servers import S3Server, rclone_s3

pytestmark = pytest.mark.xdist_group("worst-day")

MAJOR = 15
ROWS = 5_000
OFFSITE = """
  offsite:
    location: LOCATION
    password: env:OFFSITE_PASSWORD
    access: {access_key: env:S3_KEY_ID, secret_key: env:S3_KEY, region: us-east-1}
"""
RECOVERY = """
recovery:
  checkout: v1.3.0
  folders: {code: app}
  database_role: tms_app
  environment:
    DB_HOST: "{database.host}"
    DB_PORT: "{database.port}"
    DB_NAME: "{database.name}"
    DB_USER: "{database.user}"
    UPLOADS_PATH: "{uploads}"
  ownership: {uploads: {folder_mode: "755", file_mode: "644"}}
  serve: php -S 127.0.0.1:PORT -t public
  url: http://127.0.0.1:PORT
  watch: 1s
  by_hand: [Point training.example.ae at the new address.]
kit:
  escrow: [file:trainee.password, env:OFFSITE_PASSWORD]
  credentials: true
  passphrase: file:passphrase
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[S3Server]:
    with other_host() as host, rclone_s3(tmp_path / "elsewhere", host) as server:
        assert server.root is not None
        (server.root / "tms").mkdir()
        yield server


@pytest.fixture
def machine() -> Iterator[Cluster]:
    """The new machine's database server."""
    with throwaway_cluster(major=MAJOR) as cluster:
        yield cluster


def digests(uploads: Path) -> dict[str, str]:
    return {
        str(one.relative_to(uploads)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in uploads.rglob("*")
        if one.is_file()
    }


def capture_and_lose(path: Path, store: S3Server, port: int, safe: Path) -> dict[str, str]:
    """Production lives, is captured into the bucket alone, leaves a kit, and burns down; what its
    uploads were."""
    secrets = {
        "S3_KEY_ID": str(store.access.access_key),
        "S3_KEY": str(store.access.secret_key),
        "OFFSITE_PASSWORD": "the tide is out at Umm Al Quwain",
    }
    with demo_ground(path / "tms", MAJOR, ROWS) as ground, variables(**secrets):
        place = Place(ground.demo.directory)
        text = ground.config.read_text()
        local = next(one for one in text.splitlines() if one.startswith("  local: {location:"))
        text = text.replace(local, OFFSITE.replace("LOCATION", store.location("tms")).strip("\n"))
        (place.path / "passphrase").write_text(PASSPHRASE)
        (place.path / "passphrase").chmod(0o600)
        place.write_config(text + RECOVERY.replace("PORT", str(port)))
        place.json("init")
        place.json("backup")
        assert place.json("kit", "create", "--output", safe)["findings"] == []
        known = digests(ground.demo.uploads)
    shutil.rmtree(path)
    return known


def on_the_machine(
    home: Path, *arguments: object, environment: Mapping[str, str]
) -> tuple[int, dict[str, Any], bytes]:
    """A command where there is no configuration, no variable and no file but those given."""
    done = subprocess.run(
        [sys.executable, "-m", "strongroom", "--json", *map(str, arguments)],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def test_one_command_and_the_kit_bring_the_application_back(
    tmp_path: Path, store: S3Server, machine: Cluster
) -> None:
    port, safe, home = free_port(), tmp_path / "safe", tmp_path / "machine"
    known = capture_and_lose(tmp_path / "production", store, port, safe)
    home.mkdir()
    (home / "passphrase").write_text(PASSPHRASE)
    (home / "passphrase").chmod(0o600)
    kit, target = next(safe.glob("*.age")), home / "tms"
    socket = quote(str(machine.socket_directory), safe="")
    url = f"postgresql://postgres@/tms?host={socket}&sslmode=disable"
    opening = ("--kit", kit, "--passphrase", f"file:{home}/passphrase")
    with ended(target):
        status, document, said = on_the_machine(
            home, "recover", *opening, "--to", target, "--database", "env:NEW",
            environment={"NEW": url},
        )  # fmt: skip
        assert (status, document.get("verdict")) == (0, "PROVEN"), document
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/health.php", timeout=10
        ) as answer:
            assert json.loads(answer.read())["status"] == "ok"
    assert {one["source"]: one["verdict"] for one in document["sources"]} == {
        "database": "PROVEN",
        "uploads": "PROVEN",
        "code": "PROVEN",
    }
    assert {one["repository"] for one in document["sources"]} == {"offsite"}
    assert digests(target / "uploads") == known
    assert len(known) > 10
    assert 0 < document["rto_seconds"] < 3600
    assert 0 < document["rpo_seconds"] < 3600
    assert document["by_hand"][-1] == "Point training.example.ae at the new address."
    for secret in (str(store.access.secret_key), "Umm Al Quwain", PASSPHRASE):
        assert secret.encode() not in said
