"""Can the tests fail? None is skipped, none mocks our own code, each asks something."""

from __future__ import annotations

import ast

import pytest

from tests.house.ground import Module, modules

ASKING = ("assert", "check", "expect", "refus", "fail", "prov", "same", "compare", "raises", "law")


def _tests(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [function for function in module.functions() if function.name.startswith("test_")]


def test_no_test_is_skipped() -> None:
    found = [
        f"{module.place}:{node.lineno}"
        for module in modules("tests")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("skip", "skipif", "importorskip", "xfail")
        and isinstance(node.value, ast.Name | ast.Attribute)
        and ast.unparse(node.value) in ("pytest", "pytest.mark")
    ]
    assert not found, "\n".join(sorted(found))


def test_no_test_mocks() -> None:
    found = [
        f"{module.place}:{line} imports {name}"
        for module in modules("tests")
        for name, line in module.imports()
        if name.startswith(("unittest.mock", "mock", "pytest_mock"))
    ]
    assert not found, "\n".join(sorted(found))


def _asks(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else ""
            name = called.id if isinstance(called, ast.Name) else name
            if any(word in name.lower() for word in ASKING):
                return True
    return False


def test_every_test_asks_something() -> None:
    silent = [
        f"{module.place}: {function.name}"
        for module in modules("tests")
        for function in _tests(module)
        if not _asks(function)
    ]
    assert not silent, "\n".join(sorted(silent))


def test_no_two_tests_of_a_module_have_one_name() -> None:
    """The second would hide the first, which then never runs."""
    hidden = []
    for module in modules("tests"):
        seen: set[str] = set()
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef):
                hidden += [f"{module.place}: {node.name}"] * (node.name in seen)
                seen.add(node.name)
    assert not hidden, "\n".join(sorted(hidden))


@pytest.mark.xdist_group("asked")
def test_a_group_is_known_to_the_workers(request: pytest.FixtureRequest) -> None:
    """Without that, servers and applications would be built once on each worker."""
    grouped = bool(getattr(request.config.option, "loadgroup", False))
    assert request.node.nodeid.endswith("@asked") is grouped
