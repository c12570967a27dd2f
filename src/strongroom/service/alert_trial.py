"""Trying alerts: a test message to each route, and what routes there are.

A trial is recorded like an alert, with the event `test`: so a route that was never needed can be
known to work.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.config.operation import Alert, route_names
from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError
from strongroom.model import AlertEvent, Finding
from strongroom.plan.alerting import ALERT_RECORD
from strongroom.report.alert_text import trial_letter
from strongroom.service.alerting import sender_of, undelivered
from strongroom.service.application import Application
from strongroom.service.delivery import Outcome, deliver
from strongroom.service.rendering import time_json


@dataclass(frozen=True, slots=True)
class Trial:
    """To which routes a test message was sent, which arrived, and what could not be recorded."""

    outcomes: tuple[tuple[str, Outcome], ...]
    unrecorded: tuple[Finding, ...]

    @property
    def exit_status(self) -> int:
        return EXIT_FINE if all(one.delivered for _, one in self.outcomes) else EXIT_PARTIAL

    @property
    def findings(self) -> tuple[Finding, ...]:
        failed = (undelivered(name, one) for name, one in self.outcomes if not one.delivered)
        return (*failed, *self.unrecorded)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "routes": [
                {
                    "route": name,
                    "delivered": one.delivered,
                    "error": one.error,
                    "hint": one.hint or None,
                }
                for name, one in self.outcomes
            ],
            "findings": [one.as_json() for one in self.findings],
        }


@dataclass(frozen=True, slots=True)
class ListedRoute:
    """One route as people see it: `to` is an address without secrets, or where one is kept."""

    name: str
    to: str
    alert: Alert
    last: dict[str, Any] | None  # Any: JSON values

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        own = self.alert.model_dump(mode="json", include={"when", "about", "repeat", "quiet"})
        return {"route": self.name, "to": self.to, **own, "last": self.last}


def try_routes(application: Application, names: Sequence[str], now: datetime) -> Trial:
    """Send a test message to the named routes, or to all; ConfigError `usage` when there is none,
    or none of a name."""
    alerts = _alerts(application, names)
    settings = application.settings
    sender = sender_of(settings, now)

    def try_one(route: tuple[str, Alert]) -> Outcome:
        name, alert = route
        server = settings.monitoring.mail_server
        return deliver(alert.to, trial_letter(sender, name), mail_server=server)

    with ThreadPoolExecutor(min(len(alerts), 8), "alert") as pool:
        outcomes = tuple(zip(alerts, pool.map(try_one, alerts.items()), strict=True))
    recorded = [application.record(ALERT_RECORD, _fields(*one, now)) for one in outcomes]
    unrecorded = tuple(one for one in recorded if isinstance(one, Finding))
    return Trial(outcomes, unrecorded[:1])


def listed_routes(application: Application) -> list[ListedRoute]:
    """All routes, with what was sent to each last; StorageError when the ledger can't be read."""
    from strongroom.config.sample import effective

    last: dict[str, dict[str, Any]] = {}  # Any: JSON values
    for entry in application.ledger.entries(ALERT_RECORD):
        fields = entry.fields
        if fields.get("application") == application.name and isinstance(fields.get("to"), str):
            last[fields["to"]] = {
                "at": time_json(entry.at),
                "event": fields.get("event"),
                "delivered": fields.get("delivered") is True,
                "error": fields.get("error"),
            }
    shown = effective(application.settings)["alerts"]
    alerts = _named(application)
    return [
        ListedRoute(name, printed["to"], alert, last.get(name))
        for (name, alert), printed in zip(alerts.items(), shown, strict=True)
    ]


def _named(application: Application) -> dict[str, Alert]:
    alerts = application.settings.alerts
    return dict(zip(route_names(alerts), alerts, strict=True))


def _alerts(application: Application, names: Sequence[str]) -> dict[str, Alert]:
    known = _named(application)
    if not known:
        raise ConfigError(
            "nobody is to be told",
            subject="alerts",
            code="usage",
            hint="Add somebody to `alerts:`; see `strongroom config explain alerts`.",
        )
    for name in names:
        if name not in known:
            raise ConfigError(
                "there is no alert of this name",
                subject=name,
                code="usage",
                hint=f"Choose from: {', '.join(known)}.",
            )
    return {name: one for name, one in known.items() if not names or name in names}


def _fields(name: str, outcome: Outcome, now: datetime) -> dict[str, Any]:  # Any: JSON values
    return {
        "key": "",
        "event": AlertEvent.TEST.value,
        "verdict": None,
        "to": name,
        "delivered": outcome.delivered,
        "error": outcome.error,
        "observed": None,
        "since": None,
        "judged_at": time_json(now),
    }
