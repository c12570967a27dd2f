"""A kit's seal, its codes and its archive, each by itself."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import re
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from strongroom.errors import ConfigError, IntegrityError, StrongroomError
from strongroom.service.kit_archive import Kit, KitRepository, pack, unpack
from strongroom.service.kit_codes import codes_of, is_codes, joined
from strongroom.service.kit_seal import (
    Opener,
    Seal,
    asks_for_passphrase,
    checked_passphrase,
    identity_in,
    open_sealed,
)

PASSPHRASE = "six words are better than one"
CONTENT = random.Random(7).randbytes(5000)


@pytest.fixture(scope="module")
def sealed() -> bytes:
    return Seal(PASSPHRASE).seal(CONTENT)


def refused(call: Callable[[], object], code: str) -> str:
    with pytest.raises(StrongroomError) as caught:
        call()
    assert caught.value.code == code
    return caught.value.message


# The seal


def test_a_passphrase_opens_what_it_sealed(sealed: bytes) -> None:
    assert sealed.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert asks_for_passphrase(sealed, "kit")
    assert open_sealed(sealed, Opener(PASSPHRASE), "kit") == CONTENT


def _binary(armored: bytes) -> bytes:
    return base64.b64decode(b"".join(armored.splitlines()[1:-1]))


def test_it_takes_work_to_try_a_passphrase(sealed: bytes) -> None:
    """As much as one of a repository, and no more than any machine would do."""
    found = re.search(rb"^-> scrypt \S+ (\d+)$", _binary(sealed), re.MULTILINE)
    assert found is not None
    assert 16 <= int(found[1]) <= 22
    endless = re.sub(rb"(?m)^(-> scrypt \S+ )\d+$", rb"\g<1>40", _binary(sealed))
    told = refused(lambda: open_sealed(endless, Opener(PASSPHRASE), "kit"), "kit-locked")
    assert "too much work" in told


def test_any_of_several_secret_keys_opens(tmp_path: Path) -> None:
    keys = [pyrage.x25519.Identity.generate() for _ in range(3)]
    sealed = Seal(recipients=tuple(str(one.to_public()) for one in keys[:2])).seal(CONTENT)
    assert not asks_for_passphrase(sealed, "kit")
    for one in keys[:2]:
        file = tmp_path / "identity"
        file.write_text(f"# created: today\n# public key: {one.to_public()}\n{one}\n")
        assert open_sealed(sealed, identity_in(file), "kit") == CONTENT
    other = Opener(identities=(str(keys[2]),))
    assert "no secret key fits" in refused(lambda: open_sealed(sealed, other, "kit"), "kit-locked")
    told = refused(lambda: open_sealed(sealed, Opener(PASSPHRASE), "kit"), "kit-locked")
    assert "recipients" in told


def test_the_library_opens_it_too_and_so_does_age(sealed: bytes) -> None:
    assert pyrage.passphrase.decrypt(sealed, PASSPHRASE) == CONTENT


@pytest.mark.parametrize("wrong", ["six words are better than two", PASSPHRASE.upper(), " "])
def test_another_passphrase_does_not(sealed: bytes, wrong: str) -> None:
    told = refused(lambda: open_sealed(sealed, Opener(wrong), "kit"), "kit-locked")
    assert told == "the passphrase is another one"
    assert wrong.strip() not in told or not wrong.strip()


def test_a_secret_key_opens_nothing_that_a_passphrase_sealed(sealed: bytes) -> None:
    opener = Opener(identities=(str(pyrage.x25519.Identity.generate()),))
    assert "passphrase" in refused(lambda: open_sealed(sealed, opener, "kit"), "kit-locked")


def _cut(text: bytes) -> bytes:
    return text[: len(text) // 2]


def _cut_lines(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[: len(lines) // 2], lines[-1]])


def _altered(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    lines[-3] = lines[-3][:10] + (b"A" if lines[-3][10:11] != b"A" else b"B") + lines[-3][11:]
    return b"".join(lines)


@pytest.mark.parametrize(
    "spoil",
    [_cut, _cut_lines, _altered, lambda _: b"", lambda _: b"hello\n", lambda text: text[100:]],
)
def test_what_is_cut_or_altered_is_damaged(sealed: bytes, spoil: Callable[[bytes], bytes]) -> None:
    spoiled = spoil(sealed)
    refused(lambda: open_sealed(spoiled, Opener(PASSPHRASE), "kit"), "kit-damaged")


def test_what_mail_does_to_lines_does_no_harm(sealed: bytes) -> None:
    mangled = b"\r\n".join(b"  " + line + b" " for line in sealed.splitlines()) + b"\r\n\r\n"
    assert open_sealed(mangled, Opener(PASSPHRASE), "kit") == CONTENT


def test_a_secret_key_may_be_sealed_itself(tmp_path: Path) -> None:
    """As `age-keygen | age -p` makes it."""
    key = pyrage.x25519.Identity.generate()
    sealed = Seal(recipients=(str(key.to_public()),)).seal(CONTENT)
    file = tmp_path / "identity"
    file.write_bytes(pyrage.passphrase.encrypt(f"{key}\n".encode(), PASSPHRASE, armored=True))
    assert open_sealed(sealed, identity_in(file, PASSPHRASE), "kit") == CONTENT
    refused(lambda: identity_in(file, "another one of these"), "kit-locked")
    refused(lambda: identity_in(file), "kit-locked")


@pytest.mark.parametrize("text", ["", "# nothing\n", "hunter2\n", "AGE-SECRET-KEY-1QQ\nand more\n"])
def test_what_is_no_identity_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "identity"
    file.write_text(text)
    told = refused(lambda: identity_in(file), "secret-unavailable")
    assert "hunter2" not in told
    assert "QQ" not in told


def test_a_passphrase_that_guessing_finds_is_refused() -> None:
    assert checked_passphrase("twelve chars") == "twelve chars"
    told = refused(lambda: checked_passphrase("hunter2"), "usage")
    assert "hunter2" not in told


def test_what_opens_is_not_in_its_text() -> None:
    for one in (Opener(PASSPHRASE), Seal(PASSPHRASE), Opener(identities=("AGE-SECRET-KEY-1X",))):
        assert PASSPHRASE not in repr(one)
        assert "SECRET" not in repr(one)


# The codes


def test_codes_are_joined_in_any_order_and_some_twice(sealed: bytes) -> None:
    codes = list(codes_of("0123456789abcdef", sealed))
    assert len(codes) > 3
    assert all(len(one.encode()) <= 742 for one in codes), "version 30 at level H holds no more"
    scanned = [*codes[::-1], codes[0]]
    text = "\n".join(one.strip() for one in scanned).encode()
    assert is_codes(text)
    assert joined(text, "scanned") == sealed


def test_by_hand_the_codes_are_joined_without_their_first_lines(sealed: bytes) -> None:
    """What the page says to do."""
    codes = codes_of("0123456789abcdef", sealed)
    by_hand = "".join(f"{line}\n" for one in codes for line in one.splitlines()[1:])
    assert by_hand.encode() == sealed


def test_a_missing_code_is_named(sealed: bytes) -> None:
    codes = list(codes_of("0123456789abcdef", sealed))
    del codes[1]
    told = refused(lambda: joined("\n".join(codes).encode(), "scanned"), "kit-damaged")
    assert told == f"of {len(codes) + 1} codes these are missing: 2"


def test_codes_of_two_kits_are_not_joined(sealed: bytes) -> None:
    mixed = [codes_of("0123456789abcdef", sealed)[0], codes_of("fedcba9876543210", sealed)[1]]
    refused(lambda: joined("\n".join(mixed).encode(), "scanned"), "kit-damaged")


# The archive

KIT = Kit(
    "0123456789abcdef",
    "tms",
    datetime(2026, 11, 26, 8, tzinfo=UTC),
    "1.0",
    "web1",
    "/home/op",
    "/etc/strongroom/strongroom.yaml",
    "version: 1\n",
    (KitRepository("local", "/backup/tms", "ab" * 32, '{"mac": "key"}', "file:/etc/local.key"),),
    {
        "file:/etc/local.key": b"hunter2\n",
        "env:DATABASE_URL": b"postgresql://tms:hunter2@db/tms",
        "file:/srv/tms/app/.env": b"\xff\x00binary",
        "file:/srv/other/.env": b"KEY=hunter2",
        "command:pass show --token abc": b"x",
    },
    {"/etc/strongroom/id_ed25519": b"PRIVATE"},
    "Read me.\n",
    True,
)


def test_a_kit_comes_out_as_it_went_in() -> None:
    assert unpack(pack(KIT), "kit") == KIT
    assert pack(KIT) == pack(KIT)
    assert "hunter2" not in repr(KIT)
    assert "mac" not in repr(KIT)


def test_people_can_read_it_with_tar(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(KIT))) as archive:
        names = archive.getnames()
        assert all(one.mode == 0o600 for one in archive)
        archive.extractall(tmp_path, filter="data")
    assert names[:2] == ["README.txt", "kit.json"]
    assert (tmp_path / "secrets/local.key").read_bytes() == b"hunter2\n"
    assert (tmp_path / "secrets/env").read_bytes() == b"\xff\x00binary"
    assert (tmp_path / "secrets/4-env").read_bytes() == b"KEY=hunter2"
    assert (tmp_path / "master-keys/local").read_text() == '{"mac": "key"}\n'
    index = json.loads((tmp_path / "kit.json").read_text())
    assert index["repositories"][0]["password_file"] == "secrets/local.key"
    assert "token" not in str(names)


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _files() -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(pack(KIT))) as archive:
        found = {one.name: archive.extractfile(one) for one in archive}
        return {name: stream.read() for name, stream in found.items() if stream is not None}


def _with(**changes: object) -> bytes:
    files = _files()
    index = json.loads(files["kit.json"]) | changes
    return _archive(files | {"kit.json": json.dumps(index).encode()})


def _with_name(name: str) -> bytes:
    index = json.loads(_files()["kit.json"])
    index["repositories"][0] |= {"name": name}
    return _archive(_files() | {"kit.json": json.dumps(index).encode()})


SPOILED: dict[str, bytes] = {
    "nothing": b"",
    "text": b"no archive",
    "compressed text": gzip.compress(b"no archive"),
    "an empty archive": _archive({}),
    "an empty index": _archive({"kit.json": b"{}"}),
    "an index that is no text": _archive({"kit.json": b"\xff"}),
    "another format": _with(format="other"),
    "another version": _with(version=2),
    "an odd id": _with(kit="../../x"),
    "a time without zone": _with(made_at="2026-11-26T08:00:00"),
    "a file that is not there": _with(secrets={"secrets/none": "env:X"}),
    "a repository of nothing": _with(repositories=[{}]),
    "no repositories": _with(repositories=None),
    "a name that leads out": _with_name("../../etc/cron.d/evil"),
    "a bomb": gzip.compress(b"\0" * (65 << 20), 1),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_no_kit_is_refused_without_being_quoted(what: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        unpack(SPOILED[what], "kit")
    assert caught.value.code == "kit-damaged"
    assert "hunter2" not in str(caught.value)


def test_a_link_in_an_archive_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("kit.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    refused(lambda: unpack(buffer.getvalue(), "kit"), "kit-damaged")


def test_a_recipient_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError):
        Seal(recipients=("age1nothing",)).seal(b"x")


def test_what_a_reader_prints_before_a_code_is_left_out(sealed: bytes) -> None:
    """As zbarimg does; several pages in one file, Windows' line ends, and another code among."""
    codes = codes_of("0123456789abcdef", sealed)
    printed = "".join(f"QR-Code:{one}\r\n" for one in reversed(codes))
    assert joined(f"EAN-13:4006381333931\n{printed}".encode(), "scanned") == sealed


def test_a_scan_that_was_cut_off_does_not_replace_a_whole_one(sealed: bytes) -> None:
    codes = codes_of("0123456789abcdef", sealed)
    cut = codes[0][: len(codes[0]) // 2]
    only_the_head = codes[1].splitlines()[0]
    for text in ([*codes, cut, only_the_head], [cut, only_the_head, *codes]):
        assert joined("\n".join(text).encode(), "scanned") == sealed
    told = refused(lambda: joined("\n".join([*codes[1:], cut[:20]]).encode(), "x"), "kit-damaged")
    assert "these are missing: 1" in told


def test_a_text_without_a_code_is_told() -> None:
    told = refused(lambda: joined(b"STRONGROOM-KIT is its name\n", "scanned"), "kit-damaged")
    assert "no code of a kit is in it" in told
