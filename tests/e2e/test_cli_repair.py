"""Damage from the command line: what it touches, what to do, and what repair makes of it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.evidence import Ledger
from strongroom.repository import BlobType, Repository, SnapshotView
from strongroom.repository.repository import pack_name
from strongroom.repository.snapshot import encode_snapshot
from strongroom.repository.storage import LocalStorage
from tests.e2e.command_line import PASSWORD, TWO_REPOSITORIES, Answer, Place, make_place
from tests.support.repair_ground import files_of, flipped, overwrite
from tests.support.repository_ground import new_repository
from tests.support.restic import stock_restics
from tests.support.store_servers import rclone_rest

CONFIG = TWO_REPOSITORIES + "minimum_copies: 1\n"
ALONE = CONFIG.replace("  second: {location: second, password: file:key}\n", "")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two repositories with two recovery points, proven."""
    made = make_place(tmp_path, CONFIG)
    for name in ("local", "second"):
        new_repository(tmp_path / name)
    made.json("backup")
    (made.uploads / "lpos" / "LPO-3.pdf").write_bytes(b"%PDF-3 " + os.urandom(50_000))
    made.json("backup")
    assert made.json("drill")["verdict"] == "PROVEN"
    return made


def store(place: Place, name: str = "local") -> Path:
    return place.path / name


def opened(place: Place, name: str = "local") -> Repository:
    return Repository.open(LocalStorage(store(place, name)), PASSWORD, name=name)


def lose_a_pack(place: Place, name: str = "local") -> str:
    """The first capture's pack of files goes; its name."""
    repository = opened(place, name)
    first = next(one for one in repository.snapshots().snapshots if "source:uploads" in one.tags)
    held = Counter(
        repository.locate(BlobType.DATA, blob).pack
        for path, node in SnapshotView(repository, first).walk()
        if not path.startswith(b"/.strongroom")
        for blob in node.content
    )
    pack = pack_name(held.most_common(1)[0][0])
    (store(place, name) / pack).unlink()
    return pack


def expect_clean(place: Place, *names: str) -> None:
    for name in names or ("local", "second"):
        answer = place.run("--json", "check", name, "--read-data")
        assert answer.status == 0, answer.text
        assert answer.document["findings"] == []
        stock_restics()[0].check(store(place, name))


def repaired(answer: Answer, name: str = "local") -> dict[str, Any]:
    found: list[dict[str, Any]] = answer.document["repositories"]
    return {one["repository"]: one for one in found}[name]


def ids(place: Place, name: str = "local") -> list[str]:
    return [one["id"] for one in place.snapshots() if one["repository"] == name]


def test_check_names_what_is_touched_and_what_to_do(place: Place) -> None:
    pack = lose_a_pack(place)
    answer = place.run("--json", "check", "local")
    assert answer.status == 30
    (found,) = answer.document["findings"]
    assert found["code"] == "pack-missing"
    touched = found["touched"]
    assert sorted(touched["snapshots"]) == sorted(ids(place))
    first = {path.partition(":")[2].removeprefix(str(place.uploads)) for path in touched["paths"]}
    assert {"/lpos/LPO-1.pdf", "/lpos/LPO-2.pdf", "/quotes/Q 1\nodd.txt"} <= first
    assert touched["count"] == len(touched["paths"]) <= touched["limit"]
    assert "of 2 snapshots: " in found["message"]
    told = place.run("check", "local").text
    assert pack[-64:] in told
    hints = [line for line in told.splitlines() if line.startswith("  hint")]
    assert len(hints) == 1
    assert "strongroom repair" in hints[0]
    # The ledger keeps the first of them only.
    recorded = list(Ledger(place.path / "state" / "ledger.jsonl").entries("check"))[-1]
    assert recorded.fields["findings"][0]["touched"]["limit"] == 5


def test_one_hint_for_each_code_that_fails(place: Place) -> None:
    lose_a_pack(place)
    for name in ("a", "b"):
        (store(place) / "index" / (name * 64)).write_bytes(b"garbage")
    told = place.run("check", "local").text.splitlines()
    hints = [line.split()[1] for line in told if line.startswith("  hint")]
    assert hints == ["index-unreadable", "pack-missing"]


