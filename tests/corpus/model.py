"""What a fault is, how it is looked for, and when it counts as detected.

A `Way` is a run of steps that many faults share: something healthy is set up, then asked by a
command. A `Fault` spoils what was set up before the command is run. The same way without a fault is
the healthy twin, which must raise no alarm; so every fault has a twin, and a twin is run once for
all faults of its way.

A fault is detected when the command ends as the row says, tells all codes that the row names, and
tells nothing else that counts. A row without codes that is to end well is one that must be
*withstood*: it happens, and nothing is lost by it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.e2e.command_line import Answer, Place, run

T = TypeVar("T")

FINE: Final = frozenset({"exit 0", "PROVEN"})


class Grounds:
    """What is expensive to make and shared by many rows, made when it is first asked for."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._made: dict[object, object] = {}
        self._stack = contextlib.ExitStack()
        self._scenes = 0

    def shared(self, make: Callable[[Path], contextlib.AbstractContextManager[T]]) -> T:
        """What `make` gives for a directory of its own, the same one each time."""
        if make not in self._made:
            directory = self.base / f"ground-{len(self._made)}"
            self._made[make] = self._stack.enter_context(make(directory))
        found: Any = self._made[make]  # Any: its type is that of `make`
        result: T = found
        return result

    def new_directory(self) -> Path:
        """A name below which one scene has room."""
        self._scenes += 1
        return self.base / f"scene-{os.getpid()}-{self._scenes}"

    def close(self) -> None:
        self._stack.close()


@dataclass
class Scene:
    """What one row works on. Only `place` is always there; the rest is what its way needs.

    `stack` ends what a fault started, after the command; `afterwards` are questions that must hold
    then, such as whether the fault came about at all.
    """

    place: Place
    stack: contextlib.ExitStack
    target: Path = Path()
    database: str = ""
    ground: Any = None  # Any: what the way's own module made of it
    notes: dict[str, str] = field(default_factory=dict)
    afterwards: list[Callable[[], None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Seen:
    """How a command ended: its outcome, and the codes that it told, loud ones and notes."""

    outcome: str
    loud: frozenset[str]
    notes: frozenset[str] = frozenset()
    told: str = ""


def seen(answer: Answer) -> Seen:
    """What the answer of a command says: a verdict where there is one, else its exit status."""
    document = answer.document
    told = answer.text + answer.err
    if "error" in document:
        return Seen(f"exit {answer.status}", frozenset({document["error"]["code"]}), told=told)
    found = document.get("findings", [])
    loud = {one["code"] for one in found if one["severity"] != "note"}
    loud |= {one["code"] for one in document.get("errors", [])}
    notes = {one["code"] for one in found if one["severity"] == "note"}
    outcome = document.get("verdict") or f"exit {answer.status}"
    return Seen(outcome, frozenset(loud), frozenset(notes), told)


@dataclass(frozen=True)
class Way:
    """Something healthy, and the command that looks at it.

    `group` names the shared ground: one worker runs all rows of a group. `begin` sets the scene up
    and takes it down.
    """

    name: str
    group: str
    begin: Callable[[Grounds], contextlib.AbstractContextManager[Scene]]
    ask: Callable[[Scene], Seen]

    def run(self, grounds: Grounds, spoil: Callable[[Scene], object] | None = None) -> Seen:
        """What is seen with this fault, or without any."""
        with self.begin(grounds) as scene:
            with scene.stack:
                if spoil is not None:
                    spoil(scene)
                result = self.ask(scene)
            for question in scene.afterwards:
                question()
        return result


@dataclass(frozen=True)
class Fault:
    """One row: what is spoiled, who should see it, and what must be seen.

    `codes` are of findings or of the error; `also` may be told besides.
    """

    name: str
    group: str
    rung: str
    way: Way
    spoil: Callable[[Scene], object]
    codes: tuple[str, ...]
    outcome: str
    also: tuple[str, ...] = ()

    @property
    def is_withstood(self) -> bool:
        """Whether nothing need be told, for nothing is to be lost."""
        return not self.codes and self.outcome in FINE

    def missed(self, observed: Seen) -> str:
        """What is wrong with what was seen; nothing when the fault was detected."""
        faults = []
        if observed.outcome != self.outcome:
            faults.append(f"{observed.outcome}, not {self.outcome}")
        if lacking := set(self.codes) - observed.loud - observed.notes:
            faults.append(f"not told: {', '.join(sorted(lacking))}")
        if more := observed.loud - set(self.codes) - set(self.also):
            faults.append(f"told besides: {', '.join(sorted(more))}")
        return "; ".join(faults)


def alarm(observed: Seen) -> str:
    """What a healthy twin was alarmed by; nothing when all is well."""
    if observed.outcome in FINE and not observed.loud:
        return ""
    return f"{observed.outcome}: {', '.join(sorted(observed.loud)) or observed.told[-500:]}"


@dataclass(frozen=True)
class NotYet:
    """A fault that no command of today sees, and why."""

    name: str
    group: str
    because: str


# Asking


def ask(*arguments: object) -> Callable[[Scene], Seen]:
    """A command about the scene's application, in this process."""

    def asked(scene: Scene) -> Seen:
        return seen(run("--config", scene.place.config, "--json", *arguments))

    return asked


def healthy(scene: Scene, *arguments: object) -> dict[str, Any]:  # Any: JSON values
    """The document of a command that belongs to setting up, and must end well."""
    return scene.place.json(*arguments)


@contextlib.contextmanager
def scene_of(place: Place, **known: Any) -> Iterator[Scene]:  # Any: fields of Scene
    """A scene whose stack is empty yet."""
    with contextlib.ExitStack() as stack:
        yield Scene(place, stack, **known)
