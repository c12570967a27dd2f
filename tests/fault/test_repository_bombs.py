"""What would take any amount of memory or time is refused, and named, and stops nothing else.

Every case runs in a process that may have little memory: what a bomb unfolds to does not fit.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from strongroom.repository import Committed
from strongroom.repository.index import BlobIndex
from strongroom.repository.pack import BlobType, PackEntry, finish_pack
from strongroom.repository.repository import pack_name
from strongroom.repository.storage import LocalStorage
from tests.support.repository_ground import (
    PASSWORD,
    capture,
    key_file,
    names,
    new_repository,
    restore,
)
from tests.support.tree_ground import make_plain_tree

# What a step of a child may take beyond what Python and our libraries have.
MEMORY_BYTES = 256 << 20
LARGE_BYTES = 5 << 30
UNFOLDED_BYTES = 600 << 20

CHILD = """
import json, os, resource, sys
from strongroom.errors import StrongroomError
from strongroom.repository import Repository
from strongroom.repository.check import check_repository
from strongroom.repository.pack import BlobType
from strongroom.repository.storage import LocalStorage
from pathlib import Path

password, store, memory, step, wanted = json.load(sys.stdin)
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.RLIM_INFINITY))
storage = LocalStorage(Path(store))
told = []
try:
    repository = Repository.open(storage, password, name="store")
    match step:
        case "snapshots":
            listed = repository.snapshots()
            told = [one.subject for one in listed.findings]
            assert len(listed.snapshots) == 1
        case "index":
            told = [one.subject for one in repository.index_findings]
            assert len(repository.index) > 1
        case "blob":
            repository.read_blob(BlobType.DATA, bytes.fromhex(wanted))
        case "lock":
            repository.new_lock().acquire()
        case "check":
            found = check_repository(repository, read=list).findings
            told = [one.subject for one in found if one.code == "pack-size"]
except StrongroomError as error:
    told = [f"{error.code} {error}"]
print(json.dumps(told))
"""


class Ground:
    """A repository in a directory with one snapshot, into which anything can be put."""

    def __init__(self, base: Path) -> None:
        self.store = base / "store"
        make_plain_tree(base / "tree", seed=1, files=3)
        self.repository = new_repository(self.store)
        self.committed, _ = capture(self.repository, base / "tree")
        self.storage = LocalStorage(self.store)

    def put(self, folder: str, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        name = pack_name(name) if folder == "data" else f"{folder}/{name}"
        self.storage.save(name, content)
        return name

    def seal(self, plain: bytes) -> bytes:
        return bytes(self.repository.codec().seal(plain))

    def put_large(self, name: str) -> str:
        """A file of which nothing is on the disk but its size."""
        path = self.store / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        path.chmod(0o600)
        os.truncate(path, LARGE_BYTES)
        return name

    def put_blob(self, sealed: bytes, length: int, plain_length: int) -> str:
        """A pack with a blob, of which the index says something else; the blob's id."""
        blob_id = os.urandom(32)
        entry = PackEntry(BlobType.DATA, blob_id, 0, len(sealed), plain_length)
        pack = self.put("data", sealed + finish_pack(self.repository.codec(), [entry]))[-64:]
        blob = {"id": blob_id.hex(), "type": "data", "offset": 0, "length": length,
                "uncompressed_length": plain_length}  # fmt: skip
        packs = [{"id": pack, "blobs": [blob]}]
        self.put("index", self.seal(json.dumps({"packs": packs}).encode()))
        return blob_id.hex()

    def told(self, step: str, wanted: str = "") -> list[str]:
        """What a process says that has little memory."""
        given = json.dumps([PASSWORD, str(self.store), MEMORY_BYTES, step, wanted])
        done = subprocess.run(
            [sys.executable, "-c", CHILD], input=given, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert isinstance(told, list)
        return told


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def bomb(*, with_size: bool = True) -> bytes:
    """A small frame of a document that is almost all spaces."""
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=with_size)
    packer = compressor.compressobj(size=UNFOLDED_BYTES if with_size else -1)
    parts = [packer.compress(b'{"packs":[' + bytes([32]) * ((1 << 20) - 10))]
    parts += [packer.compress(bytes([32]) * (1 << 20)) for _ in range((UNFOLDED_BYTES >> 20) - 1)]
    frame = b"".join(parts) + packer.flush()
    assert len(frame) < UNFOLDED_BYTES // 1000
    return frame


