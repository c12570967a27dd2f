"""Rows that somebody deleted come back by key, with what they need and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.undelete_ground import Ground, undelete_ground

pytestmark = pytest.mark.xdist_group("undelete")


@pytest.fixture(scope="module", params=[15, 18])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    directory = tmp_path_factory.mktemp(f"undelete-{request.param}")
    with undelete_ground(directory, request.param) as ground:
        yield ground


@pytest.fixture
def ground(made: Ground) -> Ground:
    made.begin_anew()
    return made


def rows(report: dict[str, Any], state: str = "missing") -> dict[tuple[str, str, bool], int]:
    """How many rows of which table, why, and whether they are put back."""
    return {
        (one["table"].removeprefix("app."), one["because"], one["included"]): one["rows"]
        for one in report[state]
    }


def codes(report: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in report["findings"]:
        found.setdefault(one["code"], []).append(one["subject"])
    return found


def psql(ground: Ground, script: Path) -> subprocess.CompletedProcess[str]:
    """A real psql, as the operator would call it."""
    program = ground.server.cluster.programs.path("psql")
    arguments = [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", ground.url, "-f", str(script)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_nothing_is_gone(ground: Ground, tmp_path: Path) -> None:
    report = ground.undelete("app.invoices", "--output", tmp_path / "none.sql", "--apply")
    assert report["compared"] == 101
    assert report["missing"] == report["changed"] == report["findings"] == []
    assert report["sql"] == ""
    assert report["applied"] is False
    assert not (tmp_path / "none.sql").exists()
    said = ground.place.run("undelete", "database", "app.invoices")
    assert "Nothing of it is gone or changed." in said.text


def test_rows_come_back_as_they_were(ground: Ground) -> None:
    before = ground.contents()
    ground.sql("DELETE FROM app.lines WHERE invoice <= 40; DELETE FROM app.reminders;"
               "DELETE FROM app.invoices WHERE id <= 40")  # fmt: skip
    lost = ground.contents()
    report = ground.undelete("invoices")
    assert rows(report) == {("invoices", "asked", True): 40, ("lines", "child", False): 120,
                            ("reminders", "child", False): 40}  # fmt: skip
    assert codes(report) == {"undelete-children": ["app.lines", "app.reminders"]}
    assert report["missing"][0]["keys"][:2] == [{"id": "1"}, {"id": "2"}]
    assert "OVERRIDING SYSTEM VALUE" in report["sql"]
    assert ground.contents() == lost, "it only reads until it is told to apply"
    again = ground.undelete("app.invoices")
    assert again["sql"] == report["sql"], "the same plan gives the same bytes"
    done = ground.undelete(
        "app.invoices", "--apply", "--expect", report["sha256"][:12], "--reason", "Ticket 17"
    )
    assert (done["applied"], done["inserted"], done["updated"]) == (True, 40, 0)
    assert ground.contents()["invoices"] == before["invoices"]
    assert ground.contents()["lines"] == lost["lines"]
    entry = next(one for one in ground.place.ledger.entries() if one.seq == done["evidence"]["seq"])
    assert entry.kind == "undelete"
    assert entry.fields["reason"] == "Ticket 17"
    assert entry.fields["sql_sha256"] == report["sha256"]
    trace = [one.kind for one in ground.place.ledger.entries()][-3:]
    assert trace == ["command-begun", "undelete", "command"]
    assert report.keys() == done.keys() >= {
        "missing", "changed", "sql", "sha256", "applied", "findings", "stages", "evidence"
    }  # fmt: skip
    ledger = ground.place.ledger.path.read_text()
    assert "$strongroom$" not in ledger
    assert "@example.com" not in ledger


def test_children_come_with_their_parents_and_parents_with_theirs(ground: Ground) -> None:
    before = ground.contents()
    ground.sql("DELETE FROM app.customers WHERE email <= 'c12'")
    lost = ground.contents()
    assert len(lost["lines"]) < len(before["lines"])
    # One row of the youngest generation needs all that are above it.
    one = ground.undelete("app.lines", "--where", "place = 1 AND invoice = (SELECT min(i.id) FROM"
                          " app.invoices i JOIN app.customers c ON c.id = i.customer"
                          " WHERE c.email <= 'c12') -- the first")  # fmt: skip
    assert rows(one) == {
        ("lines", "asked", True): 1,
        ("invoices", "parent", True): 1,
        ("customers", "parent", True): 1,
    }
    assert codes(one) == {"undelete-parents": ["app.invoices", "app.customers"]}
    sql = one["sql"]
    assert (
        sql.index('"app"."customers"') < sql.index('"app"."invoices"') < sql.index('"app"."lines"')
    )
    # And the oldest brings all that went with it, when that is wanted.
    everything = ground.undelete("app.customers", "--with-children", "--changed", "--apply")
    assert rows(everything, "changed") == {
        ("reminders", "child", True): len(before["invoices"]) - len(lost["invoices"])
    }
    assert ground.contents() == before


def test_a_column_that_was_emptied_is_offered_and_left(ground: Ground) -> None:
    before = ground.contents()
    ground.sql("DELETE FROM app.invoices WHERE id IN (3, 4)")
    report = ground.undelete("app.invoices", "--with-children", "--apply")
    assert rows(report, "changed") == {("reminders", "child", False): 2}
    assert codes(report) == {"undelete-children": ["app.reminders"]}
    after = ground.contents()
    assert after["lines"] == before["lines"]
    assert after["reminders"] != before["reminders"]


def test_changed_rows_are_listed_and_set_back_only_when_asked(
    ground: Ground, tmp_path: Path
) -> None:
    before = ground.contents()
    ground.sql("UPDATE app.invoices SET note = E'--\\n\\'; DROP TABLE app.plain; --', total = NULL,"
               " tags = '{}' WHERE id = 7; UPDATE app.invoices SET ratio = 3 WHERE id = 8;"
               " DELETE FROM app.reminders WHERE id = 1")  # fmt: skip
    listed = ground.undelete("app.invoices")
    assert rows(listed, "changed") == {("invoices", "asked", False): 2}
    assert listed["sql"] == ""
    script = tmp_path / "back.sql"
    report = ground.undelete("app.invoices", "--changed", "--output", script)
    text = script.read_text()
    assert report["sql"] is None
    assert report["sha256"] in ground.place.ledger.path.read_text()
    assert script.stat().st_mode & 0o777 == 0o600
    update = text[text.index("UPDATE") : text.index("'7';")]
    assert '"total"' in update
    assert '"state"' not in update, "only what differs is set"
    (now,) = [one for one in text.splitlines() if one.startswith("-- now:") and "DROP" in one]
    assert "\\n" in now
    answer = psql(ground, script)
    assert answer.returncode == 0, answer.stderr
    after = ground.contents()
    assert after["invoices"] == before["invoices"]
    assert after["reminders"] != before["reminders"]
    # Once more, the rows are no longer what was compared: nothing happens.
    again = psql(ground, script)
    assert again.returncode != 0
    assert "rows of app.invoices have changed since" in again.stderr


def test_psql_puts_back_what_apply_does(ground: Ground, tmp_path: Path) -> None:
    before = ground.contents()
    ground.sql('DELETE FROM app.customers; DELETE FROM app."Odd.table ""x"""; TRUNCATE app.trail;'
               "DELETE FROM app.staff")  # fmt: skip
    for number, (table, more) in enumerate(
        (("app.customers", ("--with-children", "--changed")), ('app.Odd.table "x"', ()),
         ("trail", ()), ("staff", ()))
    ):  # fmt: skip
        script = tmp_path / f"{number}.sql"
        answer = ground.place.run(
            "undelete", "database", table, "--snapshot", ground.snapshot, *more
        )
        assert answer.status == 0
        script.write_bytes(answer.out)
        done = psql(ground, script)
        assert done.returncode == 0, done.stderr
        refused = psql(ground, script)
        assert refused.returncode != 0
    assert ground.contents() == before


