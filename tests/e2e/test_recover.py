"""`recover`: a small application comes back on an empty machine, as it was, and answers."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.evidence import COMMAND
from strongroom.repository import Repository
from strongroom.repository.storage import LocalStorage
from tests.e2e.command_line import PASSWORD, Place
from tests.support.application_ground import told
from tests.support.demo_ground import error_of
from tests.support.failure_ground import temporary_directory
from tests.support.recovery_ground import (
    HEALTHY,
    RecoveryGround,
    ended,
    make_production,
    recovered,
    serving,
)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Not to be changed."""
    return make_production(tmp_path_factory.mktemp("production") / "tms")


@pytest.fixture
def ground(production: Place, tmp_path: Path) -> Iterator[RecoveryGround]:
    made = RecoveryGround(production, tmp_path)
    with ended(made.target):
        yield made


def fetched(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode("latin-1"))


def test_one_command_brings_the_application_back(ground: RecoveryGround) -> None:
    place = ground.machine("by_hand: [Point the name at the new address.]")
    answer = place.run("--json", "recover", "--to", ground.target, "--reason", "the host is lost")
    document = answer.document
    assert (answer.status, document["verdict"]) == (0, "PROVEN"), document["findings"]
    assert [(one["source"], one["verdict"]) for one in document["sources"]] == [
        ("uploads", "PROVEN"),
        ("code", "PROVEN"),
    ]
    assert fetched(ground.port, "/health.json") == HEALTHY
    for name in ("lpos/LPO-1.pdf", "quotes/Q 1\nodd.txt"):
        assert (ground.target / "uploads" / name).read_bytes() == (
            ground.production.uploads / name
        ).read_bytes()
    assert (ground.target / "code/config/app.ini").read_text() == "colour = blue\n"
    assert sorted(one.name for one in ground.target.iterdir()) == [".strongroom", "code", "uploads"]
    names = [one["name"] for one in document["stages"]]
    assert names[:2] == ["find the recovery point", "restore"]
    assert names[-2:] == ["requests", "watch the logs"]
    assert 0 < document["rto_seconds"] < 300
    assert 0 < document["rpo_seconds"] < 3600
    assert document["objectives"] == {"rto_seconds": 4 * 3600.0, "rpo_seconds": 24 * 3600.0}
    assert document["by_hand"] == ["Point the name at the new address."]
    assert told(document, "recovery-unproven")


def test_it_stands_in_the_ledger_with_its_reason(ground: RecoveryGround) -> None:
    place = ground.machine()
    recovered(place, ground.target, "--reason", "the host is lost")
    entries = list(place.ledger.entries())
    kinds = [one.kind for one in entries]
    assert "ledger-adopted" in kinds  # the machine had none
    assert kinds.count("restore") == 2
    record = next(one for one in entries if one.kind == "recovery").fields
    assert (record["verdict"], record["reason"]) == ("PROVEN", "the host is lost")
    assert record["target"] == str(ground.target)
    assert [one["source"] for one in record["snapshots"]] == ["uploads", "code"]
    last = entries[-1]
    assert (last.kind, last.fields["command"]) == (COMMAND, "recover")
    begun = [one for one in entries if one.kind == "command-begun"]
    assert [one.fields["command"] for one in begun if one.fields["reason"]] == ["recover"]


def test_the_configuration_may_demand_a_reason(ground: RecoveryGround) -> None:
    place = ground.machine()
    place.write_config(place.config.read_text() + "restore: {reason: required}\n")
    answer = place.run("--json", "recover", "--to", ground.target)
    assert "demands that a restore says why" in error_of(answer, 2, "usage")["message"]
    assert not ground.target.exists()
    recovered(place, ground.target, "--dry-run")
    assert recovered(place, ground.target, "--reason", "the host is lost")["verdict"] == "PROVEN"


