"""An order to run something, and how the run ended: what the service hands to its engine and gets
back. All of it is plain JSON there, so that a newer version can read it, and no secret is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Order", "Outcome", "parse_order", "parse_outcome"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run: a job of the schedule, or a command that somebody gave beside the service.

    `arguments` are those of the command line, the command's name first. Where somebody asked,
    `scheduled_for` is empty, nothing is tried twice, and `output` is what that command says. Of an
    order that any drill worker of a fleet may carry out, `agent` is whose it is, to whom the
    evidence goes.
    """

    application: str
    job: str
    action: str
    arguments: tuple[str, ...]
    sources: tuple[str, ...] = ()
    repository: str | None = None
    scheduled_for: str = ""
    because: str = ""
    agent: str = ""

    @property
    def was_asked_for(self) -> bool:
        """By somebody who waits for the answer."""
        return not self.scheduled_for

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            **asdict(self),
            "arguments": list(self.arguments),
            "sources": list(self.sources),
        }


def parse_order(given: Mapping[str, Any]) -> Order:  # Any: JSON values
    """The order that `as_json` wrote down; what this version doesn't know is left out."""
    known = {name: one for name, one in given.items() if name in Order.__dataclass_fields__}
    known["arguments"], known["sources"] = tuple(known["arguments"]), tuple(known["sources"])
    return Order(**known)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its exit status, its answer as JSON, and what whoever asked is to see on
    standard output and standard error. `records` are those that it made for another host's ledger.
    """

    exit_status: int
    document: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    output: str = ""
    messages: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()  # Any: JSON values

    @property
    def error(self) -> Mapping[str, Any] | None:  # Any: JSON values
        found = self.document.get("error")
        return found if isinstance(found, Mapping) else None

    @property
    def verdict(self) -> str | None:
        found = self.document.get("verdict")
        return found if isinstance(found, str) else None

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {**asdict(self), "messages": list(self.messages), "records": list(self.records)}


def parse_outcome(given: Mapping[str, Any]) -> Outcome:  # Any: JSON values
    """The outcome that `as_json` wrote down."""
    return Outcome(
        int(given["exit_status"]),
        given["document"],
        str(given.get("output", "")),
        tuple(given.get("messages", ())),
        tuple(given.get("records", ())),
    )
