"""A repository on a host that is reached by SFTP.

Files are written under a temporary name, flushed where the server can (`fsync@openssh.com`), and
renamed over nothing or the same. The host's key must be known; keys, agent and `~/.ssh/config` are
used as ssh itself uses them. A lost connection is made anew by the next operation; nothing else is
retried here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from strongroom.errors import ConfigError, StorageError
from strongroom.repository.storage.access import AS_TOOLS_DO, Access
from strongroom.repository.storage.layout import FOLDERS, is_layout_name
from strongroom.repository.storage.protocol import Buffer, Room, StoredFile

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

_CONNECTIONS: Final = 4
_CONNECT_TIMEOUT_SECONDS: Final = 15.0
_KEEPALIVE_SECONDS: Final = 15.0
_TIMEOUT_SECONDS: Final = 120.0
_END_SECONDS: Final = 5.0
_BLOCK_BYTES: Final = 1 << 18
_TEMPORARY: Final = "-tmp-"


@dataclass(frozen=True, slots=True)
class SftpPlace:
    """A directory on a host; user and port are None where ssh's own settings decide."""

    host: str
    user: str | None
    port: int | None
    path: str


def parse_sftp(location: str) -> SftpPlace:
    """The place that `sftp:USER@HOST:/PATH` or `sftp://USER@HOST:PORT//PATH` names."""
    rest = location.removeprefix("sftp:")
    if rest.startswith("//"):
        url = urlsplit("sftp:" + rest)
        try:
            port = url.port
        except ValueError:
            port = None
        if url.password:
            raise _fault("credentials don't belong into a location", "Use `access:` for them.")
        # As restic has it: one slash belongs to the URL, a second one makes the path absolute.
        path = unquote(url.path).removeprefix("/")
        host, user = url.hostname or "", unquote(url.username) if url.username else None
    else:
        login, _, path = rest.partition(":")
        user, _, host = login.rpartition("@")
        port = None
    if not host or not path:
        raise _fault("it is no place on a host", "Write it as sftp:USER@HOST:/PATH.")
    return SftpPlace(host, user or None, port, path.rstrip("/") or "/")


def _fault(message: str, hint: str) -> ConfigError:
    return ConfigError(message, subject="location", hint=hint)


