"""The runbook's chapters about what is kept: scope, schedule, checklists, monitoring, retention,
notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.config.operation import route_names
from strongroom.config.value import NEVER, format_duration, is_reference
from strongroom.report.check import CHECK_KINDS, Checklist
from strongroom.report.markdown import code, fenced, joined, table, text
from strongroom.report.runbook_ground import Runbook
from strongroom.report.runbook_kit import kit_drill_times
from strongroom.report.shell import kept_at
from strongroom.report.wording import age, size

if TYPE_CHECKING:
    from strongroom.config.settings import FilesSource, GitSource, Policy, PostgresSource

__all__ = ["automated", "checklists", "monitoring", "notes", "retention", "scope"]

_FOREVER: Final = "Permanent"
_SPANS: Final = ("within", "hourly", "daily", "weekly", "monthly", "yearly")


# Scope


def scope(ground: Runbook) -> Iterator[str]:
    """What is backed up, where it is, and which recovery points there are."""
    provider = "Supabase/PostgreSQL" if ground.is_supabase else "PostgreSQL"
    yield f"### 1. Database Backups ({provider})"
    yield from _parts(ground, "postgres")
    yield "### 2. File Uploads Backup"
    yield from _parts(ground, "files")
    yield "### 3. Application Code Backup"
    yield from _parts(ground, "git")
    yield "### 4. Where the Copies Are"
    yield from _repositories(ground)
    yield "### 5. Newest Recovery Points"
    yield from _points(ground)


def _parts(ground: Runbook, kind: str) -> Iterator[str]:
    names = ground.of_kind(kind)
    if not names:
        yield ""
        yield "No source of this kind is configured: nothing of it is backed up here."
        yield ""
        return
    yield ""
    yield "**What to Backup:**"
    yield ""
    for name in names:
        yield from _what(ground, name)
    yield ""
    yield (
        "**Backup Method:** `strongroom backup` captures all sources as one recovery point: "
        "databases first, then files, then code."
    )
    yield ""
    yield f"**Backup Frequency:** {_frequency(ground, names)}"
    yield ""
    yield (
        f"**Backup Storage:** {joined(ground.settings.repositories)}, encrypted, in restic's format"
    )
    yield ""


def _what(ground: Runbook, name: str) -> Iterator[str]:
    source = ground.settings.sources[name]
    match source.kind:
        case "postgres":
            yield from _database(name, source)
        case "files":
            yield from _files(name, source)
        case "git":
            yield from _code(name, source)


def _database(name: str, source: PostgresSource) -> Iterator[str]:
    yield (
        f"- {code(name)}, at {_address(source.url)}: all tables and large objects, schema, "
        "functions, triggers, policies of row security, roles without their passwords"
    )
    if source.exclude_tables:
        yield f"- **not** the rows of {joined(source.exclude_tables)}"
    if source.elsewhere:
        yield f"- looked after elsewhere: {joined(source.elsewhere)}"


def _files(name: str, source: FilesSource) -> Iterator[str]:
    yield f"- {code(name)}: everything in {code(str(source.path))}"
    yield from (f"- {code(f'{source.path}/{one}')}, which must exist" for one in source.required)
    if source.exclude:
        yield f"- **not** what matches {joined(source.exclude)}"
    if source.one_file_system:
        yield "- **not** what lies on other file systems that are mounted in it"


def _code(name: str, source: GitSource) -> Iterator[str]:
    yield f"- {code(name)}: the Git repository in {code(str(source.path))}, every branch and tag"
    if source.untracked:
        yield f"- files that are not in Git: {joined(source.untracked)}"
    yield "- **not** other files that Git doesn't know, nor those that look like secrets"


def _address(url: str) -> str:
    told = kept_at(url) if is_reference(url) else url
    return code(told)


def _frequency(ground: Runbook, names: list[str]) -> str:
    schedule = ground.settings.schedule
    zone = text(schedule.time_zone)
    told = []
    for name in names:
        own = ground.settings.sources[name].capture
        if own == NEVER:
            told.append(f"{code(name)} never by itself")
        elif own is not None:
            told.append(f"{code(name)} also at {code(own)}")
    more = f"; {', '.join(told)}" if told else ""
    return f"{code(schedule.capture)} (minute, hour, day, month, weekday; {zone}){more}"


def _repositories(ground: Runbook) -> Iterator[str]:
    stores = {one.name: one for one in ground.evidence.scope.stores}
    rows = []
    for name, one in ground.settings.repositories.items():
        store = stores.get(name)
        told = {True: "yes", False: "**no**", None: "not known"}
        off_site = told[store.off_site if store is not None else None]
        because = f" ({text(store.because)})" if store is not None and store.because else ""
        secret = one.password or one.master_key or ""
        kind = "password" if one.password else "master key"
        rows.append(
            (
                code(name),
                code(one.location),
                f"{kind} in {code(kept_at(secret))}",
                f"{off_site}{because}",
            )
        )
    yield from table(("Repository", "Location", "Opened by", "On another host"), rows)
    yield (
        "No secret stands in this document, only where each is kept. Without the password of a "
        "repository nobody reads it: keep one outside of this host."
    )
    yield ""


def _points(ground: Runbook) -> Iterator[str]:
    if not ground.points:
        yield ""
        yield (
            "**None is known:** no capture is recorded on the host that wrote this. Look with "
            "`strongroom snapshots --points`."
        )
        yield ""
        return
    sources = list(ground.settings.sources)
    rows = []
    for point in ground.shown_points():
        lacking = [one for one in sources if one not in point.sources]
        held = ", ".join(
            f"{code(one)} {ground.verdict_of(point, one).value}"
            for one in sources
            if one not in lacking
        )
        whole = f"**without {joined(lacking)}**" if lacking else joined(point.holders(sources))
        verdict = "incomplete" if lacking else ground.verdict(point).value
        rows.append((code(point.id), ground.clock(point.captured_at), verdict, held, whole))
    heads = ("Recovery point", "Captured at", "Verdict", "Its sources", "Whole in")
    yield from table(heads, rows)
    yield (
        "PROVEN: it was restored and found identical, lately. STALE: it was, longer ago than "
        f"{age(ground.promise.proof_age)}. UNKNOWN: nobody tried. FAILED: it did not come back."
    )
    yield ""


# Schedule and checklists


def automated(ground: Runbook) -> Iterator[str]:
    """What runs by itself."""
    schedule = ground.settings.schedule
    if ground.is_supabase:
        yield "### Supabase Automated Backups"
        yield ""
        yield "1. **Enable in Supabase Dashboard:** Project Settings → Database → Point-in-Time"
        yield "   Recovery (PITR), with the retention that your plan has."
        yield "2. **Verify Backup Status:** Database → Backups: one for each day, or a window of"
        yield "   PITR that reaches to now."
        yield ""
        yield (
            "They are a second line. They hold no files of Storage, no passwords of roles and no "
            "settings of Auth, can't be downloaded, and are deleted with the project."
        )
        yield ""
    yield "### What Runs by Itself"
    yield ""
    yield (
        "The service `strongroom serve` runs these jobs at five cron fields each, in "
        f"{text(schedule.time_zone)}; another scheduler can call the same commands."
    )
    rows = [
        ("capture of all sources", code(schedule.capture)),
        ("check of each repository", f"{code(schedule.check)}, of {text(schedule.check_amount)}"),
        ("drop what no policy keeps", code(schedule.prune)),
        ("restore a recovery point and prove it", code(schedule.drill)),
        (
            "start the whole application from one",
            code(schedule.application_drill)
            if ground.settings.application_check is not None
            else "never: no `application_check` says how it starts",
        ),
        ("recover from the recovery kit alone", kit_drill_times(ground)),
        ("daily checklist", code(schedule.verify_daily)),
        ("weekly checklist", code(schedule.verify_weekly)),
        ("monthly checklist", code(schedule.verify_monthly)),
    ]
    yield from table(("Job", "When"), rows)
    yield "See what is due next:"
    yield from fenced(["strongroom schedule"])


def checklists(ground: Runbook) -> Iterator[str]:
    """The procedures' lists, with how each line stood."""
    titles = {
        Checklist.DAILY: "Daily Checks",
        Checklist.WEEKLY: "Weekly Checks",
        Checklist.MONTHLY: "Monthly Checks",
    }
    yield "A command goes through each list and records what it saw. Its status is 0 when all is"
    yield "well; without the program, ask the same by hand."
    for checklist, title in titles.items():
        yield ""
        yield f"### {title}:"
        yield ""
        for kind in CHECK_KINDS.values():
            if checklist not in kind.lists:
                continue
            yield f"- [ ] {kind.line}{_standing(ground, kind.name)}"
        if checklist is Checklist.MONTHLY:
            yield "- [ ] This document was read through, and what is wrong in it corrected"
        yield from fenced([f"strongroom verify {checklist.value}"])


