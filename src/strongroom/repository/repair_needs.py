"""What the snapshots of a damaged repository need, and who still has it.

Directories are read from wherever they are whole: a sound pack, what can be saved of a damaged
one, another repository. What nobody has is lost.
"""

from __future__ import annotations

from strongroom.errors import IntegrityError
from strongroom.repository.giver import Givers
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType
from strongroom.repository.repair_survey import Survey
from strongroom.repository.repository import Repository
from strongroom.repository.tree import Node, decode_tree


class Needs:
    """All that lies below some roots. `find` when the roots were added."""

    def __init__(self, repository: Repository, survey: Survey, givers: Givers) -> None:
        self._repository, self._survey, self._givers = repository, survey, givers
        self._seen: set[str] = set()
        self._lacking: set[bytes] = set()  # blobs of files
        self.suspects: set[str] = set()  # packs that were trusted and gave what does not verify
        self.fetched: dict[str, dict[tuple[BlobType, bytes], Location]] = {}  # by giver
        self.lost_trees: set[str] = set()
        self.lost_data: set[bytes] = set()
        self.malformed: set[str] = set()  # whole, and no directory that may be used

    def add(self, root: str) -> None:
        """Walk what lies below a tree, each directory once."""
        waiting = [root]
        while waiting:
            tree = waiting.pop()
            if tree in self._seen:
                continue
            self._seen.add(tree)
            content = self._content(tree)
            if content is None:
                self.lost_trees.add(tree)
                continue
            try:
                nodes = _decoded(tree, content)
            except IntegrityError:
                self.malformed.add(tree)
                continue
            for node in nodes:
                if node.subtree is not None:
                    waiting.append(node.subtree)
                for blob_id in node.content:
                    if self._survey.where(BlobType.DATA, blob_id) is None:
                        self._lacking.add(blob_id)

    def find(self) -> None:
        """Ask the other repositories for the blobs of files that are not whole here."""
        wanted = {(BlobType.DATA, blob_id) for blob_id in self._lacking}
        self.lost_data = set(self._lacking)
        for giver, locations in self._givers.find(wanted).items():
            theirs = self.fetched.setdefault(giver, {})
            for location in locations:
                theirs[BlobType.DATA, location.entry.id] = location
                self.lost_data.discard(location.entry.id)

    def read_tree(self, tree: str) -> list[Node]:
        """A directory; IntegrityError when it is lost or none."""
        content = self._content(tree)
        if content is None:
            raise IntegrityError("the directory is lost", subject=tree)
        return _decoded(tree, content)

    def _content(self, tree: str) -> bytes | None:
        tree_id = bytes.fromhex(tree)
        location = self._survey.where(BlobType.TREE, tree_id)
        if location is not None:
            try:
                return self._repository.read_at(location)
            except IntegrityError:
                self.suspects.add(location.pack)
        given = self._givers.read(BlobType.TREE, tree_id)
        if given is None:
            return None
        giver, place, content = given
        self.fetched.setdefault(giver, {})[BlobType.TREE, tree_id] = place
        return content


def _decoded(tree: str, content: bytes) -> list[Node]:
    return decode_tree(content, f"tree {tree[:12]}")
