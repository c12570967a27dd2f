"""Work for several sessions at once: the heaviest that is free to run goes first.

Tasks lock tables, alone or shared as PostgreSQL will lock them, so that no session stands in line
behind another while there is other work. A task that is done may have made others possible: these
are added while it still counts as running. Knows nothing of databases.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Agenda", "Task"]

T = TypeVar("T")


def _weight(task: Task[T]) -> int:
    return task.weight


@dataclass(frozen=True, slots=True, eq=False)
class Task(Generic[T]):
    """A piece of work: how heavy it is among the others, and which tables it locks how."""

    what: T
    weight: int = 0
    alone: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()


class Agenda(Generic[T]):
    """What is to be done. Safe to use from several threads."""

    def __init__(self, tasks: Iterable[Task[T]] = ()) -> None:
        self._waiting = sorted(tasks, key=_weight)  # the heaviest last
        self._running = 0
        self._alone: set[str] = set()
        self._shared: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, tasks: Iterable[Task[T]]) -> None:
        """More work, made possible by a task that is still running."""
        with self._changed:
            for task in tasks:
                bisect.insort(self._waiting, task, key=_weight)
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody gets any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def work(self, perform: Callable[[T], None]) -> None:
        """Perform tasks until none is left, waiting while all that are left are locked out; the
        first error of any worker ends the work of all."""
        while (task := self._take()) is not None:
            try:
                perform(task.what)
            except BaseException:
                self.stop()
                raise
            finally:
                self._give_back(task)

    def _take(self) -> Task[T] | None:
        with self._changed:
            while True:
                if self._stopped:
                    return None
                for place in range(len(self._waiting) - 1, -1, -1):
                    task = self._waiting[place]
                    if self._is_free(task):
                        del self._waiting[place]
                        self._running += 1
                        self._alone |= task.alone
                        self._shared.update(task.shared)
                        return task
                if not self._waiting and not self._running:
                    return None
                self._changed.wait()

    def _is_free(self, task: Task[T]) -> bool:
        if not self._alone.isdisjoint(task.alone) or not self._alone.isdisjoint(task.shared):
            return False
        return not any(self._shared[table] for table in task.alone)

    def _give_back(self, task: Task[T]) -> None:
        with self._changed:
            self._running -= 1
            self._alone -= task.alone
            self._shared.subtract(task.shared)
            self._changed.notify_all()
