"""Names of databases beside another: short enough, and never another database's."""

from __future__ import annotations

import pytest

from strongroom.postgres.replacement import KeptBeside, name_beside, sort_kept

BLUE = "tms_production_europe_west_1_customer_portal_blue"
GREEN = "tms_production_europe_west_1_customer_portal_green"
FIRST, SECOND = "_before_20261122140000", "_before_20261123140000"
CUT = BLUE[:41] + FIRST  # as earlier versions made it


@pytest.mark.parametrize("name", ["tms", "x" * 40, "x" * 41, BLUE, GREEN, "ä" * 31, "x" * 63])
def test_a_name_fits_and_is_found_again(name: str) -> None:
    made = name_beside(name, FIRST)
    assert len(made.encode()) <= 63
    assert sort_kept(name, "_before_", [name, made, "other"]) == KeptBeside((made,))


def test_names_that_begin_alike_are_kept_apart() -> None:
    kept = name_beside(BLUE, FIRST)
    assert kept != name_beside(GREEN, FIRST)
    there = [BLUE, GREEN, kept]
    assert sort_kept(GREEN, "_before_", there) == KeptBeside()
    assert sort_kept(BLUE, "_before_", there) == KeptBeside((kept,))


def test_a_name_as_long_as_what_was_cut_is_not_taken_for_it() -> None:
    short, kept = BLUE[:41], name_beside(BLUE, FIRST)
    assert sort_kept(short, "_before_", [short, BLUE, kept]) == KeptBeside()
    assert sort_kept(short, "_before_", [short, BLUE, CUT]) == KeptBeside((), (CUT,))


def test_what_an_earlier_version_cut_is_its_own_where_no_other_begins_alike() -> None:
    newer = name_beside(BLUE, SECOND)
    assert sort_kept(BLUE, "_before_", [BLUE, CUT, newer]) == KeptBeside((newer, CUT))
    assert sort_kept(BLUE, "_before_", [BLUE, GREEN, CUT, newer]) == KeptBeside((newer,), (CUT,))
    assert sort_kept("tms", "_before_", ["tms", "tms2", "tms" + FIRST]) == KeptBeside(
        ("tms" + FIRST,)
    )
