"""The repository's own integrity: structure always, every byte when asked.

Goes beyond stock restic's check: it also validates the order of tree entries and that a file's
size is the sum of its blobs. A finding names what is damaged; nothing is repaired here. No
exclusive lock is held, so that a long verification never stops a backup.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from operator import attrgetter

from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Finding, Progress, Silent, finding
from strongroom.repository.index import decode_index
from strongroom.repository.pack import (
    BlobType,
    PackEntry,
    decode_header,
    header_bytes,
    whole_pack_bytes,
)
from strongroom.repository.repository import Repository, pack_name
from strongroom.repository.tree import Node


@dataclass(slots=True)
class CheckReport:
    """What a check saw. `packs` were looked at; `read` were read whole, `bytes_read` in all."""

    findings: list[Finding] = field(default_factory=list)
    packs: int = 0
    snapshots: int = 0
    bytes_read: int = 0
    read: list[str] = field(default_factory=list)


def check_repository(
    repository: Repository,
    *,
    read: Callable[[Mapping[str, int]], Sequence[str]] | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
    workers: int = 2,
    progress: Progress | None = None,
) -> CheckReport:
    """Check index against packs, every snapshot's trees, and every byte of some packs.

    `read` chooses them, in order, given the sizes in bytes of all that are there; no further one
    is begun once `may_go_on` says no.
    """
    with repository.reading() as noticed:
        check = _Check(repository, workers, progress or Silent())
        check.report.findings.extend(noticed)
        # Snapshots are listed before the index is read: what they need must be in it.
        listed = repository.snapshots()
        check.report.findings.extend(listed.findings)
        check.report.snapshots = len(listed.snapshots)
        check.index_files()
        check.packs()
        check.trees((one.short_id, one.tree) for one in listed.snapshots)
        if read is not None:
            check.read(read, may_go_on)
    check.report.findings.sort(key=lambda one: (one.subject, one.code))
    return check.report


class _Check:
    def __init__(self, repository: Repository, workers: int, progress: Progress) -> None:
        self.report = CheckReport()
        self._repository = repository
        self._workers = workers
        self._progress = progress
        self._packs: dict[str, list[PackEntry]] = {}
        self._sizes: dict[str, int] = {}

    def index_files(self) -> None:
        """Read every index file by itself, so that what merging hides is seen."""
        repository = self._repository
        for file in list(repository.storage.list("index")):
            try:
                packs = decode_index(repository.load_file(file.name), file.name)
            except IntegrityError as error:
                self._note("index-unreadable", file.name, error.message)
                continue
            for pack, entries in packs:
                if pack in self._packs:
                    self._note("index-hint", pack, "listed in several index files")
                elif len({entry.type for entry in entries}) > 1:
                    self._note("index-hint", pack, "holds both data and trees")
                self._packs.setdefault(pack, entries)

    def packs(self) -> None:
        """Compare what the index lists with what the store holds."""
        for file in list(self._repository.storage.list("data")):
            self._sizes[file.name.rpartition("/")[2]] = file.size_bytes
        for pack, entries in self._packs.items():
            observed = self._sizes.get(pack)
            if observed is None:
                self._note("pack-missing", pack, f"{len(entries)} blobs are lost with it")
            elif observed != whole_pack_bytes(entries):
                expected = whole_pack_bytes(entries)
                self._note("pack-size", pack, f"{observed} bytes, the index says {expected}")
        for pack in sorted(self._sizes.keys() - self._packs.keys()):
            self._note("pack-orphaned", pack, f"{self._sizes[pack]} bytes in no index")
        self.report.packs = len(self._sizes)

    def trees(self, roots: Iterable[tuple[str, str]]) -> None:
        """Walk all directories of all snapshots, each of them once."""
        seen: set[str] = set()
        for snapshot, root in roots:
            stack = [("/", root)]
            while stack:
                path, tree = stack.pop()
                if tree in seen:
                    continue
                seen.add(tree)
                if not self._repository.index.has(BlobType.TREE, bytes.fromhex(tree)):
                    self._note(
                        "blob-missing", f"{snapshot}:{path}", f"tree {tree[:12]} is in no index"
                    )
                for node in self._read_tree(snapshot, path, tree):
                    inner = path + node.name.decode("utf-8", "backslashreplace")
                    if node.subtree is not None:
                        stack.append((inner + "/", node.subtree))
                    elif node.type == "file":
                        self._check_file(f"{snapshot}:{inner}", node)

    def _read_tree(self, snapshot: str, path: str, tree: str) -> list[Node]:
        try:
            return self._repository.read_tree(tree)
        except (IntegrityError, StorageError) as error:
            if error.code != "index-damaged":  # that one is noted already
                unsorted = error.code == "tree-damaged" and "unsorted" in error.message
                code = "tree-order" if unsorted else "tree-unreadable"
                self._note(code, f"{snapshot}:{path}", error.message)
            return []

    def _check_file(self, subject: str, node: Node) -> None:
        index = self._repository.index
        size = 0
        for blob_id in node.content:
            if not index.has(BlobType.DATA, blob_id):
                self._note("blob-missing", subject, f"blob {blob_id.hex()[:12]} is in no index")
                return
            size += index.find(BlobType.DATA, blob_id).entry.size_bytes
        if size != node.size:
            self._note("size-differs", subject, f"its blobs hold {size} bytes, not {node.size}")

    def read(
        self,
        choose: Callable[[Mapping[str, int]], Sequence[str]],
        may_go_on: Callable[[], bool],
    ) -> None:
        """Read the chosen packs of the index and verify name, header and each blob."""
        sizes = {pack: self._sizes[pack] for pack in self._packs if pack in self._sizes}
        chosen = choose(sizes)
        self._progress.begin("read data", sum(sizes[pack] for pack in chosen))
        with ThreadPoolExecutor(self._workers, thread_name_prefix="check") as pool:
            waiting: set[Future[tuple[int, list[str]]]] = set()
            subjects: dict[Future[tuple[int, list[str]]], str] = {}
            for pack in chosen:
                if not may_go_on():
                    break
                future = pool.submit(self._read_pack, pack)
                subjects[future] = pack
                waiting.add(future)
                if len(waiting) > self._workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    self._collect(done, subjects)
            self._collect(waiting, subjects)
        self._progress.end()

    def _collect(
        self,
        done: set[Future[tuple[int, list[str]]]],
        subjects: dict[Future[tuple[int, list[str]]], str],
    ) -> None:
        for future in done:
            pack = subjects.pop(future)
            size, faults = future.result()
            self.report.bytes_read += size
            if size:
                self.report.read.append(pack)
            for fault in faults:
                self._note("pack-content", pack, fault)

    def _read_pack(self, pack: str) -> tuple[int, list[str]]:
        """The bytes read, and what is wrong with them (three things at most)."""
        name = pack_name(pack)
        try:
            content = memoryview(self._repository.storage.load(name))
        except StorageError as error:
            return 0, [error.message]
        self._progress.advance(len(content))
        faults: list[str] = []
        if hashlib.sha256(content).hexdigest() != pack:
            faults.append("the bytes are not those of its name")
        codec = self._repository.codec()
        indexed = self._packs[pack]
        tail = content[-header_bytes(len(indexed)) :]
        try:
            if decode_header(codec, tail, len(content), name) != indexed_in_order(indexed):
                faults.append("its header lists other blobs than the index")
        except IntegrityError as error:
            faults.append(error.message)
        for entry in indexed:
            try:
                codec.decode(
                    entry.id, content[entry.offset : entry.offset + entry.length],
                    entry.plain_length,
                )  # fmt: skip
            except IntegrityError as error:
                faults.append(f"blob {entry.id.hex()[:12]}: {error.message}")
        return len(content), faults[:3]

    def _note(self, code: str, subject: str, message: str) -> None:
        self.report.findings.append(finding(code, f"{self._repository.name}: {subject}", message))


def indexed_in_order(entries: Iterable[PackEntry]) -> list[PackEntry]:
    """Index entries in the order in which the header lists them."""
    return sorted(entries, key=attrgetter("offset"))
