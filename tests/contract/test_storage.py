"""One suite for every kind of store: a new kind adds a factory here, not tests."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import ConfigError, StorageError
from strongroom.repository import Storage, open_storage
from strongroom.repository.storage import (
    Access,
    LimitedStorage,
    Limits,
    LocalStorage,
    MemoryStorage,
    RetryingStorage,
    StoredFile,
)
from strongroom.repository.storage.rest import RestStorage
from strongroom.repository.storage.s3 import S3Place, S3Storage, parse_s3
from strongroom.repository.storage.sftp import SftpPlace, SftpStorage, parse_sftp
from tests.support.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.store_servers import (
    RestServer,
    S3Server,
    SftpServer,
    moto_s3,
    rclone_rest,
    rclone_s3,
    sftp_server,
)

KINDS = ("local", "memory", "s3", "s3-moto", "rest", "sftp")
# One of each server serves all tests of a worker.
pytestmark = pytest.mark.xdist_group("stores")


class Servers:
    """The servers of this run, each started when the first test asks for it."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._s3: dict[str, S3Server] = {}
        self._rest: RestServer | None = None
        self._sftp: SftpServer | None = None

    def s3(self, kind: str = "s3") -> S3Server:
        if kind not in self._s3:
            start = rclone_s3 if kind == "s3" else moto_s3
            self._s3[kind] = self._stack.enter_context(start(self._made(kind)))
        return self._s3[kind]

    def rest(self) -> RestServer:
        if self._rest is None:
            self._rest = self._stack.enter_context(rclone_rest(self._made("rest")))
        return self._rest

    def sftp(self) -> SftpServer:
        if self._sftp is None:
            self._sftp = self._stack.enter_context(sftp_server(self._made("sftp")))
        return self._sftp

    def _made(self, kind: str) -> Path:
        made = self._directory / kind
        made.mkdir()
        return made

    def storage(self, kind: str, path: Path) -> Storage:
        """A store of this kind that holds nothing yet."""
        match kind:
            case "local":
                return LocalStorage(path / "deep" / "store")
            case "memory":
                return MemoryStorage()
            case "rest":
                return RestStorage(self.rest().location(), self.rest().access)
            case "sftp":
                return SftpStorage(self.sftp().location(), self.sftp().access)
            case _:
                server = self.s3(kind)
                return S3Storage(server.location(), server.access)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Storage]:
    made = servers.storage(request.param, tmp_path)
    made.create()
    yield made
    made.close()


def named(folder: str, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"data/{digest[:2]}/{digest}" if folder == "data" else f"{folder}/{digest}"


def test_what_is_saved_is_loaded(storage: Storage) -> None:
    for folder in ("data", "index", "keys", "locks", "snapshots"):
        for content in (b"", b"x", bytes(range(256)) * 100):
            name = named(folder, content)
            storage.save(name, content)
            assert storage.load(name) == content
            assert storage.size(name) == len(content)
    storage.save("config", b"sealed")
    assert storage.load("config") == b"sealed"


@pytest.mark.parametrize("size", [4095, 4096, 1 << 20, (3 << 20) + 4096, (3 << 20) + 5])
def test_buffers_of_any_kind_and_size_are_saved_whole(storage: Storage, size: int) -> None:
    """Page-aligned ones may take another way to the disk."""
    content = hashlib.shake_256(b"%d" % size).digest(size)
    with mmap.mmap(-1, size + 4096) as aligned:
        aligned[:size] = content
        with memoryview(aligned) as whole, whole[:size] as part:
            storage.save(named("data", content), part)
    assert storage.load(named("data", content)) == content
    storage.save("index/" + "1" * 64, bytearray(content))
    assert storage.load("index/" + "1" * 64) == content


def test_parts_are_loaded(storage: Storage) -> None:
    content = bytes(range(256)) * 64
    name = named("data", content)
    storage.save(name, content)
    for offset, length in ((0, 0), (0, 1), (100, 300), (len(content) - 1, 1), (0, len(content))):
        assert storage.load(name, offset, length) == content[offset : offset + length]
    assert storage.load(name, 300) == content[300:]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (10, 1), (11, 0), (1 << 40, 5)])
def test_a_part_beyond_the_end_is_an_error(storage: Storage, offset: int, length: int) -> None:
    storage.save("index/" + "1" * 64, b"0123456789")
    if length:
        with pytest.raises(StorageError):
            storage.load("index/" + "1" * 64, offset, length)
    else:
        assert storage.load("index/" + "1" * 64, offset, length) == b""


