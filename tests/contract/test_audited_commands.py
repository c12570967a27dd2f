"""Each command leaves the trace in the ledger that the table says, whether it succeeds or fails."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from strongroom.cli.audit import (
    APART,
    AUDITED,
    DIGESTED,
    REFERENCES,
    SHOWN,
    Trace,
    arguments_of,
)
from strongroom.cli.command import AnsweringGroup
from strongroom.cli.main import strongroom
from strongroom.evidence import AUDIT_KINDS, Entry
from tests.e2e.command_line import Place, make_place
from tests.support.code_ground import make_application
from tests.support.import_ground import uploads_archive
from tests.support.repository_ground import new_repository

# Commands follow each other on one place: one worker runs them all.
pytestmark = pytest.mark.xdist_group("audited-commands")

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
kit: {escrow: [file:key], passphrase: file:passphrase}
state: state
"""
SECRET = "hunter2-and-more"

# What is typed after each command, in an order in which all of them succeed.
WORDS: Mapping[str, str] = {
    "init": "",
    "backup": "uploads",
    "snapshots pin": "latest:uploads --reason model",
    "snapshots unpin": "latest:uploads --reason over",
    "snapshots acknowledge": "--all",
    "ls": "latest:uploads / --recursive",
    "diff": "latest:uploads latest:code",
    "dump": "latest:uploads UPLOADS/lpos/LPO-1.pdf --output NEW --reason asked",
    "restore": "uploads --to NEW --include *.pdf --include *.txt --reason drill",
    "recover": "--to NEW --reason lost",
    "prove": "uploads --target UPLOADS",
    "drill": "uploads --repository local",
    "check": "local --read-data=10%",
    "repair": "local --no-read-data",
    "copy": "--from local --to second",
    "prune": "--yes",
    "unlock": "local --all",
    "key list": "",
    "key add": "second --new-password file:KEY --reason deputy",
    "key remove": "second OTHER",
    "key passwd": "second --new-password file:KEY",
    "key export": "local --output NEW",
    "kit create": "--output NEW --reason quarterly",
    "kit open": "KIT --passphrase file:PASSPHRASE --reason asked",
    "kit drill": "KIT",
    "export": "latest:code --format git -o NEW",
    "import": "ARCHIVE --source uploads --captured-at 2026-01-28 --reason before",
    "hook install": "code",
    "hook remove": "",
    "doctor": "--clean",
    "runbook": "--point latest",
    "verify": "daily",
    "alert test": "",
    # Nothing is recorded of these.
    "config check": "",
    "config sample": "",
    "config schema": "",
    "config explain": "sources.uploads.path",
    "config show": "",
    "snapshots": "",
    "status": "",
    "schedule": "",
    "log": "",
    "report": "",
    "alert list": "",
}
# Their exit status is a verdict, or there is nobody to tell here.
VERDICTS = frozenset({"status", "report", "verify", "alert list", "alert test"})
# Without a `recovery` in the configuration nobody has asked the application: it is UNKNOWN.
STATUS: Mapping[str, int] = {"recover": 42}
# Run in `test_audit`, `test_fleet`, `test_demo_story`, `test_open` or `test_undelete`.
ELSEWHERE = frozenset({"demo", "serve", "step", "fleet", "undelete", "open"})
# What only says what would be done.
HARMLESS = (
    "restore uploads --to NEW --preview", "recover --to NEW --dry-run", "prune --dry-run",
    "repair --dry-run", "doctor", "runbook",
)  # fmt: skip
# Those that fail otherwise than by a wrong password.
FAILING: Mapping[str, tuple[str, str]] = {
    "kit open": ("nowhere.age --passphrase file:PASSPHRASE", "kit-missing"),
    "kit drill": ("nowhere.age", "kit-missing"),
    "hook install": ("uploads", "usage"),
    "hook remove": ("uploads", "usage"),
    "alert test": ("", "usage"),
}
TOLERANT = frozenset({"doctor", "verify"})  # they tell of a wrong password, and go on


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("audited"), CONFIG)
    make_application(made.path / "app")
    new_repository(made.path / "local")
    new_repository(made.path / "second")
    made.json("backup")
    passphrase = made.path / "passphrase"
    passphrase.write_text("six words are better than one")
    passphrase.chmod(0o600)
    made.json("kit", "create", "--output", made.path / "kits")
    return made


def commands() -> dict[str, click.Command]:
    """Every command by the names that lead to it."""
    return dict(_below(strongroom, ()))


