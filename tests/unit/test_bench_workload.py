"""The benchmark's workloads are the same on every machine, and as large as they say."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

from bench import files_workload
from bench.database_tables import BY_NAME, TABLES, lines, rows_at
from bench.files_suite import first_difference


def test_same_seed_gives_the_same_tree_and_the_same_next_day(tmp_path: Path) -> None:
    trees = [tmp_path / "one", tmp_path / "two"]
    changes = []
    for tree in trees:
        files_workload.make_files(tree, seed=7, count=120)
        changes.append([files_workload.next_day(tree, seed=7, day=day) for day in (1, 2)])
    # Folders' times are the only thing that hangs on when it was made.
    for tree in trees:
        for folder in tree.iterdir():
            _set_time(folder)
    assert first_difference(*trees) is None
    assert changes[0] == changes[1] == [files_workload.Change(1, 1, 1)] * 2


def test_another_seed_gives_another_tree(tmp_path: Path) -> None:
    for seed in (1, 2):
        files_workload.make_files(tmp_path / str(seed), seed=seed, count=4)
    assert first_difference(tmp_path / "1", tmp_path / "2") is not None


def test_a_difference_in_one_byte_is_seen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files_workload.make_files(tmp_path / name, seed=1, count=4)
        for folder in (tmp_path / name).iterdir():
            _set_time(folder)
    path = tmp_path / "two" / "lpos" / "document-000002.pdf"
    facts = path.stat()
    with path.open("r+b") as stream:
        stream.seek(100)
        byte = stream.read(1)
        stream.seek(100)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    difference = first_difference(tmp_path / "one", tmp_path / "two")
    assert difference is not None
    assert difference.startswith("lpos/document-000002.pdf: ")


def test_files_are_about_as_large_and_incompressible_as_said(tmp_path: Path) -> None:
    total = files_workload.make_files(tmp_path / "tree", seed=1, count=300)
    packed = sum(len(zlib.compress(path.read_bytes(), 1)) for path in tmp_path.rglob("*.pdf"))
    assert 80_000 < total / 300 < 140_000
    assert 0.62 < packed / total < 0.85


def test_tiny_files_are_tiny(tmp_path: Path) -> None:
    total = files_workload.make_tiny(tmp_path / "tiny", seed=1, count=1500)
    sizes = [path.stat().st_size for path in (tmp_path / "tiny").rglob("*.txt")]
    assert len(sizes) == 1500
    assert sum(sizes) == total
    assert min(sizes) >= 120
    assert max(sizes) <= 280


def test_rows_do_not_hang_on_the_machine() -> None:
    digest = hashlib.sha256()
    for table in TABLES:
        for block in lines(table, seed=1, scale=0.001, first=1, count=50):
            digest.update(block)
    assert digest.hexdigest() == "1c721f2eb1c30dd5fe668cefb35b093401fecb640ad7f0fd8d2fcdd12dc7877d"


def test_every_table_makes_rows_with_all_its_columns() -> None:
    assert len(TABLES) == 15
    for table in TABLES:
        text = b"".join(lines(table, seed=1, scale=0.001, first=1, count=45)).decode()
        rows = [line.split("\t") for line in text.splitlines()]
        assert len(rows) == 45, table.name
        assert {len(row) for row in rows} == {len(table.columns)}, table.name
        assert [row[0] for row in rows] == [str(key) for key in range(1, 46)], table.name
        assert "\\" not in text, table.name


def test_references_stay_within_the_other_table() -> None:
    for table in TABLES:
        places = {name: place for place, (name, _, _) in enumerate(table.columns)}
        first = rows_at(table, 0.001) + 1  # rows that a later day adds
        text = b"".join(lines(table, seed=1, scale=0.001, first=first, count=30)).decode()
        for column, other in table.references:
            keys = [int(line.split("\t")[places[column]]) for line in text.splitlines()]
            assert min(keys) >= 1, (table.name, column)
            assert max(keys) <= rows_at(BY_NAME[other], 0.001), (table.name, column)


def test_a_day_touches_about_one_percent_of_the_rows() -> None:
    rows = sum(table.rows for table in TABLES)
    touched = sum(table.rows * (table.grows + table.recent + table.anywhere) for table in TABLES)
    assert 0.009 < touched / rows < 0.011


def _set_time(folder: Path) -> None:
    os.utime(folder, (1_700_000_000, 1_700_000_000))
