"""Which settings are others than before, by their paths."""

from __future__ import annotations

import pytest

from strongroom.service.configuration import differences


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": "24h"}}, {"a": {"b": "4h"}}, [("a.b", "24h", "4h")]),
        ({"a": {"b": 1}}, {"a": {}}, [("a", None, {}), ("a.b", 1, None)]),
        ({}, {"sources": {"x": {"path": "/x"}}}, [("sources.x.path", None, "/x")]),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, [("a", ["x", "y"], ["y", "x"])]),
        ({"a": [{"to": "env:A"}]}, {"a": [{"to": "env:A"}, {"to": "env:B"}]},
         [("a[1].to", None, "env:B")]),
        ({"a": False}, {"a": None}, [("a", False, None)]),
        (None, {"a": 1}, [("a", None, 1)]),
    ],
)  # fmt: skip
def test_differences(before: object, after: object, told: list[tuple[object, ...]]) -> None:
    found = [tuple(one.values()) for one in differences(before, after)]
    assert found == told
