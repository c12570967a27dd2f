"""What every kind of source can do; the contract suite in tests/contract runs over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from strongroom.model import Digests, Finding, Progress, Silent, Stage
from strongroom.repository import SnapshotView, SnapshotWriter


@dataclass(frozen=True, slots=True)
class CaptureContext:
    """What a capture may use: its time, the source's newest snapshot if there is one, and where
    it tells how far it is. `since` is the moment of the recovery point's first database."""

    now: datetime
    parent: SnapshotView | None = None
    progress: Progress = field(default_factory=Silent)
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """The root tree (hex id) that a source pushed, ready to be committed; sizes in bytes.

    `facts` are what the recovery point's record says about it: see docs/FORMAT.md.
    """

    root: str
    size_bytes: int
    files: int = 0
    findings: tuple[Finding, ...] = ()
    stages: tuple[Stage, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What a restore noticed and how long its parts took. It raised nothing, so it is whole
    unless a finding says otherwise. `files` counts those of a part, and is None where none are
    counted; `reused_bytes` were not fetched, for an existing tree held them."""

    findings: tuple[Finding, ...] = ()
    stages: tuple[Stage, ...] = ()
    size_bytes: int = 0
    files: int | None = None
    reused_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """The answer to: is this target identical to the snapshot? `checked` counts comparisons.

    `digests` is None when nothing could be read; `versions` are those of programs that matter.
    """

    checked: int
    findings: tuple[Finding, ...] = ()
    stages: tuple[Stage, ...] = field(default=())
    digests: Digests | None = None
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Source(Protocol):
    """One protected thing. `target` is what the kind restores to: a directory, or a database
    given as a URL or secret reference."""

    name: str
    kind: str

    @property
    def paths(self) -> Sequence[str]:
        """The source's root, as the snapshot records it."""
        ...

    def capture(self, writer: SnapshotWriter, context: CaptureContext) -> Captured:
        """Push the source's content; the caller commits."""
        ...

    def restore(
        self, view: SnapshotView, target: str, *, include: Sequence[str] = ()
    ) -> RestoreOutcome:
        """Bring the content into an empty target; TargetError when something is there."""
        ...

    def prove(self, view: SnapshotView, target: str) -> Proof:
        """Compare an existing target with the snapshot."""
        ...

    def sandbox(self, view: SnapshotView, directory: Path) -> AbstractContextManager[str]:
        """A throw-away target for a drill, gone when the context ends."""
        ...
