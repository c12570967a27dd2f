"""A copy that outlives its credentials: locked, kept in versions, or where only adding works."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, StorageError
from strongroom.repository.prune import PruneOptions
from tests.e2e.command_line import Place, make_place
from tests.e2e.offsite_place import (
    COMPLIANCE,
    CONFIG,
    DAY,
    LOCAL,
    backup,
    between,
    content,
    near,
    pruned,
    thief,
    until,
)
from tests.support.bucket_ground import PREFIX, new_bucket
from tests.support.restic import stock_restics
from tests.support.store_servers import RestServer, S3Server, rclone_rest

pytestmark = pytest.mark.xdist_group("immutability")

# Object Lock and prune


def test_locked_objects_outlive_the_credentials(moto: S3Server, at: Callable[..., Place]) -> None:
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    (place.uploads / "big").write_bytes(os.urandom(1_000_000))
    place.json("backup")
    expected = content(place.uploads)
    for one in bucket.versions():
        name = one["Key"].removeprefix(PREFIX)
        head = bucket.client.head_object(
            Bucket=bucket.name, Key=one["Key"], VersionId=one["VersionId"]
        )
        assert ("ObjectLockMode" in head) is not name.startswith("locks/"), name
    moment = between()
    bucket.wreck()
    _, kept = bucket.erase()
    assert kept == sum(not one["Key"].startswith(f"{PREFIX}locks/") for one in bucket.versions())
    shutil.rmtree(place.uploads)
    target = place.path / "back"
    restored = place.json("restore", "uploads", "--to", target, "--store-as-of", moment.isoformat())
    assert restored["verdict"] == "PROVEN"
    assert content(target) == expected


def test_prune_says_what_it_hid_and_how_long_it_stays(
    moto: S3Server, at: Callable[..., Place]
) -> None:
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    for _ in range(2):
        backup(place, os.urandom(2_000_000))
    stored = sum(one["Size"] for one in bucket.versions())
    dry = place.json("prune", "--dry-run")
    assert dry["freed_bytes"] <= 0
    one = pruned(place)
    assert one.done is not None
    assert one.hidden_bytes > 2_000_000
    assert one.freed_bytes <= 0
    assert near(one.done.locked_until, until(30))
    assert one.as_json()["locked_until"]
    assert sum(version["Size"] for version in bucket.versions()) >= stored, "nothing is free"
    assert len(place.snapshots()) == 1
    assert place.json("check", "--read-data")["findings"] == []
    keys = {"AWS_ACCESS_KEY_ID": "S3_KEY_ID", "AWS_SECRET_ACCESS_KEY": "S3_KEY"}
    environment = {name: os.environ[value] for name, value in keys.items()}
    for restic in stock_restics():
        told = restic.run(bucket.location, "check", "--read-data", **environment)
        assert "no errors were found" in told


def test_prune_tells_people_what_is_hidden(moto: S3Server, at: Callable[..., Place]) -> None:
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    for _ in range(2):
        backup(place, os.urandom(1_000_000))
    told = place.run("prune", "--yes")
    assert told.status == 0
    assert "1 dropped, 0 B freed" in told.text
    assert "stayed: too young to go" in told.text
    assert "locked, the last of it until" in told.text
    assert "all that stays is locked until" in told.text


def test_a_bucket_without_versions_frees_at_once(moto: S3Server, at: Callable[..., Place]) -> None:
    bucket = new_bucket(moto)
    place = at(bucket)
    place.json("init")
    for _ in range(2):
        backup(place, os.urandom(2_000_000))
    stored = sum(one["Size"] for one in bucket.versions())
    one = pruned(place)
    assert one.freed_bytes > 1_900_000
    assert one.hidden_bytes == 0
    assert sum(version["Size"] for version in bucket.versions()) < stored - 1_900_000


def test_locks_of_what_stays_are_renewed_also_with_nothing_to_drop(
    moto: S3Server, at: Callable[..., Place]
) -> None:
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    backup(place, os.urandom(1_000_000))
    names = [name for name in bucket.names() if not name.startswith("locks/")]
    soon = pruned(place)
    assert soon.plan.is_empty
    assert soon.renewal is not None
    assert (soon.renewal.asked, soon.renewal.renewed) == (len(names), 0)
    assert near(soon.renewal.locked_until, until(30))
    late = pruned(place, later=20 * DAY)
    assert late.renewal is not None
    assert (late.renewal.asked, late.renewal.renewed) == (len(names), len(names))
    ends = {name: bucket.head(name)["ObjectLockRetainUntilDate"] for name in names}
    assert near(ends.pop("config"), until(20 + 15)), "it tells when the first of all ends"
    assert all(near(one, until(20 + 30)) for one in ends.values())
    assert near(late.renewal.locked_until, until(35))


def test_locks_of_what_nobody_needs_run_out(moto: S3Server, at: Callable[..., Place]) -> None:
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    for _ in range(3):  # the second one's pack holds nothing else
        backup(place, os.urandom(2_000_000))
    before = {name for name in bucket.names() if name.startswith("data/")}
    # Too young to go, by the store's clock, and needed by nobody.
    pruned(place, later=20 * DAY, options=PruneOptions())
    spared = {
        name for name in before if near(bucket.head(name)["ObjectLockRetainUntilDate"], until(30))
    }
    assert spared
    packs = {name for name in bucket.names() if name.startswith("data/")}
    for name in packs - spared:
        assert near(bucket.head(name)["ObjectLockRetainUntilDate"], until(50))
    pruned(place, later=20 * DAY)
    assert not spared & set(bucket.names()), "they are hidden, and their locks end as they would"
    for one in bucket.versions():
        if one["Key"].removeprefix(PREFIX) in spared:
            head = bucket.client.head_object(
                Bucket=bucket.name, Key=one["Key"], VersionId=one["VersionId"]
            )
            assert near(head["ObjectLockRetainUntilDate"], until(30))


def test_the_buckets_own_default_is_renewed_as_well(
    moto: S3Server, at: Callable[..., Place]
) -> None:
    bucket = new_bucket(moto, lock=True)
    bucket.lock_by_default(10)
    place = at(bucket)
    place.json("init")
    backup(place, b"one")
    late = pruned(place, later=8 * DAY)
    assert late.renewal is not None
    assert late.renewal.renewed == late.renewal.asked > 3
    assert near(bucket.head("config")["ObjectLockRetainUntilDate"], until(8 + 5))
    assert not any(name.startswith("locks/") for name in bucket.names())


def test_locks_that_may_not_be_renewed_are_told(
    users: dict[str, S3Server], at: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto wants s3:PutObject for it, so that one who may only read and remove is refused."""
    bucket = new_bucket(users["owner"], lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    backup(place, b"one")
    client = bucket.client
    client.put_bucket_policy(Bucket=bucket.name, Policy=DENY_LOCKING.replace("BUCKET", bucket.name))
    monkeypatch.chdir(place.path)
    late = pruned(place, later=20 * DAY)
    assert [one.code for one in late.notes] == ["locks-ending"]
    assert late.renewal is not None
    assert late.renewal.locked_until is None


DENY_LOCKING = """{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
"Action": "s3:PutObject", "Resource": "arn:aws:s3:::BUCKET/deep/prefix/index/*"}]}"""


def test_locks_are_renewed_on_top_of_damage(moto: S3Server, at: Callable[..., Place]) -> None:
    """Somebody who breaks one pack must not make the locks of all others run out."""
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, COMPLIANCE)
    place.json("init")
    backup(place, os.urandom(1_000_000))
    pack = next(name for name in bucket.names() if name.startswith("data/"))
    bucket.client.put_object(Bucket=bucket.name, Key=PREFIX + pack, Body=b"ransom")
    with pytest.raises(IntegrityError):
        pruned(place, later=20 * DAY)
    for name in bucket.names():
        assert bucket.head(name)["ObjectLockRetainUntilDate"] > until(30), name


