"""An opened repository: keys, config, index, snapshots, and reading of single blobs.

Facts: REPOSITORY_FORMAT 1.1 to 1.9 (docs/FORMAT.md). The reader is tolerant: a garbage file in
`index/` or `snapshots/` is a finding and not the end, and blobs of a lost index are found again
through the headers of their packs. Nothing here writes blobs; that is `writer`'s part.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

import zstandard

from strongroom.errors import BusyError, IntegrityError, StorageError
from strongroom.model import Finding, finding
from strongroom.repository.crypto import MasterKey, encode_key_file
from strongroom.repository.document import MALFORMED, parse_json, plain_text, why
from strongroom.repository.fetching import PackBlocks, fetch_each
from strongroom.repository.index import BlobIndex, Location, decode_index
from strongroom.repository.keys import MOST_KEY_BYTES, find_key, left_key
from strongroom.repository.lock import Lock, LockRecord, LockStore, remove_locks, username
from strongroom.repository.pack import (
    MAX_BLOB_BYTES,
    BlobCodec,
    BlobType,
    PackEntry,
    decode_header,
    decompress,
)
from strongroom.repository.polynomial import random_irreducible
from strongroom.repository.snapshot import Snapshot, SnapshotList, choose, decode_snapshot
from strongroom.repository.storage.protocol import Buffer, Storage, StoredFile
from strongroom.repository.tree import Node, decode_tree

VERSION: Final = 2
_ZSTD_MARK: Final = b"\x02"
# No tool writes a larger index, snapshot or lock; whatever grows further is no record of ids.
_MAX_UNPACKED_BYTES: Final = 128 << 20
_MAX_SEALED_BYTES: Final = MAX_BLOB_BYTES + (8 << 20)  # what cannot be compressed grows a little
_MOST_FOLDS: Final = 64
_ANY_FOLDS_BYTES: Final = 1 << 20
_HEADER_GUESS_BYTES: Final = 64 << 10


class Repository:
    """One restic-format store with its master key. Safe to use from several threads.

    `key_id` names the key file that opened it, None when its master key did.
    """

    def __init__(
        self,
        storage: Storage,
        key: MasterKey,
        repository_id: str,
        name: str,
        key_id: str | None = None,
    ) -> None:
        self.storage = storage
        self.name = name
        self.id = repository_id
        self.key_id = key_id
        self._key = key
        self._local = threading.local()
        self._guard = threading.Lock()
        self._index: BlobIndex | None = None
        self._index_files: frozenset[str] = frozenset()
        self._index_findings: list[Finding] = []
        self._salvaged: BlobIndex | None = None
        self.salvage_findings: list[Finding] = []
        self._blocks: PackBlocks | None = None
        if storage.connections > 1:
            self._blocks = PackBlocks(self.load_pack, self._end_of_blobs)

    @property
    def location(self) -> str:
        return self.storage.location

    @property
    def key(self) -> MasterKey:
        """The master key, which seals everything here; its text never shows it."""
        return self._key

    @classmethod
    def create(cls, storage: Storage, password: str, *, name: str) -> Repository:
        """A new, empty repository; StorageError `repository-exists` when there is one, and
        IntegrityError `config-lost` when there is what one that lost its config has left."""
        storage.create()
        if _exists(storage, "config"):
            raise StorageError(
                "there is a repository here", subject=storage.location, code="repository-exists"
            )
        _refuse_remains(storage)
        left = left_key(storage, password)
        if left is None:
            key = MasterKey.generate()
            content = encode_key_file(key, password, username(), socket.gethostname())
            key_id = hashlib.sha256(content).hexdigest()
            _save_first(storage, f"keys/{key_id}", content)
        else:
            key_id, key = left
        config = {
            "version": VERSION,
            "id": os.urandom(32).hex(),
            "chunker_polynomial": f"{random_irreducible():x}",
        }
        sealed = bytes(BlobCodec(key).seal(json.dumps(config, separators=(",", ":")).encode()))
        # The config comes last: without it there is no repository, so a stop before this line
        # leaves nothing that looks like one.
        _save_first(storage, "config", sealed)
        return cls(storage, key, str(config["id"]), name, key_id)

    @classmethod
    def open(cls, storage: Storage, password: str, *, name: str) -> Repository:
        """The repository at a store.

        StorageError `store-missing` when there is none, `wrong-password` when no key opens;
        IntegrityError when its keys or config are lost, damaged or of another version.
        """
        sealed = _load_config(storage)
        key_id, key, config = find_key(storage, password, sealed)
        return cls(
            storage, key, _decode_config(config, f"{storage.location}: config"), name, key_id
        )

    @classmethod
    def open_by_master_key(cls, storage: Storage, key: MasterKey, *, name: str) -> Repository:
        """The repository at a store, whatever has become of its key files.

        StorageError `wrong-password` when this is another one's master key; else as `open`.
        """
        sealed = _load_config(storage)
        try:
            config = BlobCodec(key).open(sealed, "config")
        except IntegrityError as error:
            raise StorageError(
                "this is another repository's master key, or its config is damaged",
                subject=storage.location,
                code="wrong-password",
                hint="Check the master key that the repository's configuration refers to.",
            ) from error
        return cls(storage, key, _decode_config(config, f"{storage.location}: config"), name, None)

    # Snapshots

    def snapshots(self) -> SnapshotList:
        """All snapshots, oldest first; files that are none become findings."""
        found: list[Snapshot] = []
        findings: list[Finding] = []
        # Small enough for as many as a client of the store keeps connections.
        for file, load in self._fetch_each("snapshots", each=4):
            snapshot_id = file.name.rpartition("/")[2]
            try:
                found.append(decode_snapshot(load(), snapshot_id))
            except IntegrityError as error:
                subject = f"{self.name}: {file.name}"
                findings.append(finding("snapshot-unreadable", subject, error.message))
            except StorageError as error:
                if error.code != "store-missing":  # else it was forgotten meanwhile
                    raise
        found.sort(key=lambda one: (one.time, one.id))
        return SnapshotList(tuple(found), tuple(findings))

    def find(self, wanted: str, *, source: str | None = None) -> Snapshot:
        """The snapshot that an id's beginning or `latest` names, of one source if given."""
        try:
            return choose(self.snapshots().snapshots, wanted, source)
        except StorageError as error:
            if not error.subject:
                error.subject = self.name
            raise

    # Index and blobs

    @property
    def index(self) -> BlobIndex:
        """The merged index of all readable index files, loaded at the first use."""
        with self._guard:
            if self._index is None:
                self._index = self._load_index()
            return self._index

    @property
    def has_read_index(self) -> bool:
        return self._index is not None

    def forget_index(self) -> None:
        """The index is read anew when it is needed next: others may have rewritten it."""
        with self._guard:
            self._index = self._salvaged = None

    def with_fresh_index(self) -> Repository:
        """The same repository, which reads its index anew."""
        return Repository(self.storage, self._key, self.id, self.name, self.key_id)

    @property
    def index_findings(self) -> list[Finding]:
        """What was wrong with the index files; empty when all were read."""
        _ = self.index
        return self._index_findings

    @property
    def index_files(self) -> frozenset[str]:
        """The names of the index files that were read."""
        _ = self.index
        return self._index_files

    def locate(self, blob_type: BlobType, blob_id: bytes) -> Location:
        """Where a blob lies, asking the pack headers when the index files don't know it."""
        index = self.index
        if index.has(blob_type, blob_id):
            return index.find(blob_type, blob_id)
        return self._salvage().find(blob_type, blob_id)

    def read_blob(self, blob_type: BlobType, blob_id: bytes) -> bytes:
        """A blob's verified plaintext, from whichever copy of it is whole."""
        location = self.locate(blob_type, blob_id)
        try:
            return self.read_at(location)
        except IntegrityError as error:
            return self.read_other_copy(location, error)

    def read_other_copy(self, location: Location, error: IntegrityError) -> bytes:
        """The plaintext of the blob that is damaged at `location`; raises `error` if there is no
        other copy. There is one when a pack was lost and its blobs were captured again."""
        for other in self.places(location.entry.type, location.entry.id):
            if other.pack != location.pack:
                with contextlib.suppress(IntegrityError):
                    return self.read_at(other)
        raise error

    def places(self, blob_type: BlobType, blob_id: bytes) -> list[Location]:
        """Everywhere that a blob lies: as the index says, then as the packs that are in none do."""
        found: list[Location] = []
        for index in (self.index, self._salvage()):
            if index.has(blob_type, blob_id):
                found += [index.find(blob_type, blob_id), *index.copies(blob_type, blob_id)]
        return found

    def decode(self, location: Location, sealed: Buffer) -> bytes:
        """The verified plaintext of the blob at `location`, whose sealed bytes these are."""
        entry = location.entry
        try:
            return self.codec().decode(entry.id, sealed, entry.plain_length)
        except IntegrityError as error:
            raise self._pack_damaged(
                location.pack, f"blob {entry.id.hex()[:12]}: {error.message}"
            ) from error

    def load_pack(self, pack: str, begin: int, end: int | None = None) -> bytes:
        """Bytes of a pack, to its end if none is given; IntegrityError `pack-damaged` when it is
        gone, ends before, or lies where the medium cannot be read, or when these are more than any
        blob has."""
        name = pack_name(pack)
        if end is not None and end - begin > _MAX_SEALED_BYTES:
            raise self._pack_damaged(pack, f"a blob of {end - begin} bytes is not plausible")
        try:
            return self.storage.load(name, begin, None if end is None else end - begin)
        except StorageError as error:
            if error.code == "store-missing":
                raise self._pack_damaged(pack, "the pack is gone") from error
            if isinstance(cause := error.__cause__, OSError) and cause.errno == errno.EIO:
                raise self._pack_damaged(pack, "the medium cannot read it") from error
            if error.code == "store-failed" and end and self.storage.size(name) < end:
                raise self._pack_damaged(pack, "the pack ends too early") from error
            raise

    def read_at(self, location: Location) -> bytes:
        """The verified plaintext of the blob at just this place."""
        entry = location.entry
        sealed = self.load_pack(location.pack, entry.offset, entry.offset + entry.length)
        return self.decode(location, sealed)

    def _pack_damaged(self, pack: str, message: str) -> IntegrityError:
        subject = f"{self.name}: {pack_name(pack)}"
        return IntegrityError(message, subject=subject, code="pack-damaged")

    def read_tree(self, tree: str) -> list[Node]:
        """The nodes of a directory, in order and safe to use."""
        return decode_tree(self._read_tree_blob(bytes.fromhex(tree)), f"tree {tree[:12]}")

    def _read_tree_blob(self, blob_id: bytes) -> bytes:
        if self._blocks is not None:
            location = self.locate(BlobType.TREE, blob_id)
            sealed = self._blocks.read(location)
            if sealed is not None:
                with contextlib.suppress(IntegrityError):  # it is read once more, by itself
                    return self.decode(location, sealed)
        return self.read_blob(BlobType.TREE, blob_id)

    def _end_of_blobs(self, pack: str) -> int | None:
        entries = self.index.entries(pack)
        return max(one.offset + one.length for one in entries) if entries else None

    def codec(self) -> BlobCodec:
        """This thread's codec."""
        codec: BlobCodec | None = getattr(self._local, "codec", None)
        if codec is None:
            codec = self._local.codec = BlobCodec(self._key)
        return codec

    # Files outside of packs

    def load_listed(self, file: StoredFile) -> bytes:
        """Like `load_file`; what is too large for memory is refused unread."""
        if file.size_bytes > _MAX_UNPACKED_BYTES:
            raise IntegrityError(f"{file.size_bytes} bytes are too many", subject=file.name)
        return self.load_file(file.name)

    def load_file(self, name: str) -> bytes:
        """The plaintext of an index, snapshot or lock file, its name verified."""
        sealed = self.storage.load(name)
        if hashlib.sha256(sealed).hexdigest() != name.rpartition("/")[2]:
            raise IntegrityError("the bytes are not those of its name", subject=name)
        return self._unpack(self.codec().open(sealed, name), name)

    def save_file(self, folder: str, plaintext: bytes) -> str:
        """Store an index or snapshot file; returns its id. IntegrityError when the store says it
        did and holds something shorter."""
        name, sealed = self._seal_file(folder, plaintext)
        self.storage.save(name, sealed)
        if (observed := self.storage.size(name)) != len(sealed):
            raise IntegrityError(
                f"the store holds {observed} of {len(sealed)} bytes of a file just written",
                subject=f"{self.name}: {name}",
            )
        return name.rpartition("/")[2]

    def _seal_file(self, folder: str, plaintext: bytes) -> tuple[str, Buffer]:
        """The name and bytes of an index, snapshot or lock file, not yet stored."""
        frame = zstandard.ZstdCompressor(level=3).compress(plaintext)
        sealed = self.codec().seal(_ZSTD_MARK + frame)
        return f"{folder}/{hashlib.sha256(sealed).hexdigest()}", sealed

    def _unpack(self, plaintext: bytes, name: str) -> bytes:
        if plaintext[:1] in (b"{", b"["):
            return plaintext
        if plaintext[:1] != _ZSTD_MARK:
            raise IntegrityError("neither JSON nor compressed JSON", subject=name)
        limit = min(_MAX_UNPACKED_BYTES, max(_ANY_FOLDS_BYTES, _MOST_FOLDS * len(plaintext)))
        return decompress(zstandard.ZstdDecompressor(), plaintext[1:], limit, name)

    # Locks

    def new_lock(self, *, exclusive: bool = False) -> Lock:
        """A lock that is not yet taken; see `Lock.acquire`."""
        return Lock(self._lock_store(), self.name, exclusive=exclusive)

    def unlock(self, *, everything: bool = False) -> list[LockRecord]:
        """Remove locks that nobody can rely on any more, or all; returns what they said."""
        return remove_locks(self._lock_store(), everything=everything)

    def _lock_store(self) -> LockStore:
        return LockStore(
            files=lambda: [*self.storage.list("locks")],
            load=self._load_lock,
            seal=lambda content: self._seal_file("locks", content),
            save=self.storage.save,
            delete=self.storage.delete,
        )

    @contextlib.contextmanager
    def reading(self, *, confirmed: bool = False) -> Iterator[list[Finding]]:
        """Holds a shared lock while reading, so that no other tool prunes underneath; gives what
        was noticed in taking it. A `confirmed` one was certainly seen by those who came before.

        A store that can't be written to can't be locked, and need not be.
        """
        lock = self.new_lock()
        try:
            try:
                lock.acquire()
            except StorageError as error:
                if error.code not in ("store-refused", "store-full"):
                    raise
            else:
                if confirmed:
                    lock.confirm()
            yield lock.findings
        finally:
            lock.release()

    @contextlib.contextmanager
    def locked(self, noticed: list[Finding], *, exclusive: bool = False) -> Iterator[Lock]:
        """Holds a confirmed lock for a change; `noticed` gets what was noticed in taking it."""
        lock = self.new_lock(exclusive=exclusive)
        try:
            lock.acquire()
            lock.confirm()
            noticed.extend(lock.findings)
            yield lock
        finally:
            lock.release()

    def _load_lock(self, name: str) -> bytes:
        size = self.storage.size(name)
        return self.load_listed(StoredFile(name, size)) if size else b""

    def _fetch_each(
        self, folder: str, *, each: int = 1
    ) -> Iterator[tuple[StoredFile, Callable[[], bytes]]]:
        """A folder's files, `each` at a time for each connection; one by one from this host."""
        listed = list(self.storage.list(folder))
        connections = self.storage.connections
        at_once = connections * each if connections > 1 else 1
        return fetch_each(listed, self.load_listed, at_once=at_once)

    # Loading of the index

    def _load_index(self) -> BlobIndex:
        index, files, findings = BlobIndex(), set(), []
        for file, load in self._fetch_each("index"):
            try:
                for pack, entries in decode_index(load(), file.name):
                    index.add_pack(pack, entries)
                files.add(file.name)
            except IntegrityError as error:
                subject = f"{self.name}: {file.name}"
                findings.append(finding("index-unreadable", subject, error.message))
            except StorageError as error:
                if error.code != "store-missing":  # else it was replaced meanwhile
                    raise
        self._index_files, self._index_findings = frozenset(files), findings
        return index

    def _salvage(self) -> BlobIndex:
        """The blobs of packs that no readable index file lists.

        They are kept apart: a writer that took them for indexed would lose them again.
        """
        index = self.index
        with self._guard:
            if self._salvaged is None:
                self._salvaged = BlobIndex()
                found = 0
                for file in list(self.storage.list("data")):
                    pack = file.name.rpartition("/")[2]
                    if not index.has_pack(pack):
                        with contextlib.suppress(IntegrityError):
                            entries = read_pack_header(self, pack, file.size_bytes)
                            self._salvaged.add_pack(pack, entries)
                            found += 1
                if found:
                    message = f"{found} packs are in no index; what they hold was found in them"
                    self.salvage_findings = [finding("index-incomplete", self.name, message)]
            return self._salvaged


