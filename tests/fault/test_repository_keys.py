"""Keys: whatever fails and whoever else changes them, a password that is known still opens."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.errors import BusyError, ConfigError, IntegrityError, StorageError
from strongroom.repository import Repository, Storage
from strongroom.repository.crypto import encode_key_file, encode_master_key
from strongroom.repository.keys import (
    MOST_KEY_FILES,
    KeyReport,
    add_key,
    change_password,
    remove_key,
    stored_keys,
)
from strongroom.repository.storage import Buffer, LocalStorage, MemoryStorage, StoredFile
from tests.support.failing_storage import FailingStorage, Failure, How, copied
from tests.support.repository_ground import (
    PASSWORD,
    capture,
    key_file,
    names,
    new_repository,
    reopened,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import make_plain_tree

NEW = "another horse, another battery"
THIRD = "a third one"
Change = Callable[[Repository], None]


def to_new(repository: Repository) -> None:
    change_password(repository, NEW, report=KeyReport())


def add_new(repository: Repository) -> None:
    add_key(repository, NEW, report=KeyReport())


def remove_the_other(repository: Repository) -> None:
    (other,) = [one.id for one in stored_keys(repository) if not one.in_use]
    remove_key(repository, other, report=KeyReport())


def opens(storage: Storage, password: str) -> bool:
    try:
        Repository.open(storage, password, name="store")
    except StorageError as error:
        if error.code != "wrong-password":
            raise
        return False
    return True


def restic_opens(store: Path, password: str) -> bool:
    answer = stock_restics()[0].attempt(store, "cat", "config", RESTIC_PASSWORD=password)
    told = answer.stderr.decode()
    assert answer.returncode == 0 or "wrong password or no key found" in told, told
    return answer.returncode == 0


def save_keys(repository: Repository, count: int) -> None:
    """So many more keys, whose passwords are `password 0` and so on."""
    for number in range(count):
        content = encode_key_file(repository.key, f"password {number}", "", "")
        repository.storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)


def with_two_keys() -> Storage:
    repository = new_repository()
    add_new(repository)
    return repository.storage


def without_locks(storage: Storage) -> None:
    for lock in list(storage.list("locks")):  # of a process that is alive: this one
        storage.delete(lock.name)


# The operation, what is there before, and which of the old and the new password may open after.
WHOLE: dict[str, tuple[Change, Callable[[], Storage], set[tuple[bool, bool]]]] = {
    "passwd": (
        to_new,
        lambda: new_repository().storage,
        {(True, False), (True, True), (False, True)},
    ),
    "add": (add_new, lambda: new_repository().storage, {(True, False), (True, True)}),
    "remove": (remove_the_other, with_two_keys, {(True, True), (True, False)}),
}


@pytest.mark.parametrize(
    "failure", [Failure(0), Failure(0, lasting=True, how=How.TORN)], ids=["once", "for ever"]
)
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.usefixtures("quick_locks")
def test_whatever_operation_fails_a_password_opens(
    name: str, failure: Failure, tmp_path: Path
) -> None:
    """Invariant I4. For ever is what a kill at that very operation amounts to."""
    change, begin, allowed = WHOLE[name]
    whole = FailingStorage(begin())
    repository = Repository.open(whole, PASSWORD, name="store")
    whole.fail(None)
    change(repository)
    seen = set()
    for number in range(1, len(whole.operations) + 1):
        path = tmp_path / f"{number}"
        storage = copied(begin(), LocalStorage(path))
        failing = FailingStorage(storage)
        repository = Repository.open(failing, PASSWORD, name="store")
        failing.fail(Failure(number, failure.lasting, failure.how))
        with contextlib.suppress(StorageError):
            change(repository)
        assert failing.failed, f"operation {number} was not reached"
        without_locks(storage)
        after = opens(storage, PASSWORD), opens(storage, NEW)
        assert after in allowed, failing.failed
        assert (restic_opens(path, PASSWORD), restic_opens(path, NEW)) == after, failing.failed
        seen.add(after)
        # What was begun is gone on with.
        if after[0] and after != (name != "passwd", name == "add"):
            change(Repository.open(storage, PASSWORD, name="store"))
        assert (opens(storage, PASSWORD), opens(storage, NEW)) == (
            name != "passwd",
            name != "remove",
        )
    assert len(seen) > 1


def test_a_changed_password_opens_and_the_old_one_does_not(tmp_path: Path) -> None:
    make_plain_tree(tmp_path / "tree", seed=1, files=3)
    repository = new_repository(tmp_path / "store")
    capture(repository, tmp_path / "tree")
    report = KeyReport()
    change_password(repository, NEW, report=report)
    assert report.added == repository.key_id
    assert names(repository.storage, "keys") == [f"keys/{report.added}"]
    assert opens(repository.storage, NEW)
    assert not opens(repository.storage, PASSWORD)
    assert names(repository.storage, "locks") == []
    again = Repository.open(repository.storage, NEW, name="store")
    assert again.key == repository.key
    assert len(again.snapshots().snapshots) == 1


def test_two_at_once_leave_one_password_of_both() -> None:
    """Both opened the repository with the old password; whoever is second finds it gone."""
    repository = new_repository()
    first, second = reopened(repository), reopened(repository)
    change_password(first, NEW, report=KeyReport())
    report = KeyReport()
    with pytest.raises(StorageError, match="somebody changed the password") as raised:
        change_password(second, THIRD, report=report)
    assert raised.value.code == "wrong-password"
    assert (report.added, report.removed) == (None, None)
    assert opens(repository.storage, NEW)
    assert len(names(repository.storage, "keys")) == 1


@pytest.mark.parametrize("number", range(3))
def test_two_threads_at_once_leave_a_password_that_somebody_knows(number: int) -> None:
    repository = new_repository()
    ground = [(reopened(repository), password) for password in (NEW, THIRD)]
    begin = threading.Barrier(len(ground))
    done: list[str] = []
    strange: list[BaseException] = []

    def change(opened: Repository, password: str) -> None:
        begin.wait()
        try:
            change_password(opened, password, report=KeyReport())
            done.append(password)
        except (BusyError, StorageError):
            pass  # the other one was there
        except BaseException as error:
            strange.append(error)

    threads = [threading.Thread(target=change, args=one) for one in ground]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not strange, number
    assert len(done) <= 1
    assert opens(repository.storage, done[0] if done else PASSWORD)
    assert len(names(repository.storage, "keys")) == 1
    assert names(repository.storage, "locks") == []


def test_while_somebody_uses_the_repository_no_key_goes() -> None:
    repository = new_repository()
    add_new(repository)
    lock = reopened(repository).new_lock()
    lock.acquire()
    try:
        with pytest.raises(BusyError):
            to_new(repository)
        with pytest.raises(BusyError):
            remove_the_other(repository)
        add_key(repository, THIRD, report=KeyReport())  # which hurts nobody
    finally:
        lock.release()
    assert len(names(repository.storage, "keys")) == 3


def test_two_who_remove_each_other_s_key_leave_one() -> None:
    repository = new_repository()
    add_new(repository)
    first = reopened(repository)
    second = Repository.open(repository.storage, NEW, name="store")
    remove_the_other(first)
    assert first.key_id is not None
    with pytest.raises(StorageError, match="has been removed since"):
        remove_key(second, first.key_id, report=KeyReport())
    assert opens(repository.storage, PASSWORD)


def test_the_key_in_use_and_the_last_one_stay() -> None:
    repository = new_repository()
    assert repository.key_id is not None
    with pytest.raises(ConfigError, match="opened the repository"):
        remove_key(repository, repository.key_id[:6], report=KeyReport())
    by_master_key = Repository.open_by_master_key(repository.storage, repository.key, name="store")
    with pytest.raises(ConfigError, match="the last key"):
        remove_key(by_master_key, repository.key_id, report=KeyReport())
    # Damaged ones don't count.
    repository.storage.save(f"keys/{'ab' * 32}", b"{}")
    with pytest.raises(ConfigError, match="the last key"):
        remove_key(by_master_key, repository.key_id, report=KeyReport())
    remove_key(by_master_key, "ab" * 10, report=KeyReport())
    assert names(repository.storage, "keys") == [f"keys/{repository.key_id}"]


@pytest.mark.parametrize(
    ("beginning", "message"), [("", "several|no key"), ("zz", "no key has this id")]
)
def test_an_id_must_mean_one_key(beginning: str, message: str) -> None:
    repository = new_repository()
    add_new(repository)
    with pytest.raises(ConfigError, match=message) as raised:
        remove_key(repository, beginning, report=KeyReport())
    assert all(one.id[:12] in raised.value.hint for one in stored_keys(repository))


def test_an_id_that_means_several_keys_is_refused() -> None:
    repository = new_repository()
    for number in ("a", "b"):
        repository.storage.save(f"keys/{'12' * 31}1{number}", b"{}")
    with pytest.raises(ConfigError, match="several keys have ids that begin so"):
        remove_key(repository, "1212", report=KeyReport())


def test_no_more_keys_than_are_tried() -> None:
    repository = new_repository()
    save_keys(repository, MOST_KEY_FILES - 1)
    assert len(stored_keys(repository)) == MOST_KEY_FILES
    for change in (add_new, to_new):
        with pytest.raises(ConfigError, match="no program tries more than 20"):
            change(reopened(repository))
    assert len(stored_keys(repository)) == MOST_KEY_FILES
    assert all(opens(repository.storage, f"password {one}") for one in range(MOST_KEY_FILES - 1))


def test_of_too_many_keys_the_first_are_tried_and_that_is_told() -> None:
    repository = new_repository()
    save_keys(repository, MOST_KEY_FILES + 5)
    with pytest.raises(StorageError, match="none of the first 20 of 26 keys") as raised:
        Repository.open(repository.storage, "another", name="store")
    assert raised.value.code == "wrong-password"


class Racing(MemoryStorage):
    """Somebody adds a key while the last one that fits is being added."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    def list(self, folder: str) -> Iterator[StoredFile]:
        listed = super().list(folder)
        if folder == "keys" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return listed


