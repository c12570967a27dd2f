"""Keys between stock restic and us, in both directions: passwords of either open for both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StorageError
from strongroom.repository import Repository, decode_master_key, open_storage
from strongroom.repository.crypto import MasterKey, encode_master_key
from strongroom.repository.keys import (
    KeyReport,
    add_key,
    change_password,
    remove_key,
    stored_keys,
)
from tests.support.repository_ground import PASSWORD, names, new_repository, reopened
from tests.support.restic import Restic, stock_restics

NEW = "another horse, another battery"


@pytest.fixture(params=stock_restics(), ids=str)
def restic(request: pytest.FixtureRequest) -> Restic:
    found = request.param
    assert isinstance(found, Restic)
    return found


def listed(restic: Restic, store: Path, password: str = PASSWORD) -> list[dict[str, Any]]:
    # Any: JSON values
    printed = restic.run(store, "key", "list", "--json", RESTIC_PASSWORD=password)
    keys: list[dict[str, Any]] = json.loads(printed)
    return keys


def opens(store: Path, password: str) -> bool:
    try:
        Repository.open(open_storage(str(store)), password, name="store")
    except StorageError as error:
        if error.code != "wrong-password":
            raise
        return False
    return True


def assert_same_key(one: MasterKey, other: MasterKey) -> None:
    """Alike but for the bits of `r` that Poly1305 ignores, which restic clears."""
    assert (one.encrypt, one.mac_k) == (other.encrypt, other.mac_k)
    clamp = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    numbers = (int.from_bytes(key.mac_r, "little") & clamp for key in (one, other))
    assert len(set(numbers)) == 1


def password_file(folder: Path, password: str) -> Path:
    file = folder / "new password"
    file.write_text(password + "\n")
    return file


def test_restic_opens_with_what_we_added_and_lists_the_same(tmp_path: Path, restic: Restic) -> None:
    store = tmp_path / "store"
    repository = new_repository(store)
    report = KeyReport()
    add_key(repository, NEW, report=report)
    ours = {one.id[:8]: one for one in stored_keys(repository)}
    assert len(ours) == 2
    for password in (PASSWORD, NEW):
        theirs = {str(one["id"])[:8]: one for one in listed(restic, store, password)}
        assert theirs.keys() == ours.keys()
        (current,) = [one for one in theirs if theirs[one]["current"]]
        mine = Repository.open(repository.storage, password, name="store").key_id
        assert mine is not None
        assert mine.startswith(current)
    added = str(report.added)[:8]
    assert theirs[added]["userName"] == ours[added].username
    assert theirs[added]["hostName"] == ours[added].hostname
    restic.check(store)


def test_restic_opens_with_what_we_changed_and_not_with_the_old(
    tmp_path: Path, restic: Restic
) -> None:
    store = tmp_path / "store"
    repository = new_repository(store)
    change_password(repository, NEW, report=KeyReport())
    assert len(listed(restic, store, NEW)) == 1
    refused = restic.attempt(store, "snapshots")
    assert refused.returncode != 0
    assert b"wrong password" in refused.stderr


def test_we_open_with_what_restic_added_and_remove_it(tmp_path: Path, restic: Restic) -> None:
    store = tmp_path / "store"
    repository = new_repository(store)
    restic.run(store, "key", "add", "--new-password-file", password_file(tmp_path, NEW))
    opened = Repository.open(repository.storage, NEW, name="store")
    assert_same_key(opened.key, repository.key)
    (theirs,) = [one for one in stored_keys(opened) if one.in_use]
    assert theirs.created_at is not None
    assert theirs.username
    assert theirs.hostname
    remove_key(reopened(repository), theirs.id[:8], report=KeyReport())
    assert not opens(store, NEW)
    assert len(listed(restic, store)) == 1


def test_we_open_with_what_restic_changed(tmp_path: Path, restic: Restic) -> None:
    store = tmp_path / "store"
    repository = new_repository(store)
    add_key(repository, "a second one", report=KeyReport())
    restic.run(store, "key", "passwd", "--new-password-file", password_file(tmp_path, NEW))
    assert opens(store, NEW)
    assert opens(store, "a second one")
    assert not opens(store, PASSWORD)
    # And restic removes what we added.
    (ours,) = [one for one in listed(restic, store, NEW) if not one["current"]]
    restic.run(store, "key", "remove", ours["id"], RESTIC_PASSWORD=NEW)
    assert len(names(repository.storage, "keys")) == 1


def test_our_exclusive_lock_stops_restic_and_theirs_us(tmp_path: Path, restic: Restic) -> None:
    store = tmp_path / "store"
    repository = new_repository(store)
    file = password_file(tmp_path, NEW)
    with repository.locked([], exclusive=True):
        answer = restic.attempt(store, "key", "add", "--new-password-file", file)
        assert answer.returncode != 0
        assert b"locked" in answer.stderr
    with repository.locked([]):
        restic.run(store, "key", "add", "--new-password-file", file)
        answer = restic.attempt(store, "key", "passwd", "--new-password-file", file)
        assert answer.returncode != 0
        assert b"locked" in answer.stderr


def test_the_master_key_is_the_one_that_restic_prints(tmp_path: Path, restic: Restic) -> None:
    repository = new_repository(tmp_path)
    theirs = restic.run(tmp_path, "cat", "masterkey")
    ours = encode_master_key(repository.key)
    assert json.loads(ours).keys() == json.loads(theirs).keys()
    assert decode_master_key(ours, "") == repository.key
    assert_same_key(decode_master_key(theirs, ""), repository.key)
    # And what restic prints opens the repository, too.
    key = decode_master_key(theirs, "")
    again = Repository.open_by_master_key(repository.storage, key, name="store")
    assert again.id == repository.id
