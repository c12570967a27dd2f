"""I4: at every storage operation of every operation of the engine something goes wrong, and every
earlier snapshot restores, the repository is clean, and the same operation succeeds when it is run
again.

What goes wrong is an error, once or from then on; a file of which half is stored, under a temporary
name, under its own, or as if it were whole; or the end of the process. Clean is what our own check
and stock restic's say.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError
from strongroom.repository.check import check_repository
from strongroom.repository.storage import LocalStorage
from tests.support.failing_storage import CHANGES, READS, SAVES, Failure, How
from tests.support.operation_matrix import (
    OPERATIONS,
    Ground,
    Outcome,
    attempt,
    content_of,
    opened,
)
from tests.support.repository_ground import names
from tests.support.restic import stock_restics


@dataclass(frozen=True)
class Way:
    """What goes wrong, at each `step`-th operation of the kinds `of`.

    What only reads leaves the store as it was, so that looking at it will do.
    """

    of: frozenset[str]
    how: How = How.ERROR
    lasting: bool = False
    step: int = 1


WAYS = {
    "once": Way(CHANGES),
    "for ever": Way(CHANGES, lasting=True),
    "killed": Way(CHANGES, How.KILLED),
    "torn": Way(SAVES, How.TORN, lasting=True),
    "short": Way(SAVES, How.SHORT),
    "lying": Way(SAVES, How.LYING),
    "read once": Way(READS, step=2),
    "read for ever": Way(READS, lasting=True, step=7),
}
# Without harm fails: the removal of our own lock, and a look at the parent, without which
# everything is read. A lock that nobody can read is held all the same.
HARMLESS = {
    "once": ("delete locks",),
    "for ever": ("delete locks",),
    "torn": (),
    "short": (),
    "lying": ("save locks",),
    "read once": ("load data",),
    "read for ever": (),
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("matrix"))


class Case:
    """One store, on which one operation is tried once."""

    def __init__(self, ground: Ground, name: str, place: Path) -> None:
        self.ground, self.name, self.place = ground, name, place
        self.operation = OPERATIONS[name]
        self.store = ground.copy_to(place, empty=self.operation.makes_the_store)
        before = [] if self.operation.makes_the_store else self.trees()
        self.earlier = before[len(before) - self.operation.keeps :]

    def attempt(self, failure: Failure | None = None) -> Outcome:
        return attempt(self.name, self.store, self.ground.base, failure)

    def trees(self) -> list[str]:
        """The trees of the snapshots, which all restore to what was captured."""
        repository = opened(self.store)
        listed = repository.snapshots().snapshots
        for one in listed:
            assert content_of(repository, one, self.place) == self.ground.contents[one.tree]
        return [one.tree for one in listed]

    def expect_unharmed(self, way: Way, outcome: Outcome) -> None:
        """Earlier snapshots restore, and what else there is to see is what the stop may leave."""
        harmed = outcome.failed[0].partition(" ")[2] if way.how in (How.SHORT, How.LYING) else ""
        if harmed == "config":
            with pytest.raises(IntegrityError, match="config"):
                opened(self.store)
            LocalStorage(self.store).delete(harmed)
        if self.operation.makes_the_store and "config" not in self.files():
            return  # then nothing looks like a repository
        assert set(self.earlier) <= set(self.trees()), outcome
        findings = check_repository(opened(self.store), read=list).findings
        told = {one.code for one in findings if not harmed or harmed not in one.subject}
        assert told <= self.operation.leaves | {"lock-removed"}, (outcome, findings)
        if harmed.startswith(("index/", "snapshots/")) and harmed in self.files():
            # Half a file under its own name is seen, and taken away as `repair` does it.
            assert any(harmed in one.subject for one in findings), (outcome, findings)
            LocalStorage(self.store).delete(harmed)
        stock_restics()[0].run(self.store, "check", "--read-data", "--no-lock")

    def expect_as_undisturbed(self, expected: list[str]) -> None:
        """The same operation succeeds now, and everything is as if nothing had happened."""
        self.operation.run(LocalStorage(self.store), self.ground.base)
        assert sorted(set(self.trees())) == expected
        codes = {one.code for one in check_repository(opened(self.store)).findings}
        assert codes <= self.operation.leaves
        assert names(LocalStorage(self.store), "locks") == []
        if codes:
            OPERATIONS["prune"].run(LocalStorage(self.store), self.ground.base)
            assert check_repository(opened(self.store), read=list).findings == []

    def files(self) -> set[str]:
        """What lies in the store under a name of its own."""
        return {
            path.relative_to(self.store).as_posix()
            for path in self.store.rglob("*")
            if "-tmp-" not in path.name
        }


def test_the_ground_has_all_that_can_go_wrong(ground: Ground, tmp_path: Path) -> None:
    """What an operation asks of the store, and how often at least."""
    wanted = {
        "init": {"create": 1, "save keys": 1, "save config": 1},
        "backup": {"save data": 3, "save index": 1, "save snapshots": 1, "delete locks": 1},
        "copy": {"save data": 4, "save index": 2, "save snapshots": 2, "delete locks": 1},
        "prune": {"save data": 1, "save index": 2, "delete snapshots": 1, "delete index": 1,
                  "delete data": 2, "delete locks": 2},
    }  # fmt: skip
    for name, least in wanted.items():
        asked = Case(ground, name, tmp_path / name).attempt().operations
        for what, times in least.items():
            assert sum(one.startswith(what) for one in asked) >= times, (name, what, asked)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.usefixtures("quick_locks")
def test_whatever_goes_wrong_nothing_is_lost(
    ground: Ground, name: str, way: str, tmp_path: Path
) -> None:
    planned = WAYS[way]
    case = Case(ground, name, tmp_path / "undisturbed")
    done = case.attempt()
    assert (done.error, done.failed) == ("", ())
    expected = sorted(set(case.trees()))
    reached = sum(one.split()[0] in planned.of for one in done.operations)
    assert reached >= 2
    for number in (*range(1, reached + 1, planned.step), reached + 1):
        shutil.rmtree(case.place)
        case = Case(ground, name, tmp_path / f"{number}")
        failure = Failure(number, lasting=planned.lasting, how=planned.how, of=planned.of)
        outcome = case.attempt(failure)
        assert (outcome.killed or bool(outcome.failed)) is (number <= reached), (number, outcome)
        if number > reached:
            break
        harmless = not outcome.killed and outcome.failed[0].startswith(HARMLESS[way])
        assert outcome.killed or outcome.error or harmless, outcome
        case.expect_unharmed(planned, outcome)
        if planned.of != READS:
            case.expect_as_undisturbed(expected)
    assert outcome.error == ""
    assert sorted(set(case.trees())) == expected
    stock_restics()[0].check(case.store)