def test_a_second_time_it_is_refused(ground: RecoveryGround) -> None:
    place = ground.machine()
    assert recovered(place, ground.target)["verdict"] == "PROVEN"
    answer = place.run("--json", "recover", "--to", ground.target)
    assert "was completed here" in error_of(answer, 5, "target-not-empty")["message"]


def test_what_people_read(ground: RecoveryGround) -> None:
    place = ground.machine("by_hand: [Point the name at the new address.]")
    text = place.run("recover", "--to", ground.target).text
    assert "PROVEN  uploads:" in text
    assert "Recovery took" in text
    assert "What a person must still do:\n  - Point the name at the new address.\n" in text
    assert (
        f"application at http://127.0.0.1:{ground.port}: it is back, identical, and works" in text
    )


def test_owners_modes_links_settings_and_the_production_tag(ground: RecoveryGround) -> None:
    os.environ["TMS_KEY"] = "correct-horse"
    try:
        place = ground.machine(
            "folders: {code: app}",
            "checkout: production",
            'ownership: {uploads: {folder_mode: "750", file_mode: "640"},'
            ' code: {file_mode: "644"}}',
            "secrets: {key: env:TMS_KEY}",
            'render: {config/live.env: "KEY={secret.key} AT={url} IN={directory} UP={uploads}"}',
            "links: {public/up: uploads}",
            "environment: {KEY: env:TMS_KEY}",
            "prepare: [[/bin/sh, -c, 'echo $KEY >public/ran']]",
            "smoke: [[/bin/sh, -c, 'test -f public/up/lpos/LPO-1.pdf']]",
        )
        answer = place.run("--json", "--verbose", "recover", "--to", ground.target)
    finally:
        del os.environ["TMS_KEY"]
    assert answer.document["verdict"] == "PROVEN", answer.document["findings"]
    assert fetched(ground.port, "/release.txt") == "one"
    assert fetched(ground.port, "/ran") == "correct-horse\n"
    assert fetched(ground.port, "/up/lpos/LPO-1.pdf")[:4] == "%PDF"
    modes = {
        name: oct(stat.S_IMODE((ground.target / name).stat().st_mode))
        for name in ("uploads", "uploads/lpos", "uploads/lpos/LPO-1.pdf", "app/config/live.env")
    }
    assert list(modes.values()) == ["0o750", "0o750", "0o640", "0o600"], modes
    assert (ground.target / "app/config/live.env").read_text() == (
        f"KEY=correct-horse AT=http://127.0.0.1:{ground.port} IN={ground.target}"
        f" UP={ground.target}/uploads"
    )
    kept = (ground.target / ".strongroom/recovery.json").read_text()
    ledger = (place.path / "state/ledger.jsonl").read_text()
    for one in (answer.text, answer.err, kept, ledger):
        assert "correct-horse" not in one


