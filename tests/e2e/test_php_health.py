"""The pages for PHP applications, served by a real PHP, against status files of all kinds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.demo.releases import write_code
from strongroom.model import Verdict
from strongroom.report.health import health_document
from strongroom.report.standing import Standing
from strongroom.service.health import publish_status
from tests.e2e.command_line import make_place
from tests.house.ground import ROOT
from tests.support.observation import NOBODY, open_directory
from tests.support.php_ground import php_serving
from tests.support.standing_ground import OBSERVED, standing, with_check
from tests.support.web_ground import Reply, ask

pytestmark = pytest.mark.xdist_group("php-health")
CONTRIB = ROOT / "contrib" / "php"
# What an application has already, with the line that the snippet asks for.
EXISTING = """<?php
require_once __DIR__ . '/health-snippet.php';
$answer = ['status' => 'ok', 'checks' => ['database' => ['status' => 'pass']]];
$answer['checks']['backup'] = strongroom_backup_for_health();
http_response_code(200);
header('Content-Type: application/json');
echo json_encode($answer);
"""


@dataclass(frozen=True)
class Pages:
    """The pages on a port, and the status file that they read."""

    port: int
    file: Path

    def monitor(self, method: str = "GET") -> Reply:
        return ask(self.port, "/backup-health.php", method)

    def balancer(self) -> Reply:
        return ask(self.port, "/health.php")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    place = tmp_path_factory.mktemp("php")
    folder = place / "public"
    shutil.copytree(CONTRIB, folder)
    (folder / "health.php").write_text(EXISTING)
    file = place / "run" / "status.json"
    with php_serving(folder, {"STRONGROOM_STATUS": str(file)}) as port:
        yield Pages(port, file)


@pytest.fixture
def pages(served: Pages) -> Iterator[Pages]:
    served.file.parent.mkdir()
    yield served
    shutil.rmtree(served.file.parent)


def now_standing(verdict: Verdict = Verdict.PROVEN, **more: Any) -> Standing:  # Any: fields
    now = datetime.now(UTC)
    times = {"judged_at": now, "valid_until": now + timedelta(minutes=5)}
    return standing(verdict, **(times | more))


def write(pages: Pages, known: Standing, at: datetime | None = None) -> None:
    publish_status(known, pages.file, at or datetime.now(UTC))


def write_changed(pages: Pages, **changed: object) -> None:
    """A good file with some of its fields replaced; None takes a field away."""
    write(pages, now_standing())
    told = json.loads(pages.file.read_text()) | changed
    kept = {name: value for name, value in told.items() if value is not None}
    pages.file.write_text(json.dumps(kept))


def test_fresh_and_well(pages: Pages) -> None:
    write(pages, now_standing())
    answer = pages.monitor()
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/health+json"
    assert answer.headers["cache-control"] == "no-store"
    assert "x-powered-by" not in answer.headers
    told = answer.document
    assert (told["status"], told["verdict"]) == ("pass", "PROVEN")
    assert told["last_success_at"] == "2026-11-26T09:00:00Z"
    assert told["checks"]["capture:database"] == "pass"
    assert pages.balancer().document == {
        "status": "ok",
        "checks": {
            "database": {"status": "pass"},
            "backup": {
                "status": "pass",
                "verdict": "PROVEN",
                "output": "Backups come back, as was promised.",
            },
        },
    }


def test_what_the_command_line_writes_is_what_the_pages_read(pages: Pages, tmp_path: Path) -> None:
    """Nothing was ever captured there, so nothing is known."""
    place = make_place(tmp_path)
    assert place.run("status", "--write", pages.file).status == 42
    answer = pages.monitor()
    assert (answer.status, answer.document["verdict"]) == (503, "UNKNOWN")
    assert answer.document["output"] == "Whether backups come back is not known."
    assert answer.document["checks"]["capture:uploads"] == "fail"
    assert pages.balancer().document["checks"]["backup"]["status"] == "warn"


def test_a_warning_is_200_for_both(pages: Pages) -> None:
    write(pages, now_standing(checks=with_check("review", Verdict.STALE)))
    assert (pages.monitor().status, pages.monitor().document["status"]) == (200, "warn")
    assert pages.balancer().document["checks"]["backup"]["status"] == "warn"


@pytest.mark.parametrize("verdict", [Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED])
def test_a_failure_is_503_for_monitors_and_a_warning_for_the_balancer(
    pages: Pages, verdict: Verdict
) -> None:
    write(pages, now_standing(verdict, checks=with_check("files", verdict, "uploads")))
    answer = pages.monitor()
    assert (answer.status, answer.document["status"]) == (503, "fail")
    assert answer.document["verdict"] == verdict.value
    assert answer.document["checks"]["files:uploads"] != "pass"
    balanced = pages.balancer()
    assert balanced.status == 200
    assert balanced.document["checks"]["backup"]["status"] == "warn"


def _missing(pages: Pages) -> None:
    assert not pages.file.exists()


def _a_folder(pages: Pages) -> None:
    pages.file.mkdir()


def _a_pipe(pages: Pages) -> None:
    """One that nobody writes to would hold the page up for ever."""
    os.mkfifo(pages.file)


def _a_link_to_nowhere(pages: Pages) -> None:
    pages.file.symlink_to(pages.file.parent / "away")


def _empty(pages: Pages) -> None:
    pages.file.touch()


def _cut(pages: Pages) -> None:
    write(pages, now_standing())
    pages.file.write_bytes(pages.file.read_bytes()[:-20])


def _garbage(pages: Pages) -> None:
    pages.file.write_bytes(b"\x00\xff" * 500)


def _huge(pages: Pages) -> None:
    write(pages, now_standing())
    with pages.file.open("ab") as file:
        file.write(b" " * (2 << 20))


def _stale(pages: Pages) -> None:
    write(pages, now_standing(valid_until=datetime.now(UTC) - timedelta(seconds=2)))


def _dead_scheduler(pages: Pages) -> None:
    """It was well, and then nobody wrote any more."""
    past = datetime.now(UTC) - timedelta(minutes=6)
    known = now_standing(judged_at=past, valid_until=past + timedelta(minutes=5))
    write(pages, known, past)
    assert json.loads(pages.file.read_text())["status"] == "pass"


def _future(pages: Pages) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    write(pages, now_standing(judged_at=later, valid_until=later + timedelta(hours=1)), later)


# How the file is spoiled, and what is said of it.
BROKEN: dict[str, tuple[Callable[[Pages], None], str]] = {
    "missing": (_missing, "There is no status"),
    "a folder": (_a_folder, "cannot be read"),
    "a pipe": (_a_pipe, "cannot be read"),
    "a link to nowhere": (_a_link_to_nowhere, "There is no status"),
    "empty": (_empty, "is damaged"),
    "cut off": (_cut, "is damaged"),
    "garbage": (_garbage, "is damaged"),
    "huge": (_huge, "is damaged"),
    "out of date": (_stale, "out of date"),
    "nobody writes any more": (_dead_scheduler, "out of date"),
    "from the future": (_future, "from the future"),
}
# Fields that are not what they should be; None takes one away.
DAMAGED: dict[str, dict[str, object]] = {
    "no version": {"schema_version": None},
    "a status of its own": {"status": "fine"},
    "a pass that is not proven": {"status": "pass", "verdict": "FAILED"},
    "a failure that is proven": {"status": "fail", "verdict": "PROVEN"},
    "no verdict": {"verdict": None},
    "no end": {"valid_until": None},
    "an end that is no time": {"valid_until": "tomorrow"},
    "an end that no calendar has": {"valid_until": "2099-02-31T00:00:00Z"},
    "an end in another zone": {"valid_until": "2099-01-01T00:00:00+04:00"},
    "an end that is a number": {"valid_until": 4_000_000_000},
    "no beginning": {"generated_at": None},
    "no checks": {"checks": None},
    "checks that are none": {"checks": "all fine"},
    "no check at all": {"checks": {}},
    "a pass with a check that fails": {"checks": {"capture": {"status": "fail"}}},
    "a pass with a check that warns": {"checks": {"capture": {"status": "warn"}}},
    "a check without status": {"checks": {"capture": {}}},
    "a check with a foreign name": {"checks": {"<script>": {"status": "pass"}}},
}


def expect_unknown(pages: Pages, why: str) -> None:
    answer = pages.monitor()
    assert answer.status == 503
    assert set(answer.document) == {"status", "verdict", "output"}
    assert (answer.document["status"], answer.document["verdict"]) == ("fail", "UNKNOWN")
    assert why in answer.document["output"]
    balanced = pages.balancer()
    assert balanced.status == 200
    assert balanced.document["checks"]["backup"]["status"] == "warn"
    for one in (answer, balanced):
        assert str(pages.file.parent).encode() not in one.content
        assert b"status.json" not in one.content


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_can_not_be_relied_on_is_a_failure(pages: Pages, case: str) -> None:
    spoil, why = BROKEN[case]
    spoil(pages)
    expect_unknown(pages, why)


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_says_something_odd_is_a_failure(pages: Pages, case: str) -> None:
    write_changed(pages, **DAMAGED[case])
    expect_unknown(pages, "is damaged")


@pytest.mark.parametrize("version", [2, "1", 1.5])
def test_a_version_that_the_page_does_not_know_is_a_failure(pages: Pages, version: object) -> None:
    write_changed(pages, schema_version=version)
    expect_unknown(pages, "of a version that is not known here")


def test_clocks_that_differ_by_seconds_are_no_failure(pages: Pages) -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=20)
    write(pages, now_standing(judged_at=ahead, valid_until=ahead + timedelta(minutes=5)), ahead)
    assert pages.monitor().status == 200


def test_what_somebody_puts_into_the_file_is_not_passed_on(pages: Pages) -> None:
    write_changed(pages, application=OBSERVED, output="<script>", last_success_at="<script>")
    for answer in (pages.monitor(), pages.balancer()):
        assert answer.status == 200
        assert b"script" not in answer.content
        assert b"internal" not in answer.content


def test_methods(pages: Pages) -> None:
    write(pages, now_standing())
    headed = pages.monitor("HEAD")
    assert (headed.status, headed.content) == (200, b"")
    refused = pages.monitor("POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_file_that_the_web_servers_user_may_not_read_is_a_failure() -> None:
    with open_directory() as folder:
        shutil.copy(CONTRIB / "health-snippet.php", folder)
        file = folder / "status.json"
        publish_status(now_standing(), file, datetime.now(UTC))
        assert health_as_nobody(folder)["status"] == "pass"
        file.chmod(0o600)
        told = health_as_nobody(folder)
    assert told["output"] == "The status of the backups cannot be read."


def health_as_nobody(folder: Path) -> dict[str, Any]:  # Any: JSON values
    script = (
        "require 'health-snippet.php'; echo json_encode(strongroom_backup_health('status.json'));"
    )
    run = subprocess.run(
        ["php", "-d", "display_errors=1", "-r", script],
        cwd=folder,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(run.stdout)
    return told


# What came after PHP 7.4, the oldest that is promised.
NEWER = re.compile(
    r"\bmatch\s*\(|\?->|\bstr_(contains|starts_with|ends_with)\b|\benum\b|\breadonly\b|#\["
    r"|\bmixed \$|: (mixed|never|static)\b|\w\|\w+ \$|,\s*\)\s*:|\(\s*\w+: |catch \(\w+\)"
)


@pytest.mark.parametrize("name", ["health-snippet.php", "backup-health.php"])
def test_nothing_newer_than_promised_is_used(name: str) -> None:
    code = (CONTRIB / name).read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/|//[^\n]*|'[^'\n]*'", "''", code, flags=re.DOTALL)
    assert NEWER.findall(code) == []
    assert NEWER.search("$x = match ($y) {")
    assert NEWER.search("function f(int|string $x)")


@pytest.mark.parametrize("name", ["health-snippet.php", "backup-health.php"])
def test_the_files_are_php(name: str) -> None:
    run = subprocess.run(["php", "-l", str(CONTRIB / name)], capture_output=True, check=False)
    assert run.returncode == 0, run.stdout


def test_an_applications_own_error_handler_does_not_break_it(tmp_path: Path) -> None:
    """Many turn every warning into an exception, silenced ones too."""
    (tmp_path / "status.json").mkdir()
    script = (
        "set_error_handler(function ($n, $text) { throw new ErrorException($text); });"
        f"require '{CONTRIB}/health-snippet.php';"
        f"echo json_encode(strongroom_backup_health('{tmp_path}/status.json/../x/y'));"
    )
    run = subprocess.run(["php", "-r", script], capture_output=True, check=True)
    assert json.loads(run.stdout)["status"] == "fail"


# --- The demonstration's application -------------------------------------------------------


def test_the_demonstration_has_the_snippet_as_it_is_given_out() -> None:
    demo = ROOT / "src" / "strongroom" / "demo" / "php" / "3-health" / "api"
    given = (CONTRIB / "health-snippet.php").read_bytes()
    assert (demo / "health-snippet.php").read_bytes() == given


def test_the_demonstrations_page_tells_of_backups_and_fails_for_other_reasons(
    tmp_path: Path,
) -> None:
    """Here its database is away. With one, an application drill asks it."""
    write_code(tmp_path / "app")
    file = tmp_path / "status.json"
    environment = {"STRONGROOM_STATUS": str(file), "DB_HOST": str(tmp_path), "DB_NAME": "tms"}
    with php_serving(tmp_path / "app" / "public", environment) as port:
        for spoiled, status in ((False, "pass"), (True, "warn")):
            publish_status(now_standing(), file, datetime.now(UTC))
            if spoiled:
                file.write_text("{")
            answer = ask(port, "/api/health.php")
            assert answer.document["checks"]["backup"]["ok"] is True
            assert answer.document["checks"]["backup"]["status"] == status
            assert answer.document["checks"]["database"]["ok"] is False
            assert answer.status == 503


def test_the_pages_say_the_same_of_a_verdict_as_the_service() -> None:
    code = (CONTRIB / "health-snippet.php").read_text(encoding="utf-8")
    for verdict in Verdict:
        _, document = health_document(now_standing(verdict), datetime.now(UTC))
        [meaning] = document["notes"]
        assert f"'{verdict}' => '{meaning}'," in code
