"""`python -m tests.deployment.dashboard`: write deploy/grafana/gristmill.json, or check it.

The panels stand here; Grafana's own SDK (extra deploy-checks) makes the JSON of them, which is
committed, because whoever imports a dashboard should need no SDK.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.deployment.outcome import DEPLOY

FILE = DEPLOY / "grafana" / "gristmill.json"
DATASOURCE = "gristmill-prometheus"
REPLICA = 'job="gristmill", instance=~"$replica"'
HALF, THIRD = 12, 8  # of Grafana's 24 columns
STAT_HEIGHT, GRAPH_HEIGHT = 4, 7


class Panel(NamedTuple):
    """One picture."""

    title: str
    text: str  # what a person reads from it
    queries: tuple[tuple[str, str], ...]  # expr, legend
    span: int
    unit: str = "short"
    stat: bool = False
    red_below: float | None = None  # a figure below it is bad


PANELS = (
    Panel(
        "Members to spare",
        "Members up beyond those that a decision needs, as the worst placed replica sees it.",
        ((f"min(gristmill_quorum_margin{{{REPLICA}}})", ""),),
        THIRD,
        stat=True,
        red_below=1,
    ),
    Panel(
        "Final height",
        "Height of the newest final block.",
        ((f"max(gristmill_chain_final_height{{{REPLICA}}})", ""),),
        THIRD,
        stat=True,
    ),
    Panel(
        "Refused signatures",
        "By the guards, ever.  0 for ever, or somebody has to look.",
        ((f"sum(gristmill_guard_refused_total{{{REPLICA}}})", ""),),
        THIRD,
        stat=True,
    ),
    Panel(
        "Executed batches",
        "A replica whose line is flat is cut off or halted.",
        ((f"rate(gristmill_bft_committed_sequence{{{REPLICA}}}[5m])", "{{instance}}"),),
        HALF,
        unit="ops",
    ),
    Panel(
        "Members to spare, by replica",
        "Each replica counts the links that it sees.",
        ((f"gristmill_quorum_margin{{{REPLICA}}}", "{{instance}}"),),
        HALF,
    ),
    Panel(
        "Votes",
        "1 while a replica votes.  Short gaps are view changes.",
        ((f"gristmill_bft_voting{{{REPLICA}}}", "{{instance}}"),),
        HALF,
    ),
    Panel(
        "Behind the furthest replica",
        "Batches that others have executed and this one has not.",
        (
            (
                "scalar(max(gristmill_bft_committed_sequence)) "
                f"- gristmill_bft_committed_sequence{{{REPLICA}}}",
                "{{instance}}",
            ),
        ),
        HALF,
    ),
    Panel(
        "Work of the cycle",
        "Units assigned and revealed, and replicas whose measurements are in.",
        (
            (f"max(gristmill_cycle_units{{{REPLICA}}})", "assigned"),
            (f"max(gristmill_cycle_reveals{{{REPLICA}}})", "revealed"),
            (f"max(gristmill_cycle_tables{{{REPLICA}}})", "tables"),
            (f"max(gristmill_registrations{{{REPLICA}}})", "miners registered"),
        ),
        HALF,
    ),
    Panel(
        "Phase",
        "Which phase is under way; one that lasts is where to look.",
        (
            (f"max by (phase) (gristmill_cycle_phase{{{REPLICA}}}) == 1", "{{phase}}"),
            (f"max(gristmill_cycle_attempt{{{REPLICA}}})", "extensions"),
        ),
        HALF,
    ),
    Panel(
        "Growth",
        "Entries of the score log, and cycles, in an hour.",
        (
            (f"max(delta(gristmill_log_entries{{{REPLICA}}}[1h]))", "log entries"),
            (f"max(delta(gristmill_cycle{{{REPLICA}}}[1h]))", "cycles"),
        ),
        HALF,
    ),
    Panel(
        "Agreed time against this clock",
        "Seconds.  Apart while nothing is decided; apart under load means a wrong clock.",
        ((f"time() - gristmill_agreed_time_seconds{{{REPLICA}}}", "{{instance}}"),),
        HALF,
        unit="s",
    ),
    Panel(
        "Processor",
        "Cores in use by the replica's own process, without its evaluation workers.",
        ((f"rate(process_cpu_seconds_total{{{REPLICA}}}[1m])", "{{instance}}"),),
        HALF,
    ),
    Panel(
        "Memory",
        "Resident, of the replica's own process.",
        ((f"process_resident_memory_bytes{{{REPLICA}}}", "{{instance}}"),),
        HALF,
        unit="bytes",
    ),
)


def expressions() -> list[str]:
    """Of all panels, with Grafana's variable replaced as Grafana replaces it for "all"."""
    return [expr.replace("$replica", ".+") for panel in PANELS for expr, _ in panel.queries]


def dashboard_json() -> str:
    """The dashboard.  Raises ModuleNotFoundError: Grafana's SDK is not here."""
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    source = DataSourceRef(type_val="prometheus", uid=DATASOURCE)
    made = (
        dashboard.Dashboard("Gristmill")
        .uid("gristmill")
        .tags(["gristmill"])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("utc")
        .with_variable(
            dashboard.QueryVariable("replica")
            .label("Replica")
            .query('label_values(up{job="gristmill"}, instance)')
            .datasource(source)
            .multi(True)
            .include_all(True)
            .all_value(".+")
        )
    )
    for panel in PANELS:
        made = made.with_panel(_panel(panel, source))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _panel(panel: Panel, source: Any) -> Any:
    from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
    from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode

    made: Any = (stat if panel.stat else timeseries).Panel()
    made = made.title(panel.title).description(panel.text).datasource(source).unit(panel.unit)
    made = made.span(panel.span).height(STAT_HEIGHT if panel.stat else GRAPH_HEIGHT)
    if panel.red_below is not None:
        steps = [Threshold(color="red"), Threshold(color="green", value=panel.red_below)]
        levels = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
        made = made.thresholds(levels)
    for number, (expr, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expr).ref_id("ABCDEFGH"[number])
        made = made.with_target(query.legend_format(legend) if legend else query)
    return made


def main() -> int:
    """Write, or with --check compare; the exit status."""
    parser = argparse.ArgumentParser(prog="tests.deployment.dashboard", description=__doc__)
    parser.add_argument("--check", action="store_true", help="Compare, and change nothing.")
    made = dashboard_json()
    if not parser.parse_args().check:
        Path(FILE).write_text(made, encoding="utf-8")
        return 0
    return 0 if FILE.read_text(encoding="utf-8") == made else 1


if __name__ == "__main__":
    sys.exit(main())
