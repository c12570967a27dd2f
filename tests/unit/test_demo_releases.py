"""The demo's code is a Git repository with the same history on every build."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from strongroom.demo.releases import RELEASES, UNTRACKED, write_code
from strongroom.errors import SourceError


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "app"
    write_code(folder)
    return folder


def test_every_release_has_an_annotated_tag_on_main(code: Path) -> None:
    tags = _git(code, "for-each-ref", "--format=%(refname:short) %(objecttype)", "refs/tags")
    assert tags.splitlines() == ["v1.0.0 tag", "v1.1.0 tag", "v1.2.0 tag", "v1.3.0 tag"]
    assert _git(code, "rev-parse", "v1.3.0^{commit}") == _git(code, "rev-parse", "main")
    assert _git(code, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert _git(code, "tag", "-n1", "-l", "v1.0.0").split(maxsplit=1)[1] == "Release 1.0.0"


def test_commits_have_the_authors_and_dates_that_the_table_says(code: Path) -> None:
    log = _git(code, "log", "--all", "--reverse", "--date-order", "--format=%aI %an <%ae>|%cI|%s")
    expected = [f"{r.made_at} {r.author}|{r.made_at}|{r.subject}" for r in RELEASES]
    assert log.splitlines() == expected


def test_two_builds_have_the_same_object_ids(code: Path, tmp_path: Path) -> None:
    write_code(tmp_path / "again")
    refs = "--format=%(refname) %(objectname)"
    assert _git(code, "for-each-ref", refs) == _git(tmp_path / "again", "for-each-ref", refs)


def test_history_does_not_depend_on_the_users_settings(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n\tname = Someone\n[commit]\n\tgpgSign = true\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    write_code(tmp_path / "again")
    monkeypatch.delenv("GIT_DIR")
    assert _git(tmp_path / "again", "rev-parse", "v1.3.0") == _git(code, "rev-parse", "v1.3.0")


def test_only_the_declared_configuration_is_untracked(code: Path) -> None:
    status = _git(code, "status", "--porcelain", "--ignored")
    assert sorted(line.split()[1] for line in status.splitlines()) == sorted(UNTRACKED)
    assert all((code / name).is_file() for name in UNTRACKED)


def test_the_release_holds_what_the_procedures_name(code: Path) -> None:
    tracked = set(_git(code, "ls-tree", "-r", "--name-only", "v1.3.0").splitlines())
    assert {
        "api/health.php", "public/api/health.php", "public/index.php", "config/database.php",
        "composer.json", "README.md", ".env.example", "public/assets/css/app.css",
        "public/assets/js/app.js", "public/login.php", "public/download.php",
        "public/api/certificates.php",
    } <= tracked  # fmt: skip
    assert json.loads((code / "composer.json").read_text(encoding="utf-8"))["name"]
    assert "trainee_certificates" in (code / "public/index.php").read_text(encoding="utf-8")
    assert "getenv" in (code / "config/database.php").read_text(encoding="utf-8")


def test_nothing_in_it_is_a_secret(code: Path) -> None:
    example = (code / ".env.example").read_text(encoding="utf-8")
    assert "DB_PASSWORD=\n" in example
    assert not (code / ".env").exists()


def test_the_repository_is_sound(code: Path) -> None:
    assert _git(code, "fsck", "--full", "--strict", "--no-progress") == ""


def test_without_git_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError) as caught:
        write_code(tmp_path / "app")
    assert caught.value.hint == "Install the package git."
