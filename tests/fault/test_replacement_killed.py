"""Replacing and rolling back, killed before and after every step: what was there is never lost,
the next run brings it to an end, and nothing of ours stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.model import Verdict
from tests.support.killing import run_killed
from tests.support.replacement_ground import (
    LATER,
    NOW,
    back,
    back_here,
    back_there,
    beside,
    replace,
    replace_here,
    replace_there,
    replace_there_and_tell,
    used,
)
from tests.support.repository_ground import capture, new_repository
from tests.support.tree_ground import describe

EXCHANGE = frozenset({"_rename_with"})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds a small tree."""
    base = tmp_path_factory.mktemp("killed")
    for name in ("lpos/1.pdf", "lpos/2.pdf", "quotes/deep/a"):
        file = base / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 5_000)
    capture(new_repository(base / "store"), base / "tree")
    return base / "store"


ACTS = pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "two renames"])


@ACTS
def test_a_replacement_killed_at_every_step(store: Path, tmp_path: Path, exchanges: bool) -> None:
    wanted = describe(store.parent / "tree")
    act = replace_here if exchanges else replace_there
    place, _ = used(tmp_path / "whole")
    moments = run_killed(act, store, place, chosen=None, functions=EXCHANGE)
    assert moments is not None
    assert moments > 10
    assert beside(place) == {"uploads", "uploads.before-20261122T140000Z"}
    seen = set()
    for moment in range(1, moments + 1):
        place, old = used(tmp_path / f"{moment}")
        if run_killed(act, store, place, chosen=moment, functions=EXCHANGE) is not None:
            continue
        is_open = any(one.startswith(".") for one in beside(place))
        homes = [one for one in place.parent.iterdir() if one.is_dir() and describe(one) == old]
        assert len(homes) == 1, f"after {moment}: {beside(place)}"
        seen.add(homes[0].name.split("-")[0])
        done = replace(store, place, LATER)
        assert done.outcome.verdict is Verdict.PROVEN
        assert describe(place) == wanted
        kept = {one: describe(place.parent / one) for one in beside(place) - {"uploads"}}
        assert old in kept.values(), f"after {moment}: {kept.keys()}"
        assert all(".before-" in one for one in kept), f"after {moment}: {kept.keys()}"
        if homes[0].name != "uploads" and is_open:
            assert [one.code for one in done.outcome.findings][:1] == ["switch-settled"]
    # It was found in its place, and under the name that it got; at the exchange under a third.
    expected = {"uploads", "uploads.before"}
    assert seen == (expected | {"uploads.restored"} if exchanges else expected)


@ACTS
def test_a_killed_replacement_is_rolled_back_to_what_was_there(
    store: Path, tmp_path: Path, exchanges: bool
) -> None:
    """Also where an older one is kept: that one is not meant."""
    act = replace_here if exchanges else replace_there
    refusals = 0
    moment = 0
    while True:
        moment += 1
        place, old = used(tmp_path / f"{moment}")
        older = place.with_name("uploads.replaced-20251122T140000Z")
        older.mkdir()
        if run_killed(act, store, place, chosen=moment, functions=EXCHANGE) is not None:
            break
        is_written = any(one.startswith(".uploads.") for one in beside(place))
        if not is_written and describe(place) == old:
            continue  # nothing had begun
        if _went_back(place):
            assert place.with_name("uploads.rolled-back-20261122T150000Z").is_dir()
        else:
            refusals += 1
        assert describe(place) == old, f"after {moment}"
        assert older.is_dir()
        assert not any(".restored-" in one or one.startswith(".") for one in beside(place))
    assert refusals > 5


def _went_back(place: Path) -> bool:
    """Whether there was something to take back."""
    try:
        back(place, LATER)
    except TargetError as error:
        if "nothing was rolled back" not in error.message:
            raise
        return False
    return True


@ACTS
def test_a_rollback_killed_at_every_step_goes_back_once(
    store: Path, tmp_path: Path, exchanges: bool
) -> None:
    wanted = describe(store.parent / "tree")
    act = back_here if exchanges else back_there
    moment = 0
    while True:
        moment += 1
        place, old = used(tmp_path / f"{moment}")
        older = place.with_name("uploads.replaced-20251122T140000Z")
        older.mkdir()
        replace(store, place, NOW)
        if run_killed(act, place, chosen=moment, functions=EXCHANGE) is not None:
            break
        journal = place.with_name(".uploads.strongroom-switch")
        if not journal.exists() and describe(place) == old:
            continue  # all was done; one more would go further back, as it should
        if journal.exists() and not journal.stat().st_size:
            assert not _went_back(place)  # it had not come to a plan
            assert describe(place) == wanted
        done = back(place, LATER)
        assert describe(place) == old, f"after {moment}"
        assert describe(Path(done.kept)) == wanted
        assert beside(place) == {"uploads", older.name, Path(done.kept).name}
    assert moment > 5


def test_a_name_that_was_missing_for_a_moment_is_told(store: Path, tmp_path: Path) -> None:
    place, old = used(tmp_path / "there")
    told = tmp_path / "told"
    assert run_killed(replace_there_and_tell, store, place, told, chosen=None)
    assert told.read_text() == "switch-in-steps"
    assert describe(place.with_name("uploads.before-20261122T140000Z")) == old


def test_what_a_stopped_run_has_restored_is_used_again(store: Path, tmp_path: Path) -> None:
    place = tmp_path / "uploads"
    place.mkdir()
    moments = run_killed(replace_here, store, tmp_path / "probe", chosen=None)
    assert moments is not None
    for moment in range(moments, 0, -1):
        is_killed = run_killed(replace_here, store, place, chosen=moment) is None
        if is_killed and list(place.parent.glob("uploads.restored-*/lpos/1.pdf")):
            break
    done = replace(store, place, LATER)
    assert done.outcome.reused_bytes == done.outcome.size_bytes > 0
    assert done.outcome.verdict is Verdict.PROVEN
    assert not list(place.parent.glob("uploads.restored-*"))


def test_what_is_not_ours_is_named_and_stays(store: Path, tmp_path: Path) -> None:
    place, _ = used(tmp_path / "here")
    foreign = place.with_name("uploads.restored-20250101T000000Z")
    foreign.mkdir()
    (foreign / "kept").touch()
    done = replace(store, place, NOW)
    assert [(one.code, one.subject) for one in done.outcome.findings] == [
        ("restore-left-over", str(foreign))
    ]
    assert (foreign / "kept").exists()


def test_a_journal_that_names_another_directory_removes_nothing(
    store: Path, tmp_path: Path
) -> None:
    """Of the same name, and not the very directory that was made."""
    place, old = used(tmp_path / "here")
    run_killed(replace_here, store, place, chosen=12, functions=EXCHANGE)
    for one in place.parent.glob("uploads.restored-*"):
        one.rename(one.with_name("aside"))
        one.mkdir()
        (one / "kept").touch()
    done = replace(store, place, LATER)
    assert done.outcome.verdict is Verdict.PROVEN
    assert place.with_name("uploads.restored-20261122T140000Z").joinpath("kept").exists()
    assert old == describe(place.with_name("uploads.before-20261122T150000Z"))