@pytest.mark.parametrize("name", ["config", "index/" + "a" * 64, "data/aa/" + "a" * 64])
def test_what_is_not_there_is_said_to_be_missing(storage: Storage, name: str) -> None:
    for ask in (storage.load, storage.size):
        with pytest.raises(StorageError) as raised:
            ask(name)
        assert raised.value.code == "store-missing"
    storage.delete(name)  # gone is gone


def test_a_listing_has_all_files_with_their_sizes(storage: Storage) -> None:
    expected = {}
    for folder in ("data", "snapshots"):
        for number in range(20):
            content = bytes([number]) * number
            name = named(folder, content + folder.encode())
            storage.save(name, content)
            expected[name] = number
    storage.save("config", b"not in any folder")
    for folder in ("data", "snapshots"):
        listed = list(storage.list(folder))
        assert all(isinstance(one, StoredFile) for one in listed)
        assert {one.name: one.size_bytes for one in listed} == {
            name: size for name, size in expected.items() if name.startswith(folder)
        }
    assert list(storage.list("locks")) == []


def test_deleting_removes_one_file(storage: Storage) -> None:
    first, second = named("locks", b"1"), named("locks", b"2")
    storage.save(first, b"1")
    storage.save(second, b"2")
    storage.delete(first)
    assert [one.name for one in storage.list("locks")] == [second]
    with pytest.raises(StorageError):
        storage.load(first)


def test_making_it_twice_harms_nothing(storage: Storage) -> None:
    storage.save("config", b"kept")
    storage.create()
    assert storage.load("config") == b"kept"


def test_it_serves_several_threads(storage: Storage) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            content = b"%d %d" % (number, turn)
            name = named("data", content)
            storage.save(name, content)
            assert storage.load(name) == content
            list(storage.list("data"))
            if turn % 2:
                storage.delete(name)

    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(list(storage.list("data"))) == 40


def test_its_location_shows_no_password(storage: Storage) -> None:
    assert storage.location


def test_a_store_tells_how_much_room_it_has_or_nothing(
    storage: Storage, request: pytest.FixtureRequest
) -> None:
    storage.save(named("data", b"x"), b"x")
    for one in (storage, RetryingStorage(storage), LimitedStorage(storage, Limits())):
        room = one.room()
        if request.node.callspec.params["storage"] in ("local", "sftp"):
            assert room is not None
            assert 0 <= room.free_bytes <= room.total_bytes
            assert room.total_bytes > 1 << 20
        else:
            assert room is None


def test_the_room_of_a_place_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        LocalStorage(tmp_path / "gone").room()
    assert caught.value.code == "store-missing"


def test_a_listing_goes_beyond_one_page(storage: Storage) -> None:
    """S3 gives a thousand names at a time."""
    for number in range(1_010):
        storage.save(f"locks/{number:064x}", b"x")
    assert {one.name for one in storage.list("locks")} == {f"locks/{n:064x}" for n in range(1_010)}


def test_a_listing_leaves_out_what_does_not_belong(storage: Storage) -> None:
    storage.save("index/" + "1" * 64, b"index")
    storage.save("snapshots/" + "2" * 64, b"snapshot")
    assert [one.name for one in storage.list("index")] == ["index/" + "1" * 64]


def test_saving_a_file_again_leaves_it_whole(storage: Storage) -> None:
    """What was tried twice because an answer was lost."""
    content = b"the same bytes"
    name = named("data", content)
    storage.save(name, content)
    storage.save(name, content)
    assert storage.load(name) == content
    assert len(list(storage.list("data"))) == 1


# Stores elsewhere: what can go wrong on the way

REMOTE = [kind for kind in KINDS if kind not in ("local", "memory")]


class Reached:
    """One place in a store behind a proxy."""

    def __init__(self, kind: str, servers: Servers, proxy: CuttingProxy, port: int) -> None:
        self.kind, self.proxy = kind, proxy
        self._made: list[Storage] = []
        self.access, location = self._place(kind, servers)
        self._location = location.replace(f"127.0.0.1:{port}", f"127.0.0.1:{proxy.port}")
        if kind == "sftp":
            known = Path(self.access.known_hosts or "")
            line = known.read_text().splitlines()[0].replace(str(port), str(proxy.port))
            known.write_text(f"{known.read_text()}{line}\n")

    @staticmethod
    def _place(kind: str, servers: Servers) -> tuple[Access, str]:
        if kind == "sftp":
            return servers.sftp().access, servers.sftp().location()
        server = servers.rest() if kind == "rest" else servers.s3(kind)
        return server.access, server.location()

    def storage(self, access: Access | None = None, *, timeout_seconds: float = 20.0) -> Storage:
        """The store by a connection of its own."""
        login, location = access or self.access, self._location
        made: Storage
        match self.kind:
            case "rest":
                made = RestStorage(location, login, timeout_seconds=timeout_seconds)
            case "sftp":
                made = SftpStorage(location, login, timeout_seconds=timeout_seconds)
            case _:
                made = S3Storage(location, login, timeout_seconds=timeout_seconds)
        self._made.append(made)
        return made

    def close(self) -> None:
        for one in self._made:
            one.close()


