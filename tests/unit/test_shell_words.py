"""Words for a shell: bash itself says what they mean."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.report.shell import default, filled, kept_at, secret, variable

ODD = st.text(st.sampled_from("ab $`\\\"'{}!*?~\n|&;()<>#-="), max_size=20)


def echoed(script: str, **environment: str) -> str:
    """What bash prints of `"$word"` after the script."""
    done = subprocess.run(
        ["bash", "-euc", script + '\nprintf %s "$word"'],
        env={"PATH": "/usr/bin:/bin"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@given(ODD)
def test_a_default_means_its_text(text: str) -> None:
    text = text.rstrip("\n")  # no path or message ends in one
    assert echoed(f'word="${{UNSET:-{default(text)}}}"') == text


@given(ODD, ODD)
def test_what_stands_around_a_placeholder_means_itself(before: str, after: str) -> None:
    plain = (before + after).replace("{", "(").replace("}", ")")
    given_text = plain[: len(plain) // 2] + "{uploads}" + plain[len(plain) // 2 :]
    word = filled(given_text, {"uploads": "${TARGET}/up"})
    assert echoed(f"word={word}", TARGET="/srv/a b") == given_text.replace(
        "{uploads}", "/srv/a b/up"
    )


def test_without_a_placeholder_a_word_is_quoted_and_double_braces_become_single_ones() -> None:
    assert filled("a b", {}) == "'a b'"
    assert filled("{{port}}", {}) == "'{port}'"
    with pytest.raises(LookupError):
        filled("{nothing}", {})


@pytest.mark.parametrize(
    ("reference", "shell"),
    [
        ("env:APP_KEY", "${APP_KEY}"),
        ("file:/etc/tms/it's.key", "$(cat '/etc/tms/it'\"'\"'s.key')"),
        ("command:pass show tms", "${FALLBACK}"),
        ("keyring:tms/app", "${FALLBACK}"),
    ],
)
def test_a_secret_is_only_led_to(reference: str, shell: str) -> None:
    assert secret(reference, "FALLBACK") == shell


def test_a_commands_arguments_are_not_told() -> None:
    assert kept_at("command:vault read -token=abc x") == "command:vault …"
    assert kept_at("env:X") == "env:X"


@pytest.mark.parametrize(
    ("name", "suffix", "made"),
    [("off-site", "URL", "OFF_SITE_URL"), ("2nd", "", "_2ND"), ("local", "", "LOCAL")],
)
def test_variables_have_names_that_a_shell_takes(name: str, suffix: str, made: str) -> None:
    assert variable(name, suffix) == made
    assert echoed(f"{made}=1; word=${made}") == "1"