def test_two_who_add_the_last_key_that_fits_don_t_both() -> None:
    storage = Racing()
    repository = new_repository(storage)
    save_keys(repository, MOST_KEY_FILES - 2)
    storage.meanwhile = lambda: add_new(reopened(repository))
    with pytest.raises(ConfigError, match="no program tries more than"):
        add_key(repository, THIRD, report=KeyReport())
    assert len(stored_keys(repository)) == MOST_KEY_FILES
    assert opens(storage, NEW)
    assert not opens(storage, THIRD)


def test_a_key_that_is_exchanged_while_it_is_looked_for_is_found() -> None:
    storage = Racing()
    repository = new_repository(storage)
    storage.meanwhile = lambda: change_password(repository, NEW, report=KeyReport())
    assert Repository.open(storage, NEW, name="store").key == repository.key


def test_a_new_key_that_does_not_read_back_is_taken_back() -> None:
    """A store that alters what it keeps, or a memory fault: the old password must stay."""

    class Altering(MemoryStorage):
        alters = False

        def save(self, name: str, data: Buffer) -> None:
            altered = self.alters and name.startswith("keys/")
            super().save(name, bytes(data)[:-9] + bytes(9) if altered else data)

    storage = Altering()
    repository = new_repository(storage)
    storage.alters = True
    with pytest.raises(IntegrityError):
        to_new(repository)
    assert names(storage, "keys") == [f"keys/{repository.key_id}"]
    assert opens(storage, PASSWORD)


