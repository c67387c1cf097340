"""What this replica itself used, cycle by cycle: CPU time of its processes, and joules.

Measured where the kernel shows counters, as for miners (miner/profile.py), else estimated from CPU
time and said to be.  Statistics of one machine: not ordered, not signed, never part of a score.
Source: proc_pid_stat(5).
"""

import os
import time
from collections import deque
from pathlib import Path
from typing import Any

from aiohttp import web

from chain.federation import api
from miner.profile import attribute_energy, read_busy_ms, read_packages, used_millijoules

CYCLES_KEPT = 256
PROC = Path("/proc")
PARENT, UTIME, CHILDREN_STIME = 1, 11, 14  # places behind the name in /proc/PID/stat


def tree_cpu_ms(root: int, proc: Path = PROC) -> int:
    """CPU time of a process and all below it, milliseconds; of what has ended as well, where its
    parent has waited for it."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            columns = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(columns[PARENT])
            ticks[int(folder.name)] = sum(map(int, columns[UTIME : CHILDREN_STIME + 1]))
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
    total = sum(ticks[pid] for pid in ticks if _stands_below(pid, root, parents))
    return total * 1000 // os.sysconf("SC_CLK_TCK")


def _stands_below(pid: int, root: int, parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while pid != root and pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
    return pid == root


def own_cpu_ms() -> int:
    """Of this process and its workers; without /proc, of this process and children that ended."""
    if (PROC / "self" / "stat").exists():
        return tree_cpu_ms(os.getpid())
    times = os.times()
    return int(1000 * (times.user + times.system + times.children_user + times.children_system))


class EnergyMeter:
    """Since this process began; a cycle that ran before is not told."""

    def __init__(self, watts_per_core: int) -> None:
        """`watts_per_core`: assumed where no energy counter can be read."""
        self._watts = watts_per_core
        self._cycles: deque[dict[str, Any]] = deque(maxlen=CYCLES_KEPT)
        self._take()

    def _take(self) -> None:
        self._packages, self._busy_ms = read_packages(), read_busy_ms()
        self._cpu_ms, self._at_ms = own_cpu_ms(), time.monotonic_ns() // 1_000_000

    def end(self, cycle: int) -> None:
        """A cycle is over: what was used since the last one's end is its."""
        packages, busy_ms = self._packages, self._busy_ms
        cpu_ms, at_ms = self._cpu_ms, self._at_ms
        self._take()
        used_ms = max(0, self._cpu_ms - cpu_ms)
        energy_mj, estimated = attribute_energy(
            used_millijoules(packages, self._packages),
            None if busy_ms is None or self._busy_ms is None else self._busy_ms - busy_ms,
            used_ms,
            self._watts,
        )
        self._cycles.append(
            {
                "cycle": cycle,
                "wall_ms": self._at_ms - at_ms,
                "cpu_ms": used_ms,
                "energy_mj": energy_mj,
                "estimated": estimated,
            }
        )

    def of(self, cycle: int) -> dict[str, Any] | None:
        """What one cycle used here; None: this process did not see it to its end."""
        return next((line for line in reversed(self._cycles) if line["cycle"] == cycle), None)

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.get(api.ENERGY, self.get_energy)]

    async def get_energy(self, request: web.Request) -> web.Response:
        """JSON: the newest cycles, ascending."""
        body = {"watts_per_core": self._watts, "cycles": list(self._cycles)}
        return web.json_response(body, headers={"Cache-Control": "no-store"})
