"""Is a repository on production's host? From its location, the mounts and the sources alone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from strongroom.config import parse_settings
from strongroom.service.place import Mount, host_of, is_this_host, mounts, store_of

MOUNTINFO = """\
25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 25 0:40 / /backup rw,relatime shared:9 - nfs4 nas.example.com:/export/backup rw,vers=4.2
31 25 0:41 / /mnt/with\\040blank rw - cifs //files.example.com/tms rw
32 25 0:42 / /loop rw - nfs localhost:/export rw
33 25 0:43 / /ssh rw - fuse.sshfs backup@vault:/srv rw
34 30 0:44 / /backup/usb rw - vfat /dev/sdb1 rw
35 25 0:45 / /six rw - nfs4 [2001:db8::1]:/x rw
"""
KNOWN = mounts(MOUNTINFO)


def test_mounts_are_read_as_the_kernel_lists_them() -> None:
    assert [one.point for one in KNOWN][:3] == ["/", "/backup", "/mnt/with blank"]
    assert [one.host for one in KNOWN] == [
        None, "nas.example.com", "files.example.com", "localhost", "vault", None, "2001:db8::1",
    ]  # fmt: skip
    assert mounts("odd\n1 2 - ext4\n") == []
    assert Mount("/", "ext4", "x") in mounts("1 2 3 / / rw - ext4 x rw")


HOSTS = {
    "s3:https://s3.example.com/bucket/prefix": "s3.example.com",
    "s3:s3.example.com/bucket": "s3.example.com",
    "s3:http://127.0.0.1:9000/bucket": "127.0.0.1",
    "rest:https://backup.example.com:8000/tms": "backup.example.com",
    "sftp:backup@vault.example.com:/srv/tms": "vault.example.com",
    "sftp:vault:/srv/tms": "vault",
    "sftp://backup@vault.example.com:2222//srv/tms": "vault.example.com",
    "rest:http://[::1]:8000/": "::1",
}


@pytest.mark.parametrize("location", HOSTS)
def test_a_location_names_a_host(location: str) -> None:
    assert host_of(location) == HOSTS[location]


def test_this_host_is_known_without_asking_anybody() -> None:
    mine = ("localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "0.0.0.0", "")
    assert all(map(is_this_host, (*mine, socket.gethostname(), socket.gethostname().upper())))
    # From blocks that are for documentation alone.
    assert not any(map(is_this_host, ("192.0.2.1", "2001:db8::1", "s3.example.com", "vault")))


@pytest.mark.parametrize(
    ("own", "host", "expected"),
    [
        ("web1", "web1.example.com", True),
        ("web1.example.com", "WEB1", True),
        ("web1.example.com", "web1.example.com.", True),
        ("web1.example.com", "web1.example.org", False),
        ("web1", "web10.example.com", False),
    ],
)
def test_a_host_is_known_with_and_without_its_domain(
    own: str, host: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: own)
    assert is_this_host(host) is expected


def placed(location: str, sources: str = "uploads: {kind: files, path: /srv/tms}") -> bool | None:
    text = f"""\
version: 1
application: tms
sources:
  {sources}
repositories:
  one: {{location: "{location}", password: env:X}}
"""
    return store_of(parse_settings(text, base=Path("/")), "one", KNOWN).off_site


PLACES: dict[str, bool | None] = {
    "/var/backup": False,
    "/backup/tms": True,
    "/backups": False,
    "/backup/usb/tms": False,
    "/mnt/with blank/tms": True,
    "/loop/tms": False,
    "/ssh/tms": True,
    "s3:https://s3.example.com/bucket": True,
    "s3:http://localhost:9000/bucket": False,
    "sftp:backup@vault:/srv": True,
    "rest:http://127.0.0.1:8000/": False,
}


@pytest.mark.parametrize("location", PLACES)
def test_a_repository_is_here_or_elsewhere(location: str) -> None:
    assert placed(location) is PLACES[location]


def test_where_production_is_shows_by_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "/var/backup"
    assert placed(here, "db: {kind: postgres, url: postgresql://db.example.com/tms}") is True
    assert placed(here, "db: {kind: postgres, url: postgresql://localhost/tms}") is False
    assert placed(here, 'db: {kind: postgres, url: "postgresql:///tms?host=/run/pg"}') is False
    assert placed(here, "db: {kind: postgres, url: env:NO_SUCH_URL}") is None
    monkeypatch.setenv("TMS_URL", "postgresql://user:secret@db.example.com/tms")
    assert placed(here, "db: {kind: postgres, url: env:TMS_URL}") is True
    both = "db: {kind: postgres, url: env:TMS_URL}\n  uploads: {kind: files, path: /srv/tms}"
    assert placed(here, both) is False
    assert placed("s3:https://s3.example.com/b", "db: {kind: postgres, url: env:NO_SUCH_URL}")


def test_what_a_store_can_tell_of_its_room() -> None:
    text = """\
version: 1
application: tms
sources: {code: {kind: git, path: /srv/app}}
repositories:
  local: {location: /var/backup, password: env:X}
  bucket: {location: "s3:https://s3.example.com/b", password: env:X}
  server: {location: "rest:https://backup.example.com/", password: env:X}
retention: {local: {daily: 30d}, bucket: forever}
"""
    settings = parse_settings(text, base=Path("/"))
    found = {name: store_of(settings, name, KNOWN) for name in settings.repositories}
    assert [one.tells_space for one in found.values()] == [True, False, False]
    assert "no fixed size" in found["bucket"].no_space
    assert [one.keeps_all for one in found.values()] == [False, True, True]
    assert found["local"].policy != found["bucket"].policy == found["server"].policy
