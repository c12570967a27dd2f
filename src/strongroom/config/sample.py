"""The commented sample of a configuration, and a configuration's effective values.

The sample is written from the declaration: comments are descriptions, values are examples and
defaults. A line that begins with `#` and no space before its setting is switched off; taking the
sign away switches it on, and the file stays valid either way.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Final

import yaml

from strongroom.config import settings as declaration
from strongroom.config.description import ANY_NAME, Setting, describe
from strongroom.config.settings import Settings

_WIDTH: Final = 92
_HEADER: Final = """\
# What Strongroom protects, where copies are kept, and what was promised.
# Check it with `strongroom config check`; ask with `strongroom config explain SETTING`.
# A secret is never written here; say where it is kept: env:NAME, file:PATH, command:PROGRAM or
# keyring:SERVICE/USER. Settings behind a # show their defaults, or an example.
"""

# Names that the sample chooses: section -> name -> (kind of source, which example).
_NAMED: Final[dict[str, dict[str, tuple[str, int]]]] = {
    "sources": {"database": ("postgres", 0), "uploads": ("files", 0), "code": ("git", 0)},
    "repositories": {
        "local": ("", 0), "offsite": ("", 1), "vault": ("", 2), "rest": ("", 3), "rescued": ("", 4)
    },
}  # fmt: skip
_SWITCHED_OFF_NAMES: Final = {"offsite", "vault", "rest", "rescued"}
# Of these one is required and both are too many: which of the named ones show which.
_ONE_OF: Final[dict[tuple[str, ...], range]] = {
    ("repositories", ANY_NAME, "password"): range(4),
    ("repositories", ANY_NAME, "master_key"): range(4, 5),
}
_SPELLED_OUT: Final = {"application", "environment", "objectives", "schedule"}


def sample_text() -> str:
    """A complete `strongroom.yaml`, commented, valid as it is."""
    lines = [_HEADER]
    for setting in describe():
        if len(setting.parts) > 1:
            continue
        on = setting.default is None or setting.parts[0] in _SPELLED_OUT
        block = list(_block(setting, which=0, spelled_out=on))
        lines += block if on else _switch_off(block)
        lines.append("")
    return "\n".join(lines)


def effective(settings: Settings) -> dict[str, Any]:
    """All values as they are in force, for printing; secrets stay references.

    A `command:` shows its program alone, since arguments may tell too much. `Any`: plain YAML.
    """
    values: dict[str, Any] = settings.model_dump(mode="json", exclude_none=True)
    values["retention"] = {
        name: declaration.FOREVER
        if policy.forever
        else policy.model_dump(mode="json", exclude_none=True, exclude={"forever"})
        for name, policy in settings.retention.items()
    }
    values["engine"]["workers"] = settings.engine.worker_count
    masked = _mask(values)
    assert isinstance(masked, dict)
    return masked


def show(settings: Settings) -> str:
    """`effective` as YAML."""
    return yaml.safe_dump(effective(settings), sort_keys=False, allow_unicode=True, width=_WIDTH)


# Any: plain YAML values
def _mask(given: Any) -> Any:
    if isinstance(given, dict):
        return {key: _mask(item) for key, item in given.items()}
    if isinstance(given, list | tuple):
        return [_mask(item) for item in given]
    if isinstance(given, str) and given.startswith("command:"):
        return f"{given.split()[0]} …" if " " in given.strip() else given
    return given


def _block(setting: Setting, *, which: int, spelled_out: bool) -> Iterator[str]:
    """The lines of one setting with all that it holds, without indentation."""
    name = setting.parts[-1]
    later = " (Acts in a later version.)" if setting.later and len(setting.parts) == 1 else ""
    yield from _comment(setting.meaning + later)
    if name in _NAMED and len(setting.parts) == 1:
        yield f"{name}:"
        for chosen, (kind, example) in _NAMED[name].items():
            block = [f"{chosen}:", *_indent(_inside(setting, kind, example, spelled_out=False))]
            off = chosen in _SWITCHED_OFF_NAMES
            yield from _indent(_switch_off(block) if off else block)
        return
    if not setting.section or setting.examples:
        yield f"{name}: {_inline(_written(setting, which))}"
    elif setting.repeats:
        yield f"{name}:"
        first, *rest = _inside(setting, setting.kind, which, spelled_out=True, prose=False)
        yield f"  - {first}"
        yield from _indent(_indent(rest))
    else:
        yield f"{name}:"
        yield from _indent(_inside(setting, setting.kind, which, spelled_out=spelled_out))


def _inside(
    section: Setting, kind: str, which: int, *, spelled_out: bool, prose: bool = True
) -> Iterator[str]:
    """The settings that a section holds; those with a default are switched off, or spelled out."""
    depth = len(section.parts) + (1 if section.parts[-1] in _NAMED else 0)
    for setting in describe():
        if (
            len(setting.parts) != depth + 1
            or setting.parts[: len(section.parts)] != section.parts
            or setting.kind != kind
        ):
            continue
        shown_by = _ONE_OF.get(setting.parts)
        if shown_by is not None and which not in shown_by:
            continue
        optional = setting.default is not None and shown_by is None
        block = list(_block(setting, which=which, spelled_out=spelled_out))
        if not prose:
            block = [line for line in block if not line.startswith("# ")]
        empty = setting.default in ("", "[]", "{}") and not setting.example
        if optional and (empty or not spelled_out):
            if prose:
                yield from _switch_off(block)
        else:
            yield from block


# Any: plain YAML values
def _written(setting: Setting, which: int) -> Any:
    """What the sample shows: an example, else the default, else the first word allowed."""
    if setting.examples:
        return setting.examples[min(which, len(setting.examples) - 1)]
    if setting.default is None:
        return setting.type.split("`")[1]
    try:
        return json.loads(setting.default)
    except json.JSONDecodeError:
        return setting.default


def _inline(given: Any) -> str:
    text = yaml.safe_dump(given, default_flow_style=True, width=1000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _indent(lines: Iterator[str] | list[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _switch_off(block: list[str]) -> list[str]:
    """The block as comments; its leading prose already is one."""
    begun = False
    lines = []
    for line in block:
        begun = begun or not line.startswith("# ")
        lines.append(f"#{line}" if begun else line)
    return lines
