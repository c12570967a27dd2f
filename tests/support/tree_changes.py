"""Single changes to restored files and code, and the finding that each must yield.

`make_tree` gives files what can be lost; paths are relative to the restored directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.code_ground import DECLARED, git, write
from tests.support.demo_ground import AS_ROOT

CONFIG = f"""\
version: 1
application: tms
sources:
  uploads: {{kind: files, path: uploads, required: [lpos]}}
  code: {{kind: git, path: app, untracked: [{", ".join(f'"{one}"' for one in DECLARED)}]}}
repositories:
  local: {{location: local, password: file:key}}
state: state
"""


def make_tree(uploads: Path) -> None:
    """Beside the usual files an empty directory, a link, a hard link, and an attribute."""
    (uploads / "empty").mkdir()
    (uploads / "latest.pdf").symlink_to("lpos/LPO-2.pdf")
    first = uploads / "lpos" / "LPO-1.pdf"
    os.link(first, uploads / "quotes" / "linked.pdf")
    os.setxattr(first, "user.checked", b"yes")


def keeping_time(path: Path, change: Callable[[Path], object]) -> None:
    """Make a change in a directory that the directory's own time does not show."""
    before = path.parent.stat()
    change(path)
    os.utime(path.parent, ns=(before.st_atime_ns, before.st_mtime_ns))


def _flip(path: Path) -> None:
    """Another byte, same size, same time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _point_elsewhere(path: Path) -> None:
    status = path.lstat()
    path.unlink()
    path.symlink_to("lpos/LPO-1.pdf")
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(path, ns=times, follow_symlinks=False)


def _split(path: Path) -> None:
    """The same file, no longer shared by two names."""
    beside = path.with_name("beside")
    shutil.copy2(path, beside)
    path.unlink()
    beside.rename(path)


def _give_away(path: Path) -> None:
    subprocess.run([*AS_ROOT, "chown", "1234", str(path)], check=True)


LPO_1, LPO_2, LINKED = "lpos/LPO-1.pdf", "lpos/LPO-2.pdf", "quotes/linked.pdf"
FILES: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "byte changed": (LPO_2, _flip, "tree-content", "differ"),
    "file cut short": (LPO_2, lambda at: os.truncate(at, 1000), "tree-content", "differ"),
    "file missing": (LPO_2, Path.unlink, "tree-missing", "the file is not there"),
    "extra file": ("lpos/new.pdf", Path.touch, "tree-extra", "not in the snapshot"),
    "mode": (LPO_2, lambda at: at.chmod(0o666), "tree-metadata", "mode 0666, not 0644"),
    "owner": (LPO_2, _give_away, "tree-metadata", "owner 1234:"),
    "time": (LPO_2, lambda at: os.utime(at, ns=(1, 1)), "tree-metadata", "modified at 1 ns"),
    "link target": ("latest.pdf", _point_elsewhere, "tree-metadata", "LPO-2.pdf"),
    "hard link split": (LINKED, _split, "tree-metadata", "hard links are split"),
    "attribute lost": (
        LPO_1, lambda at: os.removexattr(at, "user.checked"), "tree-metadata", "user.checked",
    ),
    "empty directory lost": ("empty", Path.rmdir, "tree-missing", "the dir is not there"),
    "odd name": (
        "quotes/Q 1\nodd.txt", lambda at: at.rename(at.with_name("Q 1 odd.txt")),
        "tree-missing", "not there",
    ),
}  # fmt: skip
# Where one change is seen at more than the place that was changed.
ALSO = {
    "hard link split": {("tree-metadata", LPO_1)},
    "attribute lost": {("tree-metadata", LINKED)},
    "file cut short": {("tree-metadata", LPO_2)},
    "odd name": {("tree-extra", "quotes/Q 1 odd.txt")},
}


def _lose_commit(at: Path) -> None:
    """The branch stays, its newest commit does not."""
    pack = next((at / ".git/objects/pack").glob("*.pack"))
    content = pack.read_bytes()
    shutil.rmtree(pack.parent)
    git(at, "unpack-objects", "-q", given=content)
    newest = git(at, "rev-parse", "HEAD")
    (at / ".git/objects" / newest[:2] / newest[2:]).unlink()


CODE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "commit missing": (_lose_commit, "code-damaged", ""),
    "branch set back": (
        lambda at: git(at, "branch", "-f", "next", "next~1"),
        "code-ref-differs", "refs/heads/next",
    ),
    "tag moved": (
        lambda at: git(at, "tag", "-f", "v1.0", "HEAD"), "code-ref-differs", "refs/tags/v1.0"
    ),
    "HEAD elsewhere": (
        lambda at: git(at, "symbolic-ref", "HEAD", "refs/heads/next"), "code-ref-differs", "HEAD"
    ),
    "tracked file modified": (
        lambda at: _flip(at / "public/index.php"), "tree-content", "public/index.php"
    ),
    "configuration lost": (
        lambda at: (at / "config/local.php").unlink(), "tree-missing", "config/local.php"
    ),
    "configuration changed": (
        lambda at: write(at / ".htaccess", "Options +Indexes\n"), "tree-content", ".htaccess"
    ),
    "configuration readable by all": (
        lambda at: (at / "config/local.php").chmod(0o644), "tree-metadata", "config/local.php"
    ),
    "configuration added": (
        lambda at: write(at / "config/extra.php", "<?php\n"), "tree-extra", "config/extra.php"
    ),
}  # fmt: skip
