"""Threads that succeed together or stop together.

Captures, loads and proofs run several streams at once. When one of them fails, the others would
go on for minutes, blocked in child processes: so whatever can block registers how to break it off,
and the first failure breaks off all. The first failure is the one that is raised; what the others
raise because they were broken off is not. An interrupt of the main thread does the same; who works
in other threads than that one gathers their crews, to interrupt them from outside.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import ContextVar
from weakref import WeakSet

from strongroom.errors import StrongroomError

__all__ = ["Crew", "Crews"]


class Crew:
    """Runs tasks in threads. One use each."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._breakers: list[Callable[[], None]] = []
        self._failure: BaseException | None = None
        self.stopped = False
        if (gathering := _GATHERING.get()) is not None:
            gathering.take(self)

    @contextlib.contextmanager
    def breaking(self, breaker: Callable[[], None]) -> Iterator[None]:
        """While the context lasts, `breaker` is called when the crew must stop."""
        with self._guard:
            if self.stopped:
                breaker()
            self._breakers.append(breaker)
        try:
            yield
        finally:
            with self._guard:
                self._breakers.remove(breaker)

    def stop(self) -> None:
        """Break off whatever is under way."""
        with self._guard:
            self.stopped = True
            for breaker in self._breakers:
                breaker()

    def interrupt(self) -> None:
        """As `stop`, by somebody outside: whoever waits for the tasks gets an error."""
        with self._guard:
            if self._failure is None:
                self._failure = StrongroomError("the run was cancelled", code="interrupted")
        self.stop()

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run all tasks at once; returns when all are done, or raises the first failure;
        StrongroomError `interrupted` when somebody outside has broken them off."""
        with ThreadPoolExecutor(max(len(tasks), 1), thread_name_prefix="postgres") as pool:
            futures = [pool.submit(self._watched, task) for task in tasks]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                self.stop()
                raise
        if self._failure is not None:
            raise self._failure

    def _watched(self, task: Callable[[], None]) -> None:
        try:
            if not self.stopped:
                task()
        except BaseException as error:
            with self._guard:
                if self._failure is None and not self.stopped:
                    self._failure = error
            self.stop()
            raise


class Crews:
    """The crews that one thread makes for a piece of work; any thread may interrupt them all."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._crews: WeakSet[Crew] = WeakSet()
        self._stopped = False

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """While the context lasts, crews made in this thread belong to these."""
        before = _GATHERING.set(self)
        try:
            yield
        finally:
            _GATHERING.reset(before)

    def take(self, crew: Crew) -> None:
        """One more; it is broken off at once when the others were."""
        with self._guard:
            self._crews.add(crew)
            stopped = self._stopped
        if stopped:
            crew.interrupt()

    def interrupt(self) -> None:
        """Break off all of them, and those that are still to come."""
        with self._guard:
            self._stopped = True
            crews = list(self._crews)
        for one in crews:
            one.interrupt()


_GATHERING: ContextVar[Crews | None] = ContextVar("gathering", default=None)
