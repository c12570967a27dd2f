"""Does docs/FORMAT.md say what the code does? Its numbers, its layout, its fields and tags."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

from strongroom.repository import FILES, ROWS, Node, Repository
from strongroom.repository import lock as lock_module
from strongroom.repository.crypto import SCRYPT_N, SCRYPT_P, SCRYPT_R
from strongroom.repository.index import MAX_BLOBS_PER_FILE
from strongroom.repository.storage import LocalStorage
from tests.house.ground import ROOT
from tests.support.repository_ground import PASSWORD, capture, names
from tests.support.tree_ground import make_plain_tree

TEXT = (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")


def says(words: str) -> bool:
    """Whether the page has these words, wherever its lines are broken."""
    return words in re.sub(r"\s+", " ", TEXT)


def size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"


def test_its_numbers_are_those_of_the_code() -> None:
    for profile in (FILES, ROWS):
        sizes = (profile.min_bytes, profile.average_bytes, profile.max_bytes)
        row = rf"^\| {profile.name} \| [^|]* \| {' / '.join(map(size, sizes))} \|$"
        assert re.search(row, TEXT, re.MULTILINE)
    assert says(f"(we write {SCRYPT_N}, {SCRYPT_R}, {SCRYPT_P})")
    assert says(f"at most {MAX_BLOBS_PER_FILE:,} blobs a file")
    assert lock_module._SETTLE_SECONDS == 0.2
    assert says("waits 200 ms")
    assert lock_module._REFRESH_SECONDS == 300
    assert says("every five minutes")
    assert timedelta(minutes=22.5) == lock_module._GIVE_UP_AFTER
    assert says("22½ minutes")


def test_its_layout_is_what_lies_on_the_disk(tmp_path: Path) -> None:
    make_plain_tree(tmp_path / "tree", seed=1)
    storage = LocalStorage(tmp_path / "store")
    repository = Repository.create(storage, PASSWORD, name="store")
    committed, _ = capture(repository, tmp_path / "tree")
    patterns = [
        cell.replace("AB", "[0-9a-f]{2}").replace("ID", "[0-9a-f]{64}")
        for row in re.findall(r"^\| (`.*?) \|", TEXT.partition("## Container")[0], re.MULTILINE)
        for cell in re.findall(r"`(.*?)`", row)
    ]
    assert len(patterns) == 6
    stored = [
        str(path.relative_to(tmp_path / "store"))
        for path in (tmp_path / "store").rglob("*")
        if path.is_file()
    ]
    assert len(stored) >= 5
    for name in stored:
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name
    (key,) = names(storage, "keys")
    for field in json.loads(storage.load(key)):
        assert f"`{field}`" in TEXT or field in ("created", "username", "hostname")
    fields = json.loads(repository.load_file(f"snapshots/{committed.snapshot.id}"))
    chapter = TEXT.partition("## Snapshots")[2].partition("## Locks")[0]
    missing = {name for name in fields if f"`{name}`" not in chapter}
    assert missing <= {"uid", "gid"}


def test_its_order_of_a_node_s_fields_is_ours() -> None:
    listed = re.search(r"`(name type [^`]*)`", TEXT)
    assert listed
    order = re.sub(r"[\[\]]", "", listed[1]).split()
    node = Node(b"a", "file", 0o100644, user="u", group="g", inode=1, device_id=1, size=1, links=1,
                linktarget=b"\xff", xattrs={b"user.a": b""}, device=1, subtree="ab")  # fmt: skip
    assert list(json.loads(node.encode())) == order


def test_every_tag_of_a_capture_is_listed() -> None:
    service = (ROOT / "src/strongroom/service/capture_run.py").read_text(encoding="utf-8")
    tags = re.search(r"def _tags.*?\]", service, re.DOTALL)
    assert tags
    chapter = TEXT.partition("**Tags**")[2].partition("**Trees by kind.**")[0]
    for tag in re.findall(r'"(\w+):?', tags[0]):
        assert f"`{tag}" in chapter, tag
