"""What a cycle's training used, as its miners claim in their reveals, and which claims cannot be.

From the score log alone, so every replica answers alike.  Statistics: nothing here is paid for.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.errors import Refused
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.federation import api
from chain.records.commands import readable_operations
from chain.records.contribution import Profile, Register, ResourceReport, UpdateReveal
from chain.records.job import Job
from chain.records.score_log import Assigned, LogEntry, Ordered, Revealed, decode_leaf
from chain.rules.families.registry import segment_parameters
from chain.rules.plausibility import implausible
from coordinator.service.index import LogIndex
from coordinator.service.parameters import path_number

CYCLES_CACHED = 8


@dataclass
class Claims:
    """What the log has of one cycle, as far as it is read."""

    cycle: int
    at_ms: int = 0  # agreed time of the last batch that was read
    profiles: dict[bytes, Profile] = field(default_factory=dict)  # by miner
    reports: dict[tuple[bytes, int], tuple[ResourceReport, int]] = field(default_factory=dict)
    """By miner and unit: the report, and the agreed time of the reveal."""

    def read(self, entries: Sequence[LogEntry]) -> None:
        """Ordered leaves.  Of several reports that fit, the last counts: it is the accepted one."""
        for entry in entries:
            self._read(entry)

    def _read(self, entry: LogEntry) -> None:
        ordered = decode_leaf(entry.leaf)
        assert isinstance(ordered, Ordered)
        self.at_ms = ordered.agreed_ms
        for sealed in decode_batch(ordered.batch).requests:
            request = decode(Request, decode(Envelope, sealed).body)
            for said in readable_operations(request.operation):
                if isinstance(said, Register) and said.cycle == self.cycle:
                    self.profiles[request.client] = said.profile
                elif isinstance(said, UpdateReveal) and said.cycle == self.cycle:
                    told = (said.resources, ordered.agreed_ms)
                    self.reports[request.client, said.unit] = told


class ResourcesApi:
    """One route: a cycle's totals, and its flagged reports."""

    def __init__(self, index: LogIndex, job: Job) -> None:
        self._index, self._job = index, job
        self._known: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.get(api.RESOURCES, self.get_resources)]

    async def get_resources(self, request: web.Request) -> web.Response:
        """JSON; every number is a claim of a miner's kernel."""
        return web.json_response(await self.summary_of(path_number(request, "cycle")))

    async def summary_of(self, cycle: int) -> dict[str, Any]:
        """What a cycle's miners claim.  Raises Refused: no reveals of it are over."""
        found = self._known.get(cycle)
        if found is None:
            found = self._known[cycle] = await self._summary(cycle)
            while len(self._known) > CYCLES_CACHED:
                self._known.popitem(last=False)
        return found

    async def _summary(self, cycle: int) -> dict[str, Any]:
        """Raises Refused: no reveals of this cycle are over."""
        opened = await self._index.find(Assigned, "assigned", cycle)
        ended = await self._index.find(Revealed, "revealed", cycle)
        if not opened or not ended:
            raise Refused("not-found", f"the log has no closed reveals of cycle {cycle}")
        before = await self._index.find(Assigned, "assigned", cycle - 1) if cycle > 1 else ()
        first = before[-1][0] if before else 0
        claims = Claims(cycle)
        await self._read(claims, first, opened[-1][0])
        began_ms = claims.at_ms  # of the batch that led to the assignment
        await self._read(claims, opened[-1][0], ended[-1][0])
        return summary(self._job, opened[-1][1], ended[-1][1], claims, began_ms)

    async def _read(self, claims: Claims, following: int, end: int) -> None:
        while following < end:
            entries = await self._index.entries(following)
            if not entries:
                return
            inside = [entry for entry in entries if entry.proof and entry.index < end]
            await asyncio.to_thread(claims.read, inside)
            following = entries[-1].index + 1


def summary(
    job: Job, assigned: Assigned, revealed: Revealed, claims: Claims, began_ms: int
) -> dict[str, Any]:
    """Totals of the revealed units, and each report that cannot be true."""
    reports, flagged = [], []
    for unit, report, flags in judged(job, assigned, revealed, claims, began_ms):
        reports.append(report)
        if flags:
            flagged.append({"unit": unit, "flags": list(flags)})
    return {
        "cycle": claims.cycle,
        "units": len(reports),
        "cpu_ms": sum(report.cpu_user_ms + report.cpu_system_ms for report in reports),
        "energy_mj": sum(report.energy_mj for report in reports),
        "energy_estimated_mj": sum(r.energy_mj for r in reports if r.estimated),
        "memory_peak_bytes": max((report.memory_peak_bytes for report in reports), default=0),
        "flagged": flagged,
    }


def judged(
    job: Job, assigned: Assigned, revealed: Revealed, claims: Claims, began_ms: int
) -> Iterator[tuple[int, ResourceReport, tuple[str, ...]]]:
    """(unit, its report, why it cannot be true) of each revealed unit, ascending."""
    for number in revealed.units:
        unit = assigned.units[number]
        report, at_ms = claims.reports[unit.miner, number]
        flags = implausible(
            report,
            claims.profiles.get(unit.miner),
            segment_parameters(job, unit.segment),
            unit.steps * job.batch_records,
            at_ms - began_ms,
        )
        yield number, report, flags
