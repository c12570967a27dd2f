"""Pins, and the ledger that holds them: what somebody wants to keep is never dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import BusyError, StorageError
from strongroom.model import Silent
from strongroom.repository import Repository
from strongroom.repository.storage import Buffer, LocalStorage
from strongroom.service.application import Application
from strongroom.service.pinning import pin, unpin
from strongroom.service.pruning import prune
from tests.e2e.command_line import PASSWORD, Place
from tests.e2e.snapshot_history import (
    TWO,
    backup,
    captured_ids,
    ledger,
    lose_copies,
    make_history,
    older,
)
from tests.support.demo_ground import error_of
from tests.support.repository_ground import new_repository
from tests.support.restic import stock_restics


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_history(tmp_path)


def ids(place: Place) -> set[str]:
    return {str(one["id"]) for one in place.snapshots()}


def reasons(place: Place) -> dict[str, list[str]]:
    report = place.json("prune", "--dry-run")
    return {one["id"]: one["because"] for one in [*report["keep"], *report["drop"]]}


def test_a_pinned_snapshot_stays_until_it_is_unpinned(place: Place) -> None:
    model = backup(place, "one")
    pinned, other = older(place, model, 3), older(place, model, 2)
    done = place.json("snapshots", "pin", pinned[:8], "--reason", "before the migration")
    assert [one["id"] for one in done["pinned"]] == [pinned]
    assert reasons(place)[pinned] == ["pinned"]
    place.json("prune", "--yes")
    assert ids(place) == {pinned, model["id"]}
    assert other not in ids(place)
    place.json("snapshots", "unpin", pinned[:8])
    assert reasons(place)[pinned] == ["no rule keeps it"]
    place.json("prune", "--yes")
    assert ids(place) == {model["id"]}
    stock_restics()[0].check(place.path / "local")


def test_a_pin_shows_with_its_reason(place: Place) -> None:
    model = backup(place, "one")
    assert "PINNED" not in place.run("snapshots").text
    place.json("snapshots", "pin", "latest:uploads", "--reason", "audit\x1b[2J of\n2026")
    backup(place, "two")
    first, second = place.snapshots()
    assert first["id"] == model["id"]
    assert first["pinned"]["reason"] == "audit\x1b[2J of\n2026"
    assert "@" in first["pinned"]["by"]
    assert first["pinned"]["at"].endswith("Z")
    assert second["pinned"] is None
    head, row, last = place.run("snapshots").text.splitlines()
    assert head.endswith("PINNED")
    assert row.endswith(r"audit\x1b[2J of\n2026")
    assert "audit" not in last
    place.json("snapshots", "pin", model["id"])
    assert place.run("snapshots").text.splitlines()[1].endswith("yes")
    place.json("snapshots", "pin", model["id"], "--reason", "bytes\udcff that are no text")
    assert place.snapshots()[0]["pinned"]["reason"] == "bytes? that are no text"


def test_a_pin_holds_for_every_copy_and_for_copies_that_are_yet_to_come(tmp_path: Path) -> None:
    place = make_history(tmp_path, TWO)
    third = TWO.replace("retention:", "  third: {location: third, password: file:key}\nretention:")
    model = backup(place, "one")
    for content in ("two", "three"):
        backup(place, content)
    both = {one["repository"]: one["id"] for one in place.snapshots() if one["pinned"] is None}
    assert set(both) == {"local", "second"}
    done = place.json("snapshots", "pin", model["id"])["pinned"][0]
    assert {one["repository"] for one in done["copies"]} == {"local", "second"}
    assert len({one["id"] for one in done["copies"]}) == 2
    place.write_config(third.replace("second: {last: 1}}", "second: {last: 1}, third: {last: 1}}"))
    new_repository(tmp_path / "third")
    place.json("copy", "--from", "local", "--to", "third")
    place.json("prune", "--yes")
    left = [one for one in place.snapshots() if one["recovery_point"] == done["recovery_point"]]
    assert {one["repository"] for one in left} == {"local", "second", "third"}
    assert len(place.snapshots()) == 6
    # The id of any copy takes the pin away from all.
    place.json(
        "snapshots", "unpin", next(one["id"] for one in left if one["repository"] == "third")
    )
    place.json("prune", "--yes")
    assert len(place.snapshots()) == 3


def test_a_repository_that_is_away_is_told_and_its_copy_is_pinned_all_the_same(
    tmp_path: Path,
) -> None:
    place = make_history(tmp_path, TWO)
    model = backup(place, "one")
    backup(place, "two")
    (tmp_path / "second").rename(tmp_path / "unmounted")
    done = place.json("snapshots", "pin", model["id"])
    assert [one["code"] for one in done["findings"]] == ["repository-unreachable"]
    (tmp_path / "unmounted").rename(tmp_path / "second")
    place.json("prune", "second", "--yes")
    assert len([one for one in place.snapshots() if one["repository"] == "second"]) == 2


def test_what_cannot_be_pinned_is_told(place: Place) -> None:
    model = backup(place, "one")
    foreign = older(place, model, 9, recorded=False, tags=("somebody else's",))
    error_of(place.run("--json", "snapshots", "pin", "123abc"), 26, "snapshot-missing")
    error_of(place.run("--json", "snapshots", "pin", foreign), 2, "usage")
    assert (
        "not pinned"
        in error_of(place.run("--json", "snapshots", "unpin", model["id"]), 2, "usage")["message"]
    )
    # All or nothing: of two, one of which is wrong, none is pinned.
    error_of(place.run("--json", "snapshots", "pin", model["id"], "123"), 26, "snapshot-missing")
    assert [one["pinned"] for one in place.snapshots() if one["id"] == model["id"]] == [None]


def test_a_pin_that_cannot_be_written_down_is_none(place: Place) -> None:
    model = backup(place, "one")
    place.write_config(place.config.read_text().replace("state: state", "state: /sys/nowhere"))
    error_of(place.run("--json", "snapshots", "pin", model["id"]), 2, "config-invalid")
    assert place.snapshots()[0]["pinned"] is None


def test_a_pin_of_what_is_gone_can_be_taken_away(place: Place) -> None:
    model = backup(place, "one")
    backup(place, "two")
    place.json("snapshots", "pin", model["id"])
    (place.path / "local" / "snapshots" / str(model["id"])).unlink()
    # What is pinned must be there: that it isn't shows, and a new pin is impossible.
    assert place.run("snapshots").status == 3
    error_of(place.run("--json", "snapshots", "pin", model["id"]), 26, "snapshot-missing")
    done = place.json("snapshots", "unpin", str(model["id"])[:8])
    assert done["unpinned"][0]["copies"] == []


def test_a_pin_makes_a_snapshot_missed_that_the_ledger_did_not_know(place: Place) -> None:
    model = backup(place, "one")
    strange = older(place, model, 2, recorded=False)
    file = place.path / "local" / "snapshots" / strange
    place.json("snapshots", "pin", strange)
    assert place.run("snapshots").status == 0
    file.unlink()
    listed = place.run("--json", "snapshots")
    assert listed.status == 3
    assert [one["code"] for one in listed.document["findings"]] == ["snapshot-vanished"]


def test_stock_restic_knows_no_pins(place: Place) -> None:
    """As docs/decisions say: what it forgets is missed, and can be acknowledged."""
    model = backup(place, "one")
    backup(place, "two")
    place.json("snapshots", "pin", model["id"])
    restic = stock_restics()[-1]
    restic.run(place.path / "local", "forget", model["id"])
    assert place.run("check").status == 30
    place.json("snapshots", "acknowledge", model["id"], "--reason", "forget by hand")
    assert place.run("check").status == 0


# At the same time


class Meanwhile(Silent):
    """Something that happens once a prune has written down what it will drop."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def begin(self, stage: str, total_bytes: int | None) -> None:
        super().begin(stage, total_bytes)
        if stage.startswith("prune"):
            self._action()