def _standing(ground: Runbook, name: str) -> str:
    made = [one for one in ground.report.checks if one.name == name]
    bad = [one for one in made if not one.is_well]
    if not made or not bad:
        return ""
    first = bad[0]
    about = f"{code(first.subject)}: " if first.subject else ""
    return f" (when this was written: **{first.verdict.value}**, {about}{text(first.observed)})"


# Monitoring, retention, notes


def monitoring(ground: Runbook) -> Iterator[str]:
    """Who sees how things stand, and who is told."""
    watched = ground.settings.monitoring
    yield "### Health Check Integration"
    yield ""
    status = f"{code(str(watched.status_file))}" if watched.status_file else "none is configured"
    metrics = f"{code(str(watched.metrics_file))}" if watched.metrics_file else "none is configured"
    yield f"- File for the application's own health page (`monitoring.status_file`): {status}"
    yield f"- File of metrics for Prometheus (`monitoring.metrics_file`): {metrics}"
    yield "- The service answers `/health` and `/metrics` on its own port"
    yield from fenced(["strongroom status"])
    yield "### Alerting"
    yield ""
    alerts = ground.settings.alerts
    if not alerts:
        yield "**Nobody is told:** `alerts` names no one. Somebody has to look."
    for name, one in zip(route_names(alerts), alerts, strict=True):
        about = f", about {joined(one.about)}" if one.about else ""
        yield f"- {code(name)}: from {one.when} on{about}, at {code(kept_at(one.to))}"
    silence = code(kept_at(watched.ping)) if watched.ping else "**none**: nobody tells of silence"
    yield ""
    yield f"Dead man's switch (`monitoring.ping`): {silence}"
    yield ""
    yield (
        "Told are captures that fail or are too old, stores that are full, copies that fail their "
        "proof, and unusual sizes."
    )
    yield ""