@pytest.mark.parametrize("with_size", [True, False], ids=["declared", "not declared"])
@pytest.mark.parametrize("folder", ["snapshots", "index"])
def test_a_file_that_unfolds_to_any_size(ground: Ground, folder: str, with_size: bool) -> None:
    name = ground.put(folder, ground.seal(b"\x02" + bomb(with_size=with_size)))
    assert ground.told(folder) == [f"store: {name}"]


@pytest.mark.parametrize("folder", ["snapshots", "index"])
def test_a_file_that_is_larger_than_memory(ground: Ground, folder: str) -> None:
    name = ground.put_large(f"{folder}/{'5' * 64}")
    assert ground.told(folder) == [f"store: {name}"]


def test_a_lock_that_is_larger_than_memory(ground: Ground) -> None:
    """Like any that cannot be read: somebody unknown holds it."""
    ground.put_large(f"locks/{'5' * 64}")
    (told,) = ground.told("lock")
    assert told.startswith("busy store: a lock here cannot be read")


def test_a_config_and_a_key_that_are_larger_than_memory(ground: Ground) -> None:
    key = ground.put_large(f"keys/{'0' * 64}")
    assert ground.told("snapshots") == []  # another key opens
    (ground.store / names(ground.storage, "keys")[1]).unlink()
    assert ground.told("snapshots") == [f"key-damaged {key}: too large to be a key"]
    ground.put_large("config")
    (told,) = ground.told("snapshots")
    assert told == f"data-damaged {ground.store}: config: too large to be a repository config"


@pytest.mark.parametrize(
    ("n", "r", "p"),
    [(1 << 40, 8, 1), (1 << 24, 8, 1), (2, 1 << 29, 1), (2, 1, 1 << 29), (1 << 20, 8, 1 << 10),
     (1 << 16, 1, 1), (1 << 20, 8, 1)],
)  # fmt: skip
def test_a_key_that_asks_for_any_memory_or_work(ground: Ground, n: int, r: int, p: int) -> None:
    """The last one is possible elsewhere, and more than this process may have."""
    (whole,) = names(ground.storage, "keys")
    ground.storage.delete(whole)
    key = ground.repository.key
    name = ground.put("keys", key_file((key.encrypt, key.mac_k, key.mac_r), N=n, r=r, p=p))
    (told,) = ground.told("snapshots")
    assert told.startswith(f"key-damaged {name}: ")


@pytest.mark.parametrize("with_size", [True, False], ids=["declared", "not declared"])
def test_a_blob_that_unfolds_to_more_than_the_index_says(ground: Ground, with_size: bool) -> None:
    sealed = ground.seal(bomb(with_size=with_size))
    wanted = ground.put_blob(sealed, len(sealed), 1000)
    (told,) = ground.told("blob", wanted)
    assert told.startswith("pack-damaged store: data/")


def test_a_blob_that_the_index_calls_larger_than_any(ground: Ground) -> None:
    wanted = ground.put_blob(ground.seal(b"content"), 3 << 30, 1000)
    (told,) = ground.told("blob", wanted)
    assert "a blob of 3221225472 bytes is not plausible" in told


def test_a_pack_that_is_larger_than_the_index_says_is_not_read_whole(ground: Ground) -> None:
    pack = ground.put_large(names(ground.storage, "data")[0])
    assert ground.told("check") == [f"store: {pack[-64:]}"]


def test_what_was_refused_stops_no_restore(ground: Ground, tmp_path: Path) -> None:
    for folder in ("snapshots", "index"):
        ground.put(folder, ground.seal(b"\x02" + bomb()))
    assert restore(ground.repository, Committed("store", ground.committed.snapshot, 0),
                   tmp_path / "out") == []  # fmt: skip


def test_ids_that_somebody_chose_do_not_make_the_index_slow() -> None:
    """All begin with the same bytes; compared one by one they would take minutes."""
    index, begun = BlobIndex(), time.process_time()
    ids = [bytes(24) + number.to_bytes(8, "big") for number in range(40_000)]
    index.add_pack("ab" * 32, [PackEntry(BlobType.DATA, one, 0, 100, None) for one in ids])
    assert all(index.has(BlobType.DATA, one) for one in ids)
    assert time.process_time() - begun < 20
