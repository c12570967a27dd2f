"""The upper rungs of a database's proof: fitness, what roles see, critical queries, coverage.

For each finding a fault that raises it, on a copy of a restored database, and its healthy twin: the
restored database as it is. On the oldest version that the procedures name and on the newest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from strongroom.config.value import parse_expectation
from strongroom.findings import Severity
from strongroom.model import Finding, Verdict, judge
from strongroom.postgres.amcheck import check_deeply
from strongroom.postgres.answers import CollationState, Limits, read_answers
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.load import LoadOptions, load_database
from strongroom.postgres.manifest import Manifest
from strongroom.postgres.proof import ProofOptions, ProofReport, prove_database
from strongroom.postgres.question import Answer, Outcome, Question, ask
from strongroom.postgres.sandbox import reference_in, sandbox_for
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql
from tests.support.demo_ground import DemoGround

MAJORS = (15, 18)

ROLES = """
CREATE ROLE reader; CREATE ROLE guest; CREATE ROLE stranger; CREATE ROLE boss BYPASSRLS;
CREATE ROLE backup LOGIN BYPASSRLS; GRANT pg_read_all_data TO backup;
CREATE ROLE helper LOGIN BYPASSRLS IN ROLE reader; GRANT pg_read_all_data TO helper;
"""
SCHEMA = """
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS text LANGUAGE sql STABLE AS
    $$SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'$$;
GRANT USAGE ON SCHEMA auth TO reader, guest;
CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL,
    open boolean NOT NULL, made_at timestamptz NOT NULL);
INSERT INTO notes (owner, open, made_at)
    SELECT 'u' || g % 3, g % 4 = 0, now() - g * interval '1 hour' FROM generate_series(1, 40) g;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes FOR SELECT TO reader USING (owner = auth.uid());
CREATE POLICY open ON notes FOR SELECT TO guest USING (open);
GRANT SELECT ON notes TO reader, boss;
GRANT SELECT (id, owner) ON notes TO guest;
CREATE TABLE offers (id int, ends timestamptz);
INSERT INTO offers SELECT g, now() + interval '1 second' FROM generate_series(1, 9) g;
ALTER TABLE offers ENABLE ROW LEVEL SECURITY;
CREATE POLICY current ON offers FOR SELECT TO guest USING (ends > now());
GRANT SELECT ON offers TO guest;
CREATE TABLE plain (id serial PRIMARY KEY, n int, CONSTRAINT positive CHECK (n > 0));
INSERT INTO plain (n) SELECT g FROM generate_series(1, 30) g;
CREATE INDEX plain_n ON plain (n);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE INDEX plain_twice ON plain (twice(n));
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS many FROM plain;
CREATE FUNCTION sneaky() RETURNS bigint LANGUAGE plpgsql AS
    $$BEGIN DELETE FROM public.plain; RETURN 1; END$$;
