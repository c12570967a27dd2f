"""The recovery kit: made, printed, scanned, opened, drilled; and a recovery from it alone."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from pypdf import PdfReader

from tests.e2e.command_line import PASSWORD, Place
from tests.support.application_ground import told
from tests.support.demo_ground import error_of
from tests.support.kit_ground import (
    KIT,
    PASSPHRASE,
    RENDERED,
    SECRET,
    VARIABLE,
    bare,
    checks,
    create,
    everything_written,
    make_with_kit,
    scanned,
    variables,
)
from tests.support.recovery_ground import HEALTHY, ended, free_port
from tests.support.repository_ground import new_repository
from tests.support.restic import stock_restics

# One production is made for all of them.
pytestmark = pytest.mark.xdist_group("kit")


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


def passphrase_at(path: Path, text: str = PASSPHRASE) -> str:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return f"file:{path}"


# Made


def test_a_kit_and_its_page_are_made_for_their_owner_alone(own: Place, tmp_path: Path) -> None:
    document = create(own, "--output", tmp_path / "safe", "--reason", "quarterly")
    assert document["findings"] == []
    assert [one["repository"] for one in document["repositories"]] == ["local", "second"]
    assert document["secrets"] == [
        f"file:{own.path}/key", f"env:{VARIABLE}", f"file:{own.path}/app.env"
    ]  # fmt: skip
    files = sorted((tmp_path / "safe").iterdir())
    assert [one.suffix for one in files] == [".age", ".pdf"]
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
    assert document["sealed_for"] == ["passphrase"]
    record = next(one for one in own.ledger.entries("kit") if one.fields["kit"] == document["kit"])
    assert record.fields["sha256"] == document["sha256"]
    begun = list(own.ledger.entries("command-begun"))
    assert begun[-1].fields["reason"] == "quarterly"


def test_no_secret_is_told_anywhere(own: Place, tmp_path: Path) -> None:
    """Invariant I6: not in answers, not in the ledger, not on the page."""
    with variables(**{VARIABLE: SECRET}):
        answers = [
            own.run("kit", "create", "--output", tmp_path / "safe"),
            own.run("--json", "--verbose", "kit", "create", "--output", tmp_path / "more"),
            own.run("kit", "open", kit_of(own), "--passphrase", f"file:{own.path}/passphrase"),
            own.run("--json", "kit", "open", kit_of(own), "--passphrase",
                    f"file:{own.path}/passphrase"),
            own.run("--verbose", "kit", "drill"),
            own.run("doctor"),
            own.run("--json", "status"),
        ]  # fmt: skip
    said = "".join(one.text + one.err for one in answers)
    page = next((tmp_path / "safe").glob("*.pdf"))
    printed = "".join(one.extract_text() for one in PdfReader(page).pages)
    key = (own.path / "local" / "config").read_bytes()  # a repository that is there
    assert key
    for secret in (SECRET, PASSWORD, PASSPHRASE, '"encrypt"'):
        for where in (said, printed, everything_written(own)):
            assert secret not in where
    assert (own.path / "state" / "kit.key").stat().st_mode & 0o777 == 0o600


def test_the_repositorys_password_alone_shows_no_escrowed_secret(own: Place) -> None:
    """Whoever has it reads all that a stock restic finds, the ledger and the runbook too."""
    with variables(**{VARIABLE: SECRET}):
        create(own)
        own.json("backup")
    restic, repository = stock_restics()[0], own.path / "local"
    snapshots = json.loads(restic.run(repository, "snapshots", "--json"))
    read = "".join(restic.run(repository, "dump", one["id"], "/") for one in snapshots)
    for stored in ('"kind":"kit"', "runbook.md", "LPO-1.pdf"):
        assert stored in read  # else nothing would be shown by what is not
    for secret in (SECRET, PASSPHRASE, PASSWORD):
        assert secret not in read


def test_without_a_section_none_is_made(own: Place) -> None:
    own.write_config(own.config.read_text().replace(KIT, ""))
    answer = own.run("--json", "kit", "create", "--output", own.path / "x")
    assert "nothing says what is to be in it" in error_of(answer, 2, "usage")["message"]


def test_a_secret_that_cannot_be_had_stops_it(own: Place, tmp_path: Path) -> None:
    answer = own.run("--json", "kit", "create", "--output", tmp_path / "safe")
    assert VARIABLE in error_of(answer, 2, "secret-unavailable")["message"]
    assert not (tmp_path / "safe").exists()


def test_a_weak_passphrase_is_refused(own: Place, tmp_path: Path) -> None:
    weak = passphrase_at(tmp_path / "weak", "letmein")
    with variables(**{VARIABLE: SECRET}):
        answer = own.run("--json", "kit", "create", "--passphrase", weak)
    assert "fewer than 12" in error_of(answer, 2, "usage")["message"]


def test_what_a_recovery_needs_and_nobody_escrows_is_told(own: Place) -> None:
    """By the kit that is made all the same, and by the doctor, which fails."""
    own.write_config(
        own.config.read_text().replace(f"env:{VARIABLE}, file:app.env", "file:app.env")
    )
    answer = own.run("--json", "kit", "create")
    assert answer.status == 3
    assert told(answer.document, "kit-lacks") == [
        f"env:{VARIABLE} is not in `kit.escrow`, and a recovery needs it"
    ]
    with variables(**{VARIABLE: SECRET}):
        doctor = own.run("--json", "doctor")
    (line,) = [one for one in doctor.document["checks"] if one["name"] == "kit"]
    assert (doctor.status, line["state"], line["code"]) == (2, "failed", "secret-not-escrowed")
    assert line["observed"] == f"recovery.secrets.key needs env:{VARIABLE}, which no kit holds"
    assert "kit.escrow" in line["remedy"]


def test_the_doctor_is_content_with_a_whole_kit(production: Place) -> None:
    with variables(**{VARIABLE: SECRET}):
        document = production.run("--json", "doctor").document
    (line,) = [one for one in document["checks"] if one["name"] == "kit"]
    assert line["state"] == "fine", line


def test_what_is_too_much_for_paper_is_told(own: Place, tmp_path: Path) -> None:
    (own.path / "app.env").write_bytes(os.urandom(40_000))
    with variables(**{VARIABLE: SECRET}):
        answer = own.run("--json", "kit", "create", "--output", tmp_path / "safe")
    assert (answer.status, answer.document["codes"]) == (0, 0)
    assert "60 are the most" in told(answer.document, "kit-without-codes")[0]
    page = PdfReader(next((tmp_path / "safe").glob("*.pdf")))
    assert "Code 1" not in "".join(one.extract_text() for one in page.pages)


# Opened


def test_it_is_listed_and_written_out_without_any_configuration(
    production: Place, tmp_path: Path
) -> None:
    reference = passphrase_at(tmp_path / "passphrase")
    output = tmp_path / "out"
    answer = bare(
        tmp_path / "empty", "--json", "kit", "open", kit_of(production), "--passphrase", reference,
        "--output", output,
    )  # fmt: skip
    assert answer.status == 0, answer.err
    names = {one["name"] for one in answer.document["files"]}
    assert {"README.txt", "strongroom.yaml", "master-keys/local", f"secrets/{VARIABLE}"} <= names
    assert set(answer.document["written"]) == names
    assert SECRET not in answer.text + answer.err
    assert (output / "secrets" / VARIABLE).read_text() == SECRET
    assert (output / "secrets" / "app.env").read_text() == f"TOKEN={SECRET}-too\n"
    assert (output / "strongroom.yaml").read_text() == production.config.read_text()
    assert {one.stat().st_mode & 0o777 for one in output.rglob("*") if one.is_file()} == {0o600}
    again = bare(
        tmp_path / "empty", "--json", "kit", "open", kit_of(production), "--passphrase", reference,
        "--output", output,
    )  # fmt: skip
    error_of(again, 5, "target-not-empty")


def test_a_secret_is_shown_when_it_is_asked_for_by_name(production: Place, tmp_path: Path) -> None:
    reference = passphrase_at(tmp_path / "passphrase")
    answer = bare(
        tmp_path / "empty", "kit", "open", kit_of(production), "--passphrase", reference,
        "--show", f"secrets/{VARIABLE}",
    )  # fmt: skip
    assert (answer.status, answer.out) == (0, SECRET.encode())
    answer = bare(
        tmp_path / "empty", "--json", "kit", "open", kit_of(production), "--passphrase", reference,
        "--show", "secrets/none",
    )  # fmt: skip
    error_of(answer, 2, "usage")


def test_stock_programs_open_it(production: Place, tmp_path: Path) -> None:
    """The library that others use, and `tar`; the page tells of `age`, which reads the same."""
    plain = pyrage.passphrase.decrypt(kit_of(production).read_bytes(), PASSPHRASE)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        archive.extractall(tmp_path, filter="data")
    password = tmp_path / "secrets" / "key"
    listed = subprocess.run(
        ["restic", "-r", str(production.path / "local"), "--no-lock", "snapshots", "--json"],
        env={**os.environ, "RESTIC_PASSWORD_FILE": str(password)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert b"source:uploads" in listed.stdout
    assert (
        f"RESTIC_PASSWORD_FILE=kit/secrets/{password.name}" in (tmp_path / "README.txt").read_text()
    )


def test_the_program_age_opens_it_and_kit_open_the_same(own: Place, tmp_path: Path) -> None:
    """By passphrase, typed on a terminal, and by secret key: byte by byte what we read."""
    (tmp_path / "kit.age").write_bytes(kit_of(own).read_bytes())
    typed = subprocess.run(
        ["script", "-qec", "age -d -o plain.tar.gz kit.age", "/dev/null"],
        cwd=tmp_path,
        input=f"{PASSPHRASE}\n".encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert typed.returncode == 0, typed.stdout
    with tarfile.open(tmp_path / "plain.tar.gz") as archive:
        found = {
            one.name: stream.read()
            for one in archive
            if (stream := archive.extractfile(one)) is not None
        }
    reference = f"file:{own.path}/passphrase"
    own.json("kit", "open", kit_of(own), "--passphrase", reference, "--output", tmp_path / "out")
    for name, content in found.items():
        if name != "kit.json":
            assert (tmp_path / "out" / name).read_bytes() == content
    # `age-keygen` makes the key, we seal for it, `age` opens it.
    subprocess.run(["age-keygen", "-o", "mine"], cwd=tmp_path, check=True, capture_output=True)
    public = subprocess.run(
        ["age-keygen", "-y", "mine"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.strip()
    sealed = create(own, "--output", tmp_path / "safe", "--recipient", public)["file"]
    done = subprocess.run(
        ["age", "-d", "-i", "mine", sealed], cwd=tmp_path, check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert f"secrets/{VARIABLE}" in archive.getnames()


def test_for_recipients_any_secret_key_opens_it(own: Place, tmp_path: Path) -> None:
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    words = [word for one in keys for word in ("--recipient", str(one.to_public()))]
    document = create(own, "--output", tmp_path / "safe", *words)
    assert document["sealed_for"] == [str(one.to_public()) for one in keys]
    for number, one in enumerate(keys):
        identity = tmp_path / f"{number}.identity"
        identity.write_text(f"# mine\n{one}\n")
        answer = bare(tmp_path / "empty", "--json", "kit", "open", document["file"], "--identity",
                      identity)  # fmt: skip
        assert answer.document["kit"] == document["kit"]
    other = tmp_path / "other.identity"
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    for words in (["--identity", str(other)], []):
        answer = bare(tmp_path / "empty", "--json", "kit", "open", document["file"], *words)
        error_of(answer, 2, "kit-locked")
    answer = own.run("--json", "kit", "create", "--passphrase", "env:X", "--recipient",
                     str(keys[0].to_public()))  # fmt: skip
    assert "not with both" in error_of(answer, 2, "usage")["message"]


@pytest.mark.parametrize("command", [["kit", "open"], ["recover", "--to", "new", "--kit"]])
def test_a_wrong_passphrase_and_a_truncated_kit_are_told(
    production: Place, tmp_path: Path, command: list[str]
) -> None:
    wrong = passphrase_at(tmp_path / "wrong", "another one of some length")
    answer = bare(tmp_path / "e", "--json", *command, kit_of(production), "--passphrase", wrong)
    error = error_of(answer, 2, "kit-locked")
    assert "the passphrase is another one" in error["message"]
    cut = tmp_path / "cut.age"
    content = kit_of(production).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    right = passphrase_at(tmp_path / "right")
    answer = bare(tmp_path / "e", "--json", *command, cut, "--passphrase", right)
    assert "incomplete" in error_of(answer, 39, "kit-damaged")["message"]
    answer = bare(tmp_path / "e", "--json", *command, tmp_path / "no", "--passphrase", right)
    error_of(answer, 2, "kit-missing")
    answer = bare(tmp_path / "e", "--json", *command, kit_of(production))
    assert "no passphrase is given" in error_of(answer, 2, "usage")["message"]
    assert list((tmp_path / "e").iterdir()) == []


# Printed


def test_paper_alone_is_enough(own: Place, tmp_path: Path) -> None:
    """What a reader of QR codes sees on the printed pages, in no order, opens as the file does."""
    page = next((own.path / "kits").glob("*.pdf"))
    codes = scanned(page, tmp_path / "pages")
    record = next(iter(own.ledger.entries("kit"))).fields
    assert len(codes) == record["codes"] > 1
    text = tmp_path / "scanned.txt"
    text.write_text("\n\n".join(sorted(codes, reverse=True)))
    reference = passphrase_at(tmp_path / "passphrase")
    answer = bare(tmp_path / "e", "--json", "kit", "open", text, "--passphrase", reference)
    assert answer.document["kit"] == record["kit"]
    assert answer.document["sha256"] == record["sha256"]
    text.write_text("\n".join(sorted(codes)[1:]))
    answer = bare(tmp_path / "e", "--json", "kit", "open", text, "--passphrase", reference)
    assert "these are missing: 1" in error_of(answer, 39, "kit-damaged")["message"]


def test_codes_are_joined_by_hand_as_the_page_says(own: Place, tmp_path: Path) -> None:
    page = next((own.path / "kits").glob("*.pdf"))
    folder = tmp_path / "by hand"
    codes = scanned(page, tmp_path / "pages")
    folder.mkdir()
    for one in codes:
        number = one.split("\n", maxsplit=1)[0].split()[-1].partition("/")[0]
        (folder / f"code-{number}.txt").write_text(one)
    script = f"for n in $(seq {len(codes)}); do sed 1d code-$n.txt; echo; done | grep . >joined"
    printed = "".join(one.extract_text() for one in PdfReader(page).pages)
    assert f"$(seq {len(codes)}); do sed 1d code-$n.txt; echo; done | grep ." in printed
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, timeout=60)
    assert (folder / "joined").read_bytes() == kit_of(own).read_bytes()


# Recovered from


def test_a_machine_that_has_nothing_recovers_from_the_kit(own: Place, tmp_path: Path) -> None:
    """Production is gone but for its repositories: no configuration, no key, no environment."""
    kit = tmp_path / "found.age"
    shutil.copy2(kit_of(own), kit)
    for one in list(own.path.iterdir()):
        if one.name not in ("local", "second"):
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    reference = passphrase_at(tmp_path / "passphrase")
    target = tmp_path / "srv"
    with ended(target):
        answer = bare(
            tmp_path / "empty", "--json", "recover", "--kit", kit, "--passphrase", reference,
            "--to", target, "--reason", "the host is lost",
        )  # fmt: skip
        assert answer.document["verdict"] == "PROVEN", answer.document.get("findings", answer.err)
        assert "This is the kit of tms" in answer.err
        with urllib.request.urlopen(answer.document["url"] + "/health.json", timeout=10) as found:
            assert found.read().decode() == HEALTHY
    assert (target / "code" / RENDERED).read_text() == f"KEY={SECRET}"
    assert (target / "code" / ".env").read_text() == f"TOKEN={SECRET}-too\n"
    assert SECRET not in answer.text + answer.err + everything_written(own)
    kinds = [one.kind for one in own.ledger.entries()]
    assert kinds.count("recovery") == 1


def test_a_kit_of_a_repository_that_was_made_anew_is_told(own: Place, tmp_path: Path) -> None:
    kit = tmp_path / "found.age"
    shutil.copy2(kit_of(own), kit)
    for name in ("local", "second"):
        shutil.rmtree(own.path / name)
        new_repository(own.path / name)
    reference = passphrase_at(tmp_path / "passphrase")
    answer = bare(
        tmp_path / "empty", "--json", "recover", "--kit", kit, "--passphrase", reference,
        "--to", tmp_path / "srv",
    )  # fmt: skip
    error = error_of(answer, 24, "kit-mismatch")
    assert "it was made anew since, or this is the kit of another one" in error["message"]
    assert not (tmp_path / "srv").exists()


def test_a_configuration_beside_a_kit_is_refused(production: Place, tmp_path: Path) -> None:
    reference = passphrase_at(tmp_path / "passphrase")
    words = ["recover", "--to", tmp_path / "srv", "--passphrase", reference]
    answer = production.run("--json", *words, "--kit", kit_of(production))
    assert "configuration of its own" in error_of(answer, 2, "usage")["message"]
    answer = production.run("--json", *words)
    assert "it opens a kit, and none is named" in error_of(answer, 2, "usage")["message"]


# Drilled


def test_the_lost_key_drill_proves_it_and_is_recorded(own: Place) -> None:
    answer = own.run("--json", "kit", "drill")
    assert (answer.status, answer.document["verdict"]) == (0, "PROVEN"), answer.document
    document = answer.document
    assert document["repositories"] == ["local", "second"]
    assert [(one["source"], one["verdict"]) for one in document["drills"]] == [
        ("uploads", "PROVEN"), ("code", "PROVEN")
    ]  # fmt: skip
    record = next(iter(own.ledger.entries("kit-drill"))).fields
    assert record["kit"] == document["kit"]
    assert record["verdict"] == "PROVEN"
    assert not list((own.path / "state" / "sandbox").iterdir())
    # What a recovery then takes is proven.
    with variables(**{VARIABLE: SECRET}):
        plan = own.json("recover", "--to", own.path / "new", "--dry-run")
    assert told(plan, "recovery-unproven") == []
    found = checks(own)["kit-drill"]
    assert found["verdict"] == "PROVEN"
    assert own.ledger.verify() == []


def test_it_takes_nothing_from_the_host(own: Place) -> None:
    """The key that the configuration names is there, and is not in this kit: that is told."""
    own.write_config(own.config.read_text().replace("escrow: [file:key, ", "escrow: ["))
    with variables(**{VARIABLE: SECRET}):
        assert own.run("--json", "kit", "create").status == 3
        answer = own.run("--json", "kit", "drill")
    assert answer.document["verdict"] == "FAILED"
    assert told(answer.document, "kit-lacks") == [f"file:{own.path}/key is not in the kit"] * 2
    assert answer.document["repositories"] == ["local", "second"], "the master keys open them"


def test_a_changed_password_fails_an_old_kit(own: Place, tmp_path: Path) -> None:
    new = passphrase_at(tmp_path / "new", "another password")
    own.json("key", "passwd", "second", "--new-password", new)
    stale = checks(own)["kit"]
    assert stale["verdict"] == "STALE"
    assert "keys of repository second changed" in stale["observed"]
    answer = own.run("--json", "kit", "drill")
    assert (answer.status, answer.document["verdict"]) == (41, "FAILED")
    (message,) = told(answer.document, "kit-closed")
    assert "opens it no more" in message
    assert checks(own)["kit-drill"]["verdict"] == "FAILED"


def test_a_repository_made_anew_fails_an_old_kit(own: Place) -> None:
    shutil.rmtree(own.path / "second")
    new_repository(own.path / "second")
    answer = own.run("--json", "kit", "drill")
    assert (answer.status, answer.document["verdict"]) == (41, "FAILED")
    assert any("made anew" in one for one in told(answer.document, "kit-closed"))
    with variables(**{VARIABLE: SECRET}):
        doctor = own.run("--json", "doctor").document
    (line,) = [one for one in doctor["checks"] if one["name"] == "kit"]
    assert (line["state"], line["code"]) == ("failed", "kit-mismatch")


def test_a_repository_that_is_away_leaves_it_unknown(own: Place) -> None:
    shutil.rmtree(own.path / "second")
    answer = own.run("--json", "kit", "drill")
    assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN"), answer.document
    assert told(answer.document, "kit-unchecked")
    assert answer.document["repositories"] == ["local"]


def test_a_kit_that_does_not_open_any_more_is_failed(own: Place) -> None:
    passphrase_at(own.path / "passphrase", "somebody has changed it")
    answer = own.run("--json", "kit", "drill")
    assert (answer.status, answer.document["verdict"]) == (41, "FAILED")
    (message,) = told(answer.document, "kit-unopened")
    assert message.endswith("the passphrase is another one")
    # Whoever types a wrong one has mistaken himself.
    before = len(list(own.ledger.entries("kit-drill")))
    answer = own.run("--json", "kit", "drill", "--passphrase", f"file:{own.path}/passphrase")
    error_of(answer, 2, "kit-locked")
    assert len(list(own.ledger.entries("kit-drill"))) == before


def test_the_kit_of_another_application_is_refused(own: Place) -> None:
    text = own.config.read_text()
    own.write_config(text.replace("application: tms\n", "application: other\n"))
    answer = own.run("--json", "kit", "drill", kit_of(own))
    assert (
        "it is the kit of tms, and this is other" in error_of(answer, 24, "kit-mismatch")["message"]
    )
    error_of(own.run("--json", "kit", "drill"), 2, "kit-missing")
    assert list(own.ledger.entries("kit-drill")) == []


# How it stands


def test_a_changed_secret_makes_it_stale(own: Place) -> None:
    with variables(**{VARIABLE: SECRET}):
        assert checks(own)["kit"]["verdict"] == "PROVEN"
    with variables(**{VARIABLE: "rotated"}):
        found = checks(own)["kit"]
        assert found["verdict"] == "STALE"
        assert f"env:{VARIABLE} changed" in found["observed"]
        create_again = own.run("--json", "kit", "create")
        assert create_again.status == 0, create_again.err
        assert checks(own)["kit"]["verdict"] == "PROVEN"
    (own.path / "app.env").write_text("TOKEN=other\n")
    assert "app.env changed" in checks(own)["kit"]["observed"]


def test_who_captures_compares_for_those_who_cannot(own: Place) -> None:
    with variables(**{VARIABLE: "rotated"}):
        own.json("backup", "uploads")
    found = checks(own)["kit"]
    assert (found["verdict"], f"env:{VARIABLE} changed" in found["observed"]) == ("STALE", True)
    assert "rotated" not in everything_written(own)


def test_without_its_key_nothing_can_be_compared(own: Place) -> None:
    (own.path / "state" / "kit.key").unlink()
    with variables(**{VARIABLE: SECRET}):
        found = checks(own)["kit"]
    assert (found["verdict"], "its key is not in" in found["observed"]) == ("UNKNOWN", True)


def test_the_ledger_alone_gives_nothing_to_guess_from(own: Place) -> None:
    """No digest in it is that of a value by any key that it holds."""
    import hashlib
    import hmac

    text = (own.path / "state" / "ledger.jsonl").read_text()
    record = next(iter(own.ledger.entries("kit"))).fields
    for value in (SECRET.encode(), PASSWORD.encode(), f"{PASSWORD}\n".encode()):
        guesses = [hashlib.sha256(value).hexdigest()]
        guesses += [
            hmac.new(str(key).encode(), value, hashlib.sha256).hexdigest()
            for key in (record["kit"], record["run"], record["sha256"], "tms")
        ]
        assert not any(one in text for one in guesses)


def test_it_is_scheduled(production: Place) -> None:
    runs = production.json("schedule", "--count", "1000")["runs"]
    (job,) = {one["job"] for one in runs if one["action"] == "kit-drill"}
    assert job == "kit-drill"
