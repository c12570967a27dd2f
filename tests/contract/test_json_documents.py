"""Scripts rely on it: with --json each command gives one document with at least these keys.

On failure, too: then it is `{"error": {"code", "message", "hint"}}`. Messages and progress go to
standard error. The keys are those of the interface that is promised, command by command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from strongroom.cli.main import strongroom
from strongroom.model import Verdict
from strongroom.service.gathering import EXITS
from tests.e2e.command_line import Answer, Place, make_place
from tests.support.code_ground import make_application
from tests.support.import_ground import uploads_archive
from tests.support.listeners import web_service
from tests.support.repository_ground import new_repository

# Commands follow each other on one place: one worker runs them all.
pytestmark = pytest.mark.xdist_group("json-documents")

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
application_check:
  start: php -S 127.0.0.1:{port} -t .
  http: [{path: /api/health.php, values: {status: ok}}]
alerts: [{name: hook, to: file:hook-url}]
kit: {escrow: [file:key], passphrase: file:passphrase}
state: state
"""

# One after another, in one place: some commands need what those before them made.
pytestmark = pytest.mark.xdist_group("documents")

FINDING = ("code", "severity", "subject", "message")
STAGE = ("name", "seconds")
PROOF = {"verdict": (), "findings": FINDING, "stages": STAGE, "evidence": ()}
LIST = {"verdict": (), "checks": ("name", "line", "verdict", "observed", "evidence")}
# Whose exit status is the verdict.
VERDICTS = ("report", "status", "verify")
# Without a `recovery` in the configuration nobody has asked the application: it is UNKNOWN.
UNKNOWN = ("recover --to NEW",)
# Command, and what its document holds; a tuple names the keys of each item of a list.
KEYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "init": {"created": ("repository", "location"), "existing": ("repository", "location")},
    "config check": {},
    "config sample": {},
    "config schema": {"properties": ()},
    "config explain sources.uploads.path": {},
    "config show": {"sources": (), "repositories": ()},
    "doctor": {"checks": ("name", "state", "observed", "remedy")},
    "backup": {
        "recovery_point": (),
        "snapshots": ("source", "repository", "id", "tree", "bytes", "added_bytes", "seconds"),
        "findings": FINDING,
    },
    "snapshots": {"snapshots": ("id", "source", "captured_at", "bytes", "verdict")},
    "ls latest:uploads": {"entries": ("path", "type")},
    "diff FIRST SECOND": {"added": (), "removed": (), "changed": (), "tables": ()},
    "dump latest:uploads UPLOADS/lpos/LPO-1.pdf --output NEW": {"bytes": ()},
    "restore uploads --to NEW": {"target": (), "seconds": (), "findings": FINDING},
    "restore uploads --to NEW --preview": {"target": (), "seconds": (), "findings": FINDING},
    "prove uploads --target UPLOADS": PROOF,
    "recover --to NEW": {
        **PROOF,
        "sources": ("source", "repository", "snapshot", "target", "verdict", "stages"),
        "rto_seconds": (),
        "rpo_seconds": (),
        "objectives": (),
        "by_hand": (),
    },
    "recover --to NEW --dry-run": {
        "stages": ("name", "what", "seconds"),
        "rto_seconds": (),
        "rpo_seconds": (),
        "point": (),
        "findings": FINDING,
    },
    "drill": {**PROOF, "drills": ("source", "repository", "snapshot", "verdict"), "point": ()},
    "drill --next": {**PROOF, "point": ()},
    "drill uploads --sample=10%": PROOF,
    "snapshots --points": {
        "snapshots": ("id", "source", "captured_at", "bytes", "verdict"),
        "points": ("id", "captured_at", "sources", "certainty", "because", "commits"),
        "findings": FINDING,
    },
    "drill --application": {
        "verdict": (),
        "point": (),
        "snapshots": ("source", "repository", "snapshot", "tree"),
        "findings": FINDING,
        "stages": STAGE,
        "rto": (),
        "evidence": (),
    },
    "check --read-data": {"findings": FINDING, "packs": (), "bytes_read": ()},
    "export latest:code --format git --output NEW": {"output": (), "bytes": (), "sha256": ()},
    "import ARCHIVE --source uploads": {
        "imported": (
            "file",
            "source",
            "captured_at",
            "dated_by",
            "sha256",
            "snapshots",
            "retention",
            "findings",
        ),
        "already_there": ("file", "sha256", "snapshots"),
        "errors": ("file", "code", "message", "hint"),
        "findings": FINDING,
    },
    "prune --dry-run": {
        "repositories": (),
        "keep": ("id", "because"),
        "drop": (),
    },
    "repair --dry-run": {
        "repositories": ("repository", "plan", "done", "healed_blobs", "findings")
    },
    "unlock": {"removed": ()},
    "copy --from local --to second": {"snapshots": (), "added_bytes": (), "findings": FINDING},
    "snapshots pin latest:uploads": {"pinned": ("id", "source", "copies"), "findings": FINDING},
    "snapshots unpin latest:uploads": {"unpinned": ("id", "source", "copies"), "findings": FINDING},
    "snapshots acknowledge --all": {"acknowledged": (), "findings": FINDING},
    "kit create --output NEW": {
        "kit": (),
        "file": (),
        "page": (),
        "sha256": (),
        "codes": (),
        "sealed_for": (),
        "repositories": ("repository", "location", "id"),
        "secrets": (),
        "findings": FINDING,
    },
    "kit open KIT --passphrase file:PASSPHRASE": {
        "kit": (),
        "application": (),
        "made_at": (),
        "sha256": (),
        "repositories": ("repository", "location", "id"),
        "secrets": (),
        "files": ("name", "bytes", "what"),
        "written": (),
    },
    "kit drill KIT": {
        **PROOF,
        "kit": (),
        "repositories": (),
        "drills": ("source", "repository", "snapshot", "verdict"),
        "point": (),
    },
    "key list": {"keys": ("repository", "id", "created_at", "user", "host", "in_use", "damage")},
    "key add second --new-password file:KEY": {"added": (), "removed": (), "findings": FINDING},
    "key remove second OTHER": {"added": (), "removed": (), "findings": FINDING},
    "key passwd second --new-password file:KEY": {"added": (), "removed": (), "advice": ()},
    "key export local --output NEW": {"output": (), "findings": FINDING},
    "log": {"entries": ("seq", "at", "action", "hash"), "matching": (), "findings": FINDING},
    "log --verify": {"holds": (), "records": (), "compared": (), "findings": FINDING},
    "log --export NEW": {"output": (), "bytes": (), "records": ()},
    "report": {
        "verdict": (),
        "proofs": ("evidence", "source", "repository", "snapshot", "verdict", "stages"),
        "not_proven": ("subject", "why"),
        "findings": FINDING,
        "objectives": ("name", "promised", "observed", "state"),
        "ledger": (),
        "versions": (),
    },
    "runbook": {"markdown": (), "made_at": (), "findings": FINDING},
    "runbook --point latest": {"markdown": (), "point": (), "repository": (), "snapshot": ()},
    "alert list": {"routes": ("route", "to", "when", "about", "repeat", "quiet", "last")},
    "alert test": {"routes": ("route", "delivered", "error", "hint"), "findings": FINDING},
    "schedule": {"runs": ("job", "at", "scheduled_for", "because"), "notes": ()},
    "schedule --systemd --output NEW": {"units": ("name", "content"), "output": (), "notes": ()},
    "schedule --cron": {"crontab": ()},
    "status": {
        "verdict": (),
        "because": (),
        "objectives": ("name", "promised", "observed", "state"),
        "sources": ("source", "verdict", "captured_at", "proven_at", "copies"),
        "checks": ("name", "subject", "verdict", "observed", "since", "evidence"),
        "valid_until": (),
    },
    "status --write NEW": {"verdict": ()},
    "verify daily": LIST,
    "verify weekly": LIST,
    "verify monthly": LIST,
    "hook install code": {"installed": ("source", "hook")},
    "hook remove": {"removed": ("source", "hook")},
}
# How each fails, and with which code.
FAILURES: Mapping[str, str] = {
    "status --config NOWHERE": "config-missing",
    "status --nagios": "usage",
    "verify yearly": "usage",
    "init": "wrong-password",
    "config check --config NOWHERE": "config-missing",
    "config explain sources.uploads.colour": "usage",
    "config show --config NOWHERE": "config-missing",
    "doctor --config NOWHERE": "config-missing",
    "backup": "wrong-password",
    "snapshots": "wrong-password",
    "ls latest:uploads": "wrong-password",
    "diff abc def": "wrong-password",
    "dump latest:uploads /x --output NEW": "wrong-password",
    "restore uploads --to NEW": "wrong-password",
    "undelete uploads public.t": "usage",
    "undelete": "usage",
    "diff latest:uploads latest:code --files-only --rows": "usage",
    "prove uploads --target UPLOADS": "wrong-password",
    "recover --to NEW": "wrong-password",
    "recover --to NEW --kit NOWHERE": "kit-missing",
    "recover --to NEW --passphrase file:PASSPHRASE": "usage",
    "kit": "usage",
    "kit create --output NEW": "wrong-password",
    "kit create": "usage",
    "kit open NOWHERE": "kit-missing",
    "kit drill": "kit-missing",
    "kit drill NOWHERE": "kit-missing",
    "recover": "usage",
    "recover --to UPLOADS": "target-not-empty",
    "recover --to NEW --dry-run": "wrong-password",
    "drill": "wrong-password",
    "drill --next": "wrong-password",
    "drill --point 01": "wrong-password",
    "drill --next --point 01": "usage",
    "drill uploads --next": "usage",
    "drill --sample=200%": "usage",
    "snapshots --points": "wrong-password",
    "drill --application": "wrong-password",
    "check": "wrong-password",
    "export latest:code --format git --output NEW": "wrong-password",
    "import ARCHIVE --source uploads": "wrong-password",
    "import ARCHIVE --source nothing": "usage",
    "import NOWHERE --source uploads": "usage",
    "open latest:uploads": "wrong-password",
    "open latest:uploads --for ever": "usage",
    "copy --from local --to local": "usage",
    "prune": "wrong-password",
    "repair": "wrong-password",
    "unlock": "wrong-password",
    "snapshots pin latest:uploads": "wrong-password",
    "snapshots unpin latest:uploads": "wrong-password",
    "snapshots acknowledge --all": "wrong-password",
    "snapshots acknowledge": "usage",
    "key list": "wrong-password",
    "key add local --new-password file:KEY": "wrong-password",
    "key add local --new-password hunter2": "wrong-password",
    "key remove local abc": "wrong-password",
    "key passwd local --new-password file:KEY": "wrong-password",
    "key export local --output NEW": "wrong-password",
    "key": "usage",
    "log --config NOWHERE": "config-missing",
    "log --verify --limit 3": "usage",
    "log --since yesterday": "usage",
    "report --output NEW": "usage",
    "report --config NOWHERE": "config-missing",
    "runbook --output NEW": "usage",
    "runbook --point 01": "wrong-password",
    "alert list --config NOWHERE": "config-missing",
    "alert test nobody": "usage",
    "fleet": "usage",
    "serve --controller": "usage",
    "serve --agent a --drills UPLOADS --controller": "usage",
    "serve --agent A": "usage",
    "serve --agent a --heartbeat 1s": "usage",
    "serve --agent a --most-drills 2": "usage",
    "schedule --config NOWHERE": "config-missing",
    "schedule --systemd --cron": "usage",
    "schedule --output NEW": "usage",
    "schedule --systemd --output UPLOADS/lpos/LPO-1.pdf": "target-refused",
    "hook install uploads": "usage",
    "hook remove uploads": "usage",
    "demo --dir UPLOADS": "target-not-empty",
    "nonsense": "usage",
    "backup --nonsense": "usage",
    "config": "usage",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = make_place(tmp_path_factory.mktemp("json"), CONFIG)
    make_application(made.path / "app")
    new_repository(made.path / "local")
    new_repository(made.path / "second")
    made.json("backup")
    made.json("backup", "uploads")
    passphrase = made.path / "passphrase"
    passphrase.write_text("six words are better than one")
    passphrase.chmod(0o600)
    made.json("kit", "create", "--output", made.path / "kits")
    with web_service() as service:
        hook = made.path / "hook-url"
        hook.write_text(f"json://127.0.0.1:{service.port}")
        hook.chmod(0o600)
        yield made


def _arguments(command: str, place: Place, tmp_path: Path) -> list[str]:
    words = {
        "UPLOADS": str(place.uploads),
        "NEW": str(tmp_path / "new"),
        "NOWHERE": str(tmp_path / "none.yaml"),
        "ARCHIVE": str(uploads_archive(place.path)),
        "KEY": str(place.path / "key"),
        "PASSPHRASE": str(place.path / "passphrase"),
        "KIT": str(next((place.path / "kits").glob("*.age"))),
    }
    if "OTHER" in command:  # made by the command before
        keys = place.json("key", "list", "second")["keys"]
        words |= {"OTHER": next(one["id"] for one in keys if not one["in_use"])}
    if "FIRST" in command:
        uploads = [one["id"] for one in place.snapshots() if one["source"] == "uploads"]
        words |= {"FIRST": uploads[0], "SECOND": uploads[-1]}
    for word, value in words.items():
        command = command.replace(word, value)
    return command.split()


def _one_document(answer: Answer) -> dict[str, Any]:
    decoder = json.JSONDecoder()
    document, end = decoder.raw_decode(answer.text)
    assert answer.text[end:] == "\n", "exactly one document, and its line's end"
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("command", KEYS)
def test_a_document_has_its_keys(command: str, place: Place, tmp_path: Path) -> None:
    verbosity = "--verbose" if "restore" in command else "--quiet"
    answer = place.run("--json", verbosity, *_arguments(command, place, tmp_path))
    document = _one_document(answer)
    expected = EXITS[Verdict.UNKNOWN] if command in UNKNOWN else 0
    if command.split(maxsplit=1)[0] in VERDICTS:
        expected = EXITS[Verdict(document["verdict"])]
    assert answer.status == expected, answer.text + answer.err
    _expect_keys(document, KEYS[command])
    assert verbosity == "--verbose" or answer.err == ""


def _expect_keys(document: dict[str, Any], keys: Mapping[str, tuple[str, ...]]) -> None:
    for name, inner in keys.items():
        assert name in document
        if inner:
            assert isinstance(document[name], list)
        for one in document[name] if inner else ():
            assert set(inner) <= set(one), (name, one)


@pytest.mark.parametrize("command", FAILURES)
def test_a_failure_is_one_document(command: str, place: Place, tmp_path: Path) -> None:
    key = place.path / "key"
    right = key.read_text()
    key.write_text("wrong\n")
    try:
        answer = place.run("--json", *_arguments(command, place, tmp_path))
    finally:
        key.write_text(right)
    assert answer.status != 0
    document = _one_document(answer)
    assert set(document) == {"error"}
    error = document["error"]
    assert {"code", "message", "hint"} <= set(error)
    assert error["code"] == FAILURES[command]
    assert error["message"]
    assert error["hint"]
    assert not (tmp_path / "new").exists()


def _leaves(group: click.Group, above: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}"


def test_every_command_is_asked() -> None:
    """A new command gets its line above. `test_demo_story` asks the demo, `test_undelete` of the
    rows of a database, `test_open` of one to be looked into; `serve` answers over HTTP alone,
    `step` is for the service, whose tests ask it, and so do a fleet's `fleet`."""
    assert isinstance(strongroom, click.Group)
    elsewhere = {"demo", "serve", "step", "fleet", "undelete", "open"}
    for command in set(_leaves(strongroom)) - elsewhere:
        assert any(one == command or one.startswith(command + " ") for one in KEYS), command
