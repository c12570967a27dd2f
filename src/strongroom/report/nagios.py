"""How things stand in one line, for Nagios, Icinga and whatever runs their plugins.

The format is that of the Monitoring Plugins' guidelines: a word, a text, and behind a bar numbers
with what is to be warned of. No text of others brings a bar or a line into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.judgement import Report
from strongroom.report.wording import plain

__all__ = ["EXIT_NOBODY_KNOWS", "nagios_line", "nagios_unknown"]

EXIT_NOBODY_KNOWS: Final = 3
_STATES: Final = {
    Verdict.PROVEN: (0, "OK"),
    Verdict.STALE: (1, "WARNING"),
    Verdict.FAILED: (2, "CRITICAL"),
    Verdict.UNKNOWN: (EXIT_NOBODY_KNOWS, "UNKNOWN"),
}
# Agents cut after a kilobyte, and numbers come last.
_MOST_CHARACTERS: Final = 400


def nagios_line(report: Report) -> tuple[int, str]:
    """The plugin's exit status and its line."""
    status, word = _STATES[report.verdict]
    return status, f"BACKUP {word} - {_clean(_text(report))} | {' '.join(_numbers(report))}"


def nagios_unknown(why: str) -> str:
    """The line when nothing could be looked at; the exit status is 3."""
    return f"BACKUP UNKNOWN - {_clean(why)}"


def _clean(text: str) -> str:
    bare = plain(" ".join(text.split())).replace("|", "/")
    return bare if len(bare) <= _MOST_CHARACTERS else bare[: _MOST_CHARACTERS - 1] + "…"


def _text(report: Report) -> str:
    parts = [report.because.removesuffix(".")]
    newest = [one for one in report.checks if one.name == "capture" and one.value is not None]
    if newest:
        oldest = max(newest, key=lambda one: one.value or 0.0)
        parts.append(f"{oldest.subject} {oldest.observed.partition(',')[0]}")
    if report.verdict is Verdict.PROVEN:
        odd = [one.kind.title for one in report.checks if not one.is_well]
        if odd:
            parts.append(f"to look at: {', '.join(dict.fromkeys(odd))}")
    return "; ".join(parts)


def _numbers(report: Report) -> Iterator[str]:
    """`label=value[unit];warning;critical;minimum;maximum`; what nobody knows is left out."""
    capture = _worst(report, "capture")
    if capture is not None:
        yield f"age={capture[0]:.0f}s;{capture[1]:.0f};{2 * capture[1]:.0f};0"
    for name, label in (("proof", "proof_age"), ("rto", "recovery"), ("integrity", "check_age")):
        found = _worst(report, name)
        if found is not None:
            yield f"{label}={found[0]:.0f}s;{found[1]:.0f};;0"
    for one in report.checks:
        if one.name == "copies" and one.value is not None and one.limit is not None:
            yield f"copies={one.value:.0f};{one.limit:.0f}:;;0"
        elif one.name == "space" and one.value is not None and one.limit is not None:
            yield f"free_{one.subject}={one.value:.0f}B;{one.limit:.0f}:;;0"
        elif one.name == "size" and one.value is not None:
            yield f"size_{one.subject}={one.value:.0f}B;;;0"
    bad = sum(not one.is_well for one in report.checks)
    yield f"not_well={bad};;;0;{len(report.checks)}"


def _worst(report: Report, name: str) -> tuple[float, float] | None:
    """The value of this kind that is nearest to its limit, or farthest beyond."""
    known = [
        (one.value, one.limit)
        for one in _of(report, name)
        if one.value is not None and one.limit is not None
    ]
    return max(known, key=lambda one: one[0] - one[1], default=None)


def _of(report: Report, name: str) -> Iterable[Check]:
    return (one for one in report.checks if one.name == name)
