"""A repository in a bucket of S3, or of anything that speaks its protocol.

Objects have the names of the layout below a prefix, as restic has them. Each save carries the
SHA-256 of its bytes, so that a store that checks it refuses what was altered on the way. Every
object but the lock files of a repository, which come and go, is saved under an Object Lock where
the settings want one; a bucket's own default applies by itself. Removing is a plain DELETE, which
hides an object where the bucket keeps versions. See `s3_immutability` for what can be asked about
locks and versions, `s3_past` for the bucket as it was.

Credentials come from the configuration or from where every tool of this ecosystem looks for them
(environment, shared files, instance roles). Nothing is retried here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from strongroom.errors import ConfigError, StorageError
from strongroom.repository.storage.access import AS_TOOLS_DO, Access
from strongroom.repository.storage.immutability import Immutability, ObjectLock
from strongroom.repository.storage.layout import is_layout_name
from strongroom.repository.storage.protocol import Buffer, StoredFile

if TYPE_CHECKING:
    from types import TracebackType

_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_READ_TIMEOUT_SECONDS: Final = 60.0
_CONNECTIONS: Final = 4
_PIECE_BYTES: Final = 1 << 20
_MISSING: Final = frozenset(
    {
        "404", "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NotFound",
        "NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError",
    }
)  # fmt: skip
_REFUSED: Final = frozenset(
    {
        "401", "403", "405", "AccessDenied", "AllAccessDisabled", "AccountProblem",
        "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "MethodNotAllowed",
        "RequestTimeTooSkewed", "SignatureDoesNotMatch", "Forbidden",
    }
)  # fmt: skip
_PASSING: Final = frozenset(
    {
        "429", "500", "502", "503", "504", "InternalError", "OperationAborted", "RequestTimeout",
        "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests",
        "RequestLimitExceeded", "BandwidthLimitExceeded",
    }
)  # fmt: skip
_UNKNOWN: Final = frozenset({"501", "NotImplemented"})
_FULL: Final = frozenset({"507", "QuotaExceeded", "InsufficientStorage", "StorageFull"})


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object below the prefix, or the marker of its removal."""

    name: str
    id: str
    size_bytes: int
    stored_at: datetime
    is_newest: bool
    is_marker: bool


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket and the prefix in it. `endpoint` is None for Amazon's own."""

    endpoint: str | None
    bucket: str
    prefix: str


def parse_s3(location: str) -> S3Place:
    """The place that `s3:HOST/BUCKET/PREFIX` or `s3:URL/BUCKET/PREFIX` names."""
    rest = location.removeprefix("s3:").removeprefix("//")
    url = urlsplit(rest if "://" in rest else f"https://{rest}")
    parts = [part for part in url.path.split("/") if part]
    if url.username or url.password:
        raise _fault("credentials don't belong into a location", "Use `access:` for them.")
    if url.scheme not in ("http", "https") or not url.hostname or not parts:
        raise _fault("it is not a place in S3", "Write it as s3:https://HOST/BUCKET/PREFIX.")
    prefix = "".join(part + "/" for part in parts[1:])
    amazon = url.hostname == "s3.amazonaws.com"
    return S3Place(None if amazon else f"{url.scheme}://{url.netloc}", parts[0], prefix)


def _fault(message: str, hint: str) -> ConfigError:
    return ConfigError(message, subject="location", hint=hint)


