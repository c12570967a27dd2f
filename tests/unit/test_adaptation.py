"""Words of the command line that adapt a restore to its target."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from strongroom.errors import ConfigError
from strongroom.service.adaptation import adapt, parse_owner, parse_roles
from strongroom.sources.database import DatabaseSource
from strongroom.sources.files import FilesSource


def test_roles_are_pairs() -> None:
    assert parse_roles(["a=b", "Odd One=x=y"]) == {"a": "b", "Odd One": "x=y"}


@pytest.mark.parametrize("words", [["a"], ["=b"], ["a="], ["a=b", "a=c"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_roles(words)
    assert caught.value.code == "usage"
    assert "OLD=NEW" in caught.value.hint


def test_owners_are_names_or_numbers() -> None:
    user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
    assert parse_owner(f"{user.pw_name}:{group.gr_name}") == (user.pw_uid, group.gr_gid)
    assert parse_owner("1234:5678") == (1234, 5678)
    assert parse_owner(user.pw_name) == (user.pw_uid, user.pw_gid)
    assert parse_owner(str(user.pw_uid)) == (user.pw_uid, user.pw_gid)


def test_the_message_about_an_unknown_owner_is_whole() -> None:
    for text, said in (
        ("nosuch:user", "this host knows no user 'nosuch'"),
        ("root:nosuch", "this host knows no group 'nosuch'"),
    ):
        with pytest.raises(ConfigError) as raised:
            parse_owner(text)
        assert raised.value.message == said


@pytest.mark.parametrize("text", ["no such user", "1:no such group", "4294967000", ":1", "1:"])
def test_owners_that_this_host_does_not_know_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_owner(text)
    assert caught.value.code == "usage"


def test_words_that_do_not_fit_the_source_are_refused(tmp_path: Path) -> None:
    files = FilesSource("uploads", tmp_path / "x")
    database = DatabaseSource("database", "postgresql:///x")
    with pytest.raises(ConfigError, match="no roles"):
        adapt(files, ["a=b"], None)
    with pytest.raises(ConfigError, match="--role"):
        adapt(database, [], "0:0")
    adapt(files, [], "0:0")
    adapt(database, ["a=b"], None)
