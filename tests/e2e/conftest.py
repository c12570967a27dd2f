"""Applications that several test modules look at, each built once in a run.

Tests that use the application on PostgreSQL N belong to the xdist group `demo-N`, so that one
worker runs them all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.demo_ground import DemoGround, demo_ground
from tests.support.older_servers import path_with_older_servers


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
