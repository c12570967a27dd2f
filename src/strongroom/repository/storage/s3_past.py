"""A bucket that keeps versions, as it was at a moment: what there is to read after an attack.

Of each object, the newest version not later than the moment counts; a marker of its removal says
that it was gone. The moments are the store's, to the second. Nothing can be written, and nobody
can be in the way: the lock files of that time are not shown, since who held them is long done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from strongroom.errors import StorageError
from strongroom.repository.storage.layout import is_layout_name
from strongroom.repository.storage.protocol import Buffer, StoredFile
from strongroom.repository.storage.s3 import ObjectVersion, S3Storage

_CONFIG: Final = "config"


class S3PastStorage:
    """The files of one moment, read only; safe to use from several threads."""

    def __init__(self, bucket: S3Storage, moment: datetime) -> None:
        self._bucket, self._moment = bucket, moment
        self._guard = threading.Lock()
        self._known: dict[str, dict[str, ObjectVersion]] = {}

    @property
    def location(self) -> str:
        return f"{self._bucket.location} as of {self._moment:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def connections(self) -> int:
        return self._bucket.connections

    def create(self) -> None:
        self._refuse(self.location)

    def save(self, name: str, data: Buffer) -> None:  # noqa: ARG002 - whatever it is
        self._refuse(f"{self.location}: {name}")

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._bucket.load(name, offset, length, version=self._version(name).id)

    def size(self, name: str) -> int:
        return self._version(name).size_bytes

    def list(self, folder: str) -> Iterator[StoredFile]:
        if folder == "locks":
            return
        for name, version in self._folder(folder).items():
            if is_layout_name(name):
                yield StoredFile(name, version.size_bytes, version.stored_at)

    def delete(self, name: str) -> None:
        self._refuse(f"{self.location}: {name}")

    def immutability(self) -> None:
        return None

    def room(self) -> None:
        return None

    def close(self) -> None:
        self._bucket.close()

    def _refuse(self, subject: str) -> None:
        raise StorageError(
            "what was cannot be changed",
            subject=subject,
            code="store-refused",
            hint="Leave --store-as-of out to write.",
        )

    def _version(self, name: str) -> ObjectVersion:
        found = self._folder(name.partition("/")[0]).get(name)
        if found is None:
            raise StorageError(
                "there was no such file", subject=f"{self.location}: {name}", code="store-missing"
            )
        return found

    def _folder(self, folder: str) -> dict[str, ObjectVersion]:
        """What was in a folder of the layout, or its `config`; asked once, for it can't change."""
        with self._guard:
            if not self._known:
                self._must_keep_versions()
            if folder not in self._known:
                beginning = folder if folder == _CONFIG else f"{folder}/"
                self._known[folder] = as_of(self._bucket.versions(beginning), self._moment)
            return self._known[folder]

    def _must_keep_versions(self) -> None:
        """Without versions a bucket shows what is left now, which would pass for what was."""
        try:
            status = self._bucket.ask("get_bucket_versioning").get("Status")
        except StorageError as error:
            if error.code != "store-refused":
                raise
            return  # who may not ask that may be allowed to read versions: the listing tells
        if status is None:
            raise StorageError(
                "this bucket keeps no versions, so nobody knows how it was",
                subject=self._bucket.location,
                hint="Use another repository; let the bucket keep versions from now on.",
            )


def as_of(versions: Iterator[ObjectVersion], moment: datetime) -> dict[str, ObjectVersion]:
    """By name the version that was current at the moment; names that were gone are left out.

    Of a version and a marker of the same second, which is all that stores tell, the marker counts
    when it is the newest of all; else the version, whose bytes can be verified.
    """
    newest: dict[str, ObjectVersion] = {}
    for one in versions:
        if one.stored_at > moment:
            continue
        other = newest.get(one.name)
        if other is None or _rank(one) > _rank(other):
            newest[one.name] = one
    return {name: one for name, one in newest.items() if not one.is_marker}


def _rank(one: ObjectVersion) -> tuple[datetime, bool, bool]:
    return one.stored_at, one.is_newest, not one.is_marker
