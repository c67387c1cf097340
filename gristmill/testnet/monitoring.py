"""What a test network's Prometheus and Grafana read: alerts and dashboard are deploy's own."""

from pathlib import Path

import yaml

from gristmill.testnet.compose import PROMETHEUS_PORT
from gristmill.testnet.plan import Plan

DATASOURCE = "gristmill-prometheus"
"""The uid by which the dashboard names its Prometheus."""


def monitoring_files(plan: Plan, deploy: Path) -> dict[str, str]:
    """Path -> text."""
    replicas = range(plan.replicas)
    scraping = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [
            {
                "job_name": "gristmill",
                "static_configs": [{"targets": [plan.metrics(index) for index in replicas]}],
            }
        ],
    }
    host = "127.0.0.1" if plan.loopback else "prometheus"
    source = {
        "name": "Prometheus",
        "uid": DATASOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://{host}:{PROMETHEUS_PORT}",
        "isDefault": True,
    }
    here = "/etc/grafana/provisioning/dashboards"
    provider = {"name": "gristmill", "type": "file", "options": {"path": here}}
    files = {
        "prometheus/prometheus.yaml": yaml.safe_dump(scraping, sort_keys=False),
        "grafana/datasources/prometheus.yaml": yaml.safe_dump(
            {"apiVersion": 1, "datasources": [source]}, sort_keys=False
        ),
        "grafana/dashboards/provider.yaml": yaml.safe_dump(
            {"apiVersion": 1, "providers": [provider]}, sort_keys=False
        ),
    }
    for copied, target in (
        ("prometheus/alerts.yaml", "prometheus/alerts.yaml"),
        ("grafana/gristmill.json", "grafana/dashboards/gristmill.json"),
    ):
        files[target] = (deploy / copied).read_text(encoding="utf-8")
    return files
