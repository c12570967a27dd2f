"""The engine's self-test: a repository in memory, written, read back, damaged, found out.

It asks the real engine with the real libraries of this host, and takes under two seconds.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime

from strongroom.errors import IntegrityError
from strongroom.repository import FILES, Node, Repository, SnapshotView, SnapshotWriter
from strongroom.repository.storage import MemoryStorage

_NAME = b"self-test"


def test_engine() -> int:
    """How many bytes made the round trip; IntegrityError when something did not hold."""
    content = os.urandom(3 << 20) + b"Strongroom " * 100_000
    storage = MemoryStorage()
    password = os.urandom(16).hex()
    repository = Repository.create(storage, password, name="self-test")
    with SnapshotWriter([repository]) as writer:
        stored = writer.put_stream([content], FILES)
        node = Node(_NAME, "file", stat.S_IFREG | 0o600, size=stored.size, content=stored.blobs)
        root = writer.put_folder([node])
        writer.commit(root, paths=["/"], tags=["strongroom"], time=datetime.now(UTC))
    reopened = Repository.open(storage, password, name="self-test")
    view = SnapshotView(reopened, reopened.find("latest"))
    if b"".join(view.blocks(b"/" + _NAME)) != content:
        raise _failed("what was read is not what was written")
    _damage(storage)
    damaged = Repository.open(storage, password, name="self-test")
    view = SnapshotView(damaged, damaged.find("latest"))
    try:
        for _ in view.blocks(b"/" + _NAME):
            pass
    except IntegrityError:
        return len(content)
    raise _failed("a flipped bit was not noticed")


def _damage(storage: MemoryStorage) -> None:
    """Flip a bit in every pack."""
    for file in list(storage.list("data")):
        stored = bytearray(storage.load(file.name))
        stored[len(stored) // 3] ^= 1
        storage.save(file.name, stored)


def _failed(reason: str) -> IntegrityError:
    return IntegrityError(reason, subject="self-test", code="verification-failed")