"""
# The source is unsound on purpose: faithful copies are, too.
UNSOUND = """
CREATE TABLE sick (id serial PRIMARY KEY, n int);
INSERT INTO sick VALUES (1, -1), (2, 2), (3, 3);
ALTER TABLE sick ADD CONSTRAINT sick_n CHECK (n > 0) NOT VALID;
CREATE MATERIALIZED VIEW never AS SELECT 1 / 0 AS x WITH NO DATA;
CREATE INDEX sick_index ON sick (n);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sick_index'::regclass;
"""


def question(
    name: str, sql: str, expect: str, role: str | None = None, **claims: object
) -> Question:
    return Question(name, sql, parse_expectation(expect), role, claims or None)


QUERIES = (
    question("plain has rows", "SELECT count(*) FROM plain", "> 0"),
    question("as many as ever", "SELECT count(*) FROM plain;", "same"),
    question("the very rows", "SELECT n, id FROM plain ORDER BY n DESC", "same"),
    question("nothing is lost", "SELECT count(*) FROM plain WHERE n IS NULL", "0"),
    question("first is one", "SELECT min(n) FROM plain -- the least", "= 1"),
    question("notes are fresh", "SELECT max(made_at) FROM notes", "younger than 2h"),
    question("with a sign %", "SELECT count(*) FROM notes WHERE owner LIKE 'u%'", "40"),
)
PROBES = (
    question("u1 sees their own", "SELECT id FROM notes", "same", "reader", sub="u1"),
    question("u2 sees some", "SELECT count(*) FROM notes", "13", "reader", sub="u2"),
    question("a stranger sees nothing", "SELECT count(*) FROM notes", "denied", "stranger"),
    question("guests see what is open", "SELECT count(id) FROM notes", "10", "guest"),
    question("guests see no times", "SELECT max(made_at) FROM notes", "denied", "guest"),
)


@dataclass
class Ground:
    """A captured database, and a server that holds the restored copy as `restored`."""

    major: int
    source: Connection
    store: DirectoryStore
    cluster: Cluster
    options: ProofOptions

    def prove(
        self, change: str = "", questions: tuple[Question, ...] = (), *, deep: bool = False
    ) -> tuple[Verdict, list[Finding]]:
        """The verdict on a copy of the restored database with one change, and what was found."""
        server, target = self.cluster.connection(), self.cluster.connection("changed")
        psql(self.cluster, server, "-c", "DROP DATABASE IF EXISTS changed")
        psql(self.cluster, server, "-c", "CREATE DATABASE changed TEMPLATE restored")
        if change:
            psql(self.cluster, target, "-c", change)
        report = self.asked(target, questions, deep=deep)
        return judge(report.findings, checked=report.checked), report.findings

    def asked(
        self, target: Connection, questions: tuple[Question, ...] = (), *, deep: bool = False
    ) -> ProofReport:
        reference = self.options.reference
        options = ProofOptions(
            reference=reference, questions=questions, deep=deep, question_seconds=5
        )
        return prove_database(self.store, target, options)


def loud(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.code, one.subject) for one in findings if one.severity is not Severity.NOTE}


def message(findings: list[Finding], code: str, subject: str) -> str:
    (found,) = [one for one in findings if (one.code, one.subject) == (code, subject)]
    return found.message


@contextlib.contextmanager
def make_ground(directory: Path, major: int) -> Iterator[Ground]:
    with throwaway_cluster(major=major) as cluster:
        assert cluster.major == major, cluster.programs.describe()
        psql(cluster, cluster.connection(), "-c", ROLES)
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", SCHEMA)
        if major == 15:  # the other programs are built without ICU
            german = "CREATE COLLATION german (provider = icu, locale = 'de')"
            psql(cluster, source, "-c", german)
            psql(cluster, source, "-c", "CREATE TABLE words (word text COLLATE german)")
        store = DirectoryStore(directory)
        questions = (*QUERIES, *PROBES)
        capture = capture_database(source, CaptureOptions(questions=questions), store)
        assert capture.findings == []
        with sandbox_for(store) as sandbox:
            target = sandbox.connection("restored")
            load = load_database(store, target, LoadOptions(own_server=True, roles=("stranger",)))
            assert [one for one in load.findings if one.severity is not Severity.NOTE] == []
            reference = reference_in(sandbox, store)()
            yield Ground(major, source, store, sandbox, ProofOptions(reference=lambda: reference))


@pytest.fixture(scope="module")
def ground_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Ground]]:
    """The ground of a major version, made when it is first asked for."""
    with contextlib.ExitStack() as stack:
        made: dict[int, Ground] = {}

        def ground(major: int) -> Ground:
            if major not in made:
                directory = tmp_path_factory.mktemp(f"captured-{major}")
                made[major] = stack.enter_context(make_ground(directory, major))
            return made[major]

        yield ground


@pytest.fixture(
    params=[
        pytest.param(one, id=f"pg{one}", marks=pytest.mark.xdist_group(f"rungs-{one}"))
        for one in MAJORS
    ]
)
def ground(request: pytest.FixtureRequest, ground_on: Callable[[int], Ground]) -> Ground:
    return ground_on(request.param)


# The healthy twins


def test_a_sound_copy_passes_every_rung(ground: Ground) -> None:
    target = ground.cluster.connection("restored")
    report = ground.asked(target, (*QUERIES, *PROBES))
    assert loud(report.findings) == set()
    assert judge(report.findings, checked=report.checked) is Verdict.PROVEN
    stages = [one.name for one in report.stages]
    assert stages == [
        "content", "beside tables", "structure", "integrity", "access", "meaning"
    ]  # fmt: skip


def test_a_sound_copy_passes_the_deep_check(ground: Ground) -> None:
    verdict, findings = ground.prove(deep=True)
    assert verdict is Verdict.PROVEN
    assert loud(findings) == set()


# Integrity

SEQUENCE = "SELECT setval('plain_id_seq', 1)"
POSITIVE = "ALTER TABLE plain DROP CONSTRAINT positive"
FAULTS = {
    "sequence behind": (SEQUENCE, "sequence-behind", "public.plain_id_seq",
                        "its next value 2 is already in public.plain.id"),
    "identity behind": ("SELECT setval('notes_id_seq', 7, false)", "sequence-behind",
                        "public.notes_id_seq", "its next value 7 is already in public.notes.id"),
    "view unpopulated": ("REFRESH MATERIALIZED VIEW counted WITH NO DATA", "matview-unpopulated",
                         "materialized view public.counted", "populated: yes at capture"),
    "index invalid": ("UPDATE pg_index SET indisvalid = false"
                      " WHERE indexrelid = 'plain_n'::regclass",
                      "index-invalid", "index public.plain_n", "valid: yes at capture"),
    "not validated": (f"{POSITIVE}; ALTER TABLE plain ADD CONSTRAINT positive CHECK (n > 0)"
                      " NOT VALID", "constraint-unvalidated", "constraint positive on public.plain",
                      "validated: yes at capture, observed no"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_fit_for_use_is_failed(ground: Ground, name: str) -> None:
    change, code, subject, says = FAULTS[name]
    verdict, findings = ground.prove(change)
    assert verdict is Verdict.FAILED
    assert says in message(findings, code, subject)


def test_a_sequence_that_is_ahead_is_fit(ground: Ground) -> None:
    verdict, findings = ground.prove("SELECT setval('plain_id_seq', 1000)")
    assert verdict is Verdict.PROVEN
    assert loud(findings) == set()


def test_a_sequence_is_not_excused_by_rows_that_were_changed(ground: Ground) -> None:
    """The sequence is as at capture, the rows are not: nothing says that the source was so."""
    change = "INSERT INTO plain (id, n) VALUES (31, 31)"
    verdict, findings = ground.prove(change)
    assert verdict is Verdict.FAILED
    assert loud(findings) == {
        ("content-differs", "public.plain"), ("sequence-behind", "public.plain_id_seq")
    }  # fmt: skip


@pytest.mark.xdist_group("rungs-15")
def test_a_collation_that_changed_under_an_index_is_unknown(
    ground_on: Callable[[int], Ground],
) -> None:
    change = "UPDATE pg_collation SET collversion = '0' WHERE collname = 'german'"
    verdict, findings = ground_on(15).prove(change)
    assert verdict is Verdict.UNKNOWN
    assert loud(findings) == {("collation-changed", "collation of public.german")}


@pytest.mark.xdist_group("rungs-15")
def test_collations_of_the_source_and_of_another_host_are_told_and_no_fault(
    ground_on: Callable[[int], Ground],
) -> None:
    """As a snapshot of a host with an upgraded library has it, and one of an older host."""
    ground = ground_on(15)
    manifest = Manifest.from_json(ground.store.read("manifest.json"))
    answers = read_answers(ground.store)
    assert answers is not None
    version = manifest.collations["public.german"]
    stale = replace(answers, collations={"public.german": CollationState("0", version)})
    older = replace(manifest, collations={**manifest.collations, "public.german": "0"})
    for altered, code in (
        ({"answers.json": stale.to_json()}, "source-unsound"),
        ({"manifest.json": older.to_json()}, "collation-differs"),
    ):
        store = DirectoryStore(ground.store.root)
        store.__dict__.update(ground.store.__dict__, altered=altered)
        ours = Ground(15, ground.source, store, ground.cluster, ground.options)
        verdict, findings = ours.prove()
        assert verdict is Verdict.PROVEN
        assert loud(findings) == {(code, "collation of public.german")}


def test_a_server_without_the_deep_check_is_unknown_and_says_why(ground: Ground) -> None:
    with ground.cluster.connection("restored").connect() as session:
        session.execute("SET ROLE reader")  # who may not install anything
        checked, (found,) = check_deeply(session)
    assert (checked, found.code, found.subject) == (0, "amcheck-unchecked", "amcheck")
    assert "permission denied" in found.message


def test_a_damaged_index_is_found_by_the_deep_check_alone(ground: Ground) -> None:
    """An index by a function that became another one: each half is sound, they don't agree."""
    change = "UPDATE pg_proc SET prosrc = 'SELECT $1 * 3' WHERE proname = 'twice'"
    mend = "UPDATE pg_proc SET prosrc = 'SELECT $1 * 2' WHERE proname = 'twice'"
    _, findings = ground.prove(change, deep=True)
    text = message(findings, "amcheck-failed", "index public.plain_twice")
    assert "lacks matching index tuple" in text
    target = ground.cluster.connection("changed")
    psql(ground.cluster, target, "-c", mend)
    assert loud(ground.asked(target).findings) == {("structure-extra", "extension amcheck")}