def test_rows_that_refer_to_each_other_come_back_together(ground: Ground) -> None:
    before = ground.contents()
    ground.sql("BEGIN; SET CONSTRAINTS app.in_room DEFERRED; DELETE FROM app.rooms WHERE id > 1;"
               "DELETE FROM app.heads WHERE id > 1; COMMIT")  # fmt: skip
    report = ground.undelete("app.rooms", "--where", "id IN (2, 3)", "--apply")
    assert rows(report) == {("rooms", "asked", True): 2, ("heads", "parent", True): 2}
    ground.undelete("app.heads", "--apply")
    assert ground.contents() == before


def test_a_long_line_of_bosses_comes_back_from_the_top(ground: Ground) -> None:
    ground.begin_anew()
    ground.sql("INSERT INTO app.staff SELECT n, CASE WHEN n % 700 = 0 OR n = 5000 THEN NULL"
               " ELSE n + 1 END, 'x' FROM generate_series(100, 5000) n")  # fmt: skip
    # Two circles in it, a small and a large one.
    ground.sql("UPDATE app.staff SET boss = 4999 WHERE id = 5000")
    ground.sql("UPDATE app.staff SET boss = 100 WHERE id = 700")
    kept = ground.sql("SELECT * FROM app.staff ORDER BY id")
    captured = ground.capture()
    ground.sql("TRUNCATE app.staff CASCADE")
    report = ground.undelete("app.staff", "--snapshot", captured, "--apply")
    assert report["inserted"] == 4907
    assert ground.sql("SELECT * FROM app.staff ORDER BY id") == kept