def test_a_dry_run_tells_and_changes_nothing(place: Place) -> None:
    lose_a_pack(place)
    before = files_of(store(place)), files_of(store(place, "second"))
    answer = place.run("--json", "repair", "local", "--dry-run")
    assert answer.status == 0, answer.err
    one = repaired(answer)
    assert (one["done"], one["healed_blobs"], one["whole"]) == (False, 0, True)
    assert one["plan"]["fetched_blobs"]["second"] >= 3
    told = place.run("repair", "local", "--dry-run").text
    assert "blobs healed" in told
    assert "would be: " in told
    # Alone it could not be, and that is told by the status.
    place.write_config(ALONE)
    alone = place.run("--json", "repair", "--dry-run")
    assert alone.status == 3
    assert repaired(alone)["plan"]["lost"]["count"] >= 6
    assert (files_of(store(place)), files_of(store(place, "second"))) == before


def test_the_other_repository_heals_and_proofs_hold(place: Place) -> None:
    before = {one["id"]: (one["tree"], one["verdict"]) for one in place.snapshots()}
    assert "PROVEN" in {verdict for _, verdict in before.values()}
    lose_a_pack(place)
    index = opened(place, "second").index
    trees = [pack for pack, entries in index.packs() if entries[0].type is BlobType.TREE]
    flip = store(place, "second") / pack_name(trees[0])
    overwrite(flip, flipped(flip.read_bytes()))
    answer = place.run("--json", "repair")
    assert answer.status == 0, answer.text
    assert repaired(answer)["healed_blobs"] >= 3
    assert repaired(answer, "second")["healed_blobs"] == 1
    expect_clean(place)
    assert {one["id"]: (one["tree"], one["verdict"]) for one in place.snapshots()} == before
    for name in ("local", "second"):
        assert place.json("drill", "--repository", name)["verdict"] == "PROVEN"
    assert place.run("repair").text.count("nothing to repair") == 2


def test_a_backup_tells_that_the_index_has_lost_earlier_snapshots(place: Place) -> None:
    """What the source still has is stored again, which must not look as if all were well."""
    (place.uploads / "lpos" / "gone.txt").write_text("what nobody has any more")
    place.json("backup")
    (place.uploads / "lpos" / "gone.txt").unlink()
    before = place.snapshots()
    for path in (store(place) / "index").iterdir():
        path.unlink()
    answer = place.run("--json", "backup")
    (told,) = [one for one in answer.document["findings"] if one["severity"] != "note"]
    assert told["code"] == "index-incomplete"
    assert told["message"].startswith("the index has lost the trees of")
    assert place.run("check", "local").status == 30
    place.json("repair", "local")
    assert place.run("--json", "backup").status == 0
    place.json("check", "local")
    place.json("restore", "uploads", "--to", place.path / "back", "--snapshot", before[-1]["id"])
    assert (place.path / "back" / "lpos" / "gone.txt").exists()


@pytest.mark.parametrize("how", ["garbage", "gone"])
def test_a_lost_index_is_rebuilt_alone(place: Place, how: str) -> None:
    place.write_config(ALONE)
    for path in (store(place) / "index").iterdir():
        path.unlink()
        if how == "garbage":
            path.write_bytes(b"garbage")
    answer = place.run("--json", "repair")
    assert answer.status == 0, answer.text
    assert repaired(answer)["plan"]["packs_listed_anew"]
    expect_clean(place, "local")
    drill = place.json("drill")
    assert drill["findings"] == []


def test_what_nobody_has_is_dropped_on_request_only(place: Place) -> None:
    place.write_config(ALONE)
    lose_a_pack(place)
    damaged = ids(place)
    kept = place.run("--json", "repair")
    assert kept.status == 3
    assert repaired(kept)["dropped"] == []
    assert ids(place) == damaged
    told = place.run("repair").text
    assert "lpos/LPO-1.pdf" in told
    assert "--drop-lost" in told
    dropped = place.run("--json", "repair", "--drop-lost")
    assert dropped.status == 0, dropped.text
    one = repaired(dropped)
    assert sorted(one["dropped"]) == sorted(damaged)
    assert {made["from_id"] for made in one["snapshots"]} == set(damaged)
    # On purpose, so nothing is missed.
    expect_clean(place, "local")
    listed = place.json("snapshots")["snapshots"]
    assert [(found["verdict"], found["repaired"]) for found in listed] == [("FAILED", True)] * 2
    # It never looks whole.
    answer = place.run("--json", "drill")
    assert answer.status == 41
    assert answer.document["verdict"] == "FAILED"
    codes = [found["code"] for found in answer.document["findings"]]
    assert codes.count("snapshot-repaired") == 1
    restore = place.run("--json", "restore", "uploads", "--to", place.path / "back")
    assert restore.status == 41
    assert (place.path / "back" / "lpos" / "LPO-3.pdf").exists()
    assert not (place.path / "back" / "lpos" / "LPO-1.pdf").exists()
    newest = listed[-1]["id"]
    lacks = json.loads(place.run("dump", newest, "/.strongroom/repaired.json").out)["lacks"]
    assert f"{place.uploads}/lpos/LPO-1.pdf" in lacks
    # The next backup reads anew what is missing in its parent, and is whole.
    place.json("backup")
    assert place.json("drill")["verdict"] == "PROVEN"