def test_what_is_pinned_while_a_prune_runs_stays(place: Place) -> None:
    model = backup(place, "one")
    wanted, other = older(place, model, 3), older(place, model, 2)
    application = Application.load(
        place.config, progress=Meanwhile(lambda: place.json("snapshots", "pin", wanted[:12]))
    )
    with pytest.raises(BusyError, match="to stay by now"):
        prune(application, dry_run=False, consent=True)
    assert ids(place) == {wanted, other, model["id"]}
    place.json("prune", "--yes")
    assert ids(place) == {wanted, model["id"]}
    # The prune that gave up had written down that it would go: it is missed all the same.
    (place.path / "local" / "snapshots" / wanted).unlink()
    assert place.run("check").status == 30


def test_what_was_pinned_before_a_prune_wrote_it_down_is_missed_all_the_same(place: Place) -> None:
    """The prune had decided before, and gives up under its lock."""
    model = backup(place, "one")
    wanted = older(place, model, 3)
    intent = {"application": "tms", "repository": "local", "drop": [wanted], "because": {}}
    place.json("snapshots", "pin", wanted)
    ledger(place).append("prune", intent)
    file = place.path / "local" / "snapshots" / wanted
    file.rename(place.path / wanted)
    assert place.run("snapshots").status == 3
    (place.path / wanted).rename(file)
    place.json("snapshots", "unpin", wanted)
    ledger(place).append("prune", intent)
    file.unlink()
    assert place.run("snapshots").status == 0


