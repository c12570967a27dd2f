"""Snapshot files: what is written, what is read of other tools' files, and how one is chosen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from strongroom.errors import IntegrityError, StorageError
from strongroom.repository import Snapshot
from strongroom.repository.snapshot import choose, decode_snapshot, encode_snapshot, format_time

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)
TREE = "ab" * 32
BASE = Snapshot(
    id="", time=NOON, tree=TREE, paths=("/srv/tms",), tags=("source:uploads", "kind:files"),
    hostname="web1", username="amina", parent="cd" * 32,
    summary={"total_bytes_processed": 77, "data_blobs": 2},
)  # fmt: skip


def snapshot(number: int, source: str = "uploads", minutes: int = 0) -> Snapshot:
    return Snapshot(f"{number:064x}"[::-1], NOON + timedelta(minutes=minutes), TREE, ("/a",),
                    (f"source:{source}",))  # fmt: skip


def test_a_snapshot_has_restic_s_fields_in_restic_s_order() -> None:
    fields = json.loads(encode_snapshot(BASE, 1000, 1001))
    assert fields.pop("program_version").startswith("strongroom ")
    assert list(fields.items()) == [
        ("time", "2026-11-23T12:00:00.123456Z"),
        ("parent", "cd" * 32),
        ("tree", TREE),
        ("paths", ["/srv/tms"]),
        ("hostname", "web1"),
        ("username", "amina"),
        ("uid", 1000),
        ("gid", 1001),
        ("tags", ["source:uploads", "kind:files"]),
        ("summary", {"total_bytes_processed": 77, "data_blobs": 2}),
    ]


def test_a_snapshot_comes_back() -> None:
    back = decode_snapshot(encode_snapshot(BASE, 0, 0), "ef" * 32)
    assert back == Snapshot(**{**_fields(BASE), "id": "ef" * 32})  # type: ignore[arg-type]
    assert (back.source, back.kind, back.application, back.point) == (
        "uploads",
        "files",
        None,
        None,
    )
    assert (back.short_id, back.size_bytes) == ("efefefef", 77)


def _fields(one: Snapshot) -> dict[str, object]:
    return {name: getattr(one, name) for name in Snapshot.__slots__}


def test_times_are_written_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=4)))
    assert format_time(there) == format_time(NOON) == "2026-11-23T12:00:00.123456Z"


def test_what_restic_writes_is_read() -> None:
    content = {
        "time": "2026-11-23T16:00:00.123456789+04:00", "tree": TREE, "paths": ["/srv", "/etc"],
        "hostname": "web1", "username": "root", "uid": 0, "gid": 0, "excludes": ["*.tmp"],
        "tags": None, "original": "cd" * 32, "program_version": "restic 0.19.1", "label": "new",
    }  # fmt: skip
    one = decode_snapshot(json.dumps(content).encode(), "ef" * 32)
    assert one.time == NOON
    assert (one.paths, one.tags, one.original, one.parent) == (
        ("/srv", "/etc"), (), "cd" * 32, None
    )  # fmt: skip
    assert (one.source, one.size_bytes) == (None, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"time": None}, {"time": []}, {"time": {}}, {"time": 7}, {"time": "yesterday"},
        {"tree": None}, {"tree": "ab"}, {"tree": 7}, {"tree": " " + TREE}, {"tree": TREE.upper()},
        {"paths": "/srv"}, {"paths": [7]}, {"tags": [None]}, {"tags": {"a": 1}},
        {"parent": "../../etc"}, {"parent": 7}, {"original": {}},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_snapshot_is_damage(changed: dict[str, object]) -> None:
    fields = json.loads(encode_snapshot(BASE, 0, 0)) | changed
    with pytest.raises(IntegrityError) as raised:
        decode_snapshot(json.dumps(fields).encode(), "ef" * 32)
    assert raised.value.code == "snapshot-damaged"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'"text"', b"7", b"{}", b"\xff\xfe"])
def test_what_is_no_object_is_damage(content: bytes) -> None:
    with pytest.raises(IntegrityError) as raised:
        decode_snapshot(content, "ef" * 32)
    assert raised.value.code == "snapshot-damaged"


def test_latest_is_the_newest_of_its_source() -> None:
    several = [snapshot(1), snapshot(2, "code", 5), snapshot(3, minutes=3)]
    assert choose(several, "latest", None).source == "code"
    assert choose(several, "latest", "uploads") == several[2]


def test_the_beginning_of_an_id_is_enough_when_it_is_the_only_one() -> None:
    several = [snapshot(0x12), snapshot(0x112), snapshot(0x3)]
    assert choose(several, "3", None) == several[2]
    assert choose(several, several[0].id, None) == several[0]
    for wanted, told in (("21", "several"), ("f", "no snapshot"), ("", "no snapshot")):
        with pytest.raises(StorageError, match=told) as raised:
            choose(several, wanted, None)
        assert raised.value.code == "snapshot-missing"


def test_a_source_without_snapshots_is_told_by_name() -> None:
    with pytest.raises(StorageError, match="source 'database'"):
        choose([snapshot(1)], "latest", "database")
    with pytest.raises(StorageError, match="no snapshot has this id"):
        choose([snapshot(1)], snapshot(1).id, "database")
