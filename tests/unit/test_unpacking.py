"""Archives of files: what is whole is unpacked as it was, what lies or was cut is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import zstandard

from strongroom.errors import SourceError
from strongroom.sources import unpacking
from strongroom.sources.compressed import plain_blocks
from strongroom.sources.unpacking import is_tar, newest_in, unpack

ZONE = ZoneInfo("Asia/Dubai")
MADE = 1_769_558_400  # 2026-01-28 00:00 UTC
CONTENT = os.urandom(70_000)

Entry = tuple[str, dict[str, object]]


def _tar(path: Path, *entries: Entry, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # a mode of its own
        for name, fields in entries:
            header = tarfile.TarInfo(name)
            content = fields.pop("content", b"")
            assert isinstance(content, bytes)
            header.size, header.mtime, header.mode = len(content), MADE, 0o640
            header.uid, header.gid = os.getuid(), os.getgid()
            for key, value in fields.items():
                setattr(header, key, value)
            archive.addfile(header, io.BytesIO(content))
    return path


def _whole(path: Path) -> Path:
    return _tar(
        path,
        ("uploads/", {"type": tarfile.DIRTYPE, "mode": 0o555}),
        ("uploads/lpos/LPO-1.pdf", {"content": CONTENT}),
        ("uploads/lpos/same.pdf", {"type": tarfile.LNKTYPE, "linkname": "uploads/lpos/LPO-1.pdf"}),
        ("uploads/newest", {"type": tarfile.SYMTYPE, "linkname": "lpos/LPO-1.pdf"}),
        ("uploads/away", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("uploads/pipe", {"type": tarfile.FIFOTYPE}),
    )


@pytest.fixture
def into(tmp_path: Path) -> Path:
    made = tmp_path / "into"
    made.mkdir(mode=0o700)
    return made


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "gzip in two": lambda one: gzip.compress(one[:9000]) + gzip.compress(one[9000:]) + b"\0" * 512,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_whole_archive_comes_out_as_it_was(tmp_path: Path, into: Path, packer: str) -> None:
    plain = _whole(tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.packed").write_bytes(PACKERS[packer](plain))
    assert is_tar(tmp_path / "a.packed")
    report = unpack(tmp_path / "a.packed", into, zone=ZONE)
    uploads = into / "uploads"
    assert (uploads / "lpos/LPO-1.pdf").read_bytes() == CONTENT
    assert (uploads / "lpos/same.pdf").samefile(uploads / "lpos/LPO-1.pdf")
    assert (uploads / "newest").readlink() == Path("lpos/LPO-1.pdf")
    assert (uploads / "away").readlink() == Path("/etc/passwd")
    assert stat.S_IMODE((uploads / "lpos/LPO-1.pdf").stat().st_mode) == 0o640
    assert stat.S_IMODE(uploads.stat().st_mode) & 0o555 == 0o555
    assert uploads.stat().st_mtime == MADE
    assert report.left_out == ["uploads/pipe"]
    assert [one.code for one in report.findings("uploads")] == ["import-left-out"]
    assert newest_in(tmp_path / "a.packed", ZONE) == datetime.fromtimestamp(MADE, UTC)


@pytest.mark.parametrize("packer", ["plain", "gzip", "bzip2", "xz", "zstd"])
def test_an_archive_that_was_cut_anywhere_is_refused(
    tmp_path: Path, into: Path, packer: str
) -> None:
    whole = PACKERS[packer](_whole(tmp_path / "a.tar").read_bytes())
    # Behind the first block of the end mark nothing of the archive is missing.
    end = len(whole) if packer != "plain" else whole.rindex(b"uploads/pipe") + 1024
    for place in (1, 300, 511, 512, 513, end // 3, end // 2, end - 600, end - 1):
        (tmp_path / "cut").write_bytes(whole[:place])
        folder = into / str(place)
        folder.mkdir()
        with pytest.raises(SourceError) as refused:
            unpack(tmp_path / "cut", folder, zone=ZONE)
        assert refused.value.code == "file-incomplete", place


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
def test_a_changed_byte_is_found(tmp_path: Path, packer: str) -> None:
    whole = bytearray(PACKERS[packer](CONTENT))
    whole[len(whole) // 2] ^= 0x10
    (tmp_path / "changed").write_bytes(bytes(whole))
    with pytest.raises(SourceError) as refused:
        for _ in plain_blocks(tmp_path / "changed"):
            pass
    assert refused.value.code == "file-incomplete"


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("../out", {"content": b"x"})], "leads out"),
        ([("a/../../out", {"content": b"x"})], "leads out"),
        ([("a", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"})], "leads out"),
        (
            [
                ("a", {"type": tarfile.SYMTYPE, "linkname": "/tmp"}),
                ("a/out", {"content": b"x"}),
            ],
            "is a link in it and a folder",
        ),
        (
            [
                ("a", {"content": b"x"}),
                ("a/out", {"content": b"x"}),
            ],
            "is a file in it and a folder",
        ),
        ([("/".join("d" * 300), {"content": b"x"})], "folders deep"),
        ([("x" * 300, {"content": b"x"})], "cannot be unpacked"),
    ],
)
def test_what_leads_out_is_refused(
    tmp_path: Path, into: Path, entries: list[Entry], why: str
) -> None:
    archive = _tar(tmp_path / "a.tar", *[(name, dict(fields)) for name, fields in entries])
    with pytest.raises(SourceError, match=why) as refused:
        unpack(archive, into, zone=ZONE)
    assert refused.value.code == "file-unfit"
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/out").exists()


def test_a_link_to_what_is_not_there_is_a_loss(tmp_path: Path, into: Path) -> None:
    entry: Entry = ("a", {"type": tarfile.LNKTYPE, "linkname": "gone"})
    with pytest.raises(SourceError, match="which is not in it") as refused:
        unpack(_tar(tmp_path / "a.tar", entry), into, zone=ZONE)
    assert refused.value.code == "file-incomplete"


def test_a_link_is_never_written_through(tmp_path: Path, into: Path) -> None:
    """A file in the place of a link, and a link to a link."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    archive = _tar(
        tmp_path / "a.tar",
        ("a", {"type": tarfile.SYMTYPE, "linkname": str(victim)}),
        ("a", {"content": b"theirs"}),
        ("b", {"type": tarfile.SYMTYPE, "linkname": str(victim)}),
        ("c", {"type": tarfile.LNKTYPE, "linkname": "b"}),
    )
    unpack(archive, into, zone=ZONE)
    assert victim.read_text() == "mine"
    assert victim.stat().st_nlink == 1
    assert (into / "a").read_bytes() == b"theirs"
    assert (into / "c").readlink() == victim


