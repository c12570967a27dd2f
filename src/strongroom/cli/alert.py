"""`alert`: whom Strongroom tells, and whether it reaches them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Group
from strongroom.cli.run import Run
from strongroom.cli.text import clock, finding_lines, plain, table
from strongroom.errors import EXIT_FINE

if TYPE_CHECKING:
    from strongroom.service.alert_trial import ListedRoute, Trial


@click.group(cls=Group, examples=("strongroom alert test", "strongroom alert list"))
def alert() -> None:
    """Whom to tell, and whether it reaches them."""


@alert.command(name="list", examples=("strongroom alert list", "strongroom alert list --json"))
@click.pass_obj
def list_routes(run: Run) -> int:
    """List who is told what, and what was sent to each last.

    Addresses are secrets: shown is where they are kept.
    """
    from strongroom.service.alert_trial import listed_routes

    application = run.application()
    routes = listed_routes(application)
    zone = application.settings.schedule.time_zone
    nobody = "Nobody is told anything: add somebody to `alerts:`."
    lines = table(_HEADS, [_row(one, zone) for one in routes]) if routes else [nobody]
    run.result({"routes": [one.as_json() for one in routes]}, lines)
    return EXIT_FINE


_HEADS = ("ROUTE", "TO", "FROM", "ABOUT", "AGAIN", "QUIET", "LAST SENT")


def _row(one: ListedRoute, zone: str) -> list[str]:
    shown = one.as_json()
    return [
        one.name,
        plain(one.to),
        shown["when"],
        ", ".join(shown["about"]) or "everything",
        shown["repeat"],
        shown["quiet"] or "-",
        _last(one, zone),
    ]


def _last(one: ListedRoute, zone: str) -> str:
    if one.last is None:
        return "never"
    at = clock(datetime.fromisoformat(one.last["at"]), zone)
    if one.last["delivered"]:
        return f"{at}, {plain(str(one.last['event']))}"
    failed = click.style("did not arrive", fg="red")
    return f"{at}, {failed}: {plain(str(one.last['error']))}"


@alert.command(examples=("strongroom alert test", "strongroom alert test operators"))
@click.argument("routes", nargs=-1, metavar="[ROUTE]...")
@click.pass_obj
def test(run: Run, routes: tuple[str, ...]) -> int:
    """Send a test message to every route, or to the named ones.

    Exit status 0 when all arrived, as far as their services say; 3 when not. It is recorded, so
    that the checks know of it.
    """
    from strongroom.service.alert_trial import try_routes

    trial = try_routes(run.application(), routes, datetime.now(UTC))
    run.result(trial.as_json(), _trial_lines(trial))
    return trial.exit_status


def _trial_lines(trial: Trial) -> Iterator[str]:
    for name, one in trial.outcomes:
        if one.delivered:
            yield f"{name}: {click.style('arrived', fg='green')}"
        else:
            failed = click.style("did not arrive", fg="red")
            yield f"{name}: {failed}: {plain(one.error or '')}"
            yield f"  {plain(one.hint)}"
    yield from finding_lines(trial.unrecorded)
