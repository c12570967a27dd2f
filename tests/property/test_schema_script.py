"""Whatever a script is made of, its statements joined are the script again."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.postgres.schema_script import split_statements, tokens

PARTS = st.sampled_from(
    [
        ";", "'", '"', "$$", "$a$", "$1", "E'", "\\", "--", "/*", "*/", "(", ")", "\n", " ", "''",
        "CREATE FUNCTION ", "BEGIN", "CASE", "END", "a", "é", "-- Name: x; Type: T; Schema: s;",
    ]
)  # fmt: skip


@given(st.lists(PARTS, max_size=60).map("".join))
@example("E'" + "a" * 5000)  # no end: once each further letter doubled the time
def test_nothing_is_lost_or_added(text: str) -> None:
    statements = split_statements(text)
    assert "".join(statements) == text
    assert all(statements)


@given(st.lists(PARTS, max_size=40).map("".join))
def test_tokens_stand_where_they_say(text: str) -> None:
    end = 0
    for token in tokens(text):
        assert text[token.begin : token.end] == token.text
        assert token.begin >= end
        assert token.depth >= 0
        end = token.end


@given(
    st.lists(
        st.one_of(
            st.text('ab;$"-/*\\\n(', max_size=8).map(lambda one: "'" + one + "'"),
            st.text("ab;$'-/*\\\n(", max_size=8).map(lambda one: '"' + one + '"'),
            st.text("ab;\"'-/*\\\n(", max_size=8).map(lambda one: f"$q${one}$q$"),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_quoted_ends_nothing(values: list[str]) -> None:
    statements = [f"SELECT {value};" for value in values]
    assert split_statements("".join(statements)) == statements