@pytest.fixture(params=REMOTE)
def reached(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Reached]:
    kind = str(request.param)
    if kind == "sftp":
        port = servers.sftp().port
    else:
        server = servers.rest() if kind == "rest" else servers.s3(kind)
        port = int(server.url.rpartition(":")[2])
    with cutting_proxy(port) as proxy:
        made = Reached(kind, servers, proxy, port)
        yield made
        made.close()


BIG = hashlib.shake_256(b"big").digest(3_000_000)


@pytest.mark.parametrize("sent", [20_000, 500_000, 2_900_000])
def test_half_a_file_is_never_visible(reached: Reached, sent: int) -> None:
    name = named("data", BIG)
    before = reached.storage()
    before.create()
    reached.proxy.behave(cut_after_sent=sent)
    with pytest.raises(StorageError) as raised:
        reached.storage().save(name, BIG)
    assert raised.value.code == "store-unreachable"
    reached.proxy.behave(cuts=0)
    after = reached.storage()
    assert list(after.list("data")) == []
    with pytest.raises(StorageError) as missing:
        after.load(name)
    assert missing.value.code == "store-missing"
    after.save(name, BIG)
    assert after.load(name) == BIG


@pytest.mark.parametrize("received", [20_000, 2_000_000])
def test_half_an_answer_is_no_answer(reached: Reached, received: int) -> None:
    name = named("data", BIG)
    before = reached.storage()
    before.create()
    before.save(name, BIG)
    reached.proxy.behave(cut_after_received=received)
    for offset, length in ((0, None), (100, 2_900_000)):
        with pytest.raises(StorageError) as raised:
            reached.storage().load(name, offset, length)
        assert raised.value.code == "store-unreachable"


def test_silence_ends(reached: Reached) -> None:
    reached.storage().create()
    reached.proxy.behave(silent=True)
    silent = reached.storage(timeout_seconds=0.7)
    begun = time.monotonic()
    with pytest.raises(StorageError) as raised:
        silent.save(named("data", b"x"), b"x")
    assert raised.value.code == "store-unreachable"
    assert time.monotonic() - begun < 10


def test_nobody_there_is_said_so(reached: Reached) -> None:
    reached.proxy.close()
    with pytest.raises(StorageError) as raised:
        reached.storage().load("config")
    assert raised.value.code == "store-unreachable"


def test_a_lost_connection_is_made_anew(reached: Reached) -> None:
    storage = reached.storage()
    storage.create()
    storage.save("config", b"sealed")
    reached.proxy.cut_all()
    with contextlib.suppress(StorageError):  # may be noticed now
        storage.load("config")
    assert storage.load("config") == b"sealed"


def test_what_may_pass_is_waited_out(reached: Reached) -> None:
    plain = reached.storage()
    plain.create()
    cuts = reached.proxy.behave(cut_after_sent=50_000, cuts=2)
    pauses: list[float] = []
    patient = RetryingStorage(reached.storage(), sleep=pauses.append)
    patient.save(named("data", BIG), BIG)
    assert cuts.seen > 2
    assert len(pauses) == 2
    assert patient.load(named("data", BIG)) == BIG


def test_a_wrong_login_is_refused_and_not_tried_again(reached: Reached) -> None:
    if reached.kind == "s3-moto":
        wrong = None  # it lets everybody in
    elif reached.kind == "sftp":
        other = Path(reached.access.identity or "").with_name("other_key")
        if not other.exists():
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)]
            subprocess.run(keygen, check=True)
        wrong = dataclasses.replace(reached.access, identity=str(other))
    else:
        wrong = dataclasses.replace(reached.access, secret_key="wrong", password="wrong")
    if wrong is None:
        return
    pauses: list[float] = []
    storage = RetryingStorage(reached.storage(wrong), sleep=pauses.append)
    with pytest.raises(StorageError) as raised:
        storage.load("config")
    assert raised.value.code == "store-refused"
    assert pauses == []
    assert "wrong" not in str(raised.value)


def test_a_host_whose_key_is_not_known_is_not_talked_to(servers: Servers, tmp_path: Path) -> None:
    server = servers.sftp()
    (tmp_path / "known_hosts").write_text("")
    access = dataclasses.replace(server.access, known_hosts=str(tmp_path / "known_hosts"))
    with (
        contextlib.closing(SftpStorage(server.location(), access)) as storage,
        pytest.raises(StorageError) as raised,
    ):
        storage.load("config")
    assert raised.value.code == "store-refused"
    assert "key" in raised.value.hint


