"""Does a file look like a secret? By its name, and by what stands in it.

Content goes through detect-secrets' detectors line by line, called directly: its own scanner
would skip files that are not UTF-8, honour "allowlist" comments in them, and verify what it
found over the network. Its two entropy detectors are left out: they take every checksum for a
secret, and a false alarm stops a backup. What they would add for configuration files (tokens,
PHP constants, Apache's SetEnv) is covered by rules of our own.

Invariant I6: what is returned names the kind of secret and the line, never the secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from itertools import chain
from typing import Any, Final

_NAMES: Final = (
    # (pattern of the lower-case base name, what such a file is)
    ((".env", ".env.*", "*.env"), "environment file with secrets"),
    (("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk"), "private SSH key"),
    (("*.ppk",), "private SSH key"),
    (("*.p12", "*.pfx", "*.jks", "*.keystore"), "key store"),
    (("*.kdbx", "*.kdb"), "password store"),
    ((".htpasswd", "*.htpasswd"), "password file"),
    ((".netrc", ".pgpass", ".my.cnf", ".git-credentials", ".dockercfg"), "password file"),
)
# Examples of a .env are made to be shared.
_EXAMPLES: Final = ("*.example", "*.sample", "*.dist", "*.template", "*.tmpl", "*.defaults")
# Names that mean a private key only if the content is one (certificates look the same).
_KEY_NAMES: Final = ("*.pem", "*.key", "*.der")

_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_WORD: Final = r"(?:pass(?:word|wd)?|pwd|secret|token|api_?key|private_?key|auth_?key|salt)"
_OWN_RULES: Final = (
    ("token", re.compile(
        r"""(?i)\b\w*(?:token|credential|bearer)\w*['"\]]{0,3}\s*(?:=>|:=|=|:)\s*"""
        r"""(?P<quote>['"])(?P<value>[^'"\s]{16,})(?P=quote)"""
    )),
    ("constant", re.compile(
        rf"""(?i)\bdefine\s*\(\s*(['"])\w*{_WORD}\w*\1\s*,\s*(?P<quote>['"])"""
        r"""(?P<value>[^'"]{4,})(?P=quote)"""
    )),
    ("environment variable", re.compile(
        rf"(?i)^\s*(?:SetEnv|fastcgi_param|php_value|php_admin_value|export)\s+\w*{_WORD}\w*"
        r"""[\s=]+['"]?(?P<value>[^\s'";]{4,})"""
    )),
)  # fmt: skip
_SAID: Final = {
    "Secret Keyword": "password or key",
    "Basic Auth Credentials": "password in a URL",
}
_PLACEHOLDER: Final = re.compile(
    r"(?i)^(?:\$|%|\{|<|change[-_ ]?me|example|your[-_ ]|xxx|\*+$|null$|none$|true$|false$)"
)
# Longer lines are looked at in parts that overlap by more than a secret is long.
_LONGEST_LINE: Final = 20_000
_OVERLAP: Final = 1_000


def name_kind(path: str) -> str | None:
    """What kind of secret a file is by its name alone; None when the name says nothing."""
    name = path.rpartition("/")[2].lower()
    if any(fnmatchcase(name, example) for example in _EXAMPLES):
        return None
    for patterns, kind in _NAMES:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return kind
    if path.lower().endswith((".aws/credentials", ".docker/config.json")):
        return "credentials file"
    return None


def may_be_key(path: str) -> bool:
    """Whether files of this name often hold a private key, so that the content must tell."""
    name = path.rpartition("/")[2].lower()
    return any(fnmatchcase(name, pattern) for pattern in _KEY_NAMES)


def holds_private_key(content: bytes) -> bool:
    """Whether a private key in text form stands in the content."""
    return _PRIVATE_KEY.search(content) is not None


