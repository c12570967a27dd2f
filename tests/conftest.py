"""What holds for every test: nothing is skipped in CI, and properties run the same each time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from strongroom.postgres import cluster
from strongroom.postgres.account import Account
from strongroom.postgres.cluster import ClusterOptions
from strongroom.postgres.programs import Programs

# No deadline: two busy cores make single examples slow without anything being wrong. The seed is
# fixed in CI, so that a failure there is a failure here.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", settings.get_profile("house"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "house")


_CP = shutil.which("cp") or "/bin/cp"  # some tests have an empty PATH


@pytest.fixture(scope="session", autouse=True)
def _cheap_keys() -> Iterator[None]:
    """Keys that are made in this process cost a sixty-fourth: some thousands are made and opened
    here, and what scrypt costs is asked nowhere. Programs that tests start make them at the full
    cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strongroom.repository.crypto.SCRYPT_N", 1024)
        yield


@pytest.fixture(scope="session", autouse=True)
def _copied_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the clusters that this process makes, each kind is made by initdb once, then copied.

    A thousand are made here, mostly to be thrown away a second later. Programs that tests start
    make theirs with initdb, each time.
    """
    make, made = cluster._initialise, tmp_path_factory.mktemp("clusters")
    one_at_a_time = threading.Lock()

    def initialise(
        programs: Programs, directory: Path, account: Account, options: ClusterOptions
    ) -> None:
        size = Path(programs.path("initdb")).stat().st_size  # some tests have one of their own
        kind = (programs.version, size, account.name, options.superuser, options.durable)
        kept = made / hashlib.sha256(repr(kind).encode()).hexdigest()
        with one_at_a_time:
            if not kept.exists():
                make(programs, directory, account, options)
                _copy(directory / "data", kept)
                return
        _copy(kept, directory / "data")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "_initialise", initialise)
        yield


def _copy(there: Path, here: Path) -> None:
    """Owners, modes and times too; what is not written yet in its WAL takes no room."""
    subprocess.run([_CP, "-a", "--sparse=always", "--", str(there), str(here)], check=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep an `xdist_group` on one worker, so that what it shares is made once.

    pytest-xdist 3.8 hands the group on in an attribute that pytest 9.2 no longer reads.
    """
    for item in items:
        grouped = getattr(item, "_nodeid", item.nodeid)
        if grouped != item.nodeid:
            from _pytest.nodeid import NodeId

            item._id = NodeId.parse(grouped)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test shows nothing; in CI it counts as a failure (a missing tool, mostly)."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not accept: {call.excinfo}"
    return report