def _below(group: click.Command, names: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    assert isinstance(group, click.Group)
    for name, command in group.commands.items():
        path = (*names, name)
        if not isinstance(command, click.Group) or isinstance(command, AnsweringGroup):
            yield " ".join(path), command
        if isinstance(command, click.Group):
            yield from _below(command, path)


def typed(command: str, words: str, place: Place, new: Path) -> list[str]:
    if "OTHER" in words:  # made by the command before
        keys = place.json("key", "list", "second")["keys"]
        words = words.replace("OTHER", next(one["id"] for one in keys if not one["in_use"]))
    places = {
        "UPLOADS": place.uploads,
        "NEW": new,
        "KEY": place.path / "key",
        "PASSPHRASE": place.path / "passphrase",
        "KIT": next((place.path / "kits").glob("*.age")),
        "ARCHIVE": uploads_archive(place.path),
    }
    for word, value in places.items():
        words = words.replace(word, str(value))
    return [*command.split(), *words.split()]


def written(place: Place, arguments: list[str], status: int | None = 0) -> list[Entry]:
    """The records that a command adds."""
    before = len(list(place.ledger.entries()))
    answer = place.run("--quiet", *arguments)
    assert status in (None, answer.status), answer.err + answer.text
    return list(place.ledger.entries())[before:]


def test_every_command_has_its_row() -> None:
    """A new command gets a row in `cli/audit.py`, and a line above."""
    assert set(AUDITED) == set(commands())
    assert set(WORDS) == set(AUDITED) - ELSEWHERE


def test_it_is_decided_of_every_option_whether_it_is_shown() -> None:
    """A new option is hidden until somebody has decided that it holds no secret."""
    names = {
        str(one.name)
        for name, command in commands().items()
        if AUDITED[name].trace.is_recorded
        for one in command.params
        if not (isinstance(one, click.Option) and one.is_flag)
    }
    assert names - SHOWN - REFERENCES - DIGESTED - APART == set()
    assert SHOWN - names == set()
    assert REFERENCES - names == set()
    assert DIGESTED - names == set()


@pytest.mark.parametrize("command", WORDS)
def test_it_leaves_its_trace(command: str, place: Place, tmp_path: Path) -> None:
    arguments = typed(command, WORDS[command], place, tmp_path / "new")
    status = STATUS.get(command, 0)
    records = written(place, arguments, None if command in VERDICTS else status)
    trace = AUDITED[command].trace
    audit = [one for one in records if one.kind in AUDIT_KINDS]
    if trace is Trace.NONE:
        assert records == []
        return
    assert [one.kind for one in audit] == ["command-begun"] * trace.is_marked + ["command"]
    assert not trace.is_marked or records[0].kind == "command-begun"
    for one in audit:
        assert one.fields["command"] == command
        assert one.fields["application"] == "tms"
        assert getpass.getuser() in one.fields["by"]
        assert "terminal" in one.fields["from"]
        assert one.fields["config_digest"]
    end = audit[-1]
    assert records[-1] == end
    assert end.fields["exit_status"] == status or command in VERDICTS
    assert end.fields["error"] is None or command in VERDICTS
    assert end.fields["seconds"] >= 0
    assert end.fields["begun_at"] < f"{end.at:%Y-%m-%dT%H:%M:%S.%f}Z"
    reason = arguments[arguments.index("--reason") + 1] if "--reason" in arguments else None
    assert end.fields["reason"] == reason
    # Its own records, if any, are of the same run.
    assert {one.fields["run"] for one in records} == {end.fields["run"]}


@pytest.mark.parametrize("command", HARMLESS)
def test_what_only_says_what_would_be_done_leaves_none(
    command: str, place: Place, tmp_path: Path
) -> None:
    name, *words = command.split()
    arguments = typed(name, " ".join(words), place, tmp_path / "new")
    assert written(place, arguments, None) == []


@pytest.mark.parametrize("command", [name for name in WORDS if AUDITED[name].trace.is_recorded])
def test_a_failure_leaves_its_trace(command: str, place: Place, tmp_path: Path) -> None:
    words, code = FAILING.get(command, (WORDS[command].replace("OTHER", "abc"), "wrong-password"))
    arguments = typed(command, words, place, tmp_path / "new")
    key = place.path / "key"
    right = key.read_text()
    key.write_text("wrong\n")
    try:
        records = written(place, arguments, None)
    finally:
        key.write_text(right)
    audit = [one.kind for one in records if one.kind in AUDIT_KINDS]
    assert audit == ["command-begun"] * AUDITED[command].trace.is_marked + ["command"]
    fields = records[-1].fields
    assert fields["exit_status"] != 0
    if command not in TOLERANT:
        assert fields["error"]["code"] == code
    shutil.rmtree(tmp_path / "new", ignore_errors=True)


def test_what_was_read_and_given_is_told(place: Place, tmp_path: Path) -> None:
    newest = {one["source"]: one for one in place.snapshots() if one["repository"] == "local"}
    uploads = {"source": "uploads", "repository": "local", "snapshot": newest["uploads"]["id"]}
    code = {"source": "code", "repository": "local", "snapshot": newest["code"]["id"]}
    path = f"{place.uploads}/lpos/LPO-1.pdf"
    output = tmp_path / "new"
    for words, read, given in (
        (["ls", "latest:uploads", "-r", "local"], [uploads], None),
        (["diff", newest["uploads"]["id"], newest["code"]["id"]], [uploads, code], None),
        (["dump", "latest:uploads", path, "-r", "local"], [uploads],
         [{"path": path, "bytes": 100_007}]),
    ):  # fmt: skip
        fields = written(place, words)[-1].fields
        assert fields["read"] == read, words
        assert fields.get("given") == given, words
    exported = place.json("export", "latest:code", "--format", "git", "--output", output)
    (given,) = list(place.ledger.entries())[-1].fields["given"]
    assert given == {
        "output": str(output), "bytes": exported["bytes"], "sha256": exported["sha256"]
    }  # fmt: skip
    listed = place.json("log", "--source", "code", "--command", "diff")
    assert len(listed["entries"]) == listed["matching"] > 0


def test_arguments_are_told_as_they_could_be_typed(place: Place, tmp_path: Path) -> None:
    for words, arguments in (
        (["ls", "latest:uploads", "-R", "-rlocal"],
         ["latest:uploads", "--recursive", "--repository", "local"]),
        (["repair", "local", "--no-read-data", "--from=second", "--from", "second"],
         ["local", "--from", "second", "--from", "second", "--no-read-data"]),
        (["check", "--read-data", "local"], ["local", "--read-data", "100%"]),
        (["--json", "drill", "-q", "uploads", "--sample"], ["uploads", "--sample", "automatic"]),
        (["ls", "--", "latest:uploads", "/"], ["latest:uploads", "/"]),
    ):  # fmt: skip
        assert written(place, words, None)[-1].fields["arguments"] == arguments
    many = [word for number in range(200) for word in ("--include", f"{number}.pdf")]
    record = written(place, ["restore", "uploads", "--to", str(tmp_path / "n"), *many], None)[-1]
    assert len(record.fields["arguments"]) == 101
    assert record.fields["arguments"][-1] == "… and 303 more"


PLANTED = (
    f"postgresql://tms:{SECRET}@db.example.com/tms",
    f"postgresql://tms:with/slash and blank @{SECRET}@db.example.com/tms",
    f"postgresql://db.example.com/tms?user=tms&password={SECRET}",
    f"host=db.example.com password='{SECRET}' dbname=tms",
    f"host=db.example.com password = '\\'{SECRET}' dbname=tms",
    f"https://{SECRET}@api.example.com/x",
    f"tms:{SECRET}@db.example.com",
    f"SECRET_TOKEN={SECRET}",
)


@pytest.mark.parametrize("planted", PLANTED)
def test_no_secret_is_told_whatever_is_typed_where(planted: str) -> None:
    """Invariant I6."""
    for name, command in commands().items():
        given: dict[str, object] = {
            str(one.name): True if isinstance(one, click.Option) and one.is_flag else planted
            for one in command.params
        }
        told = list(arguments_of(command, given))
        assert SECRET not in " ".join(told), name


def test_what_is_no_reference_is_hidden_whole() -> None:
    command = commands()["key add"]
    for given, told in (
        (SECRET, "***"),
        ("file:/etc/key", "file:/etc/key"),
        ("env:NEW_PASSWORD", "env:NEW_PASSWORD"),
        (f"command:pass show --token {SECRET}", "command:pass …"),
    ):
        words = list(arguments_of(command, {"repository": "local", "new_password": given}))
        assert words == ["local", "--new-password", told]
    # An option that nobody has decided about.
    strange = click.Command("strange", params=[click.Option(["--strange"])])
    assert list(arguments_of(strange, {"strange": SECRET})) == ["--strange", "***"]