# Where only adding works


def _all_but_prune(place: Place, store: Callable[[], set[str]]) -> None:
    place.json("init")
    (place.uploads / "big").write_bytes(os.urandom(2_000_000))
    for number in range(2):
        report = place.json("backup", "--quiet")
        assert report["copies"] == {"uploads": ["local", "offsite"]}
        (place.uploads / "big").write_bytes(os.urandom(2_000_000))
        (place.uploads / "changing").write_text(str(number))
    assert len(place.json("snapshots", "-r", "offsite")["snapshots"]) == 2
    assert place.json("check", "offsite", "--read-data")["findings"] == []
    assert place.json("drill", "-r", "offsite")["verdict"] == "PROVEN"
    target = place.path / "back"
    restored = place.json("restore", "uploads", "-r", "offsite", "--to", target)
    assert restored["verdict"] == "PROVEN"
    (place.path / "local" / "snapshots").rename(place.path / "away")
    (place.path / "local" / "snapshots").mkdir()
    assert place.run("backup", "--quiet").status == 3, "snapshots are missed"
    for file in (place.path / "away").iterdir():
        file.rename(place.path / "local" / "snapshots" / file.name)
    place.json("copy", "--from", "local", "--to", "offsite")
    assert not [name for name in store() if "locks/" in name], "those may go"
    before = store()
    refused = place.run("--json", "prune", "offsite", "--yes")
    assert refused.status == 23
    error = refused.document["error"]
    assert error["code"] == "store-refused"
    assert "remove nothing" in error["message"]
    assert "An immutable copy" in error["hint"]
    assert store() == before, "nothing was begun"
    assert len(place.json("snapshots", "-r", "offsite")["snapshots"]) == 3
    both = place.run("--json", "prune", "--yes")
    assert both.status == 23
    (local,) = both.document["repositories"]
    assert local["repository"] == "local"
    assert {one["because"][0] for one in local["drop"]} > {"no rule keeps it"}, "and it is pruned"
    assert [one["repository"] for one in both.document["errors"]] == ["offsite"]
    told = place.run("prune")
    assert "local: 1 snapshot kept" in told.text
    assert "remove nothing" in told.text