def test_another_snapshot_is_taken_when_it_is_named(ground: Ground) -> None:
    ground.sql("INSERT INTO app.staff VALUES (50, 1, 'new')")
    later = ground.capture()
    ground.sql("DELETE FROM app.staff WHERE id = 50")
    assert rows(ground.undelete("staff")) == {}
    assert rows(ground.undelete("staff", "--snapshot", later)) == {("staff", "asked", True): 1}


def test_what_cannot_be_meant_is_refused(ground: Ground, tmp_path: Path) -> None:
    taken = tmp_path / "taken.sql"
    taken.touch()
    ground.sql("DROP TABLE app.reminders")
    for words, status, said in (
        (("nowhere",), 2, "the snapshot has no such table"),
        (("app.trail_1",), 2, "it is a partition of app.trail"),
        (("app.plain",), 5, "nothing tells its rows apart"),
        (("app.reminders",), 5, "the live database has no such table"),
        (("app.staff", "--where", "id ="), 2, "syntax error"),
        (("app.staff", "--where", "colour = 1"), 2, "colour"),
        (("app.staff", "--where", "true); DROP TABLE app.staff; SELECT (1"), 2, "--where"),
        (("app.staff", "--where", "name = pg_catalog.pg_advisory_lock(1)::text OR"
          " pg_catalog.nextval('app.invoices_id_seq') > 0"), 2, "read-only"),
        (("app.staff", "--output", taken), 5, "it exists already"),
        (("app.staff", "--apply", "--expect", "ab"), 2, "digits"),
        (("app.staff", "--expect", "abcdefgh"), 2, "--apply"),
        (("app.staff", "--target", "postgresql://a:secret@h/d"), 2, "password"),
    ):  # fmt: skip
        answer = ground.answer(*words)
        assert answer.status == status, (words, answer.text, answer.err)
        assert said in answer.document["error"]["message"] + answer.document["error"]["hint"]
        assert "secret" not in answer.text
    refused = ground.place.run("--json", "undelete", "uploads", "t")
    assert refused.status == 2
    assert "rows are of databases" in refused.document["error"]["message"]


def test_sql_that_is_not_the_one_that_was_read_is_not_applied(ground: Ground) -> None:
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    read = ground.undelete("app.staff")
    ground.sql("DELETE FROM app.staff WHERE id = 3")
    answer = ground.answer("app.staff", "--apply", "--expect", read["sha256"])
    assert answer.status == 5
    assert answer.document["error"]["code"] == "rows-moved"
    assert ground.sql("SELECT count(*) FROM app.staff") == "4"
    last = list(ground.place.ledger.entries())[-2:]
    assert [one.kind for one in last] == ["undelete-failed", "command"]


def test_what_others_wrote_in_the_meantime_stays(ground: Ground) -> None:
    before = ground.contents()
    ground.sql("DELETE FROM app.customers WHERE email = 'c1@example.com';"
               "INSERT INTO app.customers"
               " VALUES (gen_random_uuid(), 'c1@example.com', 'new')")  # fmt: skip
    answer = ground.answer("app.customers", "--apply")
    assert answer.status == 5
    assert answer.document["error"]["code"] == "target-refused"
    assert "a live row of app.customers has the same values" in answer.text
    assert "c1@example.com" not in answer.document["error"]["message"]
    ground.sql(
        "UPDATE app.customers SET email = 'other@example.com' WHERE \"Full \"\"name\" = 'new'"
    )
    ground.undelete("app.customers", "--apply")
    after = ground.contents()["customers"]
    assert set(before["customers"]) < set(after)
    assert len(after) == 21
