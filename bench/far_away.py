"""A proxy that makes a server of this host as slow to answer as one that is far away.

Bytes come out as they went in, later by half of the round trip in each direction: that is what a
distance does to requests, and what a mere pause before each answer is not. `python -m
bench.far_away PORT SECONDS` serves on a free port, prints it, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_HELD_BYTES: Final = 8 << 20  # of one connection and direction; the sender waits beyond it
_PIECE_BYTES: Final = 256 << 10


@contextlib.contextmanager
def far_away(port: int, round_trip_seconds: float) -> Iterator[int]:
    """The port on which the server behind `port` is that far away; the proxy ends with us."""
    command = [sys.executable, "-m", "bench.far_away", str(port), str(round_trip_seconds)]
    proxy = subprocess.Popen(
        command, cwd=_CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert proxy.stdin is not None
    assert proxy.stdout is not None
    try:
        yield int(proxy.stdout.readline())
    finally:
        proxy.stdin.close()
        proxy.wait()
        proxy.stdout.close()


class _Line:
    """One direction of a connection: pieces on their way, each with the moment it comes out."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._changed = asyncio.Condition()

    async def fill(self, reader: asyncio.StreamReader) -> None:
        """Takes in what is sent, to its end."""
        loop = asyncio.get_running_loop()
        piece = b"-"
        while piece:
            piece = await reader.read(_PIECE_BYTES)
            async with self._changed:
                await self._changed.wait_for(lambda: self._held_bytes < _HELD_BYTES)
                self._pieces.append((loop.time() + self._delay_seconds, piece))
                self._held_bytes += len(piece)
                self._changed.notify_all()

    async def drain(self, writer: asyncio.StreamWriter) -> None:
        """Gives out what was sent, each piece at its moment, to its end."""
        loop = asyncio.get_running_loop()
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._pieces))
                moment, piece = self._pieces.popleft()
                self._held_bytes -= len(piece)
                self._changed.notify_all()
            await asyncio.sleep(max(0.0, moment - loop.time()))
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()


async def _connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, delay_seconds: float
) -> None:
    theirs: asyncio.StreamWriter | None = None
    try:
        await asyncio.sleep(2 * delay_seconds)  # a connection is made by one round trip
        source, theirs = await asyncio.open_connection("127.0.0.1", port)
        there, back = _Line(delay_seconds), _Line(delay_seconds)
        async with asyncio.TaskGroup() as both:
            both.create_task(there.fill(reader))
            both.create_task(there.drain(theirs))
            both.create_task(back.fill(source))
            both.create_task(back.drain(writer))
    except* OSError:
        pass  # either side has gone, which the other learns by the end of its connection
    finally:
        for one in (writer, theirs):
            if one is not None:
                one.close()


async def _serve(port: int, round_trip_seconds: float) -> None:
    delay = round_trip_seconds / 2
    server = await asyncio.start_server(
        lambda reader, writer: _connect(reader, writer, port, delay),
        "127.0.0.1",
        0,
        limit=_PIECE_BYTES,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
