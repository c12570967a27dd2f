"""The report as a page, a file, text, and JUnit: the same words, harmless whatever they hold."""

from __future__ import annotations

import dataclasses
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
import reportlab
from pypdf import PdfReader

from strongroom.findings import FINDING_KINDS, Severity
from strongroom.model import Digests, Verdict
from strongroom.report.document import MOST_FINDINGS, Document, document_of
from strongroom.report.html import html_page
from strongroom.report.judgement import judge_evidence
from strongroom.report.junit import junit_xml
from strongroom.report.observation import Noticed, Observation
from strongroom.report.pdf import foreign_characters, pdf_file
from strongroom.report.right_to_left import visual_order
from strongroom.report.summary import report_json
from strongroom.report.text import text_lines
from tests.support.evidence_ground import (
    HOSTILE,
    NOW,
    PROMISE,
    SCOPE,
    WHOLE,
    ago,
    evidence,
    noticed,
    proof,
)

DIFFERS = noticed("content-differs", Severity.FAILURE)


def document(*observations: Observation, **more: object) -> Document:
    return document_of(judge_evidence(evidence(*observations, **more), PROMISE, NOW))


def pdf_text(content: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]


class Page(HTMLParser):
    """What a browser would see: tags that are open and close, and the text."""

    VOID = frozenset({"meta", "br", "col"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


CASES = {
    "proven": document(proof(2), proof(3, "uploads")),
    "nothing": document(),
    "failed": document(proof(2, verdict=Verdict.FAILED, findings=(DIFFERS,)), proof(3, "uploads")),
    "broken": document(proof(2), chain=dataclasses.replace(WHOLE, faults=("line 3: edited",))),
    "stale": document(proof(2, at=ago(days=9)), proof(3, "uploads", digests=None)),
}


@pytest.mark.parametrize("case", CASES)
def test_all_renderings_say_the_same(case: str) -> None:
    made = CASES[case]
    page, text = Page(html_page(made)), "\n".join(text_lines(made))
    (paper,) = pdf_text(pdf_file(made))
    for shown in (page.text, text, paper):
        bare = re.sub(r"\s+", "", shown)
        assert made.verdict in bare
        for part in (made.subject, made.because, made.alarm, *_cells(made)):
            assert re.sub(r"\s+", "", part) in bare, part


def _cells(made: Document) -> list[str]:
    found = []
    for section in made.sections:
        block = section.block
        rows = getattr(block, "rows", None)
        cells = [cell for row in rows for cell in row] if rows is not None else []
        cells += [cell for _, cell in getattr(block, "facts", ())]
        found += [part for cell in cells for part in (*cell.lines, cell.small)]
    return found


def test_the_page_is_one_page_and_says_what_it_is() -> None:
    content = pdf_file(CASES["proven"])
    reader = PdfReader(io.BytesIO(content))
    assert len(reader.pages) == 1
    assert reader.metadata is not None
    assert reader.metadata.title == "Evidence of recovery: tms (production)"
    assert str(reader.root_object["/Lang"]) == "en"
    assert reader.pages[0].mediabox[2:] == pytest.approx([595.28, 841.89], abs=0.01)
    assert "page 1 of 1" in pdf_text(content)[0]
    assert pdf_file(CASES["proven"]) == content


def test_more_than_a_page_goes_on_and_is_counted() -> None:
    names = tuple(dataclasses.replace(SCOPE.sources[1], name=f"files {n}") for n in range(30))
    many = document(
        *(proof(n, f"files {n}") for n in range(30)),
        scope=dataclasses.replace(SCOPE, sources=names),
    )
    pages = pdf_text(pdf_file(many))
    assert len(pages) > 1
    assert [f"page {n} of {len(pages)}" in text for n, text in enumerate(pages, 1)] == [True] * len(
        pages
    )
    assert all("files 29" in text for text in ("".join(pages), html_page(many)))


def test_a_broken_ledger_stands_on_the_face() -> None:
    made = CASES["broken"]
    assert made.verdict == "UNKNOWN"
    for shown in (html_page(made), pdf_text(pdf_file(made))[0], "\n".join(text_lines(made))):
        assert "THE LEDGER IS BROKEN: line 3: edited. Nothing here is proven." in shown


def test_the_page_is_sound_html() -> None:
    text = html_page(CASES["failed"])
    page = Page(text)
    assert page.open == []
    assert text.startswith('<!DOCTYPE html>\n<html lang="en" dir="ltr">')
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "object"} & set(tags)
    for tag, attributes in page.tags:
        assert not {"src", "href", "onclick", "onload"} & set(attributes)
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    assert "url(" not in text
    assert "@import" not in text
    policies = [one.get("content") for tag, one in page.tags if tag == "meta"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    # A verdict is told by its word and its box, not by its colour alone.
    for verdict, style in (("STALE", "dashed"), ("UNKNOWN", "dotted"), ("FAILED", "double")):
        assert re.search(rf"\.{verdict} {{[^}}]*{style}", text)


def hostile() -> Document:
    found = Noticed("content-differs", Severity.FAILURE, HOSTILE, HOSTILE)
    return document(
        proof(2, verdict=Verdict.FAILED, error=HOSTILE, findings=(found,), by=HOSTILE,
              location=HOSTILE, snapshot=HOSTILE, tree=HOSTILE, kind=HOSTILE,
              versions={HOSTILE: HOSTILE}, config_digest=HOSTILE,
              digests=Digests(HOSTILE, HOSTILE, HOSTILE)),
        scope=dataclasses.replace(SCOPE, application=HOSTILE),
        chain=dataclasses.replace(WHOLE, head_hash=HOSTILE, faults=(HOSTILE,)),
    )  # fmt: skip


def test_hostile_text_is_harmless() -> None:
    made = hostile()
    page = Page(html_page(made))
    assert page.open == []
    assert "script" not in [tag for tag, _ in page.tags]
    assert "<script>alert(1)</script>" in page.text
    paper = "\n".join(pdf_text(pdf_file(made)))
    assert "<script>alert(1)</script>" in re.sub(r"\s+", "", paper)
    text = "\n".join(text_lines(made))
    for shown in (page.text, paper, text, html_page(made)):
        assert not set("\x1b\u202e\x00") & set(shown)
    assert r"\x1b[31m\u202egnp.exe\x00" in text


def test_only_so_many_findings_stand_on_the_page() -> None:
    many = tuple(
        Noticed("tree-content", Severity.FAILURE, f"file {n}", "differs") for n in range(30)
    )
    notes = (Noticed("content-order", Severity.NOTE, "a", "b"),)
    report = judge_evidence(
        evidence(proof(2, verdict=Verdict.FAILED, findings=(*notes, *many),
                       left_out={Severity.FAILURE: 4})), PROMISE, NOW)  # fmt: skip
    text = "\n".join(text_lines(document_of(report)))
    assert text.count("tree-content") == MOST_FINDINGS
    assert "And 22 more in the ledger and 1 note that change nothing." in text
    assert FINDING_KINDS["tree-content"].remedy.split()[0] in text
    assert len(report_json(report)["findings"]) == 31


def test_names_in_other_scripts_are_shown_or_told() -> None:
    names = ("أمينة محمد", "王小明", "Größe €", "Ελλάδα")
    scope = dataclasses.replace(
        SCOPE, sources=tuple(dataclasses.replace(SCOPE.sources[1], name=one) for one in names)
    )
    made = document(*(proof(n, one) for n, one in enumerate(names, 2)), scope=scope)
    assert foreign_characters(made) >= {"王", "λ"}
    told = re.sub(r"\s+", "", "".join(pdf_text(pdf_file(made, ()))))
    assert r"\u738b\u5c0f\u660e" in told
    assert "Größe€" in told
    for broken in (b"", b"no font", b"\x00\x01\x00\x00" + bytes(300), b"OTTO" + bytes(300)):
        shown = re.sub(r"\s+", "", pdf_text(pdf_file(made, [broken]))[0])
        assert r"\u738b" in shown
    vera = Path(reportlab.__file__).parent / "fonts/Vera.ttf"
    polish = dataclasses.replace(made, subject="Łódź \u0645\u062d")
    shown = re.sub(r"\s+", "", pdf_text(pdf_file(polish, [vera.read_bytes()]))[0])
    # What the given font lacks is told, in the order in which it is read.
    assert r"Łód\u017a\u0645\u062d" in shown
    assert r"\u738b" in shown
    page = html_page(made)
    assert all(f"<bdi>{one}</bdi>" in page for one in names)


def test_arabic_is_joined_and_runs_from_the_right() -> None:
    assert visual_order("\u0645\u062d\u0645\u062f") == "\ufeaa\ufee4\ufea4\ufee3"
    assert visual_order("\u0644\u0627") == "\ufefb"
    hebrew = "abc \u05e9\u05dc\u05d5\u05dd (12 \u05d0\u05d1) x"
    assert visual_order(hebrew) == "abc (\u05d1\u05d0 12) \u05dd\u05d5\u05dc\u05e9 x"
    assert visual_order("plain 123 (text)") == "plain 123 (text)"


# JUnit


def suites(*observations: Observation) -> ET.Element:
    return ET.fromstring(junit_xml(observations))


def test_junit_has_a_suite_for_each_run_and_a_case_for_each_stage() -> None:
    root = suites(proof(2, run="r"), proof(3, "uploads", run="r"), proof(4, run=""))
    _expect_schema(root)
    assert [one.get("name") for one in root] == ["drill of record 2, 3", "drill of record 4"]
    first = root[0]
    assert first.get("timestamp") == "2026-11-26T11:00:00"
    assert [(one.get("classname"), one.get("name")) for one in first.findall("testcase")] == [
        (f"strongroom.{source}", name)
        for source in ("database", "uploads")
        for name in ("sandbox", "restore", "compare files", "verdict")
    ]
    assert (first.get("failures"), first.get("errors"), first.get("skipped")) == ("0", "0", "0")


UNCHECKED = noticed("sandbox-lacks", Severity.UNKNOWN)
RED = {
    "failed": (proof(2, verdict=Verdict.FAILED, findings=(DIFFERS,)), "failure"),
    "failed with an error": (proof(2, verdict=Verdict.FAILED, error="a pack is gone"), "failure"),
    "unknown": (proof(2, verdict=Verdict.UNKNOWN, findings=(UNCHECKED,)), "error"),
    "stale": (proof(2, verdict=Verdict.STALE), "error"),
    "none": (proof(2, verdict=None), "error"),
    "nothing compared": (proof(2, checked=0), "error"),
    "differing digests": (proof(2, digests=Digests("e", "f", "rows")), "error"),
    "a failure that the verdict hides": (proof(2, findings=(DIFFERS,)), "failure"),
    "hostile": (
        proof(2, HOSTILE, verdict=Verdict.FAILED, error=HOSTILE, by=HOSTILE, run=HOSTILE,
              versions={"host": HOSTILE}, findings=(Noticed(HOSTILE, Severity.FAILURE, HOSTILE,
              HOSTILE),)),
        "failure",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RED)
def test_what_is_not_proven_is_never_green(case: str) -> None:
    record, tag = RED[case]
    root = suites(record)
    _expect_schema(root)
    verdict = root[0].findall("testcase")[-1]
    assert [one.tag for one in verdict] == [tag]


def test_a_finding_stands_at_its_stage() -> None:
    tree = noticed("tree-content", Severity.FAILURE, "lpos/1.pdf")
    root = suites(proof(2, "uploads", verdict=Verdict.FAILED, findings=(tree, UNCHECKED)))
    _expect_schema(root)
    cases = {str(one.get("name")): one for one in root[0].findall("testcase")}
    failure = cases["compare files"].find("failure")
    assert failure is not None
    assert failure.get("type") == "tree-content"
    assert "lpos/1.pdf" in str(failure.text)
    assert cases["sandbox"].find("error") is not None
    assert len(cases["restore"]) == 0
    stopped = suites(proof(2, verdict=Verdict.UNKNOWN, checked=0, error="no sandbox"))[0]
    assert stopped.get("skipped") == "3"


def _expect_schema(root: ET.Element) -> None:
    """What the schemas of Ant's and of Jenkins' JUnit files ask for."""
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors",
                "skipped", "time"} == set(suite.attrib)  # fmt: skip
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        assert suite.get("hostname")
        tags = [one.tag for one in suite]
        cases = suite.findall("testcase")
        assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        assert all(set(one.attrib) == {"name", "value"} for one in suite[0])
        assert suite.get("tests") == str(len(cases))
        for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            having = [one for one in cases if one.find(tag) is not None]
            assert suite.get(count) == str(len(having))
        for case in cases:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert re.fullmatch(r"\d+\.\d{3}", case.get("time", ""))
            assert len(case) <= 1
            for result in case:
                assert result.tag in ("failure", "error", "skipped")
                assert result.get("message")
                assert result.tag == "skipped" or result.get("type")