@pytest.fixture
def append_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Place, RestServer]]:
    with rclone_rest(tmp_path / "rest", append_only=True) as server:
        monkeypatch.setenv("REST_USER", str(server.access.user))
        monkeypatch.setenv("REST_PASSWORD", str(server.access.password))
        offsite = (
            f"  offsite: {{location: '{server.location('tms')}', password: file:key,\n"
            "    access: {user: env:REST_USER, password: env:REST_PASSWORD}}\n"
        )
        yield make_place(tmp_path, CONFIG.replace("REPOSITORIES\n", LOCAL + offsite)), server


def test_all_but_prune_works_on_an_append_only_server(
    append_only: tuple[Place, RestServer],
) -> None:
    place, server = append_only

    def stored() -> set[str]:
        return {str(one) for one in server.root.rglob("*") if one.is_file()}

    _all_but_prune(place, stored)
    line = thief(place)
    assert (line["state"], line["remedy"]) == ("fine", "")
    assert line["observed"] == "can add only: the store refuses to remove and to overwrite"
    assert thief(place, "local")["state"] == "fine", "one copy out of reach is enough"


def test_all_but_prune_works_without_the_right_to_delete(
    users: dict[str, S3Server], at: Callable[..., Place]
) -> None:
    owned = new_bucket(users["owner"], versions=True)
    bucket = dataclasses.replace(owned, server=users["backup"])
    place = at(bucket, others=LOCAL)
    _all_but_prune(place, lambda: set(owned.names()))
    line = thief(place)
    assert line["state"] == "warning", "its rights over the bucket itself are not known"
    assert "can overwrite, not erase: recoverable by versions without an end" in line["observed"]
    assert "unknown" in line["observed"]


def test_a_host_that_may_remove_prunes_for_one_that_may_not(
    users: dict[str, S3Server], at: Callable[..., Place]
) -> None:
    owned = new_bucket(users["owner"], lock=True)
    place = at(dataclasses.replace(owned, server=users["backup"]), COMPLIANCE)
    place.json("init")
    for number in range(2):
        backup(place, b"%d" % number)
    assert place.run("prune").status == 23
    place = at(dataclasses.replace(owned, server=users["pruner"]), COMPLIANCE)
    (place.uploads / "changing").write_bytes(b"1")
    one = pruned(place, later=20 * DAY)
    assert one.done is not None
    captured = {decision.id for decision in one.captures if not decision.keep}
    assert len(captured) == 1
    assert captured < {*one.done.dropped}, "with copies of the ledger"
    assert one.renewal is not None
    assert one.renewal.renewed > 0
    assert place.json("drill")["verdict"] == "PROVEN"


