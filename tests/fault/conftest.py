"""Two repositories with the same captures, made once; each test damages a copy of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.operation_matrix import QUICK_SETTLE_SECONDS
from tests.support.repair_ground import Twins, make_twins


@pytest.fixture
def quick_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that wait for others who come at the same time hardly at all: nobody does, and it is
    done hundreds of times."""
    monkeypatch.setattr("strongroom.repository.lock._SETTLE_SECONDS", QUICK_SETTLE_SECONDS)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """Undamaged; not to be written to."""
    return make_twins(tmp_path_factory.mktemp("twins"))


@pytest.fixture
def twins(original: Twins, tmp_path: Path) -> Twins:
    return original.copy(tmp_path)
