"""Are the published detection rates those of the corpus?"""

from __future__ import annotations

import pytest

import strongroom
from tests.corpus.page import Measured, detection_page, with_rows
from tests.house.ground import ROOT

PAGE = ROOT / "docs" / "DETECTION.md"


def test_the_page_has_the_rows_of_the_corpus() -> None:
    written = PAGE.read_text(encoding="utf-8")
    measured = Measured.of(written)
    assert measured.version == strongroom.__version__, "run: make faults"
    assert written == detection_page(measured), "run: make faults"


def test_the_readme_has_the_numbers_of_the_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = Measured.of(PAGE.read_text(encoding="utf-8"))
    assert readme == with_rows(readme, measured), "run: make faults"


def test_a_page_of_no_run_is_refused() -> None:
    with pytest.raises(ValueError, match="names no run"):
        Measured.of("Measured some day.")
    with pytest.raises(ValueError, match="lost the marks"):
        with_rows("no table", Measured("2026-11-26", "0.1.0"))
