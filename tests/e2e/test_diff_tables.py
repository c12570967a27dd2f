"""Two captures of a database, compared row by row, and only where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.undelete_ground import CONFIG, Ground, undelete_ground

pytestmark = pytest.mark.xdist_group("diff-tables")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with undelete_ground(tmp_path_factory.mktemp("diff-tables"), 15) as made:
        yield made


@pytest.fixture(scope="module")
def later(ground: Ground) -> str:
    """The id of a capture after several people have been there."""
    ground.sql(
        "DELETE FROM app.staff WHERE id = 6; INSERT INTO app.staff VALUES (7, 1, 'g'), (8, 1, 'h');"
        "UPDATE app.staff SET name = E'it''s\\nnew', boss = NULL WHERE id = 3;"
        "DELETE FROM app.trail WHERE id = 9; INSERT INTO app.trail VALUES ('2026-01-01', 1, 'y');"
        "INSERT INTO app.plain VALUES (3), (NULL); DELETE FROM app.plain WHERE x = 1;"
        "CREATE TABLE app.new (id int PRIMARY KEY); INSERT INTO app.new VALUES (1);"
        "DROP TABLE app.reminders; ALTER TABLE app.rooms ADD size int"
    )
    return ground.capture()


def test_the_rows_of_each_table_are_counted(ground: Ground, later: str) -> None:
    report = ground.place.json("diff", ground.snapshot, later)
    found = {one["table"]: one for one in report["tables"]}
    counts = {name: (one["added"], one["removed"], one["changed"]) for name, one in found.items()}
    assert counts == {
        "app.new": (1, 0, 0),
        "app.plain": (2, 1, None),
        "app.reminders": (0, 101, 0),
        "app.rooms": (0, 0, 0),
        "app.staff": (2, 1, 1),
        "app.trail": (1, 1, 0),
    }
    assert found["app.rooms"]["columns"] == ["+size"]
    assert all(one["rows"] == [] for one in report["tables"])
    assert any(path.endswith("app.staff.copy") for path in report["changed"])
    back = ground.place.json("diff", later, ground.snapshot)
    turned = {
        one["table"]: (one["removed"], one["added"], one["changed"]) for one in back["tables"]
    }
    assert turned == counts


def test_the_rows_are_listed_by_key(ground: Ground, later: str) -> None:
    words = ("diff", ground.snapshot, later, "--table", "staff", "--table", "app.trail", "--rows")
    report = ground.place.json(*words)
    found: dict[str, Any] = {one["table"]: one["rows"] for one in report["tables"]}
    assert found.keys() == {"app.staff", "app.trail"}
    assert found["app.staff"] == [
        {"what": "removed", "key": {"id": "6"}},
        {"what": "added", "key": {"id": "7"}},
        {"what": "added", "key": {"id": "8"}},
        {"what": "changed", "key": {"id": "3"},
         "columns": {"boss": ["2", None], "name": ["c", "it's\nnew"]}},
    ]  # fmt: skip
    assert found["app.trail"] == [
        {"what": "removed", "key": {"day": "2026-07-07", "id": "9"}},
        {"what": "added", "key": {"day": "2026-01-01", "id": "1"}},
    ]
    said = ground.place.run(*words).text.splitlines()
    assert "- app.staff  id = 6" in said
    assert "M app.staff  id = 3" in said
    assert r"""    name: 'c' -> "it's\nnew\"""".replace('\\"', '"') in said


def test_where_nothing_differs_no_sandbox_is_made(ground: Ground, later: str) -> None:
    ground.capture()
    # Whoever starts a server now fails.
    ground.place.write_config(CONFIG.replace("URL}", "URL, programs: nowhere}"))
    try:
        report = ground.place.json("diff", later, "latest:database")
        said = ground.place.run("diff", later, "latest:database").text
        stored = ground.place.json("diff", ground.snapshot, later, "--files-only")
        refused = ground.place.run("--json", "diff", ground.snapshot, later)
    finally:
        ground.place.write_config(CONFIG)
    assert report["tables"] == []
    assert "All tables have the same rows." in said
    assert stored["tables"] is None
    assert stored["changed"]
    assert refused.document["error"]["code"] == "client-programs"


def test_what_cannot_be_compared_is_refused(ground: Ground, later: str) -> None:
    for words, said in (
        ((ground.snapshot, later, "--table", "stuff"), "Did you mean staff"),
        ((ground.snapshot, later, "--table", "x.y"), "schema.table"),
        ((ground.snapshot, "latest:uploads", "--rows"), "two snapshots of a database"),
        ((ground.snapshot, later, "--files-only", "--rows"), "--help"),
    ):
        answer = ground.place.run("--json", "diff", *words)
        assert answer.status == 2, answer.text
        assert said in answer.document["error"]["hint"]
    mixed = ground.place.json("diff", ground.snapshot, "latest:uploads")
    assert mixed["tables"] is None
