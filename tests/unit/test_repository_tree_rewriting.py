"""Directories without what is lost: only what must change does."""

from __future__ import annotations

import hashlib

from strongroom.repository import Node
from strongroom.repository.tree import decode_tree, encode_tree
from strongroom.repository.tree_rewriting import TreeRewriting
from tests.support.tree_ground import ODD_NAMES

LOST, KEPT = b"\1" * 32, b"\2" * 32


class Store:
    """Trees by their ids, in memory."""

    def __init__(self) -> None:
        self.trees: dict[str, bytes] = {}
        self.put_now: list[str] = []

    def put(self, content: bytes) -> str:
        tree = hashlib.sha256(content).hexdigest()
        self.trees[tree] = content
        self.put_now.append(tree)
        return tree

    def add(self, *nodes: Node) -> str:
        return self.put(encode_tree((one.name, one.encode()) for one in nodes))

    def rewriting(self, *lost_trees: str) -> TreeRewriting:
        self.put_now = []
        lost = frozenset(lost_trees)
        return TreeRewriting(self.trees.__getitem__, self.put, lost, frozenset({LOST}))

    def names(self, tree: str) -> list[bytes]:
        return [one.name for one in decode_tree(self.trees[tree], tree)]


def file(name: bytes, *content: bytes) -> Node:
    return Node(name, "file", 0o100644, mtime_ns=1, content=content, size=len(content))


def folder(name: bytes, tree: str) -> Node:
    return Node(name, "dir", 0o40755, mtime_ns=1, subtree=tree)


def test_what_needs_nothing_lost_stays_the_same_tree() -> None:
    store = Store()
    root = store.add(folder(b"a", store.add(file(b"x", KEPT))), file(b"empty"))
    rewriting = store.rewriting()
    assert rewriting.rewrite(root) == root
    assert store.put_now == []
    assert list(rewriting.lost_below(root)) == []


def test_only_what_is_lost_goes_whatever_the_names() -> None:
    store = Store()
    inner = store.add(*(file(name, KEPT) for name in ODD_NAMES), file(b"gone", KEPT, LOST))
    sound = store.add(file(b"y", KEPT))
    lost = "ab" * 32
    nodes = [folder(b"in", inner), folder(b"sound", sound), folder(b"lost", lost)]
    root = store.add(*nodes, *(file(name, KEPT) for name in ODD_NAMES))
    rewriting = store.rewriting(lost)
    made = rewriting.rewrite(root)
    assert store.names(made) == sorted([b"in", b"sound", *ODD_NAMES])
    (below,) = [one for one in decode_tree(store.trees[made], "") if one.name == b"in"]
    assert below.subtree is not None
    assert store.names(below.subtree) == sorted(ODD_NAMES)
    assert sorted(rewriting.lost_below(root)) == [b"/in/gone", b"/lost/"]
    assert set(store.put_now) == {made, below.subtree}
    # The same nodes, captured so, would have given the same bytes.
    expected = [folder(b"in", below.subtree), nodes[1], *(file(name, KEPT) for name in ODD_NAMES)]
    assert store.add(*expected) == made


def test_fields_of_other_tools_are_kept() -> None:
    """Also in the text of a directory that gets another subtree."""
    store = Store()
    inner = store.add(file(b"gone", LOST), file(b"kept", KEPT))
    strange = b'"generic_attributes":{"windows.created":"AAA="},"content":'
    texts = [
        (one.name, one.encode().replace(b'"content":', strange))
        for one in (folder(b"in", inner), file(b"kept", KEPT))
    ]
    made = store.rewriting().rewrite(store.put(encode_tree(texts)))
    assert store.trees[made].count(strange) == 2
    assert inner.encode() not in store.trees[made]


def test_a_tree_in_another_form_is_written_in_ours() -> None:
    store = Store()
    content = encode_tree((one.name, one.encode()) for one in (file(b"a", LOST), file(b"b", KEPT)))
    spaced = content.replace(b'{"nodes":[', b'{ "nodes" : [ ')
    made = store.rewriting().rewrite(store.put(spaced))
    assert store.trees[made] == encode_tree([(b"b", file(b"b", KEPT).encode())])


def test_a_directory_that_may_not_be_used_is_left_as_it_is() -> None:
    store = Store()
    nodes = ((b"1", file(b"b", LOST).encode()), (b"2", file(b"a", KEPT).encode()))
    unsorted = store.put(encode_tree(nodes))
    root = store.add(folder(b"odd", unsorted), file(b"gone", LOST))
    made = store.rewriting().rewrite(root)
    (left,) = decode_tree(store.trees[made], "")
    assert left.subtree == unsorted


def test_a_path_as_deep_as_a_file_system_allows() -> None:
    store = Store()
    tree = store.add(file(b"gone", LOST))
    for _ in range(2_000):
        tree = store.add(folder(b"d", tree))
    rewriting = store.rewriting()
    rewriting.rewrite(tree)
    assert list(rewriting.lost_below(tree)) == [b"/" + b"d/" * 2_000 + b"gone"]
