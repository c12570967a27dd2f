"""A kit that could not be made, or that is not the one that was drilled, hides nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from tests.e2e.command_line import Place
from tests.support.demo_ground import error_of
from tests.support.kit_ground import SECRET, VARIABLE, checks, create, make_with_kit, variables
from tests.support.recovery_ground import free_port

pytestmark = pytest.mark.xdist_group("kit-unmade")

STALE = "app.env changed"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With one kit in `kits`. Not to be changed."""
    place = make_with_kit(tmp_path_factory.mktemp("kit") / "tms", free_port())
    create(place)
    return place


@pytest.fixture
def own(production: Place) -> Iterator[Place]:
    """The same for one test to change, at the very same path: the kit names it."""
    kept = production.path.with_name("kept")
    shutil.copytree(production.path, kept, symlinks=True)
    try:
        yield production
    finally:
        shutil.rmtree(production.path, ignore_errors=True)
        kept.rename(production.path)


def kit_of(place: Place) -> Path:
    return max((place.path / "kits").glob("*.age"))


def standing(place: Place, name: str) -> tuple[str, str]:
    """What `status` says of a check, and what it saw."""
    with variables(**{VARIABLE: SECRET}):
        found = checks(place)[name]
    return found["verdict"], found["observed"]


# Not made


def test_a_kit_that_could_not_be_written_leaves_the_last_one_stale(own: Place) -> None:
    """Nobody may write into /proc, not even root."""
    (own.path / "app.env").write_text("TOKEN=other\n")
    assert standing(own, "kit")[0] == "STALE"
    with variables(**{VARIABLE: SECRET}):
        answer = own.run("--json", "kit", "create", "--output", "/proc")
    assert "cannot be written" in error_of(answer, 5, "target-refused")["message"]
    verdict, observed = standing(own, "kit")
    assert (verdict, STALE in observed) == ("STALE", True), observed
    assert len(list(own.ledger.entries("kit"))) == 1
    assert len(list(own.ledger.entries("kit-begun"))) == 2


def test_a_disk_that_is_full_before_the_page_leaves_neither(own: Place, tmp_path: Path) -> None:
    safe = tmp_path / "safe"
    safe.mkdir()
    size = kit_of(own).stat().st_size + 8192
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(safe)], check=True)
    try:
        (own.path / "app.env").write_text("TOKEN=other\n")
        with variables(**{VARIABLE: SECRET}):
            answer = own.run("--json", "kit", "create", "--output", safe)
        message = error_of(answer, 5, "target-refused")["message"]
        assert ".age was removed again, so no kit was made" in message
        assert list(safe.iterdir()) == []
    finally:
        subprocess.run(["umount", str(safe)], check=True)
    verdict, observed = standing(own, "kit")
    assert (verdict, STALE in observed) == ("STALE", True), observed
