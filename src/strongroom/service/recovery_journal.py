"""The journal of a recovery, in the directory that is recovered into: what was begun, what is back.

Invariants: it is written anew as a whole and flushed before what it says is relied on; it holds no
secret. Who has the lock beside it is the only one who recovers here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from strongroom.errors import IntegrityError, TargetError
from strongroom.model import Finding, Stage, Verdict
from strongroom.recovery.application_run import Served
from strongroom.service.occupancy import sole
from strongroom.service.rendering import stages_json, time_json
from strongroom.sources.files import refuse_unless_empty

__all__ = ["Brought", "Journal", "held", "journal_in"]

FOLDER: Final = ".strongroom"
_NAME: Final = "recovery.json"
_FORMAT: Final = 1
_KEY_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Brought:
    """A source that was restored and compared, and when; `settled` once it has its own name.
    `by_hand` is what its snapshot could not bring along."""

    source: str
    repository: str
    snapshot: str
    target: str
    verdict: Verdict
    checked: int
    size_bytes: int
    findings: tuple[Finding, ...]
    stages: tuple[Stage, ...]
    begun_at: datetime
    ended_at: datetime
    by_hand: tuple[str, ...] = ()
    settled: bool = False

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.stages)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "source": self.source,
            "repository": self.repository,
            "snapshot": self.snapshot,
            "target": self.target,
            "verdict": self.verdict.value,
            "checked": self.checked,
            "bytes": self.size_bytes,
            "seconds": round(self.seconds, 3),
            "findings": [one.as_json() for one in self.findings],
            "stages": stages_json(self.stages),
            "begun_at": time_json(self.begun_at),
            "ended_at": time_json(self.ended_at),
            "by_hand": list(self.by_hand),
        }

    def as_record(self) -> dict[str, Any]:  # Any: JSON values
        return {**self.as_json(), "settled": self.settled}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:  # Any: JSON values
        return cls(
            str(record["source"]),
            str(record["repository"]),
            str(record["snapshot"]),
            str(record["target"]),
            Verdict(record["verdict"]),
            int(record["checked"]),
            int(record["bytes"]),
            tuple(Finding(f["code"], f["subject"], f["message"]) for f in record["findings"]),
            tuple(Stage(s["name"], float(s["seconds"])) for s in record["stages"]),
            datetime.fromisoformat(record["begun_at"]),
            datetime.fromisoformat(record["ended_at"]),
            tuple(map(str, record["by_hand"])),
            bool(record["settled"]),
        )


@dataclass
class Journal:
    """What is known of one recovery. `databases` are the targets without passwords; `made_roles`
    are the application's roles that the server had not got before; `loading` names sources that
    are being loaded into a database where nothing could be made beside it; `reached` is which of
    the operator's commands have been run: none, those that `prepare`, or those that `start`."""

    folder: Path
    application: str
    point: str
    captured_at: datetime
    begun_at: datetime
    databases: dict[str, str]
    made_roles: tuple[str, ...] = ()
    key: str = field(default_factory=lambda: secrets.token_hex(_KEY_BYTES))
    runs: int = 0
    brought: dict[str, Brought] = field(default_factory=dict)
    loading: list[str] = field(default_factory=list)
    served: Served | None = None
    reached: str = ""
    finished_at: datetime | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def keep(self, brought: Brought) -> None:
        """A source is back, as far as this says. Safe from several threads."""
        with self._guard:
            self.brought[brought.source] = brought
            self._write()

    def forget(self, source: str) -> None:
        """Somebody has removed it since; it is restored again."""
        with self._guard:
            del self.brought[source]
            self._write()

    def load_in_place(self, source: str) -> None:
        """From now on what lies in this database may be half of it. Safe from several threads."""
        with self._guard:
            self.loading.append(source)
            self._write()

    def serve(self, served: Served | None) -> None:
        """What stays running for the application."""
        with self._guard:
            self.served = served
            self._write()

    def reach(self, step: str) -> None:
        """From now on commands of this step may have changed something."""
        with self._guard:
            if self.reached != "start":
                self.reached = step
            self._write()

    def begin_run(self) -> None:
        """One more run goes on from here."""
        with self._guard:
            self.runs += 1
            self._write()

    def finish(self, at: datetime) -> None:
        """All of it is back, works, and is over."""
        with self._guard:
            self.finished_at = at
            self._write()

    def _write(self) -> None:
        document = {
            "format": _FORMAT,
            "application": self.application,
            "point": self.point,
            "captured_at": time_json(self.captured_at),
            "begun_at": time_json(self.begun_at),
            "databases": self.databases,
            "made_roles": list(self.made_roles),
            "key": self.key,
            "runs": self.runs,
            "sources": [one.as_record() for one in self.brought.values()],
            "loading": self.loading,
            "served": [self.served.process, self.served.begun] if self.served else None,
            "reached": self.reached,
            "finished_at": time_json(self.finished_at) if self.finished_at else None,
        }
        content = json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n"
        _replace(self.folder / FOLDER / _NAME, content)


def journal_in(folder: Path) -> Journal | None:
    """The journal of the recovery that was begun here; None when the folder is empty or missing.

    TargetError `target-not-empty` when it holds anything else; IntegrityError when the journal
    cannot be read.
    """
    place = folder / FOLDER / _NAME
    try:
        content = place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not _is_ours_alone(folder):
            refuse_unless_empty(folder)
        return None
    except OSError as error:
        raise TargetError(error.strerror or "", subject=str(place)) from error
    try:
        return _decode(folder, json.loads(content))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the journal of the recovery cannot be read: {error}",
            subject=str(place),
            hint="Recover into another directory.",
        ) from None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else recovers into this folder, which is made; BusyError when somebody does."""
    own = folder / FOLDER
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            own.mkdir(mode=0o700, exist_ok=True)
            stack.enter_context(sole(own, "recovery"))
        except OSError as error:
            raise TargetError(error.strerror or str(error), subject=str(folder)) from error
        yield


def _is_ours_alone(folder: Path) -> bool:
    """Whether a run was killed here before it had a journal: then only our own folder is there."""
    try:
        names = [one.name for one in folder.iterdir()]
        own = {one.name for one in (folder / FOLDER).iterdir()} if names == [FOLDER] else None
    except OSError:
        return False
    return own is not None and own <= {"recovery.lock", f"{_NAME}.new"}


def _decode(folder: Path, document: Mapping[str, Any]) -> Journal:  # Any: JSON values
    if document["format"] != _FORMAT:
        raise ValueError(f"format {document['format']!r} is not known")
    served, finished = document["served"], document["finished_at"]
    return Journal(
        folder,
        str(document["application"]),
        str(document["point"]),
        datetime.fromisoformat(document["captured_at"]),
        datetime.fromisoformat(document["begun_at"]),
        {str(name): str(one) for name, one in document["databases"].items()},
        tuple(map(str, document["made_roles"])),
        str(document["key"]),
        int(document["runs"]),
        {one["source"]: Brought.of(one) for one in document["sources"]},
        list(map(str, document["loading"])),
        Served(int(served[0]), int(served[1])) if served else None,
        str(document.get("reached", "")),
        datetime.fromisoformat(finished) if finished else None,
    )


def _replace(place: Path, content: bytes) -> None:
    """The file with this content, flushed, or as it was before."""
    new = place.with_name(f"{place.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(place)
        above = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)
        finally:
            os.close(above)
    except OSError as error:
        raise TargetError(
            f"the journal cannot be written: {error.strerror}",
            subject=str(place),
            hint="Free space there, then run the command again: it goes on.",
        ) from error