class SftpStorage:
    """Files below a directory of a host; safe to use from several threads."""

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
        self._place = parse_sftp(location)
        self._options = _options(self._place, access)
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connecting: asyncio.Lock | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._folders: set[str] = set()

    @property
    def location(self) -> str:
        return self._location

    def create(self) -> None:
        self._run(self._create(), self._location)

    def save(self, name: str, data: Buffer) -> None:
        with memoryview(data).cast("B") as view:
            self._run(self._save(name, view), self._subject(name))

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            return b""
        content = self._run(self._load(name, offset, length), self._subject(name))
        if length is not None and len(content) != length:
            raise StorageError(
                f"wanted {length} bytes at {offset}, the file ends after {len(content)} of them",
                subject=self._subject(name),
            )
        return content

    def size(self, name: str) -> int:
        return self._run(self._size(name), self._subject(name))

    def list(self, folder: str) -> Iterator[StoredFile]:
        return iter(self._run(self._list(folder), self._subject(folder)))

    def delete(self, name: str) -> None:
        try:
            self._run(self._delete(name), self._subject(name))
        except StorageError as error:
            if error.code != "store-missing":
                raise

    def immutability(self) -> None:
        return None

    def room(self) -> Room | None:
        return self._run(self._room(), self._location)

    def close(self) -> None:
        with self._guard:
            loop, self._loop, self._connecting = self._loop, None, None
        if loop is None:
            return
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(TimeoutError, OSError):
                asyncio.run_coroutine_threadsafe(_ended(connection), loop).result(_END_SECONDS)
        loop.call_soon_threadsafe(loop.stop)

    # What is done on the other side; all of it in the loop's thread

    async def _create(self) -> None:
        client = await self._connected()
        for folder in ("", *(f"/{one}" for one in FOLDERS)):
            await client.makedirs(self._place.path + folder, exist_ok=True)

    async def _save(self, name: str, view: memoryview) -> None:
        client = await self._connected()
        target = self._path(name)
        await self._make_folder(client, name)
        temporary = f"{target}{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            async with client.open(temporary, "xb") as file:
                for begin in range(0, len(view), _BLOCK_BYTES):
                    await file.write(bytes(view[begin : begin + _BLOCK_BYTES]), begin)
                with contextlib.suppress(_library().SFTPOpUnsupported):
                    await file.fsync()
            await self._rename(client, temporary, target)
        except BaseException as error:
            with contextlib.suppress(_library().SFTPError, OSError):
                await client.remove(temporary)
            if isinstance(error, _library().SFTPFailure) and await self._is_full(client):
                # OpenSSH says no more than "failure" of a full disk.
                reason = "No space left on device"
                raise StorageError(
                    reason, subject=self._subject(name), code="store-full"
                ) from error
            raise

    async def _is_full(self, client: asyncssh.SFTPClient) -> bool:
        with contextlib.suppress(_library().SFTPError, OSError):
            return int((await client.statvfs(self._place.path)).bavail or 0) == 0
        return False

    async def _room(self) -> Room | None:
        client = await self._connected()
        with contextlib.suppress(_library().SFTPOpUnsupported, _library().SFTPFailure):
            found = await client.statvfs(self._place.path)
            unit = int(found.frsize or found.bsize or 0)
            return Room(int(found.blocks or 0) * unit, int(found.bavail or 0) * unit)
        return None

    async def _rename(self, client: asyncssh.SFTPClient, temporary: str, target: str) -> None:
        try:
            await client.posix_rename(temporary, target)
        except _library().SFTPOpUnsupported:
            # A plain rename fails where the name is taken: by the same bytes, as names go.
            with contextlib.suppress(_library().SFTPError):
                await client.remove(target)
            await client.rename(temporary, target)

    async def _make_folder(self, client: asyncssh.SFTPClient, name: str) -> None:
        """The folder of two digits that a pack lies in; others are made with the repository."""
        folder = name.rpartition("/")[0]
        if folder.startswith("data/") and folder not in self._folders:
            await client.makedirs(self._path(folder), exist_ok=True)
            self._folders.add(folder)

    async def _load(self, name: str, offset: int, length: int | None) -> bytes:
        client = await self._connected()
        async with client.open(self._path(name), "rb") as file:
            # Any: the library's own type is text or bytes, by how the file was opened
            content: Any = await file.read(-1 if length is None else length, offset)
            return bytes(content)

    async def _size(self, name: str) -> int:
        client = await self._connected()
        return int((await client.stat(self._path(name))).size or 0)

    async def _list(self, folder: str) -> Sequence[StoredFile]:
        client = await self._connected()
        if folder != "data":
            return await self._entries(client, folder)
        found: Sequence[StoredFile] = ()
        for name in await self._names(client, folder):
            if len(name) == 2:
                found = (*found, *await self._entries(client, f"{folder}/{name}"))
        return found

    async def _names(self, client: asyncssh.SFTPClient, folder: str) -> Sequence[str]:
        try:
            return [os.fsdecode(one) for one in await client.listdir(self._path(folder))]
        except _library().SFTPNoSuchFile:
            return []

    async def _entries(self, client: asyncssh.SFTPClient, folder: str) -> Sequence[StoredFile]:
        found = []
        try:
            for one in await client.readdir(self._path(folder)):
                name = f"{folder}/{os.fsdecode(one.filename)}"
                if is_layout_name(name):
                    at = one.attrs.mtime
                    moment = datetime.fromtimestamp(at, UTC) if at is not None else None
                    found.append(StoredFile(name, int(one.attrs.size or 0), moment))
        except (_library().SFTPNoSuchFile, _library().SFTPNotADirectory):
            return []
        return found

    async def _delete(self, name: str) -> None:
        client = await self._connected()
        await client.remove(self._path(name))

    async def _connected(self) -> asyncssh.SFTPClient:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._connection is not None and self._connection.is_closed():
                self._client = self._connection = None
            if self._client is None:
                self._connection = await _library().connect(
                    self._place.host,
                    connect_timeout=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
                    keepalive_interval=_KEEPALIVE_SECONDS,
                    **self._options,
                )
                self._client = await self._connection.start_sftp_client()
            return self._client

    def _path(self, name: str) -> str:
        return f"{self._place.path}/{name}"

    def _subject(self, name: str) -> str:
        return f"{self._location}: {name}"

    # From the calling thread into the loop's

    def _run(self, work: Coroutine[Any, Any, T], subject: str) -> T:  # Any: coroutines' own
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name="sftp", daemon=True
                )
                thread.start()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        until = time.monotonic() + self._timeout_seconds
        try:
            while True:
                try:
                    return future.result(timeout=min(1.0, self._timeout_seconds))
                except TimeoutError:
                    if future.done():
                        raise
                    if time.monotonic() > until:
                        self._drop()
                        raise
        except BaseException as error:
            future.cancel()
            explained = _explain(error, subject)
            if explained is None:
                raise
            raise explained from error

    def _drop(self) -> None:
        """Give a connection up that does not answer."""
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(connection.abort)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


