"""What a repository missed: by the records, captures and copies, and what was dropped since."""

from __future__ import annotations

from datetime import UTC, datetime

from strongroom.evidence import Entry
from strongroom.service.backlog import Holders, backlog


def captured(point: str, **ids: str) -> Entry:
    snapshots = [
        {"source": "uploads", "repository": name, "id": one, "tree": "t"}
        for name, one in ids.items()
    ]
    return record("backup", point=point, snapshots=snapshots)


def record(kind: str, application: str = "tms", **fields: object) -> Entry:
    told = {"application": application, **fields}
    return Entry(0, datetime(2026, 11, 26, tzinfo=UTC), kind, told, "")


def missed(*entries: Entry) -> list[Holders]:
    return backlog(entries, "tms", "offsite")


def test_what_came_while_it_was_away_is_missed_in_order() -> None:
    history = (
        captured("p1", local="a1", offsite="b1"),
        captured("p2", local="a2"),
        captured("p3", local="a3"),
        captured("p4", local="a4", offsite="b4"),
    )
    assert missed(*history) == [{"local": "a2"}, {"local": "a3"}]


def test_before_its_first_capture_nothing_is_missed() -> None:
    assert missed(captured("p1", local="a1"), captured("p2", local="a2")) == []
    assert missed(captured("p1", local="a1"), captured("p2", local="a2", offsite="b2")) == []


def test_what_was_copied_or_dropped_is_not_missed() -> None:
    history = (
        captured("p1", local="a1", offsite="b1"),
        captured("p2", local="a2"),
        captured("p3", local="a3"),
        captured("p4", local="a4"),
        record("copy", to="offsite", snapshots=[{"id": "b2", "from_id": "a2"}]),
        record("prune", repository="local", drop=["a3"]),
    )
    assert missed(*history) == [{"local": "a4"}]


def test_other_applications_and_the_others_copies_do_not_count() -> None:
    history = (
        captured("p1", local="a1", offsite="b1"),
        captured("p2", local="a2", third="c2"),
        record("copy", application="another", to="offsite", snapshots=[{"from_id": "a2"}]),
        record("copy", to="third", snapshots=[{"id": "c", "from_id": "a2"}]),
        record("prune", repository="local", drop=["a2"]),
    )
    assert missed(*history) == [{"third": "c2"}]


def test_what_was_imported_is_missed_unless_it_was_for_one_alone() -> None:
    def imported(point: str, only: str | None = None, **ids: str) -> Entry:
        entry = captured(point, **ids)
        return record("import", **{**entry.fields, "only": only})

    history = (
        imported("p0", local="a0"),
        captured("p1", local="a1", offsite="b1"),
        imported("p2", local="a2"),
        imported("p3", only="local", local="a3"),
        imported("p4", local="a4"),
        record("copy", to="offsite", snapshots=[{"id": "b4", "from_id": "a4"}]),
    )
    assert missed(*history) == [{"local": "a2"}]
    # An import alone does not make a repository one that must hold all.
    assert missed(imported("p1", local="a1", offsite="b1"), captured("p2", local="a2")) == []
