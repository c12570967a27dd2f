"""Directory trees for tests: made with everything odd in them, and described independently.

`describe` shares no code with the product: it is the second opinion on whether two trees are the
same in the sense of invariant I1.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

ODD_NAMES = (
    b"plain.txt",
    b"with space",
    b'quote"quote',
    b"back\\slash",
    b"new\nline",
    b"tab\tand\rreturn",
    b"\a\b\f\v",
    b"control\x01\x1f\x7f",
    b"not utf-8 \xff\xfe\x80",
    b"half a character \xe2\x82",
    b"surrogate \xed\xa0\x80",
    b"less < more > and &",
    "line separator \u2028 and \u2029".encode(),
    "soft\u00adhyphen no-break\u00a0space \u200b \ufeff".encode(),
    "emoji 🏦👩‍🚀".encode(),
    "عربي 中文 ünïcödé e\u0301".encode(),
    "private \ue000 last \U0010fffd \U0010ffff \ufffd \ufffe".encode(),
    b"\\x41 \\n \\u00e9 'single' `back`",
    b"-rf",
    b"...",
    b"~",
    b"%s %d {}",
    b"n" * 255,
)
ODD_TIMES_NS = (
    0,
    1,
    999_999_999,
    1_000_000_001,
    -1,
    -1_000_000_000,
    1_700_000_000_123_456_789,
    1_700_000_000_100_000_000,
    2**31 * 1_000_000_000,
)


def make_odd_tree(root: Path, *, seed: int = 1) -> None:
    """A tree with every type of entry, name, mode, time, attribute and link (root's powers)."""
    draw = random.Random(seed)
    root.mkdir(parents=True)
    top = os.fsencode(root)
    for number, name in enumerate(ODD_NAMES):
        path = os.path.join(top, name)
        with open(path, "wb") as file:
            file.write(draw.randbytes(number * 211))
        os.symlink(name, os.path.join(top, b"link %d" % number))
    (root / "empty directory").mkdir()
    (root / "empty file").touch()
    deep = root / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "large").write_bytes(draw.randbytes(9 << 20))
    (deep / "twice").write_bytes((deep / "large").read_bytes()[: 3 << 20])
    (deep / "repeated").write_bytes(b"strongroom\n" * 300_000)
    make_sparse(root / "sparse")
    os.symlink("../nowhere", root / "dangling")
    os.symlink(b"\xff\xfe not utf-8 \xf0\x9f\x98", top + b"/odd target")
    os.symlink('quote" <&> \\ \u2028', root / "escaped target")
    _make_links(root)
    _make_special(root)
    _make_modes(root)
    _set_times(root)


def make_sparse(path: Path) -> None:
    """A file of 6 MiB with data in the middle and at neither end."""
    with path.open("wb") as file:
        file.seek(3 << 20)
        file.write(b"in the middle")
        file.truncate(6 << 20)


def _make_links(root: Path) -> None:
    first = root / "linked"
    first.write_bytes(b"one file, three names")
    os.link(first, root / "a" / "linked too")
    os.link(first, root / "zz linked")
    (root / "linked apart").write_bytes(b"one file, three names")


def _make_special(root: Path) -> None:
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "character", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.mknod(root / "block", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    os.mknod(root / "large numbers", stat.S_IFCHR | 0o600, os.makedev(0xABC, 0xDEF12))
    for name, value in ((b"user.plain", b"value"), (b"user.binary", bytes(range(256))),
                        (b"user.empty", b""), ("user.ünï".encode(), b"1"),
                        (b"trusted.of", b"root")):  # fmt: skip
        os.setxattr(root / "linked", name, value)
        os.setxattr(root / "a", name, value)
    os.setxattr(root / "dangling", b"trusted.link", b"yes", follow_symlinks=False)


def _make_modes(root: Path) -> None:
    for mode in (0o000, 0o400, 0o755, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o6111):
        (root / f"mode {mode:04o}").write_bytes(b"%o" % mode)
        os.chown(root / f"mode {mode:04o}", mode, mode + 1)
        os.chmod(root / f"mode {mode:04o}", mode)
        (root / f"dir {mode:04o}").mkdir()
        os.chmod(root / f"dir {mode:04o}", mode)
    os.chown(root / "dangling", 12345, 54321, follow_symlinks=False)
    os.chown(root / "a" / "b", 4_000_000_000, 3_999_999_999)


def _set_times(root: Path) -> None:
    for number, path in enumerate(sorted(walk(os.fsencode(root)), reverse=True)):
        time_ns = ODD_TIMES_NS[number % len(ODD_TIMES_NS)]
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


def make_socket(path: Path) -> None:
    """A socket, which no tool captures."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_plain_tree(root: Path, *, seed: int, files: int = 12, most_bytes: int = 40_000) -> None:
    """A small tree of ordinary files in a few folders."""
    draw = random.Random(seed)
    for number in range(files):
        path = root / f"folder {number % 3}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(draw.randrange(most_bytes)))


def walk(top: bytes) -> Iterator[bytes]:
    """Every path below a directory and the directory itself; links are not followed."""
    yield top
    for entry in os.scandir(top):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)
        else:
            yield entry.path


def describe(root: Path, *, top: bool = True) -> dict[bytes, tuple[object, ...]]:
    """What a tree is, in the sense of I1; two trees are the same when these are equal.

    Without `top` the root's own metadata is left out.
    """
    base = os.fsencode(root)
    links: dict[tuple[int, int], list[bytes]] = {}
    entries: dict[bytes, list[object]] = {}
    for path in walk(base):
        name = os.path.relpath(path, base)
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        if stat.S_ISSOCK(kind) or (name == b"." and not top):
            continue
        entry: list[object] = [
            kind,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            _xattrs(path),
        ]
        if not stat.S_ISLNK(kind):
            entry.append(stat.S_IMODE(status.st_mode))
        if stat.S_ISREG(kind):
            entry += [status.st_size, hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).digest()]
        elif stat.S_ISLNK(kind):
            entry.append(os.readlink(path))
        elif stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            entry.append(status.st_rdev)
        if status.st_nlink > 1 and not stat.S_ISDIR(kind):
            links.setdefault((status.st_dev, status.st_ino), []).append(name)
        entries[name] = entry
    for linked in links.values():
        for name in linked:
            entries[name].append(tuple(sorted(linked)))
    return {name: tuple(entry) for name, entry in sorted(entries.items())}


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    found = os.listxattr(path, follow_symlinks=False)
    return tuple(sorted((one, os.getxattr(path, one, follow_symlinks=False)) for one in found))
