"""The demo's story: build an application, capture it, destroy it, recover it, prove it.

Everything goes the way that a command goes: `strongroom.service` does the work, on a server and in
a directory of the demo's own. Told in plain lines by way of `say`; how far a step is goes to
`progress`. Afterwards nothing is left, unless it was to be kept.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from strongroom.demo.application import (
    DEFAULT_ROWS,
    DemoApplication,
    build_application,
)
from strongroom.demo.database import database_exists, drop_database
from strongroom.demo.releases import RELEASES
from strongroom.demo.uploads import file_count
from strongroom.errors import EXIT_FAILED, EXIT_FINE, EXIT_UNKNOWN, TargetError
from strongroom.model import Finding, Progress, Severity, Silent, Stage, Verdict, judge
from strongroom.postgres.cluster import throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.references import read_references
from strongroom.service.application import Application
from strongroom.service.application_drill import ApplicationDrillReport, drill_whole_application
from strongroom.service.backup import BackupReport, backup
from strongroom.service.proof import ProofReport
from strongroom.service.rendering import stages_json
from strongroom.service.restoration import restore_source
from strongroom.service.setup import create_repositories
from strongroom.sources.file_references import FilesOnDisk, compare_references

__all__ = ["StoryReport", "tell_story"]

_MAJOR: Final = 18
_EXITS: Final = {
    Verdict.PROVEN: EXIT_FINE,
    Verdict.FAILED: EXIT_FAILED,
    Verdict.UNKNOWN: EXIT_UNKNOWN,
    Verdict.STALE: EXIT_UNKNOWN,
}
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StoryReport:
    """How it ended. `documents` counts rows whose file was compared with its hash; `drilled` is
    None when the application could not be started on this host; `directory` is None when nothing
    was kept."""

    capture: BackupReport
    proofs: tuple[ProofReport, ...]
    documents: int
    references: tuple[Finding, ...]
    drilled: ApplicationDrillReport | None
    stages: tuple[Stage, ...]
    directory: Path | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        proven = (found for proof in self.proofs for found in proof.findings)
        drilled = self.drilled.findings if self.drilled else ()
        return (*self.capture.point.findings, *proven, *self.references, *drilled)

    def findings_worth_telling(self) -> list[Finding]:
        """All but notes."""
        return [found for found in self.findings if found.severity is not Severity.NOTE]

    @property
    def verdict(self) -> Verdict:
        """PROVEN when every source is, and every document is the file that its row describes."""
        compared = [self.documents, *(proof.outcome.checked for proof in self.proofs)]
        return judge(self.findings, checked=min(compared))

    @property
    def exit_status(self) -> int:
        return _EXITS[self.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "verdict": self.verdict.value,
            "stages": stages_json(self.stages),
            "findings": [found.as_json() for found in self.findings],
            "sources": [proof.as_json() for proof in self.proofs],
            "capture": self.capture.as_json(),
            "documents": self.documents,
            "application": self.drilled.as_json() if self.drilled else None,
            "directory": str(self.directory) if self.directory else None,
        }


def tell_story(
    directory: Path | None = None,
    *,
    rows: int = DEFAULT_ROWS,
    keep: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> StoryReport:
    """Tell the story once. `directory` is empty or does not exist yet; without one a temporary
    one is used. What was built is removed in the end, or kept with `keep`.

    TargetError when the directory holds something; SourceError when PostgreSQL or git is missing.
    """
    with _prepared(directory, keep) as place, throwaway_cluster(major=_MAJOR) as cluster:
        story = _Story(place, progress or Silent(), say or _tell_nobody)
        demo = story.build(cluster.connection("postgres"), rows)
        application, capture = story.capture(demo)
        story.destroy(demo)
        proofs = story.recover(demo, application)
        documents, references = story.compare(demo)
        drilled = story.drill(application)
        kept = place if keep else None
        report = StoryReport(
            capture, proofs, documents, references, drilled, tuple(story.stages), kept
        )
        story.conclude(report)
    return report


class _Story:
    """The steps in their order, and how long each took."""

    def __init__(self, place: Path, progress: Progress, say: Say) -> None:
        self.stages: list[Stage] = []
        self._place = place
        self._progress = progress
        self._say = say

    def build(self, server: Connection, rows: int) -> DemoApplication:
        self._say(f"1. Building the Training Management System in {self._place}")
        with self._measure("build"):
            told = _Counted(self._progress, {"rows": rows, "uploads": file_count(rows)})
            self._progress.begin("build", None)
            try:
                demo = build_application(self._place, server, rows, told)
            finally:
                self._progress.end()
        tags = ", ".join(release.tag for release in RELEASES if release.tag)
        self._say(f"   database  {demo.rows:,} rows on PostgreSQL {_MAJOR}")
        self._say(f"   uploads   {demo.files:,} PDF files, each with a row that knows its hash")
        self._say(f"   code      a Git repository, {len(RELEASES)} commits, tags {tags}")
        return demo

    def capture(self, demo: DemoApplication) -> tuple[Application, BackupReport]:
        self._say("2. Capturing all of it as one recovery point")
        config = demo.write_config()
        application = Application.load(config, progress=self._progress, say=self._say)
        create_repositories(application)
        with self._measure("capture"):
            report = backup(application)
        for one in report.point.snapshots:
            self._say(
                f"   {one.source:<9} snapshot {one.id[:8]}  {_size(one.bytes):>9} held,"
                f" {_size(one.added_bytes):>9} stored, {one.seconds:.1f} s"
            )
        for name, error in report.errors:
            self._say(f"   {name}: {error}")
        if report.errors:
            raise report.errors[0][1]
        return application, report

    def destroy(self, demo: DemoApplication) -> None:
        """Drop the database and delete the folders, then look whether they are really gone."""
        self._say("3. Losing all of it")
        with self._measure("destroy"):
            drop_database(demo.server, demo.database)
            shutil.rmtree(demo.uploads)
            shutil.rmtree(demo.code)
        left = [place.name for place in (demo.uploads, demo.code) if place.exists()]
        if left or database_exists(demo.server, demo.database):
            raise TargetError("something is still there", subject=", ".join(left) or demo.database)
        self._say(f"   database {demo.database} dropped, {demo.uploads.name}/ deleted,"
                  f" {demo.code.name}/ deleted")  # fmt: skip

    def recover(self, demo: DemoApplication, application: Application) -> tuple[ProofReport, ...]:
        self._say("4. Recovering it, and proving that it is what it was")
        targets = {
            "database": demo.database_reference(),
            "uploads": str(demo.uploads),
            "code": str(demo.code),
        }
        proofs = []
        for name, target in targets.items():
            with self._measure(f"recover {name}"):
                proof = restore_source(application, name, target, reason="demo")
            proofs.append(proof)
            self._say(f"   {_proof_line(proof)}")
            self._tell_findings(proof.findings)
        return tuple(proofs)

    def compare(self, demo: DemoApplication) -> tuple[int, tuple[Finding, ...]]:
        """Whether every row of `documents` has its file: database and uploads belong together."""
        with self._measure("compare documents"):
            compared, findings = compare_documents(demo)
        verdict = judge(findings, checked=compared)
        if verdict is Verdict.PROVEN:
            text = f"{compared:,} documents are the files that their rows describe"
        else:
            text = "the database's documents are not the files in uploads"
        self._say(f"   {verdict.value:<8} together   {text}")
        self._tell_findings(findings)
        return compared, findings

    def drill(self, application: Application) -> ApplicationDrillReport | None:
        """Start the application on what a sandbox got back, and use it; None where that can't be
        done, which is said."""
        self._say("5. Starting the application in a sandbox, from the backup alone")
        lacking = _lacking_php()
        if lacking:
            self._say(f"   left out: {lacking}")
            return None
        with self._measure("drill application"):
            report = drill_whole_application(application)
        check = application.settings.application_check
        steps = [*check.http, *check.workflow] if check else []
        if any(one.code == "application-unchecked" for one in report.findings):
            self._say("   left out, for it could not be carried out here:")
            self._tell_findings(report.findings)
            return None
        self._say(f"   {report.verdict.value:<8} application  {len(steps)} requests without a"
                  f" network, {report.outcome.checked:,} comparisons")  # fmt: skip
        self._tell_findings(report.findings)
        return report

    def conclude(self, report: StoryReport) -> None:
        """The stopwatch, the verdict, and what to do with one's own application."""
        self._say("6. The stopwatch")
        for stage in self.stages:
            inner = _inner_stages(stage.name, report.proofs)
            self._say(f"   {stage.name:<20} {stage.seconds:6.1f} s{inner}")
        lost = sum(one.seconds for one in self.stages if one.name.startswith(("recover", "comp")))
        if report.verdict is Verdict.PROVEN:
            self._say(f"PROVEN: everything was lost, and {lost:.1f} s later it was back, compared"
                      " and identical.")  # fmt: skip
        else:
            self._say(f"{report.verdict.value}: see the findings above.")
        for line in _next_steps(report.directory):
            self._say(line)

    def _tell_findings(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            if one.severity is not Severity.NOTE:
                self._say(f"     {one.severity.value}  {one.code}  {one.subject}: {one.message}")

    @contextlib.contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.stages.append(Stage(name, time.monotonic() - begun))


class _Counted:
    """Turns shares of a stage into items, for `Progress`."""

    def __init__(self, progress: Progress, items: Mapping[str, int]) -> None:
        self._progress = progress
        self._items = items
        self._told = dict.fromkeys(items, 0)

    def __call__(self, stage: str, share: float) -> None:
        if stage in self._items:
            done = int(self._items[stage] * share)
            self._progress.advance(0, done - self._told[stage])
            self._told[stage] = done


def compare_documents(demo: DemoApplication) -> tuple[int, tuple[Finding, ...]]:
    """How many rows of `documents` were compared with their files, and what did not agree."""
    rows = read_references(
        demo.server.with_database(demo.database), "SELECT file_path, sha256 FROM public.documents"
    )
    compared = compare_references(rows, FilesOnDisk(demo.uploads), subject="database to uploads")
    return compared.checked, tuple(compared.findings)


@contextlib.contextmanager
def _prepared(directory: Path | None, keep: bool) -> Iterator[Path]:
    """The directory to build in; what was built is gone afterwards unless it is kept."""
    existed = directory is not None and directory.exists()
    place = (directory or Path(tempfile.mkdtemp(prefix="strongroom-demo-"))).resolve()
    if existed and any(place.iterdir()):
        raise TargetError("the directory is not empty", subject=str(place), code="target-not-empty")
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
            if existed:
                place.mkdir()


def _proof_line(proof: ProofReport) -> str:
    outcome = proof.outcome
    verdict = (outcome.verdict or Verdict.UNKNOWN).value
    return (
        f"{verdict:<8} {proof.source:<10} {_size(outcome.size_bytes)} back,"
        f" {outcome.checked:,} comparisons, {outcome.seconds:.1f} s"
    )


def _size(bytes_count: int) -> str:
    if bytes_count < 2**20:
        return f"{bytes_count / 2**10:.1f} KiB"
    return f"{bytes_count / 2**20:.1f} MiB"


def _inner_stages(name: str, proofs: Iterable[ProofReport]) -> str:
    """What took its time within the recovery of one source, if anything did."""
    stages = [
        f"{one.name} {one.seconds:.1f}"
        for proof in proofs
        if name == f"recover {proof.source}"
        for one in proof.outcome.stages
        if one.seconds >= 0.1
    ]
    return f"   ({', '.join(stages)})" if len(stages) > 1 else ""


def _lacking_php() -> str:
    """What this host lacks to run the application; empty when it has it."""
    if shutil.which("php") is None:
        return "PHP is not installed (packages php-cli and php-pgsql)"
    answer = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False)
    if "pdo_pgsql" not in answer.stdout.split():
        return "PHP cannot speak with PostgreSQL (package php-pgsql)"
    return ""


def _next_steps(kept: Path | None) -> Iterator[str]:
    if kept is not None:
        yield f"Kept in {kept}. Look around:"
        yield f"   strongroom --config {kept}/strongroom.yaml snapshots"
        yield f"   strongroom --config {kept}/strongroom.yaml drill --application"
        yield f"   restic -r {kept}/repository --password-file {kept}/repository.key snapshots"
    yield "For your own application:"
    yield "   strongroom init          writes a commented strongroom.yaml; name your database in it"
    yield "   strongroom doctor        says what is still missing on this host"
    yield "   strongroom init          again: creates the repository"
    yield "   strongroom backup        captures one recovery point"
    yield "   strongroom drill         restores it into a sandbox and proves it"


def _tell_nobody(_line: str) -> None:
    """Where the story goes when nobody listens."""
