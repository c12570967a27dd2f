"""Two backups of one application at once: what one stores while the other begins is no damage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from strongroom.config import load_settings
from strongroom.repository.storage import Storage, StoredFile
from strongroom.service.application import Application
from strongroom.service.backup import backup
from tests.e2e.command_line import CONFIG, make_place
from tests.support.failing_storage import FailingStorage
from tests.support.repository_ground import PASSWORD, new_repository


class _OvertakenStorage(FailingStorage):
    """Between its first listing of snapshots and whatever comes next another backup runs."""

    def __init__(self, inner: Storage, config: Path) -> None:
        super().__init__(inner)
        self._config: Path | None = config

    def list(self, folder: str) -> Iterator[StoredFile]:
        listed = list(super().list(folder))
        if folder == "snapshots" and self._config is not None:
            config, self._config = self._config, None
            backup(Application(load_settings(config)))
        return iter(listed)


class _Overtaken(Application):
    config: Path

    def storage(self, name: str, *, as_of: datetime | None = None) -> Storage:
        return _OvertakenStorage(super().storage(name, as_of=as_of), self.config)


def test_what_another_run_stored_meanwhile_has_not_vanished(tmp_path: Path) -> None:
    place = make_place(tmp_path / "tms", CONFIG)
    (place.path / "key").write_text(PASSWORD + "\n")
    new_repository(place.path / "local")
    application = _Overtaken(load_settings(place.config))
    application.config = place.config
    report = backup(application)
    assert [one.code for one in report.point.findings] == []
    assert len(place.json("snapshots")["snapshots"]) == 2
    # What did vanish is told all the same.
    for one in (place.path / "local" / "snapshots").iterdir():
        one.unlink()
    report = backup(Application(load_settings(place.config)))
    assert {one.code for one in report.point.findings} == {"snapshot-vanished"}
