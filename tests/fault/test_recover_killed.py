"""A recovery that is killed at any moment goes on when it is started again, and ends as if nothing
had been: proven, with nothing left of earlier tries."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from strongroom.config import load_settings
from strongroom.model import Verdict
from strongroom.service.application import Application
from strongroom.service.recovering import recover
from strongroom.service.recovery_journal import journal_in
from tests.e2e.command_line import Place
from tests.support.recovery_ground import empty_machine, ended, free_port, make_production, serving


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _Counter:
    """Counts moments; at the chosen one the process is killed."""

    chosen: int | None
    seen: int = 0

    def __call__(self, *_: object) -> None:
        self.seen += 1
        if self.seen == self.chosen:
            _die()


class _Reads:
    """A `Progress` in which every step of reading is a moment."""

    def __init__(self, counter: Callable[..., None]) -> None:
        self._counter = counter

    def begin(self, stage: str, total_bytes: int | None) -> None:
        del stage, total_bytes

    def advance(self, bytes_done: int, items_done: int = 0) -> None:
        del bytes_done, items_done
        self._counter()

    def end(self) -> None:
        return None


def _attempt(told: Connection, config: Path, target: Path, of: str, chosen: int | None) -> None:
    counter = _Counter(chosen)
    application = Application(load_settings(config))
    application.config_file = config
    if of == "reads":
        application.progress = _Reads(counter)
    elif of == "stages":
        application.say = counter
    else:

        def before(event: str, arguments: tuple[object, ...]) -> None:
            # A journal that gets its name, and sources that get theirs.
            if event == "os.rename" and str(target) in str(arguments[0]):
                counter()

        sys.addaudithook(before)
    report = recover(application, str(target), reason="test")
    told.send((report.verdict.value, counter.seen))
    told.close()


def attempt(place: Place, target: Path, of: str, chosen: int | None) -> tuple[str, int] | None:
    """One run in a process of its own: its verdict and the moments; None when it was killed."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    with ours:
        child = context.Process(target=_attempt, args=(theirs, place.config, target, of, chosen))
        child.start()
        theirs.close()
        try:
            answer: tuple[str, int] | None = ours.recv()
        except EOFError:
            answer = None
        child.join()
    assert child.exitcode == (-9 if answer is None else 0)
    return answer


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_production(tmp_path_factory.mktemp("killed") / "tms")


@pytest.mark.parametrize("of", ["reads", "stages", "renames"])
def test_killed_at_every_moment_it_goes_on(production: Place, tmp_path: Path, of: str) -> None:
    place = empty_machine(production, tmp_path / "machine", serving(free_port()))
    whole = tmp_path / "whole"
    with ended(whole):
        answer = attempt(place, whole, of, None)
    assert answer is not None
    verdict, moments = answer
    assert verdict == Verdict.PROVEN.value
    assert moments >= 5
    for moment in range(1, moments + 1):
        target = tmp_path / f"{of}-{moment}"
        with ended(target):
            if attempt(place, target, of, moment) is not None:
                continue  # threads take turns otherwise: there were fewer moments this time
            journal = journal_in(target)
            before = {
                name: (target / name).stat().st_ino
                for name, one in (journal.brought.items() if journal else ())
                if one.settled
            }
            again = attempt(place, target, of, None)
            if again is None or again[0] != Verdict.PROVEN.value:
                pytest.fail(f"killed at {of} {moment}: {again}")
            for name, inode in before.items():  # proven, so not restored again
                assert (target / name).stat().st_ino == inode
            assert sorted(one.name for one in target.iterdir()) == [
                ".strongroom",
                "code",
                "uploads",
            ]


def test_killed_again_and_again_it_ends(production: Place, tmp_path: Path) -> None:
    """Each run gets one stage further at least."""
    place = empty_machine(production, tmp_path / "machine", serving(free_port()))
    target = tmp_path / "target"
    with ended(target):
        for moment in range(1, 40):
            answer = attempt(place, target, "stages", moment)
            if answer is not None:
                assert answer[0] == Verdict.PROVEN.value
                break
        journal = journal_in(target)
        assert journal is not None
        assert journal.finished_at is not None
        assert journal.runs > 1
