"""The read side of one snapshot: paths, nodes, and the bytes of files, every blob verified."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Piece, Progress, Silent
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.tree import Node

if TYPE_CHECKING:
    from strongroom.repository.restore import RestoreReport

# One read takes neighbours together up to this size, over gaps up to that size.
_RUN_BYTES: Final = 4 << 20
_GAP_BYTES: Final = 256 << 10
_READ_AHEAD_RUNS: Final = 4


@dataclass(slots=True)
class BlobRun:
    """Blobs of one pack that are read together: `wanted` holds (key, blob's location)."""

    pack: str
    begin: int
    end: int
    wanted: list[tuple[int, Location]]


def gather_runs(
    wanted: Iterable[tuple[int, Location]], *, run_bytes: int, most_blobs: int
) -> list[BlobRun]:
    """Blobs, each with a key of the caller's, as runs of neighbours within a pack.

    A run holds at most `run_bytes`, unless one blob is larger, and `most_blobs`.
    """
    packs: dict[str, list[tuple[int, Location]]] = {}
    for key, location in wanted:
        packs.setdefault(location.pack, []).append((key, location))
    runs: list[BlobRun] = []
    for pack, blobs in packs.items():
        blobs.sort(key=lambda one: one[1].entry.offset)
        run: BlobRun | None = None
        for key, location in blobs:
            begin = location.entry.offset
            end = begin + location.entry.length
            near = run is not None and begin <= run.end + _GAP_BYTES
            if run and near and end - run.begin <= run_bytes and len(run.wanted) < most_blobs:
                run.end = end
                run.wanted.append((key, location))
            else:
                run = BlobRun(pack, begin, end, [(key, location)])
                runs.append(run)
    return runs


def read_run(
    repository: Repository, run: BlobRun, stored: memoryview | None = None
) -> list[tuple[int, bytes]]:
    """The verified plaintexts of a run's blobs with their keys; `stored` are the run's bytes."""
    try:
        if stored is None:
            stored = memoryview(repository.load_pack(run.pack, run.begin, run.end))
    except IntegrityError:
        read_blob = repository.read_blob
        return [(key, read_blob(one.entry.type, one.entry.id)) for key, one in run.wanted]
    plain: list[tuple[int, bytes]] = []
    for key, location in run.wanted:
        begin = location.entry.offset - run.begin
        try:
            content = repository.decode(location, stored[begin : begin + location.entry.length])
        except IntegrityError as error:
            content = repository.read_other_copy(location, error)
        plain.append((key, content))
    return plain


class SnapshotView:
    """Reads one snapshot of one repository. Paths are bytes, absolute within the snapshot.

    `progress` is told of content that was read for a restore or compared for a proof.
    """

    def __init__(
        self, repository: Repository, snapshot: Snapshot, progress: Progress | None = None
    ) -> None:
        self.repository = repository
        self.snapshot = snapshot
        self.progress = progress or Silent()

    def root(self) -> list[Node]:
        return self.repository.read_tree(self.snapshot.tree)

    def node(self, path: bytes) -> Node:
        """The node at a path; StorageError `path-missing` when there is none."""
        parts = [part for part in path.split(b"/") if part]
        if not parts:
            return Node(b"", "dir", 0o40700, subtree=self.snapshot.tree)
        node: Node | None = None
        tree: str | None = self.snapshot.tree
        for part in parts:
            if tree is None:
                raise self._missing(path)
            nodes = self.repository.read_tree(tree)
            node = next((one for one in nodes if one.name == part), None)
            if node is None:
                raise self._missing(path)
            tree = node.subtree
        assert node is not None
        return node

    def exists(self, path: bytes) -> bool:
        try:
            self.node(path)
        except StorageError as error:
            if error.code == "path-missing":
                return False
            raise
        return True

    def children(self, path: bytes = b"/") -> list[Node]:
        """The entries of a directory, in order of their raw names."""
        node = self.node(path)
        if node.subtree is None:
            raise self._missing(path)
        return self.repository.read_tree(node.subtree)

    def walk(self, path: bytes = b"/") -> Iterator[tuple[bytes, Node]]:
        """Every path below a directory with its node, each directory before what is in it."""
        base = b"/" + path.strip(b"/")
        base = base if base.endswith(b"/") else base + b"/"
        stack = [(base, self.children(path))]
        while stack:
            prefix, nodes = stack.pop()
            for position, node in enumerate(nodes):
                yield prefix + node.name, node
                if node.subtree is not None:
                    stack.append((prefix, nodes[position + 1 :]))
                    inner = self.repository.read_tree(node.subtree)
                    stack.append((prefix + node.name + b"/", inner))
                    break

    def pieces(self, path: bytes) -> list[Piece]:
        """The stored pieces of a file: their plaintext lengths and SHA-256, in order."""
        locate = self.repository.locate
        return [
            Piece(locate(BlobType.DATA, blob_id).entry.size_bytes, blob_id)
            for blob_id in self._file(path).content
        ]

    def blocks(self, path: bytes, *, workers: int = 2) -> Iterator[bytes]:
        """A file's content in order; the next pieces are read and verified meanwhile."""
        content = self._file(path).content
        runs = plan_runs(self.repository, content)
        readers = max(workers, self.repository.storage.connections)
        pool = ThreadPoolExecutor(readers, thread_name_prefix="read")
        waiting: deque[Future[list[tuple[int, bytes]]]] = deque()
        try:
            for run in runs:
                waiting.append(pool.submit(read_run, self.repository, run))
                if len(waiting) >= _READ_AHEAD_RUNS:
                    yield from (content for _, content in waiting.popleft().result())
            while waiting:
                yield from (content for _, content in waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def read(self, path: bytes) -> bytes:
        """The whole content of a small file."""
        read_blob = self.repository.read_blob
        return b"".join(read_blob(BlobType.DATA, one) for one in self._file(path).content)

    def restore(
        self,
        path: bytes,
        target: Path,
        *,
        include: Callable[[bytes], bool] | None = None,
        existing: Sequence[Path] = (),
        owner: tuple[int, int] | None = None,
        workers: int = 2,
    ) -> RestoreReport:
        """Restore a directory's content into `target`; see `restore.restore_tree`."""
        from strongroom.repository.restore import restore_tree

        return restore_tree(
            self,
            path,
            target,
            include=include,
            existing=existing,
            owner=owner,
            workers=workers,
            progress=self.progress,
        )

    def _file(self, path: bytes) -> Node:
        node = self.node(path)
        if node.type == "dir":
            hint = "List it with `strongroom ls`, or write it out with `strongroom export`."
            raise self._missing(path, "this is a directory, which has no content", hint)
        if node.type != "file":
            raise self._missing(path, f"this is a {node.type}, not a file: it has no content")
        return node

    def _missing(
        self,
        path: bytes,
        message: str = "no such file or directory in this snapshot",
        hint: str | None = None,
    ) -> StorageError:
        return StorageError(
            message,
            subject=f"{self.snapshot.short_id}:{path.decode('utf-8', 'backslashreplace')}",
            code="path-missing",
            hint=hint,
        )


def plan_runs(repository: Repository, content: Sequence[bytes]) -> Iterator[BlobRun]:
    """A file's blobs in order, neighbours in a pack taken together."""
    run: BlobRun | None = None
    for key, blob_id in enumerate(content):
        location = repository.locate(BlobType.DATA, blob_id)
        entry = location.entry
        begin, end = entry.offset, entry.offset + entry.length
        if (
            run is not None
            and location.pack == run.pack
            and run.end <= begin <= run.end + _GAP_BYTES
            and end - run.begin <= _RUN_BYTES
        ):
            run.end = end
            run.wanted.append((key, location))
            continue
        if run is not None:
            yield run
        run = BlobRun(location.pack, begin, end, [(key, location)])
    if run is not None:
        yield run
