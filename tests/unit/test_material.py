"""Material of others is pinned by digests of files and folders: what has changed is told apart."""

from __future__ import annotations

from pathlib import Path

from tests.support.material import digest_of


def test_a_digest_tells_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.sql").write_text("SELECT 1")
    (tmp_path / "two.sql").write_text("SELECT 2")
    whole, single = digest_of(tmp_path), digest_of(tmp_path / "two.sql")
    (tmp_path / "a" / "one.sql").rename(tmp_path / "a" / "uno.sql")
    renamed = digest_of(tmp_path)
    (tmp_path / "a" / "uno.sql").rename(tmp_path / "a" / "one.sql")
    assert digest_of(tmp_path) == whole != renamed
    (tmp_path / "two.sql").write_text("SELECT 3")
    assert digest_of(tmp_path) != whole
    assert digest_of(tmp_path / "two.sql") != single
