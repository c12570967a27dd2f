"""`recover` where there is nothing any more but the program, a configuration with its secrets, and
a bucket: production's host is gone, and so is everything that this host has of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Place
from tests.support.application_ground import told
from tests.support.failure_ground import SCHEMA, execute, url_of
from tests.support.recovery_ground import HEALTHY, ended, free_port, make_production, serving
from tests.support.store_servers import S3Server, rclone_s3

pytestmark = pytest.mark.xdist_group("recover-offsite")

OFFSITE = """\
  offsite:
    location: LOCATION
    password: file:key
    access: {access_key: env:S3_KEY_ID, secret_key: env:S3_KEY, region: us-east-1}
"""
# In a mount namespace production's folder is an empty one.
HIDING = 'mount -t tmpfs tmpfs "$1" && shift && exec "$@"'
NAMESPACE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[S3Server]:
    with rclone_s3(tmp_path / "s3") as server:
        assert server.root is not None
        (server.root / "tms-backup").mkdir()
        yield server


@pytest.fixture
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE production")
        execute(cluster, "production", SCHEMA)
        yield cluster


def offsite(store: S3Server) -> str:
    return OFFSITE.replace("LOCATION", store.location("tms-backup"))


def captured(path: Path, url: str, store: S3Server) -> Place:
    """A production whose only copy that survives is in the bucket."""
    place = make_production(path, url)
    text = place.config.read_text()
    place.write_config(text.replace("state: state\n", f"{offsite(store)}state: state\n"))
    place.json("init")
    place.json("copy", "--from", "local", "--to", "offsite")
    return place


def test_from_a_bucket_with_nothing_else(
    tmp_path: Path, store: S3Server, server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "S3_KEY_ID": str(store.access.access_key),
        "S3_KEY": str(store.access.secret_key),
        "NEW_DATABASE_URL": url_of(server, "tms"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    production = captured(tmp_path / "production" / "tms", url_of(server, "production"), store)
    execute(server, "postgres", "DROP DATABASE production")
    port, machine, target = free_port(), Place(tmp_path / "machine"), tmp_path / "srv" / "tms"
    machine.path.mkdir()
    shutil.copy2(production.path / "key", machine.path / "key")
    text = re.sub(r"  (local|second): .*\n", "", production.config.read_text())
    text = re.sub(r"url: '[^']*'", "url: env:GONE", text)
    machine.write_config(text + serving(port))
    arguments = ["recover", "--to", str(target), "--database", "env:NEW_DATABASE_URL"]
    program = [sys.executable, "-m", "strongroom", "--json", *arguments]
    with ended(target):
        done = subprocess.run(
            [*NAMESPACE, "sh", "-c", HIDING, "sh", str(production.path), *program],
            cwd=machine.path,  # the configuration is found there
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
            capture_output=True,
            check=False,
        )
        assert done.stdout, done.stderr
        document = json.loads(done.stdout)
        assert (done.returncode, document.get("verdict")) == (0, "PROVEN"), document
        assert [one["repository"] for one in document["sources"]] == ["offsite"] * 3
        assert not told(document, "repository-unreachable")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health.json", timeout=10) as answer:
            assert answer.read().decode() == HEALTHY
        assert execute(server, "tms", "SELECT count(*) FROM trainees") == [(2000,)]
        # What it knew of production came with the repository.
        kinds = [one.kind for one in machine.ledger.entries()]
        assert "ledger-adopted" in kinds
        assert variables["S3_KEY"] not in (machine.path / "state/ledger.jsonl").read_text()
