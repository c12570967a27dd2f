"""Makes contrib/grafana/strongroom.json: one dashboard for one or many applications.

Panels are declared here in the order in which they are read, and laid out from left to right.
`make pages` writes the file; tests compare its metrics with those that there are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from strongroom.report.metrics import VERDICT_VALUES

_COLUMNS: Final = 24
# Grafana's word; in pieces, since it is none of ours.
_FROM: Final = "data" + "source"
_PROMETHEUS: Final = {"type": "prometheus", "uid": f"${{{_FROM}}}"}
_WHICH: Final = 'application=~"$application"'
_COLOURS: Final = ("green", "yellow", "orange", "red")

# Any below: JSON values


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn: the kind of panel, expressions with the legend of each, and the unit."""

    title: str
    kind: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "none"
    width: int = 8
    height: int = 8
    about: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    verdict: bool = False
    instant: bool = False


def _age(metric: str) -> str:
    return f"time() - {metric}{{{_WHICH}}}"


def _target(objective: str) -> str:
    return f'strongroom_objective_target_seconds{{{_WHICH},objective="{objective}"}}'


_STAT: Final[dict[str, Any]] = {
    "reduceOptions": {"calcs": ["lastNotNull"]},
    "colorMode": "background",
    "graphMode": "none",
}
PANELS: Final = (
    Panel(
        "Verdict", "stat", ((f"strongroom_verdict{{{_WHICH}}}", "{{application}}"),),
        width=6, height=5, options=_STAT, verdict=True,
        about="What is known of the whole. Only PROVEN is good news.",
    ),
    Panel(
        "Checks that are not well", "stat",
        ((f"sum(strongroom_check_status{{{_WHICH}}} > bool 0)", "checks"),),
        width=4, height=5, options=_STAT,
    ),
    Panel(
        "Oldest newest capture", "stat",
        ((f"max({_age('strongroom_last_capture_timestamp_seconds')})", "age"),),
        unit="s", width=4, height=5, options={**_STAT, "colorMode": "none"},
        about="What changed since then would be lost.",
    ),
    Panel(
        "Oldest newest proof", "stat",
        ((f"max({_age('strongroom_last_proof_timestamp_seconds')})", "age"),),
        unit="s", width=4, height=5, options={**_STAT, "colorMode": "none"},
    ),
    Panel(
        "Longest recovery", "stat",
        ((f"max(strongroom_recovery_seconds{{{_WHICH}}})", "recovery"),),
        unit="s", width=3, height=5, options={**_STAT, "colorMode": "none"},
    ),
    Panel(
        "Judged ago", "stat",
        ((f"max({_age('strongroom_judged_timestamp_seconds')})", "age"),),
        unit="s", width=3, height=5, options={**_STAT, "colorMode": "none"},
        about="When this grows, nobody judges any more.",
    ),
    Panel(
        "Checks over time", "state-timeline",
        ((f"strongroom_check_status{{{_WHICH}}}",
          "{{application}} {{check}} {{subject}}"),),
        width=24, height=14, verdict=True,
        options={"mergeValues": True, "showValue": "never", "rowHeight": 0.8},
    ),
    Panel(
        "Age of the newest capture", "timeseries",
        ((_age("strongroom_last_capture_timestamp_seconds"), "{{application}} {{source}}"),
         (_target("rpo"), "{{application}}: promised")),
        unit="s", width=12,
    ),
    Panel(
        "Age of the newest proof", "timeseries",
        ((_age("strongroom_last_proof_timestamp_seconds"), "{{application}} {{source}}"),
         (_target("proof_age"), "{{application}}: promised")),
        unit="s", width=12,
    ),
    Panel(
        "Time that recovery takes", "timeseries",
        ((f"strongroom_recovery_seconds{{{_WHICH}}}", "{{application}}"),
         (f"strongroom_source_recovery_seconds{{{_WHICH}}}", "{{application}} {{source}}"),
         (_target("rto"), "{{application}}: promised")),
        unit="s",
    ),
    Panel(
        "What sources hold", "timeseries",
        ((f"strongroom_source_size_bytes{{{_WHICH}}}", "{{application}} {{source}}"),),
        unit="bytes",
    ),
    Panel(
        "Room left in stores", "timeseries",
        ((f"strongroom_store_free_bytes{{{_WHICH}}} / strongroom_store_size_bytes{{{_WHICH}}}",
          "{{application}} {{repository}}"),),
        unit="percentunit",
    ),
    Panel(
        "Objectives", "table",
        ((f"strongroom_objective_status{{{_WHICH}}}", ""),),
        width=12, instant=True,
        about="0 met, 1 missed, 2 not measured.",
    ),
    Panel(
        "Who runs what", "table", ((f"strongroom_info{{{_WHICH}}}", ""),), width=12, instant=True,
    ),
)  # fmt: skip


def dashboard_text() -> str:
    """The file, as it is to stand in contrib/."""
    return json.dumps(dashboard(), indent=2) + "\n"


def dashboard() -> dict[str, Any]:
    """What Grafana imports: it asks which Prometheus, and for applications among those known."""
    return {
        "uid": "strongroom",
        "title": "Strongroom",
        "description": "Whether backups come back. Made by `make pages`.",
        "tags": ["backup", "strongroom"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_which_prometheus(), _application()]},
        "annotations": {"list": []},
        "panels": _laid_out(),
    }


def _which_prometheus() -> dict[str, Any]:
    return {"name": _FROM, "label": "Prometheus", "type": _FROM,
            "query": "prometheus"}  # fmt: skip


def _application() -> dict[str, Any]:
    query = "label_values(strongroom_info, application)"
    return {
        "name": "application",
        "label": "Application",
        "type": "query",
        _FROM: _PROMETHEUS,
        "definition": query,
        "query": {"query": query, "refId": "application"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out() -> list[dict[str, Any]]:
    """The panels with their places: a row ends where the next panel has no room."""
    drawn = []
    left = top = height = 0
    for number, panel in enumerate(PANELS, 1):
        if left + panel.width > _COLUMNS:
            left, top, height = 0, top + height, 0
        place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
        drawn.append(_drawn(number, panel, place))
        left, height = left + panel.width, max(height, panel.height)
    return drawn


def _drawn(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        _FROM: _PROMETHEUS,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": panel.options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                _FROM: _PROMETHEUS,
                "expr": expression,
                "legendFormat": legend or "__auto",
                "instant": panel.instant,
                "range": not panel.instant,
                "format": "table" if panel.kind == "table" else "time_series",
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    """Units; of verdicts their names and colours; of counts green for none."""
    if not panel.verdict:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
        return {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    words = {
        str(value): {"text": verdict.value, "color": colour, "index": value}
        for (verdict, value), colour in zip(VERDICT_VALUES.items(), _COLOURS, strict=True)
    }
    return {"unit": "none", "mappings": [{"type": "value", "options": words}]}