@pytest.mark.parametrize("name", ["identity", "known_hosts"])
def test_a_file_for_the_login_that_is_not_there_is_not_waited_for(
    servers: Servers, tmp_path: Path, name: str
) -> None:
    server = servers.sftp()
    access = dataclasses.replace(server.access, **{name: str(tmp_path / "gone")})
    pauses: list[float] = []
    with contextlib.closing(SftpStorage(server.location(), access)) as inner:
        storage = RetryingStorage(inner, sleep=pauses.append)
        with pytest.raises(StorageError) as raised:
            storage.load("config")
    assert (raised.value.code, pauses) == ("store-refused", [])
    assert str(tmp_path / "gone") in raised.value.message
    assert name in raised.value.hint


def test_a_bucket_that_is_not_there_is_missing(servers: Servers) -> None:
    server = servers.s3()
    with (
        contextlib.closing(S3Storage(server.location("nowhere"), server.access)) as storage,
        pytest.raises(StorageError) as raised,
    ):
        storage.load("config")
    assert raised.value.code == "store-missing"


def test_a_server_that_keeps_everything_lets_nothing_be_removed(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(rclone_rest(tmp_path, append_only=True))
        storage = stack.enter_context(
            contextlib.closing(RestStorage(server.location(), server.access))
        )
        storage.create()
        name = named("data", b"kept")
        storage.save(name, b"kept")
        storage.save(name, b"kept")  # an answer was lost: the file is there, and whole
        with pytest.raises(StorageError) as raised:
            storage.delete(name)
        assert raised.value.code == "store-refused"
        with pytest.raises(StorageError):
            storage.save(name, b"other")
        assert storage.load(name) == b"kept"


# Local stores only: what lies on the disk


def test_a_local_store_leaves_whole_read_only_files(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    name = named("data", b"content")
    storage.save(name, b"content")
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [name[-64:]]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_local_store_ignores_what_is_not_its_own(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    storage.save("data/aa/" + "a" * 64, b"pack")
    (tmp_path / "data/aa" / ("b" * 64 + "-tmp-0123")).write_bytes(b"half")
    (tmp_path / "data/lost+found").mkdir()
    (tmp_path / "data/stray").write_bytes(b"")
    (tmp_path / "snapshots/README").write_bytes(b"")
    (tmp_path / "snapshots" / ("A" * 64)).write_bytes(b"")
    assert [one.name for one in storage.list("data")] == ["data/aa/" + "a" * 64]
    assert list(storage.list("snapshots")) == []


def test_a_file_that_vanishes_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    for digit in "abc":
        storage.save("locks/" + digit * 64, b"lock")
    listing = storage.list("locks")
    first = next(listing)
    for path in (tmp_path / "locks").iterdir():
        path.unlink()
    assert [first, *listing] == [first]


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    (tmp_path / "index" / ("a" * 64)).mkdir()
    with pytest.raises(StorageError) as raised:
        storage.save("index/" + "a" * 64, b"content")
    assert raised.value.code == "store-failed"
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["a" * 64]


def test_locations_are_paths_or_a_clear_error(tmp_path: Path) -> None:
    assert open_storage(str(tmp_path)).location == str(tmp_path)
    assert open_storage(f"local:{tmp_path}").location == str(tmp_path)
    assert open_storage("~/store").location == str(Path("~/store").expanduser())
    assert open_storage("with:colon").location == os.path.abspath("with:colon")  # noqa: PTH100
    for location in (
        "s3:https://key:secret@host/bucket",
        "rest:https://user:secret@host/",
        "rest:https://secret@host/",
        "sftp://user:secret@host//path",
        "b2:bucket",
        "s3:host",
        "sftp:host",
        "rest:ftp://host/",
    ):
        with pytest.raises(ConfigError) as raised:
            open_storage(location)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3:s3.amazonaws.com/bucket", S3Place(None, "bucket", "")),
        ("s3:https://h:9000/b/p/q/", S3Place("https://h:9000", "b", "p/q/")),
        ("s3:h/b/p", S3Place("https://h", "b", "p/")),
    ],
)
def test_places_in_s3(location: str, expected: S3Place) -> None:
    assert parse_s3(location) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("sftp:backup@h:/srv/tms", SftpPlace("h", "backup", None, "/srv/tms")),
        ("sftp:h:relative", SftpPlace("h", None, None, "relative")),
        ("sftp://u@h:2222//srv/tms", SftpPlace("h", "u", 2222, "/srv/tms")),
        ("sftp://h/relative", SftpPlace("h", None, None, "relative")),
    ],
)
def test_places_on_hosts(location: str, expected: SftpPlace) -> None:
    assert parse_sftp(location) == expected
