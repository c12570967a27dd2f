"""The runbook's chapter for the worst day: everything is lost. Three routes, each complete: our own
program, stock programs, the provider; and how long it takes, as drills have measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from strongroom.config.placeholder import names_in
from strongroom.config.value import format_duration
from strongroom.report.markdown import code, fenced, joined, table, text
from strongroom.report.runbook_ground import Runbook, Timed
from strongroom.report.runbook_kit import kit_route
from strongroom.report.runbook_restore import configuration_lines, secret_places
from strongroom.report.runbook_stock import stock_route
from strongroom.report.shell import quoted
from strongroom.report.wording import age, size, span

__all__ = ["disaster", "expected_times", "health_lines"]

# It may have been started a moment ago.
_CURL: Final = "curl --silent --output /dev/null --retry 20 --retry-delay 1 --retry-connrefused"

_HEADING: Final = "#####"
_WITH_KIT: Final = "one command; needs the program, the recovery kit and what opens it"
_ROUTES: Final = (
    ("Route 1: Strongroom", "one command; needs the program, the configuration and its secrets"),
    (
        "Route 2: Stock restic and psql",
        "when the program can't be had; needs restic, psql, git and a repository's password",
    ),
    (
        "Route 3: The Provider's Own Restore",
        "when no repository survived, or when work since the newest capture matters most",
    ),
)


def expected_times(ground: Runbook) -> Iterator[str]:
    """How long it took, by source and for the whole; what nobody measured is said to be so."""
    sizes = ground.sizes()
    took = {name: ground.took(name) for name in ground.settings.sources}
    rows = [
        (code(name), size(sizes.get(name)), *_cells(ground, known))
        for name, known in took.items()
    ]  # fmt: skip
    whole = ground.whole_took()
    rows.append(("**The whole application**, started and asked", "–", *_cells(ground, whole)))
    yield ""
    yield "**Expected times**, as measured:"
    yield from table(("What", "Newest capture", "Took", "Of", "How, and when"), rows)
    lacking = [name for name, known in took.items() if known is None]
    promised = age(ground.promise.rto)
    if lacking:
        yield (
            f"How long a recovery takes is **not known**: {joined(lacking)} was never brought back "
            f"and proven. It may take {promised}. Run `strongroom drill`."
        )
    else:
        known = [one.seconds for one in took.values() if one is not None]
        yield (
            f"Sources are restored at the same time, so expect {span(max(known, default=0.0))} "
            f"at least and {span(sum(known))} at most on a machine like the one of the drills, and "
            f"what it takes to get one. It may take {promised}."
        )
    yield ""


def _cells(ground: Runbook, known: Timed | None) -> tuple[str, str, str]:
    if known is None:
        return "**not measured**", "–", "–"
    where = f" from {code(known.repository)}" if known.repository else ""
    how = f"{known.action}{where}, {ground.clock(known.at)}"
    return span(known.seconds), size(known.size_bytes), how


def disaster(ground: Runbook) -> Iterator[str]:
    """The whole chapter."""
    objectives = ground.settings.objectives
    yield "### Complete System Failure"
    yield ""
    yield (
        f"**Recovery Time Objective (RTO):** {age(objectives.rto)}; **Recovery Point Objective "
        f"(RPO):** {age(objectives.rpo)}"
    )
    yield ""
    yield from _before(ground)
    yield "#### Choose a Route"
    yield ""
    yield "How long it took in drills stands in [OVERVIEW](#overview)."
    yield ""
    for number, (title, usually) in enumerate(_ROUTES):
        when = _WITH_KIT if number == 0 and ground.settings.kit is not None else usually
        link = title.lower().replace(":", "").replace("'", "").replace(" ", "-")
        yield f"- [{title}](#{link}): {when}"
    yield ""
    yield f"#### {_ROUTES[0][0]}"
    yield ""
    yield from _own_route(ground)
    yield f"#### {_ROUTES[1][0]}"
    yield ""
    yield from stock_route(ground)
    yield f"#### {_ROUTES[2][0]}"
    yield ""
    yield from _provider(ground)
    yield "#### Verify System"
    yield ""
    yield from _verify(ground)
    yield "#### Afterwards"
    yield ""
    yield from _after(ground)


def _before(ground: Runbook) -> Iterator[str]:
    yield "#### Before You Begin"
    yield ""
    people = joined_people(ground)
    yield f"- [ ] Write down the time. Tell {people}"
    yield "- [ ] Stop what still writes: the application, its jobs, and backups by schedule"
    yield "- [ ] Leave what is left of the old host as it is: restore to another place"
    yield "- [ ] After an attack: assume that its passwords are known, and restore to a new machine"
    yield ""
    commands = ground.settings.runbook.before
    if commands:
        yield "The operators' own commands that come first (`runbook.before`):"
        yield from fenced(map(ground.mask, commands))


def joined_people(ground: Runbook) -> str:
    """Whom to call, in one line."""
    told = [
        f"{text(one.name)} ({', '.join(map(text, filter(None, (one.role, one.phone))))})"
        for one in ground.settings.contacts
    ]
    return ", ".join(told) or "whoever answers for the application (`contacts` names nobody)"


# The first route


def _own_route(ground: Runbook) -> Iterator[str]:
    databases = list(ground.databases_to_name().values())
    words = "".join(f" --database env:{name}" for name in databases[:1])
    asked = [
        ': "${TARGET:?an empty or new directory}"',
        *(f'export {name}="${{{name}:?the URL of an empty database}}"' for name in databases),
    ]
    if ground.settings.kit is not None:
        yield f"{_HEADING} With the recovery kit"
        yield ""
        yield from kit_route(ground, asked, words)
        yield f"{_HEADING} Without the kit"
        yield ""
    else:
        yield (
            "**No recovery kit is configured** (`kit`): configuration and secrets have to survive "
            "elsewhere."
        )
        yield ""
    yield from _without_kit(ground, databases, asked, words)
    yield (
        "It takes the newest proven recovery point and says so when there is a newer one; "
        "`--point ID` takes another, `--repository NAME` one repository alone."
    )
    yield ""
    if ground.recovery is None:
        yield (
            "**The configuration has no section `recovery`:** sources are restored and proven, "
            "nothing is started, and it ends with status 42 (UNKNOWN). Starting is up to you."
        )
        yield ""


def _without_kit(
    ground: Runbook, databases: Sequence[str], asked: Sequence[str], words: str
) -> Iterator[str]:
    yield (
        "An empty machine with the program, the configuration, the secrets that it refers to, and "
        "one repository that survived. Set these variables first:"
    )
    rows = [("`TARGET`", "an empty or new directory for files and code")]
    rows += [
        (code(name), "the URL of an empty or new database, with its password") for name in databases
    ]
    place = ground.config_file or "/etc/strongroom/strongroom.yaml"
    rows.append((code(place), "the configuration; `STRONGROOM_CONFIG` names another place"))
    rows += [(code(one.place), one.why) for one in secret_places(ground)]
    yield from table(("Variable or file", "What it says"), rows)
    yield from fenced([*configuration_lines(ground), "strongroom snapshots --points"])
    yield "What would be done, from where, and how long it took in drills; nothing is written:"
    yield from fenced([*asked, f'strongroom recover --to "${{TARGET:?}}"{words} --dry-run'])
    yield "Then everything, proven and timed. Stopped at any moment, the same line goes on:"
    yield from fenced([
        f'strongroom recover --to "${{TARGET:?}}"{words} --reason \'disaster recovery\'',
    ])  # fmt: skip


# The third route


def _provider(ground: Runbook) -> Iterator[str]:
    if not ground.is_supabase:
        yield from _any_provider(ground)
        return
    yield (
        "Steps in the dashboard change production: they are for hands, and no command here does "
        "them."
    )
    yield ""
    yield "1. Open Supabase Dashboard → Database → Backups."
    yield "2. Select a backup; with PITR, a moment just before the damage (PITR loses two minutes"
    yield "   at most)."
    yield "3. Click **Restore**. It replaces the whole database in place, and the project is away"
    yield "   meanwhile. *Restore to new project* leaves the old one as it is."
    yield "4. Update the connection strings of the application."
    yield "5. Restore files and code by route 1 or 2: the provider does not have them."
    yield ""
    yield "What it does not bring back, and what to know before:"
    yield ""
    yield "- files of Storage (only their rows), passwords of custom roles, Edge Functions"
    yield "- settings and keys of Auth, settings of Realtime"
    yield "- subscriptions and replication slots are to be dropped before"
    yield "- whoever deletes the project deletes its backups: then only routes 1 and 2 are left"
    yield "- how far back it reaches depends on the plan: 7 to 30 days"
    yield ""
    yield "A restored project holds newer rows than the recovery point, so `strongroom prove` tells"
    yield "differences: look whether they are the work of that time."
    yield ""


def _any_provider(ground: Runbook) -> Iterator[str]:
    databases = ground.of_kind("postgres")
    yield (
        "Whoever runs the database server or the machine may keep copies of their own: automated "
        "backups, a point in time, snapshots of disks. Nothing is known of them here "
        "(`runbook.provider` says whose they are)."
    )
    yield ""
    yield "1. Ask which moments can be restored, and how long that takes."
    yield "2. Let it be restored as a **new** server or machine, never over the old one."
    told = joined(databases) if databases else "what was restored"
    yield f"3. Compare {told} with a recovery point: `strongroom prove SOURCE --target TARGET`."
    yield "4. Update the connection strings of the application."
    yield "5. Restore what is missing by route 1 or 2."
    yield ""


# Afterwards


def _verify(ground: Runbook) -> Iterator[str]:
    recovery, check = ground.recovery, ground.settings.application_check
    yield "- [ ] The health check endpoint answers"
    lines = list(health_lines(ground))
    if lines:
        yield from fenced(lines)
    else:
        yield "  (where it answers is not known: `recovery.url` and `http` say it)"
    workflow = (recovery.workflow if recovery else ()) or (check.workflow if check else ())
    steps = "; ".join(text(one.name) for one in workflow)
    yield f"- [ ] Critical workflows work{f': {steps}' if steps else ''}"
    logs = [str(one) for one in recovery.logs.server] if recovery is not None else []
    logs += [f"{one} (in the code)" for one in recovery.logs.files] if recovery is not None else []
    watch = f", for {format_duration(recovery.watch)} at least" if recovery is not None else ""
    where = f": {joined(logs)}" if logs else " of the application and of its servers"
    yield f"- [ ] Monitor error logs{where}{watch}"
    yield ""


def health_lines(ground: Runbook) -> Iterator[str]:
    """What asks whether it answers, as lines of a shell."""
    recovery, check = ground.recovery, ground.settings.application_check
    if recovery is None or recovery.url is None:
        return
    found = []
    for one in recovery.http or (check.http if check is not None else ()):
        if names_in(one.path) or one.headers:
            continue
        url = quoted(recovery.url + one.path)
        found.append(f'test "$(status_of {url})" = {one.status}')
    if found:
        yield "status_of() {"
        yield f"  {_CURL} \\"
        yield "    --write-out '%{http_code}' \"$1\""
        yield "}"
    yield from found


def _after(ground: Runbook) -> Iterator[str]:
    recovery = ground.recovery
    yield "- [ ] Compare what it took with the objectives above, and write down what went wrong"
    for line in recovery.by_hand if recovery is not None else ():
        yield f"- [ ] {text(line)}"
    yield "- [ ] Set the passwords of database roles, names in DNS, cron jobs and certificates"
    yield "- [ ] Let backups run from the new place: `strongroom backup`, then `strongroom drill`"
    yield "- [ ] Correct this document's configuration, and review it"
    yield ""
    commands = ground.settings.runbook.after
    if commands:
        yield "The operators' own commands that come last (`runbook.after`):"
        yield from fenced(map(ground.mask, commands))