def test_what_is_proven_while_a_prune_runs_stays(place: Place) -> None:
    """Invariant I3."""
    backup(place, "one")
    model = place.snapshots()[0]
    backup(place, "two")

    def drill() -> None:
        assert place.json("drill", "--snapshot", model["id"])["verdict"] == "PROVEN"

    application = Application.load(place.config, progress=Meanwhile(drill))
    with pytest.raises(BusyError):
        prune(application, dry_run=False, consent=True)
    assert len(place.snapshots()) == 2


def test_a_ledger_that_is_damaged_while_a_prune_runs_stops_it(place: Place) -> None:
    model = backup(place, "one")
    older(place, model, 3)
    path = ledger(place).path

    def damage() -> None:
        path.write_bytes(path.read_bytes().replace(b'"source":"uploads"', b'"source":"upload5"', 1))

    application = Application.load(place.config, progress=Meanwhile(damage))
    with pytest.raises(Exception, match="nothing is pruned"):
        prune(application, dry_run=False, consent=True)
    assert len(captured_ids(place)) == 2


def test_while_a_prune_removes_nothing_is_pinned(place: Place) -> None:
    model = backup(place, "one")
    repository = Repository.open(LocalStorage(place.path / "local"), PASSWORD, name="local")
    with repository.locked([], exclusive=True):
        error_of(place.run("--json", "snapshots", "pin", model["id"]), 4, "busy")
    assert place.snapshots()[0]["pinned"] is None
    place.json("snapshots", "pin", model["id"])


def test_what_was_removed_just_before_is_not_pinned(place: Place) -> None:
    model = backup(place, "one")

    class Removing(LocalStorage):
        """Somebody removes the snapshot after it was listed and before it is locked."""

        def save(self, name: str, data: Buffer) -> None:
            if name.startswith("locks/"):
                self.delete(f"snapshots/{model['id']}")
            super().save(name, data)

    application = Application.load(place.config)
    storage = Removing(place.path / "local")
    application._opened["local"] = Repository.open(storage, PASSWORD, name="local")
    with pytest.raises(StorageError, match="removed since") as raised:
        pin(application, [model["id"]])
    assert raised.value.code == "snapshot-missing"
    assert list(ledger(place).entries("pin")) == []


# The ledger is all that knows


def _edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"verdict":"PROVEN"', b'"verdict":"FAILED"'))


def _cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _removed(path: Path) -> None:
    path.unlink()


def _removed_without_a_trace(path: Path) -> None:
    path.unlink()
    path.with_name(path.name + ".head").unlink()


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "status"),
    [(_edited, 37), (_cut, 37), (_removed, 37), (_removed_without_a_trace, 37), (_emptied, 37),
     (_a_folder, 23)],
)  # fmt: skip
def test_without_a_sound_ledger_nothing_is_pruned(
    place: Place, damage: Callable[[Path], None], status: int
) -> None:
    """Invariant I3: neither what is proven nor what is pinned goes because nobody knows."""
    proven = backup(place, "one")
    assert place.json("drill")["verdict"] == "PROVEN"
    model = backup(place, "two")
    pinned = older(place, model, 2)
    place.json("snapshots", "pin", pinned)
    place.json("snapshots", "pin", model["id"])  # so that it isn't the pin that is cut off
    damage(ledger(place).path)
    lose_copies(place)
    for command in (["--dry-run"], ["--yes"]):
        answer = place.run("--json", "prune", *command)
        assert answer.status == status, answer.text
        assert answer.document["error"]["hint"]
    assert captured_ids(place) == {proven["id"], model["id"], pinned}


