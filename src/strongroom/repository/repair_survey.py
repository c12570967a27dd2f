"""Which packs of a damaged repository can be trusted, and what the others still hold.

A pack is sound when its name, its header and all of its blobs verify; what does not is read twice
before it counts as damaged. Where every blob of a sound pack lies, its own header knows best: an
index that says otherwise, or nothing, is corrected from it. Nothing is written here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from strongroom.errors import IntegrityError, StorageError
from strongroom.model import Progress
from strongroom.repository.index import BlobIndex, Location, decode_index
from strongroom.repository.pack import BlobType, PackEntry, whole_pack_bytes
from strongroom.repository.pack_reading import PackReading, in_order, read_pack
from strongroom.repository.repository import Repository, read_pack_header


@dataclass(frozen=True, slots=True)
class DamagedPack:
    """A pack that can't stay as it is: `whole` of its blobs verify, `broken` of them don't.

    Of a pack in no index whose header can't be read, nobody knows what it held.
    """

    id: str
    size_bytes: int
    fault: str
    whole: int
    broken: int
    is_listed: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """One pack after it was looked at: where its blobs lie when it is sound, else what verifies."""

    pack: str
    sound: tuple[PackEntry, ...] | None
    fault: str = ""
    whole: tuple[PackEntry, ...] = ()
    broken: int = 0
    bytes_read: int = 0


class Survey:
    """Index and packs of one repository; `look` first."""

    def __init__(self, repository: Repository, *, workers: int, progress: Progress) -> None:
        self._repository, self._workers, self._progress = repository, workers, progress
        self._listings: dict[str, set[tuple[PackEntry, ...]]] = {}
        self._times: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._whole: dict[str, tuple[PackEntry, ...]] = {}  # of damaged packs
        self._read: set[str] = set()
        self.unreadable_indexes: list[str] = []
        self.sound: dict[str, tuple[PackEntry, ...]] = {}
        self.damaged: dict[str, DamagedPack] = {}
        self.known = BlobIndex()  # what lies in sound packs
        self.moved: dict[tuple[BlobType, bytes], Location] = {}  # whole, and in damaged packs only
        self.bytes_read = 0

    def look(self, *, read_data: bool) -> None:
        """Compare index and packs; with `read_data` read every pack, else those that differ."""
        self._read_index()
        for file in list(self._repository.storage.list("data")):
            self._sizes[file.name.rpartition("/")[2]] = file.size_bytes
        unread = []
        for pack, size_bytes in self._sizes.items():
            listed = self._listed(pack)
            if read_data or listed is None or whole_pack_bytes(listed) != size_bytes:
                unread.append(pack)
            else:
                self.sound[pack] = listed
        self.inspect(unread, read_data=read_data)

    def inspect(self, packs: Sequence[str], *, read_data: bool = True) -> None:
        """Read packs and learn what to trust; without `read_data`, a header that fits is enough for
        those that no index lists."""
        self._progress.begin("read packs", sum(self._sizes[pack] for pack in packs))
        with ThreadPoolExecutor(self._workers, thread_name_prefix="repair") as pool:
            waiting: deque[Future[_Seen]] = deque()
            try:
                for pack in packs:
                    waiting.append(pool.submit(self._look_at, pack, read_data))
                    if len(waiting) > self._workers:
                        self._take(waiting.popleft().result())
                for future in waiting:
                    self._take(future.result())
            finally:
                pool.shutdown(cancel_futures=True)
        self._progress.end()
        self._gather()

    def where(self, blob_type: BlobType, blob_id: bytes) -> Location | None:
        """Where a blob lies whole, in a sound pack or in what can be saved of a damaged one."""
        if self.known.has(blob_type, blob_id):
            return self.known.find(blob_type, blob_id)
        return self.moved.get((blob_type, blob_id))

    def unread(self, packs: Iterable[str]) -> list[str]:
        """Those of these packs that are trusted and were not read."""
        return sorted(pack for pack in packs if pack in self.sound and pack not in self._read)

    @property
    def packs(self) -> int:
        return len(self._sizes)

    @property
    def gone(self) -> tuple[str, ...]:
        """The packs that an index lists and the store does not hold."""
        return tuple(sorted(self._listings.keys() - self._sizes.keys()))

    @property
    def listed_anew(self) -> tuple[tuple[str, tuple[PackEntry, ...]], ...]:
        """The sound packs that no index lists, or not as they are."""
        return tuple(
            (pack, entries)
            for pack, entries in sorted(self.sound.items())
            if self._listings.get(pack) != {entries}
        )

    @property
    def repeated(self) -> tuple[str, ...]:
        """The packs that several index files list."""
        return tuple(sorted(pack for pack, times in self._times.items() if times > 1))

    def _read_index(self) -> None:
        for file in list(self._repository.storage.list("index")):
            try:
                packs = decode_index(self._repository.load_file(file.name), file.name)
            except IntegrityError:
                self.unreadable_indexes.append(file.name)
                continue
            except StorageError as error:
                if error.code != "store-missing":  # else it was replaced meanwhile
                    raise
                continue
            for pack, entries in packs:
                self._listings.setdefault(pack, set()).add(in_order(entries))
                self._times[pack] = self._times.get(pack, 0) + 1

    def _listed(self, pack: str) -> tuple[PackEntry, ...] | None:
        """What the index files say lies in a pack, unless they say nothing or disagree."""
        listings = self._listings.get(pack, set())
        return next(iter(listings)) if len(listings) == 1 else None

    def _look_at(self, pack: str, read_data: bool) -> _Seen:
        entries = self._listed(pack)
        is_listed = entries is not None
        if entries is None:
            try:
                entries = tuple(read_pack_header(self._repository, pack, self._sizes[pack]))
            except IntegrityError as error:
                return _Seen(pack, None, error.message)
        if not is_listed and not read_data:
            return _Seen(pack, entries)
        fault, header = "", None
        for _ in range(2):  # what was read wrongly may lie there rightly
            reading, fault = self._reading(pack, entries)
            if reading is not None and reading.is_sound:
                return _Seen(pack, entries, bytes_read=reading.size_bytes)
            header = reading.header if reading else header
        every = set(entries)
        if header is not None and header != entries:
            by_header, _ = self._reading(pack, header)
            if by_header is not None and by_header.is_sound:
                return _Seen(pack, header, bytes_read=by_header.size_bytes)
            every |= set(header)
        whole = tuple(one for one in in_order(every) if self._is_whole(Location(pack, one)))
        return _Seen(pack, None, fault, whole, len(every) - len(whole), self._sizes[pack])

    def _reading(self, pack: str, entries: Sequence[PackEntry]) -> tuple[PackReading | None, str]:
        """What was read of a pack, None when it can't be, and the first thing that is wrong."""
        try:
            reading = read_pack(self._repository, pack, entries)
        except IntegrityError as error:
            return None, error.message
        return reading, next(iter(reading.faults), "")

    def _is_whole(self, location: Location) -> bool:
        try:
            self._repository.read_at(location)
        except IntegrityError:
            return False
        return True

    def _take(self, seen: _Seen) -> None:
        pack = seen.pack
        self._read.add(pack)
        self.bytes_read += seen.bytes_read
        self._progress.advance(seen.bytes_read)
        if seen.sound is not None:
            self.sound[pack] = seen.sound
            return
        self.sound.pop(pack, None)
        self._whole[pack] = seen.whole
        self.damaged[pack] = DamagedPack(
            pack,
            self._sizes[pack],
            seen.fault,
            len(seen.whole),
            seen.broken,
            pack in self._listings,
        )

    def _gather(self) -> None:
        self.known = BlobIndex()
        for pack, entries in self.sound.items():
            self.known.add_pack(pack, entries)
        self.moved = {}
        for pack, entries in sorted(self._whole.items()):
            for entry in entries:
                if not self.known.has(entry.type, entry.id):
                    key = (entry.type, entry.id)
                    self.moved.setdefault(key, Location(pack, entry))
