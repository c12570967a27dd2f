"""The comparison of two inventories: each rule of what counts, and what must not alarm."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import IntegrityError, SourceError
from strongroom.model import Finding
from strongroom.postgres.inventory import CatalogObject, Inventory, Value
from strongroom.postgres.structure import compare_structure

V15, V17, V18 = 150018, 170010, 180006


def thing(
    key: str,
    section: str = "tables",
    part_of: str = "",
    follows: str = "",
    needs: tuple[str, ...] = (),
    **attributes: Value,
) -> CatalogObject:
    return CatalogObject(key, section, attributes, part_of, follows, needs)


def inventory(
    *objects: CatalogObject,
    version: int = V15,
    roles: tuple[str, ...] = (),
    available: tuple[str, ...] = (),
    unreadable: Mapping[str, str] | None = None,
) -> Inventory:
    return Inventory(
        version,
        {one.key: one for one in objects},
        frozenset(roles),
        frozenset(available),
        unreadable or {},
    )


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(one.code, one.subject, one.message) for one in findings]


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in findings]


def test_equal_inventories_have_no_findings() -> None:
    one = inventory(thing("table t", owner="a"))
    assert compare_structure(one, one) == []


@pytest.mark.parametrize(
    ("attribute", "expected", "observed", "message"),
    [
        ("owner", "a", "b", "owner: expected a, observed b"),
        ("row_security", True, False, "row_security: expected yes, observed no"),
        ("default", "1", None, "default: expected 1, observed nothing"),
        ("grants", {"a": "SELECT"}, {"a": "SELECT", "b": "INSERT"},
         "grants: b: expected nothing, observed INSERT"),
        ("grants", {"a": "SELECT", "b": "SELECT"}, {"a": "UPDATE"},
         "grants: a: expected SELECT, observed UPDATE, b: expected SELECT, observed nothing"),
        ("options", None, {"fillfactor": "70"},
         "options: fillfactor: expected nothing, observed 70"),
        ("labels", ["a", "b"], ["a", "c"], "labels: expected b, observed c"),
        ("labels", ["a", "b"], ["b", "a"], "labels: expected a, b, observed b, a"),
        ("body", "x", "", "body: expected x, observed ''"),
        ("body", "one\n  two", "one two three", "body: expected one two, observed one two three"),
    ],
)  # fmt: skip
def test_the_message_shows_the_difference(
    attribute: str, expected: Value, observed: Value, message: str
) -> None:
    before = inventory(CatalogObject("table t", "tables", {attribute: expected}))
    after = inventory(CatalogObject("table t", "tables", {attribute: observed}))
    assert told(compare_structure(before, after)) == [("structure-differs", "table t", message)]


@pytest.mark.parametrize("section", ["database", "functions", "role settings"])
def test_values_of_an_applications_own_settings_are_not_shown(section: str) -> None:
    """The value may be a secret; equal ones are seen to be equal by the beginning of the digest."""

    def having(**settings: Value) -> Inventory:
        values = {name.replace("__", "."): value for name, value in settings.items()}
        return inventory(CatalogObject("it", section, {"settings": values}))

    before = having(app__jwt_secret="SECRET-1", work_mem="4MB", app__same="SECRET-3")
    after = having(app__jwt_secret="SECRET-2", work_mem="8MB", app__same="SECRET-3")
    (found,) = compare_structure(before, after)
    assert found.message == (
        "settings: app.jwt_secret: expected a value of SHA-256 0d34b727…, observed a value of"
        " SHA-256 4b41d3ca…, work_mem: expected 4MB, observed 8MB"
    )
    for one in (*compare_structure(before, inventory()), *compare_structure(inventory(), before)):
        assert "SECRET" not in one.message
        assert "work_mem 4MB" in one.message
    (lost,) = compare_structure(before, inventory(CatalogObject("it", section, {"settings": None})))
    assert "SECRET" not in lost.message


def test_differences_of_one_object_are_one_finding() -> None:
    before = inventory(thing("table t", owner="a", persistence="permanent"))
    after = inventory(thing("table t", owner="b", persistence="unlogged"))
    (found,) = compare_structure(before, after)
    assert found.message == (
        "owner: expected a, observed b; persistence: expected permanent, observed unlogged"
    )


def test_a_long_text_is_cut_around_the_first_difference() -> None:
    before = inventory(thing("function f()", body="x" * 500 + "old" + "y" * 500))
    after = inventory(thing("function f()", body="x" * 500 + "new" + "y" * 500))
    (found,) = compare_structure(before, after)
    assert "xxxold" in found.message
    assert "xxxnew" in found.message
    assert len(found.message) < 300


def test_space_alone_is_a_difference() -> None:
    before = inventory(thing("function f()", body="a b"))
    after = inventory(thing("function f()", body="a  b"))
    assert codes(compare_structure(before, after)) == [("structure-differs", "function f()")]


def test_missing_and_extra_are_told_once() -> None:
    whole = (
        thing("table t"),
        thing("column t.a", "columns", part_of="table t", type="int"),
        thing("constraint k on t", "constraints", part_of="table t", definition="CHECK (a > 0)"),
        thing("index k", "indexes", part_of="constraint k on t", definition="..."),
        thing("publication p table t", "publication tables", follows="table t"),
    )
    assert codes(compare_structure(inventory(*whole), inventory())) == [
        ("structure-missing", "table t")
    ]
    assert codes(compare_structure(inventory(), inventory(*whole))) == [
        ("structure-extra", "table t")
    ]
    assert told(compare_structure(inventory(*whole), inventory(*whole[:2], whole[4]))) == [
        (
            "structure-missing",
            "constraint k on t",
            "expected definition CHECK (a > 0), observed nothing",
        )
    ]


def test_what_a_partition_takes_from_its_parent_is_told_once() -> None:
    def both(parent: str, child: str) -> Inventory:
        return inventory(
            thing("column t.a", "columns", type=parent),
            thing("column t_1.a", "columns", follows="column t.a", type=child),
        )

    changed = compare_structure(both("int", "int"), both("bigint", "bigint"))
    assert codes(changed) == [("structure-differs", "column t.a")]
    alone = compare_structure(both("int", "int"), both("int", "bigint"))
    assert codes(alone) == [("structure-differs", "column t_1.a")]


class TestText:
    """Expressions that PostgreSQL may have rewritten."""

    captured = inventory(thing("policy p on t", "policies", using="a IN (b)", mode="permissive"))
    rewritten = inventory(thing("policy p on t", "policies", using="a = b", mode="permissive"))
    opened = inventory(thing("policy p on t", "policies", using="true", mode="permissive"))

    def test_what_the_reference_has_too_is_a_note(self) -> None:
        found = compare_structure(self.captured, self.rewritten, lambda: self.rewritten)
        assert codes(found) == [("structure-rewritten", "policy p on t")]

    def test_what_the_reference_has_not_is_a_failure(self) -> None:
        found = compare_structure(self.captured, self.opened, lambda: self.rewritten)
        assert codes(found) == [("structure-differs", "policy p on t")]

    def test_without_a_reference_it_is_unknown(self) -> None:
        found = compare_structure(self.captured, self.opened)
        assert codes(found) == [("structure-unchecked", "policy p on t")]

    def test_a_reference_that_fails_makes_it_unknown(self) -> None:
        def fails() -> Inventory:
            raise SourceError("no space", subject="sandbox")

        (found,) = compare_structure(self.captured, self.opened, fails)
        assert found.code == "structure-unchecked"
        assert "no space" in found.message

    def test_a_reference_of_another_version_makes_it_unknown(self) -> None:
        newer = inventory(*self.rewritten.objects.values(), version=V18)
        found = compare_structure(self.captured, self.rewritten, lambda: newer)
        assert codes(found) == [("structure-unchecked", "policy p on t")]

    def test_a_reference_without_the_object_makes_it_unknown(self) -> None:
        found = compare_structure(self.captured, self.rewritten, inventory)
        assert codes(found) == [("structure-unchecked", "policy p on t")]

    def test_it_is_not_asked_for_when_no_text_differs(self) -> None:
        def must_not_be_called() -> Inventory:
            raise AssertionError

        restrictive = inventory(
            thing("policy p on t", "policies", using="a IN (b)", mode="restrictive")
        )
        found = compare_structure(self.captured, restrictive, must_not_be_called)
        assert codes(found) == [("structure-differs", "policy p on t")]

    def test_a_text_that_is_gone_needs_no_reference(self) -> None:
        gone = inventory(thing("policy p on t", "policies", using=None, mode="permissive"))
        found = compare_structure(self.captured, gone, lambda: gone)
        assert codes(found) == [("structure-differs", "policy p on t")]

    def test_a_function_body_is_never_rewritten(self) -> None:
        before = inventory(thing("function f()", "routines", body="a"))
        after = inventory(thing("function f()", "routines", body="b"))
        found = compare_structure(before, after, lambda: after)
        assert codes(found) == [("structure-differs", "function f()")]

    def test_both_kinds_of_difference_are_told_apart(self) -> None:
        both = inventory(thing("policy p on t", "policies", using="a = b", mode="restrictive"))
        found = compare_structure(self.captured, both, lambda: self.rewritten)
        assert codes(found) == [
            ("structure-differs", "policy p on t"),
            ("structure-rewritten", "policy p on t"),
        ]
        assert found[0].message == "mode: expected permissive, observed restrictive"


class TestRoles:
    """The target's cluster may have more roles, but not other ones."""

    def cluster(self, *extra: CatalogObject, mentioned: tuple[str, ...] = ("anon",)) -> Inventory:
        roles = (
            thing("role anon", "roles", name="anon", login=False),
            thing("role bob", "roles", name="bob", login=True),
        )
        return inventory(*roles, *extra, roles=mentioned)

    def membership(self, member: str, group: str) -> CatalogObject:
        key = f"membership of {member} in {group}"
        return thing(key, "memberships", f"role {member}", member=member, group=group, admin=False)

    def test_more_roles_are_fine(self) -> None:
        more = self.cluster(
            thing("role eve", "roles", name="eve", login=True), self.membership("eve", "anon")
        )
        assert compare_structure(self.cluster(), more) == []

    def test_a_role_that_nothing_mentions_may_change_or_go(self) -> None:
        gone = inventory(thing("role anon", "roles", name="anon", login=False), roles=("anon",))
        assert compare_structure(self.cluster(), gone) == []

    def test_a_mentioned_role_must_be_alike(self) -> None:
        changed = inventory(thing("role anon", "roles", name="anon", login=True))
        assert told(compare_structure(self.cluster(), changed)) == [
            ("structure-differs", "role anon", "login: expected no, observed yes")
        ]
        assert codes(compare_structure(self.cluster(), inventory())) == [
            ("structure-missing", "role anon")
        ]

    def test_a_captured_role_must_not_gain_a_mentioned_one(self) -> None:
        gained = self.cluster(self.membership("bob", "anon"))
        assert codes(compare_structure(self.cluster(), gained)) == [
            ("structure-extra", "membership of bob in anon")
        ]

    def test_who_else_belongs_to_the_group_of_a_mentioned_role_is_no_matter(self) -> None:
        """The database mentions anon, which belongs to staff, as bob does."""
        staff = thing("role staff", "roles", name="staff", login=False)
        ours = (staff, self.membership("anon", "staff"))
        others = (*ours, self.membership("bob", "staff"))
        captured = self.cluster(*others, mentioned=("anon", "staff"))
        assert compare_structure(captured, self.cluster(*ours)) == []
        assert compare_structure(captured, captured) == []
        assert codes(compare_structure(captured, self.cluster(*others[:1]))) == [
            ("structure-missing", "membership of anon in staff")
        ]
        without = self.cluster(*ours, mentioned=("anon", "staff"))
        assert codes(compare_structure(without, self.cluster(*others))) == [
            ("structure-extra", "membership of bob in staff")
        ]

    def test_a_mentioned_role_must_not_gain_one_of_the_server(self) -> None:
        gained = self.cluster(self.membership("anon", "pg_read_all_data"))
        assert codes(compare_structure(self.cluster(), gained)) == [
            ("structure-extra", "membership of anon in pg_read_all_data")
        ]
        unconcerned = self.cluster(self.membership("bob", "pg_monitor"))
        assert compare_structure(self.cluster(), unconcerned) == []

    def test_parameters_matter_as_far_as_mentioned_roles_do(self) -> None:
        def with_grants(**grants: Value) -> Inventory:
            return self.cluster(thing("parameter work_mem", "parameters", grants=grants))

        assert compare_structure(self.cluster(), with_grants(eve="SET")) == []
        assert codes(compare_structure(self.cluster(), with_grants(eve="SET", anon="SET"))) == [
            ("structure-extra", "parameter work_mem")
        ]


