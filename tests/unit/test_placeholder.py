"""Names in braces are replaced, those in double braces stay, and all else is left alone."""

from __future__ import annotations

import pytest

from strongroom.config.placeholder import UnknownNameError, fill_in, names_in

VALUES = {"port": "8080", "database.host": "/s", "secret.app_key": "{port}", "my-uploads": "/u"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:{port}", "127.0.0.1:8080"),
        ("{database.host}{port}", "/s8080"),
        ("{my-uploads}/lpos", "/u/lpos"),
        ("{secret.app_key}", "{port}"),  # a value is not looked through again
        ("{{port}}", "{port}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("function () { return $x; }", "function () { return $x; }"),
        ("{ port }, {Port}, {}", "{ port }, {Port}, {}"),
        ("", ""),
    ],
)
def test_a_text_is_filled_in(text: str, expected: str) -> None:
    assert fill_in(text, VALUES) == expected


def test_a_name_without_a_value_is_told() -> None:
    with pytest.raises(UnknownNameError, match=r"\{prot\}"):
        fill_in("127.0.0.1:{prot}", VALUES)


def test_the_names_of_a_text_are_those_that_will_be_replaced() -> None:
    assert names_in("{port} {{home}} {database.host} {X}") == ["port", "database.host"]