def read_pack_header(repository: Repository, pack: str, size_bytes: int) -> list[PackEntry]:
    """The blobs that a pack's own header lists; IntegrityError when it has none."""
    name = pack_name(pack)
    guess = min(size_bytes, _HEADER_GUESS_BYTES)
    tail = repository.load_pack(pack, size_bytes - guess, size_bytes)
    if guess >= 4 and guess < size_bytes:
        length = int.from_bytes(tail[-4:], "little") + 4
        if guess < length <= min(size_bytes, 16 << 20):
            tail = repository.load_pack(pack, size_bytes - length, size_bytes)
    return decode_header(repository.codec(), tail, size_bytes, name)


def pack_name(pack: str) -> str:
    """Where a pack lies in the layout."""
    return f"data/{pack[:2]}/{pack}"


def _exists(storage: Storage, name: str) -> bool:
    try:
        storage.size(name)
    except StorageError as error:
        if error.code == "store-missing":
            return False
        raise
    return True


def _load_config(storage: Storage) -> bytes:
    subject = f"{storage.location}: config"
    try:
        if storage.size("config") > MOST_KEY_BYTES:
            raise IntegrityError("too large to be a repository config", subject=subject)
        return storage.load("config")
    except StorageError as error:
        if error.code != "store-missing":
            raise
        _refuse_remains(storage)
        message, hint = "there is no repository here", None
        if any(True for _ in storage.list("keys")):
            message = "there are keys here, but no config and no data"
            hint = (
                "If `strongroom init` was stopped here before its end, run it again; else bring "
                "`config` back from a copy."
            )
        raise StorageError(
            message, subject=storage.location, code="store-missing", hint=hint
        ) from error


