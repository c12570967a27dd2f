"""Roles in the script of large objects, and which object a line is about."""

from __future__ import annotations

import pytest

from strongroom.postgres.large_object_script import LargeObjectScript
from strongroom.postgres.messages import Complaint
from strongroom.postgres.role_change import RoleChange

SCRIPT = b"""\
SET standard_conforming_strings = on;
--
-- Name: 99; Type: BLOB; Schema: -; Owner: appr
--
SELECT pg_catalog.lo_create('99');
ALTER LARGE OBJECT 99 OWNER TO appr;
COMMENT ON LARGE OBJECT 99 IS 'it''s of
ALTER LARGE OBJECT 98 OWNER TO appr;
GRANT ALL ON LARGE OBJECT 98 TO appr;
the end';
COMMENT ON LARGE OBJECT 99 IS 'short';
GRANT SELECT ON LARGE OBJECT 99 TO appr;
GRANT SELECT ON LARGE OBJECT 99 TO "the other";
SET SESSION AUTHORIZATION "the other";
GRANT SELECT ON LARGE OBJECT 99 TO appr;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT pg_catalog.lo_open('99', 131072);
SELECT pg_catalog.lowrite(0, '\\x414c544552');
SELECT pg_catalog.lo_close(0);
COMMIT;
"""


def passed(change: RoleChange, block: int = len(SCRIPT)) -> tuple[list[str], LargeObjectScript]:
    script = LargeObjectScript(change)
    blocks = [SCRIPT[place : place + block] for place in range(0, len(SCRIPT), block)]
    return b"".join(script.changed(blocks)).decode().split("\n"), script


@pytest.mark.parametrize("block", [1, 7, 100, 10_000])
def test_nothing_is_changed_when_roles_are_what_they_were(block: int) -> None:
    lines, script = passed(RoleChange("own"), block)
    assert "\n".join(lines).encode() == SCRIPT
    assert not script.told
    assert script.about(6) == script.about(19) == "large object 99"
    assert script.about(1) == ""


def test_roles_get_the_names_that_they_have_there() -> None:
    lines, script = passed(RoleChange("own", {"appr": "mgr"}))
    before = SCRIPT.decode().split("\n")
    assert len(lines) == len(before)
    assert {n: one for n, one in enumerate(lines, 1) if one != before[n - 1]} == {
        6: 'ALTER LARGE OBJECT 99 OWNER TO "mgr";',
        12: 'GRANT SELECT ON LARGE OBJECT 99 TO "mgr";',
        15: 'GRANT SELECT ON LARGE OBJECT 99 TO "mgr";',
    }
    assert not script.told


def test_what_absent_roles_had_is_left_out_and_told() -> None:
    lines, script = passed(RoleChange("own", absent=("appr", "the other")))
    assert [n for n, one in enumerate(lines[:-1], 1) if not one] == [6, 12, 13, 14, 15, 16]
    assert {(one.code, one.subject) for one in script.told} == {
        ("target-owner", "large object 99"),
        ("target-grant", "grants on large object 99"),
    }


def test_a_complaint_is_about_what_its_line_was_to_do() -> None:
    _, script = passed(RoleChange("own"))
    one = Complaint("", "permission denied")
    assert script.judged(one, 6) == Complaint("large object 99", one.text, about="owner")
    assert script.judged(one, 12) == Complaint("grants on large object 99", one.text, about="grant")
    assert script.judged(one, 5) == one
