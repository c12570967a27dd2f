"""The lost-key drill: everything comes back from a recovery kit alone, and that is recorded.

The work is done by a process that has an empty environment, an empty home and an empty folder, see
`lost_key_child`; it is given the sealed kit and what opens it through a pipe. What it restores goes
into sandboxes, and the operator's own commands are not run: this is production's host.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from strongroom.config import resolve_secret
from strongroom.errors import (
    ERROR_KINDS,
    ConfigError,
    IntegrityError,
    StorageError,
    StrongroomError,
)
from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict, finding
from strongroom.report.field import text
from strongroom.service.application import Application
from strongroom.service.kit import RECORD as MADE
from strongroom.service.kit import newest_file, read_sealed
from strongroom.service.kit_seal import Opener, identity_in
from strongroom.service.leftover import sandbox
from strongroom.service.proof import EXITS, evidence_json
from strongroom.service.record import circumstances, noted
from strongroom.service.rendering import error_record

__all__ = ["KitDrillReport", "configured_opener", "drill_kit"]

RECORD: Final = "kit-drill"
# Errors by which somebody meant another kit or key: nothing is known about this one by that.
_MISTAKEN: Final = frozenset({"kit-mismatch", "kit-missing"})


@dataclass(frozen=True, slots=True)
class _Drilled:
    """The file that is drilled, whether somebody has named it, and its SHA-256 once it is read."""

    file: Path
    by_hand: bool
    digest: str = ""


@dataclass(frozen=True, slots=True)
class KitDrillReport:
    """What came of a lost-key drill. `document` is what the process told, empty where the kit did
    not open."""

    file: Path
    verdict: Verdict
    findings: tuple[Finding, ...]
    document: Mapping[str, Any]  # Any: JSON values
    seconds: float
    evidence: Entry | None = None

    @property
    def exit_status(self) -> int:
        return EXITS[self.verdict]

    @property
    def repositories(self) -> tuple[str, ...]:
        return tuple(self.document.get("repositories", ()))

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "verdict": self.verdict.value,
            "file": str(self.file),
            "kit": self.document.get("kit"),
            "made_at": self.document.get("made_at"),
            "repositories": list(self.repositories),
            "point": self.document.get("point"),
            "drills": list(self.document.get("drills", ())),
            "checked": self.document.get("checked", 0),
            "findings": [one.as_json() for one in self.findings],
            "stages": list(self.document.get("stages", ())),
            "seconds": round(self.seconds, 3),
            "evidence": evidence_json(self.evidence),
        }


def configured_opener(application: Application) -> Opener:
    """What the configuration keeps to open kits with; ConfigError `kit-locked` when it is nothing,
    `secret-unavailable` when it can't be had."""
    settings = application.settings.kit
    reference = settings.passphrase if settings is not None else None
    passphrase = resolve_secret(reference) if reference is not None else ""
    if settings is not None and settings.identity is not None:
        return identity_in(settings.identity, passphrase)
    if passphrase:
        return Opener(passphrase)
    raise ConfigError(
        "nothing is configured that opens it",
        subject="kit",
        code="kit-locked",
        hint="Give --passphrase or --identity, or set one of both in `kit`.",
    )


def drill_kit(
    application: Application, file: Path | None = None, opener: Opener | None = None
) -> KitDrillReport:
    """Recover from a kit alone, the newest one unless a file is named, and record it.

    A kit that does not open with what the configuration keeps is FAILED. Raises when somebody has
    given another key or another application's kit, or has named a file that does not open and that
    is no kit by the ledger: whoever names one may mistake it, which says nothing of the kits.
    """
    drilled = _Drilled(newest_file(application) if file is None else file, by_hand=file is not None)
    begun = time.monotonic()
    given = configured_opener(application) if opener is None else opener
    try:
        content = read_sealed(drilled.file)
        drilled = replace(drilled, digest=hashlib.sha256(content).hexdigest())
        document = _answer(application, drilled.file, content, given)
    except StrongroomError as error:
        unopened = error.code in ("kit-locked", "kit-damaged")
        mistaken = drilled.by_hand and drilled.digest not in _digests(application)
        by_hand = opener is not None and error.code == "kit-locked"
        if by_hand or error.code in _MISTAKEN or (unopened and mistaken):
            raise
        seconds = time.monotonic() - begun
        if not unopened:
            fields = _fields(application, drilled, Verdict.UNKNOWN, (), {}, seconds)
            application.record(RECORD, {**fields, "error": error_record(error)})
            raise
        found = (finding("kit-unopened", drilled.file.name, error.message),)
        return _recorded(application, drilled, Verdict.FAILED, found, {}, seconds)
    findings = tuple(
        finding(one["code"], one["subject"], one["message"]) for one in document["findings"]
    )
    verdict = Verdict(document["verdict"])
    seconds = time.monotonic() - begun
    return _recorded(application, drilled, verdict, findings, document, seconds)


