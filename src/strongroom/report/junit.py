"""Drills as JUnit XML, which every CI server reads: a suite per run, a case per source and stage.

FAILED is a failure and UNKNOWN an error, so that neither is ever green; stages of a run that
compared nothing are skipped. Elements, their order and attributes are those on which the schemas
of Ant and of Jenkins agree. Times of suites are UTC, without a zone, as these schemas have them.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Final

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.observation import Noticed, Observation
from strongroom.report.wording import plain

__all__ = ["junit_xml"]

_WORST: Final = (Severity.FAILURE, Severity.UNKNOWN)
# Whose stage a finding is of, by how its code begins, where it is not called like its stage.
_STAGES: Final = {
    "content-generated": ("beside tables",),
    "content-large-object": ("beside tables",),
    "content-unchecked": ("beside tables",),
    "sequence": ("beside tables",),
    "tree": ("compare files", "prove"),
    "code-ref-differs": ("compare refs",),
    "code": ("check objects",),
    "load": ("load", "restore"),
    "restore": ("restore",),
    "sandbox": ("sandbox",),
}


def junit_xml(observations: Sequence[Observation]) -> bytes:
    """The document, in UTF-8."""
    root = ET.Element("testsuites")
    for number, run in enumerate(_runs(observations)):
        root.append(_suite(number, run))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _runs(observations: Sequence[Observation]) -> list[list[Observation]]:
    """What one run of a command recorded belongs together; older records stand alone."""
    found: dict[str, list[Observation]] = {}
    for one in observations:
        found.setdefault(one.run or f"record {one.seq}", []).append(one)
    return list(found.values())


def _suite(number: int, run: Sequence[Observation]) -> ET.Element:
    first = run[0]
    cases = [case for one in run for case in _cases(one)]
    numbers = ", ".join(str(one.seq) for one in run)
    host = first.versions.get("host", "")
    suite = ET.Element(
        "testsuite",
        {
            "id": str(number),
            "package": "strongroom",
            "name": f"{first.action} of record {numbers}",
            "timestamp": f"{first.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
            "hostname": plain(host) or "unknown",
            "tests": str(len(cases)),
            "failures": str(_having(cases, "failure")),
            "errors": str(_having(cases, "error")),
            "skipped": str(_having(cases, "skipped")),
            "time": _seconds(sum(one.seconds for one in run)),
        },
    )
    properties = ET.SubElement(suite, "properties")
    for one in run:
        told = {
            "repository": one.repository,
            "location": one.location,
            "snapshot": one.snapshot,
            "tree": one.tree,
            "expected_digest": one.digests.expected if one.digests else "",
            "observed_digest": one.digests.observed if one.digests else "",
        }
        for name, value in told.items():
            full = {"name": f"{plain(one.source)}.{name}", "value": plain(value)}
            ET.SubElement(properties, "property", full)
    suite.extend(cases)
    ET.SubElement(suite, "system-out")
    ET.SubElement(suite, "system-err")
    return suite


def _having(cases: Iterable[ET.Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)


def _cases(one: Observation) -> list[ET.Element]:
    """The stages with what was found in each, and last the verdict on the whole."""
    names = [stage.name for stage in one.stages]
    of_stage: dict[str, list[Noticed]] = {}
    for found in one.findings:
        if found.severity in _WORST and (name := _stage_of(found, names)) is not None:
            of_stage.setdefault(name, []).append(found)
    cases = []
    for stage in one.stages:
        case = _case(one, stage.name, stage.seconds)
        _add_worst(case, of_stage.get(stage.name, ()))
        if one.checked <= 0 and len(case) == 0:
            ET.SubElement(case, "skipped", {"message": "nothing was compared"})
        cases.append(case)
    cases.append(_verdict_case(one))
    return cases


def _stage_of(found: Noticed, names: Sequence[str]) -> str | None:
    """The stage of a finding; None when it is of none, so that the verdict alone tells it."""
    wanted = _STAGES.get(found.code) or _STAGES.get(found.code.partition("-")[0])
    wanted = wanted or (found.code.partition("-")[0],)
    return next((name for name in names for word in wanted if name.startswith(word)), None)


def _verdict_case(one: Observation) -> ET.Element:
    case = _case(one, "verdict", 0.0)
    worst = sorted(
        (found for found in one.findings if found.severity in _WORST),
        key=lambda found: _WORST.index(found.severity),
    )
    told = "\n".join(map(_line, worst)) or one.error
    failed = one.verdict is Verdict.FAILED or Severity.FAILURE in one.severities
    unknown = (
        one.verdict is not Verdict.PROVEN
        or one.checked <= 0
        or Severity.UNKNOWN in one.severities
        or (one.digests is not None and not one.digests.agree)
    )
    if failed:
        _add(case, "failure", "FAILED", told)
    elif unknown:
        _add(case, "error", "UNKNOWN", told)
    return case


def _case(one: Observation, name: str, seconds: float) -> ET.Element:
    place = f"strongroom.{plain(one.source)}"
    return ET.Element(
        "testcase", {"classname": place, "name": plain(name), "time": _seconds(seconds)}
    )


def _add_worst(case: ET.Element, findings: Sequence[Noticed]) -> None:
    for severity, tag in zip(_WORST, ("failure", "error"), strict=True):
        worst = [one for one in findings if one.severity is severity]
        if worst:
            _add(case, tag, worst[0].code, "\n".join(map(_line, worst)))
            return


def _add(case: ET.Element, tag: str, kind: str, text: str) -> None:
    message = plain(text.partition("\n")[0]) or "no reason is recorded"
    element = ET.SubElement(case, tag, {"type": plain(kind) or "unknown", "message": message})
    element.text = "\n".join(map(plain, text.split("\n")))


def _line(one: Noticed) -> str:
    return plain(f"{one.severity.value} {one.code} {one.subject}: {one.message}")


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
