"""Work for several sessions: the heaviest that is free goes first, and locks are kept."""

from __future__ import annotations

import threading

import pytest

from strongroom.postgres.agenda import Agenda, Task


def test_the_heaviest_goes_first_and_more_may_come() -> None:
    agenda = Agenda([Task("small", 1), Task("large", 9)])
    done: list[str] = []

    def perform(what: str) -> None:
        done.append(what)
        if what == "large":
            agenda.add([Task("index", 5)])

    agenda.work(perform)
    assert done == ["large", "index", "small"]
    assert len(agenda) == 0


def test_nobody_works_on_what_another_has_alone() -> None:
    tasks = [
        Task(f"{kind}{number}", number, alone, shared)
        for number in range(40)
        for kind, alone, shared in (
            ("a", frozenset({"t"}), frozenset[str]()),
            ("s", frozenset[str](), frozenset({"t"})),
            ("u", frozenset({"u"}), frozenset[str]()),
        )
    ]
    agenda = Agenda(tasks)
    guard = threading.Lock()
    running: list[str] = []
    bad: list[list[str]] = []
    done: list[str] = []

    def perform(what: str) -> None:
        with guard:
            running.append(what)
            kinds = sorted(one[0] for one in running)
            if kinds.count("a") > 1 or kinds.count("u") > 1 or {"a", "s"} <= set(kinds):
                bad.append(list(running))
        with guard:
            running.remove(what)
            done.append(what)

    threads = [threading.Thread(target=agenda.work, args=(perform,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == []
    assert sorted(done) == sorted(one.what for one in tasks)


def test_an_error_ends_the_work_of_all() -> None:
    agenda = Agenda([Task("bad", 2), Task("never", 1)])
    done: list[str] = []

    def perform(what: str) -> None:
        if what == "bad":
            raise ValueError(what)
        done.append(what)

    with pytest.raises(ValueError, match="bad"):
        agenda.work(perform)
    agenda.work(perform)
    assert done == []
