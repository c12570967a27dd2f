"""The recovery runbook of one application as Markdown: its own procedures document, from settings
and evidence.

Headings and their order are those of the procedures (Overview, Backup scope, … Contacts), so that
their owner recognises them; what is looked for on the worst day is linked from the top. Commands
stand in blocks, can be copied as they are, and take what nobody can know beforehand from variables
that they ask for. The same ground gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom.report.judgement import State
from strongroom.report.markdown import anchor, code, demoted, document, joined, table, text
from strongroom.report.runbook_disaster import disaster, expected_times
from strongroom.report.runbook_ground import Runbook
from strongroom.report.runbook_restore import restore_procedures
from strongroom.report.runbook_scope import (
    automated,
    checklists,
    monitoring,
    notes,
    retention,
    scope,
)

__all__ = ["TITLE", "runbook_markdown"]

TITLE: Final = "Backup & Recovery Procedures"
_DISASTER: Final = "DISASTER RECOVERY SCENARIO"
_CHAPTERS: Final = (
    "OVERVIEW",
    "BACKUP SCOPE",
    "AUTOMATED BACKUP SETUP",
    "BACKUP VERIFICATION CHECKLIST",
    "RESTORE PROCEDURES",
    _DISASTER,
    "OWN PROCEDURES",
    "BACKUP MONITORING",
    "BACKUP RETENTION POLICY",
    "NOTES",
    "CONTACTS",
)


def runbook_markdown(ground: Runbook) -> str:
    """The whole document."""
    return document(_document(ground))


def _document(ground: Runbook) -> Iterator[str]:
    chapters = [one for one in _CHAPTERS if one != "OWN PROCEDURES" or ground.procedures]
    bodies = {
        "OVERVIEW": _overview,
        "BACKUP SCOPE": scope,
        "AUTOMATED BACKUP SETUP": automated,
        "BACKUP VERIFICATION CHECKLIST": checklists,
        "RESTORE PROCEDURES": restore_procedures,
        _DISASTER: disaster,
        "OWN PROCEDURES": _procedures,
        "BACKUP MONITORING": monitoring,
        "BACKUP RETENTION POLICY": retention,
        "NOTES": notes,
        "CONTACTS": _contacts,
    }
    yield from _head(ground)
    for title in chapters:
        yield from ("", "---", "", f"## {title}", "")
        yield from bodies[title](ground)
    yield from ("", "---", "")
    yield from _verified(ground)


def _head(ground: Runbook) -> Iterator[str]:
    settings = ground.settings
    yield f"# {TITLE}"
    yield ""
    yield f"**{text(settings.application)}** ({settings.environment})"
    yield ""
    yield f"**Last Updated:** {ground.clock(ground.made_at)}"
    yield ""
    yield (
        f"> **Everything is lost?** Go to [{_DISASTER}](#{anchor(_DISASTER)}). "
        "**One thing is lost?** Go to [RESTORE PROCEDURES](#restore-procedures). "
        "Whom to call: [CONTACTS](#contacts)."
    )


def _overview(ground: Runbook) -> Iterator[str]:
    name = text(ground.settings.application)
    yield (
        f"This document outlines the backup and recovery procedures for {name}. `strongroom "
        "runbook` writes it from the configuration and from what the ledger holds of captures, "
        "drills and restores; so correct it there. A copy lies beside every recovery point."
    )
    yield ""
    chain = ground.evidence.chain
    if not chain.records:
        yield (
            "**There is no evidence yet:** nothing is recorded on the host that wrote this, so "
            "nothing here tells what was captured or proven, nor how long a recovery takes. "
            "Make a capture with `strongroom backup` and a proof with `strongroom drill`, then "
            "write this document again."
        )
        yield ""
    if not chain.holds:
        yield (
            f"**The ledger is broken** ({text(chain.faults[0])}): no record counts. See "
            "`strongroom log --verify`."
        )
        yield ""
    yield f"**As things stand:** {ground.report.verdict.value}. {text(ground.report.because)}"
    rows = [
        (
            one.name,
            one.meaning,
            one.promised,
            one.observed,
            one.state.value if one.state is State.MET else f"**{one.state.value.upper()}**",
        )
        for one in ground.report.objectives
    ]
    yield from table(("Objective", "What is measured", "Promised", "Observed", "Result"), rows)
    yield from expected_times(ground)


def _procedures(ground: Runbook) -> Iterator[str]:
    yield (
        f"These come from the operators' own files, which `runbook.procedures` names: "
        f"{joined(one.name for one in ground.procedures)}."
    )
    for one in ground.procedures:
        yield ""
        if one.fault:
            yield f"**{code(one.name)} is missing here:** {text(one.fault)}."
        else:
            yield from demoted(one.markdown, 2)
    yield ""


def _contacts(ground: Runbook) -> Iterator[str]:
    contacts = ground.settings.contacts
    if not contacts:
        yield (
            "**Nobody is named.** Write `contacts` in the configuration: whoever recovers at night "
            "needs a name and a telephone number for each part."
        )
        return
    rows = [
        (text(one.role), text(one.name), text(one.phone or "–"), text(one.email or "–"))
        for one in contacts
    ]
    yield from table(("Responsible for", "Name", "Telephone", "E-mail"), rows)


def _verified(ground: Runbook) -> Iterator[str]:
    at, never = ground.last_verified()
    told = ground.clock(at) if at is not None else "never"
    if never:
        told += f" as a whole: {joined(never)} was never brought back and found identical"
    yield f"**Last Verified:** {told}"
    yield ""
    review = ground.settings.review
    if review.last is None:
        yield "**Next Review:** not known: `review.last` does not say when the last one was"
        return
    due = review.last + review.every
    late = " (overdue)" if due < ground.made_at.date() else ""
    yield f"**Next Review:** {due.isoformat()}{late}; the last one was on {review.last.isoformat()}"