def test_names_from_the_root_are_taken_as_below(tmp_path: Path, into: Path) -> None:
    archive = _tar(tmp_path / "a.tar", ("/srv/uploads/a", {"content": b"x"}))
    report = unpack(archive, into, zone=ZONE)
    assert (into / "srv/uploads/a").read_bytes() == b"x"
    assert [one.code for one in report.findings("uploads")] == ["import-changed"]


def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "_ALLOWANCE_BYTES", 1 << 20)
    header = tarfile.TarInfo("zeros")
    header.size = 64 << 20
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive, Path("/dev/zero").open("rb") as zeros:
        archive.addfile(header, zeros)
    with pytest.raises(SourceError, match="would unpack to more than") as refused:
        unpack(tmp_path / "a.tgz", into, zone=ZONE)
    assert refused.value.code == "file-unfit"
    assert list(into.iterdir()) == []


def test_more_than_one_archive_in_a_file_is_refused(tmp_path: Path, into: Path) -> None:
    one = _tar(tmp_path / "a.tar", ("a", {"content": b"x"})).read_bytes()
    (tmp_path / "two.tar").write_bytes(one + one)
    with pytest.raises(SourceError, match="more data follow"):
        unpack(tmp_path / "two.tar", into, zone=ZONE)


def test_a_zip_comes_out_as_it_was(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, content in (
            ("uploads/a.pdf", stat.S_IFREG | 0o600, CONTENT),
            ("uploads/link", stat.S_IFLNK | 0o777, b"a.pdf"),
        ):
            entry = zipfile.ZipInfo(name, (2026, 1, 28, 4, 0, 0))
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    unpack(tmp_path / "a.zip", into, zone=ZONE)
    made = into / "uploads/a.pdf"
    assert made.read_bytes() == CONTENT
    assert (stat.S_IMODE(made.stat().st_mode), made.stat().st_mtime) == (0o600, MADE)
    assert (into / "uploads/link").readlink() == Path("a.pdf")
    assert newest_in(tmp_path / "a.zip", ZONE) == datetime.fromtimestamp(MADE, UTC)


def test_a_zip_that_was_cut_or_leads_out_is_refused(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../out", "x")
    with pytest.raises(SourceError, match="leads out"):
        unpack(tmp_path / "a.zip", into, zone=ZONE)
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    with pytest.raises(SourceError, match="list of its entries") as refused:
        unpack(tmp_path / "cut.zip", into, zone=ZONE)
    assert refused.value.code == "file-incomplete"
