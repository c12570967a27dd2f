"""From a source's settings to the source itself; the one place that knows every kind."""

from __future__ import annotations

from strongroom.config.settings import FilesSource, GitSource, PostgresSource, Settings
from strongroom.sources import Source


def build_source(
    name: str, declared: PostgresSource | FilesSource | GitSource, settings: Settings
) -> Source:
    """The source that the settings declare. Opens and reads nothing."""
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
    )
