"""The repository's own integrity: structure always, every byte when asked.

Goes beyond stock restic's check: it also validates the order of tree entries and that a file's
size is the sum of its blobs. A finding names what is damaged, and which snapshots and paths it
touches; nothing is repaired here. No exclusive lock is held, so that a long verification never
stops a backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Finding, Progress, Silent, finding
from strongroom.repository.index import BlobIndex, decode_index
from strongroom.repository.pack import BlobType, PackEntry, whole_pack_bytes
from strongroom.repository.pack_reading import read_pack
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.touched import Marks, Touched, touched_by
from strongroom.repository.tree import Node


@dataclass(slots=True)
class CheckReport:
    """What a check saw. `packs` were looked at; `read` were read whole, `bytes_read` in all;
    `touched` tells of damages what they touch."""

    findings: list[Finding] = field(default_factory=list)
    touched: dict[Finding, Touched] = field(default_factory=dict)
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
        check.unreadable_snapshots(listed.findings)
        check.report.snapshots = len(listed.snapshots)
        check.index_files()
        check.packs()
        check.trees((one.short_id, one.tree) for one in listed.snapshots)
        if read is not None:
            check.read(read, may_go_on)
        check.attribute(listed.snapshots)
    check.report.findings.sort(key=lambda one: (one.subject, one.code))
    return check.report


class _Check:
    def __init__(self, repository: Repository, workers: int, progress: Progress) -> None:
        self.report = CheckReport()
        self._repository = repository
        self._workers = workers
        self._progress = progress
        self._packs = BlobIndex()  # each pack as the first index file lists it
        self._sizes: dict[str, int] = {}
        self._unindexed: list[int] = []  # findings of index files that cannot be read
        self._damaged: dict[str, int] = {}  # packs, with the finding that tells what they touch
        self._unverified: dict[str, Sequence[PackEntry]] = {}
        self._marks = Marks()

    def unreadable_snapshots(self, findings: Iterable[Finding]) -> None:
        """Each of them is lost as a whole."""
        for one in findings:
            snapshot = one.subject.rpartition("/")[2]
            self.report.findings.append(one)
            self.report.touched[one] = Touched(1, (snapshot,), (f"{snapshot[:8]}:/",))

    def index_files(self) -> None:
        """Read every index file by itself, so that what merging hides is seen."""
        repository = self._repository
        for file in list(repository.storage.list("index")):
            try:
                packs = decode_index(repository.load_listed(file), file.name)
            except IntegrityError as error:
                self._unindexed.append(self._note("index-unreadable", file.name, error.message))
                continue
            for pack, entries in packs:
                if self._packs.has_pack(pack):
                    self._note("index-hint", pack, "listed in several index files")
                    continue
                if len({entry.type for entry in entries}) > 1:
                    self._note("index-hint", pack, "holds both data and trees")
                self._packs.add_pack(pack, entries)

    def packs(self) -> None:
        """Compare what the index lists with what the store holds."""
        for file in list(self._repository.storage.list("data")):
            self._sizes[file.name.rpartition("/")[2]] = file.size_bytes
        for pack, expected in self._packs.pack_sizes():
            observed = self._sizes.get(pack)
            if observed is None:
                self._unverified[pack] = self._listed(pack)
                message = f"{len(self._unverified[pack])} blobs are lost with it"
                self._damaged[pack] = self._note("pack-missing", pack, message)
            elif observed != expected:
                message = f"{observed} bytes, the index says {expected}"
                self._damaged[pack] = self._note("pack-size", pack, message)
        for pack in sorted(one for one in self._sizes if not self._packs.has_pack(one)):
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
                    message = f"tree {tree[:12]} is in no index"
                    place = self._note("blob-missing", f"{snapshot}:{path}", message)
                    self._marks.tree(tree, place, *self._unindexed)
                for node in self._read_tree(snapshot, path, tree):
                    inner = path + node.name.decode("utf-8", "backslashreplace")
                    if node.subtree is not None:
                        stack.append((inner + "/", node.subtree))
                    elif node.type == "file":
                        self._check_file(f"{snapshot}:{inner}", tree, node)

    def _read_tree(self, snapshot: str, path: str, tree: str) -> list[Node]:
        try:
            return self._repository.read_tree(tree)
        except (IntegrityError, StorageError) as error:
            if error.code != "index-damaged":  # that one is noted already
                unsorted = error.code == "tree-damaged" and "unsorted" in error.message
                code = "tree-order" if unsorted else "tree-unreadable"
                place = self._note(code, f"{snapshot}:{path}", error.message)
                self._marks.tree(tree, place)
            return []

    def _check_file(self, subject: str, tree: str, node: Node) -> None:
        index = self._repository.index
        size = 0
        for blob_id in node.content:
            if not index.has(BlobType.DATA, blob_id):
                message = f"blob {blob_id.hex()[:12]} is in no index"
                place = self._note("blob-missing", subject, message)
                self._marks.entry(tree, node.name, place, *self._unindexed)
                return
            size += index.find(BlobType.DATA, blob_id).entry.size_bytes
        if size != node.size:
            message = f"its blobs hold {size} bytes, not {node.size}"
            self._marks.entry(tree, node.name, self._note("size-differs", subject, message))

    def read(
        self,
        choose: Callable[[Mapping[str, int]], Sequence[str]],
        may_go_on: Callable[[], bool],
    ) -> None:
        """Read the chosen packs of the index and verify name, header and each blob."""
        # What is larger than the index says is noted already, and may be too large to be read.
        sizes = {
            pack: self._sizes[pack]
            for pack, expected in self._packs.pack_sizes()
            if 0 <= self._sizes.get(pack, -1) <= expected
        }
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
            self._progress.advance(size)
            if size:
                self.report.read.append(pack)
            for fault in faults:
                self._damaged.setdefault(pack, self._note("pack-content", pack, fault))

    def _read_pack(self, pack: str) -> tuple[int, list[str]]:
        """The bytes read, and what is wrong with them (three things at most)."""
        try:
            reading = read_pack(self._repository, pack, self._listed(pack))
        except (IntegrityError, StorageError) as error:
            self._unverified[pack] = self._listed(pack)
            return 0, [error.message]
        if reading.faults:
            self._unverified[pack] = reading.damaged
        return reading.size_bytes, list(reading.faults[:3])

    def _listed(self, pack: str) -> tuple[PackEntry, ...]:
        return self._packs.entries(pack) or ()

    def attribute(self, snapshots: Sequence[Snapshot]) -> None:
        """Tell of every damage which snapshots and paths it touches, when there is any."""
        for pack, place in self._damaged.items():
            listed = self._listed(pack)
            if self._sizes.get(pack, 0) > whole_pack_bytes(listed):
                self._unverified[pack] = listed  # too large, maybe: its blobs are read one by one
            elif pack not in self._unverified:
                self._read_pack(pack)
            for entry in filter(self._is_lost, self._unverified[pack]):
                if entry.type is BlobType.TREE:
                    self._marks.tree(entry.id.hex(), place)
                else:
                    self._marks.blob(entry.id, place)
        found: dict[int, Touched] = {}
        if not self._marks.is_empty:
            found = touched_by(self._readable, snapshots, self._marks)
        findings = self.report.findings
        told = {*self._unindexed, *self._damaged.values()}
        for place in sorted(told | found.keys()):
            touched, one = found.get(place, Touched()), findings[place]
            itself = one.subject.partition(": ")[2]
            if touched.paths[:2] != (itself,):
                one = findings[place] = replace(one, message=f"{one.message}; {touched}")
            self.report.touched[one] = touched

    def _readable(self, tree: str) -> list[Node]:
        """A directory, empty when it can't be read: that was noted before."""
        try:
            return self._repository.read_tree(tree)
        except (IntegrityError, StorageError):
            return []

    def _is_lost(self, entry: PackEntry) -> bool:
        """Whether no copy of a blob in a damaged pack can be read."""
        places = self._repository.places(entry.type, entry.id)
        if all(one.pack not in self._sizes for one in places):
            return True
        try:
            self._repository.read_blob(entry.type, entry.id)
        except (IntegrityError, StorageError):
            return True
        return False

    def _note(self, code: str, subject: str, message: str) -> int:
        """Report something; returns where it stands among the findings until they are sorted."""
        found = finding(code, f"{self._repository.name}: {subject}", message)
        self.report.findings.append(found)
        return len(self.report.findings) - 1