class S3Storage:
    """Objects below a prefix of one bucket; safe to use from several threads."""

    connections = _CONNECTIONS

    def __init__(
        self,
        location: str,
        access: Access = AS_TOOLS_DO,
        *,
        timeout_seconds: float = _READ_TIMEOUT_SECONDS,
        object_lock: ObjectLock | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._location = location
        self._place = parse_s3(location)
        self._access = access
        self.object_lock = object_lock
        self._client_made: Any = None  # Any: boto3 makes its classes at run time

    @property
    def location(self) -> str:
        return self._location

    @property
    def _client(self) -> Any:  # Any: see above
        if self._client_made is None:
            import boto3
            from botocore.config import Config

            session = boto3.session.Session(
                aws_access_key_id=self._access.access_key,
                aws_secret_access_key=self._access.secret_key,
                aws_session_token=self._access.session_token,
                region_name=self._access.region,
                profile_name=self._access.profile,
            )
            own = self._place.endpoint is not None
            self._client_made = session.client(
                "s3",
                endpoint_url=self._place.endpoint,
                region_name=session.region_name or "us-east-1",
                verify=self._access.ca_file,
                config=Config(
                    connect_timeout=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
                    read_timeout=self._timeout_seconds,
                    max_pool_connections=4 * _CONNECTIONS,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    tcp_keepalive=True,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    # The checksum of the whole is sent anyway: no need to hash it once more.
                    s3={
                        "addressing_style": "path" if own else "auto",
                        "payload_signing_enabled": False,
                    },
                ),
            )
        return self._client_made

    def create(self) -> None:
        with _explained(self._location):
            client = self._client
            try:
                client.head_bucket(Bucket=self._place.bucket)
            except client.exceptions.ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                self._make_bucket()
                return
        if self.object_lock is not None:
            self._must_lock()

    def _make_bucket(self) -> None:
        region = self._client.meta.region_name
        placed: dict[str, Any] = {}  # Any: boto3's own shapes
        if self.object_lock is not None:  # with versions, which it needs
            placed["ObjectLockEnabledForBucket"] = True
        if self._place.endpoint is None and region != "us-east-1":
            placed["CreateBucketConfiguration"] = {"LocationConstraint": region}
        self._client.create_bucket(Bucket=self._place.bucket, **placed)

    def _must_lock(self) -> None:
        """Who may not ask this learns it from the first object."""
        try:
            self.ask("get_object_lock_configuration")
        except StorageError as error:
            if error.code == "store-missing":
                raise StorageError(
                    "this bucket has no Object Lock",
                    subject=self._location,
                    hint="Make a bucket that has, or take object_lock out of the configuration.",
                ) from error

    def save(self, name: str, data: Buffer) -> None:
        with memoryview(data).cast("B") as view, _explained(self._subject(name)):
            digest = hashlib.sha256(view).digest()
            self._client.put_object(
                Bucket=self._place.bucket,
                Key=self._place.prefix + name,
                Body=_Body(view),
                ContentLength=len(view),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(digest).decode(),
                **self._lock_of(name, view),
            )

    def _lock_of(self, name: str, content: memoryview) -> dict[str, Any]:
        """What a save says about locking, in boto3's own words (hence Any)."""
        if self.object_lock is None or name.startswith("locks/"):
            return {}
        # Some stores know of no other checksum for objects that are locked.
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        return {
            "ContentMD5": base64.b64encode(digest).decode(),
            "ObjectLockMode": self.object_lock.mode.value.upper(),
            "ObjectLockRetainUntilDate": whole_second(datetime.now(UTC) + self.object_lock.period),
        }

    def load(
        self, name: str, offset: int = 0, length: int | None = None, *, version: str | None = None
    ) -> bytes:
        """As `Storage.load`; of the newest version, or of the one with this id."""
        if length == 0:
            return b""
        wanted: dict[str, str] = {}
        chosen = {} if version is None else {"VersionId": version}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            wanted["Range"] = f"bytes={offset}-{last}"
        subject = self._subject(name)
        with _explained(subject):
            answer = self._client.get_object(
                Bucket=self._place.bucket, Key=self._place.prefix + name, **wanted, **chosen
            )
            with contextlib.closing(answer["Body"]) as body:
                content: bytes = body.read()
        if wanted and "ContentRange" not in answer:
            # A server that doesn't know ranges has sent everything.
            content = content[offset:] if length is None else content[offset : offset + length]
        if length is not None and len(content) != length:
            raise StorageError(
                f"wanted {length} bytes at {offset}, the store gave {len(content)} of them",
                subject=subject,
            )
        return content

    def size(self, name: str) -> int:
        with _explained(self._subject(name)):
            answer = self._client.head_object(
                Bucket=self._place.bucket, Key=self._place.prefix + name
            )
            return int(answer["ContentLength"])

    def list(self, folder: str) -> Iterator[StoredFile]:
        cut = len(self._place.prefix)
        with _explained(self._subject(folder)):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=f"{self._place.prefix}{folder}/"
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    name = one["Key"][cut:]
                    if is_layout_name(name):
                        yield StoredFile(name, one["Size"], one["LastModified"])

    def delete(self, name: str) -> None:
        with _explained(self._subject(name)):
            self._client.delete_object(Bucket=self._place.bucket, Key=self._place.prefix + name)

    def versions(self, beginning: str) -> Iterator[ObjectVersion]:
        """Every version and marker of all names that begin so, whatever became of them since."""
        cut = len(self._place.prefix)
        with _explained(self._subject(beginning)):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._place.bucket, Prefix=self._place.prefix + beginning
            )
            for page in pages:
                for part, is_marker in (("Versions", False), ("DeleteMarkers", True)):
                    for one in page.get(part, ()):
                        yield ObjectVersion(
                            one["Key"][cut:],
                            one["VersionId"],
                            one.get("Size", 0),
                            one["LastModified"],
                            one["IsLatest"],
                            is_marker,
                        )

    def ask(self, operation: str, name: str | None = None, **details: Any) -> dict[str, Any]:
        """What the bucket, or an object in it, answers to an operation of the protocol.

        Any: boto3's own words. StorageError as everywhere.
        """
        of = {} if name is None else {"Key": self._place.prefix + name}
        with _explained(self._location if name is None else self._subject(name)):
            asked = getattr(self._client, operation)
            answer: dict[str, Any] = asked(Bucket=self._place.bucket, **of, **details)
            return answer

    @property
    def prefix(self) -> str:
        """What stands before every name in the bucket."""
        return self._place.prefix

    def immutability(self) -> Immutability:
        from strongroom.repository.storage.s3_immutability import S3Immutability

        return S3Immutability(self)

    def room(self) -> None:
        return None

    def close(self) -> None:
        client, self._client_made = self._client_made, None
        if client is not None:
            client.close()

    def _subject(self, name: str) -> str:
        return f"{self._location}: {name}"