def _refuse_remains(storage: Storage) -> None:
    """IntegrityError `config-lost` when a store without a config holds what was captured."""
    held = [one for one in ("data", "index", "snapshots") if any(True for _ in storage.list(one))]
    if held:
        raise IntegrityError(
            f"the file `config`, without which nothing can be opened, is lost; {', '.join(held)} "
            f"{'is' if len(held) == 1 else 'are'} still there",
            subject=storage.location,
            code="config-lost",
        )


def _decode_config(content: bytes, subject: str) -> str:
    """The id of the repository whose config this is."""
    try:
        config = parse_json(content)
        version, repository_id = config["version"], plain_text(config["id"])
        if type(version) is not int:
            raise ValueError("its version is no number")
    except MALFORMED as error:
        raise IntegrityError(f"not a repository config: {why(error)}", subject=subject) from error
    if version != VERSION:
        raise StorageError(
            f"the repository has format version {version}, only {VERSION} is supported",
            subject=subject,
            hint="Upgrade it with `restic migrate upgrade_repo_v2`.",
        )
    return repository_id


def _save_first(storage: Storage, name: str, content: bytes) -> None:
    """Store a file without which a repository is lost, and see that it is there.

    BusyError when it is another process's; IntegrityError when only a part is there.
    """
    storage.save(name, content)
    observed = storage.load(name)
    if observed == content:
        return
    subject = f"{storage.location}: {name}"
    if not content.startswith(observed):
        raise BusyError("another process makes a repository here", subject=subject)
    raise IntegrityError(
        f"the store holds {len(observed)} of {len(content)} bytes of a file just written",
        subject=subject,
    )
