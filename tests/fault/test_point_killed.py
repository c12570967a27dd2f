"""I4 for recovery points: a backup that is killed between its snapshots and the point's record
leaves a point that is drilled by its tags, and the next backup has a record again."""

from __future__ import annotations

import multiprocessing
import shutil
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from strongroom.config import load_settings
from strongroom.repository.storage import Storage
from strongroom.service.application import Application
from strongroom.service.backup import backup
from tests.e2e.command_line import CONFIG, Place, make_place
from tests.support.failing_storage import SAVES, FailingStorage, Failure, How
from tests.support.repository_ground import PASSWORD, new_repository
from tests.support.restic import stock_restics


class _Failing(Application):
    """The application whose store fails at a chosen operation."""

    failure: Failure | None = None
    seen: FailingStorage | None = None

    def storage(self, name: str, *, as_of: datetime | None = None) -> Storage:
        self.seen = FailingStorage(super().storage(name, as_of=as_of), self.failure)
        return self.seen


def _attempt(told: Connection, config: Path, failure: Failure | None) -> None:
    application = _Failing(load_settings(config))
    application.failure = failure
    backup(application)
    assert application.seen is not None
    told.send([one for one in application.seen.operations if one.startswith("save")])
    told.close()


def attempt(place: Place, failure: Failure | None) -> list[str]:
    """One backup in a process of its own; what it stored, nothing when it was killed."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    with ours:
        child = context.Process(target=_attempt, args=(theirs, place.config, failure))
        child.start()
        theirs.close()
        try:
            stored: list[str] = ours.recv()
        except EOFError:
            stored = []
        child.join()
    assert child.exitcode == (-9 if not stored else 0)
    return stored


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_place(tmp_path_factory.mktemp("killed") / "tms", CONFIG)
    (place.path / "key").write_text(PASSWORD + "\n")
    new_repository(place.path / "local")
    place.json("backup")
    (place.uploads / "more").write_text("more")
    return place


def test_a_kill_before_the_record_costs_the_record_alone(pattern: Place, tmp_path: Path) -> None:
    def fresh(name: str) -> Place:
        shutil.copytree(pattern.path, tmp_path / name)
        return Place(tmp_path / name)

    stored = attempt(fresh("undisturbed"), None)
    first = next(at for at, one in enumerate(stored) if one.startswith("save snapshots"))
    assert sum(one.startswith("save snapshots") for one in stored) == 2
    for number in range(first + 2, len(stored) + 1):
        place = fresh(str(number))
        assert attempt(place, Failure(number, how=How.KILLED, of=SAVES)) == []
        # The ledger here knows the record; whoever has the store alone has the tags.
        listed = place.json("snapshots", "--points")["points"]
        assert [one["certainty"] for one in listed] == ["certain", "certain"], number
        shutil.rmtree(place.path / "state")
        listed = place.json("snapshots", "--points")["points"]
        assert [one["certainty"] for one in listed] == ["certain", None], number
        report = place.json("drill")
        assert report["verdict"] == "PROVEN"
        assert report["point"]["id"] == listed[-1]["id"]
        place.json("backup")
        listed = place.json("snapshots", "--points")["points"]
        assert listed[-1]["certainty"] == "certain"
        assert place.json("drill")["verdict"] == "PROVEN"
        # A pack that no index lists may be left, of which restic says that it is harmless.
        stock_restics()[0].run(place.path / "local", "check", "--read-data")