def test_what_goes_is_written_down_before(place: Place) -> None:
    place.write_config(ALONE)
    lose_a_pack(place)
    damaged = ids(place)
    state = place.path / "state"
    shutil.move(state / "ledger.jsonl", state / "kept")
    (state / "ledger.jsonl").mkdir()
    refused = place.run("--json", "repair", "--drop-lost")
    assert refused.status != 0
    assert "error" in refused.document
    (state / "ledger.jsonl").rmdir()
    shutil.move(state / "kept", state / "ledger.jsonl")
    assert set(damaged) <= set(ids(place))
    place.json("repair", "--drop-lost")
    records = list(Ledger(state / "ledger.jsonl").entries("repair"))
    assert sorted(records[-1].fields["drop"]) == sorted(damaged)
    assert records[-1].fields["snapshots"][0]["lacks"]["count"] >= 3
    assert Ledger(state / "ledger.jsonl").verify() == []
    expect_clean(place, "local")


def test_a_repaired_snapshot_gives_way_to_a_whole_copy(place: Place) -> None:
    lose_a_pack(place)
    store(place, "second").rename(place.path / "away")
    answer = place.run("--json", "repair", "local", "--drop-lost")
    assert answer.status == 0, answer.text
    assert [one["code"] for one in repaired(answer)["findings"]] == ["repository-unreachable"]
    (place.path / "away").rename(store(place, "second"))
    drill = place.json("drill")
    assert [one["repository"] for one in drill["drills"]] == ["second"]
    # And `copy` brings the whole ones here again, in whose place no repaired one is kept.
    copied = place.json("copy", "--from", "second", "--to", "local")
    assert len(copied["snapshots"]) == 2
    assert place.json("drill", "--repository", "local")["verdict"] == "PROVEN"
    place.write_config(CONFIG + "retention: {local: {last: 1}}\n")
    kept = {one["id"] for one in place.json("prune", "local", "--dry-run")["keep"]}
    assert kept
    assert all(not one["repaired"] for one in place.snapshots() if one["id"] in kept)


def test_a_snapshot_whose_file_is_garbage_comes_back(place: Place) -> None:
    """The ledger knows of which capture it was, and the other repository has that, too."""
    bad = ids(place)[0]
    path = store(place) / "snapshots" / bad
    overwrite(path, b"garbage")
    captured = place.run("--json", "backup")
    assert captured.status == 3, "what is damaged is told"
    assert captured.document["snapshots"]
    answer = place.run("--json", "repair", "local")
    assert answer.status == 0, answer.text
    one = repaired(answer)
    assert one["dropped"] == [bad]
    assert one["plan"]["snapshots_returning"][0]["from"] == "second"
    assert len(ids(place)) == len(ids(place, "second")) == 3
    expect_clean(place)


def test_a_snapshot_without_a_copy_is_lost(place: Place) -> None:
    place.write_config(ALONE)
    bad, good = ids(place)
    overwrite(store(place) / "snapshots" / bad, b"garbage")
    assert place.run("repair").status == 3
    answer = place.run("--json", "repair", "--drop-lost")
    assert answer.status == 0
    assert repaired(answer)["dropped"] == [bad]
    assert ids(place) == [good]
    expect_clean(place, "local")


