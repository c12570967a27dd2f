"""The repository: a native implementation of restic's format, version 2.

It knows nothing of databases or applications: sources push streams and trees into a
`SnapshotWriter` and read them back through a `SnapshotView`. Facts and what we add to them:
docs/FORMAT.md.
"""

from strongroom.repository.chunker import FILES, ROWS, ChunkProfile
from strongroom.repository.crypto import decode_master_key
from strongroom.repository.file_reading import Content
from strongroom.repository.folder import Folder
from strongroom.repository.pack import BlobType
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot, SnapshotList
from strongroom.repository.storage import Storage, open_storage
from strongroom.repository.tree import Node
from strongroom.repository.view import SnapshotView
from strongroom.repository.writer import Committed, SnapshotWriter, WriterOptions

__all__ = [
    "FILES",
    "ROWS",
    "BlobType",
    "ChunkProfile",
    "Committed",
    "Content",
    "Folder",
    "Node",
    "Repository",
    "Snapshot",
    "SnapshotList",
    "SnapshotView",
    "SnapshotWriter",
    "Storage",
    "WriterOptions",
    "decode_master_key",
    "open_storage",
]
