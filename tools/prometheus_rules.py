"""Makes contrib/prometheus/strongroom.rules.yml: an alert for each kind of check, and some that
Prometheus makes of its own, for when nobody judges any more.

Severities are those of our own alerts: what FAILED is critical and told at once; STALE and UNKNOWN
are warnings, told when they last. `make pages` writes the file.
"""

from __future__ import annotations

from typing import Final

import yaml

from strongroom.report.check import CHECK_KINDS, CheckKind

_NOTE: Final = """\
# Made by `make pages`; edit tools/prometheus_rules.py instead.
#
# Alerts for Prometheus. `rule_files: [strongroom.rules.yml]`, and either scrape the daemon's
# /metrics or let node_exporter read the file that `monitoring: {metrics_file: ...}` names.
# severity=critical is what FAILED or is not watched any more, severity=warning what is STALE or
# UNKNOWN and stays so.

"""
_WHERE: Final = "{{ $labels.application }}{{ with $labels.subject }}, {{ . }}{{ end }}"
_WHICH: Final = "{{ if eq $value 1.0 }}STALE{{ else }}UNKNOWN{{ end }}"
_LASTING: Final = "15m"

_Rule = dict[str, str | dict[str, str]]


def rules_text() -> str:
    """The file, as it is to stand in contrib/."""
    groups = [
        {"name": "strongroom-checks", "rules": [
            rule for kind in CHECK_KINDS.values() for rule in _of_check(kind)
        ]},
        {"name": "strongroom-whole", "rules": _of_whole()},
        {"name": "strongroom-watch", "rules": _of_watch()},
    ]  # fmt: skip
    body: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=80, allow_unicode=True)
    return _NOTE + body


def alert_name(kind: CheckKind) -> str:
    """`off-site` is `StrongroomOffSite`."""
    return "Strongroom" + "".join(part.title() for part in kind.name.split("-"))


def _rule(
    name: str, expression: str, severity: str, summary: str, description: str, lasting: str = ""
) -> _Rule:
    rule: _Rule = {"alert": name, "expr": expression}
    if lasting:
        rule["for"] = lasting
    rule["labels"] = {"severity": severity}
    rule["annotations"] = {"summary": summary, "description": description}
    return rule


def _of_check(kind: CheckKind) -> list[_Rule]:
    series = f'strongroom_check_status{{check="{kind.name}"}}'
    means = f"{kind.meaning} {kind.remedy}"
    asked = f"“{kind.line}”"
    failed = _rule(
        f"{alert_name(kind)}Failed",
        f"{series} == 3",
        "critical",
        f"{_WHERE}: {asked} FAILED",
        means,
    )
    unwell = _rule(
        alert_name(kind),
        f"{series} > 0 < 3",
        "warning",
        f"{_WHERE}: {asked} is {_WHICH}",
        means,
        _LASTING,
    )
    return [failed, unwell]


def _of_whole() -> list[_Rule]:
    return [
        _rule(
            "StrongroomFailed",
            "strongroom_verdict == 3",
            "critical",
            "{{ $labels.application }}: FAILED",
            "Backups are missing, or do not come back. Run `strongroom status`.",
        ),
        _rule(
            "StrongroomNotProven",
            "strongroom_verdict > 0 < 3",
            "warning",
            f"{{{{ $labels.application }}}}: {_WHICH}",
            "It is not proven that backups come back as was promised. Run `strongroom status`.",
            _LASTING,
        ),
        _rule(
            "StrongroomObjectiveMissed",
            "strongroom_objective_status == 1",
            "warning",
            "{{ $labels.application }}: the objective {{ $labels.objective }} is missed",
            "Something that was promised is not kept. Run `strongroom status`.",
            _LASTING,
        ),
    ]


def _of_watch() -> list[_Rule]:
    return [
        _rule(
            "StrongroomOutOfDate",
            "strongroom_valid_until_timestamp_seconds < time()",
            "critical",
            "{{ $labels.application }}: nobody judges any more",
            "What is told of it is out of date, so nothing may be captured or checked either. "
            "Start the service: `systemctl start strongroom`.",
            "5m",
        ),
        _rule(
            "StrongroomAbsent",
            "absent(strongroom_verdict)",
            "critical",
            "No application tells how its backups stand",
            "Prometheus has no metrics of Strongroom. Start the service, and look at the target "
            "in Prometheus, or at node_exporter's textfile collector.",
            _LASTING,
        ),
        _rule(
            "StrongroomVanished",
            "group by (application) (last_over_time(strongroom_verdict[1d]))"
            " unless group by (application) (strongroom_verdict)",
            "critical",
            "{{ $labels.application }}: it does not tell any more how its backups stand",
            "Its metrics were there within the last day. Start its service, and look at the "
            "target in Prometheus.",
            _LASTING,
        ),
        _rule(
            "StrongroomClock",
            "strongroom_judged_timestamp_seconds > time() + 300",
            "warning",
            "{{ $labels.application }}: it was judged in the future",
            "Its host's clock and Prometheus's differ by minutes, so no age can be relied on. "
            "Set the clocks.",
            "5m",
        ),
    ]
