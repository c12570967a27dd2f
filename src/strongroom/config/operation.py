"""What runs by itself, when, and who is told of it: the part of the declaration about operation.

Presets are production's; what `environment: development` changes stands in `settings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal

from strongroom.config.scalar import (
    AbsolutePath,
    AlertTarget,
    Duration,
    Hours,
    MailServer,
    Name,
    Schedule,
    ScheduleOrNever,
    Secret,
    ShareOrSize,
    TimeZone,
)
from strongroom.config.section import Section, setting


class ScheduleSettings(Section):
    """When things are done, each as five cron fields: minute, hour, day, month, weekday."""

    capture: Schedule = setting(
        "When to capture; a source can have a time of its own.", default="0 2 * * *"
    )
    prune: ScheduleOrNever = setting("When to drop what no policy keeps.", default="30 4 * * *")
    check: ScheduleOrNever = setting(
        "When to check the repositories; each can have a time of its own.", default="0 5 * * *"
    )
    check_amount: ShareOrSize = setting(
        "How much of each repository such a check reads, what was not read for longest first.",
        default="10%",
    )
    drill: ScheduleOrNever = setting(
        "When to restore a recovery point and prove it, by turns.", default="0 6 * * 0"
    )
    application_drill: ScheduleOrNever = setting(
        "When to start the whole application from a recovery point; needs `application_check`.",
        default="0 7 1 * *",
    )
    kit_drill: ScheduleOrNever = setting(
        "When to recover from the recovery kit alone; needs `kit` with a folder, and a passphrase "
        "or an identity.",
        default="30 7 2 1,4,7,10 *",
    )
    verify_daily: ScheduleOrNever = setting(
        "When to go through the daily checklist.", default="0 8 * * *"
    )
    verify_weekly: ScheduleOrNever = setting(
        "When to go through the weekly checklist.", default="10 8 * * 1"
    )
    verify_monthly: ScheduleOrNever = setting(
        "When to go through the monthly checklist.", default="20 8 1 * *"
    )
    time_zone: TimeZone = setting("The schedule's time zone.", default="UTC")
    jitter: Duration = setting(
        "By how much a run may begin later than its time, so that many hosts don't begin at once;"
        " the same run always waits equally long, and never until the job's next time.",
        default=timedelta(),
    )


class Alert(Section):
    """Somebody to tell."""

    to: AlertTarget = setting(
        "A reference to the address, as Apprise writes it, or mailto:NAME@HOST.",
        examples=["env:ALERT_URL"],
    )
    name: Name | None = setting(
        "What records call it; without it, its place in the list.",
        default=None,
        examples=["operators"],
    )
    when: Literal["warning", "failure"] = setting("From which severity on.", default="warning")
    about: tuple[Name, ...] = setting(
        "Only these sources and repositories, and what concerns all; without it, everything.",
        default=(),
        examples=[["database"]],
    )
    repeat: Duration = setting(
        "After how long what still is not well is told again.", default=timedelta(hours=24)
    )
    quiet: Hours | None = setting(
        "Hours of the schedule's time zone in which only failures are told.",
        default=None,
        examples=["22:00-07:00"],
    )


def route_names(alerts: Sequence[Alert]) -> tuple[str, ...]:
    """What records and commands call each alert: its name, or else its place in the list, from 1
    on. No two are alike."""
    return tuple(one.name or str(place) for place, one in enumerate(alerts, start=1))


class Monitoring(Section):
    """What others look at, and whom we tell that we live."""

    status_file: AbsolutePath | None = setting(
        "Where the daemon writes the state of things as JSON for the application's own health"
        " page.",
        default=None,
        examples=["/run/strongroom/status.json"],
    )
    metrics_file: AbsolutePath | None = setting(
        "Where the daemon writes metrics for node_exporter's textfile collector.",
        default=None,
        examples=["/var/lib/node_exporter/strongroom.prom"],
    )
    ping: Secret | None = setting(
        "The URL of a dead man's switch, as healthchecks has them: asked at the beginning of each"
        " capture (/start), at its success, and at its failure (/fail).",
        default=None,
        examples=["env:PING_URL"],
    )
    mail_server: MailServer = setting(
        "The mail server that takes alerts to mailto: addresses, without a login and without TLS;"
        " with either, give a reference to an address as Apprise writes it.",
        default="localhost:25",
        examples=["smtp.internal:25"],
    )
    space: ShareOrSize = setting("How much of a store must be free.", default="10%")


class Contact(Section):
    """Who answers for what; printed in the runbook."""

    role: str = setting("What they answer for.", examples=["Database"])
    name: str = setting("Who.", examples=["Duty administrator"])
    phone: str | None = setting("Telephone.", default=None, examples=["+971 4 000 0000"])
    email: str | None = setting("Electronic mail.", default=None)


class Review(Section):
    """When people last read the recovery procedures through."""

    last: date | None = setting(
        "The day of the last review.", default=None, examples=["2026-01-28"]
    )
    every: Duration = setting("How often they are reviewed.", default=timedelta(days=90))
