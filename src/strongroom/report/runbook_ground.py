"""What a runbook is made from: settings, evidence as it is judged, recovery points, procedures.

Here are also the questions that several of its chapters ask. Nothing is guessed: what no record
tells of is None, and the chapters say that it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from strongroom.config.value import is_reference
from strongroom.model import Verdict
from strongroom.report.check import worst
from strongroom.report.judgement import Report
from strongroom.report.observation import WHOLE, Evidence, Observation, Promise
from strongroom.report.shell import secret, variable
from strongroom.report.weighing import proofs_of, weigh
from strongroom.report.wording import clock

if TYPE_CHECKING:
    from strongroom.config.recovery_settings import Recovery
    from strongroom.config.settings import Settings

__all__ = ["Copy", "Point", "Procedure", "Runbook", "Timed"]

_SUPABASE: Final = (".supabase.co", ".supabase.com")
_BEST_FIRST: Final = (Verdict.PROVEN, Verdict.STALE, Verdict.FAILED, Verdict.UNKNOWN)
_MOST_POINTS: Final = 5


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot of a source in a repository."""

    source: str
    repository: str
    snapshot: str
    tree: str


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point as the ledger knows it, and what of it is still stored."""

    id: str
    captured_at: datetime
    copies: tuple[Copy, ...]

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(one.source for one in self.copies)

    def holders(self, sources: Sequence[str]) -> tuple[str, ...]:
        """The repositories that hold all of these sources."""
        having: dict[str, set[str]] = {}
        for one in self.copies:
            having.setdefault(one.repository, set()).add(one.source)
        return tuple(name for name, held in having.items() if held.issuperset(sources))


@dataclass(frozen=True, slots=True)
class Procedure:
    """A file of the operators' own, as Markdown; `fault` says why there is none."""

    name: str
    markdown: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """How long it took to bring a source, or the application, back."""

    seconds: float
    size_bytes: int | None
    repository: str
    at: datetime
    action: str


