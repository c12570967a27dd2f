"""A restored copy is proven; after any single change to it the proof fails, and says what changed.

Issue 2, section 6.4, by way of the command line: exit status, finding and subject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.e2e.command_line import Answer
from tests.support.demo_ground import DemoGround

COPY = "copy"


def group(major: int) -> pytest.MarkDecorator:
    return pytest.mark.xdist_group(f"demo-{major}")


def _loud(answer: Answer) -> set[tuple[str, str]]:
    """Code and subject of every finding that counts."""
    found = answer.document["findings"]
    return {(one["code"], one["subject"]) for one in found if one["severity"] != "note"}


# Drills and proofs without a false alarm


@pytest.mark.parametrize(
    "major", [pytest.param(one, marks=group(one)) for one in (13, 14, 15, 16, 17, 18)]
)
def test_a_drill_of_the_whole_application_is_proven(
    major: int, demo_on: Callable[[int], DemoGround]
) -> None:
    answer = demo_on(major).run("--json", "drill")
    assert answer.status == 0, answer.text
    assert answer.document["verdict"] == "PROVEN"
    assert _loud(answer) == set()
    verdicts = {one["source"]: one["verdict"] for one in answer.document["drills"]}
    assert verdicts == {"database": "PROVEN", "uploads": "PROVEN", "code": "PROVEN"}
    assert all(one["checked"] > 20 for one in answer.document["drills"])
    assert "using a closure" not in answer.err


@pytest.fixture(scope="module")
def restored_on(demo_on: Callable[[int], DemoGround]) -> Callable[[int], DemoGround]:
    """The application on a major version, its database restored beside itself, once."""
    made: dict[int, DemoGround] = {}

    def restored(major: int) -> DemoGround:
        if major not in made:
            ground = demo_on(major)
            report = ground.json("restore", "database", "--to", ground.url(COPY))
            assert report["verdict"] == "PROVEN"
            made[major] = ground
        return made[major]

    return restored


@dataclass(frozen=True)
class Change:
    """Statements that change one thing and that undo it; `keep` gives what undoing needs."""

    do: str
    undo: str
    code: str
    subject: str
    says: str
    keep: str = ""
    # A role sees other rows by it, which is told as well.
    seen: bool = False


ONE_BY_ONE = {
    "one value changed": Change(
        "UPDATE public.lpos SET amount = amount + 0.01 WHERE id = 7",
        "UPDATE public.lpos SET amount = amount - 0.01 WHERE id = 7",
        "content-differs", "public.lpos", "1 are missing or changed, and 1 were not captured",
    ),
    "one row deleted": Change(
        "DELETE FROM public.attendance_2 WHERE ctid = '(0,3)'",
        "INSERT INTO public.attendance_2"
        " SELECT * FROM json_populate_record(NULL::public.attendance_2, '{kept}')",
        "content-differs", "public.attendance_2", "1 are missing or changed, and 0 were not",
        "SELECT row_to_json(a)::text FROM public.attendance_2 a WHERE ctid = '(0,3)'",
    ),
    "policy opened": Change(
        "ALTER POLICY trainees_self ON public.trainees USING (true)",
        "ALTER POLICY trainees_self ON public.trainees USING (user_id = auth.uid())",
        "structure-differs", "policy trainees_self on public.trainees", "observed true",
    ),
    "row security disabled": Change(
        "ALTER TABLE public.certificates DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.certificates ENABLE ROW LEVEL SECURITY",
        "structure-differs", "table public.certificates",
        "row_security: expected yes, observed no", seen=True,
    ),
    "function body changed": Change(
        "CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE"
        " AS $$SELECT NULL::uuid$$",
        "{kept}",
        "structure-differs", "function auth.uid()", "NULL::uuid",
        "SELECT pg_get_functiondef('auth.uid()'::regprocedure)", seen=True,
    ),
    "grant added": Change(
        "GRANT SELECT ON public.payments TO anon",
        "REVOKE SELECT ON public.payments FROM anon",
        "structure-differs", "table public.payments", "anon: expected nothing, observed SELECT",
    ),
    "trigger disabled": Change(
        "ALTER TABLE public.invoices DISABLE TRIGGER invoices_audit",
        "ALTER TABLE public.invoices ENABLE TRIGGER invoices_audit",
        "structure-differs", "trigger invoices_audit on public.invoices", "enabled: ",
    ),
    "default changed": Change(
        "ALTER TABLE public.rooms ALTER capacity SET DEFAULT 20",
        "ALTER TABLE public.rooms ALTER capacity SET DEFAULT 16",
        "structure-differs", "column public.rooms.capacity", "expected 16, observed 20",
    ),
}  # fmt: skip


# All of them on the newest version, and on the others what is read in its own way.
ON_EACH = ("one row deleted", "policy opened", "function body changed", "grant added")
TAMPERED = [
    *(pytest.param(18, name, marks=group(18)) for name in ONE_BY_ONE),
    *(pytest.param(major, name, marks=group(major)) for major in (13, 14, 16) for name in ON_EACH),
]


@pytest.mark.parametrize(("major", "name"), TAMPERED)
def test_one_change_to_a_restored_database_is_found(
    major: int, name: str, restored_on: Callable[[int], DemoGround]
) -> None:
    change, restored = ONE_BY_ONE[name], restored_on(major)
    kept = str(restored.execute(COPY, change.keep)[0][0]) if change.keep else ""
    restored.execute(COPY, change.do)
    try:
        answer = restored.run("--json", "prove", "database", "--target", restored.url(COPY))
    finally:
        restored.execute(COPY, change.undo.replace("{kept}", kept))
    assert answer.status == 41, answer.text
    assert answer.document["verdict"] == "FAILED"
    expected = {(change.code, change.subject)}
    if change.seen:
        expected.add(("access-differs", "a trainee sees their own certificates and no others"))
    assert _loud(answer) == expected
    (found,) = [one for one in answer.document["findings"] if one["code"] == change.code]
    assert change.says in found["message"]


# Each on its own would do; together they also show that none hides another.
TOGETHER: tuple[tuple[str, set[tuple[str, str]]], ...] = (
    ("INSERT INTO public.rooms (name, emirate) VALUES ('Hall', 'Fujairah')",
     {("content-differs", "public.rooms")}),
    ("SELECT setval('public.certificate_number_seq', 100001)",
     {("sequence-differs", "public.certificate_number_seq")}),
    ("SELECT lo_put(min(oid), 4, 'other'::bytea) FROM pg_largeobject_metadata",
     {("content-large-object", "large objects")}),
    ("REFRESH MATERIALIZED VIEW reporting.course_results WITH NO DATA",
     {("structure-differs", "materialized view reporting.course_results"),
      ("matview-unpopulated", "materialized view reporting.course_results")}),
    ("ALTER ROLE tms_app IN DATABASE copy RESET search_path",
     {("structure-missing", "settings of role tms_app in this database")}),
    ("ALTER DATABASE copy RESET timezone", {("structure-differs", "database")}),
    ("ALTER TABLE public.quotations ALTER total"
     " SET EXPRESSION AS (round(seats * unit_price * (1 - discount), 2) + 1)",
     {("structure-differs", "column public.quotations.total"),
      ("content-generated", "public.quotations")}),
    ("DROP TABLE private.settings",
     {("content-missing", "private.settings"), ("structure-missing", "table private.settings")}),
)  # fmt: skip


@group(18)
def test_after_all_was_undone_it_is_proven_and_many_changes_are_told_apart(
    restored_on: Callable[[int], DemoGround],
) -> None:
    """The last of this module: the copy is not mended again."""
    restored = restored_on(18)
    target = restored.url(COPY)
    answer = restored.run("--json", "prove", "database", "--target", target)
    assert answer.status == 0, answer.text
    assert _loud(answer) == set()
    # What was written again stands in another place: told, and no alarm.
    notes = {(one["code"], one["subject"]) for one in answer.document["findings"]}
    assert "content-order" in {code for code, _ in notes}

    expected: set[tuple[str, str]] = set()
    for statement, found in TOGETHER:
        restored.execute(COPY, statement)
        expected |= found
    answer = restored.run("--json", "prove", "database", "--target", target)
    assert answer.status == 41
    assert _loud(answer) >= expected
    extra = {one for one in _loud(answer) - expected if "private.settings" not in one[1]}
    assert extra == set()
