"""Directories without what is lost: what of them can be kept, word for word.

An entry stays with the very text that encodes it, fields of other tools included, unless its
directory is not in canonical form; only those that are lost go, and directories above them get
the new id of what is below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from strongroom.errors import IntegrityError
from strongroom.repository.tree import Node, decode_former, decode_tree, encode_tree


@dataclass(slots=True)
class _Frame:
    """A directory on its way: its nodes, and those below that are still to be rewritten."""

    tree: str
    content: bytes
    nodes: list[Node]
    left: list[str]


@dataclass(slots=True)
class TreeRewriting:
    """Rewrites trees, each once. `read` gives a tree's bytes, `put` stores one and gives its id."""

    read: Callable[[str], bytes]
    put: Callable[[bytes], str]
    lost_trees: frozenset[str]
    lost_data: frozenset[bytes]
    _made: dict[str, str] = field(default_factory=dict)
    _gone: dict[str, list[bytes]] = field(default_factory=dict)
    _changed: dict[str, list[tuple[bytes, str]]] = field(default_factory=dict)

    def rewrite(self, root: str) -> str:
        """The id of the tree without what is lost below it; the root itself must not be lost."""
        frames = [self._frame(root)]
        while frames:
            frame = frames[-1]
            if frame.left:
                subtree = frame.left.pop()
                if subtree not in self._made:
                    frames.append(self._frame(subtree))
                continue
            frames.pop()
            self._finish(frame)
        return self._made[root]

    def lost_below(self, root: str) -> Iterator[bytes]:
        """The paths that were taken out of a rewritten tree; directories end in a slash."""
        waiting = [(root, b"/")]
        while waiting:
            tree, path = waiting.pop()
            for name in self._gone.get(tree, ()):
                yield path + name
            for name, subtree in self._changed.get(tree, ()):
                waiting.append((subtree, path + name + b"/"))

    def _frame(self, tree: str) -> _Frame:
        content = self.read(tree)
        try:
            nodes = decode_tree(content, f"tree {tree[:12]}")
        except IntegrityError:
            nodes = []  # malformed, and whole: it stays as it is
        below = [one.subtree for one in nodes if one.subtree and one.subtree not in self.lost_trees]
        return _Frame(tree, content, nodes, below)

    def _finish(self, frame: _Frame) -> None:
        kept: list[Node] = []
        gone: list[bytes] = []
        changed: list[tuple[bytes, str]] = []
        for node in frame.nodes:
            if node.subtree in self.lost_trees:
                gone.append(node.name + b"/")
            elif self.lost_data.intersection(node.content):
                gone.append(node.name)
            else:
                kept.append(node)
                if node.subtree is not None and self._made[node.subtree] != node.subtree:
                    changed.append((node.name, node.subtree))
        if not gone and not changed:
            self._made[frame.tree] = frame.tree
            return
        self._gone[frame.tree], self._changed[frame.tree] = gone, changed
        texts = entry_texts(frame.content, kept)
        for node in kept:
            if node.subtree is not None:
                subtree = self._made[node.subtree]
                texts[node.name] = _leading_to(node, texts[node.name], subtree)
        self._made[frame.tree] = self.put(encode_tree(texts.items()))


def entry_texts(content: bytes, nodes: Iterable[Node]) -> dict[bytes, bytes]:
    """The text that encodes each of these nodes of a tree, as it stands there if it can be kept."""
    former = decode_former(content)
    return {
        one.name: former[one.name].encoded if one.name in former else one.encode() for one in nodes
    }


def _leading_to(node: Node, text: bytes, subtree: str) -> bytes:
    """The directory's text with another subtree, which stands at its end."""
    end = b'"subtree":"%s"}'
    if node.subtree and text.endswith(before := end % node.subtree.encode()):
        return text.removesuffix(before) + end % subtree.encode()
    return replace(node, subtree=subtree).encode()
