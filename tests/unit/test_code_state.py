"""Recorded state of a repository: no credential gets in, nothing unsafe gets out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from strongroom.errors import IntegrityError
from strongroom.sources.code_state import (
    CodeState,
    Ref,
    Remote,
    StashEntry,
    decode_state,
    without_credentials,
)

ONE, TWO = "1" * 40, "2" * 40
STATE = CodeState(
    object_format="sha1",
    bare=False,
    head="refs/heads/main",
    head_object=ONE,
    refs=(
        Ref("refs/heads/main", ONE, "commit"),
        Ref("refs/heads/odd\udcff", ONE, "commit"),
        Ref("refs/remotes/origin/HEAD", ONE, "commit", None, "refs/remotes/origin/main"),
        Ref("refs/tags/v1", TWO, "tag", ONE),
    ),
    stash=(StashEntry(TWO, "WIP on main"),),
    remotes=(Remote("origin", ("git@example.com:tms.git",)),),
)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com/tms.git", "https://example.com/tms.git"),
        ("https://amina:hunter2@example.com/tms.git", "https://example.com/tms.git"),
        ("https://ghp_token@example.com:8443/tms.git", "https://example.com:8443/tms.git"),
        ("https://example.com/tms.git?private_token=abc#x", "https://example.com/tms.git"),
        ("ssh://git@example.com/tms.git", "ssh://git@example.com/tms.git"),
        ("ssh://git:hunter2@example.com:22/tms", "ssh://git@example.com:22/tms"),
        ("git@example.com:group/tms.git", "git@example.com:group/tms.git"),
        ("foo::https://u:hunter2@example.com/x", "foo::https://example.com/x"),
        ("/srv/git/tms.git", "/srv/git/tms.git"),
        ("file:///srv/git/a@b.git", "file:///srv/git/a@b.git"),
        ("file://u:hunter2@host/srv/x", "file://host/srv/x"),
        ("https://u:hunter2@[broken/x", "https://"),
        ("https://u:hun/ter2@example.com/x", "https://"),
        ("ssh://u:hun/ter2@example.com/x", "ssh://"),
        ("https://u:hun@ter2@example.com/x", "https://example.com/x"),
        ("HTTPS://u:hunter2@example.com/x", "https://example.com/x"),
        ("1https://u:hunter2@example.com/x", "1https://"),
        ("ssh://git@[2001:db8::1]:22/x", "ssh://git@[2001:db8::1]:22/x"),
        ("u:hunter2@example.com:/srv/tms", "u@example.com:/srv/tms"),
        ("u:hun@ter/2@example.com/tms", "u@example.com/tms"),
        ("foo::u:hunter2@example.com/x", "foo::u@example.com/x"),
        ("ext::curl -u u:hunter2 https://example.com/x", "ext::"),
        ("git@[2001:db8::1]:tms.git", "git@[2001:db8::1]:tms.git"),
        ("example.com:tms@v2.git", "example.com:tms@v2.git"),
        ("origin", "origin"),
        (".", "."),
    ],
)
def test_a_remote_url_is_kept_without_its_credentials(url: str, kept: str) -> None:
    assert without_credentials(url) == kept


def test_credentials_of_an_older_snapshot_are_not_read_back() -> None:
    """Snapshots of earlier versions held what a branch follows as it stood."""
    fields = json.loads(STATE.encode())
    url = "https://u:hunter2@example.com/tms.git"
    fields["remotes"] = [{"name": url, "urls": [url], "push_urls": [url], "fetch": [url]}]
    fields["upstreams"] = [{"branch": url, "remote": url, "merge": url}]
    state = decode_state(json.dumps(fields).encode(), "code")
    assert state.upstreams[0].remote == "https://example.com/tms.git"
    assert "hunter2" not in state.encode().decode()


def test_a_state_survives_writing_and_reading() -> None:
    assert decode_state(STATE.encode(), "code") == STATE
    assert STATE.encode().isascii()


def test_tags_at_head_follow_annotated_tags() -> None:
    assert STATE.tags_at_head() == ("v1",)


def test_a_bundle_needs_every_object_that_is_named_anywhere() -> None:
    assert STATE.objects() == (ONE, TWO)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("head", "HEAD"),
        ("head", "refs/../../config"),
        ("head_object", "--upload-pack=evil"),
        ("object_format", "md5"),
        ("format", 2),
        ("refs", [{"name": "refs/heads/a\n", "object": ONE, "type": "commit",
                   "peeled": None, "symbolic": None}]),
        ("refs", [{"name": "config", "object": ONE, "type": "commit",
                   "peeled": None, "symbolic": None}]),
        ("refs", [{"name": "refs/heads/a", "object": "HEAD", "type": "commit",
                   "peeled": None, "symbolic": None}]),
        ("shallow", ["x"]),
        ("stash", [{"object": ONE, "message": "two\nlines"}]),
        ("remotes", [{"name": "o\nrigin", "urls": [], "push_urls": [], "fetch": []}]),
        ("remotes", [{"name": "origin", "urls": [["a"]], "push_urls": [], "fetch": []}]),
        ("upstreams", [{}]),
        ("refs", None),
    ],
)  # fmt: skip
def test_what_git_would_not_accept_is_refused(key: str, value: Any) -> None:  # Any: JSON
    fields = json.loads(STATE.encode())
    fields[key] = value
    with pytest.raises(IntegrityError) as caught:
        decode_state(json.dumps(fields).encode(), "code")
    assert caught.value.code == "snapshot-damaged"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null"])
def test_what_is_no_state_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_state(content, "code")