class _Body(io.RawIOBase):
    """Memory as the file that the HTTP library reads, without a copy of it."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = min(max(base + offset, 0), len(self._view))
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """At least `size` bytes unless it ends: the library asks for 16 KiB at a time and sends
        whatever it gets, so that a pack would take a thousand turns of the interpreter's lock."""
        whole = size is None or size < 0
        end = len(self._view) if whole else self._at + max(size or 0, _PIECE_BYTES)
        part = bytes(self._view[self._at : end])
        self._at += len(part)
        return part


def whole_second(moment: datetime) -> datetime:
    """The moment as the protocol writes the end of a lock."""
    return moment.replace(microsecond=0)


def _code(error: Any) -> str:  # Any: botocore's error, whose answer is a dictionary
    return str(error.response.get("Error", {}).get("Code", ""))


class _explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a verb
    """Turns what the library raises into the StorageError that says whether it may pass."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, StorageError):
            return
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
        )
        from botocore.exceptions import (
            ConnectionError as LostConnection,
        )
        from urllib3.exceptions import HTTPError

        if isinstance(error, ClientError):
            code = _code(error)
            status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
            message = error.response.get("Error", {}).get("Message") or code or status
            raise StorageError(
                f"{message} ({code or status})", subject=self._subject, code=_kind(code, status)
            ) from error
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            raise StorageError(
                str(error),
                subject=self._subject,
                code="store-refused",
                hint="Give `access:` in the configuration, or set AWS_ACCESS_KEY_ID and its kin.",
            ) from error
        if isinstance(error, HTTPClientError | LostConnection | HTTPError | OSError):
            raise StorageError(
                _reason(error), subject=self._subject, code="store-unreachable"
            ) from error
        if isinstance(error, BotoCoreError | ValueError):
            raise StorageError(str(error), subject=self._subject) from error


def _kind(code: str, status: str) -> str:
    for kind, known in (
        ("store-missing", _MISSING),
        ("store-refused", _REFUSED),
        ("store-full", _FULL),
        ("store-unreachable", _PASSING),
        ("store-failed", _UNKNOWN),
    ):
        if code in known:
            return kind
    if status != "501" and (status.startswith("5") or status == "429"):
        return "store-full" if status == "507" else "store-unreachable"
    return {"404": "store-missing", "401": "store-refused", "403": "store-refused"}.get(
        status, "store-failed"
    )


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
