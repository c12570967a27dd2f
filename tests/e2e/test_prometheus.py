"""A real Prometheus reads the metrics, and the rules alert when they are to, and only then."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from strongroom.model import Verdict
from strongroom.report.check import CHECK_KINDS
from strongroom.report.metrics import METRIC_KINDS, VERDICT_VALUES, metrics_text
from strongroom.report.standing import Standing
from strongroom.service.health import Board
from strongroom.web import Address, serving, web_application
from tests.house.ground import ROOT
from tests.support.prometheus_ground import prometheus_scraping, promtool, wait_for
from tests.support.standing_ground import standing, with_check
from tools.grafana_dashboard import PANELS
from tools.prometheus_rules import alert_name

RULES = ROOT / "contrib" / "prometheus" / "strongroom.rules.yml"


def now_standing(verdict: Verdict = Verdict.PROVEN, **more: Any) -> Standing:  # Any: fields
    now = datetime.now(UTC)
    times = {"judged_at": now, "valid_until": now + timedelta(minutes=5)}
    return standing(verdict, **(times | more))


def test_the_checker_finds_nothing_to_say_of_the_metrics() -> None:
    for known in (standing(), standing(Verdict.FAILED, checks=(), sources=())):
        text = metrics_text(known, known.judged_at, "1.2.3")
        assert promtool("check", "metrics", given=text) == ""


def test_the_rules_are_rules() -> None:
    written = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    number = sum(len(group["rules"]) for group in written["groups"])
    assert f"SUCCESS: {number} rules found" in promtool("check", "rules", RULES)


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    drawn = [query for panel in PANELS for query, _ in panel.queries]
    place = tmp_path / "dashboard.yml"
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$application", ".*")}
        for number, query in enumerate(drawn)
    ]
    place.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", place)


def test_rules_and_dashboard_use_metrics_that_there_are() -> None:
    written = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    expressions = [one["expr"] for group in written["groups"] for one in group["rules"]]
    expressions += [query for panel in PANELS for query, _ in panel.queries]
    for expression in expressions:
        named = set(re.findall(r"\b(?:strongroom|backup)_\w+", expression))
        assert named, expression
        assert named <= set(METRIC_KINDS), expression


# --- The rules, on made-up series ----------------------------------------------------------


def check_rules(tmp_path: Path, tests: list[dict[str, Any]]) -> None:  # Any: YAML values
    place = tmp_path / "tests.yml"
    body = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    place.write_text(yaml.safe_dump(body))
    assert "SUCCESS" in promtool("test", "rules", place)


def selector(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={value!r}' for key, value in labels.items())}}}"


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    return {"series": selector(name, {"application": "tms"} | labels), "values": values}


def expect(alert: str, at: str, *labels: dict[str, str]) -> dict[str, Any]:  # Any: YAML values
    """Which alerts of this name fire at that time; what they say is of no interest here."""
    firing = {"alertname": alert, "alertstate": "firing"}
    return {
        "expr": selector("ALERTS", firing),
        "eval_time": at,
        "exp_samples": [{"labels": selector("ALERTS", firing | one), "value": 1} for one in labels],
    }


@pytest.mark.parametrize("name", CHECK_KINDS)
def test_every_kind_of_check_has_its_alerts(tmp_path: Path, name: str) -> None:
    kind = CHECK_KINDS[name]
    about = {"check": name, "subject": "local"}
    labels = {"application": "tms", **about}
    tests = []
    for verdict, value in VERDICT_VALUES.items():
        failed = [labels | {"severity": "critical"}] if verdict is Verdict.FAILED else []
        unwell = [labels | {"severity": "warning"}] if value in (1, 2) else []
        tests.append(
            {
                "name": f"{name} {verdict}",
                "interval": "1m",
                "input_series": [series("strongroom_check_status", f"{value}x30", **about)],
                "promql_expr_test": [
                    expect(f"{alert_name(kind)}Failed", "1m", *failed),
                    expect(alert_name(kind), "10m"),
                    expect(alert_name(kind), "20m", *unwell),
                ],
            }
        )
    check_rules(tmp_path, tests)


TMS = {"application": "tms"}
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
# Series, and what fires when. Time begins at 0, a minute is a step.
WATCHED: dict[str, tuple[list[dict[str, str]], list[dict[str, Any]]]] = {
    "all is well": (
        [
            series("strongroom_verdict", "0x60"),
            series("strongroom_valid_until_timestamp_seconds", "300+60x60"),
            series("strongroom_judged_timestamp_seconds", "0+60x60"),
        ],
        [{"expr": "ALERTS", "eval_time": "60m", "exp_samples": []}],
    ),
    "failed": (
        [series("strongroom_verdict", "0x10 3x50")],
        [
            expect("StrongroomFailed", "10m"),
            expect("StrongroomFailed", "11m", TMS | CRITICAL),
            expect("StrongroomNotProven", "60m"),
        ],
    ),
    "stale": (
        [
            series("strongroom_verdict", "0x10 1x50"),
            series("strongroom_objective_status", "1x60", objective="rpo"),
            series("strongroom_objective_status", "2x60", objective="rto"),
        ],
        [
            expect("StrongroomNotProven", "20m"),
            expect("StrongroomNotProven", "30m", TMS | WARNING),
            expect("StrongroomObjectiveMissed", "20m", TMS | WARNING | {"objective": "rpo"}),
        ],
    ),
    "nobody judges any more": (
        [series("strongroom_valid_until_timestamp_seconds", "1800x120")],
        [
            expect("StrongroomOutOfDate", "30m"),
            expect("StrongroomOutOfDate", "40m", TMS | CRITICAL),
        ],
    ),
    "nothing is there": (
        [],
        [expect("StrongroomAbsent", "10m"), expect("StrongroomAbsent", "20m", CRITICAL)],
    ),
    "one of two is gone": (
        [
            series("strongroom_verdict", "0x10 _x90"),
            series("strongroom_verdict", "0x100", application="other"),
        ],
        [
            expect("StrongroomVanished", "20m"),
            expect("StrongroomVanished", "40m", TMS | CRITICAL),
            expect("StrongroomAbsent", "100m"),
        ],
    ),
    "the clock is ahead": (
        [series("strongroom_judged_timestamp_seconds", "900+60x60")],
        [expect("StrongroomClock", "3m"), expect("StrongroomClock", "10m", TMS | WARNING)],
    ),
}


@pytest.mark.parametrize("case", WATCHED)
def test_the_whole_is_watched(tmp_path: Path, case: str) -> None:
    given, expected = WATCHED[case]
    check_rules(
        tmp_path,
        [{"name": case, "interval": "1m", "input_series": given, "promql_expr_test": expected}],
    )


def test_an_alert_says_what_the_table_says(tmp_path: Path) -> None:
    kind = CHECK_KINDS["space"]
    about = {"check": "space", "subject": "local"}
    said = {
        "summary": f"tms, local: “{kind.line}” FAILED",
        "description": f"{kind.meaning} {kind.remedy}",
    }
    alert = {"exp_labels": TMS | about | CRITICAL, "exp_annotations": said}
    test = {
        "interval": "1m",
        "input_series": [series("strongroom_check_status", "3x5", **about)],
        "alert_rule_test": [
            {"eval_time": "2m", "alertname": "StrongroomSpaceFailed", "exp_alerts": [alert]}
        ],
    }
    check_rules(tmp_path, [test])


# --- The real thing ------------------------------------------------------------------------


def test_a_real_prometheus_scrapes_and_fires(tmp_path: Path) -> None:
    board = Board()
    board.post(now_standing())
    with (
        serving(web_application(board), Address("127.0.0.1", 0)) as address,
        prometheus_scraping(address.port, RULES, tmp_path) as prometheus,
    ):
        assert wait_for(lambda: prometheus.values("strongroom_verdict == 0"), prometheus.log)
        assert set(METRIC_KINDS) <= set(prometheus.get("label/__name__/values"))
        [target] = prometheus.get("targets")["activeTargets"]
        assert target["health"] == "up", target["lastError"]
        assert prometheus.alerts() == {}

        unwell = with_check("capture", Verdict.FAILED, "database")
        board.post(now_standing(Verdict.FAILED, checks=unwell))
        wanted = {"StrongroomCaptureFailed", "StrongroomFailed"}
        wait_for(lambda: wanted <= prometheus.alerts().keys(), prometheus.log)
        firing = prometheus.alerts()["StrongroomCaptureFailed"]
        assert firing["labels"]["subject"] == "database"
        assert firing["labels"]["severity"] == "critical"
        said = firing["annotations"]["summary"]
        assert said == "tms, database: “The backup was created” FAILED"

        board.post(now_standing())
        wait_for(lambda: not prometheus.alerts(), prometheus.log)
        assert prometheus.alerts() == {}
