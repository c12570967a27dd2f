"""Working processes, and the memory that is shared with them, in slots of equal size.

One interpreter's lock lets about two processors do useful work; processes share nothing but the
slot in which a job's data lies. A child that dies (the kernel's choice when memory is short) costs
speed and nothing else: what it had been given is left to whoever gave it.

Invariants: memory is bounded by the number of slots, and whoever wants one waits; a child ends
with its parent, however sudden. Secrets go through the socket.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import queue
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from strongroom.repository.process_child import receive_message, send_message

_LOG: Final = logging.getLogger("strongroom")
# Whatever is under way fits, so that neither side ever waits for the other to read.
_SOCKET_BYTES: Final = 1 << 20

Job = TypeVar("Job")


class ProcessPool(Generic[Job]):
    """Processes that run `program`, a statement, and were greeted with one document.

    `answered` gets a job and the answer to its last command, and gives its next command, or None
    when it is done; `left` gets a job whose child is gone. Both are called from threads of the
    pool and must not raise. `Any`: documents as `process_child.send_message` takes them.
    """

    def __init__(
        self,
        program: str,
        greeting: Any,
        *,
        processes: int,
        slots: int,
        slot_bytes: int,
        answered: Callable[[Job, Any], Any],
        left: Callable[[Job], None],
    ) -> None:
        self._answered, self._left = answered, left
        self._children: list[_Child[Job]] = []
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.slot_bytes = slot_bytes
        descriptor = os.memfd_create("strongroom", os.MFD_CLOEXEC)
        try:
            os.truncate(descriptor, slots * slot_bytes)
            self.memory = mmap.mmap(descriptor, slots * slot_bytes)
            for _ in range(processes):
                with contextlib.suppress(OSError):
                    self._children.append(_Child(program, descriptor, greeting))
        finally:
            os.close(descriptor)
        for slot in range(slots):
            self._free.put(slot)
        for child in self._children:
            child.thread = threading.Thread(
                target=self._receive, args=(child,), name="answers", daemon=True
            )
            child.thread.start()

    def try_slot(self) -> int | None:
        """A free slot if there is one now."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return None

    def take_slot(self, check: Callable[[], None]) -> int:
        """A free slot; waits for one, and calls `check` from time to time, which may raise."""
        while True:
            try:
                return self._free.get(timeout=0.5)
            except queue.Empty:
                check()

    def free_slot(self, slot: int) -> None:
        self._free.put(slot)

    def give(self, job: Job, command: Any, descriptors: Sequence[int] = ()) -> bool:
        """Hand a job to the child that has the least to do; False when no child is left."""
        for child in sorted(self._children, key=lambda one: len(one.jobs)):
            if child.give(job, command, descriptors):
                return True
        return False

    def close(self) -> None:
        """End the processes; those that have something to do at once."""
        for child in self._children:
            child.end()
        for child in self._children:
            child.thread.join()
        self._children.clear()
        self.memory.close()

    def _receive(self, child: _Child[Job]) -> None:
        while (answer := child.receive()) is not None:
            job = child.jobs.popleft()
            command = self._answered(job, answer)
            if command is not None and not child.give(job, command):
                self._left(job)
        for job in child.abandon():
            self._left(job)


def start_pool(make: Callable[[], ProcessPool[Job]]) -> ProcessPool[Job] | None:
    """A pool, or None where there can be none: then all is done in this process."""
    if not hasattr(os, "memfd_create") or not sys.executable:  # not Linux; embedded
        return None
    try:
        return make()
    except (OSError, RuntimeError):  # no memory, descriptors, processes or threads left
        _LOG.debug("no processes can be started", exc_info=True)
        return None


class _Child(Generic[Job]):
    """One process: our end of its socket, and the jobs that it has not answered yet, in order."""

    def __init__(self, program: str, memory: int, greeting: Any) -> None:  # Any: a document
        self.jobs: deque[Job] = deque()
        self.thread: threading.Thread
        self._alive = True
        self._guard = threading.Lock()
        self._pipe, theirs = socket.socketpair()
        with theirs:
            for end in (self._pipe, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            # A session of its own: Ctrl-C is for us, and the end of its commands ends it.
            self._program = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(memory), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(memory, theirs.fileno()),
                start_new_session=True,
            )
        self._send(greeting, ())

    def give(self, job: Job, command: Any, descriptors: Sequence[int] = ()) -> bool:
        """Hand over a job; False when the process is gone. `Any`: a document."""
        with self._guard:
            if not self._alive:
                return False
            self.jobs.append(job)
            # Sent or not, from here on the receiving thread answers for the job.
            self._send(command, descriptors)
            return True

    def receive(self) -> Any:  # Any: a document
        """The next answer; None when the process is gone."""
        try:
            return receive_message(self._pipe)[0]
        except OSError:
            return None

    def abandon(self) -> list[Job]:
        """No job is taken from now on; returns those that were not answered."""
        with self._guard:
            self._alive = False
            left = list(self.jobs)
            self.jobs.clear()
        self._pipe.close()
        status = self._program.wait()
        if left:
            _LOG.warning("a working process ended with status %d; its work is done here", status)
        return left

    def end(self) -> None:
        """Let the process end; at once when it has something to do."""
        with self._guard:
            if self._alive and self.jobs:
                self._program.kill()
            with contextlib.suppress(OSError):
                self._pipe.shutdown(socket.SHUT_WR)

    def _send(self, message: Any, descriptors: Sequence[int]) -> None:  # Any: a document
        try:
            send_message(self._pipe, message, descriptors)
        except OSError:
            # It has gone, or never got all of it: either way it is ended, the receiving thread
            # notices, and what it was given is done elsewhere.
            self._program.kill()
