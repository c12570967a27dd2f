"""A target without room: a clear error, and nothing half-done is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.sources.code import CodeSource
from tests.support.code_ground import DECLARED, Ground, commit, make_application, write


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds 512 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.fail("this needs root, which CI has")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("large", ["public/film.bin", "packed/same.txt", "config/film.php"])
def test_a_full_disk_is_the_targets_fault(tmp_path: Path, small: Path, large: str) -> None:
    """It runs full while the bundle, the work tree or the declared files are written."""
    application = make_application(tmp_path / "app")
    packed = large.startswith("packed/")  # a small pack, a large file
    write(application / large, b"the same\n" * (1 << 17) if packed else os.urandom(1 << 20))
    if not large.startswith("config/"):
        commit(application)
    source = CodeSource("code", application, untracked=DECLARED, allow_secrets=[large])
    _, view, _ = Ground().capture(source)
    with pytest.raises(TargetError) as caught:
        source.restore(view, str(small / "restored"))
    assert "no space" in str(caught.value).lower()
    assert list(small.iterdir()) == []