@pytest.mark.parametrize("loss", [_removed, _removed_without_a_trace])
def test_a_copy_of_the_ledger_knows_pins_and_proofs(
    place: Place, loss: Callable[[Path], None]
) -> None:
    """Also a pin that came after the last capture."""
    proven = backup(place, "one")
    assert place.json("drill")["verdict"] == "PROVEN"
    model = backup(place, "two")
    pinned, dropped = older(place, model, 2), older(place, model, 3)
    place.json("snapshots", "pin", pinned)
    loss(ledger(place).path)
    report = place.json("prune", "--yes")
    assert dropped in {one["id"] for one in report["drop"]}
    assert captured_ids(place) == {proven["id"], model["id"], pinned}


def test_what_is_older_than_the_ledger_stays_until_somebody_lets_it_go(place: Place) -> None:
    """A ledger that was lost and begun anew says nothing of the pins and proofs before it."""
    first = backup(place, "one")
    assert place.json("drill")["verdict"] == "PROVEN"
    second = backup(place, "two")
    place.json("snapshots", "pin", first["id"])
    _removed_without_a_trace(ledger(place).path)
    lose_copies(place)
    third = backup(place, "three")
    fourth = backup(place, "four")
    because = reasons(place)
    assert because[first["id"]] == ["older than the ledger, so it may have been pinned"]
    assert because[second["id"]] == because[first["id"]]
    assert because[third["id"]] == ["no rule keeps it"]
    place.json("prune", "--yes")
    assert ids(place) == {first["id"], second["id"], fourth["id"]}
    place.json("snapshots", "unpin", second["id"], "--reason", "nobody wants it")
    place.json("prune", "--yes")
    assert ids(place) == {first["id"], fourth["id"]}


def test_copies_by_stock_restic_of_what_the_ledger_knows_are_known(tmp_path: Path) -> None:
    """Their ids are new ones, and their captures are not."""
    place = make_history(tmp_path)
    backup(place, "one")
    backup(place, "two")
    place.write_config(TWO)
    new_repository(tmp_path / "second")
    restic = stock_restics()[-1]
    flag = "--from-repo" if restic.version >= (0, 14) else "--repo2"
    local, secret = tmp_path / "local", {"RESTIC_FROM_PASSWORD": PASSWORD}
    done = restic.attempt(tmp_path / "second", "copy", flag, local, **secret)
    assert done.returncode == 0, done.stderr
    report = place.json("prune", "second", "--dry-run")
    because = [one["because"] for one in report["drop"] if "ledger" not in one["because"][0]]
    assert because == [["no rule keeps it"]]


def test_another_application_s_pins_are_its_own(place: Place) -> None:
    model = backup(place, "one")
    wanted = older(place, model, 2)
    fields: dict[str, Any] = {
        "application": "another", "snapshot": wanted, "source": "uploads", "tree": model["tree"],
        "point": "of-2-days-ago", "snapshots": [], "reason": "", "by": "x@y",
    }  # fmt: skip
    ledger(place).append("pin", fields)
    assert reasons(place)[wanted] == ["no rule keeps it"]
    ledger(place).append("pin", fields | {"application": "tms"})
    assert reasons(place)[wanted] == ["pinned"]


def test_the_last_word_counts(place: Place) -> None:
    model = backup(place, "one")
    wanted = older(place, model, 2)
    application = Application.load(place.config)
    for _ in range(2):
        pin(application, [wanted], reason="again")
        assert reasons(place)[wanted] == ["pinned"]
        unpin(application, [wanted])
        assert reasons(place)[wanted] == ["no rule keeps it"]
    pin(application, [wanted])
    assert reasons(place)[wanted] == ["pinned"]
    assert wanted in ids(place)