def test_prune_goes_on_after_a_repair(place: Place) -> None:
    lose_a_pack(place)
    refused = place.run("--json", "prune", "local", "--dry-run")
    assert refused.status == 31
    assert "strongroom repair" in refused.document["error"]["hint"]
    place.json("repair", "local")
    assert place.run("prune", "local", "--dry-run").status == 0


def test_a_repaired_snapshot_was_captured_when_its_former_was(place: Place) -> None:
    """One that was dated back counts for nothing, also after a repair."""
    place.write_config(ALONE + "retention: {local: {last: 1}}\n")
    repository, ledger = opened(place), Ledger(place.path / "state" / "ledger.jsonl")
    like = repository.find("latest", source="uploads")
    back = replace(like, time=like.time - timedelta(days=2))
    forged = repository.save_file("snapshots", encode_snapshot(back, 0, 0))
    told = {"id": forged, "source": "uploads", "repository": "local", "tree": like.tree}
    ledger.append("backup", {"application": "tms", "snapshots": [told], "wanted": ["uploads"]})
    lose_a_pack(place)
    place.json("repair", "--drop-lost")
    (record,) = ledger.entries("repair")
    made = {one["from_id"]: one["id"] for one in record.fields["snapshots"]}
    plan = place.json("prune", "--dry-run")
    reasons = {one["id"]: one["because"] for one in (*plan["keep"], *plan["drop"])}
    assert reasons[made[forged]] == ["it is dated before one that was written earlier"]
    assert "newest of its source" in reasons[made[like.id]]


def test_a_server_that_only_takes_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is lost comes back; what would have to go is told, with what to do."""
    with rclone_rest(tmp_path / "rest", append_only=True) as server:
        monkeypatch.setenv("REST_USER", str(server.access.user))
        monkeypatch.setenv("REST_PASSWORD", str(server.access.password))
        access = "access: {user: env:REST_USER, password: env:REST_PASSWORD}"
        elsewhere = f"{{location: '{server.location('tms')}', password: file:key, {access}}}"
        before = "{location: second, password: file:key}"
        place = make_place(tmp_path / "place", CONFIG.replace(before, elsewhere))
        new_repository(store(place))
        served = server.root / "tms"
        new_repository(served)
        place.json("backup")
        for path in (served / "index").iterdir():
            path.unlink()
        assert place.run("--json", "repair", "second").status == 0
        assert place.json("check", "second")["findings"] == []
        packs = Repository.open(LocalStorage(served), PASSWORD, name="second").index.packs()
        pack = next(pack for pack, entries in packs if entries[0].type is BlobType.DATA)
        (served / pack_name(pack)).unlink()
        answer = place.run("--json", "repair", "second")
        assert answer.status == 23, answer.text
        assert "lets nothing be removed" in answer.document["error"]["message"]
        assert "where files may be removed" in answer.document["error"]["hint"]
        target = tmp_path / "back"
        restored = place.json("restore", "uploads", "--to", target, "--repository", "second")
        assert restored["verdict"] == "PROVEN"


def test_a_giver_that_is_locked_is_told_and_passed_over(place: Place) -> None:
    lose_a_pack(place)
    lock = opened(place, "second").new_lock(exclusive=True)
    lock.acquire()
    try:
        answer = place.run("--json", "repair", "local", "--dry-run")
        assert answer.status == 3
        (found,) = repaired(answer)["findings"]
        assert (found["code"], found["subject"]) == ("repository-unreachable", "second")
        asked = place.run("--json", "repair", "local", "--from", "second", "--dry-run")
        assert asked.status == 4
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("local", "--from", "local"), "gives nothing to itself"),
        (("local", "--from", "nowhere"), "no repository of this name"),
        (("nowhere",), "no repository of this name"),
    ],
)
def test_repositories_that_do_not_fit_are_refused(
    place: Place, arguments: tuple[str, ...], says: str
) -> None:
    answer = place.run("--json", "repair", *arguments)
    assert answer.status == 2
    assert says in answer.document["error"]["message"]


def test_while_somebody_uses_it_nothing_is_removed(place: Place) -> None:
    lose_a_pack(place)
    damaged = ids(place)
    lock = opened(place).new_lock()
    lock.acquire()
    try:
        answer = place.run("--json", "repair", "local")
    finally:
        lock.release()
    assert answer.status == 4
    assert answer.document["error"]["code"] == "busy"
    assert ids(place) == damaged
    place.json("repair", "local")
    expect_clean(place, "local")
