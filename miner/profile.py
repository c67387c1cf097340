"""What this machine can do, and what training used: numbers from the kernel, for the reveal.

They are claims of an untrusted kernel.  They serve energy statistics and capacity planning; a
profile's capacity decides how many units a miner is given, but no number here decides what a
trained unit earns.
Source: Linux Documentation/power/powercap/powercap.rst; proc(5); getrusage(2).
"""

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from chain.records.contribution import Profile, ResourceReport
from chain.records.job import Job
from miner.files import write_durably

POWERCAP = Path("/sys/class/powercap")
PROC_STAT = Path("/proc/stat")
BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal
PROFILE_FILE = "profile.json"


class Packages(NamedTuple):
    """One reading of the processor packages' energy counters."""

    counters: Mapping[str, tuple[int, int]]  # domain -> (microjoules, value at which it wraps)


def read_packages(root: Path = POWERCAP) -> Packages:
    """Energy counters of all RAPL packages that may be read; none in most virtual machines.

    Since CVE-2020-8694 only root may read them, unless an administrator allows a group.
    """
    counters = {}
    for domain in sorted(root.glob("intel-rapl:*")):
        if domain.name.count(":") != 1:
            continue  # a part of a package, whose energy the package's counter has in it
        try:
            now = int((domain / "energy_uj").read_text())
            wraps_at = int((domain / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        counters[domain.name] = (now, wraps_at)
    return Packages(counters)


def used_millijoules(before: Packages, after: Packages) -> int | None:
    """Energy of all packages between two readings; None where there is no counter.

    A counter that wrapped once is understood; at 240 W that takes minutes to hours.
    """
    if not before.counters or before.counters.keys() != after.counters.keys():
        return None
    total = 0
    for name, (start, wraps_at) in before.counters.items():
        end = after.counters[name][0]
        total += end - start if end >= start else end - start + wraps_at
    return total // 1000


def read_busy_ms(stat: Path = PROC_STAT) -> int | None:
    """CPU time that all processes of the machine have used, milliseconds; None if unknown."""
    try:
        columns = stat.read_text().split("\n", 1)[0].split()[1:]
        ticks = sum(int(columns[place]) for place in BUSY_COLUMNS)
    except (OSError, ValueError, IndexError):
        return None
    return ticks * 1000 // os.sysconf("SC_CLK_TCK")


class Meter:
    """What was used between its making and `report`."""

    def __init__(self, watts_per_core: int) -> None:
        self._watts_per_core = watts_per_core
        self._packages = read_packages()
        self._busy_ms = read_busy_ms()

    def report(self, usage: resource.struct_rusage, wall_ms: int) -> ResourceReport:
        """The report on a child that has ended, from what wait4(2) says of it."""
        user_ms, system_ms = int(usage.ru_utime * 1000), int(usage.ru_stime * 1000)
        busy_ms = read_busy_ms()
        energy_mj, estimated = attribute_energy(
            used_millijoules(self._packages, read_packages()),
            None if busy_ms is None or self._busy_ms is None else busy_ms - self._busy_ms,
            user_ms + system_ms,
            self._watts_per_core,
        )
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes there, KiB here
        return ResourceReport(
            cpu_user_ms=user_ms,
            cpu_system_ms=system_ms,
            wall_ms=wall_ms,
            memory_peak_bytes=usage.ru_maxrss * unit,
            energy_mj=energy_mj,
            estimated=int(estimated),
        )


def attribute_energy(
    packages_mj: int | None, busy_ms: int | None, own_ms: int, watts_per_core: int
) -> tuple[int, bool]:
    """(millijoules, whether they are an estimate) of a process that used `own_ms` of CPU time.

    Measured: the packages' energy, in proportion to the process's part of all CPU time used.
    Estimated, where no counter can be read: CPU time times an assumed power; 1 W is 1 mJ per ms.
    """
    if packages_mj is None or not busy_ms or busy_ms < own_ms:
        return own_ms * watts_per_core, True
    return packages_mj * own_ms // busy_ms, False


def memory_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def load_profile(home: Path, job: Job, device: str) -> Profile | None:
    """The profile that was measured for this job and device, if there is one."""
    try:
        kept = json.loads((home / PROFILE_FILE).read_bytes())
        if kept["job"] != sha256(encode(job)).hex() or kept["device"] != device:
            return None
        capacity, memory = int(kept["capacity"]), int(kept["memory_bytes"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return Profile(device=device.encode(), capacity=capacity, memory_bytes=memory)


def save_profile(home: Path, job: Job, profile: Profile) -> None:
    """Keep a measured profile."""
    document = {
        "job": sha256(encode(job)).hex(),
        "device": profile.device.decode(),
        "capacity": profile.capacity,
        "memory_bytes": profile.memory_bytes,
    }
    write_durably(home / PROFILE_FILE, json.dumps(document).encode() + b"\n")
