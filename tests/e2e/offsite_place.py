"""An application with a copy in a bucket, pruned and looked at as if it were later."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from strongroom.repository.prune import PruneOptions
from strongroom.service.application import Application
from strongroom.service.pruning import Pruned, prune
from tests.e2e.command_line import Place, make_place
from tests.support.bucket_ground import Bucket

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
repositories:
REPOSITORIES
retention: {uploads: {last: 1}}
state: state
"""
LOCAL = "  local: {location: local, password: file:key}\n"
AT_ONCE = PruneOptions(grace=timedelta(0))
DAY = timedelta(days=1)


def place_at(path: Path, bucket: Bucket, options: str = "", *, others: str = "") -> Place:
    """An application whose repository `offsite` is in this bucket, beside other ones. Its
    credentials are those of `environment`."""
    offsite = (
        f"  offsite: {{location: '{bucket.location}', password: file:key,\n"
        "    access: {access_key: env:S3_KEY_ID, secret_key: env:S3_KEY, region: us-east-1}"
        f"{options}}}\n"
    )
    return make_place(path, CONFIG.replace("REPOSITORIES\n", others + offsite))


def environment(bucket: Bucket) -> dict[str, str]:
    """The variables that the configuration refers to."""
    access = bucket.server.access
    return {"S3_KEY_ID": str(access.access_key), "S3_KEY": str(access.secret_key)}


COMPLIANCE = ",\n    object_lock: 30d, object_lock_mode: compliance"


def backup(place: Place, content: bytes) -> dict[str, Any]:
    (place.uploads / "changing").write_bytes(content)
    report: dict[str, Any] = place.json("backup", "--quiet")["snapshots"][0]
    return report


def pruned(
    place: Place, *, later: timedelta = timedelta(0), options: PruneOptions = AT_ONCE
) -> Pruned:
    """Prune, packs of this minute included unless the options spare them; as if it were so much
    later, by this host's clock."""
    application = Application.load(place.config)
    try:
        now = datetime.now(UTC) + later
        (one,) = prune(
            application, ["offsite"], dry_run=False, consent=True, options=options, now=now
        ).repositories
        return one
    finally:
        application.close()


def thief(place: Place, repository: str = "offsite") -> dict[str, Any]:
    """The doctor's line about stolen credentials."""
    checks = place.json("doctor", "--quiet")["checks"]
    title = f"repository {repository}: stolen credentials"
    (line,) = [one for one in checks if one["name"] == title]
    assert isinstance(line, dict)
    return line


def between() -> datetime:
    """A moment a whole second after all before, and before all after: stores tell seconds."""
    time.sleep(1.2)
    moment = datetime.now(UTC)
    time.sleep(1.2)
    return moment


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def until(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def near(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < timedelta(minutes=10)
