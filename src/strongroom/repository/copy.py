"""Copying snapshots between repositories: only the blobs that are missing, as they were cut.

A blob is opened, verified by its name, and sealed for the other key; what is compressed stays so.
Chunk boundaries and trees stay the same, so that what was proven of one copy can be proven of the
other. Snapshots keep their fields and remember their origin, as stock `restic copy` has it, so
that either tool knows what the other one has copied.

Invariant I2 holds for the target: packs, then index, then snapshots. The source is only read.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import zstandard

from strongroom.errors import IntegrityError
from strongroom.model import Finding, Progress, Silent
from strongroom.repository.document import MALFORMED, parse_json, why
from strongroom.repository.encoding_child import SealedBlob
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType
from strongroom.repository.packer import DEFAULT_PACK_BYTES, Packer
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot, decode_snapshot
from strongroom.repository.tree import decode_tree
from strongroom.repository.view import BlobRun, gather_runs

_RUN_BYTES: Final = 4 << 20
_WAITING_RUNS: Final = 4
_PLANNED_BLOBS: Final = 20_000
_BUFFERS: Final = 6


@dataclass(slots=True)
class CopyReport:
    """What was copied: (id in the source, id in the target) of snapshots, and how much."""

    snapshots: list[tuple[str, str]] = field(default_factory=list)
    blobs: int = 0
    added_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)


def copy_snapshots(
    source: Repository,
    target: Repository,
    snapshots: Sequence[Snapshot],
    *,
    report: CopyReport,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Make these snapshots of `source` visible in `target` unless they are there already.

    `report` tells what has been done, also when this raises.

    Raises IntegrityError when a blob of the source is damaged in every copy: then nothing of its
    snapshot is visible. What was copied before stays, and the next run goes on from there.
    """
    wanted = missing_snapshots(target, snapshots)
    if not wanted:
        return
    packer = Packer(target, pack_bytes=DEFAULT_PACK_BYTES, most_buffers=_BUFFERS)
    done = False
    try:
        packer.begin()
        copy = _Copy(source, packer, workers, progress or Silent())
        for snapshot in wanted:
            copy.blobs_of(snapshot)
            packer.flush()
            packer.confirm_lock()
            made = target.save_file("snapshots", derived_record(source, snapshot))
            report.snapshots.append((snapshot.id, made))
            report.blobs = copy.blobs
        done = True
    finally:
        packer.end(abandoned=not done)
        report.findings += packer.findings
        report.added_bytes = packer.added_bytes