class TestVersions:
    """What differs between server versions only."""

    def test_an_attribute_that_one_version_does_not_know_says_nothing(self) -> None:
        old = inventory(thing("column t.a", "columns", type="int"))
        new = inventory(thing("column t.a", "columns", type="int", compression="lz4"), version=V17)
        assert compare_structure(old, new) == []

    def test_the_maintain_privilege_is_new_in_17(self) -> None:
        def granting(what: str, version: int) -> Inventory:
            return inventory(thing("table t", grants={"(owner)": what}), version=version)

        old = granting("DELETE SELECT", V15)
        assert compare_structure(old, granting("DELETE MAINTAIN* SELECT", V17)) == []
        assert codes(
            compare_structure(granting("DELETE SELECT", V17), granting("MAINTAIN DELETE", V18))
        ) == [("structure-differs", "table t")]

    def test_another_version_of_an_extension_is_unknown(self) -> None:
        old = inventory(thing("extension hstore", "extensions", name="hstore", version="1.7"))
        new = inventory(thing("extension hstore", "extensions", name="hstore", version="1.8"))
        assert codes(compare_structure(old, new)) == [("structure-unchecked", "extension hstore")]

    def test_another_locale_is_a_note(self) -> None:
        old = inventory(thing("database", "database", locale_collate="ar_AE", encoding="UTF8"))
        new = inventory(thing("database", "database", locale_collate="C", encoding="UTF8"))
        assert codes(compare_structure(old, new)) == [("structure-locale", "database")]


