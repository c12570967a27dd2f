"""`step`: one step of a run that the service carries out, in a process of its own. Not for people:
it reads one JSON document from standard input and answers with one."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.errors import ConfigError


@click.command(
    cls=Command,
    hidden=True,
    follows="capture",
    examples=("strongroom step begin-capture", "strongroom step conclude-capture"),
)
@click.argument("step", type=click.Choice(["begin-capture", "capture", "conclude-capture"]))
@click.pass_obj
def step(run: Run, step: str) -> int:
    """One step of a capture, for the service, which asks with --json."""
    from strongroom.cli.backup import lines
    from strongroom.service import capture_step

    given = _given()
    application = run.application()
    if step == "begin-capture":
        run.result(capture_step.begin(application, given["sources"]), ())
        return 0
    if step == "capture":
        begun, parts = given["begun"], given["parts"]
        run.result(capture_step.capture(application, begun, parts, given["source"]), ())
        return 0
    report = capture_step.conclude(application, given["begun"], given["parts"])
    text = list(lines(report, verbose=run.verbose))
    run.result({"document": report.as_json(), "lines": text}, ())
    return report.exit_status


def _given() -> dict[str, Any]:  # Any: JSON values
    try:
        given = json.load(sys.stdin)
    except ValueError as error:
        raise ConfigError("what stands there is no JSON", subject="standard input") from error
    if not isinstance(given, dict):
        raise ConfigError("a document of named values is wanted", subject="standard input")
    return given