def missing_snapshots(target: Repository, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Those that the target does not have, oldest first.

    It has a snapshot that it knows by its id or as its origin, and one of the same capture, which
    has other bytes in each repository. What was repaired there does not stand for the whole one.
    """
    whole: set[str] = set()
    repaired: set[str] = set()
    captures = set()
    for one in target.snapshots().snapshots:
        ids = repaired if one.is_repaired else whole
        ids.update((one.id, one.original or one.id))
        captures.add(_capture(one))

    def is_there(one: Snapshot) -> bool:
        known = whole | repaired if one.is_repaired else whole
        return bool(known & {one.id, one.original or one.id}) or _capture(one) in captures

    missing = [one for one in snapshots if not is_there(one)]
    return sorted(missing, key=lambda one: (one.time, one.id))


def _capture(one: Snapshot) -> tuple[object, ...]:
    """What two snapshots of one capture have in common."""
    return (one.time, one.tree, one.paths, one.tags, one.hostname, one.username)


def derived_record(
    source: Repository,
    snapshot: Snapshot,
    **changes: Any,  # Any: JSON
) -> bytes:
    """The snapshot's own record with its origin, and without a parent, which may be elsewhere;
    `changes` replace its fields."""
    content = source.load_file(f"snapshots/{snapshot.id}")
    decode_snapshot(content, snapshot.id)  # nothing unfit gets further
    fields: dict[str, Any] = parse_json(content) | changes  # Any: JSON
    fields.pop("parent", None)
    fields["original"] = snapshot.original or snapshot.id
    try:
        return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    except MALFORMED as error:
        raise IntegrityError(
            f"its fields are no JSON: {why(error)}", subject=snapshot.id, code="snapshot-damaged"
        ) from error


class _Copy:
    """One run: which blobs are missing, and their way from pack to pack."""

    def __init__(
        self, source: Repository, packer: Packer, workers: int, progress: Progress
    ) -> None:
        self._source, self._packer = source, packer
        self._workers, self._progress = workers, progress
        self._seen: set[str] = set()
        self._guard = threading.Lock()
        self.blobs = 0

    def blobs_of(self, snapshot: Snapshot) -> None:
        """All blobs that the snapshot needs are in the target or on their way."""
        with ThreadPoolExecutor(self._workers, thread_name_prefix="copy") as pool:
            waiting: deque[Future[None]] = deque()
            try:
                for run in self._runs(snapshot.tree):
                    waiting.append(pool.submit(self._copy_run, run))
                    if len(waiting) > self._workers + _WAITING_RUNS:
                        waiting.popleft().result()
                for future in waiting:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _runs(self, root: str) -> Iterator[BlobRun]:
        """Runs of what the target lacks, planned in parts, so that memory does not grow."""
        missing = self._missing(root)
        while planned := list(itertools.islice(missing, _PLANNED_BLOBS)):
            wanted = ((0, location) for location in planned)
            yield from gather_runs(wanted, run_bytes=_RUN_BYTES, most_blobs=_PLANNED_BLOBS)

    def _missing(self, root: str) -> Iterator[Location]:
        """Where the source has the blobs that the target lacks; each of them once."""
        stack = [root]
        while stack:
            tree = stack.pop()
            if tree in self._seen:
                continue
            self._seen.add(tree)
            tree_id = bytes.fromhex(tree)
            # Below a tree that the target has, something may be missing all the same: a tree is
            # written before the run that wrote it was whole.
            content = self._source.read_blob(BlobType.TREE, tree_id)
            if self._packer.reserve(BlobType.TREE, tree_id):
                yield self._source.locate(BlobType.TREE, tree_id)
            for node in decode_tree(content, f"tree {tree[:12]}"):
                if node.subtree is not None:
                    stack.append(node.subtree)
                for blob_id in node.content:
                    if self._packer.reserve(BlobType.DATA, blob_id):
                        yield self._source.locate(BlobType.DATA, blob_id)

    def _copy_run(self, run: BlobRun) -> None:
        sealed: dict[BlobType, list[tuple[SealedBlob, bytearray]]] = {}
        try:
            stored = memoryview(self._source.load_pack(run.pack, run.begin, run.end))
        except IntegrityError:
            stored = memoryview(b"")  # each blob is sought elsewhere
        for _, location in run.wanted:
            begin = location.entry.offset - run.begin
            blob = self._sealed_anew(location, stored[begin : begin + location.entry.length])
            sealed.setdefault(location.entry.type, []).append(blob)
            self._progress.advance(location.entry.size_bytes)
        for blob_type, blobs in sealed.items():
            content = b"".join(one for _, one in blobs)
            self._packer.add(blob_type, content, [blob for blob, _ in blobs])
            with self._guard:
                self.blobs += len(blobs)

    def _sealed_anew(self, location: Location, stored: memoryview) -> tuple[SealedBlob, bytearray]:
        """A verified blob under the target's key, as it was compressed."""
        entry, codec = location.entry, self._source.codec()
        try:
            content = codec.open(stored, location.pack)
            codec.plain(entry.id, content, entry.plain_length)
            return self._seal(content, entry.id, entry.plain_length)
        except IntegrityError:
            plain = self._source.read_blob(entry.type, entry.id)
        frame = zstandard.ZstdCompressor(level=3).compress(plain)
        return self._seal(frame, entry.id, len(plain))

    def _seal(
        self, content: bytes, blob_id: bytes, plain_length: int | None
    ) -> tuple[SealedBlob, bytearray]:
        target = self._packer.repository.codec()
        sealed = target.seal(content)
        # The content was verified by its name: what reads back the same is right.
        if target.open(sealed, "blob") != content:
            raise IntegrityError(
                "a blob did not read back as it was sealed",
                subject=blob_id.hex(),
                code="verification-failed",
            )
        return (blob_id, len(sealed), plain_length), sealed
