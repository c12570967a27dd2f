"""Does the paper tell the truth? Generated pages are current, links lead somewhere."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET

import click
import pytest

from strongroom.cli.main import strongroom
from strongroom.findings import FINDING_KINDS, INCOMPLETE, Severity
from tests.house.ground import ROOT, modules, shipped_files
from tools.generate import contributions, pages

DOCUMENTS = [path for path in shipped_files() if path.suffix == ".md"]


@pytest.mark.parametrize("name", ["CONFIG.md", "ERRORS.md", "FINDINGS.md", "CLI.md", "METRICS.md"])
def test_generated_pages_are_current(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == pages()[name], "run: make pages"


@pytest.mark.parametrize("name", ["prometheus/strongroom.rules.yml", "grafana/strongroom.json"])
def test_generated_contributions_are_current(name: str) -> None:
    written = (ROOT / "contrib" / name).read_text(encoding="utf-8")
    assert written == contributions()[name], "run: make pages"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: object) -> None:
    from pathlib import Path

    document = Path(str(path))
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = [
        target
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not dead, f"{document}: {dead}"


def test_the_operations_page_says_what_makes_a_backup_partial() -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    said = text.partition("with these warnings:")[2].partition("Make a submodule")[0]
    advice = text.partition("All other warnings")[2].partition("are advice")[0]
    codes = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", said))
    assert codes == set(INCOMPLETE)
    assert all(FINDING_KINDS[code].severity is Severity.WARNING for code in codes)
    assert not codes & set(re.findall(r"`([a-z-]+)`", advice))


def test_the_readme_has_the_two_commands_and_fits_on_a_screen() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make demo\b", text, re.MULTILINE)
    assert re.search(r"^make test\b", text, re.MULTILINE)
    assert text.count("\n") <= 80


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    lines = [
        *project["project"]["dependencies"],
        *(line for group in groups.values() for line in group if isinstance(line, str)),
    ]
    reasons = (ROOT / "docs/decisions/0001-dependencies.md").read_text(encoding="utf-8")
    for line in lines:
        name = re.split(r"[^A-Za-z0-9-]", line)[0]
        assert f"`{name}`" in reasons, f"{name} has no line in docs/decisions"


def test_the_lock_names_hashes_and_no_place() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        pinned = re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE)
        assert len(pinned) > 20
        for block in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in block, block.splitlines()[0]
        assert "://" not in text


def test_every_invariant_is_stated_and_held_up_by_a_test() -> None:
    stated = set(
        re.findall(r"\*\*(I\d) ", (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8"))
    )
    assert stated == {f"I{number}" for number in range(1, 8)}
    tests = "\n".join(module.text for module in modules("tests") if "/docs/" not in module.place)
    assert {name for name in stated if not re.search(rf"\b{name}\b", tests)} == set()


def test_every_command_on_paper_exists() -> None:
    for path in DOCUMENTS:
        for block in re.findall(r"```\w*\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in re.findall(r"^(?:\$ |[\d*/ ]+ )?strongroom (.+)$", block, re.MULTILINE):
                check_command(line, f"{path.relative_to(ROOT)}: strongroom {line}")


def check_command(line: str, place: str) -> None:
    """Every word up to the first that is no option must name a command."""
    command: click.Command = strongroom
    words = iter(line.split("#", maxsplit=1)[0].split())
    for word in words:
        if not isinstance(command, click.Group):
            return
        if word == "--config":
            next(words)
        elif not word.startswith("-"):
            inner = command.get_command(click.Context(command), word)
            if inner is None and command.invoke_without_command:
                return  # a word of its own
            assert inner is not None, place
            command = inner


def test_the_picture_is_a_picture() -> None:
    root = ET.parse(ROOT / "docs/pipeline.svg").getroot()
    assert root.tag.endswith("svg")
    assert root.find("{*}title") is not None
    assert root.find("{*}desc") is not None
