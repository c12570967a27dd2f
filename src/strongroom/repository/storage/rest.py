"""A repository on a server that speaks restic's REST protocol, version 2.

`rest-server` can be told to accept new files only; then everything but removing works, and a
stolen credential can destroy nothing. Packs lie flat in `data/` there. Nothing is retried here.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from strongroom.errors import ConfigError, StorageError
from strongroom.repository.storage.access import AS_TOOLS_DO, Access
from strongroom.repository.storage.immutability import Keeping, ObjectLock, Reach, RunningLock
from strongroom.repository.storage.layout import is_id
from strongroom.repository.storage.protocol import Buffer, StoredFile

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

_VERSION: Final = "application/vnd.x.restic.rest.v2"
_CONNECTIONS: Final = 4
_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 60.0
_BLOCK_BYTES: Final = 1 << 18
_CODES: Final = {
    401: "store-refused",
    403: "store-refused",
    404: "store-missing",
    405: "store-refused",
    408: "store-unreachable",
    413: "store-full",
    429: "store-unreachable",
    507: "store-full",
}


def parse_rest(location: str) -> str:
    """The URL, ending with a slash, that `rest:URL` names."""
    url = urlsplit(location.removeprefix("rest:"))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(
            "it is not a server's address",
            subject="location",
            hint="Write it as rest:https://HOST:8000/PATH.",
        )
    if "@" in url.netloc:
        raise ConfigError(
            "credentials don't belong into a location",
            subject="location",
            hint="Use `access:` for them.",
        )
    path = url.path if url.path.endswith("/") else url.path + "/"
    return urlunsplit((url.scheme, url.netloc, path, "", ""))


class RestStorage:
    """Files on a REST server; safe to use from several threads."""

    connections = _CONNECTIONS

    def __init__(
        self,
        location: str,
        access: Access = AS_TOOLS_DO,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._location = location
        self._url = parse_rest(location)
        self._access = access
        self._guard = threading.Lock()
        self._client_made: httpx.Client | None = None

    @property
    def location(self) -> str:
        return self._location

    @property
    def _client(self) -> httpx.Client:
        with self._guard:
            if self._client_made is None:
                import httpx

                login = None
                if self._access.user is not None:
                    login = httpx.BasicAuth(self._access.user, self._access.password or "")
                verify: Any = True  # Any: a context or a switch, as the library has it
                if self._access.ca_file:
                    import ssl

                    verify = ssl.create_default_context(cafile=self._access.ca_file)
                self._client_made = httpx.Client(
                    base_url=self._url,
                    auth=login,
                    headers={"Accept": _VERSION},
                    timeout=httpx.Timeout(
                        self._timeout_seconds,
                        connect=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
                    ),
                    limits=httpx.Limits(max_connections=4 * _CONNECTIONS),
                    verify=verify,
                )
            return self._client_made

    def create(self) -> None:
        # A server on which there is a repository says so in one way or another.
        self._ask("POST", "", self._location, params={"create": "true"})

    def save(self, name: str, data: Buffer) -> None:
        subject = self._subject(name)
        with memoryview(data).cast("B") as view:
            headers = {
                "Content-Length": str(len(view)),
                "Content-Type": "application/octet-stream",
            }
            try:
                self._ask("POST", _flat(name), subject, content=_blocks(view), headers=headers)
            except StorageError as error:
                if error.code != "store-refused" or name == "config":
                    raise
                # The server refuses to write a file twice; this one may be there from a try
                # whose answer was lost.
                if self._size_or_none(name) != len(view):
                    raise

    def _size_or_none(self, name: str) -> int | None:
        with contextlib.suppress(StorageError):
            return self.size(name)
        return None

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            return b""
        headers = {}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        subject = self._subject(name)
        answer = self._ask("GET", _flat(name), subject, headers=headers)
        content = answer.content
        if headers and answer.status_code == 200:
            # A server that doesn't know ranges has sent everything.
            content = content[offset:] if length is None else content[offset : offset + length]
        if length is not None and len(content) != length:
            raise StorageError(
                f"wanted {length} bytes at {offset}, the store gave {len(content)} of them",
                subject=subject,
            )
        return content

    def size(self, name: str) -> int:
        answer = self._ask("HEAD", _flat(name), self._subject(name))
        return int(answer.headers["Content-Length"])

    def list(self, folder: str) -> Iterator[StoredFile]:
        subject = self._subject(folder)
        try:
            answer = self._ask("GET", f"{folder}/", subject)
        except StorageError as error:
            if error.code == "store-missing":
                return  # a folder without files need not exist
            raise
        try:
            listed = [(str(one["name"]), int(one["size"])) for one in answer.json() or ()]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError("the server's list is not one", subject=subject) from error
        for name, size in listed:
            if is_id(name):
                yield StoredFile(_deep(folder, name), size)

    def delete(self, name: str) -> None:
        try:
            self._ask("DELETE", _flat(name), self._subject(name))
        except StorageError as error:
            if error.code != "store-missing":
                raise

    # What the server refuses: see `Immutability`. The protocol knows neither versions nor locks.

    def immutability(self) -> RestStorage:
        return self

    def keeping(self) -> Keeping:
        return Keeping(versions=False)

    def reach(self, own_lock: str | None = None) -> Reach:
        removes = self._permits("DELETE", f"data/{secrets.token_hex(32)}")
        replaces = None
        if own_lock is not None:
            # The very bytes that are there: where that is obeyed, nothing has changed.
            replaces = self._permits("POST", own_lock, self.load(own_lock))
        return Reach(removes, replaces, erases=None)

    def _permits(self, method: str, path: str, content: bytes | None = None) -> bool:
        try:
            self._ask(method, path, self._subject(path), content=content)
        except StorageError as error:
            if error.code not in ("store-missing", "store-refused"):
                raise
            return error.code == "store-missing"  # it would have, had it been there
        return True

    def lock_of(self, name: str) -> RunningLock | None:
        del name  # the same for all
        return None

    def renew(self, name: str, lock: ObjectLock, *, least: datetime, until: datetime) -> bool:
        del lock, least, until
        raise StorageError(
            "a REST server knows no locks", subject=self._subject(name), code="store-refused"
        )

    def room(self) -> None:
        return None

    def close(self) -> None:
        with self._guard:
            client, self._client_made = self._client_made, None
        if client is not None:
            client.close()

    def _ask(
        self, method: str, path: str, subject: str, **options: Any
    ) -> httpx.Response:  # Any: see httpx.Client.request
        with _explained(subject):
            answer = self._client.request(method, path, **options)
        if answer.is_success:
            return answer
        status = answer.status_code
        code = _CODES.get(status, "store-unreachable" if status >= 500 else "store-failed")
        said = answer.text.strip().partition("\n")[0][:200] if method != "HEAD" else ""
        raise StorageError(f"{said or answer.reason_phrase} ({status})", subject=subject, code=code)

    def _subject(self, name: str) -> str:
        return f"{self._location}: {name}"


def _flat(name: str) -> str:
    """A pack's name on the server, which sorts packs into folders by itself."""
    return f"data/{name.rpartition('/')[2]}" if name.startswith("data/") else name


def _deep(folder: str, name: str) -> str:
    return f"data/{name[:2]}/{name}" if folder == "data" else f"{folder}/{name}"


def _blocks(view: memoryview) -> Iterator[bytes]:
    for begin in range(0, len(view), _BLOCK_BYTES):
        yield bytes(view[begin : begin + _BLOCK_BYTES])


class _explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a verb
    """Turns a failed connection into the StorageError that says that it may pass."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        import httpx

        if isinstance(error, httpx.TransportError):
            reason = str(error) or type(error).__name__
            raise StorageError(reason, subject=self._subject, code="store-unreachable") from error
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            raise StorageError(str(error), subject=self._subject) from error
