"""What a monitoring system asks a replica: Prometheus metrics, and whether it lives and is ready.

On a listener of its own, for the operator's network only.  Everything is read from the replica's
state when it is asked for; nothing is counted beside it.
Source: metric names after CometBFT's; Kubernetes for the three probes.
"""

import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chain.federation.server import problem
from chain.records.phase import Phase
from coordinator.service.probes import Probes
from coordinator.service.standing import Standing


class Check(NamedTuple):
    """One condition of being ready."""

    name: str
    holds: bool
    text: str


class Metrics(Probes):
    """Handlers of the monitoring routes."""

    def __init__(
        self,
        standing: Standing,
        own_key: bytes,
        peers_up: Callable[[], tuple[int, ...]],
        refusals: Callable[[], int],
        store_up: Callable[[], bool] = lambda: True,
    ) -> None:
        """Args:
        refusals: how many signatures the guard has refused.
        store_up: whether the artifact store did what it was asked last.
        """
        self._standing, self._own_key = standing, own_key
        self._peers_up, self._refusals, self._store_up = peers_up, refusals, store_up
        super().__init__()
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=self.registry)

    async def get_ready(self, request: web.Request) -> web.Response:
        """200 if this replica does its part, else 503 with what is missing."""
        checks = self.checks()
        shown = {check.name: check.text for check in checks}
        failing = [check.name for check in checks if not check.holds]
        if not failing:
            return web.Response(text=json.dumps(shown) + "\n", content_type="application/json")
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "; ".join(f"{name}: {shown[name]}" for name in failing),
            more={"failing": failing, "checks": shown},
        )

    def checks(self) -> tuple[Check, ...]:
        """What being ready means."""
        replica, members = self._standing.replica, self._standing.replica.state.membership
        missing = replica.log_missing
        whole = Check("log", missing is None, f"missing {missing}" if missing else "whole")
        if not self._is_member:
            return (whole, Check("role", True, "observer: follows, has no vote"))
        up = len(self._peers_up()) + 1
        quorum = Check("quorum", up >= members.strong, f"{up} up, {members.strong} needed")
        active = self._standing.voting
        view = Check("view", active, "votes" if active else "asks for another primary")
        return (whole, quorum, view)

    @property
    def _is_member(self) -> bool:
        return self._own_key in self._standing.replica.state.membership.index_by_key

    def collect(self) -> Iterator[Metric]:
        """For the registry (prometheus_client.registry.Collector)."""
        state = self._standing.replica.state
        members, up = state.membership, self._peers_up()
        gauges = {
            "gristmill_bft_committed_sequence": (
                "Sequence of the newest executed batch",
                state.sequence,
            ),
            "gristmill_bft_voting": (
                "1 while this replica votes in its view",
                self._standing.voting,
            ),
            "gristmill_bft_member": ("1 for a member, 0 for an observer", self._is_member),
            "gristmill_epoch": ("Epoch of the members", members.epoch),
            "gristmill_cycle": ("Cycle that is under way", state.cycle),
            "gristmill_cycle_attempt": ("Extensions of the present phase", state.attempt),
            "gristmill_cycle_units": ("Work units assigned in this cycle", len(state.units)),
            "gristmill_cycle_reveals": ("Work units revealed in this cycle", len(state.reveals)),
            "gristmill_cycle_tables": ("Replicas whose table is here", len(state.tables)),
            "gristmill_registrations": ("Miners for the next assignment", len(state.registrations)),
            "gristmill_agreed_time_seconds": ("Agreed Unix time", state.agreed_ms / 1000),
            "gristmill_artifact_store_up": (
                "1 unless the artifact store failed when it was last used",
                self._store_up(),
            ),
            "gristmill_log_entries": ("Entries of the score log", state.log.size),
            "gristmill_chain_final_height": ("Height of the newest final block", state.tip.height),
            "gristmill_replicas": ("Members of the federation", members.n),
            "gristmill_quorum_size": ("Members that a decision needs", members.strong),
            "gristmill_quorum_margin": (
                "Members up beyond those that a decision needs",
                len(up) + self._is_member - members.strong,
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=float(value))
        phases = GaugeMetricFamily(
            "gristmill_cycle_phase", "1 for the present phase", labels=["phase"]
        )
        for phase in Phase:
            phases.add_metric([phase.name.lower()], float(phase == state.phase))
        yield phases
        peers = GaugeMetricFamily("gristmill_peer_up", "1 while the link stands", labels=["peer"])
        for index, key in enumerate(members.keys):
            if key != self._own_key:
                peers.add_metric([str(index)], float(index in up))
        yield peers
        yield CounterMetricFamily(
            "gristmill_guard_refused",
            "Signatures that the guard has refused",
            value=float(self._refusals()),
        )
