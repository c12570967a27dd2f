"""A kit that could not be made, or that is not the one that was drilled, hides nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from tests.e2e.command_line import Place
from tests.support.demo_ground import error_of
from tests.support.kit_ground import KIT, SECRET, VARIABLE, checks, create, make_with_kit, variables
from tests.support.recovery_ground import free_port

pytestmark = pytest.mark.xdist_group("kit-unmade")

STALE = "app.env changed"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With one kit in `kits`. Not to be changed."""
    place = make_with_kit(tmp_path_factory.mktemp("kit") / "tms", free_port())
    create(place)
    return place


@pytest.fixture
def own(production: Place) -> Iterator[Place]:
    """The same for one test to change, at the very same path: the kit names it."""
    kept = production.path.with_name("kept")
    shutil.copytree(production.path, kept, symlinks=True)
    try:
        yield production
    finally:
        shutil.rmtree(production.path, ignore_errors=True)
        kept.rename(production.path)


def kit_of(place: Place) -> Path:
    return max((place.path / "kits").glob("*.age"))


def standing(place: Place, name: str) -> tuple[str, str]:
    """What `status` says of a check, and what it saw."""
    with variables(**{VARIABLE: SECRET}):
        found = checks(place)[name]
    return found["verdict"], found["observed"]


# Not made


def test_a_kit_that_could_not_be_written_leaves_the_last_one_stale(own: Place) -> None:
    """Nobody may write into /proc, not even root."""
    (own.path / "app.env").write_text("TOKEN=other\n")
    assert standing(own, "kit")[0] == "STALE"
    with variables(**{VARIABLE: SECRET}):
        answer = own.run("--json", "kit", "create", "--output", "/proc")
    assert "cannot be written" in error_of(answer, 5, "target-refused")["message"]
    verdict, observed = standing(own, "kit")
    assert (verdict, STALE in observed) == ("STALE", True), observed
    assert len(list(own.ledger.entries("kit"))) == 1
    assert len(list(own.ledger.entries("kit-begun"))) == 2


def test_a_disk_that_is_full_before_the_page_leaves_neither(own: Place, tmp_path: Path) -> None:
    safe = tmp_path / "safe"
    safe.mkdir()
    size = kit_of(own).stat().st_size + 8192
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(safe)], check=True)
    try:
        (own.path / "app.env").write_text("TOKEN=other\n")
        with variables(**{VARIABLE: SECRET}):
            answer = own.run("--json", "kit", "create", "--output", safe)
        message = error_of(answer, 5, "target-refused")["message"]
        assert ".age was removed again, so no kit was made" in message
        assert list(safe.iterdir()) == []
    finally:
        subprocess.run(["umount", str(safe)], check=True)
    verdict, observed = standing(own, "kit")
    assert (verdict, STALE in observed) == ("STALE", True), observed


def test_the_whole_runbook_is_in_it_where_paper_still_holds_the_kit(
    own: Place, tmp_path: Path
) -> None:
    reference = f"file:{own.path}/passphrase"
    names = [one["name"] for one in own.json("kit", "open", kit_of(own), "--passphrase", reference)[
        "files"]]  # fmt: skip
    assert "runbook.md" in names
    answer = own.run("kit", "open", kit_of(own), "--passphrase", reference, "--show", "runbook.md")
    assert kit_of(own).name in answer.text
    (own.path / "app.env").write_bytes(os.urandom(22_000))
    made = create(own, "--output", tmp_path / "safe")
    assert 40 < made["codes"] <= 60
    found = own.json("kit", "open", made["file"], "--passphrase", reference)
    assert "runbook.md" not in [one["name"] for one in found["files"]]


# Not drilled


def drilled(place: Place) -> None:
    answer = place.run("--json", "kit", "drill")
    assert answer.document["verdict"] == "PROVEN", answer.text
    assert standing(place, "kit-drill")[0] == "PROVEN"


def test_a_newer_kit_that_nobody_drilled_is_told(own: Place, tmp_path: Path) -> None:
    """Also when the schedule goes on to drill the older one, in the configured folder."""
    drilled(own)
    key = str(pyrage.x25519.Identity.generate().to_public())
    create(own, "--output", tmp_path / "elsewhere", "--recipient", key)
    for _ in range(2):
        verdict, observed = standing(own, "kit-drill")
        assert (verdict, "was not drilled" in observed) == ("STALE", True), observed
        assert own.run("--json", "kit", "drill").document["verdict"] == "PROVEN"
    # In its own folder nothing that is configured opens it.
    create(own, "--recipient", key)
    assert own.run("--json", "kit", "drill").document["verdict"] == "FAILED"
    assert standing(own, "kit-drill")[0] == "FAILED"


def test_a_file_that_was_named_by_mistake_says_nothing_of_the_kit(
    own: Place, tmp_path: Path
) -> None:
    drilled(own)
    content = kit_of(own).read_bytes()
    foreign = pyrage.passphrase.encrypt(b"of somebody else", "another passphrase", armored=True)
    for name, wrong, code, status in (
        ("empty.age", b"", "kit-damaged", 39),
        ("cut.age", content[: len(content) // 2], "kit-damaged", 39),
        ("foreign.age", foreign, "kit-locked", 2),
    ):
        (tmp_path / name).write_bytes(wrong)
        error_of(own.run("--json", "kit", "drill", tmp_path / name), status, code)
        assert standing(own, "kit-drill")[0] == "PROVEN", name
        assert standing(own, "errors")[0] != "FAILED", name
    # The kit's own file, found damaged by the drill that looks for it itself.
    kit_of(own).write_bytes(content[: len(content) // 2])
    assert own.run("--json", "kit", "drill").document["verdict"] == "FAILED"
    assert standing(own, "kit-drill")[0] == "FAILED"


# Not configured


def kit_line(place: Place) -> tuple[int, dict[str, str]]:
    with variables(**{VARIABLE: SECRET}):
        answer = place.run("--json", "doctor")
    (line,) = [one for one in answer.document["checks"] if one["name"] == "kit"]
    return answer.status, line


def test_the_doctor_fails_a_recovery_whose_secrets_no_kit_holds(own: Place) -> None:
    own.write_config(own.config.read_text().replace(KIT, ""))
    status, line = kit_line(own)
    assert (status, line["state"], line["code"]) == (2, "failed", "secret-not-escrowed")
    assert line["observed"] == (
        f"recovery.secrets.key needs env:{VARIABLE} (and a recovery 2 other secrets), and no `kit` "
        "is configured that holds it"
    )
    assert "kit.escrow" in line["remedy"]


def test_the_doctor_warns_where_nobody_has_said_how_to_recover(own: Place) -> None:
    """A small set-up, whose owner keeps one password in a safe, stays in order."""
    text = own.config.read_text().replace(KIT, "")
    own.write_config(text[: text.index("recovery:")])
    status, line = kit_line(own)
    assert (status, line["state"]) == (0, "warning")
    assert "no `kit` is configured that holds it: keep it where it survives" in line["observed"]
