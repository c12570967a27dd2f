"""One suite for every kind of source: a new kind adds a factory here, not tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import SourceError, TargetError
from strongroom.model import Silent, Verdict, judge
from strongroom.repository import Repository, SnapshotView, SnapshotWriter
from strongroom.sources import CaptureContext, Captured, Source
from strongroom.sources.code import CodeSource
from strongroom.sources.files import FilesSource
from tests.support.code_ground import DECLARED, commit, git, make_application, write
from tests.support.repository_ground import check_codes, new_repository, reopened
from tests.support.tree_ground import describe, make_plain_tree


@dataclass
class Kind:
    """What the suite needs to know of a kind: something to protect, and ways to change it."""

    source: Source
    place: Path
    change: Callable[[], object]
    damages: dict[str, Callable[[Path], object]]
    nothing: Source
    occupied: Callable[[Path], object]


def _files(base: Path) -> Kind:
    tree = base / "files"
    make_plain_tree(tree, seed=1)
    (tree / "link").symlink_to("folder 0")

    def first(target: Path) -> Path:
        return target / "folder 0" / "file 0"

    def one_byte(target: Path) -> None:
        content = first(target).read_bytes()
        first(target).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def other_link(target: Path) -> None:
        (target / "link").unlink()
        (target / "link").symlink_to("elsewhere")

    return Kind(
        source=FilesSource("uploads", tree),
        place=tree,
        change=lambda: (tree / "added").write_text("new"),
        damages={
            "byte": one_byte,
            "missing": lambda target: first(target).unlink(),
            "extra": lambda target: (target / "extra").touch(),
            "mode": lambda target: first(target).chmod(0o600),
            "link": other_link,
        },
        nothing=FilesSource("uploads", base / "nothing"),
        occupied=lambda target: (target / "mine").touch(),
    )


def _code(base: Path) -> Kind:
    checkout = make_application(base / "code")

    def more() -> None:
        write(checkout / "public/new.php", "<?php\n")
        commit(checkout)

    return Kind(
        source=CodeSource("code", checkout, untracked=DECLARED),
        place=checkout,
        change=more,
        damages={
            "ref moved": lambda target: git(target, "branch", "-f", "next", "v1.0"),
            "tag gone": lambda target: git(target, "tag", "-d", "v1.0"),
            "configuration": lambda target: write(target / "config/local.php", "<?php // x\n"),
            "configuration gone": lambda target: (target / ".htaccess").unlink(),
        },
        nothing=CodeSource("code", base / "nothing"),
        occupied=lambda target: (target / "mine").touch(),
    )


FACTORIES: dict[str, Callable[[Path], Kind]] = {"files": _files, "git": _code}
DAMAGES = [
    pytest.param(kind, what, id=f"{kind}: {what}")
    for kind, whats in {
        "files": ("byte", "missing", "extra", "mode", "link"),
        "git": ("ref moved", "tag gone", "configuration", "configuration gone"),
    }.items()
    for what in whats
]


@pytest.fixture
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    made = FACTORIES[request.param](tmp_path)
    assert made.source.kind == request.param
    return made


EVERY_KIND = pytest.mark.parametrize("kind", FACTORIES, indirect=True)


class Ground:
    """A repository in memory, and captures into it, a minute apart."""

    def __init__(self) -> None:
        self.repository: Repository = new_repository()
        self.now = datetime.now(UTC)

    def capture(
        self, source: Source, parent: SnapshotView | None = None
    ) -> tuple[Captured, SnapshotView]:
        self.now += timedelta(minutes=1)
        with SnapshotWriter([self.repository]) as writer:
            captured = source.capture(writer, CaptureContext(self.now, parent))
            (done,) = writer.commit(
                captured.root, paths=source.paths, time=self.now,
                tags=[f"source:{source.name}", f"kind:{source.kind}"],
            )  # fmt: skip
        return captured, SnapshotView(reopened(self.repository), done.snapshot)


@EVERY_KIND
def test_what_was_captured_comes_back_and_is_proven(kind: Kind, tmp_path: Path) -> None:
    ground = Ground()
    captured, view = ground.capture(kind.source)
    assert captured.findings == ()
    assert captured.files > 0
    assert captured.size_bytes > 0
    target = str(tmp_path / "target")
    outcome = kind.source.restore(view, target)
    assert outcome.findings == ()
    proof = kind.source.prove(view, target)
    assert proof.findings == ()
    assert proof.checked > 0
    assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN
    assert check_codes(ground.repository) == []


@EVERY_KIND
def test_a_capture_only_reads(kind: Kind) -> None:
    before = describe(kind.place)
    Ground().capture(kind.source)
    assert describe(kind.place) == before


@EVERY_KIND
def test_what_did_not_change_adds_nothing_and_is_recorded_the_same(kind: Kind) -> None:
    ground = Ground()
    _, first = ground.capture(kind.source)
    _, second = ground.capture(kind.source, first)
    assert second.snapshot.summary["data_blobs"] == 0
    assert second.snapshot.tree == first.snapshot.tree


@EVERY_KIND
def test_a_change_gives_another_tree_and_fails_the_old_proof(kind: Kind, tmp_path: Path) -> None:
    ground = Ground()
    _, old = ground.capture(kind.source)
    kind.change()
    _, new = ground.capture(kind.source, old)
    assert new.snapshot.tree != old.snapshot.tree
    kind.source.restore(new, str(tmp_path / "target"))
    assert kind.source.prove(new, str(tmp_path / "target")).findings == ()
    findings = kind.source.prove(old, str(tmp_path / "target")).findings
    assert judge(findings, checked=1) is Verdict.FAILED


@EVERY_KIND
def test_the_old_snapshot_stays_what_it_was(kind: Kind, tmp_path: Path) -> None:
    ground = Ground()
    _, old = ground.capture(kind.source)
    kind.change()
    ground.capture(kind.source, old)
    kind.source.restore(old, str(tmp_path / "target"))
    assert kind.source.prove(old, str(tmp_path / "target")).findings == ()


@pytest.mark.parametrize(("kind", "what"), DAMAGES, indirect=["kind"])
def test_every_damage_to_what_was_restored_fails(kind: Kind, what: str, tmp_path: Path) -> None:
    _, view = Ground().capture(kind.source)
    target = tmp_path / "target"
    kind.source.restore(view, str(target))
    kind.damages[what](target)
    proof = kind.source.prove(view, str(target))
    assert judge(proof.findings, checked=proof.checked) is Verdict.FAILED
    assert all(one.subject for one in proof.findings)


@EVERY_KIND
def test_a_restore_goes_where_nothing_is(kind: Kind, tmp_path: Path) -> None:
    _, view = Ground().capture(kind.source)
    target = tmp_path / "target"
    target.mkdir()
    kind.occupied(target)
    before = describe(target)
    with pytest.raises(TargetError) as raised:
        kind.source.restore(view, str(target))
    assert raised.value.exit_status == 5
    assert describe(target) == before


@EVERY_KIND
def test_nothing_at_the_target_cannot_be_proven(kind: Kind, tmp_path: Path) -> None:
    _, view = Ground().capture(kind.source)
    with pytest.raises(TargetError):
        kind.source.prove(view, str(tmp_path / "nothing"))


@EVERY_KIND
def test_a_source_that_is_not_there_is_an_error_with_its_place(kind: Kind) -> None:
    with pytest.raises(SourceError) as raised:
        Ground().capture(kind.nothing)
    assert raised.value.exit_status in range(10, 20)
    assert "nothing" in str(raised.value)
    assert raised.value.hint


@EVERY_KIND
def test_a_sandbox_is_empty_and_gone_afterwards(kind: Kind, tmp_path: Path) -> None:
    _, view = Ground().capture(kind.source)
    with kind.source.sandbox(view, tmp_path) as target:
        kind.source.restore(view, target)
        assert kind.source.prove(view, target).findings == ()
        assert Path(target).is_relative_to(tmp_path)
    assert not Path(target).exists()
    assert [path for path in tmp_path.iterdir() if path != kind.place] == []


@EVERY_KIND
def test_the_snapshot_knows_its_source(kind: Kind) -> None:
    _, view = Ground().capture(kind.source)
    assert view.snapshot.paths == tuple(kind.source.paths)
    assert (view.snapshot.source, view.snapshot.kind) == (kind.source.name, kind.source.kind)


@EVERY_KIND
def test_progress_is_told(kind: Kind) -> None:
    class Counting(Silent):
        done = 0

        def advance(self, bytes_done: int, items_done: int = 0) -> None:
            del items_done
            self.done += bytes_done

    progress = Counting()
    with SnapshotWriter([new_repository()]) as writer:
        captured = kind.source.capture(writer, CaptureContext(datetime.now(UTC), None, progress))
    assert 0 < progress.done <= captured.size_bytes
