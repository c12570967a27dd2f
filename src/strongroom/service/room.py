"""How much room stores have, and whether they answer: asked now, and told as records tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strongroom.errors import StorageError, StrongroomError
from strongroom.repository import Repository
from strongroom.repository.storage import Patience, Room
from strongroom.service.application import LOG, Application

__all__ = ["Answer", "ask_stores", "spaces_json"]

# A store that is away must not hold up the answers of the others.
_WAIT_SECONDS: Final = 20.0
_PATIENCE: Final = Patience(total_seconds=8.0)


def spaces_json(repositories: Iterable[Repository]) -> list[dict[str, Any]]:  # Any: JSON values
    """How much room the stores of these repositories have; nothing of those that don't tell."""
    found = []
    for one in repositories:
        try:
            room = one.storage.room()
        except StorageError:  # of which the run itself will tell
            LOG.debug("room of %s is not known", one.name, exc_info=True)
            continue
        if room is not None:
            found.append(room_json(one.name, room))
    return found


def room_json(repository: str, room: Room) -> dict[str, Any]:  # Any: JSON values
    """As records have it."""
    return {
        "repository": repository,
        "total_bytes": room.total_bytes,
        "free_bytes": room.free_bytes,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store said: how much room it has, None when it does not tell, or why it gave no
    answer."""

    repository: str
    room: Room | None = None
    error: str = ""

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self.repository,
            "reached": not self.error,
            "error": self.error or None,
        }


def ask_stores(application: Application) -> Sequence[Answer]:
    """Whether each repository's store answers and has a repository, and how much room it has; all
    at once, and no key is opened."""
    names = list(application.settings.repositories)
    asker = Application(application.settings)
    asker.patience = _PATIENCE
    done: dict[str, Answer | BaseException] = {}

    def ask(name: str) -> None:
        try:
            done[name] = _ask(asker, name)
        except BaseException as error:
            done[name] = error

    asking = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in asking:
        thread.start()
    end = time.monotonic() + _WAIT_SECONDS
    for thread in asking:
        thread.join(max(end - time.monotonic(), 0))
    answers = []
    for name in names:
        match done.get(name):
            case Answer() as answer:
                answers.append(answer)
            case None:
                told = f"it has not answered within {_WAIT_SECONDS:.0f} s"
                answers.append(Answer(name, error=told))
            case StrongroomError() as error:
                answers.append(Answer(name, error=error.message))
            case bug:
                raise bug
    return answers


def _ask(asker: Application, name: str) -> Answer:
    storage = asker.storage(name)
    try:
        storage.size("config")
        return Answer(name, storage.room())
    finally:
        storage.close()
