"""What the live database has become since: other columns, triggers, hidden rows, few rights; and
what happens when it changes while rows are put back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.postgres.programs import find_programs
from tests.e2e.command_line import Answer
from tests.e2e.test_undelete import codes, rows
from tests.support.failure_ground import small_disk
from tests.support.undelete_ground import CONFIG, Ground, in_background, undelete_ground

pytestmark = pytest.mark.xdist_group("undelete-live")

_PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with undelete_ground(tmp_path_factory.mktemp("undelete-live"), 15) as ground:
        yield ground


@pytest.fixture
def ground(made: Ground) -> Ground:
    made.begin_anew()
    return made


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_disk_without_room_for_the_sql_is_told_before_anything_changes(
    ground: Ground, tmp_path: Path
) -> None:
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    with small_disk(tmp_path / "small", "16k"):
        output = tmp_path / "small" / "back.sql"
        filler = output.with_name("filler")
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(1 << 20))
        answer = ground.answer("app.staff", "--apply", "--output", output)
        assert (answer.status, answer.document["error"]["code"]) == (5, "target-refused")
        assert [one.name for one in output.parent.iterdir()] == ["filler"]
        assert ground.sql("SELECT count(*) FROM app.staff WHERE id = 6") == "0"
        filler.unlink()
        assert ground.undelete("app.staff", "--apply", "--output", output)["applied"]
        assert 'INSERT INTO "app"."staff"' in output.read_text()
    assert ground.sql("SELECT count(*) FROM app.staff WHERE id = 6") == "1"


def test_the_configuration_may_demand_a_reason(ground: Ground) -> None:
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    ground.place.write_config(CONFIG + "restore: {reason: required}\n")
    try:
        assert ground.undelete("app.staff")["sql"]
        answer = ground.answer("app.staff", "--apply")
        assert "demands that a restore says why" in answer.document["error"]["message"]
        assert ground.sql("SELECT count(*) FROM app.staff WHERE id = 6") == "0"
        assert ground.undelete("app.staff", "--apply", "--reason", "Ticket 17")["applied"]
    finally:
        ground.place.write_config(CONFIG)


def test_rows_that_are_not_put_back_leave_no_file(ground: Ground, tmp_path: Path) -> None:
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    output = tmp_path / "back.sql"
    words = ("app.staff", "--apply", "--output", output)
    assert ground.answer(*words, "--expect", "0" * 64).document["error"]["code"] == "rows-moved"
    assert not output.exists()
    assert ground.undelete(*words)["applied"]


# What moves meanwhile


@pytest.mark.parametrize(
    ("meanwhile", "words", "moved"),
    [
        # A row that was gone is made again.
        ("INSERT INTO app.staff VALUES (6, 1, 'somebody')", (), True),
        # A row that is to be set back is changed once more, or goes.
        ("UPDATE app.staff SET boss = 1 WHERE id = 3", ("--changed",), True),
        ("DELETE FROM app.staff WHERE id = 3", ("--changed",), True),
        # What has nothing to do with it does not matter.
        ("INSERT INTO app.staff VALUES (77, 1, 'somebody')", (), False),
    ],
)
def test_rows_that_moved_meanwhile_stop_all_of_it(
    ground: Ground, meanwhile: str, words: tuple[str, ...], moved: bool
) -> None:
    ground.sql("DELETE FROM app.staff WHERE id IN (5, 6) OR boss = 5;"
               "UPDATE app.staff SET name = 'other' WHERE id = 3")  # fmt: skip
    with ground.holding(meanwhile) as other:
        thread, answers = in_background(ground.answer, "app.staff", "--apply", *words)
        if moved:
            until(ground.waiting)
        else:
            thread.join()
        other.commit()
        thread.join()
    (answer,) = answers
    assert isinstance(answer, Answer), answer
    if not moved:
        assert answer.status == 0, answer.text
        return
    assert answer.status == 5, answer.text
    assert answer.document["error"]["code"] == "rows-moved"
    assert ground.sql("SELECT count(*) FROM app.staff WHERE id IN (4, 5)") == "0"
    last = list(ground.place.ledger.entries())[-2]
    assert (last.kind, last.fields["error"]["code"]) == ("undelete-failed", "rows-moved")


def test_when_the_others_take_it_back_rows_are_put_back(ground: Ground) -> None:
    before = ground.contents()
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    with ground.holding("INSERT INTO app.staff VALUES (6, 1, 'somebody')") as other:
        thread, answers = in_background(ground.answer, "app.staff", "--apply")
        until(ground.waiting)
        other.rollback()
        thread.join()
    assert answers[0].status == 0, answers[0].text
    assert ground.contents() == before


def test_killed_in_the_middle_nothing_has_changed(ground: Ground) -> None:
    ground.sql("DELETE FROM app.customers")
    lost = ground.contents()
    words = [
        sys.executable, "-m", "strongroom", "--config", str(ground.place.config),
        "undelete", "database", "app.customers", "--with-children", "--apply",
        "--snapshot", ground.snapshot,
    ]  # fmt: skip
    # The customers are back already when it waits for somebody's invoice.
    customer = "SELECT 'c0ffee00-0000-4000-8000-000000000000'::uuid"
    with ground.holding(
        f"INSERT INTO app.customers SELECT ({customer}), 'x@example.com', ''",
        f"INSERT INTO app.invoices (id, customer) OVERRIDING SYSTEM VALUE SELECT 1, ({customer})",
    ) as other:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(ground.waiting)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        other.rollback()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'tms'"
    until(lambda: ground.server.sql("postgres", sessions) == "0")
    assert ground.contents() == lost
    begun = list(ground.place.ledger.entries())[-1]
    assert (begun.kind, begun.fields["command"]) == ("command-begun", "undelete")
    done = ground.undelete("app.customers", "--with-children", "--apply")
    assert done["inserted"] == 20 + 101 + 303


def test_a_lock_that_stays_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    from strongroom.postgres import undelete_script

    monkeypatch.setattr(undelete_script, "LOCK_TIMEOUT", "200ms")
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    lock = "LOCK TABLE app.staff IN SHARE MODE"
    with ground.holding(lock):
        answer = ground.answer("app.staff", "--apply")
    assert answer.status == 4, answer.text
    assert answer.document["error"]["code"] == "busy"


# Who may


def let_read(ground: Ground, name: str) -> None:
    """A role that may read all tables and do nothing else."""
    ground.sql(f"DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN;"
               f"GRANT USAGE ON SCHEMA app TO {name};"
               f"GRANT SELECT ON ALL TABLES IN SCHEMA app TO {name}")  # fmt: skip


def as_role(ground: Ground, name: str) -> str:
    return ground.url.replace("postgres@", f"{name}@")


def test_rows_that_are_hidden_are_never_taken_for_gone(ground: Ground) -> None:
    let_read(ground, "seeing")
    ground.sql("ALTER TABLE app.invoices ENABLE ROW LEVEL SECURITY;"
               "CREATE POLICY own ON app.invoices USING (id < 10)")  # fmt: skip
    answer = ground.answer("app.invoices", "--target", as_role(ground, "seeing"))
    assert answer.status == 13, answer.text
    error = answer.document["error"]
    assert error["code"] == "database-privilege"
    assert "row-level security" in error["message"]
    assert "BYPASSRLS" in error["hint"]
    # So are those of a table that has to be asked whether it has the parents.
    ground.sql("DELETE FROM app.lines WHERE place = 2")
    answer = ground.answer("app.lines", "--target", as_role(ground, "seeing"))
    assert answer.status == 13, answer.text
    # Whoever sees all of them is not kept.
    assert rows(ground.undelete("app.invoices")) == {}


def test_a_role_that_may_not_write_is_told_before_anything_is_tried(ground: Ground) -> None:
    let_read(ground, "reading")
    ground.sql("DELETE FROM app.staff WHERE id = 6; UPDATE app.staff SET name = 'x' WHERE id = 1")
    target = ("--target", as_role(ground, "reading"), "--changed")
    report = ground.undelete("app.staff", *target)
    told = [one["message"] for one in report["findings"] if one["code"] == "undelete-obstacle"]
    assert told == [
        "reading may not INSERT there; another role has to",
        "reading may not UPDATE there; another role has to",
    ]
    answer = ground.answer("app.staff", "--apply", *target)
    assert answer.status == 13
    assert "reading may not INSERT in app.staff" in answer.document["error"]["message"]
    ground.sql("REVOKE SELECT ON app.staff FROM reading")
    answer = ground.answer("app.staff", *target)
    assert answer.status == 13
    assert "permission denied for table staff" in answer.document["error"]["message"]
    missing = ground.answer("app.staff", "--target", ground.server.url("nowhere"))
    assert missing.document["error"]["code"] == "database-missing"


# What has become of the table


def test_columns_that_came_and_went_are_told(ground: Ground) -> None:
    ground.sql("DELETE FROM app.staff WHERE id = 6; ALTER TABLE app.staff ALTER id TYPE bigint,"
               " DROP COLUMN name, ADD COLUMN since date DEFAULT '2026-01-01'")  # fmt: skip
    report = ground.undelete("app.staff", "--apply")
    assert ground.sql("SELECT id, boss, since FROM app.staff WHERE id = 6") == "6|6|2026-01-01"
    told = [one["message"] for one in report["findings"] if one["code"] == "undelete-columns"]
    assert any("dropped since" in one and "name" in one for one in told)
    assert any("added since" in one and "since" in one for one in told)
    assert any("id was integer and is bigint" in one for one in told)
    ground.sql("DELETE FROM app.staff WHERE id = 6;"
               "ALTER TABLE app.staff ADD must text NOT NULL DEFAULT '';"
               "ALTER TABLE app.staff ALTER must DROP DEFAULT")  # fmt: skip
    report = ground.undelete("app.staff")
    assert "undelete-obstacle" in codes(report)
    answer = ground.answer("app.staff", "--apply")
    assert answer.status == 5
    assert "the database refuses the rows" in answer.document["error"]["message"]


def test_a_parent_that_is_nowhere_is_told(ground: Ground) -> None:
    ground.sql("CREATE TABLE app.groups (id int PRIMARY KEY); INSERT INTO app.groups VALUES (1);"
               "DELETE FROM app.lines; DELETE FROM app.reminders;"
               "ALTER TABLE app.lines DROP CONSTRAINT lines_invoice_fkey;"
               "ALTER TABLE app.lines ADD FOREIGN KEY (place) REFERENCES app.groups")  # fmt: skip
    report = ground.answer("app.lines").document
    assert codes(report)["undelete-unchecked"] == ["app.groups"]
    # The row that is referred to exists, under the key of another one.
    ground.begin_anew()
    ground.sql("DELETE FROM app.lines WHERE invoice = 5; DELETE FROM app.reminders;"
               "ALTER TABLE app.lines DROP CONSTRAINT lines_invoice_fkey;"
               "ALTER TABLE app.invoices ADD UNIQUE (code, id);"
               "DELETE FROM app.invoices WHERE id = 5;")  # fmt: skip
    ground.sql("ALTER TABLE app.lines ADD FOREIGN KEY (invoice) REFERENCES app.invoices NOT VALID")
    assert rows(ground.undelete("app.lines", "--apply")) == {
        ("lines", "asked", True): 3, ("invoices", "parent", True): 1
    }  # fmt: skip


def test_a_child_that_cannot_be_compared_leaves_it_unknown(ground: Ground) -> None:
    ground.sql("ALTER TABLE app.lines DROP CONSTRAINT lines_pkey; DROP TABLE app.reminders;"
               "DELETE FROM app.invoices WHERE id = 2")  # fmt: skip
    answer = ground.answer("app.invoices", "--apply")
    assert answer.status == 42, answer.text
    assert codes(answer.document)["undelete-unchecked"] == ["app.lines", "app.reminders"]
    assert ground.sql("SELECT count(*) FROM app.invoices WHERE id = 2") == "1"


def test_a_table_that_the_sandbox_cannot_make_is_told(ground: Ground) -> None:
    ground.sql("CREATE COLLATION app.german (provider = icu, locale = 'de');"
               "CREATE TABLE app.words (id int PRIMARY KEY, word text COLLATE app.german,"
               " who int REFERENCES app.staff ON DELETE CASCADE);"
               "INSERT INTO app.words VALUES (1, 'Wort', 6)")  # fmt: skip
    first = ground.capture()
    ground.sql("DELETE FROM app.staff WHERE id = 6")
    second = ground.capture()
    # These programs were built without ICU.
    programs = find_programs(18, purpose="server").directory
    ground.place.write_config(CONFIG.replace("URL}", f"URL, programs: {programs}}}"))
    try:
        alone = ground.answer("app.words", "--snapshot", first)
        parent = ground.answer("app.staff", "--snapshot", first)
        compared = ground.place.run("--json", "diff", first, second, "--table", "app.words")
    finally:
        ground.place.write_config(CONFIG)
    assert alone.status == 10, alone.text
    assert "the sandbox cannot make it" in alone.document["error"]["message"]
    assert parent.status == 42, parent.text
    assert codes(parent.document)["undelete-unchecked"] == ["app.words"]
    assert rows(parent.document)["staff", "asked", True] == 1
    assert compared.status == 42, compared.text
    (table,) = compared.document["tables"]
    assert (table["added"], table["removed"], table["changed"]) == (None, None, None)
    assert "ICU" in table["unchecked"]


TRIGGER = """\
CREATE TABLE public.noted (id int);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO noted VALUES (NEW.id); {} END $$;
CREATE TRIGGER noting {} INSERT ON app.staff FOR EACH ROW EXECUTE FUNCTION public.note();
DELETE FROM app.staff WHERE id = 6;
"""


def test_triggers_are_told_and_act(ground: Ground) -> None:
    # Its function finds its table by the database's own search path.
    ground.sql(TRIGGER.format("NEW.name := 'altered'; RETURN NEW;", "BEFORE"))
    answer = ground.answer("app.staff", "--apply", "--changed")
    assert answer.status == 3, answer.text  # all is back, and not as it was
    report = answer.document
    assert codes(report)["undelete-triggers"] == ["app.staff"]
    assert codes(report)["undelete-altered"] == ["app.staff"]
    assert ground.sql("SELECT * FROM noted") == "6"
    assert ground.sql("SELECT name FROM app.staff WHERE id = 6") == "altered"


def test_a_trigger_that_keeps_rows_out_undoes_all(ground: Ground) -> None:
    ground.sql(TRIGGER.format("RETURN NULL;", "BEFORE"))
    answer = ground.answer("app.staff", "--apply")
    assert answer.status == 5
    assert "a trigger or rule of the table keeps them out" in answer.document["error"]["message"]
    assert ground.sql("SELECT count(*) FROM noted") == "0"


def test_a_sequence_that_was_set_back_is_told(ground: Ground) -> None:
    ground.sql("DELETE FROM app.invoices; ALTER TABLE app.invoices ALTER id RESTART WITH 1")
    report = ground.undelete("app.invoices", "--apply")
    (told,) = [one["message"] for one in report["findings"] if one["code"] == "undelete-sequence"]
    assert "id comes back up to 101" in told
    assert "is at 0" in told
    assert ground.sql("SELECT nextval('app.invoices_id_seq')") == "1", "it is not moved"
    statement = (
        "SELECT pg_catalog.setval('app.invoices_id_seq',"
        ' (SELECT max("id") FROM "app"."invoices"));'
    )
    assert told.endswith(f": {statement}")
    assert report["sql"].endswith(f"\n-- {statement}\n")
    assert ground.sql(statement) == "101"
    assert ground.sql("SELECT nextval('app.invoices_id_seq')") == "102"


def test_what_must_have_a_value_is_told_beforehand(ground: Ground) -> None:
    ground.sql("DELETE FROM app.staff; ALTER TABLE app.staff ADD COLUMN must int NOT NULL,"
               " ALTER boss SET NOT NULL")  # fmt: skip
    report = ground.undelete("app.staff")
    told = [one["message"] for one in report["findings"] if one["code"] == "undelete-obstacle"]
    assert told == [
        "boss must have a value since, and 1 rows have none",
        "must must have a value and the snapshot has none",
    ]
    answer = ground.answer("app.staff", "--apply")
    assert answer.status == 5
    assert "of staff must have a value" in answer.document["error"]["hint"]


def test_a_parent_that_is_another_row_by_now_is_told(ground: Ground) -> None:
    ground.sql("DELETE FROM app.invoices WHERE id IN (5, 6)")
    assert not {"undelete-parent-differs"} & codes(ground.undelete("app.lines")).keys()
    ground.sql("INSERT INTO app.invoices (id, customer) OVERRIDING SYSTEM VALUE"
               " SELECT 5, id FROM app.customers LIMIT 1")  # fmt: skip
    report = ground.undelete("app.lines")
    assert codes(report)["undelete-parent-differs"] == ["app.invoices"]
    (told,) = [one for one in report["findings"] if one["code"] == "undelete-parent-differs"]
    assert told["message"].startswith("1 of its rows")


def test_the_condition_is_recorded_by_its_digest_alone(ground: Ground) -> None:
    condition = "name = 'a person of whom nobody should know'"
    ground.undelete("app.staff", "--where", condition)
    ledger = b"".join(
        one.read_bytes() for one in (ground.place.path / "state").rglob("*") if one.is_file()
    )
    assert b"a person of whom" not in ledger
    assert f"sha256:{hashlib.sha256(condition.encode()).hexdigest()}".encode() in ledger


def test_another_database_can_be_the_live_one(ground: Ground) -> None:
    ground.server.sql("postgres", "DROP DATABASE IF EXISTS second")
    ground.server.sql("postgres", "CREATE DATABASE second TEMPLATE origin")
    ground.server.sql("second", "DELETE FROM app.staff WHERE id = 6")
    ground.undelete("app.staff", "--target", ground.server.url("second"), "--apply")
    assert ground.server.sql("second", "SELECT count(*) FROM app.staff") == "6"


# How much

_MANY = 300_000


def test_many_rows_take_little_memory(
    ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ground.sql(f"CREATE TABLE app.many (id bigint PRIMARY KEY, a text, b uuid);"
               f"INSERT INTO app.many SELECT n, repeat('x', 100) || n, gen_random_uuid()"
               f" FROM generate_series(1, {_MANY}) n")  # fmt: skip
    asked = "SELECT count(*), sum(hashtextextended(m::text, 0)) FROM app.many m"
    before = ground.sql(asked)
    snapshot = ground.capture()
    ground.sql(
        "DELETE FROM app.many WHERE id % 3 > 0; UPDATE app.many SET a = '' WHERE id % 300 = 0"
    )
    output = tmp_path_factory.mktemp("many") / "many.sql"
    words = [
        sys.executable, "-c", _MEASURED, "--json", "--config", str(ground.place.config),
        "undelete", "database", "app.many", "--changed", "--snapshot", snapshot, "--apply",
        "--output", str(output),
    ]  # fmt: skip
    run = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert run.returncode == 0, run.stderr + run.stdout
    assert ground.sql(asked) == before
    size = output.stat().st_size
    assert size > 30 << 20
    idle, peak = map(int, run.stderr.strip().splitlines()[-1].split())
    # The script alone is larger than what was needed to write it.
    assert peak - idle < size // 2, (idle, peak, size)


_MEASURED = """\
import resource, sys
from strongroom.cli.main import main
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
import psycopg, strongroom.service.undelete, strongroom.postgres.undelete_apply
idle = peak()
status = main(sys.argv[1:])
print(idle, peak(), file=sys.stderr)
sys.exit(status)
"""
