"""Applications and servers that several test modules look at, each built once in a run.

Tests that use the application on PostgreSQL N belong to the xdist group `demo-N`, those that use
buckets with versions to `immutability`, so that one worker runs them all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import Place
from tests.e2e.offsite_place import environment, place_at
from tests.support.bucket_ground import (
    ALL_RIGHTS,
    BACKUP_RIGHTS,
    PRUNE_RIGHTS,
    Bucket,
    moto_with_users,
)
from tests.support.demo_ground import DemoGround, demo_ground
from tests.support.older_servers import path_with_older_servers
from tests.support.store_servers import S3Server, moto_s3


def pytest_configure() -> None:
    os.environ["PATH"] = path_with_older_servers()


@pytest.fixture(scope="session")
def demo_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], DemoGround]]:
    """The application on a major version of PostgreSQL, made when it is first asked for."""
    with contextlib.ExitStack() as stack:
        made: dict[int, DemoGround] = {}

        def ground(major: int) -> DemoGround:
            if major not in made:
                directory = tmp_path_factory.mktemp(f"demo-{major}") / "tms"
                made[major] = stack.enter_context(demo_ground(directory, major))
            return made[major]

        yield ground


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server whose buckets keep versions and locks; it lets everybody in."""
    with moto_s3(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, S3Server]]:
    """Such a server that checks who asks, by user: one owns it, one backs up, one prunes."""
    rights = {"owner": ALL_RIGHTS, "backup": BACKUP_RIGHTS, "pruner": PRUNE_RIGHTS}
    with moto_with_users(tmp_path_factory.mktemp("users"), **rights) as seen:
        yield seen


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Place]:
    """Makes an application with a repository in a bucket: see `place_at`."""

    def make(bucket: Bucket, options: str = "", *, others: str = "") -> Place:
        for name, value in environment(bucket).items():
            monkeypatch.setenv(name, value)
        return place_at(tmp_path, bucket, options, others=others)

    return make