@dataclass(frozen=True, slots=True)
class Runbook:
    """The ground. `points` come newest first; `mask` takes what may be a secret out of commands and
    texts that somebody wrote (invariant I6). `kept` is what the shell makes of secrets, by
    reference, that lie elsewhere than the settings say, as in a kit."""

    settings: Settings
    report: Report
    evidence: Evidence
    promise: Promise
    points: tuple[Point, ...]
    procedures: tuple[Procedure, ...]
    config_file: str
    mask: Callable[[str], str]
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def made_at(self) -> datetime:
        return self.report.made_at

    @property
    def recovery(self) -> Recovery | None:
        return self.settings.recovery

    def clock(self, moment: datetime) -> str:
        """A time, with its zone."""
        zone = self.settings.schedule.time_zone
        return f"{clock(moment, zone)} {zone}"

    def mask_of(self, name: str, value: str) -> str:
        """The value of a variable, without what may be a secret by its name."""
        return self.mask(f"{name}={value}").removeprefix(f"{name}=")

    def secret(self, reference: str, fallback: str) -> str:
        """What the shell makes of a secret; `fallback` is a variable, for what it can't get at."""
        return self.kept.get(reference) or secret(reference, fallback)

    def of_kind(self, *kinds: str) -> list[str]:
        """The names of the sources of these kinds."""
        return [name for name, one in self.settings.sources.items() if one.kind in kinds]

    # Places

    def named(self, kind: str) -> str | None:
        """The source of a kind that the application runs with, where one is meant."""
        given = None
        if self.recovery is not None:
            given = self.recovery.code if kind == "git" else self.recovery.database
        names = self.of_kind(kind)
        return given or (names[0] if len(names) == 1 else None)

    def folder(self, source: str) -> str:
        """Where in the target a source goes."""
        return str(self.recovery.folder_of(source)) if self.recovery is not None else source

    def placed(self, source: str, above: str = "${TARGET:?}") -> str:
        """The same as the shell has it, within double quotes."""
        return f"{above}/{self.folder(source)}"

    def url_names(self, prefix: str) -> Mapping[str, str]:
        """For each database the variable that holds the URL of where it goes."""
        names = self.of_kind("postgres")
        return {
            name: f"{prefix}_URL" if len(names) == 1 else variable(f"{prefix}_{name}", "URL")
            for name in names
        }

    def databases_to_name(self) -> Mapping[str, str]:
        """The variables for databases of which the settings don't say where they go."""
        known = self.recovery.databases if self.recovery is not None else {}
        meant = self.named("postgres")
        return {
            name: one
            for name, one in self.url_names("NEW_DATABASE").items()
            if name not in known and (meant is None or name == meant)
        }

    @property
    def is_supabase(self) -> bool:
        """Whether the database is with Supabase, as the settings tell."""
        told = self.settings.runbook.provider
        if told is not None:
            return told == "supabase"
        return any(map(_is_of_supabase, self._urls()))

    def _urls(self) -> Iterator[str]:
        for one in self.settings.sources.values():
            url = getattr(one, "url", "")
            if url and not is_reference(url):
                yield url

    # Evidence

    def proof_of(self, copy: Copy) -> Verdict:
        """What is known of a copy today."""
        found = [
            one
            for one in proofs_of(self.evidence, copy.source)
            if (one.repository, one.tree) == (copy.repository, copy.tree)
            and one.verdict is not None
        ]
        if not found:
            return Verdict.UNKNOWN
        return weigh(found[-1], self.promise, self.evidence.chain, self.made_at)[0]

    def verdict_of(self, point: Point, source: str) -> Verdict:
        """The best that is known of any copy of a source in a point."""
        known = {self.proof_of(one) for one in point.copies if one.source == source}
        return next((one for one in _BEST_FIRST if one in known), Verdict.UNKNOWN)

    def verdict(self, point: Point) -> Verdict:
        """What is known of a point: the worst of its sources."""
        return worst(self.verdict_of(point, one) for one in self.settings.sources)

    def whole_points(self) -> list[Point]:
        """Those that hold every source, newest first."""
        return [one for one in self.points if one.sources >= set(self.settings.sources)]

    def chosen(self) -> tuple[Point, str] | None:
        """The point that a recovery takes, by the rule of `recover`, and why; None without one."""
        whole = self.whole_points()
        verdicts = {one.id: self.verdict(one) for one in whole}
        rules: tuple[tuple[frozenset[Verdict], str], ...] = (
            (frozenset({Verdict.PROVEN, Verdict.STALE}), "the newest that is proven"),
            (frozenset({Verdict.UNKNOWN}), "the newest; none was proven yet"),
            (frozenset(Verdict), "the newest; none is known to be whole"),
        )
        for fitting, because in rules:
            for one in whole:
                if verdicts[one.id] in fitting:
                    return one, because
        return None

    def shown_points(self) -> list[Point]:
        """Those to list: the newest few, and the one that would be taken."""
        shown = list(self.points[:_MOST_POINTS])
        chosen = self.chosen()
        if chosen is not None and chosen[0] not in shown:
            shown.append(chosen[0])
        return shown

    def took(self, source: str) -> Timed | None:
        """The newest time that it took to bring a source back and prove it."""
        return self._timed(source, ("drill", "restore"))

    def whole_took(self) -> Timed | None:
        """The same for the whole application, started and asked."""
        return self._timed(WHOLE, ("application-drill",))

    def _timed(self, source: str, actions: Sequence[str]) -> Timed | None:
        for one in reversed(self.evidence.observations):
            fits = one.source == source and one.action in actions
            if fits and one.verdict is Verdict.PROVEN and one.stages:
                return _timed(one)
        return None

    def sizes(self) -> Mapping[str, int | None]:
        """The bytes of each source's newest capture."""
        return {
            line.name: line.capture.size_bytes if line.capture else None
            for line in self.report.sources
        }

    def last_verified(self) -> tuple[datetime | None, list[str]]:
        """Since when every source is known to come back; and the sources that never did."""
        proven: list[datetime] = []
        never = []
        for line in self.report.sources:
            if line.proof is not None and line.is_proven:
                proven.append(line.proof.observation.at)
            else:
                never.append(line.name)
        return (min(proven) if proven and not never else None), never


def _timed(one: Observation) -> Timed:
    return Timed(one.seconds, one.size_bytes, one.repository, one.at, one.action)


def _is_of_supabase(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host.endswith(_SUPABASE)
