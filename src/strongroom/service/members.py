"""Who is in a fleet, for somebody who asks beside its services."""

from __future__ import annotations

from strongroom.errors import ConfigError
from strongroom.postgres.presence import Sign, forget, signs_in
from strongroom.postgres.state_database import StateDatabase, parse_state_database
from strongroom.report.fleet import Look, look_at
from strongroom.service.application import Application


def members(application: Application) -> list[Look]:
    """The members of the application's fleet, by name; ConfigError `usage` when it is in none,
    SourceError when the state database can't be asked."""
    return [look_of(one) for one in signs_in(_database(application))]


def forget_member(application: Application, name: str) -> None:
    """Nobody is told any more that this one is lost; ConfigError `usage` when it isn't known. One
    that is there is known again with its next sign."""
    if not forget(_database(application), name):
        raise ConfigError(
            "nobody in the fleet has this name",
            subject=name,
            code="usage",
            hint="See `strongroom fleet` for those who have one.",
        )


def look_of(one: Sign) -> Look:
    """What is to be seen of a process by what it said last."""
    return look_at(
        one.name, one.role, one.application, one.document,
        seen_at=one.seen_at, ago=one.ago, heartbeat=one.heartbeat,
    )  # fmt: skip


def _database(application: Application) -> StateDatabase:
    url = application.state_database
    if url is None:
        raise ConfigError(
            "this application is in no fleet",
            subject="state",
            code="usage",
            hint="Write `state: env:STATE_DATABASE_URL` where several hosts work together.",
        )
    return parse_state_database(url, "asking")
