"""Two repositories with the same captures, made once; each test damages a copy of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.repair_ground import Twins, make_twins


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """Undamaged; not to be written to."""
    return make_twins(tmp_path_factory.mktemp("twins"))


@pytest.fixture
def twins(original: Twins, tmp_path: Path) -> Twins:
    return original.copy(tmp_path)
