"""`snapshots [pin | unpin | acknowledge]`: what there is, what stays, and what is known as gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import REASON, STORE_AS_OF, AnsweringGroup
from strongroom.cli.run import Run
from strongroom.cli.text import clock, coloured, count, finding_lines, plain, size, table
from strongroom.errors import EXIT_FINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.service.listing import SnapshotReport
    from strongroom.service.pinning import Pinned
    from strongroom.service.point_listing import ListedPoint


@click.group(
    cls=AnsweringGroup,
    examples=("strongroom snapshots", "strongroom snapshots uploads --repository offsite"),
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--points",
    "as_points",
    is_flag=True,
    help="List recovery points: which sources, commit and schema version belong together, and how "
    "certainly.",
)
@REPOSITORY
@STORE_AS_OF
@click.pass_context
def snapshots(
    context: click.Context,
    repository: str | None,
    as_points: bool = False,
    sources: tuple[str, ...] = (),
) -> int | None:
    """List snapshots with what is known about each.

    PROVEN: restored and found identical. STALE: proven longer ago than `proof_age`. FAILED: it
    did not come back whole. UNKNOWN: nobody has tried; `strongroom drill` does.
    """
    if context.invoked_subcommand is not None:
        if repository is not None:
            raise click.UsageError("--repository belongs to the listing", context)
        if as_points:
            raise click.UsageError("--points belongs to the listing", context)
        if context.ensure_object(Run).store_as_of:
            raise click.UsageError("--store-as-of belongs to the listing", context)
        return None
    from strongroom.service.listing import snapshots as listing

    run = context.ensure_object(Run)
    application = run.application()
    application.sources(sources)
    chosen = [repository] if repository else []
    report = listing(application, sources=sources, repositories=chosen)
    zone = application.settings.schedule.time_zone
    document, findings = report.as_json(), list(report.findings)
    if as_points:
        from strongroom.service.point_listing import points

        listed, noticed = points(application, chosen)
        findings += noticed
        document["points"] = [one.as_json() for one in listed]
        document["findings"] = [one.as_json() for one in findings]
        lines = _point_lines(listed, zone)
    else:
        lines = _lines(report, zone)
    lines += finding_lines(findings, all_of_them=run.verbose)
    run.result(document, lines)
    return report.exit_status


def _point_lines(listed: Sequence[ListedPoint], zone: str) -> list[str]:
    rows = []
    for one in listed:
        record = one.record
        places = dict.fromkeys(place for where in one.sources.values() for place in where)
        rows.append(
            [
                plain(one.id),
                clock(one.captured_at, zone),
                plain(" ".join(one.sources)),
                " ".join(places),
                plain(" ".join(commit[:8] for commit in record.commits.values())) if record else "",
                plain(" ".join(record.migrations.values())) if record else "",
                plain(f"{record.certainty}: {'; '.join(record.because)}")
                if record
                else "no record",
            ]
        )
    heads = [
        "RECOVERY POINT",
        f"CAPTURED ({zone})",
        "SOURCES",
        "REPOSITORIES",
        "CODE",
        "SCHEMA",
        "TOGETHER",
    ]
    return table(heads, rows) if rows else ["No recovery points yet."]


def _lines(report: SnapshotReport, zone: str) -> list[str]:
    rows = [
        [
            one.snapshot.short_id,
            plain(one.snapshot.source or "-"),
            one.repository,
            clock(one.snapshot.time, zone),
            size(one.snapshot.size_bytes),
            coloured(one.verdict.value),
            plain(one.snapshot.point or "-"),
        ]
        for one in report.snapshots
    ]
    captured = f"CAPTURED ({zone})"
    heads = ["ID", "SOURCE", "REPOSITORY", captured, "SIZE", "VERDICT", "RECOVERY POINT"]
    if any(one.pin for one in report.snapshots):
        heads.append("PINNED")
        for row, one in zip(rows, report.snapshots, strict=True):
            row.append(plain(one.pin.reason or "yes") if one.pin else "")
    if any(one.snapshot.is_imported for one in report.snapshots):
        heads.append("IMPORTED")
        for row, one in zip(rows, report.snapshots, strict=True):
            row.append("yes" if one.snapshot.is_imported else "")
    return table(heads, rows, right="SIZE") if rows else ["No snapshots yet."]


@snapshots.command(
    examples=(
        "strongroom snapshots pin 1a2b3c4d --reason 'before the migration'",
        "strongroom snapshots pin latest:database",
    )
)
@click.argument("wanted", nargs=-1, required=True, metavar="ID...")
@REASON
@click.pass_obj
def pin(run: Run, wanted: tuple[str, ...], reason: str) -> int:
    """Keep snapshots whatever the policies say.

    ID is the beginning of an id, or `latest:SOURCE`. A pin holds for all copies of a capture, in
    every repository. It stands in the ledger: stock restic knows nothing of it.
    """
    from strongroom.service.pinning import pin as decide

    return _answer(run, decide(run.application(), wanted, reason=reason), "pinned")


@snapshots.command(
    examples=(
        "strongroom snapshots unpin 1a2b3c4d",
        "strongroom snapshots unpin 1a2b3c4d --reason 'the migration is done'",
    )
)
@click.argument("wanted", nargs=-1, required=True, metavar="ID...")
@REASON
@click.pass_obj
def unpin(run: Run, wanted: tuple[str, ...], reason: str) -> int:
    """Leave snapshots to the policies again.

    ID is the beginning of an id, or `latest:SOURCE`. It is for all copies, and also lets those go
    that stay because they are older than the ledger.
    """
    from strongroom.service.pinning import unpin as decide

    return _answer(run, decide(run.application(), wanted, reason=reason), "unpinned")


def _answer(run: Run, done: Pinned, word: str) -> int:
    lines = finding_lines(done.findings, all_of_them=run.verbose)
    for one in done.decided:
        places = ", ".join(name for name, _ in one.copies) or "no repository any more"
        lines.append(f"{word.capitalize()} {one.snapshot[:8]} of {one.capture[0]}, in {places}")
    run.result(done.as_json(word), lines)
    return EXIT_FINE


@snapshots.command(
    examples=(
        "strongroom snapshots acknowledge 1a2b3c4d --reason 'restic forget by Amina'",
        "strongroom snapshots acknowledge --all",
    )
)
@click.argument("wanted", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All that are gone.")
@REASON
@click.pass_obj
def acknowledge(run: Run, wanted: tuple[str, ...], everything: bool, reason: str) -> int:
    """Say that vanished snapshots are known.

    They fail no drill, check or listing any more; the ledger keeps who said so, when and why. Find
    out first who removed them: a store that loses snapshots loses more.
    """
    from strongroom.service.acknowledgement import acknowledge as decide
    from strongroom.service.acknowledgement import refuse_neither

    refuse_neither(wanted, everything=everything)
    done = decide(run.application(), wanted, everything=everything, reason=reason)
    lines = finding_lines(done.findings, all_of_them=run.verbose)
    lines += [f"Acknowledged {one}" for one in done.snapshots]
    lines.append(f"{count(len(done.snapshots), 'snapshot')} acknowledged")
    run.result(done.as_json(), lines)
    return done.exit_status
