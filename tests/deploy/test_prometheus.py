"""The alert rules name metrics that exist, and each says what to do."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator.service.metrics import Metrics
from coordinator.service.standby_door import StandbyMetrics
from gristmill.testnet.monitoring import DATASOURCE as WRITTEN
from tests.coordinator.service.test_metrics import OWN, Still
from tests.deployment.dashboard import DATASOURCE, FILE, PANELS, expressions

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def test_every_metric_in_an_alert_is_one_of_a_replica() -> None:
    families = [
        *Metrics(Still(), OWN, lambda: (), lambda: 0).collect(),
        *StandbyMetrics(lambda: ("", True)).collect(),
    ]
    known = {sample.name for family in families for sample in family.samples}
    named = {name for rule in rules() for name in re.findall(r"gristmill_\w+", rule["expr"])}
    assert named
    assert named <= known


def test_every_metric_in_a_panel_is_one_of_a_replica() -> None:
    families = Metrics(Still(), OWN, lambda: (), lambda: 0).collect()
    known = {sample.name for family in families for sample in family.samples}
    named = {name for expr in expressions() for name in re.findall(r"gristmill_\w+", expr)}
    assert named
    assert named <= known


def test_the_committed_dashboard_shows_the_panels() -> None:
    """`python -m tests.deployment` makes it again with Grafana's SDK."""
    panels = json.loads(FILE.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    assert [expr.replace("$replica", ".+") for expr in shown] == expressions()
    assert [panel["title"] for panel in panels] == [panel.title for panel in PANELS]
    assert {panel["datasource"]["uid"] for panel in panels} == {DATASOURCE} == {WRITTEN}


def test_every_alert_has_a_rule_unit_test() -> None:
    tests = yaml.safe_load(RULES.with_name("alerts.test.yaml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]]
    assert {case["alertname"] for case in cases} == {rule["alert"] for rule in rules()}


def test_every_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "warn")
        assert set(rule["annotations"]) == {"summary", "action"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Prometheus' promtool")
def test_prometheus_takes_the_rules() -> None:
    told = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
