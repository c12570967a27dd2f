"""Captured roles under other names, or not there at all, in every statement that names one."""

from __future__ import annotations

import pytest

from strongroom.postgres.accepted import Accepted, with_other_roles
from strongroom.postgres.inventory import CatalogObject, Inventory
from strongroom.postgres.manifest import RoleRecord
from strongroom.postgres.role_change import RoleChange, change_roles
from strongroom.postgres.schema_script import Entry
from strongroom.postgres.standing import as_ordinary_role

CHANGE = RoleChange("me", {"old": "New One"}, absent={"gone"}, unheld={"held"})

# Kind, statement, what becomes of it (None: left out), and the finding's code.
CASES = [
    ("TABLE", "ALTER TABLE s.t OWNER TO old;", 'ALTER TABLE s.t OWNER TO "New One";', ""),
    ("TABLE", "ALTER TABLE s.t OWNER TO gone;", None, "target-owner"),
    ("TABLE", "ALTER TABLE s.t OWNER TO held;", None, "target-owner"),
    ("TABLE", "ALTER TABLE s.t OWNER TO other;", "ALTER TABLE s.t OWNER TO other;", ""),
    ("TABLE", "CREATE TABLE s.gone (old int);", "CREATE TABLE s.gone (old int);", ""),
    ("FUNCTION", "CREATE FUNCTION f() AS 'ALTER TABLE t OWNER TO gone;';",
     "CREATE FUNCTION f() AS 'ALTER TABLE t OWNER TO gone;';", ""),
    ("ACL", "GRANT SELECT ON TABLE s.t TO old WITH GRANT OPTION;",
     'GRANT SELECT ON TABLE s.t TO "New One" WITH GRANT OPTION;', ""),
    ("ACL", "GRANT SELECT ON TABLE s.t TO gone;", None, "target-grant"),
    ("ACL", "GRANT SELECT ON TABLE s.t TO held;", "GRANT SELECT ON TABLE s.t TO held;", ""),
    ("ACL", "GRANT SELECT ON TABLE s.t TO PUBLIC;", "GRANT SELECT ON TABLE s.t TO PUBLIC;", ""),
    ("ACL", "REVOKE ALL ON TABLE s.t FROM gone;", None, ""),
    ("ACL", 'GRANT ALL ON TABLE s." TO gone;" TO old;',
     'GRANT ALL ON TABLE s." TO gone;" TO "New One";', ""),
    ("DEFAULT ACL", "ALTER DEFAULT PRIVILEGES FOR ROLE old IN SCHEMA s GRANT ALL ON TABLES TO o;",
     'ALTER DEFAULT PRIVILEGES FOR ROLE "New One" IN SCHEMA s GRANT ALL ON TABLES TO o;', ""),
    ("DEFAULT ACL", "ALTER DEFAULT PRIVILEGES FOR ROLE gone GRANT SELECT ON TABLES TO o;", None,
     "target-grant"),
    ("POLICY", "CREATE POLICY p ON s.t TO old, gone USING (true);",
     'CREATE POLICY p ON s.t TO "New One" USING (true);', "target-grant"),
    ("POLICY", "CREATE POLICY p ON s.t TO gone USING (true);", None, "target-grant"),
    ("POLICY", 'CREATE POLICY "TO" ON s.t FOR SELECT USING (true);',
     'CREATE POLICY "TO" ON s.t FOR SELECT USING (true);', ""),
    ("USER MAPPING", "CREATE USER MAPPING FOR old SERVER x;",
     'CREATE USER MAPPING FOR "New One" SERVER x;', ""),
    ("USER MAPPING", "CREATE USER MAPPING FOR gone SERVER x;", None, "target-grant"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "statement", "changed", "code"), CASES)
def test_a_statement_names_the_roles_that_are_there(
    kind: str, statement: str, changed: str | None, code: str
) -> None:
    entry, told = change_roles(Entry(kind, "t p", "s", "old", (statement,)), CHANGE)
    assert entry.statements == (() if changed is None else (changed,))
    assert [one.code for one in told] == ([code] if code else [])


def test_what_an_absent_role_granted_is_left_out_as_a_whole() -> None:
    statements = (
        "SET SESSION AUTHORIZATION gone;",
        "GRANT SELECT ON TABLE s.t TO x;",
        "RESET SESSION AUTHORIZATION;",
        "GRANT SELECT ON TABLE s.t TO y;",
    )
    entry, told = change_roles(Entry("ACL", "TABLE t", "s", "o", statements), CHANGE)
    assert entry.statements == ("GRANT SELECT ON TABLE s.t TO y;",)
    assert [one.code for one in told] == ["target-grant"]


def test_an_ordinary_role_makes_roles_without_what_only_superusers_give() -> None:
    words = "NOSUPERUSER INHERIT NOCREATEROLE LOGIN NOREPLICATION BYPASSRLS VALID UNTIL 'x'"
    role = RoleRecord("r", ('CREATE ROLE "r"', f'ALTER ROLE "r" WITH {words}'))
    plain, more = as_ordinary_role(role)
    assert plain.statements == (
        'CREATE ROLE "r"',
        "ALTER ROLE \"r\" WITH INHERIT NOCREATEROLE LOGIN VALID UNTIL 'x'",
    )
    assert more == ['ALTER ROLE "r" WITH BYPASSRLS']


def inventory(*objects: CatalogObject) -> Inventory:
    return Inventory(150000, {one.key: one for one in objects}, frozenset({"old", "b"}))


def test_the_captured_definitions_get_the_names_of_the_target() -> None:
    table = CatalogObject(
        "table s.t", "tables",
        {"owner": "old", "grants": {"(owner)": "SELECT", "b": "SELECT", "c granted by old": "ALL"}},
    )  # fmt: skip
    role = CatalogObject("role old", "roles", {"name": "old"})
    defaults = CatalogObject("default privileges of old for tables", "default privileges", {})
    policy = CatalogObject("policy p on s.t", "policies", {"roles": ["b", "old"]})
    renamed = with_other_roles(inventory(table, role, defaults, policy), {"old": "x", "b": "x"})
    assert set(renamed.objects) == {
        "table s.t", "default privileges of x for tables", "policy p on s.t"
    }  # fmt: skip
    attributes = renamed.objects["table s.t"].attributes
    assert attributes["owner"] == "x"
    assert attributes["grants"] == {"(owner)": "SELECT", "c": "ALL"}
    assert renamed.objects["policy p on s.t"].attributes["roles"] == ["x"]
    assert "old" not in renamed.mentioned_roles


def test_only_what_was_told_is_accepted() -> None:
    accepted = Accepted(
        kept=frozenset({"table a.own"}),
        unsettled=frozenset({"table s.t", "grants on table s.u"}),
        role="me",
    )
    table = CatalogObject("table s.t", "tables", {})
    other = CatalogObject("table s.u", "tables", {})
    column = CatalogObject("column a.own.x", "columns", {}, part_of="table a.own")
    assert accepted.is_told(table, "owner")
    assert not accepted.is_told(table, "definition")
    assert accepted.is_told(other, "grants")
    assert not accepted.is_told(other, "owner")
    assert accepted.is_own(column)
    assert not accepted.is_own(table)