def test_when_the_old_key_cannot_be_removed_both_open_and_it_is_told() -> None:
    class Keeping(MemoryStorage):
        def delete(self, name: str) -> None:
            if name.startswith("keys/"):
                raise StorageError("only appending is allowed", code="store-refused")
            super().delete(name)

    storage = Keeping()
    repository = new_repository(storage)
    report = KeyReport()
    assert repository.key_id is not None
    with pytest.raises(StorageError, match="and so does the old one") as raised:
        change_password(repository, NEW, report=report)
    assert raised.value.code == "store-refused"
    assert repository.key_id[:8] in raised.value.hint
    assert report.added
    assert report.removed is None
    assert opens(storage, PASSWORD)
    assert opens(storage, NEW)


def test_damaged_key_files_are_named_and_stop_nobody(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    for content in (b"", b"[]", b"\x00" * 90, key_file((b"", b"", b""), kdf="argon2")):
        repository.storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)
    repository.storage.save(f"keys/{'00' * 32}", b"not what the name says")
    opened = reopened(repository)
    keys = stored_keys(opened)
    assert len(keys) == 6
    assert [one.damage for one in keys if one.in_use] == [""]
    assert all(one.damage for one in keys if not one.in_use)
    change_password(opened, NEW, report=KeyReport())
    assert opens(repository.storage, NEW)
    with pytest.raises(IntegrityError) as raised:  # it may be the damaged one's
        Repository.open(repository.storage, PASSWORD, name="store")
    assert raised.value.code == "key-damaged"


def test_strange_times_and_names_are_no_damage() -> None:
    repository = new_repository()
    master = (repository.key.encrypt, repository.key.mac_k, repository.key.mac_r)
    for created in ("yesterday", "", None, 7, "9999-99-99T00:00:00Z"):
        content = key_file(master, THIRD, created=created, username={"a": 1}, hostname=None)
        repository.storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)
    keys = stored_keys(repository)
    assert [one.created_at is None for one in keys] == [False, True, True, True, True, True]
    assert not any(one.damage for one in keys)


# Without any key file


def test_a_repository_without_keys_opens_by_its_master_key_and_gets_one(tmp_path: Path) -> None:
    make_plain_tree(tmp_path / "tree", seed=1, files=3)
    store = tmp_path / "store"
    repository = new_repository(store)
    capture(repository, tmp_path / "tree")
    for name in names(repository.storage, "keys"):
        repository.storage.delete(name)
    with pytest.raises(IntegrityError, match="no password opens") as raised:
        reopened(repository)
    assert "master_key" in raised.value.hint
    assert not restic_opens(store, PASSWORD)
    opened = Repository.open_by_master_key(repository.storage, repository.key, name="store")
    assert opened.key_id is None
    assert stored_keys(opened) == []
    with pytest.raises(ConfigError, match="opened by its master key"):
        to_new(opened)
    add_new(opened)
    assert restic_opens(store, NEW)
    stock_restics()[0].run(store, "check", "--read-data", RESTIC_PASSWORD=NEW)
    assert check_codes_with(opened.storage, NEW) == []


def check_codes_with(storage: Storage, password: str) -> list[str]:
    from strongroom.repository.check import check_repository

    opened = Repository.open(storage, password, name="store")
    return [one.code for one in check_repository(opened, read=list).findings]


def test_another_repository_s_master_key_is_a_wrong_password() -> None:
    repository, other = new_repository(), new_repository()
    with pytest.raises(StorageError, match="another repository's master key") as raised:
        Repository.open_by_master_key(repository.storage, other.key, name="store")
    assert raised.value.code == "wrong-password"
    assert encode_master_key(other.key) not in str(raised.value)