def test_a_faithful_copy_of_an_unsound_source_is_proven_and_told(
    ground: Ground, tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=ground.major) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", UNSOUND)
        capture_database(source, CaptureOptions(), store)
    with sandbox_for(store) as sandbox:
        target = sandbox.connection("restored")
        load_database(store, target, LoadOptions(own_server=True))
        report = prove_database(store, target)
        assert judge(report.findings, checked=report.checked) is Verdict.PROVEN
        told = {one.subject: one.message for one in report.findings if one.code == "source-unsound"}
        assert told.keys() == {
            "public.sick_id_seq",
            "constraint sick_n on public.sick",
            "materialized view public.never",
            "index public.sick_index",
        }
        assert all("so it was in the source" in text for text in told.values())
        assert "is not restored" in told["index public.sick_index"]
        # A snapshot of an earlier version knows as much.
        (store.root / "answers.json").unlink()
        old = prove_database(store, target)
    assert judge(old.findings, checked=old.checked) is Verdict.PROVEN
    assert {one.subject for one in old.findings if one.code == "source-unsound"} == told.keys()
    assert "older" in message(old.findings, "question-left-out", "access")


# Access


def test_probes_that_nobody_wrote_are_found_and_recorded(ground: Ground, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    capture_database(ground.source, CaptureOptions(), store)
    answers = read_answers(store)
    assert answers is not None
    counts = {one.name: one.answer.value for one in answers.recorded}
    assert counts == {"public.notes as guest": "10", "public.notes as reader": "0"}
    (left_out,) = answers.left_out
    assert left_out == ("public.offers as guest", "it looks at the clock")
    ours = Ground(ground.major, ground.source, store, ground.cluster, ground.options)
    verdict, findings = ours.prove()
    assert (verdict, loud(findings)) == (Verdict.PROVEN, set())
    assert "clock" in message(findings, "question-left-out", "public.offers as guest")
    changes = {
        "CREATE OR REPLACE FUNCTION auth.uid() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'u1'$$":
            ("public.notes as reader", "0 at capture, observed 14"),
        "REVOKE SELECT (id, owner) ON notes FROM guest":
            ("public.notes as guest", "10 at capture, observed denied"),
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY":
            ("public.notes as guest", "10 at capture, observed 40"),
    }  # fmt: skip
    for change, (subject, says) in changes.items():
        verdict, findings = ours.prove(change)
        assert verdict is Verdict.FAILED
        assert says in message(findings, "access-differs", subject)


PROBED = {
    "other rows as a role with claims": (
        "ALTER POLICY own ON notes USING (owner >= auth.uid())", "u1 sees their own", "14 rows at"),
    "the same number of others": (
        "ALTER POLICY own ON notes USING (owner = 'u' || (2 - right(auth.uid(), 1)::int + 1))",
        "u2 sees some", "expected 13, observed 14"),
    "granted": ("GRANT SELECT ON notes TO stranger", "a stranger sees nothing",
                "expected to be denied, observed 0"),
    "denied": ("REVOKE SELECT (id, owner) ON notes FROM guest", "guests see what is open",
               "expected 10, observed denied"),
    "more columns": ("GRANT SELECT ON notes TO guest", "guests see no times",
                     "expected to be denied"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBED)
def test_a_role_that_sees_otherwise_is_failed(ground: Ground, name: str) -> None:
    change, subject, says = PROBED[name]
    verdict, findings = ground.prove(change, PROBES)
    assert verdict is Verdict.FAILED
    assert says in message(findings, "access-differs", subject)


@pytest.mark.parametrize("role", ["backup", "helper"])
def test_a_role_that_cannot_become_others_captures_what_it_can(
    ground: Ground, tmp_path: Path, role: str
) -> None:
    """`backup` is nobody else, `helper` may become reader alone: the rest goes without answers."""
    own = Connection({**ground.source.parameters, "user": role})
    stores = DirectoryStore(tmp_path / "plain"), DirectoryStore(tmp_path / "probes")
    options = CaptureOptions()
    capture_database(own, options, stores[0])
    capture_database(own, CaptureOptions(questions=PROBES), stores[1])

    ours = Ground(ground.major, own, stores[0], ground.cluster, ground.options)
    verdict, findings = ours.prove()
    assert (verdict, loud(findings)) == (Verdict.PROVEN, set())
    left_out = [one for one in findings if one.code == "question-left-out"]
    refused = [one.subject for one in left_out if f"{role} cannot become" in one.message]
    everybody = ["public.notes as guest", "public.notes as reader"]
    assert refused == (everybody if role == "backup" else everybody[:1])

    ours = Ground(ground.major, own, stores[1], ground.cluster, ground.options)
    verdict, findings = ours.prove(questions=PROBES)
    if role == "helper":
        assert (verdict, loud(findings)) == (Verdict.PROVEN, set())
        return
    # What the configuration says is asked all the same; `same` has nothing to compare with.
    assert verdict is Verdict.UNKNOWN
    assert loud(findings) == {("access-unchecked", "u1 sees their own")}
    text = message(findings, "access-unchecked", "u1 sees their own")
    assert "backup cannot become reader" in text


def test_a_target_where_roles_cannot_be_taken_on_is_unknown_for_written_probes_only(
    ground: Ground, tmp_path: Path
) -> None:
    """`prove` of the source itself, by a role that only reads."""
    own = Connection({**ground.source.parameters, "user": "backup"})
    report = ground.asked(own, PROBES)
    found = {one for one in loud(report.findings) if one[0] == "access-unchecked"}
    assert found == {("access-unchecked", one.name) for one in PROBES}
    store = DirectoryStore(tmp_path)
    capture_database(ground.source, CaptureOptions(), store)
    ours = Ground(ground.major, own, store, ground.cluster, ground.options)
    report = ours.asked(own)
    assert {one for one in loud(report.findings) if one[0].startswith("access-")} == set()
    refused = [one for one in report.findings if "cannot become" in one.message]
    assert {one.code for one in refused} == {"question-left-out"}


# Meaning

MEANT = {
    "> 0": ("DELETE FROM plain", "plain has rows", "expected > 0, observed 0"),
    "same value": ("DELETE FROM plain WHERE id = 1", "as many as ever",
                   "30 at capture, observed 29"),
    "same rows": ("UPDATE plain SET n = 99 WHERE id = 1", "the very rows", "30 rows, others"),
    "a value": ("UPDATE plain SET n = NULL WHERE id = 5", "nothing is lost",
                "expected 0, observed 1"),
    "an age": ("UPDATE notes SET made_at = made_at - interval '1 hour'", "notes are fresh",
               "expected younger than 2h, observed"),
    "runs no more": ("ALTER TABLE notes RENAME owner TO proprietor", "with a sign %",
                     "it ran at capture, and here: column"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANT)
def test_a_broken_expectation_is_failed(ground: Ground, name: str) -> None:
    change, subject, says = MEANT[name]
    verdict, findings = ground.prove(change, QUERIES)
    assert verdict is Verdict.FAILED
    assert says in message(findings, "query-failed", subject)


def test_what_has_no_answer_is_unknown_by_name(ground: Ground) -> None:
    """Asked since the capture, wrong from the beginning, or of several values at once."""
    questions = (
        question("new", "SELECT count(*) FROM notes", "same"),
        question("wrong", "SELECT nothing FROM nowhere", "> 0"),
        question("wide", "SELECT id, n FROM plain WHERE id = 1", "> 0"),
        question("no such role", "SELECT 1", "1", "nobody at all"),
        question("slow", "SELECT pg_sleep(60)", "> 0"),
    )
    verdict, findings = ground.prove("", questions)
    assert verdict is Verdict.UNKNOWN
    assert loud(findings) == {
        ("query-unchecked", "new"), ("query-unchecked", "wrong"), ("query-unchecked", "wide"),
        ("access-unchecked", "no such role"), ("query-unchecked", "slow"),
    }  # fmt: skip
    assert "it took more than 5 s" in message(findings, "query-unchecked", "slow")


WRITING = (
    "SELECT setval('plain_id_seq', 1)",
    "SELECT nextval('plain_id_seq')",
    "SELECT sneaky()",
    "WITH gone AS (DELETE FROM plain RETURNING 1) SELECT * FROM gone",
    "SELECT 1) x) y; DELETE FROM plain; SELECT 1; --",
    "SELECT 1) strongroom_row) lines) hashed; COMMIT; DELETE FROM plain; --",
    "SELECT set_config('transaction_read_only', 'off', false) = sneaky()::text",
)


@pytest.mark.parametrize("sql", WRITING)
def test_a_question_that_writes_is_refused_and_changes_nothing(ground: Ground, sql: str) -> None:
    before = "SELECT count(*) || ' ' || (SELECT last_value FROM plain_id_seq) FROM plain"
    target = ground.cluster.connection("restored")
    expected = psql(ground.cluster, target, "-c", before)
    with target.connect() as session:
        for role in (None, "postgres"):
            answer = ask(session, question("q", sql, "> 0", role), timeout_seconds=5)
            assert answer.outcome in (Outcome.FAILED, Outcome.DENIED), answer
            assert answer.value is None
    assert psql(ground.cluster, target, "-c", before) == expected
    verdict, findings = ground.prove("", (question("q", sql, "> 0"),))
    assert (verdict, loud(findings)) == (Verdict.UNKNOWN, {("query-unchecked", "q")})


def test_a_question_leaves_nothing_behind_in_its_session(ground: Ground) -> None:
    with ground.cluster.connection("restored").connect() as session:
        state = (
            "SELECT current_user, current_setting('statement_timeout'),"
            " coalesce(current_setting('request.jwt.claims', true), ''),"
            " current_setting('search_path'), current_setting('row_security')"
        )
        before = session.execute(state).fetchone()
        answer = ask(session, PROBES[1], timeout_seconds=5, search_path="public, auth")
        assert answer.value == "13"
        assert session.execute(state).fetchone() == before


# Production is spared


def test_questions_that_hang_end_and_the_capture_goes_on(ground: Ground, tmp_path: Path) -> None:
    hanging = (
        question("hangs", "SELECT pg_sleep(600)", "same", "reader"),
        question("hangs, too", "SELECT pg_sleep(600)", "same"),
        question("never comes to it", "SELECT 1", "same"),
    )
    store = DirectoryStore(tmp_path)
    limits = Limits(each_seconds=0.5, whole_seconds=0.8)
    options = CaptureOptions(questions=hanging, limits=limits)
    capture = capture_database(ground.source, options, store)
    assert capture.findings == []
    answers = read_answers(store)
    assert answers is not None
    assert [one.answer.outcome for one in answers.recorded] == [Outcome.UNASKED] * 3
    ours = Ground(ground.major, ground.source, store, ground.cluster, ground.options)
    verdict, findings = ours.prove("", hanging)
    assert verdict is Verdict.UNKNOWN
    assert loud(findings) == {
        ("access-unchecked", "hangs"), ("query-unchecked", "hangs, too"),
        ("query-unchecked", "never comes to it"),
    }  # fmt: skip
    assert "at capture: it took more than" in message(findings, "access-unchecked", "hangs")
    assert "were over" in message(findings, "query-unchecked", "never comes to it")


def test_what_was_captured_holds_no_values_of_probes(ground: Ground) -> None:
    answers = read_answers(ground.store)
    assert answers is not None
    kept = {one.name: one.answer for one in answers.recorded}
    assert kept["u1 sees their own"] == Answer(
        Outcome.ROWS, 14, kept["u1 sees their own"].digest, 0, None
    )
    assert kept["u2 sees some"].value is None
    assert kept["as many as ever"].value == "30"
    assert b'"u1"' not in ground.store.read("answers.json")


# Coverage


def test_what_lies_outside_is_unknown_by_name_until_it_is_looked_after(
    ground: Ground, tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=ground.major) as cluster:
        psql(cluster, cluster.connection(), "-c", "CREATE ROLE app LOGIN PASSWORD 'x'")
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE FOREIGN DATA WRAPPER dummy")
        psql(cluster, source, "-c", "CREATE SERVER far FOREIGN DATA WRAPPER dummy")
        psql(cluster, source, "-c", "CREATE FOREIGN TABLE prices (id int) SERVER far")
        capture_database(source, CaptureOptions(), store)
        kinds = {one.kind for one in Manifest.from_json(store.read("manifest.json")).coverage}
        assert kinds >= {"passwords", "foreign table"}
        found = prove_database(store, source)
        assert judge(found.findings, checked=found.checked) is Verdict.UNKNOWN
        assert loud(found.findings) == {("coverage-unproven", "foreign table public.prices")}
        known = ProofOptions(elsewhere=("foreign table public.*",))
        found = prove_database(store, source, known)
        assert judge(found.findings, checked=found.checked) is Verdict.PROVEN


# By way of the command line


@pytest.mark.xdist_group("demo-18")
def test_a_deep_drill_of_the_demo_is_proven(demo_on: Callable[[int], DemoGround]) -> None:
    answer = demo_on(18).run("--json", "drill", "database", "--deep")
    assert answer.status == 0, answer.text
    stages = {one["name"] for one in answer.document["stages"]}
    assert {f"database: {name}" for name in ("integrity", "access", "meaning", "amcheck")} <= stages
