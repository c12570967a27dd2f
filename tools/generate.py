"""Writes the pages of docs/ that are made from the program's own tables (`make pages`).

CONFIG.md from the settings' declaration, ERRORS.md, FINDINGS.md and METRICS.md from their tables,
CLI.md from the command tree; and what contrib/ has for Prometheus and Grafana. tests/docs compares
what this returns with what stands in the repository.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import click

from strongroom.config.description import Setting, describe
from strongroom.config.sample import sample_text
from strongroom.errors import ERROR_KINDS
from strongroom.findings import FINDING_KINDS
from strongroom.report.check import CHECK_KINDS
from strongroom.report.metrics import METRIC_KINDS
from tests.corpus.rows import ELSEWHERE, raised_by
from tools.grafana_dashboard import dashboard_text
from tools.prometheus_rules import rules_text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_NAMED = 3
NOTE = "<!-- Made by `make pages`; edit the table that it comes from instead. -->\n"


def pages() -> dict[str, str]:
    """Every generated page by its name in docs/."""
    return {
        "CONFIG.md": config_page(),
        "ERRORS.md": errors_page(),
        "FINDINGS.md": findings_page(),
        "CLI.md": cli_page(),
        "METRICS.md": metrics_page(),
    }


def contributions() -> dict[str, str]:
    """Every generated file of contrib/ by its name there."""
    return {
        "prometheus/strongroom.rules.yml": rules_text(),
        "grafana/strongroom.json": dashboard_text(),
    }


def config_page() -> str:
    """All settings, section by section, and the sample file."""
    settings = describe()
    parts = [
        NOTE,
        "# Configuration\n",
        "One YAML file. It is found in `--config`, `STRONGROOM_CONFIG`, `./strongroom.yaml`,",
        "`~/.config/strongroom/strongroom.yaml`, `/etc/strongroom/strongroom.yaml`, first match",
        "first. `strongroom config check` tells every fault at once; `config explain SETTING` says",
        "what this page says; `config schema` prints a JSON Schema for editors.\n",
        "Durations are `30s 10m 24h 30d`, sizes `10MiB`, schedules five cron fields. Relative",
        "paths are seen from the file's folder. A **secret reference** is `env:NAME`, `file:PATH`",
        "(not readable by everybody), `command:PROGRAM ARGUMENTS` (run without a shell) or",
        "`keyring:SERVICE/USER`; a password that is written out is refused, in URLs too. A setting",
        "that does not exist is refused. ◦ marks what is accepted and acts in a later version.\n",
        "## The whole file\n",
        _table(setting for setting in settings if len(setting.parts) == 1),
    ]
    seen = set()
    for setting in settings:
        section = (setting.parts[:-1], setting.kind)
        if len(setting.parts) == 1 or section in seen:
            continue
        seen.add(section)
        title = ".".join(setting.parts[:-1])
        if setting.kind and setting.parts[0] == "sources":
            title += f", kind: {setting.kind}"
        rows = (row for row in settings if (row.parts[:-1], row.kind) == section)
        parts += [f"## {title}\n", _table(rows)]
    parts += ["## A commented sample\n", f"```yaml\n{sample_text().rstrip()}\n```"]
    return "\n".join(parts) + "\n"


def errors_page() -> str:
    """Every error code with its exit status, who acts and what to do."""
    rows = [
        f"| `{kind.code}` | {kind.exit_status} | {kind.who_acts} | {kind.retry.value} "
        f"| {kind.meaning} | {kind.hint} |"
        for kind in sorted(ERROR_KINDS.values(), key=lambda kind: (kind.exit_status, kind.code))
    ]
    return "\n".join(
        [
            NOTE,
            "# Errors and exit statuses\n",
            "An error says what failed with its subject, why, and one hint. With `--json` it is",
            '`{"error": {"code", "message", "hint"}}` on standard output. What a check *saw* is',
            "not an error but a finding: see [FINDINGS](FINDINGS.md).\n",
            "| Exit status | Means |",
            "|---|---|",
            "| 0 | fine |",
            "| 1 | a bug of ours |",
            "| 2 | usage or configuration |",
            "| 3 | partial: done, but something that was asked for is missing; findings say what |",
            "| 4 | busy |",
            "| 5 | target refused |",
            "| 10 to 19 | source |",
            "| 20 to 29 | store |",
            "| 30 to 39 | integrity: stop and tell someone |",
            "| 40, 41, 42 | objectives not met (STALE), FAILED, UNKNOWN |",
            "| 130 | interrupted |\n",
            "| Code | Exit | Who acts | Again? | Meaning | What to do |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def findings_page() -> str:
    """Every finding code with its severity, meaning, cause and remedy, and what raises it."""
    rows = [
        f"| `{kind.code}` | {kind.severity.value} | {kind.meaning} | {kind.cause} | {kind.remedy} "
        f"| {_shown_by(kind.code)} |"
        for kind in FINDING_KINDS.values()
    ]
    return "\n".join(
        [
            NOTE,
            "# Findings\n",
            "One thing that a check saw. A **failure** makes the verdict FAILED; else an",
            "**unknown** (or nothing checked) makes it UNKNOWN; warnings and notes never change a",
            "verdict.\n",
            "The last column names faults of the [corpus](DETECTION.md) that raise it, or the test",
            "that does.\n",
            "| Code | Severity | Meaning | Usual cause | Remedy | Shown by |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _shown_by(code: str) -> str:
    names = raised_by(code)
    if not names:  # tests/e2e/test_fault_corpus insists on either
        return f"`{ELSEWHERE[code][1]}`" if code in ELSEWHERE else "nothing yet"
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def metrics_page() -> str:
    """Every metric with its labels, and the checks that labels name."""
    metrics = [
        f"| `{kind.name}` | {', '.join(f'`{one}`' for one in kind.labels)} | {kind.meaning} |"
        for kind in METRIC_KINDS.values()
    ]
    checks = [
        f"| `{kind.name}` | {kind.title} | {kind.line} | {kind.unit} |"
        for kind in CHECK_KINDS.values()
    ]
    return "\n".join(
        [
            NOTE,
            "# Metrics\n",
            "`GET /metrics` of the daemon, and the file that `monitoring.metrics_file` names for",
            "node_exporter's textfile collector. All are gauges; each has the label `application`",
            "beside those named here. What nobody knows is absent, never 0. After",
            "`strongroom_valid_until_timestamp_seconds` a scraped verdict is no better than",
            "UNKNOWN; a file that nobody writes any more stays as it is, so alert on that time.\n",
            "Alert rules are in `contrib/prometheus`, a dashboard in `contrib/grafana`: see",
            "[OPERATIONS](OPERATIONS.md#health-for-the-application-and-its-monitors).\n",
            "| Metric | Labels | Says |",
            "|---|---|---|",
            *metrics,
            "",
            "## Checks\n",
            "The values of the label `check`, and the unit of its value and limit. `subject` is a",
            "source, a repository, or empty.\n",
            "| Check | Title | What is asked | Unit |",
            "|---|---|---|---|",
            *checks,
            "",
        ]
    )


def cli_page() -> str:
    """Every command with its help, as the program prints it."""
    parts = [
        NOTE,
        "# Commands\n",
        "Every command takes `--help`; what all have in common stands first.\n",
    ]
    for words, help_text in _commands():
        parts += [f"## {' '.join(words)}\n", f"```\n{help_text.rstrip()}\n```\n"]
    return "\n".join(parts)


def _commands() -> Iterator[tuple[tuple[str, ...], str]]:
    for found in vars(importlib.import_module("strongroom.cli.main")).values():
        if isinstance(found, click.Group) and found.name == "strongroom":
            yield from _walk(found, ("strongroom",), None)
            return
    raise LookupError("strongroom.cli.main holds no click group called strongroom")


def _walk(
    command: click.Command, words: tuple[str, ...], above: click.Context | None
) -> Iterator[tuple[tuple[str, ...], str]]:
    settings = {**command.context_settings, "terminal_width": 96, "max_content_width": 96}
    context = click.Context(command, info_name=words[-1], parent=above, **settings)
    yield words, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _walk(inner, (*words, name), context)


def _table(settings: Iterator[Setting]) -> str:
    rows = ["| Setting | Type | Default | Meaning |", "|---|---|---|---|"]
    for setting in settings:
        name = f"`{setting.parts[-1]}`" + (" ◦" if setting.later else "")
        if setting.default is None:
            default = "**required**"
        else:
            default = f"`{setting.default}`" if setting.default else ""
        kind = setting.type or "settings"
        rows.append(f"| {name} | {kind} | {default} | {setting.meaning} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write every page and file whose text has changed."""
    written = {f"docs/{name}": text for name, text in pages().items()}
    written |= {f"contrib/{name}": text for name, text in contributions().items()}
    for name, text in written.items():
        page = ROOT / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
