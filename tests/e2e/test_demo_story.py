"""The demo's story ends with a proof, leaves nothing behind, and would notice a loss."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.demo import DemoApplication, build_application
from strongroom.demo.database import database_exists, drop_database, open_database
from strongroom.demo.story import StoryReport, compare_documents, tell_story
from strongroom.errors import ConfigError, TargetError
from strongroom.model import Verdict
from strongroom.postgres.cluster import throwaway_cluster

# Each module fixture starts a server: one worker runs them all.
pytestmark = pytest.mark.xdist_group("demo")

ROWS = 6_000


@dataclass(frozen=True)
class Told:
    """A story that was told once, with what it said, kept in a directory."""

    report: StoryReport
    lines: list[str]
    directory: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    directory = tmp_path_factory.mktemp("story") / "tms"
    lines: list[str] = []
    report = tell_story(directory, rows=ROWS, keep=True, say=lines.append)
    return Told(report, lines, directory)


def test_everything_is_proven(told: Told) -> None:
    assert told.report.findings_worth_telling() == []
    assert told.report.verdict is Verdict.PROVEN
    assert told.report.exit_status == 0
    assert [proof.source for proof in told.report.proofs] == ["database", "uploads", "code"]
    assert all(proof.outcome.checked > 10 for proof in told.report.proofs)
    assert told.report.documents >= 15


def test_all_three_were_captured_as_one_recovery_point(told: Told) -> None:
    captured = told.report.capture.point.snapshots
    assert [one.source for one in captured] == ["database", "uploads", "code"]
    assert all(one.bytes > 10_000 for one in captured)


def test_it_tells_each_step_with_its_time(told: Told) -> None:
    text = "\n".join(told.lines)
    for number in "123456":
        assert f"\n{number}. " in f"\n{text}"
    for name in ("database", "uploads", "code"):
        assert f"PROVEN   {name}" in text
    assert {"build", "capture", "destroy", "recover database", "compare documents"} <= {
        stage.name for stage in told.report.stages
    }
    assert "strongroom init" in text
    assert "@" not in text.replace("@RELEASE", ""), "nothing was left to be filled in"


def test_the_application_is_started_on_what_the_backup_holds(told: Told) -> None:
    assert told.report.drilled is not None
    assert told.report.drilled.verdict is Verdict.PROVEN
    assert "drill application" in {stage.name for stage in told.report.stages}
    assert "PROVEN   application  9 requests without a network" in "\n".join(told.lines)
    assert told.report.as_json()["application"]["point"] == told.report.capture.point.id


def test_without_php_the_application_is_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    report = tell_story(tmp_path / "tms", rows=4_000, say=lines.append)
    assert report.drilled is None
    assert report.verdict is Verdict.PROVEN
    assert "   left out: PHP is not installed (packages php-cli and php-pgsql)" in lines


def test_its_answer_is_json(told: Told) -> None:
    document = json.loads(json.dumps(told.report.as_json()))
    assert document["verdict"] == "PROVEN"
    assert document["directory"] == str(told.directory)
    assert {"stages", "findings", "sources", "capture"} <= document.keys()


def test_what_was_kept_can_be_looked_at_with_stock_restic(told: Told) -> None:
    run = subprocess.run(
        ["restic", "-r", str(told.directory / "repository"),
         "--password-file", str(told.directory / "repository.key"),
         "--no-cache", "snapshots", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kinds = [next(tag for tag in one["tags"] if "kind:" in tag) for one in json.loads(run.stdout)]
    assert kinds == ["kind:postgres", "kind:files", "kind:git", "kind:ledger"]
    assert (told.directory / "app" / "public" / "index.php").is_file()
    assert (told.directory / "app" / ".htaccess").is_file()


def test_without_keep_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "strongroom", "demo", "--json", "--rows", "4000",
         "--dir", str(tmp_path / "given")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert (document["verdict"], document["directory"]) == ("PROVEN", None)
    assert list(tmp_path.iterdir()) == [tmp_path / "given"]
    assert list((tmp_path / "given").iterdir()) == []


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    with pytest.raises(TargetError) as caught:
        tell_story(tmp_path, rows=ROWS)
    assert caught.value.code == "target-not-empty"
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("named", [True, False], ids=["named", "of its own"])
def test_a_story_that_fails_leaves_no_directory(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines: list[str] = []
    with pytest.raises(ConfigError):
        tell_story(tmp_path / "new" if named else None, rows=5, say=lines.append)
    assert str(tmp_path) in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoApplication]:
    with throwaway_cluster(major=18) as cluster:
        yield build_application(tmp_path_factory.mktemp("demo"), cluster.connection(), 4_000)


def test_documents_without_their_file_are_noticed(demo: DemoApplication) -> None:
    compared, findings = compare_documents(demo)
    assert (compared, findings) == (demo.files, ())
    changed, lost = sorted((demo.uploads / "invoices").rglob("*.pdf"))[:2]
    kept = {path: path.read_bytes() for path in (changed, lost)}
    changed.write_bytes(kept[changed] + b"\n")
    lost.unlink()
    _, findings = compare_documents(demo)
    for path, content in kept.items():
        path.write_bytes(content)
    assert {(one.code, one.subject) for one in findings} == {
        ("reference-differs", str(changed.relative_to(demo.uploads))),
        ("reference-missing", str(lost.relative_to(demo.uploads))),
    }


def test_the_key_is_for_its_owner_alone(demo: DemoApplication) -> None:
    demo.write_config()
    assert stat.S_IMODE((demo.directory / "repository.key").stat().st_mode) == 0o600


def test_a_table_that_did_not_come_back_is_noticed(demo: DemoApplication) -> None:
    with open_database(demo.server, demo.database) as session:
        session.execute("ALTER TABLE public.documents RENAME TO papers")
    compared, findings = compare_documents(demo)
    with open_database(demo.server, demo.database) as session:
        session.execute("ALTER TABLE public.papers RENAME TO documents")
    assert compared == 0
    assert [(one.code, one.subject) for one in findings] == [
        ("reference-unchecked", "database to uploads")
    ]


def test_a_dropped_database_is_gone() -> None:
    with throwaway_cluster(major=18) as cluster:
        server = cluster.connection()
        with open_database(server, "postgres") as session:
            session.execute("CREATE DATABASE tms")
        assert database_exists(server, "tms")
        with open_database(server, "tms"):
            drop_database(server, "tms")
        assert not database_exists(server, "tms")
