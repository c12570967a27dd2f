"""Is the house tidy? Sizes, docstrings, names, and nothing that nobody uses."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.ground import ROOT, Module, modules, shipped_files

FUNCTION_LINES = 70
FILE_LINES = 600
LINE_LENGTH = 100
EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|managers?|handlers?)(_|$)")
TEST_FOLDERS = {
    "unit", "property", "golden", "contract", "fault", "e2e", "docs", "house",
}  # fmt: skip

# Whoever is started from outside, so that no other module needs to import it.
ENTRY_POINTS = {"strongroom.cli.main", "strongroom.__main__"}

# Synonyms of a glossary word, or words that nobody should have to read: word -> what we say.
FORBIDDEN_WORDS = {
    "restore point": "recovery point",
    "backup set": "recovery point",
    "datasource": "source",
    "data source": "source",
    "blacklist": "exclude",
    "whitelist": "allow",
    "sanity check": "check",
    "retention rule": "policy",
}


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{module.place}: {function.name} has {length} lines"
        for module in modules()
        for function in module.functions()
        if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not long, "\n".join(sorted(long))


def test_files_can_be_read_in_one_go() -> None:
    long = [
        f"{module.place}: {length} lines"
        for module in modules()
        if (length := module.text.count("\n")) > FILE_LINES
    ]
    assert not long, "\n".join(sorted(long))


def test_lines_fit() -> None:
    suffixes = {".py", ".sh", ".toml", ".yaml", ".yml"}
    long = [
        f"{path.relative_to(ROOT)}:{number} has {len(line)} characters"
        for path in shipped_files()
        if path.suffix in suffixes or path.name in {"Makefile", "run"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE_LENGTH
    ]
    assert not long, "\n".join(sorted(long))


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        module.place
        for module in modules()
        if module.text.strip() and not ast.get_docstring(module.tree)
    ]
    assert not silent, "\n".join(sorted(silent))


def test_no_module_is_named_after_nothing() -> None:
    empty = [
        path.relative_to(ROOT).as_posix()
        for path in shipped_files()
        if path.suffix == ".py"
        and any(EMPTY_NAMES.search(part) for part in path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not empty, "\n".join(sorted(empty))


def _is_named(module: Module, others: tuple[Module, ...]) -> bool:
    """Whether others of its package load the module by name, as the command line does."""
    package, _, stem = module.name.rpartition(".")
    return any(
        text in (module.name, stem)
        for other in others
        if other is not module and other.name.rpartition(".")[0] in (package, package + ".main")
        for text in other.strings()
    )


def test_every_module_is_used() -> None:
    source = modules("src")
    imported = {name for module in source for name, _ in module.imports() if name != module.name}
    unused = [
        module.place
        for module in source
        if module.path.name != "__init__.py"
        and module.name not in imported | ENTRY_POINTS
        and not _is_named(module, source)
    ]
    assert not unused, "\n".join(sorted(unused))


def test_every_public_function_is_used() -> None:
    """A name that appears once in all of src, tests and bench is only its own definition."""
    everything = "\n".join(module.text for module in modules())
    words: dict[str, int] = {}
    for word in re.findall(r"\w+", everything):
        words[word] = words.get(word, 0) + 1
    unused = [
        f"{module.place}: {node.name}"
        for module in modules("src")
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and words[node.name] == 1
        and not node.decorator_list  # a command is registered by its decorator
    ]
    assert not unused, "\n".join(sorted(unused))


def test_tests_stand_in_the_folder_of_their_question() -> None:
    strays = [
        module.place
        for module in modules("tests")
        if module.path.name.startswith("test_")
        and module.path.relative_to(ROOT / "tests").parts[0] not in TEST_FOLDERS
    ]
    assert not strays, "\n".join(sorted(strays))


@pytest.mark.parametrize("word", FORBIDDEN_WORDS)
def test_one_word_one_meaning(word: str) -> None:
    pattern = re.compile(rf"\b{word.replace(' ', '[ _-]?')}s?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: say {FORBIDDEN_WORDS[word]}"
        for path in shipped_files()
        if path.suffix in {".py", ".md"} and path.name not in {"GLOSSARY.md", "test_tidy.py"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(sorted(found))
