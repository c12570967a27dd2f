"""One psql child that runs many statements and streams many tables, in blocks, without row work.

psycopg gives COPY data row by row, which costs more than everything else together; psql writes it
to a pipe as it comes. Statements are written to the child's input, each followed by an `\\echo` of
an unguessable marker that begins with a sequence which COPY text never contains. The child does
nothing further before it is told to, so the marker is the last thing that can be read: looking at
the end of each block finds it, and no line is ever looked at. End of file without the marker is a
failure, whatever the exit status says.

Does not decide what is read. A session belongs to one thread; only `abort` may come from others.
Invariant: a stream that did not end with its marker raises, so nothing cut short looks whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from strongroom.errors import SourceError
from strongroom.postgres.connection import Connection
from strongroom.postgres.exchange import Block
from strongroom.postgres.programs import Programs

if TYPE_CHECKING:
    import psycopg

__all__ = ["CopySession", "CopyStream", "StatementError", "pin_settings", "pinned_settings"]

_PIPE_BYTES: Final = 1 << 20
_BUFFER_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 1 << 19
# psql writes a page at a time: let the pipe fill up instead of waking for each.
_SMALL_READ_BYTES: Final = 1 << 17
_FILL_SECONDS: Final = 0.001
_END_TIMEOUT_SECONDS: Final = 30
_SQLSTATE: Final = re.compile(r"(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5}): (.*)")
_OWN_MESSAGE: Final = re.compile(r"^psql:(?:[^:]*:\d+:)? (?:error: )?")
_PRIVILEGE: Final = "42501"

# What ends statements early comes first: setting the others may take longer than is allowed.
_PINNED: Final[Mapping[str, str]] = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "search_path": "",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "lc_monetary": "C",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "synchronize_seqscans": "off",
    "row_security": "off",
    "idle_in_transaction_session_timeout": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


def pinned_settings(server_version: int, *, sql_ascii: bool = False) -> dict[str, str]:
    """The settings under which a table's text is always the same, for a `server_version_num`.

    A database in SQL_ASCII has bytes of unknown meaning: they are taken as they are.
    """
    settings = {"client_encoding": "SQL_ASCII" if sql_ascii else "UTF8", **_PINNED}
    if server_version >= 170000:
        settings["transaction_timeout"] = "0"
    return settings


def pin_settings(
    connection: psycopg.Connection, settings: Mapping[str, str], *, local: bool = False
) -> None:
    """Give a psycopg session the pinned settings; its encoding stays UTF-8 for names.

    `local`: only until the open transaction ends, for a session that may be somebody else's.
    """
    for name, value in settings.items():
        if name != "client_encoding":
            connection.execute("SELECT pg_catalog.set_config(%s, %s, %s)", [name, value, local])


class StatementError(SourceError):
    """The server refused a statement or ended the session; `sqlstate` is empty without a message
    of its own."""

    def __init__(self, message: str, *, subject: str, code: str, sqlstate: str = "") -> None:
        super().__init__(message, subject=subject, code=code)
        self.sqlstate = sqlstate


class CopyStream:
    """The blocks of one COPY, to be iterated over once and to the end.

    `rows` and `bytes` are complete when the iteration has ended. Raises `StatementError` when the
    stream was cut short.
    """

    def __init__(self, session: CopySession, *, count_rows: bool) -> None:
        self._blocks = session.read_stream(self, count_rows=count_rows)
        self._head: list[Block] = []
        self.rows = 0
        self.bytes = 0

    def begin(self) -> None:
        """Wait for the first block: a statement that is refused raises here."""
        self._head = list(itertools.islice(self._blocks, 1))

    def __iter__(self) -> Iterator[Block]:
        return itertools.chain(self._head, self._blocks)


class CopySession:
    """A context manager around one psql; `code` is the error code of what fails in it."""

    def __init__(
        self,
        programs: Programs,
        connection: Connection,
        settings: Mapping[str, str],
        *,
        code: str = "capture-aborted",
    ) -> None:
        self._subject = connection.describe()
        self._code = code
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        nonce = secrets.token_hex(16)
        self._marker = f"\\=end of {nonce}\n".encode()
        self._echo = f"\n\\echo '\\\\=end of {nonce}'\n".encode()
        self._broken = False
        self._aborted = False
        arguments = [programs.path("psql"), "-X", "-q", "-A", "-t", "--no-password"]
        arguments += ["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        arguments += ["-d", connection.database_argument(), "-f", "-"]
        self._child = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=connection.environment(),
            start_new_session=True,
        )
        assert self._child.stdout is not None
        assert self._child.stdin is not None
        self._output = self._child.stdout.fileno()
        self._input = self._child.stdin
        _enlarge(self._output)
        sets = "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())
        try:
            self.run(f"{sets};")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, sql: str) -> None:
        """Run statements that give no rows; returns when they are done."""
        for _ in self.copy(sql, count_rows=False):
            pass

    def copy(self, sql: str, *, count_rows: bool = True) -> CopyStream:
        """Begin statements of which the last is a COPY ... TO STDOUT."""
        self._send(sql.encode() + (b"" if sql.endswith(";") else b";") + self._echo)
        return CopyStream(self, count_rows=count_rows)

    def abort(self) -> None:
        """End the child at once, from any thread: whoever reads from it gets an error."""
        self._aborted = True
        with contextlib.suppress(OSError):
            self._child.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End the session. One that is still under way is broken off."""
        if self._broken or self._aborted:
            self.abort()
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._child.wait(_END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.abort()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._stderr.close()

    def read_stream(self, stream: CopyStream, *, count_rows: bool) -> Iterator[Block]:
        """The blocks up to the marker; for `CopyStream`."""
        self._broken = True
        marker, keep = self._marker, len(self._marker)
        buffer, filled = bytearray(_BUFFER_BYTES), 0
        while True:
            with memoryview(buffer) as view:
                got = os.readv(self._output, [view[filled:]])
            if got == 0:
                raise self._failure()
            filled += got
            if buffer.endswith(marker, 0, filled):
                break
            if filled >= _BLOCK_BYTES:
                # The marker may straddle two reads: its length stays back.
                rest = bytes(buffer[filled - keep : filled])
                yield self._block(stream, buffer, filled - keep, count_rows=count_rows)
                buffer = bytearray(_BUFFER_BYTES)
                buffer[:keep] = rest
                filled = keep
            elif got < _SMALL_READ_BYTES:
                time.sleep(_FILL_SECONDS)
        self._broken = False
        if filled > keep:
            yield self._block(stream, buffer, filled - keep, count_rows=count_rows)

    def _block(
        self, stream: CopyStream, buffer: bytearray, size: int, *, count_rows: bool
    ) -> memoryview:
        stream.bytes += size
        if count_rows:
            stream.rows += buffer.count(b"\n", 0, size)
        return memoryview(buffer)[:size]

    def _send(self, data: bytes) -> None:
        if self._broken:
            raise SourceError("a stream was not read to its end", subject=self._subject)
        try:
            self._input.write(data)
            self._input.flush()
        except OSError:
            raise self._failure() from None

    def _failure(self) -> StatementError:
        """Why the child ended, in its own words."""
        self._broken = True
        try:
            status: int | None = self._child.wait(_END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace")
        found = _SQLSTATE.search(text)
        if self._aborted and found is None:
            return StatementError("broken off", subject=self._subject, code=self._code)
        if found is None:
            lines = [line for line in text.splitlines() if line.strip()]
            reason = f"psql ended with status {status} and without a message"
            if lines:
                reason = _OWN_MESSAGE.sub("", lines[-1])
            return StatementError(reason, subject=self._subject, code=self._code)
        code = "database-privilege" if found[1] == _PRIVILEGE else self._code
        return StatementError(found[2], subject=self._subject, code=code, sqlstate=found[1])


def _enlarge(pipe: int) -> None:
    """Fewer switches between reader and writer; the default of 64 KiB also works."""
    size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if size is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, size, _PIPE_BYTES)