def content_kinds(path: str, lines: Iterable[bytes]) -> list[str]:
    """The kinds of secrets in a file, with the line where each stands first; empty for none.

    Binary files (a NUL in the first line, and no mark of UTF-16) are searched for private keys
    only.
    """
    found: dict[str, int] = {}
    iterator = iter(lines)
    first = next(iterator, b"")
    wide = first.startswith((b"\xff\xfe", b"\xfe\xff"))
    binary = b"\0" in first and not wide
    for number, line in enumerate(chain([first], iterator), start=1):
        # What a detector looks for is ASCII: UTF-16 without its zeros.
        text = line.replace(b"\0", b"") if wide else line
        if _PRIVATE_KEY.search(text):
            found.setdefault("private key", number)
        if binary:
            continue
        for begin in range(0, len(text), _LONGEST_LINE - _OVERLAP):
            part = text[begin : begin + _LONGEST_LINE].decode("utf-8", "replace")
            for kind in _line_kinds(path, part):
                found.setdefault(kind, number)
    return [f"{kind} in line {number}" for kind, number in found.items()]


def _line_kinds(path: str, line: str) -> Iterator[str]:
    text = line.rstrip()
    if not text:
        return
    for kind, rule in _OWN_RULES:
        match = rule.search(text)
        if match and _plausible(match["value"], mixed=kind == "token"):
            yield kind
    for kind, analyze, heuristic in _detectors():
        for secret in analyze(filename=path, line=text, line_number=1):
            value = secret.secret_value or ""
            if not heuristic or _likely(value, text):
                yield kind


def _plausible(value: str, *, mixed: bool) -> bool:
    if _PLACEHOLDER.match(value):
        return False
    return not mixed or bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value))


def _likely(value: str, line: str) -> bool:
    """Whether what the keyword detector found is a value and not a reference to one."""
    from detect_secrets.filters import heuristic

    return not (
        heuristic.is_templated_secret(value)
        or heuristic.is_prefixed_with_dollar_sign(value)
        or heuristic.is_indirect_reference(line)
        or _PLACEHOLDER.match(value)
    )


# Any: the library has no annotations; `analyze_line` returns a set of its PotentialSecret.
Detector = tuple[str, Callable[..., Any], bool]


@cache
def _detectors() -> tuple[Detector, ...]:
    """(kind, function, whether to apply heuristics) of each detector; importing takes 0.15 s."""
    from detect_secrets.plugins import (
        artifactory,
        aws,
        azure_storage_key,
        basic_auth,
        cloudant,
        discord,
        github_token,
        gitlab_token,
        ibm_cloud_iam,
        jwt,
        keyword,
        mailchimp,
        npm,
        openai,
        pypi_token,
        sendgrid,
        slack,
        square_oauth,
        stripe,
        telegram_token,
        twilio,
    )

    certain = (
        artifactory.ArtifactoryDetector(),
        aws.AWSKeyDetector(),
        azure_storage_key.AzureStorageKeyDetector(),
        cloudant.CloudantDetector(),
        discord.DiscordBotTokenDetector(),
        github_token.GitHubTokenDetector(),
        gitlab_token.GitLabTokenDetector(),
        ibm_cloud_iam.IbmCloudIamDetector(),
        jwt.JwtTokenDetector(),
        mailchimp.MailchimpDetector(),
        npm.NpmDetector(),
        openai.OpenAIDetector(),
        pypi_token.PypiTokenDetector(),
        sendgrid.SendGridDetector(),
        slack.SlackDetector(),
        square_oauth.SquareOAuthDetector(),
        stripe.StripeDetector(),
        telegram_token.TelegramBotTokenDetector(),
        twilio.TwilioKeyDetector(),
    )
    likely = (basic_auth.BasicAuthDetector(), keyword.KeywordDetector())
    return tuple(
        (_SAID.get(one.secret_type, one.secret_type), one.analyze_line, heuristic)
        for group, heuristic in ((certain, False), (likely, True))
        for one in group
    )
