"""Time and people: what is told of the past is edited, and what is needed is about to be dropped.

What passes with time is in `standing`, who is told in `telling`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.evidence import Ledger
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy
from tests.corpus.store import ONE_REPOSITORY, WORKER, copy_of, local, packs
from tests.e2e.command_line import Place, make_place
from tests.support.older_records import let_pass
from tests.support.repair_ground import overwrite
from tests.support.repository_ground import new_repository

GROUP: Final = "Time and people"
CONFIG = ONE_REPOSITORY + "retention: {uploads: {last: 1}}\n"


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Place]:
    """Two captures, both drilled, with a record of each command after its own."""
    directory.mkdir()
    place = make_place(directory, CONFIG)
    new_repository(directory / "local")
    for number in range(2):
        (place.uploads / "changing").write_text(str(number))
        place.json("backup")
        assert place.json("drill")["verdict"] == "PROVEN"
    yield place


@contextlib.contextmanager
def _drilled(grounds: Grounds) -> Iterator[Scene]:
    with copy_of(grounds, grounds.shared(ground)) as scene:
        yield scene


def _listed(scene: Scene) -> Seen:
    """What the list says of the newest snapshot."""
    document = healthy(scene, "snapshots")
    newest: dict[str, Any] = document["snapshots"][-1]
    loud = frozenset(one["code"] for one in document["findings"])
    return Seen(str(newest["verdict"]), loud, told=json.dumps(document))


def _pruned(scene: Scene) -> Seen:
    """The newest proven snapshot must be there afterwards, whatever the policy keeps."""
    before = scene.place.run("--json", "snapshots").document["snapshots"]
    result = ask("prune", "--yes")(scene)
    if result.outcome == "exit 0":
        after = {one["id"] for one in scene.place.snapshots()}
        assert len(after) < len(before)
        assert [one["id"] for one in before if one["verdict"] == "PROVEN"][-1] in after
    return result


CHECK = Way("check a repository and its ledger", WORKER, _drilled, ask("check"))
DRILL = Way("drill files again", WORKER, _drilled, ask("drill"))
BACKUP = Way("back up files again", WORKER, _drilled, ask("backup"))
LIST = Way("list snapshots", WORKER, _drilled, _listed)
PRUNE = Way("prune", WORKER, _drilled, _pruned)


def _ledger(scene: Scene) -> Path:
    return scene.place.path / "state" / "ledger.jsonl"


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        path = _ledger(scene)
        lines = path.read_bytes().splitlines(keepends=True)
        changed = change(lines)
        assert changed != lines
        path.write_bytes(b"".join(changed))

    return spoil


def _edited(lines: list[bytes]) -> list[bytes]:
    place = _first_proof(lines)
    return [*lines[:place], lines[place].replace(b"PROVEN", b"FAILED"), *lines[place + 1 :]]


def _removed(lines: list[bytes]) -> list[bytes]:
    place = _first_proof(lines)
    return [*lines[:place], *lines[place + 1 :]]


def _reordered(lines: list[bytes]) -> list[bytes]:
    place = _first_proof(lines)
    return [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]


def _inserted(lines: list[bytes]) -> list[bytes]:
    place = _first_proof(lines)
    return [*lines[: place + 1], lines[place], *lines[place + 1 :]]


def _first_proof(lines: list[bytes]) -> int:
    return next(place for place, line in enumerate(lines) if b'"kind":"drill"' in line)


def _forged(scene: Scene) -> None:
    """All of it written anew, so that no line shows it, and as if a verdict had been another."""
    path = _ledger(scene)
    path.write_bytes(path.read_bytes().replace(b'"PROVEN"', b'"FAILED"', 1))
    let_pass(path, timedelta(seconds=1))


def _forged_and_captured(scene: Scene) -> None:
    """A copy of the forged one is in the repository as well."""
    _forged(scene)
    healthy(scene, "backup")


def _cut_and_continue(scene: Scene) -> None:
    """The newest lines are cut off, and another one hides it."""
    path = _ledger(scene)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: _first_proof(lines) + 1]))
    path.with_name("ledger.jsonl.head").unlink()
    Ledger(path).append("drill", {"application": "tms", "note": "hides the cut"})


def _lose_state(scene: Scene) -> None:
    shutil.rmtree(scene.place.path / "state")


def _lose_state_and_copies(scene: Scene) -> None:
    """No ledger here, and the copies of it in the repository are damaged, too."""
    _lose_state(scene)
    for pack in packs(local(scene)):
        overwrite(pack, pack.read_bytes()[:100])


def _no_room_for_records(scene: Scene) -> None:
    text = scene.place.config.read_text()
    scene.place.write_config(text.replace("state: state", "state: /sys/strongroom-state"))


def _capture_again(scene: Scene) -> None:
    """A capture that nobody has drilled: the policy would keep it alone."""
    (scene.place.uploads / "changing").write_text("undrilled")
    healthy(scene, "backup")


def _row(
    name: str,
    way: Way,
    spoil: Callable[[Scene], object],
    codes: tuple[str, ...],
    outcome: str,
    *also: str,
) -> Fault:
    return Fault(name, GROUP, way.name.partition(" ")[0], way, spoil, codes, outcome, also)


FAULTS = (
    _row("ledger line edited", CHECK, _lines(_edited), ("ledger-broken",), "exit 30",
         "ledger-differs"),
    _row("ledger line removed", CHECK, _lines(_removed), ("ledger-broken",), "exit 30",
         "ledger-differs"),
    _row("ledger lines reordered", CHECK, _lines(_reordered), ("ledger-broken",), "exit 30",
         "ledger-differs"),
    _row("ledger line inserted", CHECK, _lines(_inserted), ("ledger-broken",), "exit 30",
         "ledger-differs"),
    _row("ledger line edited, drilled", DRILL, _lines(_edited), ("ledger-broken",), "FAILED"),
    _row("ledger line edited, pruned", PRUNE, _lines(_edited), ("ledger-damaged",), "exit 37"),
    _row("ledger cut back and continued", CHECK, _cut_and_continue, ("ledger-differs",),
         "exit 30"),
    _row("ledger forged from its first line on", CHECK, _forged, ("ledger-differs",), "exit 30"),
    _row("ledger forged, and copied", CHECK, _forged_and_captured, ("ledger-differs",), "exit 30"),
    _row("ledger lost with its host", BACKUP, _lose_state, ("ledger-adopted",), "exit 0"),
    _row("ledger lost, its copies damaged", BACKUP, _lose_state_and_copies,
         ("ledger-unreadable",), "exit 3", "pack-size"),
    _row("no room for the ledger", BACKUP, _no_room_for_records,
         ("evidence-unrecorded", "point-unrecorded"), "exit 3", "ledger-adopted"),
    _row("newest snapshot never drilled", LIST, _capture_again, (), "UNKNOWN"),
    _row("retention would drop the last proven snapshot", PRUNE, _capture_again, (), "exit 0"),
)  # fmt: skip
