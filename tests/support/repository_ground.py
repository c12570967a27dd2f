"""Repositories for tests: quick to open, filled and read back in one line, and damaged on purpose.

Quick means a key file with a cheap scrypt parameter, put together here from `cryptography` and
`hashlib` and not by our own encoder, so that opening it is a second opinion as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from strongroom.model import Finding
from strongroom.repository import (
    Committed,
    Repository,
    Snapshot,
    SnapshotView,
    SnapshotWriter,
    Storage,
    WriterOptions,
)
from strongroom.repository.check import check_repository
from strongroom.repository.storage import LocalStorage, MemoryStorage
from strongroom.sources import CaptureContext, Captured
from strongroom.sources.files import FilesSource

PASSWORD = "correct horse battery staple"
DEFAULT = WriterOptions()
SMALL_PACKS = WriterOptions(pack_bytes=64 << 10)
# Files that were changed within a second of a capture are read again; tests that want the next
# capture to trust what it sees pretend that the first one ran later.
LATER = timedelta(seconds=10)


def seal(key: tuple[bytes, bytes, bytes], plaintext: bytes, initial: bytes | None = None) -> bytes:
    """The container of the format, put together from primitives: keys are encrypt, k and r."""
    encrypt, mac_k, mac_r = key
    initial = initial or os.urandom(16)
    encryptor = Cipher(AES(encrypt), CTR(initial)).encryptor()
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    once = Cipher(AES(mac_k), ECB()).encryptor().update(initial)
    return initial + ciphertext + Poly1305.generate_tag(mac_r + once, ciphertext)


def key_file(
    master: tuple[bytes, bytes, bytes], password: str = PASSWORD, **changed: object
) -> bytes:
    """A key file with a cheap scrypt parameter; `changed` replaces fields of its JSON."""
    salt = os.urandom(64)
    material = hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1, dklen=64)
    inner = {
        "mac": {"k": _base64(master[1]), "r": _base64(master[2])},
        "encrypt": _base64(master[0]),
    }
    sealed = seal((material[:32], material[32:48], material[48:]), json.dumps(inner).encode())
    fields = {"kdf": "scrypt", "N": 1024, "r": 8, "p": 1, "created": "2026-11-23T10:00:00Z",
              "salt": _base64(salt), "data": _base64(sealed)}  # fmt: skip
    return json.dumps(fields | changed).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def new_repository(
    storage: Storage | Path | None = None, name: str = "store", password: str = PASSWORD
) -> Repository:
    """An empty repository, in memory unless a store or a directory is given."""
    if storage is None:
        storage = MemoryStorage()
    elif isinstance(storage, Path):
        storage = LocalStorage(storage)
    storage.create()
    master = (os.urandom(32), os.urandom(16), os.urandom(16))
    content = key_file(master, password)
    storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)
    config = {"version": 2, "id": os.urandom(32).hex(), "chunker_polynomial": "3da3358b4dc173"}
    storage.save("config", seal(master, json.dumps(config).encode()))
    return Repository.open(storage, password, name=name)


def reopened(repository: Repository) -> Repository:
    """The same store, opened again: nothing remembered."""
    return Repository.open(repository.storage, PASSWORD, name=repository.name)


def capture(
    repository: Repository | Sequence[Repository],
    path: Path,
    *,
    parent: Snapshot | None = None,
    exclude: Sequence[str] = (),
    required: Sequence[str] = (),
    one_file_system: bool = False,
    options: WriterOptions = DEFAULT,
    after: timedelta = LATER,
) -> tuple[Committed, list[Finding]]:
    """One capture of a directory as the source `tree`; its snapshot's time is now and `after`."""
    repositories = [repository] if isinstance(repository, Repository) else list(repository)
    source = FilesSource(
        "tree", path, exclude=exclude, required=required, one_file_system=one_file_system
    )
    now = datetime.now(UTC) + after
    view = None if parent is None else SnapshotView(repositories[0], parent)
    with SnapshotWriter(repositories, options) as writer:
        captured: Captured = source.capture(writer, CaptureContext(now, view))
        committed = writer.commit(
            captured.root,
            paths=source.paths,
            tags=["source:tree", "kind:files"],
            time=now,
            parent=None if parent is None else parent.id,
            summary={"total_bytes_processed": captured.size_bytes},
        )
    return committed[0], [*captured.findings, *writer.findings]


def view_of(repository: Repository, committed: Committed) -> SnapshotView:
    """The read side of what `capture` made, from a repository that remembers nothing."""
    return SnapshotView(reopened(repository), committed.snapshot)


def restore(repository: Repository, committed: Committed, target: Path) -> list[Finding]:
    """Restore a capture and return what was noticed."""
    source = FilesSource("tree", target)
    return list(source.restore(view_of(repository, committed), str(target)).findings)


def prove(repository: Repository, committed: Committed, target: Path) -> list[Finding]:
    """Compare a directory with a capture."""
    source = FilesSource("tree", target)
    proof = source.prove(view_of(repository, committed), str(target))
    assert proof.checked
    return list(proof.findings)


def check_codes(repository: Repository, *, read_data: bool = True) -> list[str]:
    """The codes of what our check sees, from a repository that remembers nothing."""
    report = check_repository(reopened(repository), read=list if read_data else None)
    return sorted({one.code for one in report.findings})


def names(storage: Storage, folder: str) -> list[str]:
    """The names of all files below a folder of the layout, in order."""
    return sorted(file.name for file in storage.list(folder))


def assert_restorable(repository: Repository, snapshots: list[Snapshot]) -> None:
    """Every file of these snapshots reads back, verified blob by blob."""
    listed = {one.id for one in repository.snapshots().snapshots}
    for snapshot in snapshots:
        assert snapshot.id in listed
        view = view_of(repository, Committed("store", snapshot, 0))
        for path, node in view.walk():
            if node.type == "file":
                assert len(view.read(path)) == node.size
