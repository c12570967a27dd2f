"""What a repaired snapshot lacks, listed in the snapshot itself: `/.strongroom/repaired.json`.

It is an ordinary file, so that stock tools keep it and show it. It holds no time of its own: the
same repair, made again, gives the same tree.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from strongroom.errors import IntegrityError
from strongroom.repository.pack import BlobType
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.tree import Node, decode_tree, encode_tree
from strongroom.repository.tree_rewriting import entry_texts

PLACE: Final = b"/.strongroom/repaired.json"
_FOLDER, _FILE = b".strongroom", b"repaired.json"
_FORMAT: Final = 1
_MOST_LISTED: Final = 100_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def with_record(
    read: Callable[[BlobType, bytes], bytes],
    put: Callable[[BlobType, bytes], bytes],
    snapshot: Snapshot,
    root: str,
    lacks: Sequence[str],
) -> str:
    """The root `root` of what was made of a snapshot, with the list of the paths that it lacks.

    Where something else stands in the list's place, the root stays as it is: the snapshot's tag
    tells that it was repaired.
    """
    nodes, texts = _directory(read, root)
    folder = nodes.get(_FOLDER)
    if folder is not None and folder.subtree is None:
        return root
    inner, inner_texts = _directory(read, folder.subtree) if folder else ({}, {})
    every = sorted({*_lacked(read, inner.get(_FILE)), *lacks})
    fields = {
        "format": _FORMAT,
        "snapshot": snapshot.original or snapshot.id,
        "count": len(every),
        "lacks": every[:_MOST_LISTED],
    }
    content = json.dumps(fields, indent=1, ensure_ascii=True).encode() + b"\n"
    record = _node(_FILE, "file", stat.S_IFREG | 0o600, snapshot)
    record.content, record.size = (put(BlobType.DATA, content),), len(content)
    inner_texts[_FILE] = record.encode()
    folder = folder or _node(_FOLDER, "dir", stat.S_IFDIR | 0o700, snapshot)
    folder.subtree = put(BlobType.TREE, encode_tree(inner_texts.items())).hex()
    texts[_FOLDER] = folder.encode()
    return put(BlobType.TREE, encode_tree(texts.items())).hex()


def _directory(
    read: Callable[[BlobType, bytes], bytes], tree: str | None
) -> tuple[dict[bytes, Node], dict[bytes, bytes]]:
    """The nodes of a directory by name, and the text of each."""
    if tree is None:
        return {}, {}
    content = read(BlobType.TREE, bytes.fromhex(tree))
    nodes = decode_tree(content, f"tree {tree[:12]}")
    return {one.name: one for one in nodes}, entry_texts(content, nodes)


def _lacked(read: Callable[[BlobType, bytes], bytes], record: Node | None) -> list[str]:
    """What an earlier repair has listed."""
    if record is None:
        return []
    try:
        content = b"".join(read(BlobType.DATA, one) for one in record.content)
        return [str(one) for one in json.loads(content)["lacks"]]
    except (IntegrityError, ValueError, KeyError, TypeError):
        return []


def _node(name: bytes, node_type: str, mode: int, snapshot: Snapshot) -> Node:
    time_ns = int((snapshot.time - _EPOCH).total_seconds()) * 1_000_000_000
    return Node(
        name,
        node_type,
        mode,
        mtime_ns=time_ns,
        ctime_ns=time_ns,
        uid=os.getuid(),
        gid=os.getgid(),
    )