def retention(ground: Runbook) -> Iterator[str]:
    """What is kept, where, and for how long."""
    sizes = ground.sizes()
    rows = [
        (
            code(source),
            _policy(ground.settings.policy(source, repository)),
            code(repository),
            code(declared.location),
            size(sizes.get(source)),
        )
        for source in ground.settings.sources
        for repository, declared in ground.settings.repositories.items()
    ]
    heads = ("Backup", "Retention Period", "Repository", "Storage Location", "Newest capture")
    yield from table(heads, rows)
    yield "The newest snapshot of a source and its newest proven one always stay."
    yield ""


def _policy(policy: Policy) -> str:
    if policy.forever:
        return _FOREVER
    parts = [f"the last {policy.last}"] if policy.last is not None else []
    for name in _SPANS:
        span = getattr(policy, name)
        if span is not None:
            parts.append(f"{'all' if name == 'within' else name} for {format_duration(span)}")
    parts += [f"what is tagged {code(one)}" for one in policy.tags]
    return ", ".join(parts)


def notes(ground: Runbook) -> Iterator[str]:
    """The rules of the procedures, each with how it is kept here."""
    stores = ground.evidence.scope.stores
    away = [one.name for one in stores if one.off_site]
    near = [one.name for one in stores if not one.off_site]
    yield "- **Never store backups on the same server as production**"
    if away:
        yield f"  - on another host: {joined(away)}"
    if near:
        yield f"  - on this one, or not known to be on another: {joined(near)}"
    if not away:
        yield "  - **no copy is known to be on another host: losing this one loses everything**"
    yield "- **Encrypt backups containing sensitive data**"
    yield "  - all repositories are encrypted; whoever has a password reads everything in them"
    yield "- **Test restore procedures regularly**"
    drill = ground.settings.schedule.drill
    runs = "no drill runs by itself" if drill == NEVER else f"a drill runs at {code(drill)}"
    yield f"  - {runs}; every command of this document can be tried on an empty target"
    yield "- **Document any custom backup procedures**"
    if ground.procedures:
        yield "  - see [OWN PROCEDURES](#own-procedures)"
    else:
        yield "  - none is named: `runbook.procedures` takes Markdown files"
    yield "- **Keep backup logs for audit purposes**"
    yield "  - the ledger has every capture, proof and restore, who ran it and why:"
    yield from fenced(["strongroom log --since 30d"])