async def _ended(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()


def _options(place: SftpPlace, access: Access) -> dict[str, Any]:  # Any: of asyncssh.connect
    options: dict[str, Any] = {}
    if place.user:
        options["username"] = place.user
    if place.port:
        options["port"] = place.port
    if access.identity:
        options["client_keys"] = [str(Path(access.identity).expanduser())]
    if access.known_hosts:
        options["known_hosts"] = str(Path(access.known_hosts).expanduser())
    if access.password is not None:
        options["password"] = access.password
    return options


def _library() -> Any:  # Any: the module, which takes a quarter of a second to import
    import asyncssh

    return asyncssh


def _explain(error: BaseException, subject: str) -> StorageError | None:
    """The StorageError for what the library raised; None for what is none of its errors."""
    library = _library()
    if isinstance(error, StorageError):
        return error
    if isinstance(error, library.SFTPNoSuchFile | library.SFTPNoSuchPath):
        return StorageError("No such file", subject=subject, code="store-missing")
    if isinstance(error, library.SFTPPermissionDenied | library.SFTPWriteProtect):
        return StorageError(error.reason, subject=subject, code="store-refused")
    if isinstance(error, library.SFTPNoSpaceOnFilesystem | library.SFTPQuotaExceeded):
        return StorageError(error.reason, subject=subject, code="store-full")
    if isinstance(error, library.HostKeyNotVerifiable):
        return StorageError(
            f"the host's key is not known: {error.reason}",
            subject=subject,
            code="store-refused",
            hint="Log in once with ssh and compare the key, or name `access: {known_hosts: ...}`.",
        )
    if isinstance(error, library.PermissionDenied):
        return StorageError(
            f"the login was refused: {error.reason}", subject=subject, code="store-refused"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return StorageError(  # waiting makes no file of this host readable
            f"{error.filename} cannot be read: {error.strerror}",
            subject=subject,
            code="store-refused",
            hint="See to the files that `access: {identity: ..., known_hosts: ...}` names.",
        )
    passing = (library.SFTPNoConnection, library.SFTPConnectionLost, library.DisconnectError)
    if isinstance(error, (*passing, OSError, asyncio.CancelledError)):
        reason = str(error) or "the host did not answer in time"
        return StorageError(reason, subject=subject, code="store-unreachable")
    if isinstance(error, library.Error | library.KeyImportError | library.ConfigParseError):
        return StorageError(str(error), subject=subject)
    return None
