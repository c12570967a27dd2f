"""What stores keep against whoever has our credentials, asked of real servers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import ConfigError, StorageError
from strongroom.repository.storage import (
    Immutability,
    Keeping,
    LockMode,
    ObjectLock,
    Reach,
    RetryingStorage,
    Storage,
    open_storage,
)
from strongroom.repository.storage.rest import RestStorage
from strongroom.repository.storage.s3_past import S3PastStorage
from tests.support.bucket_ground import (
    ALL_RIGHTS,
    BACKUP_RIGHTS,
    PREFIX,
    PRUNE_RIGHTS,
    Bucket,
    moto_with_users,
    new_bucket,
)
from tests.support.cutting_proxy import cutting_proxy
from tests.support.store_servers import S3Server, moto_s3, rclone_rest, rclone_s3

pytestmark = pytest.mark.xdist_group("immutability")

MONTH = ObjectLock(timedelta(days=30), LockMode.COMPLIANCE)
PACK = "data/aa/" + "a" * 64
INDEX = "index/" + "b" * 64
LOCK = "locks/" + "c" * 64
LOCKED = ("config", "keys/" + "d" * 64, PACK, INDEX, "snapshots/" + "e" * 64)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto_s3(tmp_path_factory.mktemp("moto")) as server:
        yield server


def asked(storage: Storage) -> Immutability:
    found = storage.immutability()
    assert found is not None
    return found


def near(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < timedelta(minutes=2)


# Object Lock


def test_every_object_but_the_lock_files_is_locked(moto: S3Server) -> None:
    bucket = new_bucket(moto, lock=True)
    storage = bucket.storage(object_lock=MONTH)
    for name in (*LOCKED, LOCK):
        storage.save(name, name.encode())
    for name in LOCKED:
        head = bucket.head(name)
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert near(head["ObjectLockRetainUntilDate"], datetime.now(UTC) + MONTH.period)
        assert storage.load(name) == name.encode()
    assert "ObjectLockMode" not in bucket.head(LOCK)


def test_a_buckets_own_default_applies_by_itself(moto: S3Server) -> None:
    bucket = new_bucket(moto, lock=True)
    bucket.lock_by_default(10, "GOVERNANCE")
    storage = bucket.storage()
    storage.save(PACK, b"pack")
    storage.save(LOCK, b"lock")
    known = asked(storage).lock_of(PACK)
    assert known is not None
    assert known.mode is LockMode.GOVERNANCE
    assert near(known.until, datetime.now(UTC) + timedelta(days=10))
    storage.delete(LOCK)  # its version stays locked, and nobody sees it
    assert list(storage.list("locks")) == []
    keeping = asked(storage).keeping()
    assert keeping.object_lock == ObjectLock(timedelta(days=10), LockMode.GOVERNANCE)


def test_a_bucket_that_is_made_for_locks_has_them(moto: S3Server) -> None:
    storage = Bucket(moto, "made-for-locks").storage(object_lock=MONTH)
    storage.create()
    storage.save(PACK, b"pack")
    keeping = asked(storage).keeping()
    assert (keeping.versions, keeping.lockable, keeping.object_lock) == (True, True, MONTH)


def test_a_bucket_without_locks_refuses_what_should_be_locked(moto: S3Server) -> None:
    """... rather than taking it unlocked."""
    bucket = new_bucket(moto, versions=True)
    storage = bucket.storage(object_lock=MONTH)
    with pytest.raises(StorageError) as raised:
        storage.create()
    assert "no Object Lock" in str(raised.value)
    assert "object_lock" in raised.value.hint
    with pytest.raises(StorageError):
        storage.save(PACK, b"pack")
    assert bucket.names() == []


def test_what_is_locked_outlives_everybody(moto: S3Server) -> None:
    bucket = new_bucket(moto, lock=True)
    storage = bucket.storage(object_lock=MONTH)
    for name in LOCKED:
        storage.save(name, name.encode())
    storage.save(LOCK, b"lock")
    bucket.wreck()
    erased, kept = bucket.erase()
    assert kept == len(LOCKED)
    assert erased > 0
    for name in LOCKED:
        assert storage.load(name) == name.encode(), "the honest version is the newest again"


def test_a_lock_is_renewed_when_it_ends_too_soon(moto: S3Server) -> None:
    bucket = new_bucket(moto, lock=True)
    storage = bucket.storage(object_lock=MONTH)
    storage.save(PACK, b"pack")
    now, locks = datetime.now(UTC), asked(storage)
    until = now + timedelta(days=60)
    assert not locks.renew(PACK, MONTH, least=now + timedelta(days=15), until=until)
    assert near(bucket.head(PACK)["ObjectLockRetainUntilDate"], now + MONTH.period)
    assert locks.renew(PACK, MONTH, least=now + timedelta(days=45), until=until)
    assert near(bucket.head(PACK)["ObjectLockRetainUntilDate"], until)
    assert len(bucket.versions()) == 1, "nothing was stored anew"


def test_a_lock_that_runs_keeps_its_mode(moto: S3Server) -> None:
    bucket = new_bucket(moto, lock=True)
    governed = ObjectLock(timedelta(days=1), LockMode.GOVERNANCE)
    bucket.storage(object_lock=governed).save(PACK, b"pack")
    bucket.storage().save(INDEX, b"never locked")
    now, locks = datetime.now(UTC), asked(bucket.storage(object_lock=MONTH))
    for name, mode in ((PACK, "GOVERNANCE"), (INDEX, "COMPLIANCE")):
        assert locks.renew(name, MONTH, least=now + MONTH.period / 2, until=now + MONTH.period)
        head = bucket.head(name)
        assert head["ObjectLockMode"] == mode
        assert near(head["ObjectLockRetainUntilDate"], now + MONTH.period)


def test_what_is_gone_cannot_be_renewed(moto: S3Server) -> None:
    locks = asked(new_bucket(moto, lock=True).storage(object_lock=MONTH))
    now = datetime.now(UTC)
    for ask in (
        lambda: locks.renew(PACK, MONTH, least=now, until=now + MONTH.period),
        lambda: locks.lock_of(PACK),
    ):
        with pytest.raises(StorageError) as raised:
            ask()
        assert raised.value.code == "store-missing"


def test_what_may_pass_is_waited_out(moto: S3Server) -> None:
    bucket = new_bucket(moto, lock=True)
    bucket.storage(object_lock=MONTH).save(PACK, b"pack")
    port = int(moto.url.rpartition(":")[2])
    with cutting_proxy(port) as proxy:
        away = dataclasses.replace(moto, url=f"http://127.0.0.1:{proxy.port}")
        pauses: list[float] = []
        plain = dataclasses.replace(bucket, server=away).storage(object_lock=MONTH)
        storage = RetryingStorage(plain, sleep=pauses.append)
        now = datetime.now(UTC)
        for ask in (
            lambda: asked(storage).keeping().object_lock == MONTH,
            lambda: asked(storage).reach().removes,
            lambda: asked(storage).lock_of(PACK),
            lambda: asked(storage).renew(
                PACK, MONTH, least=now + 2 * MONTH.period, until=now + 3 * MONTH.period
            ),
        ):
            pauses.clear()
            proxy.cut_all()
            proxy.behave(cut_after_sent=20, cuts=2)
            assert ask()
            assert len(pauses) >= 2
    assert near(bucket.head(PACK)["ObjectLockRetainUntilDate"], now + 3 * MONTH.period)


# What a bucket says of itself


def test_the_settings_of_buckets_are_read(moto: S3Server) -> None:
    plain = new_bucket(moto)
    assert asked(plain.storage()).keeping() == Keeping(versions=False)
    assert asked(plain.storage()).keeping().frees is True
    kept = new_bucket(moto, versions=True)
    assert asked(kept.storage()).keeping() == Keeping(versions=True)
    kept.client.put_bucket_lifecycle_configuration(
        Bucket=kept.name,
        LifecycleConfiguration={"Rules": [_ending(90), _ending(40, "deep/"), _ending(1, "other/")]},
    )
    assert asked(kept.storage()).keeping().versions_end_after == timedelta(days=40)
    kept.client.put_bucket_versioning(
        Bucket=kept.name, VersioningConfiguration={"Status": "Suspended"}
    )
    suspended = asked(kept.storage()).keeping()
    assert (suspended.versions, suspended.suspended, suspended.frees) == (False, True, False)


def _ending(days: int, prefix: str = "") -> dict[str, Any]:
    return {
        "ID": f"after {days}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
    }


def test_a_store_that_knows_nothing_of_that_kind_is_asked_in_vain(tmp_path: Path) -> None:
    with rclone_s3(tmp_path) as server:
        storage = Bucket(server, "plain").storage()
        storage.create()
        with contextlib.closing(storage):
            keeping = asked(storage).keeping()
            assert keeping.versions in (False, None)
            assert keeping.object_lock is None
            assert asked(storage).reach().removes is True


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, S3Server]]:
    rights = {
        "owner": ALL_RIGHTS,
        "backup": BACKUP_RIGHTS,
        "pruner": PRUNE_RIGHTS,
        "blind": tuple(one for one in BACKUP_RIGHTS if "Versioning" not in one[0]),
    }
    with moto_with_users(tmp_path_factory.mktemp("users"), **rights) as seen:
        yield seen


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("owner", Reach(removes=True, replaces=True, erases=True)),
        ("pruner", Reach(removes=True, replaces=True, erases=False)),
        ("backup", Reach(removes=False, replaces=True, erases=False)),
    ],
)
def test_what_credentials_may_do_is_found_by_trying(
    users: dict[str, S3Server], user: str, expected: Reach
) -> None:
    bucket = new_bucket(users["owner"], versions=True)
    owned = bucket.storage()
    owned.save(PACK, b"pack")
    seen = dataclasses.replace(bucket, server=users[user])
    assert asked(seen.storage()).reach() == expected
    assert owned.load(PACK) == b"pack"
    assert bucket.names() == [PACK]


def test_what_may_not_be_read_is_told_as_unknown(users: dict[str, S3Server]) -> None:
    bucket = new_bucket(users["owner"], versions=True)
    seen = dataclasses.replace(bucket, server=users["blind"])
    keeping = asked(seen.storage()).keeping()
    assert keeping.versions is None
    assert keeping.frees is None
    assert "versions" in keeping.unread


@pytest.mark.parametrize("append_only", [False, True])
def test_a_rest_server_shows_what_it_refuses(tmp_path: Path, append_only: bool) -> None:
    with (
        rclone_rest(tmp_path, append_only=append_only) as server,
        contextlib.closing(RestStorage(server.location(), server.access)) as plain,
    ):
        storage = RetryingStorage(plain)
        storage.create()
        storage.save(PACK, b"pack")
        storage.save(LOCK, b"lock")
        expected = Reach(removes=not append_only, replaces=not append_only, erases=None)
        assert asked(storage).reach(LOCK) == expected
        assert asked(storage).reach().replaces is None, "nothing to try it by"
        assert storage.load(LOCK) == b"lock"
        storage.delete(LOCK)  # also where nothing else may go
        assert list(storage.list("locks")) == []
        assert storage.load(PACK) == b"pack"


# As of a time


def between() -> datetime:
    """A moment that lies a whole second after all before, and before all after: stores tell no
    more than seconds."""
    import time

    time.sleep(1.2)
    moment = datetime.now(UTC)
    time.sleep(1.2)
    return moment


def test_a_bucket_is_seen_as_it_was(moto: S3Server) -> None:
    bucket = new_bucket(moto, versions=True)
    storage = bucket.storage()
    kept = {PACK: b"pack", INDEX: b"index", "config": b"config"}
    for name, content in kept.items():
        storage.save(name, content)
    storage.save("snapshots/" + "0" * 64, b"forgotten on purpose")
    storage.delete("snapshots/" + "0" * 64)
    storage.save(LOCK, b"held at that time")
    moment = between()
    bucket.wreck()
    storage.save("snapshots/" + "f" * 64, b"planted")
    past = S3PastStorage(bucket.storage(), moment)
    for name, content in kept.items():
        assert past.load(name) == content
        assert past.size(name) == len(content)
    assert past.load(PACK, 1, 2) == b"ac"
    assert [(one.name, one.size_bytes) for one in past.list("index")] == [(INDEX, 5)]
    assert [one.name for one in past.list("data")] == [PACK]
    assert list(past.list("snapshots")) == []
    assert list(past.list("locks")) == [], "nobody who held a lock then is in the way"
    with pytest.raises(StorageError) as raised:
        past.load("snapshots/" + "f" * 64)
    assert raised.value.code == "store-missing"


def test_a_past_goes_beyond_one_page(moto: S3Server) -> None:
    """S3 gives a thousand versions at a time."""
    bucket = new_bucket(moto, versions=True)
    storage = bucket.storage()
    names = [f"index/{number:064x}" for number in range(1_010)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: storage.save(name, name.encode()), names))
    moment = between()
    for name in (names[0], names[500], names[-1]):
        storage.delete(name)
    assert len(list(storage.list("index"))) == 1_007
    past = S3PastStorage(bucket.storage(), moment)
    assert sorted(one.name for one in past.list("index")) == names
    assert past.load(names[-1]) == names[-1].encode()


def test_the_past_cannot_be_changed(moto: S3Server) -> None:
    bucket = new_bucket(moto, versions=True)
    past = S3PastStorage(bucket.storage(), datetime.now(UTC))
    for change in (past.create, lambda: past.save(PACK, b"x"), lambda: past.delete(PACK)):
        with pytest.raises(StorageError) as raised:
            change()
        assert raised.value.code == "store-refused"
    assert bucket.versions() == []
    assert bucket.versions("DeleteMarkers") == []


def test_a_bucket_without_versions_has_no_past(moto: S3Server) -> None:
    bucket = new_bucket(moto)
    bucket.storage().save(PACK, b"what is left now")
    past = S3PastStorage(bucket.storage(), datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(StorageError) as raised:
        past.load(PACK)
    assert "no versions" in str(raised.value)


def test_only_buckets_have_a_past(moto: S3Server, tmp_path: Path) -> None:
    for location in (str(tmp_path), "rest:http://127.0.0.1:1/x", "sftp:host:/path"):
        with pytest.raises(ConfigError) as raised:
            open_storage(location, as_of=datetime.now(UTC))
        assert raised.value.code == "usage"
    bucket = new_bucket(moto, versions=True)
    bucket.storage().save(PACK, b"pack")
    later = datetime.now(UTC) + timedelta(minutes=1)
    past = open_storage(bucket.location, moto.access, as_of=later)
    assert past.load(PACK) == b"pack"
    past.close()
    assert f"{PREFIX}{PACK}" in {one["Key"] for one in bucket.versions()}