class TestUnknown:
    """What cannot be compared is never fine."""

    def test_an_unreadable_section_is_left_out_by_name(self) -> None:
        captured = inventory(thing("subscription s", "subscriptions", owner="a"), thing("table t"))
        observed = inventory(thing("table t"), unreadable={"subscriptions": "permission denied"})
        expected = (
            "structure-unchecked",
            "subscriptions",
            "could not be read in the target database: permission denied",
        )
        assert told(compare_structure(captured, observed)) == [expected]

    @pytest.mark.parametrize(
        ("available", "code"), [((), "structure-unchecked"), (("hstore",), "structure-missing")]
    )
    def test_what_a_server_lacks_is_unknown_with_all_that_needs_it(
        self, available: tuple[str, ...], code: str
    ) -> None:
        captured = inventory(
            thing("extension hstore", "extensions", name="hstore", version="1"),
            thing("table t", needs=("extension hstore",)),
            thing("column t.a", "columns", part_of="table t"),
            thing("sequence s", "sequences", needs=("extension hstore",), owned_by="t.a"),
            thing("grants on type hstore", "grants", part_of="extension hstore"),
        )
        observed = inventory(thing("sequence s", "sequences", owned_by=None), available=available)
        other = "structure-unchecked" if code == "structure-unchecked" else "structure-differs"
        assert codes(compare_structure(captured, observed)) == [
            (code, "extension hstore"),
            (other, "sequence s"),
            (code, "table t"),
        ]

    def test_the_caller_may_name_what_is_lacking(self) -> None:
        captured = inventory(
            thing("collation c", "collations"), thing("table t", needs=("collation c",))
        )
        found = compare_structure(captured, inventory(), lacking=["collation c"])
        assert codes(found) == [
            ("structure-unchecked", "collation c"),
            ("structure-unchecked", "table t"),
        ]

    def test_what_a_role_may_not_see_is_unknown(self) -> None:
        captured = inventory(thing("user mapping m", "user mappings", options="(not read)"))
        observed = inventory(thing("user mapping m", "user mappings", options={"user": "a"}))
        assert codes(compare_structure(captured, observed)) == [
            ("structure-unchecked", "user mapping m")
        ]


