"""From a source's settings to the source itself; the one place that knows every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.config.settings import FilesSource, GitSource, PostgresSource, Settings
from strongroom.config.value import parse_expectation
from strongroom.sources import Source

if TYPE_CHECKING:
    from strongroom.postgres.question import Question


def build_source(
    name: str,
    declared: PostgresSource | FilesSource | GitSource,
    settings: Settings,
    *,
    deep: bool = False,
) -> Source:
    """The source that the settings declare. Opens and reads nothing. `deep`: its drills look as
    deep as they can, whatever it takes."""
    if isinstance(declared, FilesSource):
        from strongroom.sources.files import FilesSource as Files

        return Files(
            name,
            declared.path,
            exclude=declared.exclude,
            required=declared.required,
            one_file_system=declared.one_file_system,
            workers=settings.engine.worker_count,
        )
    if isinstance(declared, GitSource):
        from strongroom.sources.code import CodeSource

        return CodeSource(
            name,
            declared.path,
            untracked=declared.untracked,
            allow_secrets=declared.allow_secrets,
            elsewhere=[
                one.path
                for one in settings.sources.values()
                if isinstance(one, FilesSource | GitSource) and one is not declared
            ],
        )
    from strongroom.sources.database import DatabaseSource

    return DatabaseSource(
        name,
        declared.url,
        jobs=declared.jobs,
        programs=declared.programs,
        lock_timeout_seconds=int(declared.lock_timeout.total_seconds()),
        exclude_tables=declared.exclude_tables,
        questions=list(_questions(name, settings)),
        elsewhere=declared.elsewhere,
        deep=deep,
    )


def build_stand_in(
    name: str, declared: PostgresSource | FilesSource, settings: Settings, place: str | Path
) -> Source:
    """A source that reads what stands in its place, a database of ours or a directory, and records
    it as its own. Nothing that stands there is left out."""
    if isinstance(declared, FilesSource):
        from strongroom.sources.files import FilesSource as Files

        workers = settings.engine.worker_count
        return Files(name, declared.path, workers=workers, lies_in=Path(place))
    from strongroom.sources.database import DatabaseSource

    return DatabaseSource(
        name,
        str(place),
        jobs=declared.jobs,
        questions=list(_questions(name, settings)),
        elsewhere=declared.elsewhere,
    )


def _questions(source: str, settings: Settings) -> Iterator[Question]:
    """The queries and probes of one database, under names that tell them apart."""
    from strongroom.postgres.question import Question

    for query in settings.queries:
        if query.source == source:
            yield Question(query.name, query.sql, parse_expectation(query.expect))
    for number, probe in enumerate(settings.probes):
        if probe.source == source:
            name = probe.name or f"probes[{number}]"
            expect = parse_expectation(probe.expect)
            yield Question(name, probe.sql, expect, probe.role, probe.claims)
