"""What holds for every test: nothing is skipped in CI, and properties run the same each time."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# No deadline: two busy cores make single examples slow without anything being wrong. The seed is
# fixed in CI, so that a failure there is a failure here.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", settings.get_profile("house"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "house")


@pytest.fixture(scope="session", autouse=True)
def _cheap_keys() -> Iterator[None]:
    """Keys that are made in this process cost a sixty-fourth: some thousands are made and opened
    here, and what scrypt costs is asked nowhere. Programs that tests start make them at the full
    cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strongroom.repository.crypto.SCRYPT_N", 1024)
        yield


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