def test_an_invalid_index_is_not_missed() -> None:
    captured = inventory(thing("index i", "indexes", valid=False), thing("index j", "indexes"))
    assert codes(compare_structure(captured, inventory())) == [
        ("structure-rewritten", "index i"),
        ("structure-missing", "index j"),
    ]


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"format": 2}', b"\xff", b'{"format": 1, "server_version": "x"}'],
)
def test_what_is_no_inventory_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError) as refused:
        Inventory.from_json(data)
    assert refused.value.code == "snapshot-damaged"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
attributes = st.dictionaries(st.sampled_from(["a", "owner", "using"]), values, min_size=1)
inventories = st.builds(
    lambda contents: inventory(
        *(CatalogObject(f"table {name}", "tables", each) for name, each in contents.items())
    ),
    st.dictionaries(st.text(min_size=1, max_size=3), attributes, max_size=5),
)


@settings(max_examples=50)
@given(inventories)
def test_json_keeps_everything(one: Inventory) -> None:
    data = one.to_json()
    assert Inventory.from_json(data) == one
    assert Inventory.from_json(data).to_json() == data
    assert json.loads(data)["server_version"] == V15
    assert compare_structure(one, Inventory.from_json(data)) == []


@settings(max_examples=50)
@given(inventories, st.data())
def test_any_change_is_found_where_it_is(one: Inventory, data: st.DataObject) -> None:
    if not one.objects:
        return
    key = data.draw(st.sampled_from(sorted(one.objects)))
    old = one.objects[key]
    attribute = data.draw(st.sampled_from(sorted(old.attributes)))
    new = data.draw(values.filter(lambda value: value != old.attributes[attribute]))
    changed = old.with_attributes({**old.attributes, attribute: new})
    other = inventory(*(changed if each is old else each for each in one.objects.values()))
    found = compare_structure(one, other, lambda: one)
    assert codes(found) == [("structure-differs", key)]
