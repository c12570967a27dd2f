"""What the suites share: their setting, fresh homes, one measured turn, stock restic's opinion.

Invariant: a contender that fails is noted as failed and takes no further part in its round.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import FLUSHED, PROOF, RESTIC, VERIFY, Archiver, Home, Restic
from bench.measure import Argv, CommandError, Usage, read_through, run_measured, size_of
from bench.sample import Book, Sample
from bench.server import Server

_ERROR_TAIL_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a suite works, how much, and whom it compares."""

    work: Path
    seed: int
    scale: float
    rounds: int
    archivers: Sequence[Archiver]
    stock_restic: Path

    def home(
        self,
        contender: Archiver,
        family: str,
        *,
        files: Path | None = None,
        server: Server | None = None,
    ) -> Home:
        """A contender's home for one family of measures; variants of one program share theirs."""
        name = contender.name.removesuffix(VERIFY).removesuffix(PROOF).removesuffix(FLUSHED)
        folder = "".join(letter if letter.isalnum() else "-" for letter in name)
        return Home(self.work / family / folder, files, server)


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender in its home."""

    contender: Archiver
    home: Home


def create_homes(book: Book, measure: str, number: int, entries: Sequence[Entry]) -> list[Entry]:
    """Makes fresh homes for a round; returns the entries whose home could be made."""
    ready = []
    for entry in entries:
        try:
            entry.contender.create(entry.home)
        except (CommandError, OSError) as error:
            book.note(Sample(measure, entry.contender.name, number, failure=str(error)))
        else:
            ready.append(entry)
    return ready


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is at what; `warm` is read before, `sized` is where bytes are stored."""

    measure: str
    contender: str
    round: int
    environment: Mapping[str, str]
    directory: Path
    warm: Path
    sized: Path | None = None


def take_turn(book: Book, turn: Turn, pipeline: Sequence[Argv]) -> Usage | None:
    """Runs a contender once and notes the sample; None when it failed.

    What it reads has been read before and the disk is quiet when the clock starts.
    """
    before = _size(turn.sized)
    try:
        read_through(turn.warm)
        os.sync()
        usage = run_measured(pipeline, environment=turn.environment, directory=turn.directory)
    except (CommandError, OSError) as error:
        book.note(Sample(turn.measure, turn.contender, turn.round, failure=str(error)))
        return None
    after = _size(turn.sized)
    book.note(
        Sample(
            turn.measure,
            turn.contender,
            turn.round,
            usage.wall_seconds,
            usage.cpu_seconds,
            usage.peak_bytes,
            stored_bytes=after,
            grown_bytes=None if after is None else after - (before or 0),
            stages=stages_of(usage.output),
        )
    )
    return usage


def turn_of(
    entry: Entry, measure: str, number: int, *, warm: Path | None = None, grows: bool = False
) -> Turn:
    """An entry's turn in its home; it reads `warm`, its own repository when not given."""
    return Turn(
        measure,
        entry.contender.name,
        number,
        entry.contender.environment(entry.home),
        entry.home.directory,
        warm or entry.home.repository,
        entry.home.repository if grows else None,
    )


def _size(place: Path | None) -> int | None:
    return None if place is None else size_of(place)


def stages_of(output: str) -> dict[str, float]:
    """The stages in the JSON document that our program printed, in seconds; none from others."""
    try:
        return {str(one["name"]): float(one["seconds"]) for one in json.loads(output)["stages"]}
    except (ValueError, TypeError, KeyError):
        return {}


def ask_stock_restic(setting: Setting, book: Book, home: Home, measure: str) -> None:
    """Lets stock restic read all of our repository, outside of the clock."""
    judge = Restic(RESTIC, setting.stock_restic)
    answer = subprocess.run(
        [str(word) for word in judge.check(home)[0]],
        env=dict(judge.environment(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    sentence = f"stock `restic check --read-data` finds no fault in our repository ({measure})"
    book.confirm(sentence, answer.returncode == 0, answer.stderr.strip()[-_ERROR_TAIL_CHARACTERS:])
