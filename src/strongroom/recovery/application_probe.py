"""What a restored application is asked, and whether its answers are what was expected. Pure.

A conversation shares cookies and what was taken from earlier answers. Every expectation is one
comparison; those that break are told in a sentence each, without any secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote, urlencode

from strongroom.config.application_check import HttpCheck, LogCheck, WorkflowStep
from strongroom.config.placeholder import ANSWER, fill_in
from strongroom.confinement.enclosure import Reply, Request
from strongroom.recovery.secrecy import forms_of

_COMPARISON: Final = re.compile(r"(>=|<=|!=|>|<)\s*(-?\d+(?:\.\d+)?)")
_SAFE: Final = "%/?&=:+,;@~!$'()*-._[]"
_LONGEST: Final = 160
_MOST_LINES: Final = 5
_MISSING: Final = object()


@dataclass(slots=True)
class Conversation:
    """Requests that follow each other. `values` fill placeholders, `secrets` are never repeated."""

    values: dict[str, str]
    secrets: Sequence[str] = ()
    _cookies: dict[str, str] = field(default_factory=dict)

    def request(self, step: HttpCheck) -> Request:
        """The request of a step. UnknownNameError for a placeholder without a value."""
        encoded = {name: quote(value, safe="") for name, value in self.values.items()}
        path = quote(fill_in(step.path, encoded), safe=_SAFE)
        headers = {name: fill_in(value, self.values) for name, value in step.headers.items()}
        method, body = "GET", b""
        if isinstance(step, WorkflowStep):
            method = step.method
            body = self._body(step, headers)
        if self._cookies:
            held = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            headers.setdefault("Cookie", held)
        headers.setdefault("Accept", "*/*")
        return Request(method, path, headers, body)

    def _body(self, step: WorkflowStep, headers: dict[str, str]) -> bytes:
        if step.send is None:
            return b""
        if isinstance(step.send, str):
            return fill_in(step.send, self.values).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        fields = {name: fill_in(value, self.values) for name, value in step.send.items()}
        return urlencode(fields).encode()

    def judge(self, step: HttpCheck, reply: Reply) -> tuple[int, list[str]]:
        """How many expectations there were, and what was wrong; takes what is to be taken."""
        self._keep_cookies(reply)
        results = list(self._compare(step, reply))
        faults = [fault for fault in results if fault]
        if isinstance(step, WorkflowStep) and not faults:
            for name, wanted in step.take.items():
                taken = self._take(wanted, reply)
                if taken is None:
                    faults.append(f"it has nothing to take for {name} ({wanted})")
                else:
                    self.values[ANSWER + name] = taken
        return len(results), [self.hush(fault) for fault in faults]

    def hush(self, text: str) -> str:
        """The text on one line, not too long, and without secrets."""
        return hush(text, self.secrets)

    def _keep_cookies(self, reply: Reply) -> None:
        for name, value in reply.headers:
            if name.lower() != "set-cookie":
                continue
            try:
                given = SimpleCookie(value)
            except CookieError:
                continue
            for cookie in given.values():
                if cookie["max-age"] in ("0", 0) or not cookie.value:
                    self._cookies.pop(cookie.key, None)
                else:
                    self._cookies[cookie.key] = cookie.coded_value

    def _compare(self, step: HttpCheck, reply: Reply) -> Iterator[str]:
        """For each expectation what is wrong, empty when nothing is."""
        yield _differs("status", step.status, reply.status)
        text = reply.body.decode(errors="replace")
        for wanted in step.text:
            wanted = fill_in(wanted, self.values)
            yield "" if wanted in text else f"it does not hold {wanted!r}"
        for unwanted in step.absent:
            yield f"it holds {unwanted!r}" if unwanted in text else ""
        if step.media_type is not None:
            observed = _header(reply, "content-type").partition(";")[0].strip().lower()
            yield _differs("media type", step.media_type.lower(), observed)
        if step.location is not None:
            location = fill_in(step.location, self.values)
            yield _differs("location", location, _header(reply, "location"))
        if step.sha256 is not None:
            wanted = fill_in(step.sha256, self.values).lower()
            yield _differs("SHA-256", wanted, reply.sha256)
        if step.values:
            yield from self._compare_values(step.values, reply)

    def _compare_values(
        self,
        wanted: Mapping[str, Any],
        reply: Reply,  # Any: JSON values
    ) -> Iterator[str]:
        document = _document(reply)
        for path, expected in wanted.items():
            if document is _MISSING:
                yield f"it is no JSON, so it has no {path}"
                continue
            if isinstance(expected, str):
                expected = fill_in(expected, self.values)
            observed = look_up(document, path)
            if not fits(expected, observed):
                seen = "nothing" if observed is _MISSING else json.dumps(observed)
                yield f"{path} is {seen}, expected {json.dumps(expected)}"
            else:
                yield ""

    def _take(self, wanted: str, reply: Reply) -> str | None:
        kind, _, what = wanted.partition(":")
        found: Any = None  # Any: a JSON value
        if kind == "sha256":
            found = reply.sha256
        elif kind == "header":
            found = _header(reply, what.lower()) or None
        elif kind == "cookie":
            found = self._cookies.get(what)
        elif kind == "text":
            match = re.search(what, reply.body.decode(errors="replace"))
            found = match[1] if match else None
        else:
            document = _document(reply)
            found = None if document is _MISSING else look_up(document, what)
        if found is None or found is _MISSING:
            return None
        return found if isinstance(found, str) else json.dumps(found)


# Any in what follows: JSON values
def look_up(document: Any, path: str) -> Any:
    """The value at a path such as `checks.database.ok` or `[0].number`; a mark when there is none.
    A key may hold dots itself: the longest one that exists is taken."""
    path = path.removeprefix("$").removeprefix(".")
    if not path:
        return document
    if path.startswith("["):
        number, _, rest = path[1:].partition("]")
        if isinstance(document, list) and number.isdigit() and int(number) < len(document):
            return look_up(document[int(number)], rest)
        return _MISSING
    if not isinstance(document, dict):
        return _MISSING
    for end in sorted({*(found.start() for found in re.finditer(r"[.\[]", path)), len(path)})[::-1]:
        if path[:end] in document:
            return look_up(document[path[:end]], path[end:])
    return _MISSING


def fits(expected: Any, observed: Any) -> bool:
    """Whether a value is equal to what was expected, or compares as a text like `> 0` says."""
    if observed is _MISSING:
        return False
    comparison = _COMPARISON.fullmatch(expected) if isinstance(expected, str) else None
    if comparison is None:
        same_kind = isinstance(expected, bool) is isinstance(observed, bool)
        return same_kind and bool(expected == observed)
    try:
        number, bound = float(observed), float(comparison[2])
    except (TypeError, ValueError):
        return False
    return {
        ">": number > bound, "<": number < bound, ">=": number >= bound, "<=": number <= bound,
        "!=": number != bound,
    }[comparison[1]]  # fmt: skip


def log_faults(lines: Iterable[str], check: LogCheck, secrets: Sequence[str]) -> list[str]:
    """The lines that mean a failure, the first few, and how many more there are."""
    failures = [re.compile(one) for one in check.failures]
    ignored = [re.compile(one) for one in check.ignore]
    told: list[str] = []
    more = 0
    for line in lines:
        is_failure = any(one.search(line) for one in failures)
        if not is_failure or any(one.search(line) for one in ignored):
            continue
        if len(told) < _MOST_LINES:
            told.append(hush(line, secrets))
        else:
            more += 1
    if more:
        told.append(f"… and {more} more such lines")
    return told


def hush(text: str, secrets: Sequence[str]) -> str:
    """The text on one line, not too long, and without secrets in any of their forms."""
    for form in forms_of(secrets):
        text = text.replace(form, "***")
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _document(reply: Reply) -> Any:
    if reply.is_cut:
        return _MISSING
    try:
        return json.loads(reply.body)
    except ValueError:
        return _MISSING


def _header(reply: Reply, name: str) -> str:
    return next((value for one, value in reply.headers if one.lower() == name), "")


def _differs(what: str, expected: object, observed: object) -> str:
    return "" if expected == observed else f"{what} is {observed}, expected {expected}"
