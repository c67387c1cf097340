"""The alert rules name metrics that exist, and each says what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator.service.metrics import Metrics
from tests.coordinator.service.test_metrics import OWN, Still

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def test_every_metric_in_an_alert_is_one_of_a_replica() -> None:
    families = Metrics(Still(), OWN, lambda: (), lambda: 0).collect()
    known = {sample.name for family in families for sample in family.samples}
    named = {name for rule in rules() for name in re.findall(r"gristmill_\w+", rule["expr"])}
    assert named
    assert named <= known


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
