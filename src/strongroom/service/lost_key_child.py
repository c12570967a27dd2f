"""The inside of a lost-key drill: a process that has nothing but a sealed kit and what opens it.

Its environment is empty, its home and its folder are, and secrets come from the kit alone. One line
of JSON comes in, one document goes out; when the other side has gone, it stops as by Ctrl-C.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongroom.config import kept_bytes
from strongroom.config.escrow import needs
from strongroom.errors import ConfigError, StrongroomError
from strongroom.model import Finding, finding, judge
from strongroom.repository import Repository
from strongroom.service.application import Application
from strongroom.service.drill import DrillReport, worst
from strongroom.service.kit import application_of, opened
from strongroom.service.kit_archive import Kit
from strongroom.service.kit_seal import Opener
from strongroom.service.masking import masked_reference
from strongroom.service.point_drill import drill_point
from strongroom.service.rendering import error_json, time_json

__all__ = ["main"]

_OF_THE_FOLDER = frozenset({"ledger-adopted"})
# What says that a store or its key is not what the kit knows.
_CLOSED = frozenset({"kit-mismatch", "wrong-password", "key-damaged", "config-lost"})


def main() -> int:
    """The process's whole life."""
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_watch, name="watch", daemon=True).start()
    os.environ["HOME"] = request["home"]
    try:
        document = carry_out(request)
    except StrongroomError as error:
        document = {"error": error_json(error)}
    sys.stdout.write(json.dumps(document))
    sys.stdout.flush()
    return 0


def _watch() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGINT)


def carry_out(request: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    """Open the kit, open every repository with it, bring a recovery point back and prove it."""
    begun = time.monotonic()
    opener = Opener(request["passphrase"], tuple(request["identities"]))
    content = base64.b64decode(request["content"])
    found = opened(content, opener, Path(request["file"]))
    kit = found.kit
    if kit.application != request["application"]:
        raise ConfigError(
            f"it is the kit of {kit.application}, and this is {request['application']}",
            subject=request["file"],
            code="kit-mismatch",
        )
    stages = [{"name": "open the kit", "seconds": round(time.monotonic() - begun, 3)}]
    with application_of(found, alone=True) as application:
        application.state_folder = Path(request["state"])
        begun = time.monotonic()
        fitting, findings = _repositories(application, kit)
        findings += _secrets(application)
        seconds = round(time.monotonic() - begun, 3)
        stages.append({"name": "open the repositories", "seconds": seconds})
        verdict = judge(findings, checked=len(fitting))
        document: dict[str, Any] = {"point": None, "drills": [], "stages": stages, "checked": 0}
        if fitting:
            drilled = drill_point(application)
            verdict = worst([verdict, drilled.verdict])
            document = _of_drill(drilled, stages)
            findings += drilled_findings(drilled)
        application.close()
    return {
        "verdict": verdict.value,
        "kit": kit.id,
        "made_at": time_json(kit.made_at),
        "sha256": found.digest,
        "repositories": fitting,
        **document,
        "checked": document["checked"] + len(fitting),
        "findings": [one.as_json() for one in findings],
    }


def _repositories(application: Application, kit: Kit) -> tuple[list[str], list[Finding]]:
    """The names of the repositories that open, and what is wrong about them and the others."""
    fitting: list[str] = []
    findings: list[Finding] = []
    for one in kit.repositories:
        try:
            repository = application.repository(one.name)
        except StrongroomError as error:
            findings.append(_about(one.name, error))
            continue
        if repository.id != one.id:
            told = "it is another repository than the one that the kit was made for"
            findings.append(finding("kit-closed", one.name, told))
            continue
        fitting.append(one.name)
        findings += _by_password(application, kit, one.name, one.password)
    return fitting, findings


def _about(name: str, error: StrongroomError) -> Finding:
    code = "kit-closed" if error.code in _CLOSED else "kit-unchecked"
    return finding(code, name, str(error))


def _by_password(
    application: Application, kit: Kit, name: str, reference: str | None
) -> Iterator[Finding]:
    """Whether stock restic would open it, which takes no master key."""
    if reference is None or reference not in kit.secrets:
        return
    password = kit.secrets[reference].decode("utf-8", "replace")
    password = password.removesuffix("\n").removesuffix("\r")
    storage = application.storage(name)
    try:
        Repository.open(storage, password, name=name)
    except StrongroomError as error:
        if error.code not in _CLOSED:
            yield _about(name, error)
            return
        told = "the password in the kit opens it no more: only the master key does, and stock "
        yield finding("kit-closed", name, f"{told}restic knows none")
    finally:
        storage.close()


def _secrets(application: Application) -> Iterator[Finding]:
    """What a recovery would ask for in vain."""
    for one in needs(application.settings):
        try:
            kept_bytes(one.reference)
        except StrongroomError:
            told = f"{masked_reference(one.reference)} is not in the kit"
            yield finding("kit-lacks", one.setting, told)


def _of_drill(drilled: DrillReport, stages: list[dict[str, Any]]) -> dict[str, Any]:
    # Any: JSON values
    document = drilled.as_json()
    return {
        "point": document["point"]["id"] if document["point"] else None,
        "drills": [
            {key: one.get(key) for key in ("source", "repository", "snapshot", "verdict")}
            for one in document["drills"]
        ],
        "stages": [*stages, *document["stages"]],
        "checked": sum(one.outcome.checked for one in drilled.drills),
    }


def drilled_findings(drilled: DrillReport) -> list[Finding]:
    """All that a drill found, but for what its empty folder brought about."""
    found = [each for one in drilled.drills for each in one.findings]
    found += drilled.point.findings if drilled.point is not None else ()
    return [one for one in found if one.code not in _OF_THE_FOLDER]


if __name__ == "__main__":
    sys.exit(main())