def test_nothing_that_a_command_prints_gives_a_secret_away(
    ground: RecoveryGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded as in a URL, out of a template that is a file, out of the kit, or one that nobody
    knows: neither answers nor records hold it."""
    monkeypatch.setenv("TMS_KEY", "p@ss/w:rd+one")
    kept, template = ground.path / "kept.env", ground.path / "app.env"
    kept.write_text("TOKEN=hunter2-of-the-kit\n")
    template.write_text("APP_ENV=production\nTOKEN=hunter2-of-the-template\n")
    lines = [
        "secrets: {key: env:TMS_KEY}",
        f"render: {{.env: 'file:{template}'}}",
        "smoke: [[/bin/sh, -c, 'test -f mended || { cat said .env; false; }'],"
        " [/bin/sh, -c, 'test -f mended || { cat said; false; }']]",
        "prepare: [[/bin/sh, -c, 'echo unknown redis://app:hunter2-unknown@cache/ >said']]",
    ]
    text = serving(ground.port, lines) + f"kit: {{escrow: ['file:{kept}', 'file:key']}}\n"
    place = ground.machine(recovery=text)
    heard = []
    for said in (
        "cat .env | tail -1; false",
        "cat said; false",
        f"cat {kept}; false",
        "echo postgres://p%40ss%2Fw%3Ard%2Bone@db; false",
        "true",
    ):
        config = text.replace("test -f mended || { cat said .env; false; }", said)
        config = config.replace("test -f mended || { cat said; false; }", "true")
        place.write_config(place.config.read_text().partition("recovery:")[0] + config)
        answer = place.run("--json", "recover", "--to", ground.target)
        heard.append(answer.document["verdict"])
        ledger = (place.path / "state/ledger.jsonl").read_text()
        journal = (ground.target / ".strongroom/recovery.json").read_text()
        for one in (answer.text, answer.err, ledger, journal):
            assert "hunter2" not in one
            assert "p%40ss" not in one
    assert heard == ["FAILED"] * 4 + ["PROVEN"]
    assert not (ground.target / ".strongroom/output").exists()
    printed = [one.name for one in (ground.target / ".strongroom").iterdir()]
    assert set(printed) <= {"recovery.json", "recovery.lock", "served"}


def test_it_goes_on_once_the_cause_is_mended(ground: RecoveryGround) -> None:
    """What is proven is not restored again."""
    place = ground.machine(f"smoke: [[/bin/sh, -c, 'echo not yet; test -f {ground.path}/mended']]")
    first = recovered(place, ground.target)
    assert first["verdict"] == "FAILED"
    assert told(first, "application-failed") == ["smoke: sh: it ended with status 1: not yet"]
    assert first["rto_seconds"] is None
    before = (ground.target / "uploads").stat().st_ino
    (ground.path / "mended").touch()
    second = recovered(place, ground.target)
    assert (second["verdict"], second["runs"]) == ("PROVEN", 2), second["findings"]
    assert (ground.target / "uploads").stat().st_ino == before
    assert second["rto_seconds"] > sum(one["seconds"] for one in first["stages"])
    kinds = [one.kind for one in place.ledger.entries()]
    assert kinds.count("restore") == 2


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ("http: [{path: /nothing}]", "application-failed", "/nothing: status is 404"),
        ("http: [{path: /health.json, values: {status: bad}}]", "application-failed", "status is"),
        ("checkout: v9.9", "application-failed", "has no tag v9.9"),
        ("prepare: [no-such-program]", "application-failed", "it did not start"),
        ("links: {public: uploads}", "application-unchecked", "holds something at public"),
    ],
)
def test_what_does_not_work_is_told(
    ground: RecoveryGround, more: str, code: str, said: str
) -> None:
    place = ground.machine(more)
    answer = place.run("--json", "recover", "--to", ground.target)
    assert answer.status != 0
    assert any(said in one for one in told(answer.document, code)), answer.document["findings"]
    assert (ground.target / "uploads/lpos/LPO-1.pdf").exists()


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("more", "status", "code", "said"),
    [
        ("secrets: {key: env:NOT_SET}", 2, "secret-unavailable", "NOT_SET"),
        ("user: nobody-of-this-name", 10, "source-failed", "no user of this name"),
        ("ownership: {uploads: {group: no-such-group}}", 10, "source-failed", "no group of this"),
        ("render: {.env: 'file:/nowhere/template'}", 10, "source-failed", "cannot be read"),
        ("render: {.env: 'file:template'}", 2, "config-invalid", "by the name {databse.url}"),
    ],
)
def test_what_it_will_need_is_asked_for_before_anything_is_written(
    ground: RecoveryGround, words: tuple[str, ...], more: str, status: int, code: str, said: str
) -> None:
    place = ground.machine(more)
    (place.path / "template").write_text("URL={databse.url}")
    answer = place.run("--json", "recover", "--to", ground.target, *words)
    assert said in error_of(answer, status, code)["message"]
    assert not ground.target.exists()


def test_a_secret_that_only_a_drill_needs_is_not_asked_for(ground: RecoveryGround) -> None:
    check = (
        "application_check:\n  start: php -S 127.0.0.1:{port}\n"
        "  secrets: {drilled: env:NOT_SET}\n  http: [{path: '/?{secret.drilled}'}]\n"
    )
    place = ground.machine(recovery=serving(ground.port) + check)
    assert recovered(place, ground.target)["verdict"] == "PROVEN"


def test_everything_belongs_to_whom_it_should_and_runs_as_them() -> None:
    """As root, to somebody else; without being root, to oneself."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    group = grp.getgrgid(user.pw_gid).gr_name
    whose = f"{{owner: {user.pw_name}, group: {group}}}"
    with temporary_directory() as folder:
        ground = RecoveryGround(make_production(folder / "tms"), folder)
        lines = (
            f"user: {user.pw_name}",
            f"ownership: {{uploads: {whose}, code: {whose}}}",
            "render: {config/live.env: 'AT={url}'}",
            "prepare: [[/bin/sh, -c, 'id -un >who; cat config/live.env; echo $HOME >home']]",
        )
        # A server that anybody may run.
        php = f"serve: php -S 127.0.0.1:{ground.port} -t public"
        text = re.sub("serve: .*", php, serving(ground.port, lines))
        place = ground.machine(recovery=text)
        with ended(ground.target):
            document = recovered(place, ground.target)
            assert document["verdict"] == "PROVEN", document["findings"]
            code = ground.target / "code"
            assert (code / "who").read_text().strip() == user.pw_name
            assert (code / "home").read_text().strip() == user.pw_dir
            names = ("code/config/live.env", "code/.git/HEAD", "uploads", "uploads/lpos/LPO-1.pdf")
            for name in names:
                status = (ground.target / name).stat()
                assert (status.st_uid, status.st_gid) == (user.pw_uid, user.pw_gid), name
            journal = journal_in_finished(ground.target)
            assert Path(f"/proc/{journal['served'][0]}").stat().st_uid == user.pw_uid


def test_who_serves_can_read_what_was_rendered_wherever_the_rest_belongs() -> None:
    """As root: without `ownership`, and with the code of another owner."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    other = pwd.getpwnam("daemon") if os.geteuid() == 0 else user
    with temporary_directory() as folder:
        production = make_production(folder / "tms")
        for number, more in enumerate(((), (f"ownership: {{code: {{owner: {other.pw_name}}}}}",))):
            ground = RecoveryGround(production, folder / str(number))
            lines = (
                f"user: {user.pw_name}",
                "render: {config/live.env: 'AT={url}'}",
                "smoke: [[/bin/sh, -c, 'cat config/live.env']]",
                *more,
            )
            php = f"serve: php -S 127.0.0.1:{ground.port} -t public"
            place = ground.machine(recovery=re.sub("serve: .*", php, serving(ground.port, lines)))
            with ended(ground.target):
                document = recovered(place, ground.target)
            assert document["verdict"] == "PROVEN", document["findings"]
            status = (ground.target / "code/config/live.env").stat()
            assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (user.pw_uid, 0o600)


def journal_in_finished(directory: Path) -> dict[str, Any]:
    """Any: JSON values."""
    document = json.loads((directory / ".strongroom/recovery.json").read_text())
    assert isinstance(document, dict)
    return document


def test_without_a_section_everything_is_proven_and_nothing_is_known_to_work(
    ground: RecoveryGround,
) -> None:
    place = ground.machine(recovery="")
    answer = place.run("--json", "recover", "--to", ground.target)
    assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN")
    assert [one["verdict"] for one in answer.document["sources"]] == ["PROVEN", "PROVEN"]
    assert told(answer.document, "application-unchecked")


def test_what_was_promised_and_not_kept_is_a_warning(ground: RecoveryGround) -> None:
    place = ground.machine(recovery=serving(ground.port) + "objectives: {rpo: 0s, rto: 0s}\n")
    document = recovered(place, ground.target)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert told(document, "rto-exceeded")
    assert told(document, "rpo-exceeded")


def test_what_somebody_has_removed_meanwhile_is_restored_again(ground: RecoveryGround) -> None:
    place = ground.machine("smoke: [['false']]")
    assert recovered(place, ground.target)["verdict"] == "FAILED"
    shutil.rmtree(ground.target / "uploads")
    assert recovered(place, ground.target)["verdict"] == "FAILED"
    assert (ground.target / "uploads/lpos/LPO-1.pdf").exists()
    kinds = [one.kind for one in place.ledger.entries()]
    assert kinds.count("restore") == 3


def test_what_is_back_needs_no_repository_any_more(ground: RecoveryGround) -> None:
    own = ground.own()
    place = ground.machine(f"smoke: [[/bin/sh, -c, 'test -f {ground.path}/mended']]")
    assert recovered(place, ground.target)["verdict"] == "FAILED"
    (ground.path / "mended").touch()
    for name in ("local", "second"):
        shutil.rmtree(own.path / name)
    assert recovered(place, ground.target)["verdict"] == "PROVEN"


def test_a_repository_that_is_locked_is_passed_over(ground: RecoveryGround) -> None:
    """Production may have died while it pruned; and when there is no other one, that is told."""
    own = ground.own()
    repository = Repository.open(LocalStorage(own.path / "local"), PASSWORD, name="local")
    place = ground.machine()
    lock = repository.new_lock(exclusive=True)
    lock.acquire()
    try:
        document = recovered(place, ground.target)
        assert document["verdict"] == "PROVEN", document["findings"]
        assert {one["repository"] for one in document["sources"]} == {"second"}
        assert "lock" in told(document, "repository-unreachable")[0]
        words = ("recover", "--to", ground.path / "other", "--repository", "local")
        error_of(place.run("--json", *words), 4, "busy")
    finally:
        lock.release()


def test_a_point_that_was_proven_elsewhere_is_proven(ground: RecoveryGround) -> None:
    """The repository in which it was drilled is lost; the copy that survived is the same."""
    own = ground.own()
    own.json("drill", "--repository", "second")
    (own.uploads / "lpos/LPO-3.pdf").write_bytes(b"new work")
    own.json("backup")
    own.json("drill", "--repository", "local")
    own.json("backup", "code")  # takes the ledger along
    newer = own.json("snapshots", "--points")["points"][1]["id"]
    shutil.rmtree(own.path / "local")
    document = recovered(ground.machine(), ground.target)
    assert (document["verdict"], document["point"]) == ("PROVEN", newer)
    assert "proven, though as a copy in another repository" in document["because"]
    assert not told(document, "recovery-unproven")
    (told_part,) = told(document, "recovery-older-point")
    assert "captured alone" in told_part
    assert "strongroom restore code --snapshot" in told_part


def test_a_damaged_copy_gives_way_to_another(ground: RecoveryGround) -> None:
    own = ground.own()
    for pack in (own.path / "local" / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(b"\0" * pack.stat().st_size)
    document = recovered(ground.machine(), ground.target)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert {one["repository"] for one in document["sources"]} == {"second"}
    assert told(document, "recovery-copy-failed")
    assert sorted(one.name for one in ground.target.iterdir()) == [".strongroom", "code", "uploads"]


def test_a_newer_point_that_nobody_has_proven_is_told_and_can_be_asked_for(
    ground: RecoveryGround,
) -> None:
    own = ground.own()
    own.json("drill")
    (own.uploads / "lpos/LPO-3.pdf").write_bytes(b"new work")
    own.json("backup")
    older, newer = (one["id"] for one in own.json("snapshots", "--points")["points"])
    place = ground.machine()
    plan = recovered(place, ground.target, "--dry-run")
    assert plan["point"] == older
    document = recovered(place, ground.target)
    assert (document["point"], document["verdict"]) == (older, "PROVEN")
    assert f"--point {newer} takes it all the same" in told(document, "recovery-older-point")[0]
    assert not (ground.target / "uploads/lpos/LPO-3.pdf").exists()
    other = ground.path / "other"
    with ended(ground.target):
        pass  # so that its port is free
    with ended(other):
        document = recovered(place, other, "--point", newer)
        assert (document["point"], document["verdict"]) == (newer, "PROVEN")
        assert (other / "uploads/lpos/LPO-3.pdf").exists()


def test_what_a_live_folder_holds_by_now_says_nothing_of_a_copy(ground: RecoveryGround) -> None:
    """`prove` reads nothing from a store, and what it looks at changes rightly."""
    own = ground.own()
    own.json("backup")
    own.json("drill", "--repository", "local")
    (own.uploads / "lpos/LPO-3.pdf").write_bytes(b"new work")
    own.json("backup")
    _, older, newer = (one["id"] for one in own.json("snapshots", "--points")["points"])
    # Identical it is, and nobody has brought the copy back.
    assert own.json("prove", "uploads", "--target", own.uploads)["verdict"] == "PROVEN"
    own.json("backup", "code")  # takes the ledger along
    plan = recovered(ground.machine(), ground.target, "--dry-run")
    assert (plan["point"], plan["because"]) == (older, "the newest that is proven")
    shutil.rmtree(ground.path / "machine")
    own.json("drill", "--point", newer, "--repository", "local")
    (own.uploads / "lpos/LPO-1.pdf").write_bytes(b"work of today")
    answer = own.run("--json", "prove", "uploads", "--target", own.uploads)
    assert answer.document["verdict"] == "FAILED"
    own.json("backup", "code")
    plan = recovered(ground.machine(), ground.target, "--dry-run")
    assert (plan["point"], plan["because"]) == (newer, "the newest that is proven")


def test_where_no_point_holds_everything_sources_come_from_several(
    ground: RecoveryGround,
) -> None:
    own = ground.own()
    text = own.config.read_text()
    (own.path / "papers").mkdir()
    (own.path / "papers/one.txt").write_text("the first")
    own.write_config(
        text.replace("sources:\n", "sources:\n  papers: {kind: files, path: papers}\n")
    )
    own.json("backup", "papers")
    place = ground.machine("smoke: [['false']]")
    document = recovered(place, ground.target)
    assert {one["source"]: one["verdict"] for one in document["sources"]} == {
        "papers": "PROVEN",
        "uploads": "PROVEN",
        "code": "PROVEN",
    }
    (said,) = told(document, "recovery-mixed")
    assert "captured" in said
    assert "after the others" in said
    assert (ground.target / "papers/one.txt").read_text() == "the first"
    # What goes on is the same mixture.
    assert recovered(place, ground.target)["point"] == document["point"]


def test_a_dry_run_says_how_long_it_took_in_drills_and_writes_nothing(
    ground: RecoveryGround,
) -> None:
    own = ground.own()
    own.json("drill")
    own.json("copy", "--from", "local", "--to", "second")  # the ledger goes along
    own.json("backup")
    own.json("drill")
    own.json("snapshots", "pin", "latest:uploads", "--reason", "so that the ledger is copied")
    place = ground.machine()
    plan = recovered(place, ground.target, "--dry-run")
    stages = {one["name"]: one["seconds"] for one in plan["stages"]}
    assert stages["restore uploads"] > 0
    assert stages["restore code"] > 0
    assert plan["rto_seconds"] >= max(stages["restore uploads"], stages["restore code"])
    assert not plan["rto_is_whole"]  # no application was ever drilled
    assert not ground.target.exists()
    text = place.run("recover", "--to", ground.target, "--dry-run").text
    assert "Would recover point" in text
    assert "It would take at least" in text
