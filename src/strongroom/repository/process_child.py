"""The inside of a working process: commands come in, answers go out, memory is shared.

Messages are length-prefixed `marshal` documents on a socket, both ends being ours and of one
version; a message can carry open descriptors. The end of the commands ends the process.
"""

from __future__ import annotations

import marshal
import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeAlias

_LENGTH: Final = struct.Struct("<I")
_MOST_DESCRIPTORS: Final = 253  # the kernel's bound for one message

CarryOut: TypeAlias = Callable[[Any, Sequence[int]], Any]
"""Answers a command; it may use the descriptors until it returns. `Any`: see `send_message`."""


def send_message(pipe: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send one document, with open descriptors if any. `Any`: tuples, lists, bytes, numbers."""
    content = marshal.dumps(message)
    socket.send_fds(pipe, [_LENGTH.pack(len(content))], list(descriptors))
    pipe.sendall(content)


def receive_message(pipe: socket.socket) -> tuple[Any, list[int]]:  # Any: what was sent
    """The next document and its descriptors; (None, []) when the other side has gone."""
    head, descriptors, _, _ = socket.recv_fds(pipe, _LENGTH.size, _MOST_DESCRIPTORS)
    if len(head) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        content = bytearray(length)
        view, received = memoryview(content), 0
        while received < length and (count := pipe.recv_into(view[received:])):
            received += count
        if received == length:
            return marshal.loads(content), descriptors  # noqa: S302 - nobody else has the socket
    for one in descriptors:
        os.close(one)
    return None, []


def serve(prepare: Callable[[memoryview, Any], CarryOut]) -> None:
    """The process's whole life. `prepare` gets the shared memory and the greeting, of any shape.

    The process's arguments are the descriptors of memory and socket.
    """
    with socket.socket(fileno=int(sys.argv[2])) as pipe:
        greeting, _ = receive_message(pipe)
        if greeting is None:
            return
        with mmap.mmap(int(sys.argv[1]), 0) as memory, memoryview(memory) as whole:
            carry_out = prepare(whole, greeting)
            while True:
                command, descriptors = receive_message(pipe)
                if command is None:
                    _end()
                try:
                    answer = carry_out(command, descriptors)
                finally:
                    for one in descriptors:
                        os.close(one)
                try:
                    send_message(pipe, answer)
                except ConnectionError:  # the other side was killed: nobody is there to be told
                    _end()


def _end() -> NoReturn:
    """Views of the memory may still be about: nothing is to be put in order."""
    os._exit(0)