def test_what_another_ledger_knows_of_is_missed(moto: S3Server, at: Callable[..., Place]) -> None:
    """Prune has to know what was proven, and others that it was prune."""
    place = at(new_bucket(moto, versions=True))
    place.json("init")
    dropped = backup(place, b"one")["id"]
    backup(place, b"two")
    own = place.config.read_text()
    place.write_config(own.replace("state: state", "state: elsewhere"))
    pruned(place)
    place.write_config(own)
    report = place.run("--json", "check").document
    assert [(one["code"], dropped in one["subject"]) for one in report["findings"]] == [
        ("snapshot-vanished", True)
    ]


def test_locks_are_renewed_where_nothing_may_be_removed(
    users: dict[str, S3Server], at: Callable[..., Place]
) -> None:
    owned = new_bucket(users["owner"], lock=True)
    place = at(dataclasses.replace(owned, server=users["backup"]), ",\n    object_lock: 2d")
    place.json("init")
    for number in range(2):
        backup(place, b"%d" % number)
    refused = place.run("prune", "--yes")
    assert refused.status == 23
    with pytest.raises(StorageError, match="remove nothing"):
        pruned(place, later=DAY * 1.5)
    assert near(owned.head("config")["ObjectLockRetainUntilDate"], until(1.5 + 1))


# What the doctor says


def test_the_doctor_says_what_a_thief_could_do(moto: S3Server, at: Callable[..., Place]) -> None:
    plain = at(new_bucket(moto))
    plain.json("init")
    line = thief(plain)
    assert (line["state"], line["observed"]) == ("warning", "can remove and overwrite everything")
    assert "OPERATIONS" in line["remedy"]

    kept = at(new_bucket(moto, versions=True))
    kept.json("init")
    line = thief(kept)
    assert line["state"] == "warning"
    assert line["observed"] == "can destroy everything: versions may be erased, too"

    locked = new_bucket(moto, lock=True)
    safe = at(locked, COMPLIANCE, others=LOCAL)
    safe.json("init")
    line = thief(safe)
    assert line["state"] == "fine"
    day = f"{locked.head('config')['ObjectLockRetainUntilDate']:%Y-%m-%d %H:%M}"
    assert line["observed"] == (
        "can remove and overwrite, not destroy: recoverable by versions, "
        f"Object Lock (compliance) until {day} UTC"
    )
    assert thief(safe, "local")["state"] == "fine"
    assert not [name for name in locked.names() if name.startswith("locks/")]

    governed = at(new_bucket(moto, lock=True), ",\n    object_lock: 30d")
    governed.json("init")
    line = thief(governed)
    assert line["state"] == "warning"
    assert "unless it may bypass that, which is unknown" in line["observed"]


def test_what_is_not_known_stays_a_warning_beside_a_safe_copy(
    moto: S3Server, at: Callable[..., Place]
) -> None:
    governed = new_bucket(moto, lock=True)
    access = "{access_key: env:S3_KEY_ID, secret_key: env:S3_KEY, region: us-east-1}"
    other = (
        f"  unsure: {{location: '{governed.location}', password: file:key,\n"
        f"    access: {access}, object_lock: 30d}}\n"
    )
    place = at(new_bucket(moto, lock=True), COMPLIANCE, others=LOCAL + other)
    place.json("init")
    assert thief(place)["state"] == "fine"
    assert thief(place, "local")["state"] == "fine"
    unsure = thief(place, "unsure")
    assert (unsure["state"], "unknown" in unsure["observed"]) == ("warning", True)


def test_the_doctor_notices_locks_that_ran_out(moto: S3Server, at: Callable[..., Place]) -> None:
    bucket = new_bucket(moto, lock=True)
    place = at(bucket, ",\n    object_lock: 1s, object_lock_mode: compliance")
    place.json("init")
    time.sleep(2.2)
    line = thief(place)
    assert line["state"] == "warning"
    assert "can destroy everything" in line["observed"]
    assert "the lock of `config` ended" in line["observed"]
    assert "prune" in line["remedy"]
    erased, kept = bucket.erase()
    assert erased
    assert kept == 0


def test_the_doctor_says_the_worst_of_what_it_is_sure(
    users: dict[str, S3Server], at: Callable[..., Place]
) -> None:
    """Without versions, the right to add is the right to overwrite."""
    owned = new_bucket(users["owner"])
    place = at(dataclasses.replace(owned, server=users["backup"]))
    place.json("init")
    line = thief(place)
    assert line["state"] == "warning"
    assert line["observed"] == (
        "cannot remove, but overwrite everything: the bucket keeps no versions"
    )