def _digests(application: Application) -> set[str]:
    """The SHA-256 of every kit that was made, as far as the ledger can be read."""
    found: set[str] = set()
    with contextlib.suppress(StrongroomError):  # the ledger's own check tells
        for entry in application.ledger.backwards():
            if entry.kind == MADE and entry.fields.get("application") == application.name:
                found.add(text(entry.fields.get("sha256")))
    return found - {""}


def _answer(
    application: Application, file: Path, content: bytes, opener: Opener
) -> dict[str, Any]:  # Any: JSON values
    """What the process tells; the error that ended it."""
    with sandbox(application) as folder:
        home = folder / "home"
        home.mkdir(mode=0o700)
        request = {
            "file": file.name,
            "content": base64.b64encode(content).decode(),
            "passphrase": opener.passphrase,
            "identities": list(opener.identities),
            "application": application.name,
            "home": str(home),
            "state": str(folder / "state"),
        }
        document = _run(request, home)
    error = document.get("error")
    if error is not None:
        raise _error(error)
    return document


def _run(request: Mapping[str, Any], home: Path) -> dict[str, Any]:  # Any: JSON values
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "strongroom.service.lost_key_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what nobody foresaw could quote a secret
        env={},
        cwd=home,
    )
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    try:
        with contextlib.suppress(BrokenPipeError):  # its status says what happened
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        # Its end of stdin stays open meanwhile: closed, it would stop.
        output = process.stdout.read()
        status = process.wait()
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        if process.poll() is None:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    try:
        document = json.loads(output)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise StrongroomError(
            f"the process of the lost-key drill ended with status {status}, without an answer",
            code="bug",
        )
    return document


def _error(told: Mapping[str, str]) -> StrongroomError:
    """The error that the process told, as it was."""
    kind = ERROR_KINDS[told["code"]]
    family = (
        IntegrityError if 30 <= kind.exit_status < 40
        else StorageError if 20 <= kind.exit_status < 30
        else ConfigError
    )  # fmt: skip
    return family(told["message"], code=kind.code, hint=told["hint"])


def _recorded(
    application: Application,
    drilled: _Drilled,
    verdict: Verdict,
    findings: tuple[Finding, ...],
    document: Mapping[str, Any],  # Any: JSON values
    seconds: float,
) -> KitDrillReport:
    file = drilled.file
    fields = _fields(application, drilled, verdict, findings, document, seconds)
    recorded = application.record(RECORD, fields)
    if isinstance(recorded, Entry):
        return KitDrillReport(file, verdict, findings, document, seconds, recorded)
    return KitDrillReport(file, verdict, (*findings, recorded), document, seconds)


def _fields(
    application: Application,
    drilled: _Drilled,
    verdict: Verdict,
    findings: tuple[Finding, ...],
    document: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:  # Any: JSON values
    return {
        "kit": document.get("kit"),
        "made_at": document.get("made_at"),
        "file": drilled.file.name,
        "sha256": drilled.digest or None,
        "by_hand": drilled.by_hand,
        "verdict": verdict.value,
        "repositories": list(document.get("repositories", ())),
        "point": document.get("point"),
        "snapshots": list(document.get("drills", ())),
        "checked": document.get("checked", 0),
        **noted(findings),
        "stages": list(document.get("stages", ())),
        "seconds": round(seconds, 3),
        **circumstances(application, {}),
    }
